"""The functions update rules are written with.

Every function takes arrays of any library, `Variable` cells and Python numbers, and gives an array of the same library
(a Python number if only numbers came in). Operators do the same. Two rules make results equal everywhere: a number
meets an array before it is rounded, and it never changes the array's dtype.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from .delta_variable import DeltaVariable
from .detect import backend_for, backend_of, number_of_python
from .dtypes import Array, is_number
from .elsewhere import method_written_as
from .mistakes import MissingAttribute, WrongValue, line_of_rule, nearest
from .once import once
from .python import HOST
from .scope import held_cells, run_in_branch
from .source import running_place
from .variable import value_of

__all__ = [
    "abs", "absolute", "add", "cast", "ceil", "clip", "cond", "convert_to_number", "cos", "divide", "equal", "exp",
    "expand_dims", "expm1", "floor", "full_like", "greater", "greater_equal", "is_concrete", "isfinite", "less",
    "less_equal", "log", "log1p", "matmul", "matrix_transpose", "max", "maximum", "mean", "min", "minimum",
    "moving_average", "moving_average_of_squares", "multiply", "negative", "norm", "once", "one_minus_power",
    "ones_like", "power", "reshape", "sign", "smallest_normal", "sqrt", "square", "subtract", "sum",
    "sum_of_squares", "sums_of_squares", "true_divide", "where", "zeros_like",
]  # fmt: skip


def _function(name: str, x: Any) -> Array:
    x = value_of(x)
    return getattr(backend_for(x).namespace, name)(x)


# -------------------------------------------------------------------- arithmetic


def _operate(function: Callable[..., Any], *operands: Any) -> Array:
    values = [value_of(operand) for operand in operands]
    return backend_for(*values).operate(function, *values)


def add(a: Any, b: Any) -> Array:
    """a + b."""
    return _operate(operator.add, a, b)


def subtract(a: Any, b: Any) -> Array:
    """a - b."""
    return _operate(operator.sub, a, b)


def multiply(a: Any, b: Any) -> Array:
    """a * b."""
    return _operate(operator.mul, a, b)


def divide(a: Any, b: Any) -> Array:
    """a / b."""
    return _operate(operator.truediv, a, b)


true_divide = divide


def negative(x: Any) -> Array:
    """-x."""
    return _operate(operator.neg, x)


def matmul(a: Any, b: Any) -> Array:
    """a @ b."""
    return value_of(a) @ value_of(b)


def power(a: Any, b: Any) -> Array:
    """a ** b. A Python number raised to a traced count is taken in the widest floating point there is."""
    a, b = value_of(a), value_of(b)
    if is_number(a) and is_number(b):
        return HOST.namespace.power(a, b)
    if is_number(a) and backend_for(b).shape(b) == ():
        b = backend_for(b).widest_float(b)
    return a**b


def square(x: Any) -> Array:
    """x * x."""
    return _operate(operator.mul, x, x)


def sqrt(x: Any) -> Array:
    """Square root; NaN below zero. Its derivative at zero counts as zero.

    So a step that is differentiated has the derivative that it has beside zero: in Adam, whose moments vanish together,
    an infinite one would meet a zero and make NaN.
    """
    x = value_of(x)
    return backend_for(x).sqrt(x)


def exp(x: Any) -> Array:
    """Exponential."""
    return _function("exp", x)


def log(x: Any) -> Array:
    """Natural logarithm."""
    return _function("log", x)


def expm1(x: Any) -> Array:
    """exp(x) - 1 without cancellation."""
    return _function("expm1", x)


def log1p(x: Any) -> Array:
    """log(1 + x) without cancellation."""
    return _function("log1p", x)


def cos(x: Any) -> Array:
    """Cosine of radians."""
    return _function("cos", x)


def floor(x: Any) -> Array:
    """The largest integer not above x, as floating point."""
    return _function("floor", x)


def ceil(x: Any) -> Array:
    """The smallest integer not below x, as floating point."""
    return _function("ceil", x)


def absolute(x: Any) -> Array:
    """|x|."""
    return _function("abs", x)


def sign(x: Any) -> Array:
    """-1, 0 or 1; NaN stays NaN."""
    return _function("sign", x)


def isfinite(x: Any) -> Array:
    """Whether each element is neither infinite nor NaN."""
    return _function("isfinite", x)


def maximum(a: Any, b: Any) -> Array:
    """Elementwise maximum; NaN wins."""
    a, b = value_of(a), value_of(b)
    return backend_for(a, b).maximum(a, b)


def minimum(a: Any, b: Any) -> Array:
    """Elementwise minimum; NaN wins."""
    a, b = value_of(a), value_of(b)
    return backend_for(a, b).minimum(a, b)


def clip(x: Any, lower: Any, upper: Any) -> Array:
    """x limited to [lower, upper]; NaN stays NaN."""
    return minimum(maximum(x, lower), upper)


# -------------------------------------------------------------------- comparison and choice


def less(a: Any, b: Any) -> Array:
    """a < b."""
    return value_of(a) < value_of(b)


def less_equal(a: Any, b: Any) -> Array:
    """a <= b."""
    return value_of(a) <= value_of(b)


def greater(a: Any, b: Any) -> Array:
    """a > b."""
    return value_of(a) > value_of(b)


def greater_equal(a: Any, b: Any) -> Array:
    """a >= b."""
    return value_of(a) >= value_of(b)


def equal(a: Any, b: Any) -> Array:
    """a == b."""
    return value_of(a) == value_of(b)


def where(condition: Any, a: Any, b: Any) -> Array:
    """Elementwise a where the condition holds, else b. Both are computed; see `cond` for a choice of work."""
    condition, a, b = value_of(condition), value_of(a), value_of(b)
    if isinstance(condition, bool):
        chosen, other = (a, b) if condition else (b, a)
        beside = backend_for(other)
        # Beside an array a number is one of its shape, as where the condition is an array.
        as_array = is_number(chosen) and beside is not HOST and beside.shape(other)
        return beside.full_like(other, chosen) if as_array else chosen
    return backend_for(condition, a, b).select(condition, a, b)


def cond(predicate: Any, true: Callable[[], Any], false: Callable[[], Any]) -> Any:
    """Run `true()` or `false()`, with all that they assign to cells.

    On a predicate that Python can read, this is an `if`. On a traced one, both branches are traced and the library
    decides as it runs. What the branches return must then have the same structure.

    Args:
        predicate: a bool or 0-d boolean array.
        true: run if the predicate holds.
        false: run otherwise.
    """
    predicate = value_of(predicate)
    backend = backend_for(predicate)
    if backend is HOST or backend.concrete(predicate):
        return true() if predicate else false()
    # A cell that collects its changes is not written itself; the cell with their sum is held beside it.
    cells = [cell for cell in held_cells() if not (isinstance(cell, DeltaVariable) and cell.collects)]
    written: set[int] = set()

    def branch(function: Callable[[], Any]) -> Callable[[Any], tuple[Any, list[Any]]]:
        def run(values: Any) -> tuple[Any, list[Any]]:
            result, after, cells_written = run_in_branch(function, cells, values, backend.level())
            written.update(cells_written)
            return result, after

        return run

    result, after = backend.cond(predicate, branch(true), branch(false), [cell.value for cell in cells])
    for cell, value in zip(cells, after, strict=True):
        if id(cell) in written:
            cell.assign(value)
    return result


# -------------------------------------------------------------------- whole arrays


def _reduced(name: str, x: Any, axis: Any, keepdims: bool) -> Array:
    x = value_of(x)
    backend = backend_for(x)
    if axis is None and not keepdims:
        return getattr(backend.namespace, name)(x)
    if backend is HOST:
        raise ValueError(f"ops.{name} received the number {x!r}, which has no axes: leave out axis and keepdims.")
    if axis is not None:
        _check_axes(name, axis, backend.shape(x))
    return getattr(backend.namespace, name)(x, axis=axis, keepdims=keepdims)


def _check_axes(name: str, axis: Any, shape: tuple[int, ...], more: int = 0) -> None:
    """Raise WrongValue for what is no axis, or several, of an array of a shape that has so many more."""
    count = len(shape) + more
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if all([hasattr(each, "__index__") and -count <= operator.index(each) < count for each in axes]):
        return
    known = f"be one of {', '.join(map(str, range(-count, count)))}" if count > 1 else "be 0 or -1"
    raise WrongValue(
        f"{line_of_rule()}: ops.{name} received axis={axis!r} for an array of shape {tuple(shape)}, where an axis must "
        f"{known if count else 'not be given'}."
    )


def sum(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The sum of all elements, or along axes.

    Args:
        x: array, cell or number.
        axis: one or several, counted from 0, or from the last with -1. Default: all.
        keepdims: whether these axes stay, with length 1, so that the result meets `x` in arithmetic.
    """
    return _reduced("sum", x, axis, keepdims)


def mean(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The mean of all elements, or along axes; see `sum`."""
    return _reduced("mean", x, axis, keepdims)


def max(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The largest element, of all or along axes; see `sum`."""
    return _reduced("max", x, axis, keepdims)


def min(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The smallest element, of all or along axes; see `sum`."""
    return _reduced("min", x, axis, keepdims)


def sum_of_squares(x: Any) -> Array:
    """The sum of squared elements: a Python number where Python can read it, else a 0-d array.

    On CPU memory one definition (fixed blocks, double precision) serves every path, so results agree to the last bit.
    """
    x = value_of(x)
    return backend_for(x).sum_of_squares(x)


def sums_of_squares(arrays: Iterable[Any]) -> list[Array]:
    """`sum_of_squares` of each of several arrays of one library, looked at one after another.

    Where processes hold arrays together, they exchange what they have found once, and not for each array.
    """
    values = map(value_of, arrays)
    first = next(values, None)
    return [] if first is None else backend_for(first).sums_of_squares(itertools.chain([first], values))


def norm(x: Any) -> Array:
    """The Euclidean norm of all elements, from `sum_of_squares`."""
    return sqrt(sum_of_squares(x))


# -------------------------------------------------------------------- shapes


def reshape(x: Any, shape: tuple[int, ...]) -> Array:
    """The same elements, in their order, in another shape; one length may be -1, and follows from the others."""
    x = value_of(x)
    return backend_for(x).namespace.reshape(x, tuple(shape))


def expand_dims(x: Any, axis: int) -> Array:
    """The same array with a new axis of length 1: `expand_dims(rows, -1) * expand_dims(columns, -2)` has both.

    Args:
        x: array or cell.
        axis: where the new axis will stand, counted from 0, or from the last with -1.
    """
    x = value_of(x)
    backend = backend_for(x)
    _check_axes("expand_dims", axis, backend.shape(x), 1)
    return backend.namespace.expand_dims(x, axis=axis)


def matrix_transpose(x: Any) -> Array:
    """The same array with its last two axes exchanged."""
    x = value_of(x)
    return backend_for(x).namespace.matrix_transpose(x)


# -------------------------------------------------------------------- making and converting


def zeros_like(x: Any) -> Array:
    """Zeros of the same library, shape, dtype and place."""
    return full_like(x, 0)


def ones_like(x: Any) -> Array:
    """Ones of the same library, shape, dtype and place."""
    return full_like(x, 1)


def full_like(x: Any, value: float) -> Array:
    """A constant of the same library, shape, dtype and place."""
    x = value_of(x)
    return backend_for(x).full_like(x, value)


def cast(x: Any, dtype: Any) -> Array:
    """The array in another dtype; a Python number unchanged, because numbers meet an array before they are rounded.

    Args:
        x: array, cell or number.
        dtype: the library's dtype object or a name such as "float32".
    """
    x = value_of(x)
    return backend_for(x).cast(x, _dtype_name(dtype))


def _dtype_name(dtype: Any) -> str:
    # A library's own may be text, too, with its name before it.
    return str(getattr(dtype, "name", None) or str(dtype).rpartition(".")[2])


def smallest_normal(x: Any) -> float:
    """The smallest positive number of the dtype with all of its digits; below it some machines compute with zero.

    Args:
        x: array or cell of a dtype that is computed in, float32 or float64.
    """
    x = value_of(x)
    return _SMALLEST_NORMAL[backend_for(x).dtype_name(x)]


_SMALLEST_NORMAL = {"float32": 2.0**-126, "float64": 2.0**-1022}


def is_concrete(x: Any) -> bool:
    """Whether Python can read the value now."""
    x = value_of(x)
    return backend_for(x).concrete(x)


def convert_to_number(x: Any) -> Any:
    """A concrete 0-d array as a Python number; a tracer, a tensor being differentiated or on a device unchanged.

    Likewise numbers of Python's other classes, such as Fraction.
    """
    x = value_of(x)
    backend = backend_of(x)
    if backend is None:
        return number_of_python(x)
    if backend is HOST or backend.shape(x) != () or not backend.concrete(x):
        return x
    return backend.item(x)


def moving_average(past: Any, new: Any, memory: Any) -> Array:
    """past * memory + new * (1 - memory): infinite where one of them is, and finite where both are.

    A difference of the two would be NaN where both are infinite, or where `new` is finite after an infinite `past`. And
    two weights that are rounded apart from each other do not quite add up to 1: a long memory would forget too little
    or too much in every step. So the memory comes in two parts, of which the large one is exact in every dtype that is
    computed in. An average of equal values stays within a unit in the last place of what it is.

    Args:
        past: the average so far.
        new: what comes in.
        memory: in [0, 1]; the weight of the past.
    """
    most, rest, weight = once(_weights_of_average, value_of(memory))
    return add(multiply(past, most), add(multiply(past, rest), multiply(new, weight)))


def moving_average_of_squares(past: Any, x: Any, memory: Any) -> Array:
    """past * memory + x * x * (1 - memory), as `moving_average`; a square overflows only where the average does.

    Args:
        past: the average so far.
        x: what is squared.
        memory: in [0, 1]; the weight of the past.
    """
    most, rest, weight = once(_weights_of_average, value_of(memory))
    return add(multiply(past, most), add(multiply(past, rest), multiply(multiply(x, weight), x)))


_PARTS = 4096
"""Of one: the large part of a memory is a multiple of this, which 12 bits hold."""


def _weights_of_average(memory: Any) -> tuple[Any, Any, Any]:
    """The two parts of a memory, which are zero only if the memory is, and the weight of what is new."""
    below = divide(subtract(ceil(multiply(memory, _PARTS)), 1), _PARTS)
    most = maximum(below, multiply(memory, 0.5))
    return most, subtract(memory, most), subtract(1, memory)


def one_minus_power(base: Any, exponent: Any) -> Array:
    r"""$1 - b^n$ without cancellation, the bias correction of a moving average.

    Computed as $-\operatorname{expm1}(n \log b)$: in float32 the plain form is wrong by up to 2e-4.

    Args:
        base: in [0, 1]; a number or a traced scalar.
        exponent: the count n >= 1; a number or a traced scalar.
    """
    base, exponent = value_of(base), value_of(exponent)
    backend = backend_for(exponent)
    count = exponent if backend is HOST else once(backend.widest_float, exponent)
    if not backend_for(base).numbers_on_host:
        return once(_one_minus_traced_power, base, count)
    compiled = backend.logarithm_in_compiled_code(base)
    logarithm = log(base) if compiled is None else compiled
    if is_number(logarithm) and logarithm == -math.inf:
        return 1.0
    return -expm1(count * logarithm) if backend.numbers_on_host else once(backend.one_minus_exp, count, logarithm)


def _one_minus_traced_power(base: Any, count: Any) -> Array:
    # Of a small base the plain form is right, and has a derivative at zero. Where is given what both forms can bear.
    small = base < 0.5
    plain = 1 - where(small, base, 0.5) ** count
    return where(small, plain, -expm1(count * log(where(small, 0.5, base))))


abs = absolute


def __getattr__(name: str) -> Any:
    """Say which function was meant by a name that does not exist."""
    if name[:2] == "__" or name == "_ipython_display_":
        raise AttributeError(name)
    line, place = line_of_rule(), running_place()

    def said() -> str:
        written = method_written_as(name, place)
        near = None if written else nearest(name, __all__)
        meant = written or (f"Did you mean {near!r}?" if near is not None else "")
        if not meant:
            meant = "`help(ops)` lists what it has, beside operators."
            return f"{line}: gradwise.backends.ops has no {name!r}, nor one with a name like it. {meant}"
        return f"{line}: gradwise.backends.ops has no {name!r}. {meant}"

    raise MissingAttribute(said)
