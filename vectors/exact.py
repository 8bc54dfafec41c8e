"""Numbers of up to 106 bits as pairs of float64, read from hexadecimal text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

HEXADECIMAL = re.compile(r"(-?)0x([01])(?:\.([0-9a-f]+))?p([+-][0-9]+)")


@dataclass(frozen=True, eq=False)
class Exact:
    """An array of the numbers `high + low`, where `high` is the float64 next to each."""

    high: Array
    low: Array

    def minus(self, values: Any) -> Array:
        """These minus an array's values, in float64. Near the values, nothing is lost."""
        return (self.high - np.asarray(values).astype(np.float64)) + self.low


def pair(text: str) -> tuple[float, float]:
    """The float64 next to a hexadecimal number, and what it leaves."""
    match = HEXADECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a hexadecimal number: {text!r}")
    sign, first, digits, exponent = match.groups(default="")
    mantissa = int(sign + first + digits, 16)
    scale = int(exponent) - 4 * len(digits)
    nearest = float(mantissa)  # Python rounds it correctly
    return math.ldexp(nearest, scale), math.ldexp(float(mantissa - int(nearest)), scale)


def exact(texts: Sequence[str], shape: Sequence[int]) -> Exact:
    """The numbers of a tensor, in row-major order."""
    pairs = np.array([pair(text) for text in texts], np.float64).reshape(-1, 2)
    return Exact(pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape))
