"""The code that makes up an algorithm's formula: which functions, and which statements of them."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar

from gradwise import optimizers
from gradwise.backends import ops
from gradwise.optimizers import Optimizer
from gradwise.optimizers.core import formulas
from gradwise.optimizers.core.hyperparameters import Number, hyperparameters

RULE = ("begin_step", "update_step")
"""What an algorithm writes. The helpers that these call belong to its formula too."""

AROUND = (
    "_run", "_update", "_update_alone", "update_parameter", "descend", "prepared_gradient", "step_of", "_decay",
    "_decays", "_decay_is_coupled",
)  # fmt: skip
"""What the base does around every rule: rates, step counts, weight decay, maximize."""

SHARED = ("moving_average", "moving_average_of_squares", "_weights_of_average")
"""Functions of `ops` that are formulas, and belong to those in which they are called."""

NOT_IN_VECTORS = frozenset({
    "_accumulators", "_average", "_averages", "base_rate_at", "calls_each_update", "_excluded", "_excluded_names",
    "_exclusions", "_explain", "rate_at", "_schedule", "_tell_inside", "clip", "clipnorm", "clipvalue", "constraint",
    "decay", "divisor", "every", "excluded", "factor", "global_clipnorm", "gradient_accumulation_steps",
    "is_to_be_tried", "loss_scale_factor", "option", "rehearse", "rehearsed", "_try_out", "use_ema",
})  # fmt: skip
"""Features with tests of their own: a statement that names one of these is no part of a formula."""

MACHINERY = {kind.__module__ for kind in Optimizer.__mro__}


@dataclass(frozen=True)
class Function:
    """A method that belongs to a formula, or a function.

    Attributes:
        owner: the class or the module that has it.
        tree: its source.
        file: where that is, from the repository's root.
    """

    owner: type | ModuleType
    name: str
    tree: ast.FunctionDef
    file: str

    def __str__(self) -> str:
        return f"{self.owner.__name__.rpartition('.')[2]}.{self.name}"

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the function's own that stand for a slot or the gradient, or for what may be either."""
        known = {"gradient", "momentum", "square", "past", "new", "x"}
        found = {argument.arg for argument in self.tree.args.args} & known
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                found |= _bound_to_slots(node)
        return tuple(sorted(found))


@dataclass(frozen=True)
class Formula:
    """An algorithm's functions, and what these have to do with.

    Attributes:
        numbers: the attributes that are hyperparameters and numbers.
        slots: the attributes that are lists of slots.
    """

    algorithm: str
    functions: tuple[Function, ...]
    numbers: tuple[str, ...]
    slots: tuple[str, ...]


@functools.cache
def formula_of(algorithm: str) -> Formula:
    """The formula of a class of `gradwise.optimizers`."""
    kind = getattr(optimizers, algorithm)
    functions = {name: function_of(kind, name) for name in (*RULE, *AROUND)}
    waiting = list(RULE)
    while waiting:
        function = functions[waiting.pop()]
        for name in _own_names(function.tree):
            owner = _owner_of(kind, name)
            is_method = owner is not None and isinstance(vars(owner)[name], FunctionType)
            if is_method and owner.__module__ not in MACHINERY and name not in functions:
                functions[name] = function_of(kind, name)
                waiting.append(name)
        for name, value in _functions_named_in(function):
            if value.__module__ not in MACHINERY and name not in functions:
                functions[name] = function_in(sys.modules[value.__module__], name)
                waiting.append(name)
    for name in SHARED:
        if any(_calls(function.tree, name) for function in tuple(functions.values())):
            functions[name] = function_in(ops, name)
    numbers = [
        name
        for name, value in hyperparameters(kind).items()
        if isinstance(value, Number) and name not in NOT_IN_VECTORS and name != "ema_momentum"
    ]
    return Formula(algorithm, tuple(functions.values()), tuple(numbers), _slots_of(kind))


def function_of(kind: type, name: str) -> Function:
    """The method that a class has under a name."""
    owner = _owner_of(kind, name)
    assert owner is not None, f"{kind.__name__} has no {name}: the tables in {Path(__file__).name} name it"
    return function_in(owner, name)


def function_in(owner: type | ModuleType, name: str) -> Function:
    """A function that a class or a module defines."""
    function = vars(owner)[name]
    assert isinstance(function, FunctionType) and function.__closure__ is None, f"{name} cannot be compiled by itself"
    path = Path(function.__code__.co_filename)
    scope = owner.__name__ if isinstance(owner, type) else None
    return Function(owner, name, _definition(path, scope, name), f"{path.parent.name}/{path.name}")


def module_of(function: Function) -> Any:
    """The module a function was written in."""
    return sys.modules[function.owner.__module__] if isinstance(function.owner, type) else function.owner


@functools.cache
def _definition(path: Path, scope: str | None, name: str) -> ast.FunctionDef:
    """What a file defines under a name in a class, or by itself."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if scope is not None:
        body = [inner for node in body if isinstance(node, ast.ClassDef) and node.name == scope for inner in node.body]
    (found,) = (node for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
    written: ast.FunctionDef = _WithOperators().visit(found)
    return written


class _WithOperators(ast.NodeTransformer):
    """Arithmetic that `ops` writes with its own functions, written as others write it, so that it is changed alike."""

    _OPERATORS: ClassVar[dict[str, type[ast.operator]]] = {
        "add": ast.Add, "subtract": ast.Sub, "multiply": ast.Mult, "divide": ast.Div,
    }  # fmt: skip

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = [part.id if isinstance(part, ast.Name) else "" for part in (node.func, *node.args)]
        name, operands = (named[1], node.args[1:]) if named[0] == "once" else (named[0], node.args)
        return ast.BinOp(operands[0], self._OPERATORS[name](), operands[1]) if name in self._OPERATORS else node


def _owner_of(kind: type, name: str) -> type | None:
    return next((parent for parent in kind.__mro__ if name in vars(parent)), None)


def _own_names(tree: ast.AST) -> Iterator[str]:
    """What is read of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


def _functions_named_in(function: Function) -> Iterator[tuple[str, FunctionType]]:
    """The functions that a function of a formula names which stand in the algorithm's file, or in that of formulas."""
    around = vars(module_of(function))
    for node in ast.walk(function.tree):
        value = around.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(value, FunctionType) and value.__module__ in (around["__name__"], formulas.__name__):
            yield value.__name__, value


def _calls(tree: ast.AST, name: str) -> bool:
    """Whether there is a call of a function of `ops`, from outside or from another one."""
    return any(name in (getattr(node, "attr", None), getattr(node, "id", None)) for node in ast.walk(tree))


def _slots_of(kind: type) -> tuple[str, ...]:
    """The attributes that the algorithm's `build` sets."""
    found = []
    for parent in kind.__mro__:
        if "build" in vars(parent) and parent.__module__ not in MACHINERY:
            path = Path(sys.modules[parent.__module__].__file__ or "")
            for node in ast.walk(_definition(path, parent.__name__, "build")):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.append(node.attr)
    return tuple(sorted(set(found)))


def _bound_to_slots(node: ast.Assign) -> set[str]:
    """The names that an assignment binds to slots: `a, b = self.first[index], self.second[index]`."""
    names = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    return {
        name.id
        for name, value in zip(names, values, strict=False)
        if isinstance(name, ast.Name) and isinstance(value, ast.Subscript) and isinstance(value.value, ast.Attribute)
    }


# ---------------------------------------------------------------- the places in a function that may change


@dataclass(frozen=True)
class Site:
    """A node, and where it hangs; the function itself hangs nowhere."""

    node: ast.AST
    parent: ast.AST | None
    field: str
    position: int | None

    def put(self, node: ast.AST) -> None:
        """Hang another node there."""
        if self.position is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.position] = node


_BLOCKS = ("body", "orelse", "finalbody", "handlers")
_NOT_ENTERED = (ast.arguments, ast.Raise, ast.JoinedStr)
_SILENT = {
    "annotation", "ctx", "decorator_list", "op", "ops", "optional_vars", "returns", "target", "targets", "type_comment",
}  # fmt: skip


def sites(function: ast.FunctionDef) -> list[Site]:
    """The nodes of a formula, in an order that only depends on the function."""
    return [Site(function, None, "", None), *_inside(function, True)]


def _inside(node: ast.AST, with_head: bool) -> Iterator[Site]:
    for field, value in ast.iter_fields(node):
        if field in _SILENT:
            continue
        many = isinstance(value, list)
        for position, child in enumerate(value if many else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, _NOT_ENTERED) or _is_docstring(child):
                continue
            if isinstance(child, ast.stmt):
                # What a function returns under a foreign condition is foreign, too.
                counts = not _names(child) & NOT_IN_VECTORS and (with_head or not isinstance(child, ast.Return))
                if counts:
                    yield Site(child, node, field, position if many else None)
                yield from _inside(child, counts)
            elif with_head:
                yield Site(child, node, field, position if many else None)
                if not _asks_whether_there_is_something(child):
                    yield from _inside(child, True)


def _asks_whether_there_is_something(node: ast.AST) -> bool:
    """Whether a condition is one as a whole: `x is None`, `in_use(x)`. Another size of x would not change it."""
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], (ast.Is, ast.IsNot))
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "in_use"


def _names(statement: ast.stmt) -> set[str]:
    """The names in a statement, without those in blocks below it."""
    found = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        for field, value in ast.iter_fields(node):
            if not (node is statement and field in _BLOCKS):
                waiting += [child for child in (value if isinstance(value, list) else [value])
                            if isinstance(child, ast.AST)]  # fmt: skip
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
