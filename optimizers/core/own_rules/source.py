"""What the source of a rule shows: whether it can change its parameter and its slots, and the line that only seems to.

What it does not show is taken for the best.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import types
from collections.abc import Container, Iterable, Iterator
from typing import Any, TypeAlias

from ....backends import ops
from ....backends.mistakes import as_written, is_of_a_rule
from ....backends.source import Source, source_of
from ..origin import outside_library

_READ_ONLY = frozenset(("variable_index", "_get_variable_index", "step_of", "len", "isinstance", "print", "repr"))
"""What may be called with a parameter or a slot and does not change it."""
_ONE_BY_ONE = frozenset(("zip", "enumerate", "list", "tuple", "reversed"))
"""What gives the same cells again."""
_Parents: TypeAlias = dict[ast.AST, ast.AST]


def never_commits(kind: type[Any]) -> bool:
    """Whether the source of `update_step` shows that it cannot change its parameter: nobody else is given that.

    Args:
        kind: the class of a rule.
    """
    source = source_of_function(kind.update_step)
    name = None if source is None else _parameter(source, kind)
    if source is None or name is None:
        return False
    return _are_only_read(source, _named(source, [name]), kind)


def never_writes(kind: type[Any], attribute: str) -> bool:
    """Whether the source of a class shows that none of its methods changes a slot of a list: all of them only read it.

    Args:
        kind: the class of a rule.
        attribute: the list's name in `self`.
    """
    functions = [
        _as_written(function)
        for owner in kind.__mro__
        for each in vars(owner).values()
        for function in (each, *(getattr(each, name, None) for name in ("__func__", "fget", "func")))
        if isinstance(function, types.FunctionType)
    ]
    naming = [each for each in functions if _may_name(each, attribute) or _may_name(inspect.unwrap(each), attribute)]
    return all(_only_reads_slots(each, attribute, kind) for each in naming)


def _may_name(function: Any, attribute: str) -> bool:
    """Whether a function asks for an attribute of that name, or for any."""
    code = function.__code__
    names = list(_in_code(code))
    return attribute in names or (is_of_a_rule(code.co_filename) and not {"getattr", "vars"}.isdisjoint(names))


def _only_reads_slots(function: Any, attribute: str, kind: type) -> bool:
    """Whether a function that names a list of slots only reads these."""
    source = source_of_function(function)
    lists = [] if source is None else [node for node in source.all_of(ast.Attribute) if node.attr == attribute]
    return source is not None and bool(lists) and _are_only_read(source, lists, kind)


def _named(source: Source, names: Container[str]) -> list[ast.AST]:
    return [node for node in source.all_of(ast.Name) if node.id in names]


def _are_only_read(source: Source, nodes: Iterable[ast.AST], kind: type) -> bool:
    """Whether cells are only read where they stand in a function, whatever names it gives them."""
    parents = {child: parent for parent in source.nodes for child in ast.iter_child_nodes(parent)}
    waiting, known = list(nodes), set[str]()
    while waiting:
        node = waiting.pop()
        if isinstance(getattr(node, "ctx", None), ast.Store):
            # A name is given to something else, or a list is made.
            continue
        node, around = _handed_on(node, parents, kind)
        names = _names_given(around)
        if names is None and not _is_read(node, around):
            return False
        waiting += _named(source, set(names or ()) - known)
        known |= set(names or ())
    return True


def _handed_on(node: ast.AST, parents: _Parents, kind: type) -> tuple[ast.AST, ast.AST]:
    """What is, or may give, the cells that stand somewhere, and what that stands in."""
    parent = parents[node]
    while isinstance(parent, (ast.Subscript, ast.Tuple, ast.List, ast.Starred, ast.IfExp, ast.keyword)) or (
        isinstance(parent, ast.Call)
        and (_called(parent) in _ONE_BY_ONE or _is_reader(_resolved(parent.func, kind), kind))
    ):
        node, parent = parent, parents[parent]
    return node, parent


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _names_given(around: ast.AST) -> list[str] | None:
    """The names that are given to what stands in that; None if none are, or not names alone."""
    if isinstance(around, ast.Assign):
        targets: list[ast.expr] = around.targets
    elif isinstance(around, (ast.For, ast.comprehension, ast.NamedExpr, ast.AnnAssign)):
        targets = [around.target]
    else:
        return None
    parts = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.expr)]
    plain = all(isinstance(part, (ast.Name, ast.Tuple, ast.List, ast.Starred)) for part in parts)
    return [part.id for part in parts if isinstance(part, ast.Name)] if plain else None


def _is_read(node: ast.AST, around: ast.AST) -> bool:
    """Whether what a cell stands in only reads it."""
    if isinstance(around, ast.Attribute):
        return not around.attr.startswith("assign")
    if isinstance(around, ast.Call):
        called = _called(around)
        # What another cell takes is a value.
        taken = called.startswith("assign") and node in around.args[1:]
        return taken or called in _READ_ONLY or called in ops.__all__
    return isinstance(around, (ast.BinOp, ast.UnaryOp, ast.Compare, ast.FormattedValue, ast.Expr))


def line_of_rebinding(kind: type[Any]) -> tuple[str, str]:
    """The first line of `update_step` that gives its parameter's name to another value, and that name; or nothing."""
    source = source_of_function(kind.update_step)
    name = None if source is None else _parameter(source, kind)
    for node in () if source is None else source.all_of(ast.Name):
        if source is not None and node.id == name and isinstance(node.ctx, ast.Store):
            return source.line_of(node), node.id
    return "", ""


def line_of_reading(function: Any, attribute: str) -> str | None:
    """The first line of a function that reads an attribute of `self`; None if none does, or that is not known."""
    source = source_of_function(function)
    for node in () if source is None else source.all_of(ast.Attribute):
        if source is not None and ast.unparse(node) == f"self.{attribute}":
            return source.line_of(node)
    return None


def source_of_function(function: Any) -> Source | None:
    """The source of a function; None if it cannot be had, or if another function does more around it."""
    written = _as_written(function)
    code = None if hasattr(written, "__wrapped__") else getattr(written, "__code__", None)
    source = None if code is None else source_of(code)
    return None if source is None or source.definition is None else source


def _as_written(function: Any) -> Any:
    """What a user has written of a method, around which this library may do more."""
    while hasattr(function, "__wrapped__") and not is_of_a_rule(function.__code__.co_filename):
        function = function.__wrapped__
    return function


def _parameter(source: Source, kind: type) -> str | None:
    """What an `update_step` calls its parameter."""
    place = 1 if isinstance(inspect.getattr_static(kind, "update_step"), staticmethod) else 2
    arguments = [] if source.definition is None else source.definition.args.args
    return arguments[place].arg if len(arguments) > place else None


def _resolved(called: ast.expr, kind: Any) -> Any:
    """The function that a rule calls by a name, or as a method of its own; None if that is not known."""
    if isinstance(called, ast.Name):
        # A name may have no value yet.
        with contextlib.suppress(ValueError):
            inside = inspect.getclosurevars(inspect.unwrap(kind.update_step))
            return {**inside.globals, **inside.nonlocals}.get(called.id)
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "self":
        return getattr(kind, called.attr, None)
    return None


def _is_reader(function: Any, kind: type) -> bool:
    """Whether a function that is known, and all that it calls, assign nothing."""
    if not isinstance(function, types.FunctionType):
        return False
    try:
        names = list(_names(function, kind, []))
    except ValueError:
        # What it calls is not all there yet.
        return False
    return not any(name.startswith("assign") or name in ("update_step", "getattr") for name in names)


def _names(function: types.FunctionType, kind: type, seen: list[types.FunctionType]) -> Iterator[str]:
    """The names that a function, and what it calls of the same author's, asks for."""
    if function in seen:
        return
    seen.append(function)
    names = list(_in_code(function.__code__))
    yield from names
    inside = inspect.getclosurevars(function)
    methods = [getattr(kind, name, None) for name in names]
    for other in (*inside.globals.values(), *inside.nonlocals.values(), *methods):
        if isinstance(other, types.FunctionType) and is_of_a_rule(other.__code__.co_filename):
            yield from _names(other, kind, seen)


def _in_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _in_code(constant)


_ANY_NAME = frozenset(("getattr", "setattr", "vars", "__dict__", "__getattribute__", "eval", "exec", "attrgetter"))
"""By what attributes are asked for whose names stand nowhere."""


def names_in_rule(kind: type[Any]) -> set[str] | None:
    """The names in the methods of a user's class that run in steps, and in functions that these name; None if they may
    ask for any, or there are none.

    Args:
        kind: the class; its parents count.
    """
    waiting = [
        value
        for each in outside_library(kind)
        for name, value in vars(each).items()
        if name not in ("__init__", "build")
    ]
    names: set[str] = set()
    seen: set[types.CodeType] = set()
    while waiting:
        given = waiting.pop()
        function = as_written(getattr(given, "fget", None) or getattr(given, "__func__", None) or given)
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType) and code not in seen:
            seen.add(code)
            own = set(_names_of(code))
            names |= own
            waiting += _functions_named(function, own)
    return names if seen and names.isdisjoint(_ANY_NAME) else None


def _functions_named(function: Any, names: Iterable[str]) -> Iterator[Any]:
    """What a function can call: functions that it names or holds, and the methods of such classes."""
    space = function.__globals__
    held = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    for each in (*(space[name] for name in names if name in space), *held):
        if isinstance(each, type):
            yield from vars(each).values()
        elif isinstance(each, types.FunctionType):
            yield each


def _names_of(code: types.CodeType) -> Iterator[str]:
    """The names of globals and attributes in code, and in functions that stand in it."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names_of(each)
