"""Whether torch tensors lie where they did, asked of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch

from .base import Array


class Lookout:
    """See `Backend.lookout`.

    Args:
        held: for each parameter its tensor and those of its slots, all plain CPU tensors of this dtype.
        dtype: torch's own.
    """

    def __init__(self, held: Sequence[Sequence[Array]], dtype: Any) -> None:
        self._dtype = dtype
        self._held = [tensor for row in held for tensor in row]
        self._addresses = [tensor.data_ptr() for tensor in self._held]
        self._parameters = [row[0] for row in held]
        self._shapes = [tensor.shape for tensor in self._parameters]

    def __call__(self, gradients: Sequence[Any]) -> Any:
        """The addresses of gradients, or None."""
        if torch.compiler.is_compiling():
            return None
        dtype, found = self._dtype, []
        try:
            # The data of a tensor may have been replaced or transposed, and a transposed tensor starts in the same
            # place. What has no memory that can be read (sparse, wrapped by a transformation) raises.
            if [tensor.data_ptr() for tensor in self._held] != self._addresses:
                return None
            if not all([tensor.is_contiguous() for tensor in self._held]):
                return None
            if [tensor.shape for tensor in self._parameters] != self._shapes:
                return None
            for gradient, shape in zip(gradients, self._shapes, strict=True):
                if (
                    type(gradient) is not torch.Tensor
                    or gradient.dtype is not dtype
                    or gradient.shape != shape
                    or not gradient.is_cpu
                    or not gradient.is_contiguous()
                    or gradient.is_neg()
                ):
                    return None
                found.append(gradient.data_ptr())
        except RuntimeError:
            return None
        return numpy.array(found, dtype=numpy.int64)
