"""How the elements of an array follow each other in memory, and whether two of them lie in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Order: TypeAlias = tuple[int, ...] | None
"""How the elements of a dense array follow each other in memory: how many elements apart the neighbours along each axis
lie, 0 along axes of length one; None if they are row-major. Arrays of one order can be walked through together."""


def elements_overlap(shape: Sequence[int], strides: Sequence[int], element: int = 1) -> bool:
    """Whether elements of a strided array may lie in one place, as after broadcasting. Interleaved ones count as well.

    Args:
        shape: of the array.
        strides: the distances between neighbours along each axis.
        element: the length of an element, in the same unit.
    """
    if 0 in shape:
        return False  # The strides of an empty array mean nothing.
    reach = element
    steps = ((abs(stride), length) for stride, length in zip(strides, shape, strict=True) if length > 1)
    for stride, length in sorted(steps):
        if stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def dense_order(shape: Sequence[int], strides: Sequence[int], element: int = 1) -> tuple[int, ...] | None:
    """The distances, in elements, between the neighbours of an array that fills its memory; None if it does not.

    Along an axis of length one there are no neighbours: its distance is 0. Arguments are those of `elements_overlap`.
    """
    order, reach = [0] * len(shape), element
    for stride, axis in sorted((strides[axis], axis) for axis, length in enumerate(shape) if length > 1):
        if stride != reach:
            return None
        order[axis] = stride // element
        reach *= shape[axis]
    return tuple(order)
