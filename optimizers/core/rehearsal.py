"""A user's rule is tried out before its first step, and its mistakes are told with the line that makes them.

What does nothing on one way of running a rule may do something on another. In NumPy and torch `gradient *= 2` changes
an array of the caller's, in JAX it changes none; `self.count += 1` counts parameters here and compilations there. So a
rule runs once, for one parameter of each kind, on copies that tell what is done to them; whatever it writes is dropped.
An error that is none of these mistakes is left to the step itself. Rules of this library are not tried out, nor any
where several processes hold a parameter together, and steps after the first pay nothing.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

from ...backends import Array, Scope, StepScope, UnknownValueError, Variable, ops
from ...backends.given import Given
from ...backends.mistakes import RuleMistake, line_of_error, line_of_function, line_of_rule, of_ufunc, source_of_error
from .configuration import restore, snapshot
from .fused.recording import record, why_not_silent
from .rule import Rule

_OURS = f"{__name__.partition('.')[0]}."


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
    return any([not str(getattr(function, "__module__", "")).startswith(_OURS) for function in functions])


def rehearse(rule: Rule, gradients: Gradients, rate: Any) -> None:
    """Try out a rule, and raise what it does wrong.

    Args:
        rule: an optimizer that is built; it does not change.
        gradients: of its first step.
        rate: of that step.

    Raises:
        RuleMistake: for a mistake in the rule.
    """
    parameters = rule.cells.parameters
    if any(parameters[index].backend.whereabouts(gradients.array(index)) is not None for index in gradients.present):
        # A process that tries, where another refuses the step or has other gradients, would wait for it for ever.
        return
    indices = _one_of_each_kind(rule, gradients.present)
    writes: list[bool] = []
    with _undone(rule), _everything_held(rule):
        if rule.has_begin_step():
            with _only_mistakes(rule):
                present = [parameters[index] for index in gradients.present]
                rule.begin_step(_AllGiven(gradients), present, rate)
        for index in indices:
            # Some libraries' arrays, and some rules, take nothing that stands for an array.
            for gives in (Given.over, _as_it_is):
                with _only_mistakes(rule):
                    writes.append(_tried(rule, index, gradients.prepared(index), rate, gives))
                    break
            if why_not_silent(rule) is None:
                # What follows from what it is given are plain arrays above, and symbols here.
                with _only_mistakes(rule):
                    record(rule, index, False, False, [])
    if writes and not any(writes) and _never_commits(type(rule).update_step):
        raise RuleMistake(
            f"{line_of_function(type(rule).update_step)} never changes the parameter that it is given: commit the "
            "step, as by self.assign_sub(variable, learning_rate * direction)."
        )


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
    cells = [cell for cells in rule.cells.grouped for cell in cells] + rule.cells.step_scalars() + rule.cells.shared
    held = []
    for cell in cells:
        # A parameter may have no value where only its change is asked for.
        with contextlib.suppress(UnknownValueError):
            held.append((cell, cell.value))
    # What is computed from scalars here is not kept for the step itself.
    with StepScope(held, rule.cells.parameters[0].backend.level()):
        yield


@contextlib.contextmanager
def _undone(rule: Rule) -> Iterator[None]:
    """A context in which attributes are guarded, and after which they are what they were."""
    keepers = list(rule.all_optimizers())
    before = [(keeper, snapshot(keeper)) for keeper in keepers]
    for keeper in keepers:
        attributes = vars(keeper)
        for name, value in list(attributes.items()):
            if type(value) is list and any(isinstance(item, Variable) for item in value):
                attributes[name] = _GuardedList(name, value)
        attributes["_rehearsing"] = True
    try:
        yield
    finally:
        for keeper, taken in before:
            restore(keeper, taken)
            vars(keeper).pop("_rehearsing", None)


@contextlib.contextmanager
def _only_mistakes(rule: Rule) -> Iterator[None]:
    """A context that lets mistakes out, and of errors none: the step itself meets them again."""
    try:
        yield
    except RuleMistake:
        raise
    except Exception as error:
        mistake = explained(rule, error)
        if mistake is not None:
            raise mistake from error


def explained(rule: Rule, error: Exception) -> RuleMistake | None:
    """The mistake in a rule that a library has raised an error for, in words that say what to do instead; or None."""
    backend = rule.cells.parameters[0].backend
    where = line_of_error(error) or "the rule"
    found = of_ufunc(error, ops.__all__)
    if found is not None:
        name, own = found
        known = "Symbol" not in str(error) or "ArraySymbol" in str(error)
        if not known or (backend.name == "numpy" and not own):
            return None
        called, instead = f"np.{name}" if name else "a function of NumPy's", f"ops.{own}" if own else "functions of ops"
        return RuleMistake(
            f"{where} calls {called} on an array, which works on NumPy's arrays only: write {instead}, "
            "from gradwise.backends import ops."
        )
    reason = backend.why_not_traceable(error)
    if reason is None:
        return None
    return RuleMistake(f"{where}: {source_of_error(error)!r} {reason}")


def _as_it_is(array: Array, name: str) -> Array:
    return array


def _tried(rule: Rule, index: int, gradient: Array, rate: Any, gives: Callable[[Array, str], Any]) -> bool:
    """Run the rule for one parameter; whether it changed that."""
    parameter = rule.cells.parameters[index]
    backend = parameter.backend
    with rule.parameter_scope(index) as scope:
        values = [*(scope.get(cell) for cell in rule.cells.grouped[index]), gradient]
        lasting = [backend.traced(value) or backend.why_no_values(value) is not None for value in values]
        copies = [value if same else backend.copy(value) for value, same in zip(values, lasting, strict=True)]
        for cell, value in zip(rule.cells.grouped[index], copies, strict=False):
            scope.hold(cell, value)
        with Scope((cell, cell.value) for cell in rule.cells.step_scalars()):
            returned: Any = rule.update_step(  # type: ignore[func-returns-value]  # it should return none
                gives(copies[-1], "gradient"), parameter, ops.cast(rate, gradient.dtype)
            )
    where = line_of_function(type(rule).update_step)
    if returned is not None:
        raise RuleMistake(
            f"{where} returns a value, and what it returns is dropped: commit the step instead, as by "
            "self.assign_sub(variable, learning_rate * direction), and slots by self.assign(slot, value)."
        )
    for value, copy, what in zip(values, copies, [*_names(rule, index), "the gradient"], strict=True):
        if value is not copy and not backend.same_values(value, copy):
            raise RuleMistake(
                f"{where} changes the array of {what} in place, as `*=` and `out=` do: on other libraries that would "
                "change nothing. Make a new value, and commit it by self.assign, self.assign_add or self.assign_sub."
            )
    return id(parameter.sink) in scope.written


def _names(rule: Rule, index: int) -> list[str]:
    return [repr(cell.name) for cell in rule.cells.grouped[index]]


class _AllGiven(Sequence[Any]):
    """The gradients of a step, each of which can be read and not changed."""

    def __init__(self, gradients: Any) -> None:
        self._gradients = gradients

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Any]: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        gradient = self._gradients[position]
        return Given.over(gradient, "gradient")

    def __len__(self) -> int:
        return len(self._gradients)


class _GuardedList(list[Any]):
    """A list of slots, whose places are not to be assigned to."""

    def __init__(self, name: str, cells: Iterable[Any]) -> None:
        super().__init__(cells)
        self._name = name

    def __setitem__(self, place: Any, value: Any) -> None:
        raise RuleMistake(
            f"{line_of_rule()} puts another value into the list of slots self.{self._name}, which leaves the slot as "
            f"it is: write self.assign(self.{self._name}[i], value)."
        )


def refuse_attribute(name: str) -> None:
    """Raise, because a rule that is tried out sets an attribute.

    Raises:
        RuleMistake: always.
    """
    raise RuleMistake(
        f"{line_of_rule()} sets self.{name}, but attributes are no state: under jit they stay what they were when it "
        f"was compiled, and nothing saves them. Make it in build, self.{name} = self.add_scalar({name!r}, 0.0), and "
        f"write self.assign(self.{name}, value) in begin_step; the number of a step is self.step_of(variable)."
    )


_READ_ONLY = frozenset(("variable_index", "_get_variable_index", "step_of", "len", "isinstance", "print", "repr"))
"""What may be called with a parameter and does not change it."""


def _never_commits(function: Any) -> bool:
    """Whether the source of an `update_step` shows that it cannot change its parameter: nobody else is given that."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or len(definition.args.args) < 3:
        return False
    name = definition.args.args[2].arg
    parents = {child: parent for parent in ast.walk(definition) for child in ast.iter_child_nodes(parent)}
    return all(
        _only_reads(parents[node])
        for node in ast.walk(definition)
        if isinstance(node, ast.Name) and node.id == name
    )


def _only_reads(parent: ast.AST) -> bool:
    """Whether what stands around a parameter's name can only read it."""
    if isinstance(parent, ast.Attribute):
        return not parent.attr.startswith("assign")
    if isinstance(parent, ast.Call):
        called = parent.func.attr if isinstance(parent.func, ast.Attribute) else getattr(parent.func, "id", "")
        return called in _READ_ONLY or called in ops.__all__
    return isinstance(parent, (ast.BinOp, ast.UnaryOp, ast.Compare))
