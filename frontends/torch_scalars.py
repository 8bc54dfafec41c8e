"""Numbers that the core keeps in double precision on the host and torch in 0-d tensors of its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..backends import Variable


def new_scalars(
    values: Sequence[float], dtype: torch.dtype, devices: Sequence[torch.device] | None
) -> list[torch.Tensor]:
    """0-d tensors, views of one buffer if they may lie on the CPU, so that one write changes them all.

    Args:
        values: what they hold.
        dtype: of all.
        devices: where they must lie. None is the CPU.
    """
    if devices is None:
        return list(torch.tensor(list(values), dtype=dtype, device="cpu").unbind())
    return [torch.tensor(value, dtype=dtype, device=place) for value, place in zip(values, devices, strict=True)]


class Scalars:
    """One number for each parameter, in the core's cells and in tensors: each side learns what the other wrote.

    Args:
        cells: of the core, one for each parameter, or the same one for all.
        tensors: of the state, one for each parameter.
    """

    def __init__(self, cells: Sequence[Variable], tensors: Sequence[torch.Tensor]) -> None:
        self._cells = list(cells)
        self._tensors = list(tensors)
        self._counts = isinstance(cells[0]._array, int)
        self._buffer = _common_buffer(self._tensors)
        # Nothing is read before it is needed: the tensors may lie on a device.
        self._seen: list[Any] | None = None

    def pairs(self) -> list[tuple[Variable, torch.Tensor]]:
        """The cells with their tensors."""
        return list(zip(self._cells, self._tensors, strict=True))

    def changed(self) -> bool:
        """Whether somebody else wrote to the tensors; nothing waits for a device."""
        return self._state() != self._seen

    def _state(self) -> list[Any]:
        # Values where they lie side by side on the CPU, otherwise the number of writes.
        return self._buffer.tolist() if self._buffer is not None else [tensor._version for tensor in self._tensors]

    def pull(self) -> None:
        """Take the tensors' values into the cells. Of a cell that all share, the first parameter's counts."""
        values = self._buffer.tolist() if self._buffer is not None else [tensor.item() for tensor in self._tensors]
        for cell, value in zip(reversed(self._cells), reversed(values), strict=True):
            cell._array = int(value) if self._counts else float(value)
        self._seen = self._state()

    def push(self) -> None:
        """Write the cells' values into the tensors."""
        values = [cell._array for cell in self._cells]
        if self._buffer is not None:
            self._buffer[:] = values
        else:
            for tensor, value in zip(self._tensors, values, strict=True):
                tensor.fill_(value)
        self._seen = self._state()


def _common_buffer(tensors: Sequence[torch.Tensor]) -> Any:
    """A NumPy array over CPU tensors that lie side by side in their order, or None."""
    first = tensors[0]
    if type(first) is not torch.Tensor or first.device.type != "cpu" or first.requires_grad:
        return None
    storage, start = first.untyped_storage(), first.storage_offset()
    for position, tensor in enumerate(tensors):
        if (
            type(tensor) is not torch.Tensor
            or tensor.dtype != first.dtype
            or tensor.ndim
            or tensor.device.type != "cpu"
            or tensor.untyped_storage().data_ptr() != storage.data_ptr()
            or tensor.storage_offset() != start + position
        ):
            return None
    whole = torch.empty(0, dtype=first.dtype, device="cpu")
    return whole.set_(storage, start, (len(tensors),), (1,)).numpy()
