"""Copies of arrays whose elements lie in another order, square by square.

Element by element, each line of memory would be fetched anew for each of its elements, because until its next one is
asked for it has long been let go. So a square is read as it lies, into a place that stays near, and written from there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from .compiled import Compiled
from .placeholders import carray, pointer
from .table import share_out

_SIDE = 32
"""Of a square, in elements."""
_MANY, _LONG = 2**14, 16
"""From so many elements on it is worth the while, and from so many along each of the two axes that change places."""


def _turned(
    source: int, target: int, outer: Any, rows: int, columns: int, apart: int, tile: Any, first: int, last: int
) -> int:
    """Copy some blocks of rows; 1.

    Args:
        source: where what is read starts.
        target: where its copy starts.
        outer: for each axis but the last two its length and how far apart, in elements, neighbours are read and
            written; then, in a line of its own, how far apart rows are written.
        rows: how many elements lie side by side in what is read.
        columns: how many in what is written.
        apart: how far apart these are read, in elements.
        tile: a square that stays near.
        first: of the blocks, those of all outer places one after another.
        last: the one that is not copied.
    """
    item, axes, side = tile.itemsize, outer.shape[0] - 1, tile.shape[0]
    spacing, blocks = outer[axes, 0], (rows + tile.shape[0] - 1) // tile.shape[0]
    for position in range(first, last):
        rest, start = position // blocks, position % blocks * side
        here, there = source + start * item, target + start * spacing * item
        for axis in range(axes - 1, -1, -1):
            place = rest % outer[axis, 0]
            rest = rest // outer[axis, 0]
            here += place * outer[axis, 1] * item
            there += place * outer[axis, 2] * item
        height = min(side, rows - start)
        for left in range(0, columns, side):
            width = min(side, columns - left)
            for column in range(width):
                read = carray(pointer(here + (left + column) * apart * item), (height,), dtype=tile.dtype)
                for row in range(height):
                    tile[row, column] = read[row]
            for row in range(height):
                written = carray(pointer(there + (row * spacing + left) * item), (width,), dtype=tile.dtype)
                for column in range(width):
                    written[column] = tile[row, column]
    return 1


_COPIES = {
    size: Compiled(
        _turned,
        f"int64(int64, int64, int64[:, ::1], int64, int64, int64, uint{8 * size}[:, ::1], int64, int64)",
        otherwise=lambda *_: 0,
    )
    for size in (2, 4, 8)
}
"""By the size of an element."""


def _joined_axes(target: Any, source: Any) -> list[list[int]] | None:
    """For each axis its length and how far apart, in elements, neighbours are read and written; None if in parts.

    Axes of length one are left out, and those that follow each other in both arrays are one.
    """
    axes: list[list[int]] = []
    for length, read, written in zip(source.shape, source.strides, target.strides, strict=True):
        if length == 1:
            continue
        if read % target.itemsize:
            return None
        if axes and axes[-1][1] * target.itemsize == read * length:
            axes[-1] = [axes[-1][0] * length, read // target.itemsize, written // target.itemsize]
        else:
            axes.append([length, read // target.itemsize, written // target.itemsize])
    return axes


def copied(target: Any, source: Any) -> bool:
    """Copy an array into a new row-major one, if it is turned round; whether it was done.

    Args:
        target: of the source's shape.
        source: of the same dtype, or nothing is done.
    """
    copies = _COPIES.get(target.itemsize)
    if copies is None or source.dtype != target.dtype or source.size < _MANY or not source.flags.aligned:
        return False
    axes = _joined_axes(target, source)
    if not axes:
        return False
    *outer, (columns, apart, _) = axes
    lying = next((axis for axis in outer if axis[1] == 1), None)
    if apart == 1 or lying is None or min(columns, lying[0]) < _LONG:
        return False
    outer.remove(lying)
    rows, _, spacing = lying
    table = numpy.array([*outer, [spacing, 0, 0]], dtype=numpy.int64)
    blocks = -(-rows // _SIDE) * math.prod(axis[0] for axis in outer)
    addresses = [array.__array_interface__["data"][0] for array in (source, target)]
    done = []

    def copy(first: int, last: int) -> None:
        tile = numpy.empty((_SIDE, _SIDE), dtype=f"uint{8 * target.itemsize}")
        done.append(copies(*addresses, table, rows, columns, apart, tile, first, last))

    share_out(copy, blocks, source.size)
    return all(done)
