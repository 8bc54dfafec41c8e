"""The sum of squares of `backends/sums.py`, compiled: the same order of additions, so the same bits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

from .. import sums as definition
from ..sums import BLOCK, LANES, added_in_order
from .compiled import compiled
from .placeholders import carray, pointer, room
from .sums import added_up, cleared, squares_added
from .table import share_out

_BYTES = 8 * LANES


def _by_numpy(addresses: Any, sizes: Any, item: int, first: int, last: int, sums: Any) -> None:
    for block in range(first, last):
        # Nothing can lie at address zero, where what is empty may be said to lie.
        length = int(sizes[block]) * item
        held: Any = (ctypes.c_char * length).from_address(int(addresses[block])) if length else b""
        sums[block] = definition.block_sum(numpy.frombuffer(held, dtype=f"f{item}"))


@compiled("void(int64[::1], int64[::1], int64, int64, int64, float64[::1])", otherwise=_by_numpy)
def _block_sums(addresses: Any, sizes: Any, item: int, first: int, last: int, sums: Any) -> None:
    """The sum of the squares of each of some blocks.

    Args:
        addresses: where each of them starts.
        sizes: how many elements each has, at most `BLOCK`.
        item: 4 where they are in float32, 8 in float64.
        first: of the blocks that are looked at.
        last: behind the last of them.
        sums: is filled.
    """
    lanes = carray(pointer(room(_BYTES)), (LANES,), dtype=numpy.float64)
    for block in range(first, last):
        cleared(lanes)
        if item == 4:
            squares_added(carray(pointer(addresses[block]), (sizes[block],), dtype=numpy.float32), lanes)
        else:
            squares_added(carray(pointer(addresses[block]), (sizes[block],), dtype=numpy.float64), lanes)
        sums[block] = added_up(lanes)


def sums_of_squares(addresses: Any, sizes: Any, item: int) -> list[float]:
    """Of several arrays in memory, each in row-major order.

    Args:
        addresses: where each of them starts, one after another, as int64.
        sizes: how many elements each has.
        item: 4 where they are in float32, 8 in float64.
    """
    elements, counts = int(sizes.sum()), -(-sizes // BLOCK)
    several = len(counts) > 0 and counts.max() > 1
    if several:
        numpy.maximum(counts, 1, out=counts)
        first = numpy.repeat(counts.cumsum() - counts, counts)
        done = (numpy.arange(len(first)) - first) * BLOCK
        addresses = numpy.repeat(addresses, counts) + done * item
        sizes = numpy.minimum(numpy.repeat(sizes, counts) - done, BLOCK)
    sums = numpy.empty(len(sizes), dtype=numpy.float64)
    share_out(
        lambda first, last: _block_sums(addresses, sizes, item, first, last, sums), len(sizes), elements
    )  # fmt: skip
    if not several:
        return sums.tolist()
    blocks = iter(sums.tolist())
    return [added_in_order(next(blocks) for _ in range(count)) for count in counts.tolist()]


def sum_of_squares(flat: Any) -> float:
    """Of a contiguous one-dimensional float32 or float64 array."""
    start, size = (numpy.array([number], dtype=numpy.int64) for number in (flat.ctypes.data, flat.size))
    return sums_of_squares(start, size, flat.itemsize)[0]
