"""The run on trial: a step of a rule for some parameters, on arrays that tell what is done to them, in a scope."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, overload

from ....backends import HOST, Array, Scope, StepScope, UnknownValueError, backend_of, ops
from ....backends.mistakes import RuleMistake, line_of_function
from ....backends.scope import Cell
from ....backends.tracked import Tracked, raw
from ..rule import Rule
from .explaining import explained
from .guarding import check_no_attribute
from .values import LARGE, copy_of, is_traced, stand_in


class Gradients(Protocol):
    """The gradients of a step."""

    present: dict[int, None]

    def array(self, index: int) -> Array:
        """One of them as it came."""

    def prepared(self, index: int) -> Array:
        """One of them as a rule receives it."""


Gives: TypeAlias = Callable[[Any, str, bool], Any]
"""What a rule is given in place of an array or a number, which has a name, and of which is said whether it is a number.
"""


class Outcome(NamedTuple):
    """What a rule did with a parameter.

    Attributes:
        changed: whether it wrote to it.
        values: of the parameter, its slots and the numbers of the step that it wrote to, under the identities of their
            cells, because several may have one name: what errors call each, what it was before and what it is.
    """

    changed: bool
    values: dict[int, tuple[str, Any, Any]]


class Seen(NamedTuple):
    """What a rule has read and written, as identities of cells."""

    read: set[int]
    written: set[int]


def looked_after(value: Any, name: str, is_number: bool = False) -> Any:
    """What computes as an array or a number does, and tells what a rule asks of it that it may not."""
    backend = backend_of(value)
    # Nobody can read what has no values, and who asks for it is told so.
    if backend is None or backend.why_no_values(value) is not None:
        return value
    # What stands for a large one would take memory that nobody gave.
    stands = is_traced(value) and math.prod(backend.shape(value)) <= LARGE
    # Of a number `*=` makes another one, unless a library keeps it in an array that can change.
    return Tracked(stand_in(value, backend) if stands else value, name, lasting=not is_number or backend.writable)


def as_it_is(value: Any, name: str, is_number: bool = False) -> Any:
    """The array or the number itself, as in a step."""
    return value


def tried_out(
    rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int], gives: Gives, seen: Seen
) -> list[Outcome] | None:
    """Run a step for some parameters; None if it cannot be run with what it is given."""
    parameters, tried = rule.cells.parameters, None
    with _everything_held(rule):
        try:
            if rule.has_begin_step():
                cells = cells_with_values(rule)
                with _Held(cells, [cell.value for cell in cells], gives, seen) as scope:
                    present = [parameters[index] for index in gradients.present]
                    rule.begin_step(_AllGiven(gradients, gives), present, gives(rate, "learning rate", True))
                for cell, value in scope.writes():
                    if not is_traced(cell.value):
                        cell.assign(raw(value))
            found = []
            for index in indices:
                tried = parameters[index]
                found.append(_tried(rule, index, gradients.prepared(index), rate, gives, seen))
            return found
        except RuleMistake:
            raise
        except Exception as error:
            # Of errors that are no mistakes none: the step itself meets them again.
            mistake = explained(rule, error, tried)
            if mistake is not None:
                raise mistake from error
            return None


def _tried(rule: Rule, index: int, gradient: Array, rate: Any, gives: Gives, seen: Seen) -> Outcome:
    """Run the rule for one parameter."""
    parameter = rule.cells.parameters[index]
    backend = parameter.backend
    with rule.parameter_scope(index) as outer:
        cells = outer.cells()
        values = [*map(outer.get, cells), gradient]
        copies = list(map(copy_of, values))
        others = [cell for cell in (*rule.cells.step_scalars(), *rule.cells.shared) if not outer.holds(cell)]
        held = [*copies[:-1], *(cell.value for cell in others)]
        attributes = [set(vars(cell)) for cell in cells]
        with _Held([*cells, *others], held, gives, seen) as scope:
            before = {id(cell): raw(Scope.get(scope, cell)) for cell in (*cells, *others)}
            own_rate = gives(ops.cast(rate, gradient.dtype), "learning rate", True)
            returned: Any = rule.update_step(  # type: ignore[func-returns-value]  # it should return none
                gives(copies[-1], "gradient", False), parameter, own_rate
            )
    where = line_of_function(type(rule).update_step)
    for cell, known in zip(cells, attributes, strict=True):
        check_no_attribute(rule, cell, known)
    if returned is not None:
        raise RuleMistake(
            f"{where} returns a value, and what it returns is dropped: commit the step instead, as by "
            "self.assign_sub(variable, learning_rate * direction), and slots by self.assign(slot, value)."
        )
    names = [*(repr(cell.name) for cell in cells), "the gradient"]
    for value, copy, what in zip(values, copies, names, strict=True):
        if value is not copy and not backend.same_values(value, copy):
            raise RuleMistake(
                f"{where} changes the array of {what} in place, as `*=` and `out=` do: on other libraries that would "
                "change nothing. Make a new value, and commit it by self.assign, self.assign_add or self.assign_sub."
            )
    written = {
        id(cell): (parameter.name if cell is parameter.sink else cell.name, before[id(cell)], raw(value))
        for cell, value in scope.writes()
    }
    return Outcome(id(parameter.sink) in scope.written, written)


class _Held(Scope):
    """A scope in which cells hold what a rule is given, and what it assigns to a cell belongs to that."""

    __slots__ = ("_gives", "_seen")

    def __init__(self, cells: Sequence[Any], values: Sequence[Any], gives: Gives, seen: Seen) -> None:
        super().__init__()
        self._gives, self._seen = gives, seen
        for cell, value in zip(cells, values, strict=True):
            self.hold(cell, gives(value, _called(cell), cell.backend is HOST))

    def get(self, cell: Cell) -> Any:
        """As `Scope`."""
        # Around its branches a choice reads all cells.
        if sys._getframe(2).f_code.co_filename != ops.__file__:
            self._seen.read.add(id(cell))
        return super().get(cell)

    def set(self, cell: Cell, value: Any) -> None:
        """As `Scope`."""
        self._seen.written.add(id(cell))
        if type(value) is Tracked and backend_of(value.held) is not HOST:
            value.name, value.lasting = value.name or _called(cell), True
            value = Tracked(value.held, _called(cell))
        super().set(cell, value)


def _called(cell: Cell) -> str:
    return f"value of {cell.name!r}"


@contextlib.contextmanager
def _everything_held(rule: Rule) -> Iterator[None]:
    """A scope that takes whatever a rule writes."""
    held = [(cell, cell.value) for cell in cells_with_values(rule)]
    # What is computed from scalars here is not kept for the step itself.
    with StepScope(held, rule.cells.parameters[0].backend.level()):
        yield


def cells_with_values(rule: Rule) -> list[Any]:
    """The cells of a rule that hold something now."""
    cells = [cell for cells in rule.cells.grouped for cell in cells] + rule.cells.step_scalars()
    # Among a parameter's arrays may be some that are not of a dtype that is computed in.
    cells += [named.cell for named in rule.named_cells()]
    found = []
    for cell in dict.fromkeys(cells):
        # A parameter may have no value where only its change is asked for.
        with contextlib.suppress(UnknownValueError):
            _ = cell.value
            found.append(cell)
    return found


class _AllGiven(Sequence[Any]):
    """The gradients of a step, each as a rule is given it."""

    def __init__(self, gradients: Any, gives: Gives) -> None:
        self._gradients, self._gives = gradients, gives

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Any]: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        return self._gives(self._gradients[position], "gradient", False)

    def __len__(self) -> int:
        return len(self._gradients)
