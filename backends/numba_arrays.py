"""Where NumPy arrays lie and whether they are plain, read for many at once from the arrays themselves.

Asking each array takes longer than a step of a small model. What is read here instead is the C structure that NumPy's
headers publish for compiled extensions; whether it is laid out as they say is tried out once.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Sequence
from typing import Any

import numpy
from numba import carray  # type: ignore[attr-defined]  # exported without being listed

from .numba_compiled import compiled
from .numba_pointer import pointer

_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_PLAIN = _C_CONTIGUOUS | _ALIGNED
_TYPE, _DATA, _AXES, _LENGTHS, _KIND, _FLAGS, _FIELDS = 1, 2, 3, 4, 7, 8, 9
"""The positions of fields in a PyArrayObject, in words of 8 bytes. Every object has the first two."""
_INT = 0xFFFFFFFF


# Where it cannot be compiled, nothing is ever found to be like before, and each step looks for itself.
@compiled("boolean(int64[::1], int64[::1], int64, int64[:, ::1], int64[::1])", otherwise=lambda *_: False)
def _look(identities: Any, expected: Any, flags: int, lengths: Any, addresses: Any) -> bool:
    """Whether objects are arrays of the expected type and dtype, with these flags and shapes; and where they lie."""
    for position in range(identities.size):
        if carray(pointer(identities[position]), (_DATA,), dtype=numpy.int64)[_TYPE] != expected[0]:
            return False
        fields = carray(pointer(identities[position]), (_FIELDS,), dtype=numpy.int64)
        axes = fields[_AXES] & _INT
        if fields[_KIND] != expected[1] or fields[_FLAGS] & flags != flags or axes != lengths[position, 0]:
            return False
        own = carray(pointer(fields[_LENGTHS]), (axes,), dtype=numpy.int64)
        for axis in range(axes):
            if own[axis] != lengths[position, axis + 1]:
                return False
        addresses[position] = fields[_DATA]
    return True


@compiled("boolean(int64[:, ::1], int64[::1], int64[::1], int64, int64[::1], int64[::1])")
def move_gradients(table: Any, addresses: Any, sizes: Any, item_size: int, starts: Any, ends: Any) -> bool:
    """Put the addresses of gradients into the last column of a table, unless one of them meets memory that is written.

    Args:
        table: a row for each parameter.
        addresses: of the gradients.
        sizes: their numbers of elements.
        item_size: bytes of an element.
        starts: of the memory that is written, in order; its pieces lie apart.
        ends: likewise.
    """
    last = table.shape[1] - 1
    for row in range(sizes.size):
        start, end = addresses[row], addresses[row] + sizes[row] * item_size
        # A gradient that stays where it was has been looked at: it may be the parameter itself.
        if start != table[row, last] and start < end:
            following = numpy.searchsorted(ends, start, side="right")
            if following < starts.size and starts[following] < end:
                return False
    for row in range(sizes.size):
        table[row, last] = addresses[row]
    return True


def _identities(arrays: Sequence[Any]) -> Any:
    return numpy.fromiter(map(id, arrays), dtype=numpy.int64, count=len(arrays))


class Lookout:
    """See `Backend.lookout`.

    Args:
        held: for each parameter its array and those of its slots, all plain, writable and of this dtype.
        dtype: the arrays' own dtype object.
    """

    def __init__(self, held: Sequence[Sequence[Any]], dtype: Any) -> None:
        # Kept, because an identity is unique only while the object lives.
        self._arrays = [array for row in held for array in row]
        self._held = _identities(self._arrays)
        self._expected = numpy.array([id(numpy.ndarray), id(dtype)], dtype=numpy.int64)
        longest = max((row[0].ndim for row in held), default=0)
        self._shapes = numpy.array(
            [[row[0].ndim, *row[0].shape, *[0] * (longest - row[0].ndim)] for row in held], dtype=numpy.int64
        ).reshape(len(held), longest + 1)
        self._held_shapes = self._shapes.repeat([len(row) for row in held], axis=0)
        self._addresses = numpy.empty(len(self._held), dtype=numpy.int64)
        self._found = numpy.empty_like(self._addresses)
        self._ready = self._look_at_held(self._addresses)

    def _look_at_held(self, addresses: Any) -> bool:
        return bool(_look.run(self._held, self._expected, _PLAIN | _WRITEABLE, self._held_shapes, addresses))

    def __call__(self, gradients: Sequence[Any]) -> Any:
        """The addresses of gradients, or None."""
        addresses = numpy.empty(len(gradients), dtype=numpy.int64)
        plain = (
            self._ready
            and self._look_at_held(self._found)
            and (self._found == self._addresses).all()
            and _look.run(_identities(gradients), self._expected, _PLAIN, self._shapes, addresses)
        )
        return addresses if plain else None


@functools.cache
def works() -> bool:
    """Whether arrays have the structure that is expected."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 2**62:
        return False
    base = numpy.zeros((4, 6), dtype=numpy.float32)
    shifted = numpy.frombuffer(bytearray(33), dtype=numpy.uint8)[1:].view(numpy.float32)
    plain: list[Any] = [base, base[1:], numpy.zeros((), numpy.float32), numpy.zeros((0, 3), numpy.float32)]
    look = Lookout([[numpy.zeros_like(array)] for array in plain], base.dtype)
    found = look(plain)
    read_only = base.copy()
    read_only.setflags(write=False)
    return (
        found is not None
        and found.tolist() == [array.__array_interface__["data"][0] for array in plain]
        and all(_refuses(base, other) for other in (base.T, base[:, ::2], base.astype(numpy.float64), None, 3))
        and (shifted.flags.aligned or _refuses(numpy.zeros(8, numpy.float32), shifted))
        and Lookout([[read_only]], base.dtype)([base]) is None
    )


def _refuses(array: Any, gradient: Any) -> bool:
    return Lookout([[numpy.zeros_like(array)]], array.dtype)([gradient]) is None
