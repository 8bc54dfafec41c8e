"""Where many tensors lie in this step, and whether compiled code may run over them, found out in one call."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

from ..kernels.rows import Found, RowTable
from ..strides import Order
from .addresses import Questions, RowQuestions, are_plain

_needs_gradient = operator.attrgetter("requires_grad")
_PLAIN = (torch.Tensor, torch.nn.Parameter)


class TensorLookout:
    """See `Backend.lookout`.

    Args:
        shapes: of the parameters.
        orders: in which their elements lie.
        dtypes: torch's own, of the arrays of each parameter and of its gradient.
        read: how many of the arrays of each parameter are not written. Where some are not, no gradient leads by them.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[Any], read: int = 0
    ) -> None:
        self._questions = Questions(shapes, orders, dtypes)
        self._pure = read > 0

    def __call__(self, held: Sequence[Any], gradients: Sequence[Any], anew: bool = False) -> Any:
        """The addresses, or None."""
        if torch.compiler.is_compiling():
            return None
        addresses = self._questions(held, gradients, self._pure or anew)
        # Anything may have been given: only tensors can say whether they need gradients.
        if addresses is None or not (self._pure and torch.is_grad_enabled()):
            return addresses
        return None if any(map(_needs_gradient, (*held, *gradients))) else addresses


class RowLookout:
    """See `Backend.row_lookout`.

    Args:
        table: of the parameter's rows.
        shape: of the parameter.
        axes: how many of its axes, the first, name a row.
        dtypes: torch's own, of its arrays and of a gradient's values.
    """

    def __init__(self, table: RowTable, shape: tuple[int, ...], axes: int, dtypes: Sequence[Any]) -> None:
        self._table = table
        self._shape, self._axes = torch.Size(shape), axes
        self._questions = RowQuestions(shape, axes, dtypes)

    def __call__(self, held: Sequence[Any], gradients: Sequence[Any], anew: bool = False) -> Found | None:
        """The rows, or None."""
        (gradient,) = gradients
        asked = self.asked(held, gradient, anew)
        try:
            return None if asked is None else self._table.found(*asked)
        except IndexError:
            return None

    def asked(self, held: Sequence[Any], gradient: Any, anew: bool) -> tuple[Any, int, Any] | None:
        """What `RowTable.found` is asked of held arrays and a gradient, or None."""
        if torch.compiler.is_compiling() or type(gradient) is not torch.Tensor:
            return None
        if gradient.layout is not torch.sparse_coo or gradient.shape != self._shape:
            return None
        if gradient.sparse_dim() != self._axes or not all([type(each) in _PLAIN for each in held]):
            return None
        try:
            places, values = gradient._indices().contiguous(), gradient._values().contiguous()
        except RuntimeError:
            # Of what a transformation has wrapped.
            return None
        if not are_plain([*held, values, places] if anew else [values, places]):
            return None
        count = gradient._nnz()
        addresses = self._questions([*held, values, places], count)
        return None if addresses is None else (addresses, count, (places, values))
