"""The one definition of the sum of squares on CPU memory, the same to the last bit wherever it is computed.

The array is read in C order. Each block of `BLOCK` elements is laid out as rows of `LANES` (the last block is filled up
with zeros). Squares are taken and added in float64: in each lane from the first row to the last, then the lanes from
the first to the last, then the blocks from the first to the last. A kernel of any other make that keeps this order
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy

BLOCK = 16384
LANES = 64


def by_numpy(flat: Any) -> float:
    """The sum of squares of a one-dimensional array, by NumPy."""
    return added_in_order(block_sum(flat[start : start + BLOCK]) for start in range(0, flat.size, BLOCK))


def block_sum(block: Any) -> float:
    """The sum of squares of at most `BLOCK` elements, by NumPy."""
    wide = block.astype(numpy.float64)
    if wide.size % LANES:
        wide = numpy.concatenate([wide, numpy.zeros(-wide.size % LANES)])
    rows = (wide * wide).reshape(-1, LANES)
    # Reducing over the outer axis adds whole rows, one after another; accumulate adds strictly in order.
    lanes = numpy.add.reduce(rows, axis=0)
    return float(numpy.add.accumulate(lanes)[-1])


def added_in_order(sums: Iterable[float]) -> float:
    """The sums of blocks, from the first to the last."""
    total = 0.0
    for value in sums:
        total += value
    return total
