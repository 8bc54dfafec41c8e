"""Torch's sparse tensors as gradients of some rows, which embeddings leave."""

from __future__ import annotations

from typing import Any

import numpy
import torch

from ..dtypes import ITEM_SIZES, Array
from ..kernels.compiler import has_numba
from ..rows import Rows


def rows_of(array: Array) -> Rows:
    """A tensor in coordinates as rows, of which each comes once: the sum of what it has for it, as passes have it.

    Raises:
        ValueError: if a coordinate is outside of its shape, as far as passes can read it.
    """
    once = None if array.is_coalesced() else _added_up(array)
    once = array.coalesce() if once is None else once
    return Rows(once._indices(), once._values(), tuple(array.shape), once.to_dense)


def _added_up(array: Array) -> Array | None:
    """The same, coalesced, if passes can read it: added up in order, which torch, which sorts, does not promise."""
    dtype, axes = str(array.dtype).rpartition(".")[2], array.sparse_dim()
    shape, row_shape = tuple(array.shape), tuple(array.shape[axes:])
    if not has_numba() or not array.is_cpu or dtype not in ITEM_SIZES or 0 in row_shape:
        return None
    from ..kernels.rows import RowTable
    from .addresses import works
    from .lookout import RowLookout

    if not works():
        return None
    # Of an array that is nowhere, so that where it would have a row tells which one that is.
    table = RowTable(shape, axes, [dtype] * 2, lambda: None)
    asked = RowLookout(table, shape, axes, [array.dtype]).asked([], array, anew=True)
    if asked is None:
        return None
    addresses, count, kept = asked
    try:
        found = table.found(numpy.concatenate([[[0]], addresses], axis=1), count, kept)
    except IndexError:
        # Torch itself would write somewhere.
        raise ValueError(
            f"A sparse gradient of shape {shape} has coordinates outside of it: "
            "torch.sparse.check_sparse_tensor_invariants.enable() shows where it is made."
        ) from None
    if found is None:
        return None
    sums = torch.empty((found.named, *row_shape), dtype=array.dtype)
    numbers = table.gathered(found, sums.data_ptr())
    if numbers is None:
        return None
    once = torch.stack(torch.unravel_index(torch.from_numpy(numbers), shape[:axes]))
    # Newer releases warn unless it is said that they need not look.
    return torch.sparse_coo_tensor(once, sums, shape, is_coalesced=True, check_invariants=False)


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
