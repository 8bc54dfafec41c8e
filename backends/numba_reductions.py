"""The sum of squares of `reductions.py`, compiled: the same order of additions, so the same bits."""

from __future__ import annotations

from typing import Any

import numpy

from . import reductions
from .numba_compiled import Compiled
from .numba_lowering import share_out
from .numba_sums import added_up, cleared, squares_added
from .numba_words import carray, pointer, room
from .reductions import BLOCK, LANES, added_in_order

_BYTES = 8 * LANES


def _block_sums(flat: Any, first: int, last: int, sums: Any) -> None:
    lanes = carray(pointer(room(_BYTES)), (LANES,), dtype=numpy.float64)
    for block in range(first, last):
        cleared(lanes)
        squares_added(flat[block * BLOCK : (block + 1) * BLOCK], lanes)
        sums[block] = added_up(lanes)


def _by_numpy(flat: Any, first: int, last: int, sums: Any) -> None:
    for block in range(first, last):
        sums[block] = reductions.block_sum(flat[block * BLOCK : (block + 1) * BLOCK])


_BLOCK_SUMS = {
    dtype: Compiled(_block_sums, f"void({dtype}[::1], int64, int64, float64[::1])", otherwise=_by_numpy)
    for dtype in ("float32", "float64")
}


def sum_of_squares(flat: Any) -> float:
    """Of a contiguous one-dimensional float32 or float64 array."""
    blocks = -(-flat.size // BLOCK)
    sums = numpy.empty(blocks, dtype=numpy.float64)
    block_sums = _BLOCK_SUMS[flat.dtype.name]
    share_out(lambda first, last: block_sums(flat, first, last, sums), blocks, flat.size)
    return added_in_order(sums.tolist())
