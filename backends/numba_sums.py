"""The sum of squares of one block as `reductions.py` defines it, for compiled code: the same order of additions."""

from __future__ import annotations

from typing import Any

import numba
import numpy

from .reductions import LANES


@numba.njit(nogil=True, error_model="numpy")
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
