"""Runs of a part of the tests: some files, and of each test at most so many parameter sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

ALL = 10**6


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
