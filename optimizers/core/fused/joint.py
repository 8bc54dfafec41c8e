"""Steps of one or several optimizers that are ready to be made again: those of the parameter groups of a front end.

Where each of them would take its short way, and all its passes only write, what is the same for all is done once: one
look at all memory, and one call for all that run the same program, with scalars of their own. If anything is not like
the last time, nothing has happened, and each makes its step alone.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ....backends import HOST, Backend, Order, Variable, any_scope
from ....backends.kernels.intervals import Intervals, joined
from ..prepared import InCalls
from ..rule import Rule
from .attributes import is_ours
from .lane import Lane
from .memory import Memory
from .ways import Way, before_gradients, named_values, table_of

_NUMBERS = (float, int)
_NOTHING = Variable.placeholder(0.0, "nothing")
"""Stands for what is no number on the host."""
_array_of = operator.attrgetter("array")
_lane_of = operator.attrgetter("lane")


class _Share(NamedTuple):
    """What one optimizer has in a launch.

    Attributes:
        member: which of the optimizers.
        evaluate: gives this step's scalars.
        size: how many parameters.
        names: of the parameters' own numbers in programs.
        numbers: for each of these the cells of all parameters.
    """

    member: int
    evaluate: Callable[[dict[str, Any]], tuple[float, ...]]
    size: int
    names: list[str]
    numbers: list[tuple[Variable, ...]]


class _Launch(NamedTuple):
    """What one kernel does.

    Attributes:
        shares: of the optimizers.
        kernels: what runs.
        cells: of all parameters, with slots.
        places: of their gradients among those of all; None if it is all of them.
        targets: the places of what is written among what cells hold; None if it is all of it.
        table: the work.
        before: where all arrays lay in the step before.
        look: tells where they lie.
        stored: the dtypes in which the arrays of each parameter and its gradient are stored.
        still: where only some rows of a parameter are run over, whether all others stay as they are with some scalars.
    """

    shares: list[_Share]
    kernels: Any
    cells: list[Variable]
    places: list[int] | None
    targets: list[int] | None
    table: Any
    before: Any
    look: Any
    stored: tuple[str, ...]
    still: Callable[[Sequence[float]], bool] | None


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
        lanes = lanes_of(rules)
        if None in lanes:
            raise LookupError("some have no short way whose passes only write")
        if not all(map(is_ours, rules)) or any(rule.loss_scale_factor is not None for rule in rules):
            raise LookupError("a user's rule may change its attributes, and every step looks at them")
        self._rules = list(rules)
        self._fusions = [rule.fusion for rule in rules]
        self._lanes: list[Lane] = [lane for lane in lanes if lane is not None]
        self._backend = rules[0].cells.parameters[0].backend
        self._numbers: list[dict[str, Any]] = [{} for _ in rules]
        self._rates: list[Variable] = [rule.cells.rate for rule in rules]
        self._counts: list[Variable] = [rule.cells.iterations for rule in rules]
        self._shared = [
            [cell if cell.backend is HOST else _NOTHING for cell in rule.cells.shared] for rule in rules
        ]  # fmt: skip
        # Those whose rate is not the one that is set.
        self._scheduled: set[int] = set()
        self._follow(range(len(rules)))
        memory = _memory_of(self._lanes)
        gradients = sum(lane.count for lane in self._lanes)
        self._launches = [self._launch(parts, gradients) for parts in _by_program(self._lanes)]
        self._memory = Memory(self._launches, memory)
        self._held = [list(map(_array_of, launch.cells)) for launch in self._launches]
        self.counted = [cell for lane, rule in zip(self._lanes, rules, strict=True) for cell in lane.counted(rule)]

    def _launch(self, members: list[tuple[int, Any, list[int]]], gradients: int) -> _Launch:
        parts = [part for _, part, _ in members]
        way = _same_ways(_key(parts[0].way), parts[0].way)
        writing = way.single_pass
        assert writing is not None  # in what only writes
        columns = len(parts[0].before[0])
        cells = [cell for part in parts for cell in part.cells]
        shapes = [cell.shape for cell in cells[:: columns - 1]]
        table, look = parts[0].table, parts[0].look
        if len(parts) > 1:
            table, look = self._table_and_look(parts, shapes, way)
        # Of no gradient is it known yet that it does not lie in what another optimizer writes.
        before = before_gradients([part.before for part in parts])
        places = [place for _, _, own in members for place in own]
        targets = [row + target for target in way.targets for row in range(0, len(cells), columns - 1)]
        shares = [
            _Share(member, writing.evaluate, len(part.indices),
                   [f"number{number}" for number in range(len(part.numbers))], part.numbers)
            for member, part, _ in members
        ]  # fmt: skip
        return _Launch(
            shares, writing.kernels, cells, None if places == list(range(gradients)) else places,
            None if len(targets) == len(cells) else targets, table, before, look,
            way.stored, writing.leaves_still if table.partial else None,
        )  # fmt: skip

    def _table_and_look(self, parts: list[Any], shapes: list[Any], way: Way) -> tuple[Any, Any]:
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
            rule = self._rules[member]
            self._renumber(member, lasting=True)
            self._rates[member] = rule.cells.rate
            self._scheduled.discard(member)
            if rule.rate_follows_steps:
                self._scheduled.add(member)

    def _renumber(self, member: int, lasting: bool) -> None:
        numbers = self._lanes[member].numbers
        # What changes in each step is like that of no other optimizer.
        if lasting:
            numbers = _same_numbers(tuple(numbers), tuple(numbers.values()))
        self._numbers[member] = numbers

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
        rates = list(map(_array_of, self._rates))
        for member in self._scheduled:
            # A schedule is code of the user's: the last that runs before memory is looked at.
            rates[member] = self._rules[member].rate_at(self._counts[member].array, rates[member])
        kept = [
            (held, gradients if launch.places is None else [gradients[place] for place in launch.places])
            for launch, held in zip(self._launches, self._held, strict=True)
        ]
        found = self._memory.look(kept)
        if found is None or not all([type(rate) in _NUMBERS for rate in rates]):
            return None
        values = self._values_now(rates)
        calls: list[Any] = []
        written: list[Any] = []
        for launch, held, addresses in zip(self._launches, self._held, found, strict=True):
            lines = _lines(launch.shares, values)
            if launch.still is not None and not launch.still(lines[0]):
                return None
            calls.append(launch.table.writing(launch.kernels, addresses, lines))
            if self._backend.counts_writes:
                written += held if launch.targets is None else [held[target] for target in launch.targets]
        after = [cell.array + 1 for cell in self.counted]
        return InCalls(self._backend, written, calls, self.counted, after, (kept, found))

    def _is_known(self, changed: Sequence[int], renumbered: Sequence[int], sure: bool) -> bool:
        """Whether optimizers are what they were but for their numbers, which are taken over. See `prepared`."""
        if not sure:
            if not self.holds():
                return False
            self._held = [list(map(_array_of, launch.cells)) for launch in self._launches]
        if changed:
            if not all([self._lanes[member].is_as_seen(self._rules[member]) for member in changed]):
                return False
            self._follow(changed)
        for member in renumbered:
            if not self._lanes[member].reread(self._rules[member]):
                return False
            self._renumber(member, lasting=len(self._rules) > 1)
        return True

    def _values_now(self, rates: list[Any]) -> list[dict[str, Any]]:
        """This step's scalars of each optimizer; the same object for those that have the same as the one before."""
        values: list[dict[str, Any]] = []
        last: Any = None
        for rate, base_rate, count, shared, numbers in zip(
            rates, self._rates, self._counts, self._shared, self._numbers, strict=True
        ):
            now = rate, base_rate.array, count.array, [cell.array for cell in shared], numbers
            # Rates, or shared numbers, that are equal may differ in the sign of a zero.
            same = last is not None and now == last and rate and not shared
            values.append(values[-1] if same else named_values(rate, now[1], now[2], now[3], None, numbers))
            last = now
        return values


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


def _by_program(lanes: Sequence[Lane]) -> list[list[tuple[int, Any, list[int]]]]:
    """The parts of all that one kernel can run together, each with the number of its lane and where gradients stand."""
    groups: dict[Any, list[tuple[int, Any, list[int]]]] = {}
    first = 0
    for member, lane in enumerate(lanes):
        for part, places in lane.placed():
            # Rows are those of one parameter.
            key = *_key(part.way), len(groups) if part.table.partial else None
            groups.setdefault(key, []).append((member, part, [first + place for place in places]))
        first += lane.count
    return list(groups.values())


def _lines(shares: list[_Share], members: list[dict[str, Any]]) -> list[tuple[float, ...]]:
    """This step's scalars, one line for all parameters of a launch or one for each.

    Args:
        shares: of the optimizers in the launch.
        members: for each optimizer its scalars by name, to which those of a parameter are added; the same object for
            those that have the same.
    """
    rows: list[tuple[float, ...]] = []
    evaluated: int = 0
    last: Any = None
    for member, evaluate, size, names, numbers in shares:
        values = members[member]
        if size == 1:
            firsts = [cells[0].array for cells in numbers]
        else:
            own = [list(map(_array_of, cells)) for cells in numbers]
            firsts = [each[0] for each in own]
            if not all([each.count(each[0]) == size for each in own]):
                rows += [evaluate({**values, **dict(zip(names, each, strict=True))}) for each in zip(*own, strict=True)]
                evaluated, last = evaluated + size, None
                continue
        # Most have the numbers of the one before. Those that are equal may differ in the sign of a zero.
        if last is None or last[0] is not values or last[1] != firsts or 0 in firsts:
            line = values
            if names:
                line = values.copy()
                line.update(zip(names, firsts, strict=True))
            row = evaluate(line)
            evaluated, last = evaluated + 1, (values, firsts)
        rows += [row] * size
    return rows[:1] if evaluated == 1 else rows


def lanes_of(rules: Sequence[Rule]) -> list[Lane | None]:
    """For each optimizer its short way, if all passes of that only write and look at no norm."""
    lanes = [rule.fusion.lane for rule in rules]
    return [lane if lane is not None and lane.only_writes else None for lane in lanes]
