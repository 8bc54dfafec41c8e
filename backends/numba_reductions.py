"""The sum of squares of `reductions.py`, compiled: the same order of additions, so the same bits."""

from __future__ import annotations

from typing import Any

import numba
import numpy

from .numba_lowering import share_out
from .reductions import BLOCK, LANES, added_in_order


@numba.njit(cache=True, nogil=True, error_model="numpy")
def block_sum(block: Any) -> Any:
    """The sum of squares of at most `BLOCK` elements."""
    lanes = numpy.zeros(LANES, dtype=numpy.float64)
    rows = block.size // LANES
    for row in range(rows):
        part = block[row * LANES : row * LANES + LANES]
        for lane in range(LANES):
            value = numpy.float64(part[lane])
            lanes[lane] += value * value
    rest = block[rows * LANES :]
    for lane in range(rest.size):
        value = numpy.float64(rest[lane])
        lanes[lane] += value * value
    total = lanes[0]
    for lane in range(1, LANES):
        total += lanes[lane]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _block_sums(flat: Any, first: int, last: int, sums: Any) -> None:
    for block in range(first, last):
        sums[block] = block_sum(flat[block * BLOCK : (block + 1) * BLOCK])


def sum_of_squares(flat: Any) -> float:
    """Of a contiguous one-dimensional float32 or float64 array."""
    blocks = -(-flat.size // BLOCK)
    sums = numpy.empty(blocks, dtype=numpy.float64)
    share_out(lambda first, last: _block_sums(flat, first, last, sums), blocks, flat.size)
    return added_in_order(sums.tolist())
