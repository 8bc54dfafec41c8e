"""The sum of squares of `reductions.py`, compiled: the same order of additions, so the same bits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

from . import reductions
from .numba_compiled import Compiled, compiled
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


def _each_by_numpy(addresses: Any, sizes: Any, item: int, first: int, last: int, sums: Any) -> None:
    for row in range(first, last):
        held: Any = (ctypes.c_char * (int(sizes[row]) * item)).from_address(int(addresses[row])) if sizes[row] else b""
        sums[row] = reductions.by_numpy(numpy.frombuffer(held, dtype=f"f{item}"))


@compiled("void(int64[::1], int64[::1], int64, int64, int64, float64[::1])", otherwise=_each_by_numpy)
def _row_sums(addresses: Any, sizes: Any, item: int, first: int, last: int, sums: Any) -> None:
    """The sums of squares of several arrays.

    Args:
        addresses: where each of them starts.
        sizes: how many elements each has.
        item: the bytes of an element, a floating-point number.
        first: of the arrays that are looked at.
        last: behind the last of them.
        sums: is filled.
    """
    lanes = carray(pointer(room(_BYTES)), (LANES,), dtype=numpy.float64)
    for row in range(first, last):
        total, narrow = 0.0, carray(pointer(addresses[row]), (sizes[row],), dtype=numpy.float32)
        wide = carray(pointer(addresses[row]), (sizes[row],), dtype=numpy.float64)
        for start in range(0, sizes[row], BLOCK):
            cleared(lanes)
            if item == 4:
                squares_added(narrow[start : start + BLOCK], lanes)
            else:
                squares_added(wide[start : start + BLOCK], lanes)
            total += added_up(lanes)
        sums[row] = total


def sums_of_squares(addresses: Any, sizes: Any, item: int) -> list[float]:
    """Of several arrays in memory, each in row-major order.

    Args:
        addresses: where each of them starts, one after another.
        sizes: how many elements each has.
        item: 4 for float32, 8 for float64.
    """
    sums = numpy.empty(len(sizes), dtype=numpy.float64)
    share_out(
        lambda first, last: _row_sums(addresses, sizes, item, first, last, sums), len(sizes), int(sizes.sum())
    )  # fmt: skip
    return sums.tolist()
