"""NumPy's arrays, which change in place and whose memory compiled code shares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy

from .base import Backend
from .dtypes import Array
from .kernels.compiler import has_numba
from .numpy_owners import has_memory, last_owner
from .reductions import sum_of_squares
from .scope import Mode
from .strides import Order, dense_order, elements_overlap
from .sums import BLOCK, by_numpy

_OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "radd", "rsub", "rmul", "rtruediv", "rpow",
    "iadd", "isub", "imul", "itruediv", "neg", "abs", "lt", "le", "gt", "ge", "eq", "ne", "array_ufunc",
)  # fmt: skip
_INTEGER, _FLOAT = numpy.dtype(numpy.int64), numpy.dtype(numpy.float64)
_empty_like = functools.partial(numpy.empty_like, subok=False)
_TWO = (numpy.add, numpy.subtract, numpy.multiply, numpy.divide, numpy.maximum, numpy.greater)


_PLAIN = (numpy.ndarray, numpy.memmap)
"""The classes whose arithmetic is NumPy's own. Arrays over files differ only in where their memory comes from."""


@functools.cache
def _has_own_operators(kind: Any) -> bool:
    """Whether a subclass of NumPy's class gives another meaning to arithmetic."""
    if not issubclass(kind, numpy.ndarray):
        # NumPy's scalars, which do not have all of an array's operators.
        return False
    return any(getattr(kind, f"__{name}__") is not getattr(numpy.ndarray, f"__{name}__") for name in _OPERATORS)


def _is_masked(array: Any) -> bool:
    # NumPy imports masked arrays when they are named, which takes a quarter of a first step.
    return type(array) is not numpy.ndarray and isinstance(array, numpy.ma.MaskedArray) and bool(numpy.any(array.mask))


def _set_errors(what: dict[str, Any]) -> None:
    numpy.seterr(**what)


_SILENT = dict.fromkeys(("divide", "over", "under", "invalid"), "ignore")


def _stands_for_its_elements(array: Any) -> bool:
    """Whether arithmetic on an array of a subclass, tried on one element, is that on its elements.

    That one is 2 whatever the array holds: no class is taken in one step and refused in the next for its values, as
    that of masked arrays would be, which masks what has been divided by 0.
    """
    sample = numpy.full_like(array[(slice(0, 1),) * array.ndim], 2)
    element = numpy.asarray(sample)
    one = numpy.ones((), element.dtype)
    try:
        with numpy.errstate(all="ignore"):
            pairs = [(function(sample, other), function(element, numpy.asarray(other)))
                     for function in _TWO for other in (sample, one)]  # fmt: skip
            pairs.append((numpy.sqrt(numpy.abs(sample)), numpy.sqrt(numpy.abs(element))))
            return all(numpy.array_equal(numpy.asarray(a), b, equal_nan=True) for a, b in pairs)
    except Exception:
        # Every class refuses in its own words.
        return False


class NumpyBackend(Backend):
    """NumPy arrays and scalars, bfloat16 of ml_dtypes included."""

    name = "numpy"
    arrays_called = "NumPy's arrays"
    writable = True
    namespace = numpy

    def dtype(self, name: str) -> Any:
        """NumPy's dtype; bfloat16 is the one of ml_dtypes."""
        if name == "bfloat16":
            import ml_dtypes

            return numpy.dtype(ml_dtypes.bfloat16)
        return numpy.dtype(name)

    def cast(self, array: Array, name: str) -> Array:
        """By the method, which scalars have too; the function takes them only in newer versions."""
        return array if self.dtype_name(array) == name else array.astype(self.dtype(name))

    def device(self, array: Array) -> Any:
        """NumPy knows one place only."""
        return None

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """Of the array's elements: a subclass that has operators of its own is none of its class."""
        return super().full_like(self.plain(array), value, name)

    def plain(self, array: Array) -> Array:
        """Of a class with operators of its own, such as numpy.matrix, the array without them.

        Arrays with masked elements keep theirs: what is masked takes no part in arithmetic, and stays as it is. NumPy's
        scalars, which arithmetic gives in place of arrays without axes, become such arrays.
        """
        kind: Any = type(array)
        if kind is numpy.ndarray:
            return array
        taken_as_array = kind is numpy.memmap or isinstance(array, numpy.generic)
        if not taken_as_array and (not _has_own_operators(kind) or _is_masked(array)):
            return array
        return numpy.asarray(array)

    def why_not_parameter(self, array: Array) -> str | None:
        """Of numpy.matrix, an update would be none: it is no class for arrays of any shape."""
        return "pass numpy.asarray of it, which shares its memory" if isinstance(array, numpy.matrix) else None

    def why_no_values(self, array: Array) -> str | None:
        """NumPy's own functions would read memory that its owner has given back."""
        return "the owner of its memory has closed or resized it" if has_memory(array) is False else None

    def why_no_operand(self, array: Array) -> str | None:
        """Arrays of a class to which its elements are not all, as to one with units, or that refuses arithmetic."""
        if _is_masked(array):
            return "some of its elements are masked: pass its filled(0.0)"
        kind = type(array)
        if kind in _PLAIN or isinstance(array, numpy.generic) or self.plain(array) is array:
            return None
        if _stands_for_its_elements(array):
            return None
        return f"the arithmetic of {kind.__name__} is not that of its elements: pass these as a plain array"

    def copy(self, array: Array) -> Array:
        """A copy that shares no memory."""
        return numpy.array(array)

    def traceable(self, scalar: Array) -> Any:
        """A NumPy scalar, which never changes, in a dtype that is computed in."""
        name = self.dtype_name(scalar)
        return scalar.astype(name if name in ("float32", "float64") else "float32")[()]

    def to_numpy(self, array: Array) -> Any:
        """The array itself."""
        return numpy.asarray(array)

    def why_not_variable(self, array: Array) -> str | None:
        """Read-only arrays and NumPy scalars cannot change in place."""
        if not isinstance(array, numpy.ndarray):
            return "it is a NumPy scalar. Use a 0-d array"
        if not array.flags.writeable:
            return "it is read-only"
        if elements_overlap(array.shape, array.strides, array.itemsize):
            return "its elements share memory. Pass a copy"
        return None if _is_masked(array) else self.why_no_operand(array)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """NaN and infinity pass through a step without warnings, as on the other libraries."""
        return Mode(numpy.geterr, _set_errors, _SILENT)

    def write(self, target: Array, value: Array) -> None:
        """Copy into the array's own memory."""
        target[...] = value

    def may_share_memory(self, a: Array, b: Array) -> bool:
        """By the bounds of the memory, which is quick and never wrongly says no."""
        return numpy.may_share_memory(a, b)

    def computes_itself(self, array: Array) -> bool:
        """Not with arrays of somebody else's subclass."""
        return type(array) in _PLAIN

    def extent(self, array: Array) -> tuple[int, int]:
        """By the bounds of the memory."""
        return numpy.lib.array_utils.byte_bounds(array)

    def fits_plainly(self, gradient: Array, parameter: Array) -> bool:
        """Two plain arrays of one dtype and shape, the parameter writable; a scalar is an array without axes."""
        return (
            (type(gradient) in _PLAIN or isinstance(gradient, numpy.generic))
            and type(parameter) in _PLAIN
            and gradient.dtype is parameter.dtype
            and gradient.shape == parameter.shape
            and parameter.flags.writeable
        )

    shares_memory = True

    def order(self, array: Array) -> Order:
        """From the strides."""
        if type(array) not in _PLAIN or array.flags.c_contiguous:
            return None
        return dense_order(array.shape, array.strides, array.itemsize)

    def address(self, array: Array, dtype: str, shape: tuple[int, ...], order: Order, write: bool) -> int | None:
        """From the array interface."""
        # A subclass may give its memory another meaning, as masked arrays do.
        if type(array) not in _PLAIN or self.dtype_name(array) != dtype or array.shape != shape:
            return None
        if not has_memory(array):
            return None
        flags = array.flags
        if not (flags.aligned and (flags.writeable or not write)):
            return None
        if not (flags.c_contiguous if order is None else dense_order(shape, array.strides, array.itemsize) == order):
            return None
        return int(array.__array_interface__["data"][0])

    def unknown_owner(self, array: Array) -> str | None:
        """The class of what owns it."""
        if type(array) not in _PLAIN or has_memory(array) is not None:
            return None
        owner = last_owner(array)
        return "C code" if owner is array or isinstance(owner, numpy.ndarray) else f"a {type(owner).__name__}"

    def lookout(
        self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[str], read: int = 0
    ) -> Callable[..., Any] | None:
        """Read from the arrays' own structure, if there is the compiler to do it."""
        if not has_numba():
            return None
        from .kernels import addresses

        if not addresses.works():
            return None
        return addresses.ArrayLookout(shapes, orders, [self.dtype(name) for name in dtypes], read)

    def plain_number(self, array: Array) -> float | int | None:
        """Of an array that owns its memory."""
        plain = type(array) is numpy.ndarray and not array.ndim and array.base is None
        if plain and (array.dtype is _FLOAT or array.dtype is _INTEGER):
            return array.item()  # type: ignore[no-any-return]  # of these dtypes
        return None

    def number(self, value: float | int, like: Array) -> Array:
        """Made at once: it is done for every number of a state, in every step."""
        return numpy.array(value, _INTEGER if isinstance(value, int) else _FLOAT)

    def empties(self, arrays: Sequence[Array]) -> list[Array]:
        """Of NumPy's own class."""
        return list(map(_empty_like, arrays))

    def plain_copy(self, array: Array, dtype: str, order: Order) -> Array:
        """A copy whose axes are put into their order in memory, and back."""
        if order is not None:
            outermost_first = sorted(range(len(order)), key=lambda axis: -order[axis])
            inverse = sorted(range(len(order)), key=outermost_first.__getitem__)
            return self.plain_copy(array.transpose(outermost_first), dtype, None).transpose(inverse)
        # Not by `numpy.array`, which keeps an array's own dtype object, if it is another one of that dtype.
        copy = numpy.empty(array.shape, self.dtype(dtype))
        if has_numba():
            from .kernels.copies import copied

            if copied(copy, array):
                return copy
        copy[...] = array
        return copy

    def flat_view(self, array: Array) -> Any:
        """A reshaped view, of the axes in their order in memory."""
        strides = array.strides
        flat = numpy.asarray(array).transpose(sorted(range(array.ndim), key=lambda axis: -strides[axis])).reshape(-1)
        return flat.view(numpy.uint16) if self.dtype_name(array) == "bfloat16" else flat

    def as_array(self, value: Array) -> Array:
        """Arithmetic on 0-d arrays gives NumPy scalars; state holds arrays."""
        return numpy.asarray(value)

    def sum_of_squares(self, array: Array) -> Array:
        """By the definition that all CPU paths share."""
        return sum_of_squares(array) if array.size <= BLOCK or has_memory(array) else by_numpy(array.reshape(-1))


NUMPY = NumpyBackend()
"""The one that there is."""
