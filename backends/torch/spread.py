"""Tensors that several processes hold together, torch's DTensors: reductions over the whole of one, and its values.

Every process reduces what it holds, and one exchange tells all of them the results of all, which each adds up in the
same order: so all have the same number, to the bit, and take the same decisions by it. A process that holds no element
takes part like the others. Processes that hold copies count once. What comes out is a plain number or tensor, which
meets tensors of any placement, on any mesh, and plain ones.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch

from ..axes import kept_axes
from ..dtypes import Array
from ..sums import added_in_order
from .agreement import agreement_now, spread_along

# Private, as `to_local` makes a new view of a parameter's, for each in each step, and properties are code of Python.
_local_tensor = operator.attrgetter("_local_tensor")
_SPEC = operator.attrgetter("_spec.placements"), operator.attrgetter("_spec.mesh")
_PROPERTIES = operator.attrgetter("placements"), operator.attrgetter("device_mesh")


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
    parameters, kinds = held[:: len(held) // len(gradients)], set(map(type, [*held, *gradients]))
    spread = {kind for kind in kinds if hasattr(kind, "full_tensor")}
    if len(kinds) == len(spread) == 1:
        return (_parts(held), _parts(gradients)) if _placed_alike(parameters, gradients) else None
    some, others = [], []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if type(parameter) in spread or type(gradient) in spread:
            if type(parameter) is not type(gradient):
                return None
            some.append(parameter)
            others.append(gradient)
    if not _placed_alike(some, others):
        return None
    return _where_spread(held, spread), _where_spread(gradients, spread)


def _placed_alike(some: Sequence[Array], others: Sequence[Array]) -> bool:
    """Whether DTensors are placed like others of the same class, one by one."""
    private = all(hasattr(kind, "_spec") for kind in set(map(type, some)))
    # Most have the very objects that others have, of which the comparison of lists asks nothing.
    return all(list(map(each, some)) == list(map(each, others)) for each in (_SPEC if private else _PROPERTIES))


def _where_spread(arrays: Sequence[Array], spread: set[type]) -> list[Array]:
    return [_parts([array])[0] if type(array) in spread else array for array in arrays]


def local_part(array: Array) -> Array:
    """What this process holds of a DTensor, whatever its elements mean."""
    return _parts([array])[0]


def _parts(arrays: Sequence[Array]) -> list[Array]:
    """The local tensors of DTensors, once they have arrived."""
    if hasattr(type(arrays[0]), "_local_tensor"):
        parts = list(map(_local_tensor, arrays))
    else:
        with torch.no_grad():
            parts = [array.to_local() for array in arrays]
    if set(map(type, parts)) == {torch.Tensor}:
        return parts
    return [part if type(part) is torch.Tensor else _arrived(part) for part in parts]


def _arrived(part: Array) -> Array:
    """A local tensor that may still be under way, as what a collective gives while nobody has read it."""
    return part.wait() if hasattr(part, "wait") else part


class _Found(NamedTuple):
    """What a process found in its part of a DTensor: the number under which it comes back, and how that is spread."""

    number: int
    value: Any
    spread: tuple[bool, ...]


class Exchange:
    """Numbers that processes have found, each in its own part of some DTensors, told to all of them at once.

    Args:
        alone: whether they are of one DTensor. Of several, there may be other ones on another process that does not
            agree; so there is room for those of all.
    """

    def __init__(self, alone: bool = False) -> None:
        self._waiting: dict[Any, list[_Found]] = {}
        self._count = self._most = 0
        self._alone = alone

    def add(self, array: Array, *values: Any) -> range:
        """Remember what this process found in its part of a DTensor; the numbers under which it comes back."""
        spread = spread_along(array)
        numbers = range(self._count, self._count + len(values))
        waiting = self._waiting.setdefault((array.device_mesh, array.device), [])
        waiting.extend(_Found(number, value, spread) for number, value in zip(numbers, values, strict=True))
        self._count = numbers.stop
        self._most = max(self._most, len(values))
        return numbers

    def told(self) -> list[Any]:
        """For each number added, those of all processes: a vector, or a list where Python can read them.

        Raises:
            Disagreement: if the processes do not agree to make the step in which they are.
        """
        from torch.distributed.tensor import DTensor, Replicate, Shard

        results: list[Any] = [None] * self._count
        for (mesh, device), every in self._waiting.items():
            if all(isinstance(each.value, float) for each in every):
                self._tell(every, mesh, device, results)
                continue
            for spread in dict.fromkeys(each.spread for each in every):
                found = [each for each in every if each.spread == spread]
                values = [each.value for each in found]
                row = torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in values])
                placements = [Shard(0) if each else Replicate() for each in spread]
                rows = whole(DTensor.from_local(row.reshape(1, -1), mesh, placements, run_check=False))
                readable = rows.device.type == "cpu" and not rows.requires_grad
                for each, column in zip(found, rows.T.tolist() if readable else rows.unbind(1), strict=True):
                    results[each.number] = column
        return results

    def _tell(self, found: list[_Found], mesh: Any, device: Any, results: list[Any]) -> None:
        """Fill in the results of numbers on a mesh, with one exchange, in which the processes also agree."""
        agreement, axes = agreement_now(), _axes_of(found)
        if agreement is not None:
            # Another process may have found something in a DTensor that is spread where these are not.
            axes |= agreement.axes(mesh)
        if not axes or mesh.get_coordinate() is None:
            for each in found:
                results[each.number] = [each.value]
            return
        values, header, order = [each.value for each in found], list[float](), sorted(axes)
        if agreement is not None:
            header = agreement.header
            if not self._alone:
                values += [0.0] * (self._most * agreement.count(mesh) - len(values))
        rows = _gathered([*header, *values], mesh, order, device)
        places = list(itertools.product(*(range(mesh.size(axis)) for axis in order)))
        if agreement is not None:
            agreement.look([row[: len(header)] for row in rows], [_rank(mesh, order, place) for place in places])
        told = [row[len(header) :] for row in rows]
        for each, column in zip(found, _columns(found, told, places, order, mesh.get_coordinate()), strict=True):
            results[each.number] = column


def _axes_of(found: Sequence[_Found]) -> set[int]:
    """The axes of the mesh along which something is spread."""
    return {axis for each in found for axis, spread in enumerate(each.spread) if spread}


def _columns(
    found: Sequence[_Found], rows: list[list[float]], places: Sequence[Sequence[int]], axes: Sequence[int],
    own: Sequence[int],
) -> list[list[float]]:  # fmt: skip
    """For each number that was found those of the processes that count for it. See `_counted`."""
    counted = {
        spread: _counted(rows, places, axes, spread, own) for spread in dict.fromkeys(each.spread for each in found)
    }
    return [[row[column] for row in counted[each.spread]] for column, each in enumerate(found)]


def _counted(
    rows: list[list[float]], places: Sequence[Sequence[int]], axes: Sequence[int], spread: Sequence[bool],
    own: Sequence[int],
) -> list[list[float]]:  # fmt: skip
    """Those of some processes' numbers that are of parts of one array: of processes that hold copies, from one.

    Args:
        rows: what each of them found.
        places: where each of them is along some axes of the mesh.
        axes: these.
        spread: along which axes the array is.
        own: where this process is; of those that hold copies, it is this one.
    """
    return [
        row for row, place in zip(rows, places, strict=True)
        if all(spread[axis] or at == own[axis] for axis, at in zip(axes, place, strict=True))
    ]  # fmt: skip


def _gathered(values: list[float], mesh: Any, axes: Sequence[int], device: Any) -> list[list[float]]:
    """Those of all processes along some axes of a mesh, the outermost first."""
    found = torch.tensor(values, dtype=torch.float64, device=device)
    for axis in reversed(axes):
        parts = [torch.empty_like(found) for _ in range(mesh.size(axis))]
        torch.distributed.all_gather(parts, found, group=mesh.get_group(axis))
        found = torch.cat(parts)
    return found.reshape(-1, len(values)).tolist()


def _rank(mesh: Any, axes: Sequence[int], place: Sequence[int]) -> Callable[[], int]:
    """The rank of the process at a place along some axes of a mesh, along the others where this one is."""

    def rank() -> int:
        at = list(mesh.get_coordinate())
        for axis, position in zip(axes, place, strict=True):
            at[axis] = position
        return int(mesh.mesh[tuple(at)])

    return rank


def _added(column: Any) -> Any:
    return added_in_order(column) if isinstance(column, list) else column.sum()


def sums_of_squares(arrays: Iterable[Array], own: Callable[[Array], Any], alone: bool = False) -> list[Any]:
    """The sum of squares of each tensor, with one exchange for all DTensors of a mesh.

    Args:
        arrays: plain tensors and DTensors, on every process the same ones in the same order.
        own: gives the sum of squares of a plain tensor.
        alone: whether there is one of them.
    """
    exchange = Exchange(alone)
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
    exchange = Exchange(alone=True)
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


def placed_as(array: Array, like: Array) -> Array:
    """A DTensor placed as another on its mesh, into which it could not be written otherwise."""
    if not is_spread(array) or array.placements == like.placements:
        return array
    return array.redistribute(like.device_mesh, like.placements)


def full_beside(shape: Sequence[int], value: float, dtype: torch.dtype, like: Array) -> Array:
    """A DTensor of another shape on the mesh of one, whose axes that it has too are spread as that one's."""
    from torch.distributed.tensor import Replicate, Shard, full

    axes = kept_axes(shape, like.shape)
    placements = [
        Shard(axes.index(placement.dim)) if type(placement) is Shard and placement.dim in axes else Replicate()
        for placement in like.placements
    ]
    return full(shape, value, dtype=dtype, device_mesh=like.device_mesh, placements=placements)


def why_apart(array: Array, parameter: Array) -> str | None:
    """Why one of two tensors, of which at least one is a DTensor, cannot be computed with together with the other."""
    if not is_spread(parameter):
        return f"is a DTensor {placed(array)}, its parameter a plain tensor"
    if not is_spread(array):
        return f"is a plain tensor, its parameter a DTensor {placed(parameter)}"
    if array.device_mesh != parameter.device_mesh:
        return f"is {placed(array)}, its parameter {placed(parameter)}: on another mesh"
    return None

