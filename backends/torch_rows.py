"""Sparse tensors as gradients of some rows: embeddings leave them."""

from __future__ import annotations

from typing import Any

import torch

from .base import Array
from .rows import Rows


def rows_of(array: Array) -> Rows:
    """A tensor in coordinates as rows, of which each comes once."""
    once = array.coalesce()
    return Rows(once._indices(), once._values(), tuple(array.shape), once.to_dense)


def taken(array: Array, places: Any) -> Array:
    """A new tensor of the rows of a dense one."""
    return array.index_select(0, places[0]) if len(places) == 1 else array[tuple(places)]


def put(array: Array, places: Any, values: Array) -> None:
    """Write rows into a dense tensor, outside of any graph; autograd sees the new version."""
    with torch.no_grad():
        values = values.to(array.dtype)
        if len(places) == 1:
            array.index_copy_(0, places[0], values)
        else:
            array.index_put_(tuple(places), values)
