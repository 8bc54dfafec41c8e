"""What a rule writes instead of a mistake that is found afterwards, in its own names, as far as its source shows."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Container, Iterable, Iterator
from typing import Any

from ....backends import backend_of
from ....backends.mistakes import line_of_function
from ....backends.source import Source, names_in, text
from ....backends.written import assigned_by_rule, number_made, slot_in, slots_made
from .source import line_of_reading, source_of_function

STEP_NUMBER = "Write `self.step_of(variable)` for the number of the step."
_CHANGING = frozenset((
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popleft", "remove", "setdefault",
    "update",
))  # fmt: skip
"""Methods that change a list, a dictionary or a set."""


def counts(statement: ast.AST | None) -> bool:
    """Whether a statement adds 1 to something."""
    if isinstance(statement, ast.AugAssign):
        return isinstance(statement.op, ast.Add) and _is_one(statement.value)
    value = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and _is_one(value.right)


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (1, 1.0)


def kept_in_build(name: str, is_array: bool, value: str = "value", collects: bool = False) -> str:
    """How something that lasts is kept.

    Args:
        name: of the attribute.
        is_array: whether it is an array, of which each parameter has one; else it is a number.
        value: what is written to it.
        collects: whether the rule kept several of them.
    """
    key = name.strip("_")
    if is_array:
        make = "A slot keeps one array, such as the last: make it" if collects else "Make a slot"
        return (
            f"{make} in build, {slots_made(f'self.{name}', key)}, and write "
            f"{assigned_by_rule(slot_in(f'self.{name}'), value)}."
        )
    return (
        f"Make it in build, {number_made(f'self.{name}', key)}, and write {assigned_by_rule(f'self.{name}', value)} in "
        "begin_step."
    )


def change_of(function: Any, name: str, values: list[Any]) -> tuple[str, str]:
    """The line of a function that changes what is in `self.name`, and what to write instead.

    Args:
        function: an `update_step`.
        name: of the attribute.
        values: what it put there.
    """
    arrays = [each for each in values if (backend := backend_of(each)) is not None and backend.shape(each)]
    line, statement = _change_in(function, name)
    if statement is None:
        return line, kept_in_build(name, bool(arrays))
    collects = isinstance(statement, ast.Expr)
    remedy = STEP_NUMBER if counts(statement) else kept_in_build(name, bool(arrays), _put(statement), collects)
    return line, remedy


def _change_in(function: Any, name: str) -> tuple[str, ast.stmt | None]:
    """The line of a function that changes what is in `self.name`, and the statement; where it is written, and None."""
    for line, node, base in _changes(function):
        if ast.unparse(base) == f"self.{name}":
            return line, node
    return line_of_function(function), None


def array_kept_in(function: Any, name: str) -> str:
    """The words for an array that a function keeps in `self.name` under a shape or a dtype."""
    line, statement = _change_in(function, name)
    value = "the array" if statement is None else f"`{_put(statement)}`"
    return (
        f"{line} keeps an array in `self.{name}`, which under jit nobody can use after the step was compiled. Compute "
        f"{value} in each step; numbers and text may be kept so."
    )


def outside_change(function: Any) -> tuple[str, str, str] | None:
    """The line of a function that changes something outside of its optimizer, its name, and what to write instead."""
    code = inspect.unwrap(function).__code__
    for line, node, base in _changes(function):
        if not isinstance(base, ast.Name) or base.id in code.co_varnames:
            continue
        if isinstance(getattr(function, "__globals__", {}).get(base.id), types.ModuleType):
            continue
        remedy = STEP_NUMBER if counts(node) else kept_in_build(base.id.lower(), False)
        return line, base.id, remedy
    return None


def _changes(function: Any) -> Iterator[tuple[str, ast.stmt, ast.expr]]:
    """The statements of a function that change something which lasts, each with its line and with what that is."""
    source = source_of_function(function)
    if source is None:
        return
    declared: list[ast.Global | ast.Nonlocal] = [*source.all_of(ast.Global), *source.all_of(ast.Nonlocal)]
    shared = {name for node in declared for name in node.names}
    for node in source.statements:
        yield from ((source.line_of(node), node, base) for base in _changed_by(node, shared))


def _changed_by(node: ast.stmt, shared: Container[str]) -> list[ast.expr]:
    """What lasts and is changed by a statement."""
    if isinstance(node, ast.Assign):
        return [base for target in node.targets if (base := _changed(target, shared)) is not None]
    if isinstance(node, ast.AugAssign):
        base = _changed(node.target, shared)
        return [] if base is None else [base]
    called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    return [called.value] if isinstance(called, ast.Attribute) and called.attr in _CHANGING else []


def _changed(target: ast.expr, shared: Container[str]) -> ast.expr | None:
    """What lasts and is changed where something is assigned to a target; None if nothing is."""
    if isinstance(target, ast.Subscript) or (isinstance(target, ast.Attribute) and _root(target) != "self"):
        return target.value
    return target if isinstance(target, ast.Name) and target.id in shared else None


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _put(statement: ast.stmt) -> str:
    """What a statement puts into something."""
    if isinstance(statement, ast.Assign):
        return text(statement.value, "value")
    call = statement.value if isinstance(statement, ast.Expr) else None
    return text(call.args[-1], "value") if isinstance(call, ast.Call) and call.args else "value"


def commit_of(function: Any, name: str = "") -> str:
    """How a step is committed that a function returns, or gives a name to.

    Args:
        function: an `update_step`.
        name: the name. Default: what is returned.
    """
    source = source_of_function(function)
    gradient, parameter, rate = _given_names(source)
    statements = [] if source is None else source.statements
    meant, general = _meant(statements, name), f"{rate} * {gradient}"
    for value in meant:
        if isinstance(value, ast.BinOp) and ast.unparse(value.left) == parameter and type(value.op) in _COMMITS:
            return assigned_by_rule(parameter, text(value.right, general), _COMMITS[type(value.op)])
    with_rate = [value for value in meant if rate in names_in(value)]
    direction = _last_given(statements) or ast.Name(gradient)
    step = with_rate[-1] if with_rate else ast.BinOp(ast.Name(rate), ast.Mult(), direction)
    return assigned_by_rule(parameter, text(step, general), "assign_sub")


_COMMITS: dict[type[ast.operator], str] = {ast.Add: "assign_add", ast.Sub: "assign_sub"}
"""By what an operator is committed whose first operand is the parameter."""


def _meant(statements: Iterable[ast.stmt], name: str) -> list[ast.expr]:
    """What may be meant for the parameter: what is returned, else what names, or one of them, are given."""
    returned = [node.value for node in statements if isinstance(node, ast.Return) and node.value is not None]
    given = [(ast.unparse(node.targets[0]), node.value) for node in statements if isinstance(node, ast.Assign)]
    return returned or [value for target, value in given if name in ("", target)]


def _given_names(source: Source | None) -> list[str]:
    """What an `update_step` calls the gradient, the parameter and the rate."""
    definition = None if source is None else source.definition
    named = [] if definition is None else [each.arg for each in definition.args.args[1:4]]
    return [*named, *("gradient", "variable", "learning_rate")[len(named) :]]


def _last_given(statements: Iterable[ast.stmt]) -> ast.expr | None:
    """What is given a value last in some statements, a name or a slot, or is returned; None if nothing is."""
    found: ast.expr | None = None
    for node in statements:
        if isinstance(node, ast.Return):
            return node.value
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = node.targets[0]
        elif isinstance(call, ast.Call) and ast.unparse(call.func).startswith("self.assign") and call.args:
            found = call.args[0]
    return found


def zero_at_first(function: Any) -> str | None:
    """That an `update_step` reads what is 0 in the first step, and what to write instead; None if it does not."""
    line = line_of_reading(function, "iterations")
    if line is None:
        return None
    return f"{line} reads `self.iterations`, which is 0 in the first step. Write `self.step_of(variable)`, which is 1."


def slot_to_write(function: Any, attribute: str) -> str:
    """How a slot that a function reads from a list in `self` is written."""
    source = source_of_function(function)
    nodes = [] if source is None else [node for node in source.statements if isinstance(node, ast.Assign)]
    local = next((node for node in nodes if f"self.{attribute}[" in ast.unparse(node.value)), None)
    if local is None or not isinstance(local.targets[0], ast.Name):
        return assigned_by_rule(slot_in(f"self.{attribute}"))
    name = local.targets[0].id
    for node in nodes:
        if node is not local and name in names_in(node.value) and isinstance(node.targets[0], ast.Name):
            target = node.targets[0].id
            written = assigned_by_rule(name, text(node.value, "value") if target == name else target)
            # Behind it the name is no slot any more.
            return f"{written} instead of `{text(node, f'{name} = ...')}`" if target == name else written
    return assigned_by_rule(name)
