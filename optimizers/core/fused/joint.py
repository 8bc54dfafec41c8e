"""Steps of one or several optimizers that are ready to be made again: those of the parameter groups of a front end.

Where each of them would take its short way, and all its passes only write, what is the same for all is done once: one
look at all memory, and one call for all that run the same program, with scalars of their own. If anything is not like
the last time, nothing has happened, and each makes its step alone.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from ....backends import Backend, Order, Variable, any_scope
from ....backends.kernels.intervals import Intervals, joined
from ..prepared import InCalls
from ..rule import Rule
from ..step import Bookkeeping
from .attributes import of_optimizers_alone
from .lane import Lane
from .memory import Memory
from .part import Part, Parts
from .ways import Way, before_gradients, table_of

_array_of = operator.attrgetter("array")
_lane_of = operator.attrgetter("lane")


_FEW = 4
"""Parameters, up to which what is the same for several optimizers is shared: there may be one for each parameter."""


@functools.lru_cache(maxsize=256)
def _look(backend: Backend, shapes: tuple[Any, ...], orders: tuple[Order, ...], stored: tuple[str, ...]) -> Any:
    look = backend.lookout(shapes, orders, stored)
    if look is None:
        raise LookupError("there is no quick look at arrays")
    return look


_shared_table = functools.lru_cache(maxsize=256)(table_of)


_WAYS: dict[Any, Way] = {}
_MANY = 64
"""Ways that are shared; rules have a few."""


def _key(way: Way) -> Any:
    # Equal programs may differ in the sign of a zero.
    return way.program, repr(way.program.constants), way.dtype, way.stored


def _same_ways(key: Any, way: Way) -> Way:
    """One way for all optimizers whose programs are the same."""
    if len(_WAYS) >= _MANY:
        # Constants that change in each step make new ones for ever.
        _WAYS.clear()
    return _WAYS.setdefault(key, way)


@functools.lru_cache(maxsize=64)
def _same_numbers(names: tuple[str, ...], values: tuple[float, ...]) -> dict[str, Any]:
    """One dictionary for all optimizers that have the same numbers: what follows from these is computed once."""
    return dict(zip(names, values, strict=True))


class Joint:
    """Steps that are ready to be made again.

    Args:
        rules: the optimizers.

    Attributes:
        counted: the numbers that a step changes: it counts them up.

    Raises:
        LookupError: if they have no such step.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._lanes: list[Lane] = _short_ways(rules)
        self._rules = tuple(rules)
        self._fusions = [rule.fusion for rule in rules]
        self._backend = rules[0].cells.parameters[0].backend
        self._attributes: list[dict[str, Any]] = [{} for _ in rules]
        self._rates: list[Variable] = [rule.cells.rate for rule in rules]
        self._follow(range(len(rules)))
        gradients = sum(lane.count for lane in self._lanes)
        self._parts: list[Part] = []
        # Where each part's gradients stand among those of all; None if it is all of them.
        self._places: list[list[int] | None] = []
        for several in _by_program(self._lanes):
            places = [place for _, _, own in several for place in own]
            self._parts.append(self._joined(several))
            self._places.append(None if places == list(range(gradients)) else places)
        self._work = Parts(self._parts)
        self._memory = Memory(self._parts, _memory_of(self._lanes))
        self._hold_arrays()
        kernels = [(part.way, part.shares) for part in self._parts]
        self._books = Bookkeeping(rules, [lane.present for lane in self._lanes], kernels)
        self.counted = self._books.changing

    def _joined(self, several: list[tuple[int, Part, Sequence[int]]]) -> Part:
        """The parts of several optimizers that run the same program as one."""
        parts = [part for _, part, _ in several]
        way = _same_ways(_key(parts[0].way), parts[0].way)
        cells = [cell for part in parts for cell in part.cells]
        table, look = parts[0].table, parts[0].look
        if len(parts) > 1 or (len(cells) <= _FEW * way.columns and not table.partial):
            table, look = self._table_and_look(parts, [cell.shape for cell in cells[:: way.columns]], way)
        # Of no gradient is it known yet that it does not lie in what another optimizer writes.
        before = before_gradients([part.before for part in parts])
        return Part(way, [(member, part.indices) for member, part, _ in several], table, look, before, cells)

    def _table_and_look(self, parts: list[Part], shapes: list[Any], way: Way) -> tuple[Any, Any]:
        """The work on the parameters of several parts, and what tells where their arrays lie."""
        orders = [order for part in parts for order in part.orders]
        sizes = [size for part in parts for size in part.table.sizes.tolist()]
        few = len(sizes) <= _FEW
        table = (_shared_table if few else table_of)(tuple(sizes), way.stored[-1], self._backend)
        look = (_look if few else _look.__wrapped__)(self._backend, tuple(shapes), tuple(orders), way.stored)
        return table, look

    def holds(self) -> bool:
        """Whether the short ways of the optimizers are those that they had."""
        return all(map(operator.is_, map(_lane_of, self._fusions), self._lanes))

    def arrays(self) -> list[Any]:
        """What parameters and slots held when that was looked at last."""
        return [array for held in self._held for array in held]

    def lasts(self) -> bool:
        """Whether this may be the next step again, after one that was made in another way."""
        return self.holds() and all([lane.only_writes for lane in self._lanes])

    def _follow(self, members: Sequence[int]) -> None:
        """Take over the numbers that some of the optimizers have now."""
        for member in members:
            self._renumber(member, lasting=True)
            self._rates[member] = self._rules[member].cells.rate

    def _renumber(self, member: int, lasting: bool) -> None:
        attributes = self._lanes[member].attributes
        # What changes in each step is like that of no other optimizer.
        if lasting:
            attributes = _same_numbers(tuple(attributes), tuple(attributes.values()))
        self._attributes[member] = attributes

    def prepared(
        self, gradients: list[Any], changed: Sequence[int], renumbered: Sequence[int], sure: bool
    ) -> InCalls | None:
        """One step of each, but for what it writes, if all are like the last ones.

        Args:
            gradients: of all, in the order of the optimizers and their parameters.
            changed: the optimizers whose attributes may have changed since the last step.
            renumbered: those of which only numbers may have, which were in use and are.
            sure: whether it is known that nothing else has used the optimizers since then, and that they hold the same
                arrays. Where these lie is looked at in any case.

        Raises:
            What a schedule of one of them raises; nothing has changed then.
        """
        if any_scope() or ((changed or renumbered or not sure) and not self._is_known(changed, renumbered, sure)):
            return None
        books, rules = self._books, self._rules
        numbers = [*map(_array_of, books.cells), *map(_array_of, self._rates)]
        rates = books.scheduled_rates(rules, numbers) if books.scheduled else numbers[-len(rules) :]
        kept = [
            (held, gradients if places is None else [gradients[place] for place in places])
            for places, held in zip(self._places, self._held, strict=True)
        ]
        found = self._memory.look(kept)
        reckoned = None if found is None else books.reckoned(rules, rates, numbers, self._attributes, {})
        calls = None if found is None or reckoned is None else self._work.calls(found, reckoned[0])
        if calls is None or reckoned is None:
            return None
        return InCalls(self._backend, self._written, calls, books.changing, reckoned[1], (kept, found))

    def _hold_arrays(self) -> None:
        """Find out what parameters and slots hold now, and which of it a step writes, where somebody counts that."""
        self._held = [list(map(_array_of, part.cells)) for part in self._parts]
        parts = zip(self._parts, self._held, strict=True) if self._backend.counts_writes else ()
        self._written = [array for part, held in parts for array in part.written(held)]

    def _is_known(self, changed: Sequence[int], renumbered: Sequence[int], sure: bool) -> bool:
        """Whether optimizers are what they were but for their numbers, which are taken over. See `prepared`."""
        if not sure:
            if not self.holds():
                return False
            self._hold_arrays()
        if changed:
            if not all([self._lanes[member].is_as_seen(self._rules[member]) for member in changed]):
                return False
            self._follow(changed)
        for member in renumbered:
            if not self._lanes[member].reread(self._rules[member]):
                return False
            self._renumber(member, lasting=len(self._rules) > 1)
        return True


def _short_ways(rules: Sequence[Rule]) -> list[Lane]:
    """The short ways of optimizers that can be taken together.

    Raises:
        LookupError: if there are none.
    """
    lanes = [lane for lane in lanes_of(rules) if lane is not None]
    if len(lanes) < len(rules):
        raise LookupError("some have no short way whose passes only write")
    if not all(map(of_optimizers_alone, rules)) or any(rule.gradient_divisor is not None for rule in rules):
        raise LookupError("a user's rule may change its attributes, and every step looks at them")
    return lanes


def _memory_of(lanes: Sequence[Lane]) -> Intervals:
    """What all of them write.

    Raises:
        LookupError: if some of it was not seen yet, or two write to the same.
    """
    seen = [lane.memory.seen for lane in lanes if lane.memory.seen is not None]
    if len(seen) < len(lanes):
        raise LookupError("some memory was not seen yet")
    memory = joined(seen)
    if memory is None:
        raise LookupError("they write to the same memory")
    return memory


def _by_program(lanes: Sequence[Lane]) -> list[list[tuple[int, Part, Sequence[int]]]]:
    """The parts of all that one kernel can run together, each with the number of its lane and where gradients stand."""
    groups: dict[Any, list[tuple[int, Part, Sequence[int]]]] = {}
    first = 0
    for member, lane in enumerate(lanes):
        for part, places in lane.placed():
            # Rows are those of one parameter.
            key = *_key(part.way), len(groups) if part.table.partial else None
            groups.setdefault(key, []).append((member, part, [first + place for place in places]))
        first += lane.count
    return list(groups.values())


def lanes_of(rules: Sequence[Rule]) -> list[Lane | None]:
    """For each optimizer its short way, if all passes of that only write and look at no norm."""
    lanes = [rule.fusion.lane for rule in rules]
    return [lane if isinstance(lane, Lane) and lane.only_writes else None for lane in lanes]
