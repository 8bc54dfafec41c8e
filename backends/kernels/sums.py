"""The sum of squares of one block as `backends/sums.py` defines it, for compiled code: the same order of additions.

A block may come in parts, each but the last a number of whole rows. The lanes that are added to are the caller's.
"""

from __future__ import annotations

from typing import Any

import numpy

from ..sums import LANES
from .placeholders import Subroutine


@Subroutine
def cleared(lanes: Any) -> None:
    """Begin a block."""
    for lane in range(LANES):
        lanes[lane] = 0.0


@Subroutine
def squares_added(part: Any, lanes: Any) -> None:
    """Add the squares of the next part of a block."""
    rows = part.size // LANES
    for row in range(rows):
        whole = part[row * LANES : row * LANES + LANES]
        for lane in range(LANES):
            value = numpy.float64(whole[lane])
            lanes[lane] += value * value
    rest = part[rows * LANES :]
    for lane in range(rest.size):
        value = numpy.float64(rest[lane])
        lanes[lane] += value * value


@Subroutine
def added_up(lanes: Any) -> Any:
    """The sum of a block's squares."""
    total = lanes[0]
    for lane in range(1, LANES):
        total += lanes[lane]
    return total
