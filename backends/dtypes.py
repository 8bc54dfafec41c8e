"""What a rule computes with: arrays of certain dtypes, and Python's numbers, which have none."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy

Array: TypeAlias = Any
"""An array of any library, or a Python number."""

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""The dtypes a parameter or a slot may have."""

ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""How many bytes a number of each has."""

SIXTEEN_BIT = ("float16", "bfloat16")
"""The dtypes that are stored but never computed in."""

REAL = ("float", "bfloat", "int", "uint")
"""How the names of the dtypes of real numbers begin."""


def is_number(value: Any) -> bool:
    """Whether a value is a Python number; NumPy's float64 scalar, which is also a float, is an array."""
    return isinstance(value, (int, float)) and not isinstance(value, numpy.generic)


def compute_dtype(name: str) -> str:
    """The dtype in which a parameter stored as `name` is updated: float32 for the 16-bit ones, else its own."""
    return "float32" if name in SIXTEEN_BIT else name
