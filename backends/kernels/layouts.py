"""What arrays must be so that a kernel may run over them, as rows of numbers that compiled code compares with.

Each row stands for one array: a number that stands for its dtype, the size of an element, how many elements and axes
there are, then the lengths of the axes and the distances between neighbours, in elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from ..strides import Order
from .compiled import compiled
from .placeholders import Subroutine, carray, pointer

KIND, ITEM, ELEMENTS, AXES, LENGTHS = 0, 1, 2, 3, 4
"""The columns of a row."""


def layouts(shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], kinds: Sequence[tuple[int, int]]) -> Any:
    """A row for each array of parameters and their slots, one parameter after another; then one for each gradient.

    Args:
        shapes: of the parameters, which are those of their slots and gradients.
        orders: in which the elements of each lie, and those of its slots and its gradient.
        kinds: what stands for a dtype, and the size of an element, for the arrays of each parameter in their order. The
            last is the gradients'.
    """
    longest = max(map(len, shapes), default=0)
    # Most of many parameters lie like others.
    found: dict[Any, int] = {}
    numbers = [found.setdefault(each, len(found)) for each in zip(shapes, orders, strict=True)]
    distinct = numpy.array([_row(shape, order, longest) for shape, order in found], dtype=numpy.int64)
    rows = distinct.reshape(-1, 2 + 2 * longest)[numbers]
    result = numpy.empty((len(rows) * len(kinds), 4 + 2 * longest), dtype=numpy.int64)
    held = result[: len(rows) * (len(kinds) - 1)].reshape(len(rows), len(kinds) - 1, -1)
    held[:, :, :ELEMENTS] = numpy.array(kinds[:-1], dtype=numpy.int64).reshape(-1, ELEMENTS)
    held[:, :, ELEMENTS:] = rows[:, None]
    gradients = result[len(rows) * (len(kinds) - 1) :]
    gradients[:, :ELEMENTS] = kinds[-1]
    gradients[:, ELEMENTS:] = rows
    return result


def _row(shape: tuple[int, ...], order: Order, longest: int) -> list[int]:
    """What stands of an array behind its kind."""
    strides = [1] if order is None else list(order)
    for length in shape[:0:-1] if order is None else ():
        strides.insert(0, strides[0] * length)
    filling = [0] * (longest - len(shape))
    return [math.prod(shape), len(shape), *shape, *filling, *strides[: len(shape)], *filling]


@Subroutine
def lies_so(lengths: int, strides: int, axes: int, unit: int, expected: Any, position: int) -> bool:
    """Whether an array has the lengths and distances of a row.

    Args:
        lengths: where its lengths stand.
        strides: where its distances stand.
        axes: how many it has.
        unit: by how much the distances are longer than in elements.
        expected: all rows.
        position: of the row. A slice of it would take most of the time.
    """
    if axes != expected[position, AXES]:
        return False
    own = carray(pointer(lengths), (axes,), dtype=numpy.int64)
    apart = carray(pointer(strides), (axes,), dtype=numpy.int64)
    stride = LENGTHS + (expected.shape[1] - LENGTHS) // 2
    for axis in range(axes):
        if own[axis] != expected[position, LENGTHS + axis]:
            return False
        # Where there is one element, or none, the distance means nothing.
        means_something = own[axis] > 1 and expected[position, ELEMENTS] > 0
        if means_something and apart[axis] != expected[position, stride + axis] * unit:
            return False
    return True


@compiled("boolean(int64[:, ::1], int64[:, ::1], int64[::1], int64, int64[::1], int64[::1])")
def still_apart(addresses: Any, before: Any, sizes: Any, item_size: int, starts: Any, ends: Any) -> bool:
    """Whether all memory lies as it did, and none of the gradients in memory that is written; if so, remember these.

    Args:
        addresses: a row for each parameter, the gradient's is the last.
        before: those of the last step, of whose gradients it is known.
        sizes: how many elements each has.
        item_size: bytes of an element.
        starts: of the memory that is written, in order; its pieces lie apart.
        ends: likewise.
    """
    last = addresses.shape[1] - 1
    for row in range(sizes.size):
        for column in range(last):
            if addresses[row, column] != before[row, column]:
                return False
        start, end = addresses[row, last], addresses[row, last] + sizes[row] * item_size
        if start < end and (start == 0 or start % item_size != 0):
            return False
        # A gradient that stays where it was has been looked at: it may be the parameter itself.
        if start != before[row, last] and start < end:
            # The first piece that ends behind where it starts.
            following, behind = 0, ends.size
            while following < behind:
                middle = (following + behind) // 2
                if ends[middle] <= start:
                    following = middle + 1
                else:
                    behind = middle
            if following < starts.size and starts[following] < end:
                return False
    for row in range(sizes.size):
        before[row, last] = addresses[row, last]
    return True
