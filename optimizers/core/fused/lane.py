"""The short way of a step for some of the parameters, which are what they were when they were recorded.

What is known of the parameters is put together here: which kernels run, on which tables of addresses, and what must
hold. One look at all gradients and all memory together tells whether it does; where memory lies elsewhere than in the
step before, or was never seen, whether what is written lies apart is found out for all of it at once. If something does
not hold, nothing has happened and the general step takes over, which also has the words for what is wrong.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ....backends import Order, Scope, Variable, any_scope
from ..checks import check_gradient
from ..insertion import Insertion
from ..prepared import InCalls
from ..rule import Rule
from .attributes import Seen
from .memory import Memory
from .ways import Begin, InTable, Together, Way, calls_of, lines_with, read_as, squares_of, step_values

if TYPE_CHECKING:  # Numba is imported when there is a first table.
    from ....backends.kernels.table import Table

_PARTS = 8
"""Up to so many parts, those of further parameters are added: more in each step take longer than to find all anew."""
_LISTS = (list, tuple)
_NUMBERS = (float, int)
_array_of, _name_of = operator.attrgetter("array"), operator.attrgetter("name")


class _Part(NamedTuple):
    """What one kernel does in a step, for the parameters of some positions."""

    way: Way
    indices: list[int]
    cells: list[Variable]
    written: Callable[[Sequence[Any]], Sequence[Any]]
    table: Table
    before: Any
    look: Callable[..., Any]
    numbers: list[tuple[Variable, ...]]
    orders: list[Order]
    otherwise: set[int]
    spread: bool

    @property
    def stored(self) -> tuple[str, ...]:
        """The dtypes in which the arrays of each parameter and its gradient are stored."""
        return self.way.stored


class Lane:
    """A step that is ready to be made.

    Args:
        rule: the optimizer.
        present: the positions of the parameters that have a gradient.
        parts: for each kernel the way, the positions of its parameters, their table, a function that tells where all
            arrays lie, if they are what they should be, in which order the elements of each parameter lie, and whether
            processes hold some of them together.
        seen: the attributes of the rule as they were recorded.
        begin: `begin_step`, or None if there is none.
        told: what tells processes that hold parameters together what each found, or None.

    Attributes:
        present: as given.
        memory: of the parameters and their slots.
    """

    def __init__(
        self, rule: Rule, present: list[int],
        parts: list[tuple[Way, list[int], Table, Callable[..., Any], list[Order], bool]],
        seen: Seen, begin: Begin | None, told: Together | None,
    ) -> None:  # fmt: skip
        self._told = told
        self.present = present
        self._seen = seen
        self._begin = begin
        self._scaled = rule.loss_scale_factor is not None
        self._clipped = rule.clips_norms
        self._backend = rule.cells.parameters[0].backend
        cells = rule.cells.parameters
        self._agreement = self._backend.agreement(
            list(map(_array_of, cells)), list(map(_name_of, cells)), present
        )
        self.parts = [
            _Part(way, indices, [cell for index in indices for cell in rule.cells.grouped[index]],
                  _written(way.targets, columns),
                  table, table.nowhere(columns + 1), look,
                  # One after another for all parameters: what not all of them have, their program does not read.
                  list(zip(*[rule.cells.numbers[index] for index in indices])) if way.uses_numbers else [],  # noqa: B905
                  orders, set(), spread)
            for way, indices, table, look, orders, spread in parts
            for columns in (len(rule.cells.grouped[indices[0]]),)
        ]  # fmt: skip
        self.memory = Memory(self.parts, None)
        self._set_up(rule)

    def _set_up(self, rule: Rule) -> None:
        self._rows = [number for number, part in enumerate(self.parts) if part.table.partial]
        # Nothing is read before it is known what is written.
        self._at_once = self._told is None and all([part.way.single_pass is not None for part in self.parts])
        counts = rule.cells.counts
        self._counts = [count for index in self.present for count in counts[index]] if counts else []
        self.arrange(rule, self.present)

    def arrange(self, rule: Rule, order: list[int]) -> None:
        """Expect the parameters in this order, the positions at which they were built."""
        self._order = order
        self._in_order = order == list(range(len(rule.cells.parameters)))
        place = None if self._in_order else {index: position for position, index in enumerate(order)}
        # None for parts that take the gradients as they come.
        self._places = [
            None if part.indices == order else part.indices if place is None else [place[each] for each in part.indices]
            for part in self.parts
        ]
        self._cells = [rule.cells.parameters[index] for index in order]

    def with_further(self, rule: Rule, other: Lane, insertion: Insertion) -> Lane | None:
        """This and the short way of further parameters in one, where what is known of memory stays known; or None.

        Args:
            rule: the optimizer, which has got them.
            other: the short way for them.
            insertion: where they stand now among those that were known.
        """
        others = [each for lane in (self, other) for each in (lane._begin, lane._told, lane._agreement)]
        if self.memory.seen is None or any(each is not None for each in others):
            return None
        if len(self.parts) + len(other.parts) > _PARTS:
            return None
        both = copy.copy(self)
        both.parts = [*[part._replace(indices=insertion.moved(part.indices)) for part in self.parts], *other.parts]
        both.memory = Memory(both.parts, self.memory.seen)
        both.present = sorted([*insertion.moved(self.present), *other.present])
        both._seen = other._seen
        both._set_up(rule)
        return both

    def prepared(self, rule: Rule, gradients: Any, variables: Any, rate: Any = None) -> InCalls | None:
        """The step but for what it writes, if it is like the last one.

        Args:
            rule: the optimizer.
            gradients: of the step.
            variables: the parameters, or None for all in the expected order.
            rate: of the step. Default: the optimizer's.

        Raises:
            What a schedule or a scalar of the rule raises.
            Disagreement: if another process, which holds parameters too, does not make it.
        """
        if self._agreement is None:
            return self._looked_at(rule, gradients, variables, rate)
        with self._agreement:
            return self._looked_at(rule, gradients, variables, rate)

    def _looked_at(self, rule: Rule, gradients: Any, variables: Any, rate: Any) -> InCalls | None:
        if any_scope() or (variables is not None and (type(variables) not in _LISTS or not self._are_known(variables))):
            return None
        if not self.is_expected(rule, gradients, in_order=variables is None):
            return None
        # A schedule is code of the user's: the last that runs before memory is looked at.
        if rate is None:
            rate = rule.rate_at(rule.cells.iterations.array, rule.cells.rate.array)
        written: list[Any] = []
        kept = self._held(gradients, written)
        addresses = None if kept is None else self.memory.look(kept, self._brought)
        if addresses is None:
            return None
        factors = self._factors(rule, gradients, addresses) if self._clipped else {}
        if type(rate) not in _NUMBERS or (factors and any(type(each) not in _NUMBERS for each in factors.values())):
            return None
        lines, pending = self._scalars_now(rule, rate, factors)
        if self._rows and not all(self.parts[k].way.leaves_still(line) for k in self._rows for line in lines[k]):
            return None
        work = zip(self.parts, addresses, lines, strict=True)
        if self._at_once:
            calls = [part.way.ready(part.table, found, own) for part, found, own in work]
        else:
            running = [part.way.passes(InTable(part.table, found), own) for part, found, own in work]
            calls = calls_of(running, self._told)
        cells = self.counted(rule)
        after = [cell.array + 1 for cell in cells]
        if pending:
            cells += [cell for cell, _ in pending]
            after += [value for _, value in pending]
        return InCalls(self._backend, written, calls, cells, after, (kept, addresses))

    def _held(self, gradients: Any, written: list[Any]) -> list[tuple[Any, Any]] | None:
        """For each kernel what parameters and slots hold, and the gradients; None if some lie elsewhere.

        Args:
            gradients: of the step.
            written: takes what will be written, where somebody counts that.
        """
        kept: list[tuple[Any, Any]] = []
        for part, places in zip(self.parts, self._places, strict=True):
            held: Sequence[Any] = list(map(_array_of, part.cells))
            given = gradients if places is None else [gradients[place] for place in places]
            if self._backend.counts_writes:
                written += part.written(held)
            if part.spread:
                here = self._backend.rows_held_here(held, given)
                if here is None:
                    return None
                held, given = here
            if part.otherwise:
                given = self._plainly(part, held, given, part.otherwise)
            kept.append((held, given))
        return kept

    def _scalars_now(
        self, rule: Rule, rate: Any, factors: dict[int, Any]
    ) -> tuple[list[list[dict[str, Any]]], list[tuple[Variable, Any]]]:
        """This step's scalars for each kernel, and the numbers that `begin_step` gives cells."""
        divisor, numbers = rule.loss_scale_factor, self._seen.values
        if self._begin is None:
            values = step_values(rule, rate, divisor, numbers)
            return [self._lines(part, values, factors) for part in self.parts], []
        with Scope((cell, cell.value) for cell in self._scalars(rule)) as scope:
            values = step_values(rule, rate, divisor, numbers)
            for cell, value in self._begin.run(rule, values, [factors.get(index) for index in self.present], []):
                cell.assign(value)
            values = step_values(rule, rate, divisor, numbers)
            lines = [self._lines(part, values, factors) for part in self.parts]
        return lines, list(scope.writes())

    def is_expected(self, rule: Rule, gradients: Any, in_order: bool) -> bool:
        """Whether a step has as many gradients as the last one, and the optimizer is what it was.

        Args:
            rule: the optimizer.
            gradients: of the step.
            in_order: whether they stand in the order in which the optimizer was built.
        """
        if type(gradients) not in _LISTS or len(gradients) != len(self.present) or (in_order and not self._in_order):
            return False
        return self.is_as_seen(rule)

    def is_as_seen(self, rule: Rule) -> bool:
        """Whether the optimizer is what it was; numbers may have changed."""
        return (rule.loss_scale_factor is not None) is self._scaled and self._seen.still(rule)

    def reread(self, rule: Rule) -> bool:
        """Take over the optimizer's numbers, of which it is known that nothing else has changed; whether it may be."""
        return self._seen.reread(rule)

    @property
    def only_writes(self) -> bool:
        """Whether all that runs only writes to plain memory, and scalars need nothing that is found out in the step."""
        if self._begin is not None or self._clipped or self._told is not None:
            return False
        return not any(part.spread or part.otherwise or part.way.single_pass is None for part in self.parts)

    @property
    def count(self) -> int:
        """How many parameters there are."""
        return len(self._order)

    def placed(self) -> list[tuple[Any, Sequence[int]]]:
        """What each kernel does, with the places of its parameters' gradients."""
        order = range(len(self._order))
        return [
            (part, order if places is None else places) for part, places in zip(self.parts, self._places, strict=True)
        ]

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of the optimizer, by their names in programs, as they were when it was looked at last."""
        return self._seen.values

    def counted(self, rule: Rule) -> list[Variable]:
        """The numbers of steps that a step counts up."""
        return [*self._counts, rule.cells.iterations]

    def _are_known(self, variables: Sequence[Any]) -> bool:
        """Whether these are the parameters: either their cells or their arrays."""
        cells = self._cells
        if len(variables) != len(cells):
            return False
        return all(map(operator.is_, variables, map(_array_of, cells))) or all(map(operator.is_, variables, cells))

    def _brought(self, number: int, held: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """Gradients as a kernel reads them. Some may come otherwise; what came so once will come so again."""
        return self._plainly(self.parts[number], held, gradients, range(len(gradients)))

    def _plainly(self, part: _Part, held: Sequence[Any], gradients: Sequence[Any], rows: Iterable[int]) -> list[Any]:
        """Gradients, of which those of some rows are plain arrays or copies, if they fit, and those were not."""
        brought = list(gradients)
        columns = len(part.cells) // len(part.indices)
        for row in rows:
            name = part.cells[row * columns].name
            brought[row] = self._plain(gradients[row], held[row * columns], name, part.way, part.orders[row])
            if brought[row] is not gradients[row]:
                part.otherwise.add(row)
        return brought

    def _plain(self, gradient: Any, parameter: Any, name: str, way: Way, order: Order) -> Any:
        """A gradient that fits its parameter as kernels read it; any other as it is."""
        backend = self._backend
        if not backend.of_plain_class(gradient) or not backend.concrete(gradient):
            return gradient
        shape = backend.shape(parameter)
        if not (backend.fits_plainly(gradient, parameter) and backend.why_no_values(gradient) is None):
            try:
                check_gradient(gradient, parameter, backend, shape, name)
            except (TypeError, ValueError):
                return gradient
        given = backend.plain(gradient)
        dtype = way.stored[-1]
        if read_as(backend.dtype_name(given), way.dtype) != dtype:
            # Another kernel reads it.
            return gradient
        lies_so = backend.address(given, dtype, shape, order, write=False) is not None
        return given if lies_so else backend.plain_copy(given, dtype, order)

    def _factors(self, rule: Rule, gradients: Sequence[Any], addresses: Sequence[Any]) -> dict[int, Any]:
        """What each gradient, clipped by a norm, is multiplied by.

        Args:
            rule: the optimizer.
            gradients: of the step.
            addresses: for each kernel where all arrays lie.
        """
        aligned: list[Any] = [None] * len(rule.cells.parameters)
        for index, gradient in zip(self._order, gradients, strict=True):
            aligned[index] = gradient
        with self._backend.arithmetic():
            return rule.clip_factors(aligned, self._squares(addresses))

    def _squares(self, addresses: Sequence[Any]) -> list[float] | None:
        """The sum of squares of each gradient, in the order of the parameters; None if not all can be read together."""
        found: dict[int, float] = {}
        for part, own in zip(self.parts, addresses, strict=True):
            # A copy is not what came, and sums are defined in row-major order.
            if part.spread or part.otherwise or part.table.partial or any(order is not None for order in part.orders):
                return None
            if part.stored[-1] not in ("float32", "float64"):
                return None
            found.update(zip(part.indices, squares_of(part.table, own), strict=True))
        return [found[index] for index in self.present]

    def _lines(self, part: _Part, values: dict[str, Any], factors: dict[int, Any]) -> list[dict[str, Any]]:
        """This step's scalars, for all parameters of a part or for each."""
        # Only `begin_step` puts the numbers into a scope.
        if self._begin is None:
            own = [list(map(_array_of, cells)) for cells in part.numbers]
        else:
            own = [[cell.value for cell in cells] for cells in part.numbers]
        return lines_with(values, part.indices, own, factors)

    def _scalars(self, rule: Rule) -> list[Any]:
        return [*rule.cells.host_scalars(), *(cell for index in self.present for cell in rule.cells.numbers[index])]


def _written(targets: Sequence[int], columns: int) -> Callable[[Sequence[Any]], list[Any]]:
    """A function of all arrays, one parameter after another, that gives those that are written."""
    if len(targets) == columns:
        return list
    return lambda held: [array for target in targets for array in held[target::columns]]
