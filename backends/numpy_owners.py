"""Whether the memory of a NumPy array is still there.

An array that does not own its memory keeps the owner alive, not the memory: `numpy.ndarray(..., buffer=owner)` lets the
owner close, resize or move it, as do shared memory, memory-mapped files, and `resize(refcheck=False)` of another array.
"""

from __future__ import annotations

from typing import Any

import numpy


def has_memory(array: Any) -> bool:
    """Whether all of an array's elements lie in memory that its owner still has."""
    owner = getattr(array, "base", None)
    return owner is None or array.size == 0 or owner_has(owner, *numpy.lib.array_utils.byte_bounds(array))


def owner_has(owner: Any, start: int, end: int) -> bool:
    """Whether an owner of memory still has it from one address to another; what cannot be asked is trusted.

    Args:
        owner: the `base` of an array.
        start: the first address.
        end: the one after the last.
    """
    while isinstance(owner, numpy.ndarray):
        if owner.base is None:
            first = owner.__array_interface__["data"][0]
            return bool(first <= start and end <= first + owner.nbytes)
        owner = owner.base
    try:
        if hasattr(owner, "data_ptr"):
            # A tensor, whose storage may have moved into shared memory.
            first, length = owner.data_ptr(), owner.nbytes
        else:
            held = numpy.frombuffer(owner, dtype=numpy.uint8)
            first, length = held.__array_interface__["data"][0], held.nbytes
    except ValueError:
        # A map that was closed, a memory view that was released, or a buffer of no length.
        return False
    except (TypeError, BufferError, AttributeError, RuntimeError):
        return True
    return bool(first <= start and end <= first + length)
