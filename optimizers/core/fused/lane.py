"""A lane is the short way of a step, for parameters that are what they were when their rule was recorded.

What is known of the parameters is put together here: which kernels run, on which tables of addresses, and what must
hold. One look at all gradients and all memory together tells whether it does; where memory lies elsewhere than in the
step before, or was never seen, whether what is written lies apart is found out for all of it at once. If something does
not hold, nothing has happened and the general step takes over, which also has the words for what is wrong.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from ....backends import Order, any_scope
from ....backends.kernels.intervals import Intervals
from ..checks import check_gradient
from ..insertion import Insertion
from ..prepared import InCalls
from ..rule import Rule
from ..step import Bookkeeping
from .attributes import Seen
from .begin import Begin
from .memory import Memory
from .part import Part, Parts
from .ways import Together, Way, read_as, squares_of

_PARTS = 8
"""Up to so many parts, those of further parameters are added: more in each step take longer than to find all anew."""
_LISTS = (list, tuple)
_array_of, _name_of = operator.attrgetter("array"), operator.attrgetter("name")


class Lane:
    """A step that is ready to be made.

    Args:
        rule: the optimizer.
        present: the positions of the parameters that have a gradient.
        parts: what each kernel does.
        seen: the attributes of the rule as they were recorded.
        begin: `begin_step`, or None if there is none.
        told: what tells processes that hold parameters together what each found, or None.

    Attributes:
        present, parts: as given.
        memory: of the parameters and their slots.
        books: what a step does besides.
    """

    def __init__(
        self, rule: Rule, present: list[int], parts: list[Part], seen: Seen, begin: Begin | None, told: Together | None
    ) -> None:
        self._told = told
        self._seen = seen
        self._begin = begin
        self._clipped = rule.clips_norms
        self._backend = rule.cells.parameters[0].backend
        cells = rule.cells.parameters
        self._agreement = self._backend.agreement(
            list(map(_array_of, cells)), list(map(_name_of, cells)), present
        )
        self._set_up(rule, present, parts, None)

    def _set_up(self, rule: Rule, present: list[int], parts: list[Part], seen: Intervals | None) -> None:
        self.present, self.parts = present, parts
        self.memory = Memory(parts, seen)
        self._work = Parts(parts, self._told)
        self.books = Bookkeeping([rule], [present], [(part.way, part.shares) for part in parts], self._begin)
        self.arrange(rule, present)

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
        mine = [part.moved(insertion) for part in self.parts]
        both._seen = other._seen
        present = sorted([*insertion.moved(self.present), *other.present])
        both._set_up(rule, present, [*mine, *other.parts], self.memory.seen)
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
        if any_scope() or (variables is not None and not self._are_known(variables)):
            return None
        if not self.is_expected(rule, gradients, in_order=variables is None):
            return None
        books, rules = self.books, [rule]
        numbers = [*[cell.array for cell in books.cells], rule.cells.rate.array]
        rates = numbers[-1:] if rate is None else [rate]
        if books.scheduled and rate is None:
            rates = books.scheduled_rates(rules, numbers)
        written: list[Any] = []
        kept = self._held(gradients, written)
        found = None if kept is None else self.memory.look(kept, self._brought)
        if found is None:
            return None
        factors = self._factors(rule, gradients, found) if self._clipped else {}
        reckoned = None if factors is None else books.reckoned(rules, rates, numbers, [self._seen.values], factors)
        calls = None if reckoned is None else self._work.calls(found, reckoned[0])
        if calls is None or reckoned is None:
            return None
        return InCalls(self._backend, written, calls, books.changing, reckoned[1], (kept, found))

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
        return self._seen.still(rule)

    def reread(self, rule: Rule) -> bool:
        """Take over the optimizer's numbers, of which it is known that nothing else has changed; whether it may be."""
        return self._seen.reread(rule)

    @property
    def only_writes(self) -> bool:
        """Whether all that runs only writes to plain memory, and scalars need nothing that is found out in the step."""
        if not self.books.only_counts or self._clipped or self._told is not None:
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
    def attributes(self) -> dict[str, Any]:
        """The numbers among those of the optimizer, by their names in programs, as when it was looked at last."""
        return self._seen.values

    def _are_known(self, variables: Any) -> bool:
        """Whether these are the parameters: either their cells or their arrays."""
        cells = self._cells
        if type(variables) not in _LISTS or len(variables) != len(cells):
            return False
        return all(map(operator.is_, variables, map(_array_of, cells))) or all(map(operator.is_, variables, cells))

    def _brought(self, number: int, held: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """Gradients as a kernel reads them. Some may come otherwise; what came so once will come so again."""
        return self._plainly(self.parts[number], held, gradients, range(len(gradients)))

    def _plainly(self, part: Part, held: Sequence[Any], gradients: Sequence[Any], rows: Iterable[int]) -> list[Any]:
        """Gradients, of which those of some rows are plain arrays or copies, if they fit, and those were not."""
        brought = list(gradients)
        columns = part.way.columns
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

    def _factors(self, rule: Rule, gradients: Sequence[Any], found: Sequence[Any]) -> dict[int, Any] | None:
        """What each gradient is multiplied by, see `Bookkeeping`; `found` is where the arrays of each kernel lie."""
        aligned: list[Any] = [None] * len(rule.cells.parameters)
        for index, gradient in zip(self._order, gradients, strict=True):
            aligned[index] = gradient
        return self.books.factors(rule, aligned, self._squares(found))

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
