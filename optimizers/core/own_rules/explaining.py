"""Errors that a rule has met in libraries, in words that say what to do in the rule instead."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from ....backends import Backend, Variable, describe, ops
from ....backends.detect import backend_named
from ....backends.elsewhere import ARGUMENTS, MAKING, given_in, written_as
from ....backends.mistakes import (
    DoesNotFit,
    RuleMistake,
    WrongValue,
    code_of_error,
    is_of_ufunc,
    library_function,
    line_of_error,
    line_of_function,
    place_in_code,
    source_of_error,
)
from ....backends.source import statement_at, text
from ....backends.special_arrays import NEEDS_VALUE
from ....backends.tracked import MixesArrays, NeedsArray, NeedsValue, ShapesApart
from ....backends.wording import did_you_mean, meant
from ....backends.written import build_with_slots, chosen_by, slots_made
from ..origin import outside_library
from ..rule import Rule
from .remedies import zero_at_first
from .values import read

_CLASS_OF_CELLS = re.compile(rf"<class '{re.escape(Variable.__module__.rpartition('.')[0])}\.\w+\.\w*Variable'>")
"""How a library shows the class of a cell that it refuses."""
_PLACE = re.compile(r"\bself\.(\w+)\[")
_ATTRIBUTE = re.compile(r"\bself\.(\w+)\b(?!\s*[\[(.])")
_SAID_OF = {
    type(None): re.compile("NoneType"), str: re.compile(r"\bstr\b|<U"), tuple: re.compile(r"ShapesApart|\btuple\b"),
}  # fmt: skip
"""By what libraries' errors say that they were given something that is no number."""
_CALL = re.compile(r"^(\w+)\(\) (?:got an unexpected keyword argument '(\w+)'|missing |takes |got multiple )")
"""What Python says of arguments that do not belong to a function."""
_GIVEN = {
    "gradient": ("gradient", "grad", "g"),
    "variable": ("variable", "var", "parameter", "param", "weight", "weights", "p", "w"),
    "learning_rate": ("learning_rate", "lr", "rate", "alpha"),
}
"""What an `update_step` is given, in its order, and what it may be called."""


def explained(rule: Rule, error: Exception, parameter: Variable | None = None) -> RuleMistake | None:
    """The mistake in a rule that a library has raised an error for, in words that say what to do instead; or None.

    What comes through no line of a rule is no mistake of it.

    Args:
        rule: the optimizer.
        error: what was raised.
        parameter: whose update it was, if that is known.
    """
    backend = rule.cells.parameters[0].backend
    where, source = line_of_error(error), source_of_error(error)
    if where is None:
        return None
    whose = "" if parameter is None else f" in the update of {parameter.name!r}"
    empty = _without_slots(rule, source, error)
    if empty:
        return WrongValue(f"{where}: {empty}")
    name = _no_number(rule, source, error)
    if name is not None:
        return WrongValue(f"{where}: `{source}` needs a number, and `self.{name}` is {getattr(rule, name)!r}.")
    if isinstance(error, ShapesApart):
        return WrongValue(
            f"{where}: `{source}`{whose} meets shapes that cannot be broadcast: {error}. Make them equal, or give one "
            "an axis of length 1, by `keepdims=True` or `ops.expand_dims(x, axis)`."
        )
    if isinstance(error, DoesNotFit):
        return WrongValue(
            f"{where}: {error} Assign an array of its shape, or make a slot with that shape in build, by `shape=` of "
            "`self.add_variable_from_reference`."
        )
    if isinstance(error, ZeroDivisionError):
        reason = zero_at_first(type(rule).update_step)
        return None if reason is None or read(rule.cells.iterations.value) != 0 else RuleMistake(reason)
    if isinstance(error, MixesArrays) or _asked(error) is not None:
        return _of_others(where, error, backend.name)
    return (
        _cell_on_the_right(where, source, error, backend)
        or _wrong_arguments(where, source, error)
        or _without_value(where, source, error, backend)
    )


def _cell_on_the_right(where: str, source: str, error: Exception, backend: Backend) -> RuleMistake | None:
    """What a library says whose arrays refuse everything that is no array of its own; None if it says something else.

    Others leave it to the cell, which reads itself.
    """
    if not isinstance(error, TypeError) or _CLASS_OF_CELLS.search(str(error)) is None:
        return None
    node: ast.expr | None = None
    with contextlib.suppress(SyntaxError):
        node = ast.parse(source, mode="eval").body
    if not isinstance(node, (ast.BinOp, ast.Compare)):
        return None
    instead = "Put it on the left, or write `slot.value`"
    if isinstance(node, ast.BinOp) and isinstance(node.right, (ast.Name, ast.Subscript, ast.Attribute)):
        written = ast.BinOp(node.left, node.op, ast.Attribute(node.right, "value"))
        instead = f"Write `{text(written, 'array * slot.value')}`"
    return RuleMistake(
        f"{where}: in `{source}` an array of {backend.name} has a variable or a slot on its right, which this library "
        f"refuses. {instead}."
    )


def _without_slots(rule: Rule, source: str, error: Exception) -> str:
    """What is wrong with a list in a line of a rule that has nothing, where slots are looked for; nothing if none is.
    """
    if not isinstance(error, IndexError):
        return ""
    for name in _PLACE.findall(source):
        if vars(rule).get(name) == []:
            written = slots_made(f"self.{name}", name.strip("_"))
            where = f"Write {written} there" if _has_own_build(rule) else f"Make them there: {build_with_slots(name)}"
            return f"the list `self.{name}` is empty, because build has made no slots for it. {where}."
    return ""


def _has_own_build(rule: Rule) -> bool:
    """Whether a user's class makes slots."""
    return any("build" in vars(kind) for kind in outside_library(type(rule)))


def _no_number(rule: Rule, source: str, error: Exception) -> str | None:
    """The attribute in a line of a rule that is no number, where an error says that one was needed; None if none is."""
    said = f"{type(error).__name__}: {error}"
    for name in _ATTRIBUTE.findall(source):
        kinds = _SAID_OF.get(type(vars(rule).get(name, 0.0)))
        if kinds is not None and kinds.search(said):
            return str(name)
    return None


def _of_others(where: str, error: Exception, own_library: str) -> RuleMistake | None:
    """The mistake of taking arrays or functions of another library; None if it is none, or this rule has no other."""
    called, asked = library_function(error), _asked(error)
    written = _written_as(error, called)
    if isinstance(error, MixesArrays) or (asked is not None and not called):
        made = next((found for text in code_of_error(error) if (found := MAKING.search(text))), None)
        if made is not None or (isinstance(error, MixesArrays) and error.library != own_library):
            return _mixing(where, getattr(error, "other", None), made)
    return None if asked is None else _of_library(where, called, written, asked, own_library)


def _written_as(error: Exception, called: str) -> str | None:
    """How the call of another library's function that an error came through is written; None if that is not known."""
    name = called.rpartition(".")[2]
    return written_as(name, given_in(statement_at(place_in_code(error)), name))


_CALLS = {"max": "ops.maximum({})", "min": "ops.minimum({})", "float": "{}", "np.float64": "{}", "np.float32": "{}"}
"""What Python's calls that ask for a value are in a rule."""


def _without_value(where: str, source: str, error: Exception, backend: Backend) -> RuleMistake | None:
    """The mistake of asking for a value that is not there; None if it is none."""
    called = library_function(error)
    if isinstance(error, NeedsValue) and called.startswith("math."):
        own = _written_as(error, called) or "Write it with operators and functions of ops."
        return RuleMistake(
            f"{where}: `{source}` needs a value that is not there while JAX traces or a step is recorded. {own}"
        )
    reason = NEEDS_VALUE if isinstance(error, NeedsValue) else backend.why_not_traceable(error)
    if reason is None:
        return None
    instead = _of_call(source) or _of_choice(error, source)
    if instead is None:
        return RuleMistake(f"{where}: `{source}` {reason}")
    what, remedy = instead
    return RuleMistake(
        f"{where}: {what} needs a value that is not there while JAX traces or a step is recorded. {remedy}"
    )


def _of_call(source: str) -> tuple[str, str] | None:
    """What is written for a call of Python's that asks for a value; None if it is none of those that are known."""
    function, _, given = source.partition("(")
    written = _CALLS.get(function)
    with contextlib.suppress(SyntaxError):
        call = ast.parse(source, mode="eval").body
        if isinstance(call, ast.Call) and len(call.args) == (1 if written == "{}" else 2) and written is not None:
            without = f", without {function}()" if written == "{}" else ""
            return f"`{source}`", f"Write `{written.format(given[:-1])}`{without}."
    return None


def _of_choice(error: Exception, source: str) -> tuple[str, str] | None:
    """What is written for an `if` that asks for a value; None if it is none, or not known."""
    statement = statement_at(place_in_code(error))
    chosen = [node for node in ast.walk(statement) if isinstance(node, ast.IfExp)] if statement is not None else []
    for node in chosen:
        if ast.unparse(node.test) == source and not isinstance(node.body, ast.Call):
            values = f"{text(node.body, 'a')}, {text(node.orelse, 'b')}"
            return f"`if` on `{source}`", f"Write `ops.where({source}, {values})`."
    if isinstance(statement, (ast.If, ast.While)) and source in ast.unparse(statement.test):
        keyword = "if" if isinstance(statement, ast.If) else "while"
        condition = source if ast.unparse(statement.test) == source else "condition"
        return f"`{keyword}` on `{source}`", f"Write {chosen_by(condition, statement.body, statement.orelse)}."
    return None


def _asked(error: Exception) -> str | None:
    """The library of a function that has asked for the values of what stands for an array; None if none has."""
    if isinstance(error, NeedsArray):
        return error.library
    if is_of_ufunc(error):
        return "numpy"
    # JAX says in words of its own what it could not make of an argument, in some releases without asking for it.
    return "jax" if "__jax_array__" in str(error) or library_function(error).startswith(("jnp.", "jax.")) else None


def _mixing(where: str, other: Any, made: re.Match[str] | None) -> RuleMistake:
    own = None if made is None else written_as(made.group(1))
    if made is not None and "random" in made.group(0):
        own = "Rules have no random numbers yet. Add noise to the gradients, before the step."
    array = describe(other) if made is None else f"an array that {made.group(0)}...) made"
    return RuleMistake(
        f"{where} computes with {array}, which works only with arrays of its own library. "
        f"{own or 'Make it a slot in build, by `self.add_variable_from_reference(variable, name, initializer=array)`.'}"
    )


def _of_library(
    where: str, called: str, instead: str | None, library: str, own_library: str
) -> RuleMistake | None:
    """The mistake of calling another library's function; None if this rule has no other, and no other library."""
    if library == own_library and instead is None:
        return None
    function = f"`{called}`" if called else f"a function of another library's ({library})"
    written = instead or "Write functions of `ops`."
    return RuleMistake(
        f"{where} calls {function} on an array, which works on {backend_named(library).arrays_called} only. "
        f"{written[:-1]}, with `from gradwise.backends import ops`."
    )


def _wrong_arguments(where: str, source: str, error: Exception) -> RuleMistake | None:
    """The mistake of calling a function of ops with other arguments than it has."""
    said = _CALL.match(str(error)) if type(error) is TypeError else None
    if said is None or said.group(1) not in ops.__all__ or f"ops.{said.group(1)}(" not in source:
        return None
    name, unknown = said.groups()
    parameters = inspect.signature(getattr(ops, name)).parameters
    shown = ", ".join(str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters.values())
    wrong = f"ops.{name} {str(error).partition('() ')[2]}."
    if unknown is not None:
        wrong = f"ops.{name} has no argument `{unknown}`.{did_you_mean([unknown], parameters, ARGUMENTS)}"
    found = _call_with_out(source, name) if unknown == "out" else None
    return RuleMistake(f"{where}: {wrong} {found or f'It is `ops.{name}({shown})`.'}")


def _call_with_out(source: str, name: str) -> str | None:
    """How a call that puts its result into an array gives it a name; None if it is written otherwise."""
    with contextlib.suppress(SyntaxError):
        return written_as(name, given_in(ast.parse(source).body[0], name))
    return None


def check_signature(function: Callable[..., Any]) -> None:
    """Raise RuleMistake if the `update_step` of an optimizer does not take what it is given, or in another order."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # It does not tell.
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        said = "takes other arguments than it is given"
    else:
        if not _in_another_order(list(signature.parameters)[:3]):
            return
        said = "takes its arguments in another order than they are given in"
    raise RuleMistake(
        f"{line_of_function(function)} {said}. Write `def update_step(self, gradient, variable, learning_rate)`."
    )


def named_otherwise(kind: type) -> str:
    """What to say of a class without an `update_step` that has a method which was meant to be one; or nothing."""
    own = [name for each in outside_library(kind) for name, value in vars(each).items() if inspect.isfunction(value)]
    found = meant("update_step", own) or [name for name in own if _is_rule(getattr(kind, name))]
    return f"; its `{found[0]}` is probably meant: rename it" if found else ""


def check_no_step(kind: type) -> None:
    """Raise RuleMistake for a class that calls the rule of a parameter `step`, which is the step of all of them."""
    function = vars(kind).get("step")
    if function is not None and _is_rule(function):
        raise RuleMistake(
            f"{line_of_function(function)} is the rule for one parameter, and `step` is a whole step of an optimizer. "
            "Call it `update_step(self, gradient, variable, learning_rate)`."
        )


def _is_rule(function: Any) -> bool:
    """Whether a method takes what an `update_step` does, by the names of its arguments."""
    if not inspect.isfunction(function):
        return False
    names = list(inspect.signature(function).parameters)[1:4]
    return len(names) > 1 and all(name in called for name, called in zip(names, _GIVEN.values(), strict=False))


def _in_another_order(names: Sequence[str]) -> bool:
    """Whether two names are each that of what is given in the other's place; one alone may mean what its author likes.
    """
    meant = [next((place for place, called in enumerate(_GIVEN.values()) if name in called), None) for name in names]
    return any(other not in (None, place) and meant[other] == place for place, other in enumerate(meant))
