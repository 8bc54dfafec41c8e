"""Which axes of an array are those of another one, of which it holds something for each row or column, say."""

from __future__ import annotations

import operator
from collections.abc import Sequence


def kept_axes(shape: Sequence[int], whole: Sequence[int]) -> list[int | None]:
    """For each axis of a shape the axis of another shape that it is; None if it is none, or may be one of several.

    >>> kept_axes((5, 7), (5, 3, 7)), kept_axes((5, 1, 7), (5, 3, 7)), kept_axes((4,), (4, 4))
    ([0, 2], [0, None, 2], [None])

    Args:
        shape: of what holds something for some of the axes: these in their order, or all of them, some of length 1.
        whole: of what has all axes.
    """
    if len(shape) == len(whole):
        same = map(operator.eq, shape, whole)
        return [axis if alike else None for axis, alike in enumerate(same)]
    first = _in_order(shape, whole)
    last = [len(whole) - 1 - axis for axis in reversed(_in_order(shape[::-1], whole[::-1]))]
    return [one if one == other else None for one, other in zip(first, last, strict=True)] or [None] * len(shape)


def _in_order(shape: Sequence[int], whole: Sequence[int]) -> list[int]:
    """For each axis the first one that it can be, in order; nothing if there is none for some axis."""
    found: list[int] = []
    for length in shape:
        start = found[-1] + 1 if found else 0
        place = next((axis for axis in range(start, len(whole)) if whole[axis] == length), None)
        if place is None:
            return []
        found.append(place)
    return found
