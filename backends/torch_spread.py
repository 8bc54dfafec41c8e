"""Tensors that several processes hold together, torch's DTensors: reductions over the whole of one, and its values.

Every process reduces what it holds, and one exchange tells all of them the results of all, which each adds up in the
same order: so all have the same number, to the bit, and take the same decisions by it. A process that holds no element
takes part like the others. Processes that hold copies count once. What comes out is a plain number or tensor, which
meets tensors of any placement, on any mesh, and plain ones.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from .base import Array
from .reductions import added_in_order

_local_tensor = operator.attrgetter("_local_tensor")


def is_spread(array: Array) -> bool:
    """Whether a tensor is a DTensor, asked without an import of torch's distributed packages."""
    return hasattr(type(array), "full_tensor")


def placed(array: Array) -> str:
    """The placements of a DTensor and its mesh, in words."""
    return f"placed as {', '.join(map(str, array.placements))} on a mesh of shape {tuple(array.device_mesh.shape)}"


def _own_part(array: Array) -> Array:
    """What this process holds, of a tensor whose elements are values and not sums that are still to be added."""
    from torch.distributed.tensor import Replicate

    if any(placement.is_partial() for placement in array.placements):
        whole = [Replicate() if placement.is_partial() else placement for placement in array.placements]
        array = array.redistribute(array.device_mesh, whole)
    return array.to_local() if array.requires_grad and torch.is_grad_enabled() else local_part(array)


def held_here(arrays: Sequence[Array]) -> list[Array] | None:
    """What this process holds of DTensors; None if they are not all placed like the first, or still to be added up."""
    first = arrays[0]
    kind, mesh, placements = type(first), first.device_mesh, first.placements
    if any(placement.is_partial() for placement in placements):
        return None
    for array in arrays:
        if type(array) is not kind or array.placements != placements or array.device_mesh != mesh:
            return None
    parts = _parts(arrays)
    if parts[0].numel() == 0:
        # A process without elements may hold them in another shape.
        parts = [part.reshape(parts[0].shape) if part.numel() == 0 else part for part in parts]
    return parts


def rows_held_here(held: Sequence[Array], gradients: Sequence[Array]) -> tuple[list[Array], list[Array]] | None:
    """See `Backend.rows_held_here`: tensors with the local ones in place of DTensors."""
    columns = len(held) // len(gradients)
    spread = {kind for kind in set(map(type, [*held, *gradients])) if hasattr(kind, "full_tensor")}
    for parameter, gradient in zip(held[::columns], gradients, strict=True):
        if type(parameter) in spread:
            if type(gradient) is not type(parameter) or gradient.placements != parameter.placements:
                return None
            if gradient.device_mesh != parameter.device_mesh:
                return None
        elif type(gradient) in spread:
            return None
    if len(spread) == 1 and spread.issuperset(map(type, held)):
        return _parts(held), _parts(gradients)
    return _where_spread(held, spread), _where_spread(gradients, spread)


def _where_spread(arrays: Sequence[Array], spread: set[type]) -> list[Array]:
    return [_parts([array])[0] if type(array) in spread else array for array in arrays]


def local_part(array: Array) -> Array:
    """What this process holds of a DTensor, whatever its elements mean."""
    return _parts([array])[0]


def _parts(arrays: Sequence[Array]) -> list[Array]:
    """The local tensors of DTensors, once they have arrived."""
    if hasattr(type(arrays[0]), "_local_tensor"):
        # Private, but `to_local` makes a new view of a parameter's, for each in each step.
        parts = list(map(_local_tensor, arrays))
    else:
        with torch.no_grad():
            parts = [array.to_local() for array in arrays]
    return [part if type(part) is torch.Tensor else _arrived(part) for part in parts]


def _arrived(part: Array) -> Array:
    """A local tensor that may still be under way, as what a collective gives while nobody has read it."""
    return part.wait() if hasattr(part, "wait") else part


class Exchange:
    """Numbers that processes have found, each in its own part of some DTensors, told to all of them at once."""

    def __init__(self) -> None:
        self._waiting: dict[Any, list[tuple[int, Any]]] = {}
        self._count = 0

    def add(self, array: Array, *values: Any) -> range:
        """Remember what this process found in its part of a DTensor; the numbers under which it comes back."""
        spread = tuple(not (placement.is_replicate() or placement.is_partial()) for placement in array.placements)
        numbers = range(self._count, self._count + len(values))
        waiting = self._waiting.setdefault((array.device_mesh, spread, array.device), [])
        waiting.extend(zip(numbers, values, strict=True))
        self._count = numbers.stop
        return numbers

    def told(self) -> list[Any]:
        """For each number added, those of all processes: a vector, or a list where the host can read them."""
        from torch.distributed.tensor import DTensor, Replicate, Shard

        results: list[Any] = [None] * self._count
        for (mesh, spread, device), found in self._waiting.items():
            values = [value for _, value in found]
            if all(isinstance(value, float) for value in values):
                for (number, _), column in zip(found, _columns(values, mesh, spread, device), strict=True):
                    results[number] = column
                continue
            row = torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in values])
            placements = [Shard(0) if each else Replicate() for each in spread]
            rows = whole(DTensor.from_local(row.reshape(1, -1), mesh, placements, run_check=False))
            readable = rows.device.type == "cpu" and not rows.requires_grad
            for (number, _), column in zip(found, rows.T.tolist() if readable else rows.unbind(1), strict=True):
                results[number] = column
        return results


def _columns(values: list[float], mesh: Any, spread: Sequence[bool], device: Any) -> list[list[float]]:
    """For each number those of all processes that hold other parts, the outermost axis of the mesh first."""
    found = torch.tensor(values, dtype=torch.float64, device=device)
    for axis in reversed(range(len(spread))):
        if spread[axis] and mesh.get_coordinate() is not None:
            parts = [torch.empty_like(found) for _ in range(mesh.size(axis))]
            torch.distributed.all_gather(parts, found, group=mesh.get_group(axis))
            found = torch.cat(parts)
    return found.reshape(-1, len(values)).T.tolist()


def _added(column: Any) -> Any:
    return added_in_order(column) if isinstance(column, list) else column.sum()


def sums_of_squares(arrays: Iterable[Array], own: Callable[[Array], Any]) -> list[Any]:
    """The sum of squares of each tensor, with one exchange for all DTensors of a mesh.

    Args:
        arrays: plain tensors and DTensors, on every process the same ones in the same order.
        own: gives the sum of squares of a plain tensor.
    """
    exchange = Exchange()
    results: list[Any] = []
    pending: dict[int, int] = {}
    for array in arrays:
        if is_spread(array):
            (pending[len(results)],) = exchange.add(array, own(_own_part(array)))
            results.append(None)
        else:
            results.append(own(array))
    if pending:
        columns = exchange.told()
        for position, number in pending.items():
            results[position] = _added(columns[number])
    return results


def added_together(arrays: Sequence[Array], sums: Sequence[Sequence[float]]) -> list[list[float]]:
    """See `Backend.added_together`: as `sums_of_squares`, of sums that each process has found in its own part."""
    exchange = Exchange()
    numbers = [
        exchange.add(array, *found) if is_spread(array) else None
        for array, found in zip(arrays, sums, strict=True)
    ]
    columns = exchange.told()
    return [
        list(found) if own is None else [_added(columns[number]) for number in own]
        for own, found in zip(numbers, sums, strict=True)
    ]


def reduced(array: Array, part: Callable[[Array], Array], whole: Callable[[Array], Array]) -> Array:
    """A reduction over a whole DTensor, as a plain tensor without axes, of the dtype it was computed in.

    Args:
        array: a DTensor.
        part: gives the reduction of what one process holds, which may be nothing.
        whole: gives the reduction of a vector of those.
    """
    own = part(_own_part(array))
    exchange = Exchange()
    exchange.add(array, own)
    (column,) = exchange.told()
    vector = torch.as_tensor(column, dtype=torch.float64, device=own.device)
    return whole(vector).to(own.dtype)


def sum_of(array: Array) -> Array:
    """The sum of all elements of a DTensor."""
    return reduced(array, torch.sum, torch.sum)


def mean_of(array: Array) -> Array:
    """The mean of all elements of a DTensor."""
    return sum_of(array) / array.numel()


def max_of(array: Array) -> Array:
    """The largest element of a DTensor, NaN if there is one."""
    if array.numel() == 0:
        raise ValueError(f"A tensor of shape {tuple(array.shape)} has no largest element.")
    return reduced(array, _largest, torch.max)


def _largest(part: Array) -> Array:
    return torch.max(part) if part.numel() else part.new_full((), -torch.inf)


def whole(array: Array) -> Array:
    """A tensor with all elements; every process must ask for it."""
    if not is_spread(array):
        return array
    from torch.distributed.tensor import Replicate

    # One axis of the mesh after another, the innermost first: for all at once torch warns that it does just so.
    placements = list(array.placements)
    for axis in reversed(range(len(placements))):
        placements[axis] = Replicate()
        array = array.redistribute(array.device_mesh, placements)
    return array.full_tensor()


def spread_like(tensor: Array, like: Array) -> Array:
    """A plain tensor, the same on every process, placed as a DTensor is: each keeps its part, and nothing is sent."""
    from torch.distributed.tensor import DTensor, Replicate

    mesh = like.device_mesh
    everywhere = DTensor.from_local(tensor, mesh, [Replicate()] * len(like.placements), run_check=False)
    return everywhere.redistribute(mesh, like.placements)


def why_apart(array: Array, parameter: Array) -> str | None:
    """Why one of two tensors, of which at least one is a DTensor, cannot be computed with together with the other."""
    if not is_spread(parameter):
        return f"is a DTensor {placed(array)}, its parameter a plain tensor"
    if not is_spread(array):
        return f"is a plain tensor, its parameter a DTensor {placed(parameter)}"
    if array.device_mesh != parameter.device_mesh:
        return f"is {placed(array)}, its parameter {placed(parameter)}: on another mesh"
    return None

