"""The short way of a functional step like one before: trees of the same structure, and arrays as plain as those.

What a general step finds out about the trees that it is given, leaf by leaf, is kept here: which kernels run on which
of the leaves, and where in the new trees what they write stands. One look at all arrays together tells whether they are
what they should be. If not, nothing has happened and the general step takes over, which also has the words for what is
wrong. Nothing here changes once it is made, so any number of threads may take one way at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ....backends import HOST, Backend, Order
from ..cells import NamedCell
from ..rule import Rule
from ..step import Bookkeeping
from .attributes import Seen, of_optimizers_alone
from .begin import Begin
from .part import Part, Parts
from .scalars import PLAIN, picked
from .ways import Way, table_of

_KEPT, _KEPT_ALIKE = 16, 4
"""How many structures of trees are remembered, and ways for trees of one structure."""
_LARGEST = 2**62
"""A number from which on a general step is asked what comes next."""


class State(Protocol):
    """What this reads of an `OptimizerState`, which is made by what stands above this."""

    @property
    def learning_rate(self) -> Any:
        """The rate, or None if it is a schedule's."""

    @property
    def slots(self) -> dict[str, Any]:
        """Trees, by the slot's name."""

    @property
    def scalars(self) -> dict[str, Any]:
        """What a whole step shares, by name."""

    @property
    def iterations(self) -> Any:
        """How many steps there were."""


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
        self.free = rule.fusion.free
        self.present = list(orders)
        self._kind = kind
        self._backend: Backend = rule.cells.parameters[0].backend
        self._number = self._backend.plain_number
        self._clipped = rule.clips_norms
        self.count = len(rule.cells.parameters)
        self._place_arrays(rule)
        self._plan(rule, ways, orders)
        self._place_numbers(rule, begin)
        if deltas:
            if any(index not in self._written for index in self.present):
                raise LookupError("a parameter is not updated")
            self._empty += self._absent

    def _place_arrays(self, rule: Rule) -> None:
        """Find out where among the leaves of all trees what each cell holds stands."""
        named_cells = rule.named_cells()
        _refuse_other_arrays(rule, named_cells)
        self._slots: list[str] = list(rule.cells.slot_names)
        self._scalars = [named.name for named in named_cells if named.position is None]
        self._place = {id(cell): index for index, cell in enumerate(rule.cells.parameters)}
        for cell, name, position in named_cells:
            if position is not None:
                self._place[id(cell)] = self.count * (self._slots.index(name) + 1) + position
        self._empty = sorted({*range(self.count * (1 + len(self._slots)))} - set(self._place.values()))
        self._absent = sorted({*range(self.count)} - set(self.present))

    def _plan(self, rule: Rule, ways: dict[int, Way], orders: dict[int, Order]) -> None:
        """Find out what kernels take and write."""
        grouped: dict[Way, list[int]] = {}
        for index in self.present:
            grouped.setdefault(ways[index], []).append(index)
        self._parts: list[Part] = []
        # Of all leaves and then all new arrays, those that each kernel takes, one parameter after another.
        self._rows: list[Callable[[Sequence[Any]], Sequence[Any]]] = []
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
            self._rows.append(picked(row))
            self._parts.append(Part(way.apart, [(0, indices)], *self._table_and_look(rule, way, indices, orders)))

    def _table_and_look(
        self, rule: Rule, way: Way, indices: list[int], orders: dict[int, Order]
    ) -> tuple[Any, Callable[..., Any]]:
        """The work of a kernel on some parameters, and what tells where their arrays lie."""
        cells = [rule.cells.parameters[index] for index in indices]
        # Sums are defined in row-major order.
        lie = [None if way.adds_up else orders[index] for index in indices]
        look = self._backend.lookout([cell.shape for cell in cells], lie, way.apart.stored, way.columns)
        if look is None:
            raise LookupError("there is no quick look at arrays")
        return table_of([cell.size for cell in cells], way.stored[-1], self._backend), look

    def _place_numbers(self, rule: Rule, begin: Begin | None) -> None:
        """Find out where what is a number of the step stands among the leaves of all trees."""
        own = [each.cell for each in rule.named_cells() if each.position is not None and each.cell.backend is HOST]
        kernels = [(part.way, part.shares) for part in self._parts]
        self._work = Parts(self._parts)
        self._books = Bookkeeping([rule], [self.present], kernels, begin, own)
        self._first = self._books.layout.first
        self._own_places = [self._place[id(cell)] for cell in self._books.cells[: self._first]]
        self._counters = [self._books.place[id(cell)] for cell in rule.step_counters()]
        # What is passed on as it is, and not a parameter, may not be an array of the caller's under another name.
        passed = set(self._place.values()) - set(self._written) - set(self._own_places)
        self._passed = [place for place in passed if place >= self.count]

    @property
    def passes_on(self) -> bool:
        """Whether some arrays of a state are those of the next one."""
        return bool(self._passed)

    def step(
        self, optimizer: Rule, own: dict[str, Any], leaves: list[Any], structure: Any, grads: Any, state: State,
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
        base = optimizer.cells.rate.value if state.learning_rate is None else state.learning_rate
        flat = self.flat(leaves, structure, state, base)
        if flat is None:
            return None
        try:
            gradients = structure.flatten_up_to(grads)
        except Exception:
            # Anything may stand there: the general step tells what is wrong.
            return None
        values, given = flat
        after = self.advance(optimizer, own, values, given, gradients, learning_rate)
        if after is None:
            return None
        if self._passed:
            self._part_from(values, [*leaves, *gradients])
        return self.results(structure, values, state, after, None if state.learning_rate is None else after[-1])

    def flat(self, leaves: list[Any], structure: Any, state: State, base: Any) -> tuple[list[Any], list[Any]] | None:
        """The arrays, and the numbers, of the parameters and a state; None if they are of another kind.

        Args:
            leaves, structure, state: as of `step`.
            base: the rate, the last of the numbers.
        """
        slots, scalars = state.slots, state.scalars
        if type(leaves[0]) is not self._kind or type(slots) is not dict or type(scalars) is not dict:
            return None
        if len(slots) != len(self._slots) or len(scalars) != len(self._scalars):
            return None
        values = list(leaves)
        try:
            for name in self._slots:
                values += structure.flatten_up_to(slots[name])
            shared = [scalars[name] for name in self._scalars]
        except Exception:
            # Anything may stand in a state. Nothing has happened, and the general step tells what is wrong.
            return None
        own = [values[place] for place in self._own_places] if self._own_places else self._own_places
        return values, [*own, state.iterations, *shared, base]

    def advance(
        self, optimizer: Rule, own: dict[str, Any], values: list[Any], given: list[Any], gradients: list[Any],
        learning_rate: Any,
    ) -> list[Any] | None:  # fmt: skip
        """Put new arrays into the places of those that a step changes; the numbers after it; None if it is another.

        Args:
            optimizer: whose step it is.
            own: its numbers, by their names in programs.
            values: from `flat`.
            given: likewise.
            gradients: for each parameter, or None.
            learning_rate: checked, or None.

        Raises:
            What a schedule or a scalar of the rule raises.
        """
        if self._backend.watched() or any([gradients[index] is not None for index in self._absent]):
            return None
        numbers = self._usual(given)
        if numbers is None:
            return None
        books, rules = self._books, [optimizer]
        rates = [learning_rate]
        if learning_rate is None:
            rates = books.scheduled_rates(rules, numbers) if books.scheduled else numbers[-1:]
        looked = self._looked_at(values, gradients)
        if looked is None:
            return None
        made, found = looked
        factors = books.factors(optimizer, gradients, None, self._rule) if self._clipped else {}
        reckoned = None if factors is None else books.reckoned(rules, rates, numbers, [own], factors)
        calls = None if reckoned is None else self._work.calls(found, reckoned[0])
        if calls is None or reckoned is None:
            return None
        for call in calls:
            call()
        for place, array in zip(self._written, made, strict=True):
            values[place] = array
        return self._after(given, numbers, reckoned[1])

    def _looked_at(self, values: list[Any], gradients: list[Any]) -> tuple[list[Any], list[Any]] | None:
        """Room for what a step writes, and for each kernel where all arrays lie; None if one is not what it should be.
        """
        try:
            made: list[Any] = self._backend.empties([values[place] for place in self._written])
        except Exception:
            # Anything may stand there.
            return None
        everything, found = [*values, *made], []
        for part, row in zip(self._parts, self._rows, strict=True):
            addresses = part.look(list(row(everything)), [gradients[index] for index in part.indices])
            if addresses is None:
                return None
            found.append(addresses)
        return made, found

    def _usual(self, given: list[Any]) -> list[Any] | None:
        """The numbers of a step as Python's; None unless counts count, and all can be computed with.

        Of others the general step tells what is wrong.
        """
        numbers = given
        if not PLAIN.issuperset(map(type, given)):
            numbers = [each if type(each) in PLAIN else self._number(each) for each in given]
        usual = (
            None not in numbers
            and all([-_LARGEST < each < _LARGEST for each in numbers])
            and all([type(numbers[k]) is int and numbers[k] >= 0 for k in self._counters])
            and type(numbers[-1]) is float
            and numbers[-1] >= 0.0
        )
        return numbers if usual else None

    def _part_from(self, values: list[Any], callers: list[Any]) -> None:
        """Copy what is passed on if it is an array of the caller's."""
        known = {id(array) for array in callers}
        for place in self._passed:
            if id(values[place]) in known:
                values[place] = self._backend.copy(values[place])

    def _after(self, given: list[Any], numbers: list[Any], changed: list[Any]) -> list[Any]:
        """The numbers after the step, of which some have changed, as the state holds them."""
        after = list(numbers)
        for place, number in zip(self._books.places, changed, strict=True):
            after[place] = number
        if given is numbers:
            # What has been a fraction stays one.
            return [float(each) if type(before) is float else each for before, each in zip(given, after, strict=True)]
        return list(map(self._as_state, given, numbers, after))

    def results(
        self, structure: Any, values: list[Any], state: State, after: list[Any], rate: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """All trees, from their leaves."""
        if self._own_places:
            for place, value in zip(self._own_places, after, strict=False):
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
        first = self._first
        scalars = dict(zip(self._scalars, after[first + 1 :], strict=False)) if self._scalars else {}
        return build(values[:count]), (after[first], rate, slots, scalars)

    def _as_state(self, given: Any, before: Any, after: Any) -> Any:
        """A number as a state holds it: as it came, and what has been a fraction stays one."""
        if type(before) is float:
            after = float(after)
        return after if type(given) in PLAIN else self._backend.number(after, given)


def _refuse_other_arrays(rule: Rule, named_cells: Sequence[NamedCell]) -> None:
    """Raise if there are other arrays than parameters and their slots."""
    arrays = {id(cell) for cells in rule.cells.grouped for cell in cells}
    others = [named for named in named_cells if named.cell.backend is not HOST and id(named.cell) not in arrays]
    if any(named.position is None for named in others):
        raise LookupError("the step shares an array")
    if others:
        raise LookupError("it has an array that is no slot")


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
        ours = of_optimizers_alone(rule) and all(way.free for ways in list(self._ways.values()) for way in ways)
        seen = self.seen.renewed(rule) if ours else None
        if seen is None:
            return None
        other = Remembered(seen)
        other._ways = dict(self._ways)
        return other
