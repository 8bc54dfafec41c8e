"""The short way of a functional step like one before: trees of the same structure, and arrays as plain as those.

What a general step finds out about the trees that it is given, leaf by leaf, is kept here: which kernels run on which
of the leaves, and where in the new trees what they write stands. One look at all arrays together tells whether they are
what they should be. If not, nothing has happened and the general step takes over, which also has the words for what is
wrong. Nothing here changes once it is made, so any number of threads may take one way at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ....backends import HOST, Backend, Order, Scope, leaves_scopes
from ..cells import NamedCell
from ..rule import Rule
from .attributes import Seen, is_ours
from .ways import Begin, Way, lines_with, named_values, table_of

if TYPE_CHECKING:  # Numba is imported when there is a first table.
    from ....backends.kernels.table import Table

_NUMBERS = (float, int)
_PLAIN = frozenset(_NUMBERS)
_KEPT, _KEPT_ALIKE = 16, 4
"""How many structures of trees are remembered, and ways for trees of one structure."""
_LARGEST = 2**62
"""A number from which on a general step is asked what comes next."""


class _Part(NamedTuple):
    """What one kernel does in a step, for the parameters of some positions.

    Attributes:
        run: updates them, with new arrays for what is written.
        indices: their positions.
        row: of all leaves and then all new arrays, those that the kernel takes, one parameter after another.
        table: the work.
        look: where they lie, if they are what they should be.
        numbers: for each scalar of its own, where those of all parameters stand among the numbers of a step.
    """

    run: Callable[[Table, Any, list[dict[str, Any]]], None]
    indices: list[int]
    row: Callable[[Sequence[Any]], Sequence[Any]]
    table: Table
    look: Callable[[Sequence[Any], Sequence[Any]], Any]
    numbers: list[list[int]]


class Again:
    """A functional step that is ready to be made again.

    Args:
        rule: a template of the same structure that nobody runs.
        ways: for each of its parameters that has a gradient how it is updated, by their positions.
        values: the optimizer's numbers, by their names in programs.
        begin: `begin_step`, or None if there is none.
        orders: in which the elements of the parameters that have a gradient lie, by their positions.
        kind: the class of the first parameter.
        deltas: whether deltas come in the place of new parameters; where there is no gradient, None.

    Attributes:
        present: the positions of the parameters that have a gradient.
        count: how many parameters there are.

    Raises:
        LookupError: if there is no short way.
    """

    def __init__(
        self, rule: Rule, ways: dict[int, Way], begin: Begin | None, orders: dict[int, Order], kind: type,
        deltas: bool,
    ) -> None:  # fmt: skip
        self._rule = rule
        self._begin = begin
        self.present = list(orders)
        self._kind = kind
        self._backend: Backend = rule.cells.parameters[0].backend
        self._number = self._backend.plain_number
        self._clipped = rule.clips_norms
        self.count = len(rule.cells.parameters)
        self._arrange(rule)
        self._plan(rule, ways, orders)
        if deltas:
            if any(index not in self._written for index in self.present):
                raise LookupError("a parameter is not updated")
            self._empty += self._absent

    def _arrange(self, rule: Rule) -> None:
        """Find out where among the leaves of all trees, and among the numbers of a step, each cell's value stands."""
        named_cells = rule.named_cells()
        self._slots: list[str] = list(rule.cells.slot_names)
        self._scalars = [named.name for named in named_cells if named.position is None]
        self._shared = [named.cell for named in named_cells if named.position is None]
        own = [named for named in named_cells if named.position is not None and named.cell.backend is HOST]
        _refuse_other_arrays(rule, named_cells)
        self._place = {id(cell): index for index, cell in enumerate(rule.cells.parameters)}
        for named in named_cells:
            if named.position is not None:
                column = self._slots.index(named.name)
                self._place[id(named.cell)] = self.count * (column + 1) + named.position
        self._cells = [rule.cells.iterations, *self._shared, *(named.cell for named in own)]
        self._number_of = {id(cell): number for number, cell in enumerate(self._cells)}
        self._own_places = [self._place[id(named.cell)] for named in own]
        self._counters = [self._number_of[id(cell)] for cell in rule.step_counters()]
        self._counts = [0]
        if rule.cells.counts:
            self._counts += [self._number_of[id(cell)] for index in self.present for cell in rule.cells.counts[index]]

    def _plan(self, rule: Rule, ways: dict[int, Way], orders: dict[int, Order]) -> None:
        """Find out what kernels take and write."""
        grouped: dict[Way, list[int]] = {}
        for index in self.present:
            grouped.setdefault(ways[index], []).append(index)
        self._parts: list[_Part] = []
        self._written: list[int] = []
        leaves = self.count * (1 + len(self._slots))
        for way, indices in grouped.items():
            row: list[int] = []
            for index in indices:
                cells = rule.cells.grouped[index]
                first = leaves + len(self._written)
                self._written += [self._place[id(cells[target])] for target in way.targets]
                row += [self._place[id(cell)] for cell in cells]
                row += range(first, leaves + len(self._written))
            arrays = len(rule.cells.grouped[indices[0]])
            shapes = [rule.cells.parameters[index].shape for index in indices]
            # Sums are defined in row-major order.
            lie = [None if way.adds_up else orders[index] for index in indices]
            look = self._backend.lookout(shapes, lie, way.apart.stored, arrays)
            if look is None:
                raise LookupError("there is no quick look at arrays")
            table = table_of([rule.cells.parameters[index].size for index in indices], way.stored[-1], self._backend)
            # One after another for all parameters: what not all of them have, their program does not read.
            own = zip(*(rule.cells.numbers[index] for index in indices)) if way.uses_numbers else ()  # noqa: B905
            numbers = [[self._number_of[id(cell)] for cell in cells] for cells in own]
            self._parts.append(_Part(way.apart.run, indices, picked(row), table, look, numbers))
        # What is passed on as it is, and not a parameter, may not be an array of the caller's under another name.
        passed = set(self._place.values()) - set(self._written) - set(self._own_places)
        self._passed = [place for place in passed if place >= self.count]
        self._empty = sorted({*range(leaves)} - set(self._place.values()))
        self._absent = sorted({*range(self.count)} - set(self.present))

    @property
    def passes_on(self) -> bool:
        """Whether some arrays of a state are those of the next one."""
        return bool(self._passed)

    @property
    def free(self) -> bool:
        """Whether the optimizer may have other numbers."""
        return bool(self._rule.fusion.free)

    def step(
        self, optimizer: Rule, own: dict[str, Any], leaves: list[Any], structure: Any, grads: Any, state: Any,
        learning_rate: Any,
    ) -> tuple[Any, tuple[Any, ...]] | None:  # fmt: skip
        """The new parameters, and the parts of the new state; None if it is another step.

        Args:
            optimizer: whose step it is.
            own: its numbers, by their names in programs.
            leaves: the parameters.
            structure: of their tree.
            grads: gradients, in a tree.
            state: before the step.
            learning_rate: checked, or None.

        Raises:
            What a schedule or a scalar of the rule raises.
        """
        flat = self.flat(leaves, structure, state)
        if flat is None:
            return None
        try:
            gradients = structure.flatten_up_to(grads)
        except Exception:
            # Anything may stand there: the general step tells what is wrong.
            return None
        base = state.learning_rate
        if type(base) not in _NUMBERS:
            base = optimizer.cells.rate.value if base is None else self._number(base)
        values, given = flat
        after = self.advance(optimizer, own, values, given, gradients, base, learning_rate)
        if after is None:
            return None
        if self._passed:
            self._part_from(values, [*leaves, *gradients])
        rate = state.learning_rate
        if rate is not None and rate is not base:
            rate = self._as_state(rate, base, base)
        return self.results(structure, values, state, after, rate)

    def flat(self, leaves: list[Any], structure: Any, state: Any) -> tuple[list[Any], list[Any]] | None:
        """The arrays, and the numbers, of the parameters and a state; None if they are of another kind."""
        slots, scalars = state.slots, state.scalars
        if type(leaves[0]) is not self._kind or type(slots) is not dict or type(scalars) is not dict:
            return None
        if len(slots) != len(self._slots) or len(scalars) != len(self._scalars):
            return None
        values, given = list(leaves), [state.iterations]
        try:
            for name in self._slots:
                values += structure.flatten_up_to(slots[name])
            given += [scalars[name] for name in self._scalars]
        except Exception:
            # Anything may stand in a state. Nothing has happened, and the general step tells what is wrong.
            return None
        given += [values[place] for place in self._own_places]
        return values, given

    def advance(
        self, optimizer: Rule, own: dict[str, Any], values: list[Any], given: list[Any], gradients: list[Any],
        base: Any, learning_rate: Any,
    ) -> list[Any] | None:  # fmt: skip
        """Put new arrays into the places of those that a step changes; the numbers after it; None if it is another.

        Args:
            optimizer: whose step it is.
            own: its numbers, by their names in programs.
            values: from `flat`.
            given: likewise.
            gradients: for each parameter, or None.
            base: the rate in the state.
            learning_rate: checked, or None.

        Raises:
            What a schedule or a scalar of the rule raises.
        """
        backend = self._backend
        if backend.watched():
            return None
        numbers = given
        if not _PLAIN.issuperset(map(type, given)):
            numbers = [each if type(each) in _NUMBERS else self._number(each) for each in given]
        if type(base) is not float or not 0.0 <= base < _LARGEST or not self._are_usual(numbers):
            return None
        rate = optimizer.rate_at(numbers[0], base) if learning_rate is None else learning_rate
        if type(rate) not in _NUMBERS or any([gradients[index] is not None for index in self._absent]):
            return None
        try:
            made = backend.empties([values[place] for place in self._written])
        except Exception:
            return None
        found = self._found(values + made, gradients)
        if found is None:
            return None
        factors = self._factors(optimizer, gradients) if self._clipped else {}
        if factors is None:
            return None
        shared, now = slice(1, 1 + len(self._shared)), numbers
        line = named_values(rate, base, now[0], now[shared], optimizer.loss_scale_factor, own)
        if self._begin is not None:
            found_now = self._begun(self._begin, line, base, numbers, factors)
            if found_now is None:
                return None
            now = found_now
            line = named_values(rate, base, now[0], now[shared], optimizer.loss_scale_factor, own)
        for part, addresses in zip(self._parts, found, strict=True):
            own_numbers = [[now[number] for number in column] for column in part.numbers]
            part.run(part.table, addresses, lines_with(line, part.indices, own_numbers, factors))
        for place, array in zip(self._written, made, strict=True):
            values[place] = array
        return self._after(given, numbers, now)

    def _found(self, everything: list[Any], gradients: list[Any]) -> list[Any] | None:
        """For each kernel where all arrays lie; None if one is not what it should be."""
        found = []
        for part in self._parts:
            addresses = part.look(part.row(everything), [gradients[index] for index in part.indices])
            if addresses is None:
                return None
            found.append(addresses)
        return found

    def _are_usual(self, numbers: list[Any]) -> bool:
        """Whether counts count, and all can be computed with; of others the general step tells what is wrong."""
        return (
            None not in numbers
            and all([-_LARGEST < each < _LARGEST for each in numbers])
            and all([type(numbers[k]) is int and numbers[k] >= 0 for k in self._counters])
        )

    def _factors(self, optimizer: Rule, gradients: list[Any]) -> dict[int, Any] | None:
        """What gradients that are clipped are multiplied by; None if that lies on a device."""
        with self._backend.arithmetic():
            factors: dict[int, Any] = optimizer.clip_factors(gradients, None, self._rule)
        return factors if all(type(each) in _NUMBERS for each in factors.values()) else None

    @leaves_scopes
    def _begun(
        self, begin: Begin, line: dict[str, Any], base: Any, numbers: list[Any], factors: dict[int, Any]
    ) -> list[Any] | None:
        """The numbers of a step after `begin_step`."""
        now = list(numbers)
        with Scope([(self._rule.cells.rate, base), *zip(self._cells, numbers, strict=True)]):
            for cell, value in begin.run(self._rule, line, [factors.get(index) for index in self.present], []):
                now[self._number_of[id(cell)]] = value
        return now if all(type(each) in _NUMBERS for each in now) else None

    def _part_from(self, values: list[Any], callers: list[Any]) -> None:
        """Copy what is passed on if it is an array of the caller's."""
        known = {id(array) for array in callers}
        for place in self._passed:
            if id(values[place]) in known:
                values[place] = self._backend.copy(values[place])

    def _after(self, given: list[Any], numbers: list[Any], now: list[Any]) -> list[Any]:
        """The numbers of the state after the step."""
        after = list(now)
        for number in self._counts:
            after[number] += 1
        if given is numbers:
            # What has been a fraction stays one.
            return [float(each) if type(before) is float else each for before, each in zip(given, after, strict=True)]
        return list(map(self._as_state, given, numbers, after))

    def results(
        self, structure: Any, values: list[Any], state: Any, after: list[Any], rate: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """All trees, from their leaves."""
        if self._own_places:
            for place, value in zip(self._own_places, after[1 + len(self._shared) :], strict=True):
                values[place] = value
        for place in self._empty:
            values[place] = None
        build, count = structure.unflatten, self.count
        slots, first = {}, count
        for name in self._slots:
            slots[name] = build(values[first : first + count])
            first += count
        if list(state.slots) != self._slots:
            slots = {name: slots[name] for name in state.slots}
        scalars = dict(zip(self._scalars, after[1:], strict=False)) if self._scalars else {}
        return build(values[:count]), (after[0], rate, slots, scalars)

    def _as_state(self, given: Any, before: Any, after: Any) -> Any:
        """A number as a state holds it: as it came, and what has been a fraction stays one."""
        if type(before) is float:
            after = float(after)
        return after if type(given) in _NUMBERS else self._backend.number(after, given)


def _refuse_other_arrays(rule: Rule, named_cells: Sequence[NamedCell]) -> None:
    """Raise if there are other arrays than parameters and their slots."""
    arrays = {id(cell) for cells in rule.cells.grouped for cell in cells}
    others = [named for named in named_cells if named.cell.backend is not HOST and id(named.cell) not in arrays]
    if any(named.position is None for named in others):
        raise LookupError("the step shares an array")
    if others:
        raise LookupError("it has an array that is no slot")


def picked(positions: list[int]) -> Callable[[Sequence[Any]], list[Any]]:
    """A function of a sequence that gives what stands in it at some positions."""
    if len(positions) > 1:
        getter = operator.itemgetter(*positions)
        return lambda values: list(getter(values))
    return lambda values: [values[position] for position in positions]


class Remembered:
    """The short ways of an optimizer, as long as it is what it was.

    Args:
        seen: the optimizer's attributes as they were.
    """

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._ways: dict[Any, tuple[Again, ...]] = {}

    def ways(self, structure: Any) -> tuple[Again, ...]:
        """Those for parameters in a tree of some structure, and for what is asked for; the latest first."""
        return self._ways.get(structure, ())

    def add(self, structure: Any, way: Again) -> None:
        """Remember one more. One thread at a time may do this."""
        known = self.ways(structure)
        if way not in known:
            while len(self._ways) >= _KEPT and structure not in self._ways:
                del self._ways[next(iter(self._ways))]
            self._ways[structure] = (way, *known)[:_KEPT_ALIKE]

    def renewed(self, rule: Rule) -> Remembered | None:
        """The same for the numbers that the optimizer has now, if nothing else has changed and no way depends on them.

        What slots a rule of the user's makes may depend on its numbers.
        """
        ours = is_ours(rule) and all(way.free for ways in list(self._ways.values()) for way in ways)
        seen = self.seen.renewed(rule) if ours else None
        if seen is None:
            return None
        other = Remembered(seen)
        other._ways = dict(self._ways)
        return other
