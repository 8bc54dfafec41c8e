"""What is needed to run the same steps on every library that is there: arrays of each, drawn ones, distances."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import traceback
from collections.abc import Sequence
from typing import Any

import numpy

from .base import Backend, MissingDtype
from .detect import LIBRARIES, backend_named, backend_of
from .dtypes import SIXTEEN_BIT, Array
from .mistakes import is_library
from .numpy import NUMPY
from .strides import Order
from .variable import Variable

EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
"""The distance from 1 to the next number of each dtype."""

_STRICT = "array_api_strict"
"""The library that has what the Array API standard demands and nothing else."""


def libraries() -> list[Backend]:
    """The array libraries that are installed, NumPy first. They are imported."""
    names = [*(library.name for library in LIBRARIES), _STRICT]
    return [NUMPY, *(backend_named(name) for name in names if importlib.util.find_spec(name) is not None)]


def without_warnings() -> contextlib.AbstractContextManager[Any]:
    """A context in which NumPy's arithmetic says nothing of numbers that are infinite or none, on this thread."""
    return numpy.errstate(all="ignore")


def has_dtype(backend: Backend, name: str) -> bool:
    """Whether a library has arrays of a dtype now."""
    try:
        return backend.dtype_name(made(backend, numpy.zeros(()), name)) == name
    except (AttributeError, ImportError, TypeError, ValueError):
        return False


def why_not_there(error: BaseException) -> str | None:
    """Why a library cannot do what every other one can, if an error says so; None for all other errors.

    Args:
        error: what was raised in a step on its arrays.
    """
    if isinstance(error, MissingDtype):
        return str(error).rstrip(".")
    if error.__cause__ is not None:
        # Which was said in other words.
        return why_not_there(error.__cause__)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_name not in _OPERATORS or not is_library(code.co_filename):
            continue
        left, right = [frame.f_locals.get(name) for name in code.co_varnames[:2]]
        if isinstance(right, Variable) and backend_of(left) is not None:
            # Python asks the cell next, if the array leaves it to it, as the standard has it.
            return "its arrays refuse cells on their right, as in `array * cell`, instead of leaving it to them"
    return None


_OPERATORS = frozenset((
    "__add__", "__sub__", "__mul__", "__truediv__", "__floordiv__", "__mod__", "__pow__", "__matmul__", "__lt__",
    "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__and__", "__or__", "__xor__",
))  # fmt: skip


def made(backend: Backend, values: Any, name: str, order: Order = None, like: Array = None) -> Array:
    """A new array of a library.

    Args:
        backend: of the library.
        values: an array of NumPy's.
        name: of the dtype.
        order: in which elements follow each other in memory, where the library's arrays can say so.
        like: an array of the library, in whose place it is put. Default: where the library puts arrays.
    """
    if backend is NUMPY:
        array = NUMPY.cast(numpy.array(values), name)
    else:
        place = backend.namespace.asarray(0.0) if like is None else like
        array = backend.from_numpy(NUMPY.cast(values, "float32") if name in SIXTEEN_BIT else values, name, place)
    return array if order is None else backend.plain_copy(array, name, order)


def read(backend: Backend, array: Array) -> Any:
    """An array as one of NumPy's in double precision."""
    return NUMPY.cast(backend.to_numpy(array), "float64")


def rounded(values: Any, name: str) -> Any:
    """Values of NumPy's as a dtype has them, in double precision."""
    return NUMPY.cast(NUMPY.cast(values, name), "float64")


def drawn(shapes: Sequence[tuple[int, ...]], seed: int) -> list[Any]:
    """Arrays of NumPy's, normally distributed; the same for the same seed."""
    generator = numpy.random.default_rng(seed)
    return [numpy.asarray(generator.normal(size=shape)) for shape in shapes]


def column_major(shape: tuple[int, ...]) -> Order:
    """The order of an array whose first axis is the innermost one."""
    return tuple(math.prod(shape[:axis]) if length > 1 else 0 for axis, length in enumerate(shape))


def distance(found: Any, expected: Any, start: Any, name: str) -> float:
    """How far arrays are apart, in units of a dtype's eps: max|a - b| / (eps * max(max|b|, max|b - start|)).

    Infinite where one of them is not finite and the other is another value.

    Args:
        found, expected: arrays of NumPy's in double precision.
        start: what both began with.
        name: of the dtype.
    """
    if not found.size:
        return 0.0
    same = (found == expected) | (numpy.isnan(found) & numpy.isnan(expected))
    if same.all():
        return 0.0
    if not (numpy.isfinite(found[~same]).all() and numpy.isfinite(expected[~same]).all()):
        return math.inf
    finite = numpy.isfinite(expected)
    scale = max(numpy.max(numpy.abs(expected[finite])), numpy.max(numpy.abs((expected - start)[finite])))
    apart = float(numpy.max(numpy.abs((found - expected)[~same])))
    return apart / (EPS[name] * float(scale)) if scale else math.inf


def shape_alone(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of NumPy's that takes no memory, for what has a shape and a dtype and is no array.

    Args:
        shape: its shape.
        dtype: of any library, or a name.
    """
    name = str(getattr(dtype, "name", None) or str(dtype).rpartition(".")[2])
    return numpy.broadcast_to(numpy.zeros((), NUMPY.dtype(name)), shape)
