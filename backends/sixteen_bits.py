"""Numbers in bfloat16, which NumPy alone does not know, as the integers that are the upper halves of float32."""

from __future__ import annotations

from typing import Any

import numpy


def widened(shorts: Any) -> Any:
    """Float32 numbers from integers of 16 bits."""
    return (shorts.astype(numpy.uint32) << numpy.uint32(16)).view(numpy.float32)


def narrowed(numbers: Any) -> Any:
    """The integers that stand for what is nearest to float32 numbers, of two as near the even one."""
    words = numpy.ascontiguousarray(numbers, dtype=numpy.float32).view(numpy.uint32)
    odd = (words >> numpy.uint32(16)) & numpy.uint32(1)
    rounded = words + (odd + numpy.uint32(0x7FFF))
    # Of what is no number only the sign is kept: the rest might be rounded to infinity.
    no_number = (words & numpy.uint32(0x80000000)) | numpy.uint32(0x7FC00000)
    rounded = numpy.where(numpy.isnan(numbers), no_number, rounded)
    return (rounded >> numpy.uint32(16)).astype(numpy.uint16)
