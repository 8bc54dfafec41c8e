"""Sums of squares of NumPy's arrays, by compiled code where that is faster; `sums` defines them to the last bit."""

from __future__ import annotations

from typing import Any

import numpy

from .kernels.compiler import has_numba
from .sums import BLOCK, by_numpy


def sum_of_squares(array: Any) -> float:
    """The sum of the squares of a NumPy array's elements, in float64."""
    flat = numpy.asarray(array).reshape(-1)
    if flat.size > BLOCK and flat.dtype in (numpy.float32, numpy.float64) and flat.dtype.isnative and has_numba():
        from .kernels import reductions

        return reductions.sum_of_squares(numpy.ascontiguousarray(flat))
    return by_numpy(flat)
