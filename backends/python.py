"""The host's numbers, which are Python's own: learning rates, step counts and all that depends on them.

Functions follow IEEE 754 where `math` would raise, so that a rule behaves alike on numbers and on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .base import Backend
from .dtypes import Array


def _total(function: Callable[[float], float], on_error: Callable[[float], float]) -> Callable[[float], float]:
    def total(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return on_error(x)

    return total


def _rounding(function: Callable[[float], int]) -> Callable[[float], float]:
    # Whether it is finite is asked in arithmetic, which torch's compiler can read.
    return lambda x: float(function(x)) if x - x == 0 else x


class _Functions:
    # Integers that no float can hold raise too.
    sqrt = staticmethod(_total(math.sqrt, lambda x: math.inf if x > 0 else math.nan))
    exp = staticmethod(_total(math.exp, lambda x: math.inf if x > 0 else 0.0))
    log = staticmethod(_total(math.log, lambda x: -math.inf if x == 0 else math.nan))
    expm1 = staticmethod(_total(math.expm1, lambda x: math.inf if x > 0 else -1.0))
    log1p = staticmethod(_total(math.log1p, lambda x: -math.inf if x == -1 else math.nan))
    cos = staticmethod(_total(math.cos, lambda x: math.nan))
    floor = staticmethod(_rounding(math.floor))
    ceil = staticmethod(_rounding(math.ceil))
    isfinite = staticmethod(math.isfinite)
    abs = staticmethod(abs)

    @staticmethod
    def power(x: float, y: float) -> float:
        try:
            result = x**y
        except OverflowError:
            return -math.inf if x < 0 and y % 2 == 1 else math.inf
        except ZeroDivisionError:
            return math.inf
        return math.nan if isinstance(result, complex) else result

    @staticmethod
    def square(x: float) -> float:
        return x * x

    @staticmethod
    def sign(x: float) -> float:
        return x if math.isnan(x) else float((x > 0) - (x < 0))

    @staticmethod
    def sum(x: float) -> float:
        return x

    mean = max = min = sum


class HostBackend(Backend):
    """Python numbers. They have no array library, and meet every array without rounding it."""

    name = "python"
    namespace = _Functions
    numbers_on_host = True

    def dtype_name(self, array: Array) -> str:
        """ "int64" for integers, "float64" otherwise."""
        return "int64" if isinstance(array, int) else "float64"

    def is_real(self, array: Array) -> bool:
        """All but bools."""
        return not isinstance(array, bool)

    def dtype(self, name: str) -> Any:
        """Numbers have no dtype objects: the name itself."""
        return name

    def shape(self, array: Array) -> tuple[int, ...]:
        """Numbers are 0-d."""
        return ()

    def cast(self, array: Array, name: str) -> Array:
        """The number itself: scalars meet an array before they are rounded."""
        return array

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """The number itself."""
        return value

    def full(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """The number itself."""
        return value

    def copy(self, array: Array) -> Array:
        """The number itself."""
        return array

    def from_numpy(self, array: Any, name: str, like: Array) -> Array:
        """The value of a 0-d array, of the same kind as `like`."""
        return int(array) if isinstance(like, int) else float(array)

    def to_numpy(self, array: Array) -> Any:
        """A 0-d NumPy array."""
        import numpy

        return numpy.asarray(array)

    def item(self, array: Array) -> float | int:
        """The number itself."""
        return array  # type: ignore[no-any-return]  # a Python number, as the class says

    def widest_float(self, scalar: Array) -> Array:
        """The number as a float."""
        return float(scalar)

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger number; NaN wins."""
        return a + b if a != a or b != b else max(a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller number; NaN wins."""
        return a + b if a != a or b != b else min(a, b)

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """One of the two."""
        return a if predicate else b

    def sum_of_squares(self, array: Array) -> Array:
        """The square."""
        return array * array


HOST = HostBackend()
"""The one that there is."""
