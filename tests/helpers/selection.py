"""Runs of a part of the tests: some files, so many parameter sets of each, what covers a crossing, one algorithm."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from rules import all_facts

ALL = 10**6
WHOLE = os.environ.get("GRADWISE_CROSSINGS") == "whole"
"""Whether crossings are run whole, as `make crossings` does."""


def covering(*axes: Sequence[Any], whole: bool = WHOLE) -> list[tuple[Any, ...]]:
    """Of all combinations enough that every two values of two axes meet; with `whole`, all."""
    combined = list(product(*(range(len(axis)) for axis in axes)))

    def values(places: tuple[int, ...]) -> tuple[Any, ...]:
        return tuple(axis[place] for axis, place in zip(axes, places, strict=True))

    if whole:
        return [values(places) for places in combined]
    pairs = {places: set(combinations(enumerate(places), 2)) for places in combined}
    missing = set().union(*pairs.values())
    chosen: dict[tuple[int, ...], None] = {}
    used: Counter[tuple[int, int]] = Counter()

    def gain(places: tuple[int, ...]) -> tuple[int, int]:
        """How many pairs it adds; among those that add as many, how seldom its values were chosen."""
        return len(pairs[places] & missing), -sum(used[place] for place in enumerate(places))

    while missing:
        best = max(combined, key=gain)
        missing -= pairs[best]
        used.update(enumerate(best))
        chosen[best] = None
    return [values(places) for places in combined if places in chosen]


def places(names: Iterable[str]) -> list[Path]:
    """Where files of tests lie, which are called differently in all rooms."""
    found = {path.name: path for path in Path(__file__).parents[1].rglob("test_*.py")}
    return [found[name] for name in names]


def thinned(items: list[Any], counts: Mapping[str, int]) -> list[Any]:
    """Of each test at most so many parameter sets as its file may have, at equal distances."""
    sets: dict[Any, list[Any]] = {}
    for item in items:
        sets.setdefault((item.path, item.function), []).append(item)
    kept = []
    for (path, _), own in sets.items():
        count = min(len(own), counts.get(path.name, ALL))
        kept += [own[place * len(own) // count] for place in range(count)]
    return kept


def keep(config: Any, items: list[Any], counts: Mapping[str, int], leave_out: Collection[str] = ()) -> None:
    """For `pytest_collection_modifyitems`: those are left, without the tests of these names; others are deselected."""
    kept = thinned([item for item in items if item.originalname not in leave_out], counts)
    ids = {id(item) for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in ids])
    items[:] = kept


# ---------------------------------------------------------------- by algorithm


def names_of(wanted: Iterable[str]) -> set[str]:
    """All names of algorithms that are asked for, in lower case."""
    own = {name.lower(): {each.lower() for each in facts.names} for name, facts in all_facts().items()}
    found: set[str] = set()
    for name in wanted:
        known = [names for key, names in own.items() if name.lower() in {key, *names}]
        if not known:
            raise KeyError(f"{name}: tests/rules has {', '.join(sorted(own))}")
        found.update(*known)
    return found


def concerns(value: Any, names: Collection[str]) -> bool:
    """Whether a test that is given this value is about one of the names: it is called so, or made of it."""
    if isinstance(value, str):
        return any(word.lower() in names for word in re.split(r"[^A-Za-z0-9]+", value))
    if isinstance(value, type):
        return value.__name__.lower() in names
    if isinstance(value, (tuple, list, set, frozenset)):
        return any(concerns(each, names) for each in value)
    if isinstance(value, Mapping):
        return concerns(list(value), names) or concerns(list(value.values()), names)
    algorithm = getattr(value, "algorithm", None)
    return concerns(type(value) if algorithm is None else algorithm, names)
