"""Whether torch tensors lie where they did, asked of many at once."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy
import torch

from .base import Array

# Calls of methods through `map` take half as long as in a loop, and this is most of a small step.
_data_ptr, _is_contiguous, _is_neg = torch.Tensor.data_ptr, torch.Tensor.is_contiguous, torch.Tensor.is_neg
_kind = operator.attrgetter("dtype", "is_cpu", "shape")
_ONLY_TENSORS = {torch.Tensor}


class Lookout:
    """See `Backend.lookout`.

    Args:
        held: for each parameter its tensor and those of its slots, all plain CPU tensors of this dtype.
        dtype: torch's own.
    """

    def __init__(self, held: Sequence[Sequence[Array]], dtype: Any) -> None:
        self._held = [tensor for row in held for tensor in row]
        self._addresses = [tensor.data_ptr() for tensor in self._held]
        self._kinds = [(dtype, True, row[0].shape) for row in held]

    def __call__(self, gradients: Sequence[Any]) -> Any:
        """The addresses of gradients, or None."""
        if torch.compiler.is_compiling() or set(map(type, gradients)) != _ONLY_TENSORS:
            return None
        held = self._held
        try:
            # The data of a tensor may have been replaced or transposed, and a transposed tensor starts in the same
            # place. A shape that changed in place shows in the next gradient. What has no memory that can be read
            # (sparse, wrapped by a transformation) raises.
            if (
                list(map(_data_ptr, held)) != self._addresses
                or list(map(_kind, gradients)) != self._kinds
                or not all(map(_is_contiguous, held))
                or not all(map(_is_contiguous, gradients))
                or any(map(_is_neg, gradients))
            ):
                return None
            return numpy.array(list(map(_data_ptr, gradients)), dtype=numpy.int64)
        except RuntimeError:
            return None
