"""The run on trial: a step of a rule for some parameters, on arrays that tell what is done to them, in a scope."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, overload

from ....backends import HOST, Array, Scope, StepScope, UnknownValueError, backend_of, ops
from ....backends.mistakes import RuleMistake, line_of_function
from ....backends.scope import Cell
from ....backends.tracked import Tracked, raw
from ..rule import Rule
from .explaining import explained
from .pieces import WHOLE, Pieces, PiecesHeld
from .remedies import commit_of
from .values import LARGE, copy_of, is_large, is_traced, stand_in


class Gradients(Protocol):
    """The gradients of a step."""

    arrays: list[Any]
    present: dict[int, None]

    def with_arrays(self, arrays: list[Any]) -> Gradients:
        """The same with others in the place of the arrays that came."""

    def array(self, index: int) -> Array:
        """One of them as it came."""

    def prepared(self, index: int) -> Array:
        """One of them as a rule receives it."""


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


class Given:
    """What a rule is given in the place of arrays and numbers: these themselves, as in a step.

    Args:
        pieces: how long the axes of arrays are.
    """

    def __init__(self, pieces: Pieces = WHOLE) -> None:
        self.pieces = pieces

    def array(self, value: Any, name: str) -> Any:
        """What stands for an array that errors call so."""
        return value

    def number(self, value: Any, name: str) -> Any:
        """What stands for a number, which a library may keep in an array."""
        return value

    def copy(self, value: Any) -> Any:
        """An array that nobody else has."""
        return copy_of(value)

    def scope(self, rule: Rule) -> StepScope:
        """A scope that takes whatever a rule writes."""
        held = [(cell, cell.value) for cell in cells_with_values(rule)]
        # What is computed from scalars here is not kept for the step itself.
        level = rule.cells.parameters[0].backend.level()
        return StepScope(held, level) if self.pieces is WHOLE else PiecesHeld(held, level, self.pieces)


class LookedAfter(Given):
    """What computes as an array or a number does, and tells what a rule asks of it that it may not."""

    def array(self, value: Any, name: str) -> Any:
        """As `Given`."""
        return self._tracked(value, name, True)

    def number(self, value: Any, name: str) -> Any:
        """As `Given`."""
        backend = backend_of(value)
        # Of a number `*=` makes another one, unless a library keeps it in an array that can change.
        return self._tracked(value, name, backend is not None and backend.writable)

    def copy(self, value: Any) -> Any:
        """The array itself where it is large: nothing changes what is looked after."""
        return value if is_large(value) else copy_of(value)

    def _tracked(self, value: Any, name: str, lasting: bool) -> Any:
        backend = backend_of(value)
        # Nobody can read what has no values, and who asks for it is told so.
        if backend is None or backend.why_no_values(value) is not None:
            return value
        if is_traced(value):
            shape = self.pieces.shape(backend.shape(value))
            # What stands for a large one would take memory that nobody gave.
            value = stand_in(shape, backend.dtype_name(value)) if math.prod(shape) <= LARGE else value
        return Tracked(value, name, lasting=lasting)


def tried_out(
    rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int], given: Given, seen: Seen
) -> list[Outcome] | None:
    """Run a step for some parameters; None if it cannot be run with what it is given."""
    parameters, tried = rule.cells.parameters, None
    with given.scope(rule):
        try:
            if rule.has_begin_step():
                cells = cells_with_values(rule)
                # Of what the cells hold now: decay and sums of a window go into them.
                prepared = [gradients.prepared(index) for index in gradients.present]
                with _Held(cells, [cell.value for cell in cells], given, seen) as scope:
                    present = [parameters[index] for index in gradients.present]
                    rule.begin_step(_AllGiven(prepared, given), present, given.number(rate, "learning rate"))
                for cell, value in scope.writes():
                    if not is_traced(cell.value):
                        cell.assign(raw(value))
            found = []
            for index in indices:
                tried = parameters[index]
                found.append(_tried(rule, index, gradients.prepared(index), rate, given, seen))
            return found
        except RuleMistake:
            raise
        except Exception as error:
            # Of errors that are no mistakes none: the step itself meets them again.
            mistake = explained(rule, error, tried)
            if mistake is not None:
                raise mistake from error
            return None


def _tried(rule: Rule, index: int, gradient: Array, rate: Any, given: Given, seen: Seen) -> Outcome:
    """Run the rule for one parameter."""
    parameter = rule.cells.parameters[index]
    backend = parameter.backend
    with rule.parameter_scope(index) as outer:
        cells = outer.cells()
        values = [*map(outer.get, cells), gradient]
        copies = list(map(given.copy, values))
        others = [cell for cell in (*rule.cells.step_scalars(), *rule.cells.shared) if not outer.holds(cell)]
        held = [*copies[:-1], *(cell.value for cell in others)]
        with _Held([*cells, *others], held, given, seen) as scope:
            before = {id(cell): raw(Scope.get(scope, cell)) for cell in (*cells, *others)}
            own_rate = given.number(ops.cast(rate, gradient.dtype), "learning rate")
            returned: Any = rule.update_step(  # type: ignore[func-returns-value]  # it should return none
                given.array(copies[-1], "gradient"), parameter, own_rate
            )
    where = line_of_function(type(rule).update_step)
    if returned is not None:
        raise RuleMistake(
            f"{where} returns a value, which is dropped. Write {commit_of(type(rule).update_step)} instead of `return`."
        )
    names = [*(repr(cell.name) for cell in cells), "the gradient"]
    for value, copy, what in zip(values, copies, names, strict=True):
        if value is not copy and not backend.same_values(value, copy):
            raise RuleMistake(
                f"{where} changes the array of {what} in place, as `*=` and `out=` do, which other libraries do not. "
                "Compute a new value, and write `self.assign(variable, value)`."
            )
    written = {
        id(cell): (parameter.name if cell is parameter.sink else cell.name, before[id(cell)], raw(value))
        for cell, value in scope.writes()
    }
    return Outcome(id(parameter.sink) in scope.written, written)


class _Held(Scope):
    """A scope in which cells hold what a rule is given, and what it assigns to a cell belongs to that."""

    __slots__ = ("_seen",)

    def __init__(self, cells: Sequence[Any], values: Sequence[Any], given: Given, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        for cell, value in zip(cells, values, strict=True):
            self.hold(cell, (given.number if cell.backend is HOST else given.array)(value, _called(cell)))

    def get(self, cell: Cell) -> Any:
        """As `Scope`."""
        # Around its branches a choice reads all cells.
        if sys._getframe(2).f_code.co_filename != ops.cast.__code__.co_filename:
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


def cells_with_values(rule: Rule) -> list[Any]:
    """The cells of a rule that hold something now."""
    cells = [cell for cells in rule.cells.grouped for cell in cells] + rule.cells.step_scalars()
    # Among a parameter's arrays may be some that are not of a dtype that is computed in.
    cells += [named.cell for named in rule.named_cells()]
    cells += [parameter.sink for parameter in rule.cells.parameters]
    found = []
    for cell in dict.fromkeys(cells):
        # A parameter may have no value where only its change is asked for.
        with contextlib.suppress(UnknownValueError):
            _ = cell.value
            found.append(cell)
    return found


class _AllGiven(Sequence[Any]):
    """The gradients of a step, each as a rule is given it."""

    def __init__(self, gradients: Sequence[Array], given: Given) -> None:
        self._gradients, self._given = gradients, given

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Any]: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        return self._given.array(self._gradients[position], "gradient")

    def __len__(self) -> int:
        return len(self._gradients)
