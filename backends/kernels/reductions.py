"""The sum of squares of `backends/sums.py`, compiled: a program that reads an array and sums up itself."""

from __future__ import annotations

from typing import Any

from ..programs.program import Program
from .kernel import Kernels
from .table import Table, addresses_of

_SQUARES = Program(1, (), (), (), (), (), (), (("squares", 0),))
_KERNELS = {dtype: Kernels(_SQUARES, dtype, (dtype,)) for dtype in ("float32", "float64")}
_NO_SCALARS = ((),)


def sums_of_squares(table: Table, addresses: Any) -> list[float]:
    """Of several arrays in memory, each in row-major order.

    Args:
        table: the work on them, which are of its gradients' dtype, float32 or float64.
        addresses: where each of them starts, in one column.
    """
    return [total for (total,) in table.read(_KERNELS[table.gradients], addresses, _NO_SCALARS)]


def sum_of_squares(flat: Any) -> float:
    """Of a contiguous one-dimensional float32 or float64 array."""
    return sums_of_squares(Table([flat.size], flat.dtype.name, lambda: None), addresses_of([[flat.ctypes.data]]))[0]
