"""Where the arrays of one parameter lie, and what has to be copied so that a pass can take them."""

from __future__ import annotations

import math
from typing import Any

from ....backends import Backend, Rows, describe, is_number
from ....backends.losses import owner_unknown
from .facts import Facts

_ITS_OWN_CLASS = "its gradient is of a class with arithmetic of its own"
_ELSEWHERE = "processes hold it together, and {} in another way"


def memory_reason(entry: Facts, factor: Any, backend: Backend, joint: bool) -> str | None:
    """Look where the arrays lie, and why they cannot be updated together if so.

    Where processes have to make a step `joint`ly, that must not depend on what only one of them sees.
    """
    if factor is not None and not is_number(factor):
        return "it is clipped by a norm that lies on a device"
    # In every step: nothing that was seen of memory holds for the next one.
    here = backend.held_here([cell.array for cell in entry.cells])
    if here is None:
        return _ELSEWHERE.format("its state")
    entry.arrays = arrays = list(here)
    entry.spread = any(array is not cell.array for array, cell in zip(arrays, entry.cells, strict=True))
    entry.lent, entry.touched, entry.axes = {}, [], None
    entry.shape = backend.shape(arrays[0])
    entry.size = math.prod(entry.shape)
    if entry.spread and joint:
        reason = _take_plain_parts(entry, backend)
        if reason is not None:
            return reason
        arrays = entry.arrays
    # A pass goes through all arrays in the order of the parameter's elements; sums are defined in row-major order.
    entry.order = None if joint else backend.order(arrays[0])
    entry.copied = entry.narrow
    addresses = _addresses(entry, arrays, backend)
    entry.plain = None not in addresses
    if entry.plain:
        entry.addresses = addresses
    if entry.plain or all(map(backend.takes_programs, arrays)):
        return None
    place = addresses.index(None)
    name, owner = entry.cells[place].name, backend.unknown_owner(arrays[place])
    if owner is not None:
        return owner_unknown(name, owner)
    return f"{name!r} does not lie in plain CPU memory: it is strided, unaligned, or not of the library's own class"


def _addresses(entry: Facts, arrays: list[Any], backend: Backend) -> list[Any]:
    """Where a parameter and its slots start; of those that lie in another order, which have to be copied, too."""
    addresses = [
        backend.address(array, cell.dtype_name, entry.shape, entry.order, write=True)
        for array, cell in zip(arrays, entry.cells, strict=True)
    ]
    for number, (array, cell) in enumerate(zip(arrays, entry.cells, strict=True)):
        own = backend.order(array) if addresses[number] is None else entry.order
        if own != entry.order:
            addresses[number] = backend.address(array, cell.dtype_name, entry.shape, own, write=True)
            if addresses[number] is not None:
                entry.copied = [*entry.copied, number]
    return addresses


def gradient_address(entry: Facts, gradient: Any, backend: Backend) -> tuple[int | None, Any]:
    """Where the gradient lies, made plain by a copy if need be; and what must stay alive until it is read.

    None if no copy of it is plain; and why.
    """
    here = backend.held_here([entry.cells[0].array, gradient])
    if here is None:
        return None, _ELSEWHERE.format("its gradient")
    gradient = here[1]
    if not entry.plain:
        return 0, gradient
    if not backend.of_plain_class(gradient):
        return None, _ITS_OWN_CLASS
    entry.reads(gradient, backend)
    if entry.copied:
        # It is copied when its turn comes, if what is written until then cannot meet it.
        own = backend.order(gradient)
        address = backend.address(gradient, backend.dtype_name(gradient), entry.shape, own, write=False)
        if address is not None:
            return address, gradient
    return plain(gradient, entry.stored[-1], entry, backend)


def plain(array: Any, dtype: str, entry: Facts, backend: Backend) -> tuple[int, Any]:
    """Where an array that belongs to a parameter lies, if need be as a copy as the pass takes it."""
    address = backend.address(array, dtype, entry.shape, entry.order, write=False)
    if address is None:
        array = backend.plain_copy(array, dtype, entry.order)
        address = backend.address(array, dtype, entry.shape, entry.order, write=False)
    if address is None:
        raise TypeError(f"Cannot read {describe(array)}, which belongs to {entry.cells[0].name!r}.")
    return address, array


def _take_plain_parts(entry: Facts, backend: Backend) -> str | None:
    """Let plain memory stand for what this process holds of arrays; or why there is none."""
    arrays = entry.arrays
    if entry.narrow or not all(map(backend.of_plain_class, arrays)) or backend.takes_programs(arrays[0]):
        return "it adds up what processes hold together in another kind of memory"
    entry.arrays = [_plain_part(array, number, entry, backend) for number, array in enumerate(arrays)]
    return None


def _plain_part(array: Any, number: int, entry: Facts, backend: Backend) -> Any:
    """What this process holds of an array; a copy that will be written back, if it does not lie plainly."""
    if backend.address(array, entry.stored[number], entry.shape, None, write=True) is not None:
        return array
    copy = backend.plain_copy(array, entry.stored[number], None)
    entry.lent[number] = array, None
    return copy


def take_rows(entry: Facts, rows: Rows, backend: Backend) -> None:
    """Let copies of some rows stand for a parameter and its slots."""
    entry.touched, entry.axes = entry.bounds(), len(rows.places)
    entry.lent = {number: (array, rows.places) for number, array in enumerate(entry.arrays)}
    entry.shape = backend.shape(rows.values)
    entry.size = math.prod(entry.shape)
    entry.order, entry.copied = None, []
    taken = [
        plain(backend.taken(array, rows.places), dtype, entry, backend)
        for array, dtype in zip(entry.arrays, entry.stored[:-1], strict=True)
    ]
    entry.addresses = [address for address, _ in taken]
    entry.arrays = [array for _, array in taken]
