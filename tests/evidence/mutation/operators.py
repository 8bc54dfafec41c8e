"""The changes that make mutants: a fixed list. Each operator takes a node and gives the nodes to put in its place."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

A_LITTLE = 1 + 2.0**-10
"""A factor that changes only the size of a number."""


class Surroundings(NamedTuple):
    """What a node may be exchanged with.

    Attributes:
        numbers: the names of the rule's hyperparameters that are numbers.
        slots: the attributes that are lists of slots.
        arrays: the local names of slots and of the gradient.
        foreign: the names of what is no part of the formula.
    """

    numbers: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    foreign: frozenset[str] = frozenset()


Operator = Callable[[ast.AST, Surroundings], Iterator[ast.AST]]

# ---------------------------------------------------------------- numbers


def constant_changed(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """A number to its neighbours, its double, its negative, zero, or a little more; a flag turned; another word."""
    if not isinstance(node, ast.Constant) or node.value is None:
        return
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        value = node.value
        for other in dict.fromkeys((value + 1, value - 1, 2 * value, -value, 0 * value, value * A_LITTLE)):
            yield ast.Constant(other)
    elif isinstance(node.value, str):
        yield ast.Constant("another")


def hyperparameter_changed(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """A hyperparameter doubled, or a little larger."""
    if _is_own(node) in around.numbers:
        yield _times(node, 2.0)
        yield _times(node, A_LITTLE)


def hyperparameter_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Another hyperparameter of the rule."""
    if _is_own(node) in around.numbers:
        for other in around.numbers:
            yield _changed(node, attr=other)


def step_off_by_one(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """The step before or after."""
    if _is_call(node, "step_of") or (_is_name(node) in ("step", "count")):
        yield ast.BinOp(node, ast.Add(), ast.Constant(1))
        yield ast.BinOp(node, ast.Sub(), ast.Constant(1))


# ---------------------------------------------------------------- arithmetic

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_AVERAGES = ("moving_average", "moving_average_of_squares")
_ARITHMETIC_FUNCTIONS = ("add", "subtract", "multiply", "divide")


def arithmetic_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Another one of + - * /."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, _ARITHMETIC):
        for operation in _ARITHMETIC:
            yield ast.BinOp(node.left, operation(), node.right)
    if _is_once(node, *_ARITHMETIC_FUNCTIONS):
        for name in _ARITHMETIC_FUNCTIONS:
            yield _changed(node, args=[_changed(node.args[0], attr=name), *node.args[1:]])


def operands_swapped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Of - and /, of functions whose arguments have an order, and of pairs."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Sub, ast.Div)):
        yield ast.BinOp(node.right, node.op, node.left)
    if _is_call(node, "power", "one_minus_power", "subtract", "divide"):
        yield _changed(node, args=node.args[::-1])
    if _is_once(node, "subtract", "divide"):
        yield _changed(node, args=[node.args[0], *node.args[:0:-1]])
    if _is_call(node, "where"):
        yield _changed(node, args=[node.args[0], node.args[2], node.args[1]])
    if _is_call(node, *_AVERAGES):
        yield _changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        yield _changed(node, elts=node.elts[::-1])


def term_dropped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """One operand of an operator, or one argument of a function of several, in place of the whole."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
    if isinstance(node, ast.BoolOp):
        yield from node.values
    if _is_call(node, "maximum", "minimum", "power"):
        yield from node.args
    if _is_once(node, *_ARITHMETIC_FUNCTIONS):
        yield from node.args[1:]
    if _is_call(node, "where"):
        yield from node.args[1:]
    if _is_call(node, *_AVERAGES):
        yield from node.args[:2]


def sign_changed(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """A minus dropped, or put before what is written to a cell."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    if _is_call(node, *_ASSIGNMENTS):
        yield _changed(node, args=[*node.args[:-1], ast.UnaryOp(ast.USub(), node.args[-1])])


# ---------------------------------------------------------------- functions


def function_dropped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """The argument of a root, a square, a magnitude, a sign or a cast in place of the function."""
    if _is_call(node, "sqrt", "square", "absolute", "abs", "sign", "negative", "cast"):
        yield node.args[0]
    if _is_once(node, "cast", "negative"):
        yield node.args[1]


def function_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """A root and a square for each other, a magnitude for a square."""
    for name, other in (("sqrt", "square"), ("square", "sqrt"), ("square", "absolute"), ("absolute", "square")):
        if _is_call(node, name):
            yield _changed(node, func=_changed(node.func, attr=other))


def extremum_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Maximum and minimum for each other."""
    for name, other in (("maximum", "minimum"), ("minimum", "maximum")):
        if _is_call(node, name):
            yield _changed(node, func=_changed(node.func, attr=other))


# ---------------------------------------------------------------- what optimizers have in particular


def epsilon_scaled(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Ten times as large, a little larger, or none."""
    if _is_epsilon(node):
        yield _times(node, 10.0)
        yield _times(node, A_LITTLE)
        yield ast.Constant(0.0)


def epsilon_moved(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Out of a function, into it, out of a denominator, or from there into the numerator."""
    if isinstance(node, ast.Call):
        for position, argument in enumerate(node.args):
            for epsilon, rest in _sum_with_epsilon(argument):
                arguments = [*node.args[:position], rest, *node.args[position + 1 :]]
                yield ast.BinOp(_changed(node, args=arguments), ast.Add(), epsilon)
    for epsilon, rest in _sum_with_epsilon(node):
        if isinstance(rest, ast.Call):
            for position, argument in enumerate(rest.args):
                inside = ast.BinOp(argument, ast.Add(), epsilon)
                yield _changed(rest, args=[*rest.args[:position], inside, *rest.args[position + 1 :]])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        for epsilon, rest in _sum_with_epsilon(node.right):
            yield ast.BinOp(ast.BinOp(node.left, ast.Div(), rest), ast.Add(), epsilon)
            yield ast.BinOp(ast.BinOp(node.left, ast.Add(), epsilon), ast.Div(), rest)


def bias_correction_dropped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """1 in place of a power of the step, or of what is called a correction."""
    if _is_call(node, "one_minus_power", "power") or "correction" in _is_name(node):
        yield ast.Constant(1.0)


def slots_swapped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Another slot of the rule, or the gradient for a slot."""
    if _is_own(node) in around.slots:
        for other in around.slots:
            yield _changed(node, attr=other)
    if _is_name(node) in around.arrays:
        for other in around.arrays:
            yield ast.Name(other, ast.Load())


_ASSIGNMENTS = ("assign", "assign_add", "assign_sub")


def assignment_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Setting, adding and subtracting for each other."""
    if _is_call(node, *_ASSIGNMENTS):
        for name in _ASSIGNMENTS:
            yield _changed(node, func=_changed(node.func, attr=name))


# ---------------------------------------------------------------- conditions and statements

_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_OPPOSITES = {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}


def comparison_changed(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Another comparison, or none: always true, always false."""
    if isinstance(node, ast.Compare):
        kind = type(node.ops[0])
        for other in _ORDER if kind in _ORDER else (_OPPOSITES[kind],):
            yield _changed(node, ops=[other(), *node.ops[1:]])
        yield ast.Constant(True)
        yield ast.Constant(False)


def condition_forced(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """A condition always true, always false, or turned round."""
    if isinstance(node, (ast.If, ast.IfExp)):
        for test in (ast.Constant(True), ast.Constant(False), ast.UnaryOp(ast.Not(), node.test)):
            yield _changed(node, test=test)
    if isinstance(node, ast.Call) and _is_name(node.func) == "in_use":
        yield ast.Constant(True)
        yield ast.Constant(False)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def statement_dropped(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Nothing in place of a statement."""
    if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.If, ast.For, ast.With)):
        yield ast.Pass()
    if isinstance(node, ast.Return) and node.value is None:
        yield ast.Pass()


def statements_exchanged(node: ast.AST, around: Surroundings) -> Iterator[ast.AST]:
    """Two neighbours in the other order."""
    for block in ("body", "orelse"):
        statements = getattr(node, block, None)
        if isinstance(statements, list) and isinstance(node, ast.stmt):
            for position in range(len(statements) - 1):
                first, second = statements[position : position + 2]
                if _may_move(first, around) and _may_move(second, around):
                    others = [*statements[:position], second, first, *statements[position + 2 :]]
                    yield _changed(node, **{block: others})


OPERATORS: tuple[Operator, ...] = (
    constant_changed, hyperparameter_changed, hyperparameter_exchanged, step_off_by_one, arithmetic_exchanged,
    operands_swapped, term_dropped, sign_changed, function_dropped, function_exchanged, extremum_exchanged,
    epsilon_scaled, epsilon_moved, bias_correction_dropped, slots_swapped, assignment_exchanged, comparison_changed,
    condition_forced, statement_dropped, statements_exchanged,
)  # fmt: skip

# ---------------------------------------------------------------- looking at nodes and making them


def _is_call(node: Any, *names: str) -> bool:
    """Whether it is a call of a method or a function of `ops` of one of these names."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names


def _is_once(node: Any, *names: str) -> bool:
    """Whether it is one of these functions of `ops`, called through `once`."""
    return _is_call(node, "once") and isinstance(node.args[0], ast.Attribute) and node.args[0].attr in names


def _is_name(node: ast.AST) -> str:
    """The name that is read, or nothing."""
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ""


def _is_own(node: ast.AST) -> str:
    """The attribute of `self`, or of a `rule`, that is read, or nothing."""
    read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    return node.attr if read and _is_name(node.value) in ("self", "rule") else ""


def _is_epsilon(node: ast.AST) -> bool:
    name = _is_name(node) or _is_own(node)
    return name.startswith("eps") and not any(word in name for word in ("_in_", "_is_"))


def _sum_with_epsilon(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """The epsilon and the rest of a sum of both."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for epsilon, rest in ((node.right, node.left), (node.left, node.right)):
            if any(map(_is_epsilon, ast.walk(epsilon))):
                yield epsilon, rest


def _may_move(statement: ast.stmt, around: Surroundings) -> bool:
    """Whether a statement is one of the formula's, and one that does something where it stands and elsewhere."""
    names = {node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in ast.walk(statement)}
    documents = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return not (documents or names & around.foreign or isinstance(statement, (ast.Return, ast.Raise)))


def _times(node: Any, factor: float) -> ast.AST:
    return ast.BinOp(node, ast.Mult(), ast.Constant(factor))


def _changed(node: Any, **fields: Any) -> Any:
    """The same node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
