"""Where NumPy arrays lie and whether they are plain, read for many at once from the arrays themselves.

Asking each array takes longer than a step of a small model. What is read here instead is the C structure that NumPy's
headers publish for compiled extensions; whether it is laid out as they say is tried out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..numpy_owners import has_memory
from ..strides import Order
from .compiled import compiled
from .layouts import ELEMENTS, ITEM, KIND, layouts, lies_so
from .lists import items_of, kind_of, readable, tried_out
from .placeholders import Subroutine, carray, pointer

_OWN, _ALIGNED, _WRITEABLE = 0x4, 0x100, 0x400
_DATA, _AXES, _LENGTHS, _STRIDES, _BASE, _DTYPE, _FLAGS, _FIELDS = 2, 3, 4, 5, 6, 7, 8, 9
"""The positions of fields in a PyArrayObject, in words of 8 bytes."""
_ITEM_SIZE, _DTYPE_FIELDS = 5, 6
"""Likewise in a PyArray_Descr."""
_INT = 0xFFFFFFFF
_NDARRAY, _MEMMAP = id(numpy.ndarray), id(numpy.memmap)
_NOT, _PLAIN, _ASK_OWNERS = 0, 1, 2


# It holds Python's lock, so that nobody changes an array meanwhile. Where it cannot be compiled, nothing is ever found
# to be like before, and each step looks for itself.
@compiled(
    "int64(int64, int64, int64, int64, int64, int64[:, ::1], int64[:, ::1])", otherwise=lambda *_: _NOT, with_lock=True
)
def _look(held_by: int, given_by: int, kind: int, over_files: int, read: int, expected: Any, addresses: Any) -> int:
    """Whether objects are arrays of a type and lie as expected, those to be written writable; and where they lie.

    Args:
        held_by: the identity of a list of what parameters hold.
        given_by: that of a list of gradients.
        kind: the identity of the type of arrays.
        over_files: that of arrays over files.
        read: how many of what each parameter holds, the first, are not written.
        expected: the rows of `layouts`.
        addresses: is filled; a row for each parameter, the gradient's is the last.
    """
    rows, last = addresses.shape[0], addresses.shape[1] - 1
    held, gradients = items_of(held_by), items_of(given_by)
    if held.size != rows * last or gradients.size != rows:
        return _NOT
    answer = _PLAIN
    for position in range(held.size + gradients.size):
        gradient = position >= held.size
        identity = gradients[position - held.size] if gradient else held[position]
        own_kind = kind_of(identity)
        if own_kind not in (kind, over_files):
            return _NOT
        fields = carray(pointer(identity), (_FIELDS,), dtype=numpy.int64)
        flags = _ALIGNED if gradient or position % last < read else _ALIGNED | _WRITEABLE
        if fields[_DTYPE] != expected[position, KIND] or fields[_FLAGS] & flags != flags:
            return _NOT
        item, elements = expected[position, ITEM], expected[position, ELEMENTS]
        if not lies_so(fields[_LENGTHS], fields[_STRIDES], fields[_AXES] & _INT, item, expected, position):
            return _NOT
        if not fields[_FLAGS] & _OWN and elements > 0:
            owned = _in_owner(fields[_BASE], kind, over_files, fields[_DATA], fields[_DATA] + elements * item)
            if owned == _NOT:
                return _NOT
            answer = max(answer, owned)
        if gradient:
            addresses[position - rows * last, last] = fields[_DATA]
        else:
            addresses[position // last, position % last] = fields[_DATA]
    return answer


@Subroutine
def _in_owner(owner: int, kind: int, over_files: int, start: int, end: int) -> int:
    """Whether the array that owns memory still has it; another owner must be asked."""
    while owner != 0:
        own_kind = kind_of(owner)
        if own_kind not in (kind, over_files):
            return _ASK_OWNERS
        fields = carray(pointer(owner), (_FIELDS,), dtype=numpy.int64)
        if fields[_FLAGS] & _OWN:
            axes = fields[_AXES] & _INT
            size = carray(pointer(fields[_DTYPE]), (_DTYPE_FIELDS,), dtype=numpy.int64)[_ITEM_SIZE]
            for length in carray(pointer(fields[_LENGTHS]), (axes,), dtype=numpy.int64):
                size *= length
            return _PLAIN if fields[_DATA] <= start and end <= fields[_DATA] + size else _NOT
        owner = fields[_BASE]
    # Memory of C code, of which Python knows no owner.
    return _NOT


class ArrayLookout:
    """See `Backend.lookout`.

    Args:
        shapes: of the parameters.
        orders: in which their elements lie.
        dtypes: NumPy's own dtype objects, of the arrays of each parameter and of its gradient.
        read: how many of the arrays of each parameter are not written.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[Any], read: int = 0
    ) -> None:
        # Kept, because an identity is unique only while the object lives.
        self._dtypes = list(dtypes)
        self._expected = layouts(shapes, orders, [(id(dtype), dtype.itemsize) for dtype in dtypes])
        self._size = len(shapes), len(dtypes)
        self._read = read

    def __call__(self, held: Sequence[Any], gradients: Sequence[Any], anew: bool = False) -> Any:
        """The addresses, or None. Of arrays that were never seen no more is to be asked."""
        held = held if type(held) is list else list(held)
        gradients = gradients if type(gradients) is list else list(gradients)
        addresses = numpy.empty(self._size, dtype=numpy.int64)
        answer = _look.run(id(held), id(gradients), _NDARRAY, _MEMMAP, self._read, self._expected, addresses)
        if answer == _NOT or (answer == _ASK_OWNERS and not all(map(has_memory, [*held, *gradients]))):
            return None
        return addresses


@tried_out
def works() -> bool:
    """Whether arrays have the structure that is expected."""
    if not readable():
        return False
    base = numpy.zeros((4, 6), dtype=numpy.float32)
    shifted = numpy.frombuffer(bytearray(33), dtype=numpy.uint8)[1:].view(numpy.float32)
    plain: list[Any] = [base, base[1:], base.T, numpy.zeros((), numpy.float32), numpy.zeros((0, 3), numpy.float32)]
    look = ArrayLookout([array.shape for array in plain], [None, None, (1, 6), None, None], [base.dtype] * 2)
    found = look(plain, plain)
    read_only = base.copy()
    read_only.setflags(write=False)
    owner = numpy.zeros(24, dtype="V8")
    lost = numpy.ndarray.view(owner, numpy.float32)[32:]
    kept = _accepts(lost, lost)
    owner.resize(16, refcheck=False)
    return (
        found is not None
        and found.tolist() == [[array.__array_interface__["data"][0]] * 2 for array in plain]
        and not any(_accepts(base, other) for other in (base.T, base[:, ::2], base.astype(numpy.float64), None, 3))
        and (shifted.flags.aligned or not _accepts(numpy.zeros(8, numpy.float32), shifted))
        and not _accepts(read_only, base)
        and not _accepts(read_only, base, written=1)
        and _accepts(base, read_only, written=1)
        and kept
        and not _accepts(lost, lost)
    )


def _accepts(array: Any, gradient: Any, written: int = 0) -> bool:
    if written:
        # The gradient's array is also read, before the other, which is written.
        return ArrayLookout([array.shape], [None], [array.dtype] * 3, read=1)([gradient, array], [gradient]) is not None
    return ArrayLookout([array.shape], [None], [array.dtype] * 2)([array], [gradient]) is not None
