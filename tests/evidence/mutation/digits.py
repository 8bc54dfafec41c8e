"""Numbers of 60 digits as arrays without axes, so that gradwise's own rules can be run on them, scalars included.

To gradwise they are what a tracer is: numbers that take part in arithmetic and are not read. But where a formula looks
at the size of a number, they are numbers too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import mpmath

from gradwise.backends import ops
from gradwise.backends.base import Backend
from gradwise.backends.detect import register_type
from gradwise.backends.dtypes import is_number

mp = mpmath.MPContext()  # a context of its own: no other user of mpmath changes its precision
mp.dps = 60
number = mp.mpf
number.dtype = "float64"  # what rules ask arrays for; of this context's own class of numbers
number.shape = ()
NAN = number("nan")


def _real(function: Any, low: float) -> Any:
    """A function that is NaN below its lowest argument, where mpmath's goes into the complex plane."""
    return lambda x: function(x) if x >= low else NAN


class _Functions:
    sqrt = staticmethod(_real(mp.sqrt, 0))
    log = staticmethod(_real(mp.log, 0))
    expm1 = staticmethod(mp.expm1)
    ceil = staticmethod(mp.ceil)
    abs = staticmethod(abs)
    sign = staticmethod(mp.sign)


class DigitsBackend(Backend):
    """These numbers as an array library."""

    name = "digits"
    namespace = _Functions

    def dtype_name(self, array: Any) -> str:
        return "float64"

    def shape(self, array: Any) -> tuple[int, ...]:
        return ()

    def cast(self, array: Any, name: str) -> Any:
        return array

    def full_like(self, array: Any, value: Any, name: str | None = None) -> Any:
        return number(value)

    def copy(self, array: Any) -> Any:
        return array

    def concrete(self, array: Any) -> bool:
        return False

    def widest_float(self, scalar: Any) -> Any:
        return scalar

    def select(self, predicate: Any, a: Any, b: Any) -> Any:
        return a if predicate else b

    def maximum(self, a: Any, b: Any) -> Any:
        return max(a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return min(a, b)


register_type(number, DigitsBackend())


@contextlib.contextmanager
def as_numbers() -> Iterator[None]:
    """In this context, `ops` takes them for numbers that the host can read."""
    ops.is_number = lambda value: is_number(value) or isinstance(value, number)
    try:
        yield
    finally:
        ops.is_number = is_number
