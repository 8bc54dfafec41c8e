"""Runs of a part of the tests: some files, so many parameter sets of each, what covers a crossing, one algorithm."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rules import all_facts

ALL = 10**6
WHOLE = os.environ.get("GRADWISE_CROSSINGS") == "whole"
"""Whether crossings are run whole, as `make crossings` does."""


def covering(
    *axes: Sequence[Any], whole: bool = WHOLE, of: Callable[[Any], Any] | None = None
) -> list[tuple[Any, ...]]:
    """Of all combinations enough that every two values of two axes meet; with `whole`, all.

    Args:
        axes: values.
        whole: whether all combinations are asked for.
        of: what a value of the first axis is of, such as the algorithm of which it is one option. Then each value
            occurs, and all of one thing together meet whatever the other axes cover.
    """
    if of is not None and not whole:
        return _by_turns(axes[0], covering(*axes[1:], whole=False), of)
    sizes = [len(axis) for axis in axes]
    chosen = product(*map(range, sizes)) if whole else sorted(_in_pairs(sizes))
    return [tuple(axis[place] for axis, place in zip(axes, places, strict=True)) for places in chosen]


def _in_pairs(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Places on axes so long: of the two longest all, and of each other what adds most pairs, or the rarest pairs."""
    order = sorted(range(len(sizes)), key=lambda axis: -sizes[axis])
    rows = [list(places) for places in product(*(range(sizes[axis]) for axis in order[:2]))]
    for axis in order[2:]:
        used: Counter[tuple[int, int, int]] = Counter()

        def gain(row: list[int], value: int, used: Counter[tuple[int, int, int]] = used) -> tuple[int, int]:
            counts = [used[earlier, place, value] for earlier, place in enumerate(row)]
            return counts.count(0), -sum(counts)

        for row in rows:
            best = max(range(sizes[axis]), key=lambda value, row=row: gain(row, value))
            used.update((earlier, place, best) for earlier, place in enumerate(row))
            row.append(best)
        for earlier, place, value in product(range(order.index(axis)), range(max(sizes)), range(sizes[axis])):
            if place < sizes[order[earlier]] and not used[earlier, place, value]:
                row = [place if other == earlier else 0 for other in range(order.index(axis))]
                used.update((other, each, value) for other, each in enumerate(row))
                rows.append([*row, value])
    return [tuple(row[order.index(axis)] for axis in range(len(sizes))) for row in rows]


def _by_turns(values: Sequence[Any], ways: Sequence[Any], of: Callable[[Any], Any]) -> list[tuple[Any, ...]]:
    """All values of one thing in all ways together: each way in the value that had fewest, and least of that way."""
    things: dict[Any, list[Any]] = {}
    for value in values:
        things.setdefault(of(value), []).append(value)
    rows = []
    for first, own in enumerate(things.values()):
        met: Counter[tuple[int, int, Any]] = Counter()
        for turn in range(max(len(own), len(ways))):
            way = ways[(turn + first) % len(ways)]

            def least(place: int, way: tuple[Any, ...] = way, met: Counter[Any] = met) -> tuple[int, int]:
                return met[place, -1, None], sum(met[place, axis, id(each)] for axis, each in enumerate(way))

            place = min(range(len(own)), key=least)
            met.update([(place, -1, None), *((place, axis, id(each)) for axis, each in enumerate(way))])
            rows.append((own[place], *way))
    return rows


def taking_turns(value: Any) -> None:
    """`of` where each value of the first axis occurs, and what it meets of the others takes turns."""


def crossing(
    names: Sequence[str], *axes: Sequence[Any], of: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """A test of these axes' combinations: here of those that `covering` chooses, in `make crossings` of all.

    Args:
        names: of the arguments.
        axes: values, of which those with marks, names or several arguments are `pytest.param`s.
        of: what a value of the first axis is of (see `covering`).
    """
    import pytest

    sets = []
    for combined in covering(*axes, of=of):
        each = [value if hasattr(value, "marks") else pytest.param(value) for value in combined]
        words = [value.id or "-".join(map(_word, value.values)) for value in each]
        values = [value for several in each for value in several.values]
        sets.append(pytest.param(*values, marks=[mark for value in each for mark in value.marks], id="-".join(words)))
    return lambda test: pytest.mark.crossing(pytest.mark.parametrize(tuple(names), sets)(test))


def drawing(examples: int, **others: Any) -> Callable[[Any], Any]:
    """A test of so many drawn examples: here of the first third of them, in `make crossings` of all.

    Args:
        examples: how many.
        others: further settings of Hypothesis.
    """
    import pytest
    from hypothesis import settings

    usual = {"deadline": None, "derandomize": True, **others}
    chosen = settings(max_examples=examples if WHOLE else -(-examples // 3), **usual)
    return lambda test: pytest.mark.crossing(chosen(test))


def _word(value: Any) -> str:
    return str(getattr(value, "name", None) or getattr(value, "__name__", value))


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
