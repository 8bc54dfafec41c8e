"""What can be known of arrays while a rule is tried out: whether they have values, what these are, and copies."""

from __future__ import annotations

import math
from typing import Any

from ....backends import HOST, NUMPY, backend_of

LARGE = 2**22
"""From how many elements on arrays are not looked at in double precision, and nothing stands for traced ones."""


def is_traced(value: Any) -> bool:
    """Whether a library is tracing an array, which then has no values."""
    backend = backend_of(value)
    return backend is not None and backend is not HOST and backend.traced(value)


def stand_in(shape: tuple[int, ...], name: str) -> Any:
    """An array of NumPy's of some shape and dtype, for what has no values as long as a library traces."""
    return NUMPY.full(shape, 1 if "int" in name else 0.5, name, None)


def is_joint(value: Any) -> bool:
    """Whether several processes hold an array together."""
    backend = backend_of(value)
    return backend is not None and backend.whereabouts(value) is not None


def is_large(value: Any) -> bool:
    """Whether an array has so many elements that these are not looked at."""
    backend = backend_of(value)
    return backend is not None and math.prod(backend.shape(value)) > LARGE


def copy_of(value: Any) -> Any:
    """A copy of an array; a number, and what has no values or is being traced, as it is."""
    backend = backend_of(value)
    if backend is None or backend is HOST or is_traced(value) or backend.why_no_values(value) is not None:
        return value
    copy = backend.copy(value)
    # Inside a transformation a library traces whatever is computed, also from arrays of outside.
    return value if is_traced(copy) else copy


def read(value: Any) -> Any:
    """A value in NumPy's double precision; None where it cannot be read."""
    backend = backend_of(value)
    if backend is None or is_traced(value) or is_large(value) or backend.why_no_values(value) is not None:
        return None
    if is_joint(value):
        # Other processes would have to read it too.
        return None
    return NUMPY.cast(backend.to_numpy(value), "float64")


def has_values(value: Any) -> bool:
    """Whether an array may have elements that are not zero, as somebody must have written them; what is traced, or has
    no values, has none."""
    held = read(value)
    return is_joint(value) if held is None else bool(held.any())
