"""Where torch tensors lie in this step, asked of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .numba_tensors import Questions

# Calls of methods through `map` take half as long as in a loop, and this is most of a small step.
_data_ptr, _is_neg = torch.Tensor.data_ptr, torch.Tensor.is_neg
_ONLY_TENSORS = {torch.Tensor}
_PLAIN = {torch.Tensor, torch.nn.Parameter}


class Lookout:
    """See `Backend.lookout`.

    Args:
        shapes: of the parameters.
        dtypes: torch's own, of the arrays of each parameter and of its gradient.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> None:
        self._questions = Questions(shapes, dtypes)

    def __call__(self, held: Sequence[Any], gradients: Sequence[Any]) -> Any:
        """The addresses, or None."""
        if torch.compiler.is_compiling() or set(map(type, gradients)) != _ONLY_TENSORS:
            return None
        if not _PLAIN.issuperset(map(type, held)):
            return None
        try:
            # What has no memory that can be read (sparse, wrapped by a transformation) raises.
            list(map(_data_ptr, gradients))
            # What is held would have been given other memory together with a negation that is put off.
            if any(map(_is_neg, gradients)):
                return None
        except RuntimeError:
            return None
        return self._questions([*held, *gradients])
