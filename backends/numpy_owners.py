"""Whether the memory of a NumPy array is still there.

An array that does not own its memory keeps the owner alive, not the memory: `numpy.ndarray(..., buffer=owner)` lets the
owner close, resize or move it, as do shared memory, memory-mapped files, and `resize(refcheck=False)` of another array.
So owners are asked in each step where their memory lies and how far it reaches. There are some that cannot be asked,
such as the capsule of `numpy.from_dlpack`, which keeps the address that it was made with: what they own NumPy reads and
writes, which trusts them, and compiled code never does. A file that another process shortens under a map nobody can see
in time: reading beyond its end ends the process, as in NumPy itself.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

_CTYPES: Any = ctypes.Array.__base__
"""What the classes of all objects of ctypes have in common."""


class _Described:
    """What NumPy takes for memory that lies as an interface says, whatever else its owner can do."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def has_memory(array: Any) -> bool | None:
    """Whether all of an array's elements lie in memory that its owner still has; None if that cannot be asked."""
    if array.size == 0:
        return True
    owner = array.base
    if owner is None:
        return True if array.flags.owndata else None
    return owner_has(owner, *numpy.lib.array_utils.byte_bounds(array))


def owner_has(owner: Any, start: int, end: int) -> bool | None:
    """Whether an owner of memory still has it from one address to another; None if it cannot be asked.

    Args:
        owner: the `base` of an array.
        start: the first address.
        end: the one after the last.
    """
    try:
        owner = last_owner(owner)
        if isinstance(owner, _CTYPES) and not owner._b_needsfree_:
            return _is_kept(owner, start, end)
        held = _memory_of(owner)
    except ValueError:
        # A map that was closed, a memory view that was released, or a buffer of no length.
        return False
    return None if held is None else bool(held[0] <= start and end <= held[1])


def last_owner(owner: Any) -> Any:
    """Whose memory it is that an owner only looks at, through others perhaps.

    Args:
        owner: an array, or the `base` of one.

    Raises:
        ValueError: if it, or another on the way, was released.
    """
    while True:
        behind: Any = None
        if isinstance(owner, memoryview):
            # It knows the address that its own owner had when it was made. What ctypes owns moves all the same.
            behind = owner.obj
        elif isinstance(owner, numpy.ndarray) or hasattr(owner, "__array_interface__"):
            # What is not of NumPy's own class may also be a view, as that of `as_strided` is.
            behind = getattr(owner, "base", None)
        if behind is None:
            return owner
        owner = behind


def _memory_of(owner: Any) -> tuple[int, int] | None:
    """From which address to which the memory of an owner reaches now, or None if it cannot be asked."""
    if isinstance(owner, numpy.ndarray):
        first = owner.__array_interface__["data"][0]
        # Without an owner it is memory of C code.
        return (first, first + owner.nbytes) if owner.flags.owndata else None
    if isinstance(owner, memoryview):
        return None
    try:
        held = numpy.frombuffer(owner, dtype=numpy.uint8)
    except (TypeError, BufferError, RuntimeError):
        # It has no such words, or none any more, as an array of JAX that was deleted.
        return _memory_as_said(owner)
    first = held.__array_interface__["data"][0]
    return first, first + held.nbytes


def _memory_as_said(owner: Any) -> tuple[int, int] | None:
    """As `_memory_of`, of an owner that has words of its own for it."""
    try:
        if hasattr(owner, "untyped_storage"):
            # A tensor's, which may have moved into shared memory.
            storage = owner.untyped_storage()
            return int(storage.data_ptr()), int(storage.data_ptr() + storage.nbytes())
        return numpy.lib.array_utils.byte_bounds(numpy.asarray(_Described(owner.__array_interface__)))
    except Exception:
        # It is code of anybody's.
        return None


def _is_kept(owner: Any, start: int, end: int) -> bool | None:
    """Whether what an object of ctypes without memory of its own keeps has it. What none has may be anybody's."""
    kept = owner._objects
    others = [owner._b_base_, *(kept.values() if isinstance(kept, dict) else ())]
    return True if any(other is not None and owner_has(other, start, end) for other in others) else None
