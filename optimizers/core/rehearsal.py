"""A user's rule is tried out before its first step, and its mistakes are told with the line that makes them.

What does nothing on one way of running a rule may do something on another. In NumPy and torch `gradient *= 2` changes
an array of the caller's, in JAX it changes none; `self.count += 1` counts parameters here and compilations there. So a
rule runs once, for one parameter of each kind, on copies that tell what is done to them; whatever it writes is dropped.
An error that is none of these mistakes is left to the step itself. Rules of this library are not tried out, nor any
where several processes hold a parameter together, and steps after the first pay nothing.
"""

from __future__ import annotations

import contextlib
import math
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, overload

from ...backends import (
    HOST,
    NUMPY,
    Array,
    Backend,
    Scope,
    StepScope,
    UnknownValueError,
    Variable,
    backend_of,
    ops,
    trials,
)
from ...backends.mistakes import RuleMistake, WrongValue, line_of_function, line_of_rule, line_with
from ...backends.scope import Cell
from ...backends.tracked import Tracked, raw
from .commits import line_of_rebinding, line_of_setting, never_commits, never_writes
from .configuration import STRUCTURE, Snapshot, restore, snapshot
from .explaining import check_signature, explained
from .fused.recording import why_not_silent
from .origin import is_of_library
from .rule import Rule


class Gradients(Protocol):
    """The gradients of a step."""

    present: dict[int, None]

    def array(self, index: int) -> Array:
        """One of them as it came."""

    def prepared(self, index: int) -> Array:
        """One of them as a rule receives it."""


def is_to_be_tried(rule: Rule) -> bool:
    """Whether somebody else than this library wrote what an optimizer, or one inside it, does in a step."""
    if any(["update_step" in vars(keeper) for keeper in rule.all_optimizers()]):
        # Put in its place by a front end, which has objects of its own to look after.
        return False
    functions = [
        getattr(type(keeper), name) for keeper in rule.all_optimizers() for name in ("update_step", "begin_step")
    ]
    return not all([is_of_library(function) for function in functions])


def rehearse(rule: Rule, gradients: Gradients, rate: Any) -> None:
    """Try out a rule, and raise what it does wrong. It is for safety alone: whatever else fails in it fails no step.

    Args:
        rule: an optimizer that is built; it does not change.
        gradients: of its first step.
        rate: of that step.

    Raises:
        RuleMistake: for a mistake in the rule.
    """
    try:
        with trials.without_warnings():
            _rehearse(rule, gradients, rate)
    except RuleMistake:
        raise
    except Exception:
        return


def _rehearse(rule: Rule, gradients: Gradients, rate: Any) -> None:
    parameters = rule.cells.parameters
    if any(parameters[index].backend.whereabouts(gradients.array(index)) is not None for index in gradients.present):
        # A process that tries, where another refuses the step or has other gradients, would wait for it for ever.
        return
    check_signature(rule.update_step)
    indices = _one_of_each_kind(rule, gradients.present)
    with _undone(rule) as check:
        seen = _Seen(set(), set())
        found = _tried_out(rule, gradients, rate, indices, _looked_after, seen)
        check()
        plain = None
        if found is None or why_not_silent(rule) is None:
            # What is being traced says nothing of itself: something else stands for it, and is looked after again.
            again = found is not None and any(map(_is_traced, _arrays_of(rule, gradients, indices)))
            plain = _tried_out(rule, gradients, rate, indices, _looked_after if again else _as_it_is, seen)
            check()
            if found is not None and plain is not None:
                _check_same(rule, indices, found, plain)
        if found is not None:
            # Of what can be looked into, both branches of a choice were run.
            _check_written(rule, indices, seen)
        found = found or plain
    if found and not any(each.changed for each in found):
        _check_commits(type(rule))


def _check_commits(kind: type[Rule]) -> None:
    """Raise RuleMistake if an `update_step`, which did not change its parameter, cannot do so at all."""
    if not never_commits(kind):
        return
    remedy = "commit the step, as by self.assign_sub(variable, learning_rate * direction)"
    line, name = line_of_rebinding(kind)
    if line:
        raise RuleMistake(
            f"{line} gives the name `{name}` to another value, which leaves the parameter as it is: {remedy}."
        )
    raise RuleMistake(f"{line_of_function(kind.update_step)} never changes the parameter that it is given: {remedy}.")


def _arrays_of(rule: Rule, gradients: Gradients, indices: Sequence[int]) -> list[Any]:
    """The gradients of some parameters, and what cells hold."""
    return [*map(gradients.array, indices), *(cell.value for cell in _cells_with_values(rule))]


def _is_traced(value: Any) -> bool:
    backend = backend_of(value)
    return backend is not None and backend is not HOST and backend.traced(value)


class _Outcome(NamedTuple):
    """What a rule did with a parameter.

    Attributes:
        changed: whether it wrote to it.
        values: of the parameter, its slots and the numbers of the step that it wrote to, under the identities of their
            cells, because several may have one name: what errors call each, what it was before and what it is.
    """

    changed: bool
    values: dict[int, tuple[str, Any, Any]]


class _Seen(NamedTuple):
    """What a rule has read and written, as identities of cells."""

    read: set[int]
    written: set[int]


_Gives: TypeAlias = Callable[[Any, str], Any]
"""What a rule is given in place of an array or a number, which has a name."""


def _looked_after(value: Any, name: str) -> Any:
    backend = backend_of(value)
    # Nobody can read what has no values, and who asks for it is told so.
    if backend is None or backend.why_no_values(value) is not None:
        return value
    # What stands for a large one would take memory that nobody gave.
    stands = _is_traced(value) and math.prod(backend.shape(value)) <= _LARGE
    return Tracked(_stand_in(value, backend) if stands else value, name)


_LARGE = 2**22
"""From how many elements on arrays are not looked at in double precision, and nothing stands for traced ones."""


def _stand_in(value: Any, backend: Backend) -> Any:
    """An array of NumPy's of the same shape and dtype, as long as a library traces and has no values."""
    name = backend.dtype_name(value)
    return NUMPY.full(backend.shape(value), 1 if "int" in name else 0.5, name, None)


def _as_it_is(value: Any, name: str) -> Any:
    return value


def _tried_out(
    rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int], gives: _Gives, seen: _Seen
) -> list[_Outcome] | None:
    """Run a step for some parameters; None if it cannot be run with what it is given."""
    parameters, tried = rule.cells.parameters, None
    with _everything_held(rule):
        try:
            if rule.has_begin_step():
                cells = _cells_with_values(rule)
                with _Held(cells, [cell.value for cell in cells], gives, seen) as scope:
                    present = [parameters[index] for index in gradients.present]
                    rule.begin_step(_AllGiven(gradients, gives), present, gives(rate, "learning rate"))
                for cell, value in scope.writes():
                    if not _is_traced(cell.value):
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


class _Held(Scope):
    """A scope in which cells hold what a rule is given, and what it assigns to a cell belongs to that."""

    __slots__ = ("_gives", "_seen")

    def __init__(self, cells: Sequence[Any], values: Sequence[Any], gives: _Gives, seen: _Seen) -> None:
        super().__init__()
        self._gives, self._seen = gives, seen
        for cell, value in zip(cells, values, strict=True):
            self.hold(cell, gives(value, _called(cell)))

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
            value.name = value.name or _called(cell)
            value = Tracked(value.held, _called(cell))
        super().set(cell, value)


def _called(cell: Cell) -> str:
    return f"value of {cell.name!r}"


def _one_of_each_kind(rule: Rule, present: Iterable[int]) -> list[int]:
    """Of parameters that have in common how many axes, which dtype and which slots they have, the smallest."""
    smallest: dict[Any, int] = {}
    for index in present:
        cells = rule.cells.grouped[index]
        kind = cells[0].ndim, cells[0].dtype_name, len(cells), len(rule.cells.numbers[index])
        if kind not in smallest or cells[0].size < rule.cells.parameters[smallest[kind]].size:
            smallest[kind] = index
    return list(smallest.values())


@contextlib.contextmanager
def _everything_held(rule: Rule) -> Iterator[None]:
    """A scope that takes whatever a rule writes."""
    held = [(cell, cell.value) for cell in _cells_with_values(rule)]
    # What is computed from scalars here is not kept for the step itself.
    with StepScope(held, rule.cells.parameters[0].backend.level()):
        yield


def _cells_with_values(rule: Rule) -> list[Any]:
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


@contextlib.contextmanager
def _undone(rule: Rule) -> Iterator[Callable[[], None]]:
    """A context in which attributes are guarded, and after which they are what they were.

    It gives a function that raises RuleMistake if something was changed until then that is no state.
    """
    keepers = list(rule.all_optimizers())
    before = [(keeper, snapshot(keeper)) for keeper in keepers]
    arrays = [(cell, cell.array) for cell in [*rule.cells.parameters, *(named.cell for named in rule.named_cells())]]
    for keeper in keepers:
        attributes = vars(keeper)
        for name, value in list(attributes.items()):
            if type(value) is list and any(isinstance(item, Variable) for item in value):
                attributes[name] = _GuardedList(name, value)
        attributes["_rehearsing"] = "outer" if keeper is rule else "inner"

    def check() -> None:
        _check_attributes(before)
        replaced = [cell for cell, array in arrays if cell.array is not array]
        if replaced:
            raise RuleMistake(
                f"{line_of_function(type(rule).update_step)} sets the `array` of {replaced[0].name!r}, which is not "
                "what a step reads: write self.assign(variable, value)."
            )

    try:
        yield check
    finally:
        for cell, array in arrays:
            cell.array = array
        for keeper, taken in before:
            restore(keeper, taken)
            vars(keeper).pop("_rehearsing", None)


def _check_attributes(before: Iterable[tuple[Rule, Snapshot]]) -> None:
    """Raise if a rule has put something into a list, a dictionary or a set that is an attribute, or taken it out."""
    for keeper, ((_, attributes), _) in before:
        for name, (value, contents) in attributes.items():
            if name not in STRUCTURE and contents is not value and not _holds_same(value, contents):
                raise RuleMistake(
                    f"{line_of_function(type(keeper).update_step)} changes what is in self.{name}, but {_NO_STATE}. "
                    "State is made in build: slots by self.add_optimizer_variables(variables, name), numbers by "
                    "self.add_scalar(name, 0.0); the number of a step is self.step_of(variable)."
                )


def _holds_same(value: Any, contents: Any) -> bool:
    """Whether two containers have the same objects in them."""
    if len(value) != len(contents):
        return False
    if isinstance(value, dict):
        return all(key in contents and contents[key] is item for key, item in value.items())
    return all(map(operator.is_, value, contents))


def _tried(rule: Rule, index: int, gradient: Array, rate: Any, gives: _Gives, seen: _Seen) -> _Outcome:
    """Run the rule for one parameter."""
    parameter = rule.cells.parameters[index]
    backend = parameter.backend
    with rule.parameter_scope(index) as outer:
        cells = outer.cells()
        values = [*map(outer.get, cells), gradient]
        copies = list(map(_copy_of, values))
        others = [cell for cell in (*rule.cells.step_scalars(), *rule.cells.shared) if not outer.holds(cell)]
        held = [*copies[:-1], *(cell.value for cell in others)]
        attributes = [set(vars(cell)) for cell in cells]
        with _Held([*cells, *others], held, gives, seen) as scope:
            before = {id(cell): raw(Scope.get(scope, cell)) for cell in (*cells, *others)}
            returned: Any = rule.update_step(  # type: ignore[func-returns-value]  # it should return none
                gives(copies[-1], "gradient"), parameter, gives(ops.cast(rate, gradient.dtype), "learning rate")
            )
    where = line_of_function(type(rule).update_step)
    for cell, known in zip(cells, attributes, strict=True):
        _check_no_attribute(rule, cell, known)
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
    return _Outcome(id(parameter.sink) in scope.written, written)


def _copy_of(value: Any) -> Any:
    """A copy of an array; a number, and what has no values or is being traced, as it is."""
    backend = backend_of(value)
    if backend is None or backend is HOST or _is_traced(value) or backend.why_no_values(value) is not None:
        return value
    copy = backend.copy(value)
    # Inside a transformation a library traces whatever is computed, also from arrays of outside.
    return value if _is_traced(copy) else copy


def _check_no_attribute(rule: Rule, cell: Cell, known: set[str]) -> None:
    """Raise RuleMistake if a rule has given a cell an attribute that it did not have, and take it away."""
    more = [name for name in vars(cell) if name not in known]
    if not more:
        return
    for name in more:
        del vars(cell)[name]
    raise RuleMistake(
        f"{line_of_setting(type(rule).update_step, more[0])} sets `{more[0]}` of {cell.name!r}, which nothing reads: "
        "write self.assign(variable, value), or self.assign_sub(variable, learning_rate * direction)."
    )


def _check_written(rule: Rule, indices: Sequence[int], seen: _Seen) -> None:
    """Raise RuleMistake if slots are read that begin as zeros, as all remembering does, and that nobody ever writes.

    Here is seen that nothing wrote them in this run, which may depend on numbers; the source shows that nothing can.
    """
    tried = {id(cell) for index in indices for cell in rule.cells.grouped[index][1:]}
    for keeper in rule.all_optimizers():
        cells: dict[str, list[Any]] = {}
        for cell, name, _ in keeper.cells.named:
            if name in keeper.cells.from_zero and id(cell) in tried:
                cells.setdefault(name, []).append(cell)
        for name, made in cells.items():
            read = [cell for cell in made if id(cell) in seen.read and not _has_values(cell.value)]
            if not read or not seen.written.isdisjoint(map(id, made)):
                continue
            attribute = _list_with(keeper, read[0])
            if attribute is not None and never_writes(type(keeper), attribute):
                raise RuleMistake(
                    f"{line_of_function(type(rule).update_step)} reads the slot {name!r} of parameters and never "
                    "writes it, so that it stays as build has made it: write self.assign(slot, value), where "
                    "`slot = value` only gives the name to something else. What shall stay begins as an array: "
                    "initializer=array in build."
                )


def _list_with(keeper: Rule, cell: Cell) -> str | None:
    """The attribute that is a list with a slot in it; None if there is none, or several."""
    held = vars(keeper).items()
    lists = [name for name, value in held if isinstance(value, list) and any(each is cell for each in value)]
    return lists[0] if len(lists) == 1 else None


def _has_values(value: Any) -> bool:
    """Whether an array is known to have elements that are not zero, as somebody must have written them."""
    held = _read(value)
    return held is not None and bool(held.any())


def _check_same(rule: Rule, indices: Sequence[int], found: Sequence[_Outcome], plain: Sequence[_Outcome]) -> None:
    """Raise if a rule does not do the same twice with the same arrays, of which it cannot look into those of one time.

    Raises:
        RuleMistake: then.
    """
    for index, one, other in zip(indices, found, plain, strict=True):
        parameter = rule.cells.parameters[index]
        for key, (name, before, value) in one.values.items():
            # A choice may have written it in the branch that is not taken.
            again = other.values[key][2] if key in other.values else before
            if not _alike(before, value, again):
                drawn = line_with(type(rule).update_step, _RANDOM)
                if drawn is not None:
                    raise RuleMistake(
                        f"{drawn} draws random numbers, which under jit are drawn once, when it is compiled: "
                        "rules have no random numbers yet. Add noise to the gradients, before the step."
                    )
                what = f"parameter {name!r}"
                if key != id(parameter.sink):
                    what = f"{name!r}, which belongs to parameter {parameter.name!r},"
                raise RuleMistake(
                    f"{line_of_function(type(rule).update_step)} gives {what} another value the second time, from "
                    "the same arrays and numbers: it may not depend on which library these are of (isinstance), on a "
                    "second name of an array that is changed in place, on random numbers, or on what was counted "
                    "elsewhere. Counts are state: self.add_scalar in build."
                )


_RANDOM = re.compile(r"^[^#]*(\brandom\.|\brand(n|int)?\()")
"""How random numbers are drawn, as libraries call it."""
_OF_A_CHANGE, _OF_A_VALUE = 2.0**-10, 2.0**-20
"""Which parts of a change, and of a value, two computations of it may be apart: some machines add up in any order."""


def _alike(before: Any, one: Any, other: Any) -> bool:
    """Whether two values computed for a cell are the same but for rounding, as far as Python can read them."""
    start, first, second = map(_read, (before, one, other))
    if first is None or second is None:
        return True
    if first.shape != second.shape:
        return False
    if not first.size:
        return True
    apart = ops.where(ops.equal(first, second), 0.0, ops.abs(first - second))
    change = second if start is None or start.shape != second.shape else second - start
    allowed = ops.max(ops.abs(change)) * _OF_A_CHANGE + ops.max(ops.abs(second)) * _OF_A_VALUE
    # Where something is infinite or no number, there is no distance.
    return not ops.max(apart) > allowed


def _read(value: Any) -> Any:
    """A value in NumPy's double precision; None where it cannot be read."""
    backend = backend_of(value)
    if backend is None or _is_traced(value) or backend.why_no_values(value) is not None:
        return None
    if math.prod(backend.shape(value)) > _LARGE:
        return None
    return NUMPY.cast(backend.to_numpy(value), "float64")


class _AllGiven(Sequence[Any]):
    """The gradients of a step, each as a rule is given it."""

    def __init__(self, gradients: Any, gives: _Gives) -> None:
        self._gradients, self._gives = gradients, gives

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Any]: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        return self._gives(self._gradients[position], "gradient")

    def __len__(self) -> int:
        return len(self._gradients)


class _GuardedList(list[Any]):
    """A list of slots, whose places are not to be assigned to, and are found by numbers."""

    def __init__(self, name: str, cells: Iterable[Any]) -> None:
        super().__init__(cells)
        self._name = name

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, Variable):
            raise RuleMistake(
                f"{line_of_rule()} looks for the slot of a parameter in the list self.{self._name}: write "
                f"self.{self._name}[self.variable_index(variable)]."
            )
        try:
            return super().__getitem__(place)
        except IndexError:
            raise WrongValue(
                f"{line_of_rule()}: the list self.{self._name} has {len(self)} slots, fewer than there are parameters: "
                "append one for each in build, and None for a parameter that has none."
            ) from None

    def __setitem__(self, place: Any, value: Any) -> None:
        raise RuleMistake(
            f"{line_of_rule()} puts another value into the list of slots self.{self._name}, which leaves the slot as "
            f"it is: write self.assign(self.{self._name}[i], value)."
        )


def refuse_rate() -> None:
    """Raise RuleMistake, because a rule that is tried out reads the optimizer's rate."""
    raise RuleMistake(
        f"{line_of_rule()} reads self.learning_rate, which is not always the rate of the step (step(..., "
        "learning_rate=0.1), groups of torch and `decay` have others): write learning_rate, which update_step and "
        "begin_step are given."
    )


def refuse_attribute(name: str, value: Any) -> None:
    """Raise, because a rule that is tried out sets an attribute.

    Args:
        name: of the attribute.
        value: what it is set to.

    Raises:
        RuleMistake: always.
    """
    backend = backend_of(value)
    if backend is not None and backend.shape(value):
        instead = (
            f"Make a slot in build, self.{name} = self.add_optimizer_variables(variables, {name.strip('_')!r}), and "
            f"write self.assign(self.{name}[self.variable_index(variable)], value)."
        )
    else:
        instead = (
            f"Make it in build, self.{name} = self.add_scalar({name.strip('_')!r}, 0.0), and write "
            f"self.assign(self.{name}, value) in begin_step; the number of a step is self.step_of(variable)."
        )
    raise RuleMistake(f"{line_of_rule()} sets self.{name}, but {_NO_STATE}. {instead}")


_NO_STATE = (
    "attributes are no state: under jit they stay what they were when it was compiled, and nothing saves them"
)
