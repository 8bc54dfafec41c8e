"""Where NumPy arrays lie, read for many at once from the arrays themselves.

Asking each array for its `__array_interface__` takes longer than a step of a small model. What is read here instead is
the C structure that NumPy's headers publish for compiled extensions; whether it lies where they say is tried out once.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Sequence
from typing import Any

import numba
import numpy
from numba import carray  # type: ignore[attr-defined]  # exported without being listed

from .numba_pointer import pointer

_C_CONTIGUOUS, _ALIGNED = 0x1, 0x100
_DATA, _FLAGS, _FIELDS = 2, 8, 9
"""The positions of fields in a PyArrayObject, in words of 8 bytes."""


@numba.njit(cache=True)
def _read(identities: Any, addresses: Any) -> bool:
    plain = True
    for position in range(identities.size):
        fields = carray(pointer(identities[position]), (_FIELDS,), dtype=numpy.int64)
        addresses[position] = fields[_DATA]
        flags = fields[_FLAGS]
        plain &= (flags & _C_CONTIGUOUS) != 0 and (flags & _ALIGNED) != 0
    return plain


def addresses_of(arrays: Sequence[Any]) -> Any:
    """The addresses of NumPy arrays as an int64 array, or None if one is not contiguous and aligned."""
    count = len(arrays)
    addresses = numpy.empty(count, dtype=numpy.int64)
    plain = _read(numpy.fromiter(map(id, arrays), dtype=numpy.int64, count=count), addresses)
    return addresses if plain else None


@functools.cache
def works() -> bool:
    """Whether arrays have the structure that is expected."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 2**62:
        return False
    base = numpy.zeros((4, 6), dtype=numpy.float32)
    shifted = numpy.frombuffer(bytearray(33), dtype=numpy.uint8)[1:].view(numpy.float32)
    plain: list[Any] = [base, base[1:], numpy.zeros(()), numpy.zeros((0, 3))]
    found = addresses_of(plain)
    return (
        found is not None
        and found.tolist() == [array.__array_interface__["data"][0] for array in plain]
        and addresses_of([base.T]) is None
        and addresses_of([base[:, ::2]]) is None
        and (shifted.flags.aligned or addresses_of([shifted]) is None)
    )
