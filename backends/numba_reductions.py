"""The sum of squares of `reductions.py`, compiled: the same order of additions, so the same bits."""

from __future__ import annotations

from typing import Any

import numpy
from numba import types

from . import reductions
from .numba_compiled import Compiled
from .numba_lowering import share_out
from .numba_sums import block_sum
from .reductions import BLOCK, added_in_order


def _block_sums(flat: Any, first: int, last: int, sums: Any) -> None:
    for block in range(first, last):
        sums[block] = block_sum(flat[block * BLOCK : (block + 1) * BLOCK])


def _by_numpy(flat: Any, first: int, last: int, sums: Any) -> None:
    for block in range(first, last):
        sums[block] = reductions.block_sum(flat[block * BLOCK : (block + 1) * BLOCK])


_BLOCK_SUMS = {
    dtype: Compiled(
        _block_sums,
        types.void(types.Array(number, 1, "C", readonly=True), types.int64, types.int64, types.float64[::1]),
        otherwise=_by_numpy,
    )
    for dtype, number in (("float32", types.float32), ("float64", types.float64))
}


def sum_of_squares(flat: Any) -> float:
    """Of a contiguous one-dimensional float32 or float64 array."""
    blocks = -(-flat.size // BLOCK)
    sums = numpy.empty(blocks, dtype=numpy.float64)
    block_sums = _BLOCK_SUMS[flat.dtype.name]
    share_out(lambda first, last: block_sums(flat, first, last, sums), blocks, flat.size)
    return added_in_order(sums.tolist())
