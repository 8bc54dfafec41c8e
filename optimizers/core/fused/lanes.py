"""The lanes of one optimizer, which are its short ways of a step: one for each set of parameters with a gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from ....backends import HOST, Order
from ..rule import Rule
from ..step import Bookkeeping
from .attributes import Seen
from .begin import Begin
from .facts import Facts
from .lane import Lane
from .part import Part
from .ways import Together, Way, table_of

_KEPT, _PARAMETERS = 8, 2**16
"""How many are kept, and for how many parameters in all: each takes some hundred bytes for each of them."""
_NUMBERS = frozenset((int, float))
_array_of = operator.attrgetter("array")


class Lanes:
    """The lanes that were taken last, by the positions of the parameters in the order in which they are given."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Lane] = {}

    def get(self, positions: tuple[int, ...]) -> Lane | None:
        """That for some parameters, or None."""
        return self._kept.get(positions)

    def keep(self, positions: tuple[int, ...], lane: Lane) -> None:
        """Keep one, as the latest; those that were not taken for the longest time make room."""
        kept = self._kept
        kept.pop(positions, None)
        kept[positions] = lane
        while len(kept) > 1 and (len(kept) > _KEPT or sum(map(len, kept)) > _PARAMETERS):
            del kept[next(iter(kept))]

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()


def lane_of(
    rule: Rule, present: list[int], known: Sequence[Facts], seen: Seen, begin: Callable[[], Begin | None]
) -> Lane | None:
    """A lane for some parameters; None if their update has no short way.

    Args:
        rule: the optimizer.
        present: the positions of the parameters, in order.
        known: what is known of all parameters.
        seen: the attributes of the rule as they were recorded.
        begin: gives the recorded `begin_step`, or None if there is none.
    """
    groups = _alike(present, known)
    if groups is None or rule.jit_compile is False or not Bookkeeping.serves(rule, len(present)):
        return None
    if not _are_numbers(rule, present):
        return None
    begun = begin() if rule.has_begin_step() else None
    if rule.has_begin_step() and (begun is None or begun.reads_arrays):
        return None
    parts: list[Part] = []
    for indices in groups:
        part = _part_of(rule, indices, [known[index] for index in indices])
        if part is None:
            return None
        parts.append(part)
    joint = any([part.spread and part.way.adds_up for part in parts])
    return Lane(rule, present, parts, seen, begun, Together(rule, groups) if joint else None)


def _part_of(rule: Rule, indices: list[int], together: list[Facts]) -> Part | None:
    """What one kernel does for parameters that are alike; None if they have no program, or no quick look at them."""
    way = together[0].pass_
    if way is None:
        return None
    orders = [facts.order for facts in together]
    found = _in_rows(together[0], way) if together[0].axes is not None else _whole(together, orders, way)
    if found is None:
        return None
    table, look = found
    spread = any([facts.spread for facts in together])
    cells = [cell for index in indices for cell in rule.cells.grouped[index]]
    return Part(way, [(0, indices)], table, look, table.nowhere(way.columns + 1), cells, orders, spread)


def _alike(present: Sequence[int], known: Sequence[Facts]) -> list[list[int]] | None:
    """Parameters that one kernel can update together; None if one is not simple."""
    # Of a parameter with a gradient of rows each step names others: it has a part of its own.
    groups: dict[tuple[Way | None, tuple[str, ...], int | None], list[int]] = {}
    for index in present:
        facts = known[index]
        if not facts.simple:
            return None
        groups.setdefault((facts.way, facts.stored, None if facts.axes is None else index), []).append(index)
    return list(groups.values())


def _whole(together: list[Facts], orders: list[Order], way: Way) -> tuple[Any, Any] | None:
    """The work on parameters, and a quick look at their arrays; None if there is none."""
    backend = together[0].cells[0].backend
    look = backend.lookout([facts.shape for facts in together], orders, way.stored)
    return None if look is None else (table_of([facts.size for facts in together], way.stored[-1], backend), look)


def _in_rows(facts: Facts, way: Way) -> tuple[Any, Any] | None:
    """The same for one parameter, of which a gradient names some rows."""
    cell = facts.cells[0]
    return None if facts.axes is None else cell.backend.row_lookout(cell.shape, facts.axes, way.stored)


def _are_numbers(rule: Rule, present: Sequence[int]) -> bool:
    """Whether the host can read all numbers that a step reads and counts."""
    cells = [rule.cells.iterations, *(cell for cell in rule.cells.shared if cell.backend is HOST)]
    cells += [cell for index in present for cell in rule.cells.numbers[index]]
    return _NUMBERS.issuperset(map(type, map(_array_of, cells)))
