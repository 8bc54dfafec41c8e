"""Arrays of any library that follows the Array API standard and has no file of its own here."""

from __future__ import annotations

from typing import Any

from .base import Backend
from .dtypes import Array
from .reductions import sum_of_squares


class GenericBackend(Backend):
    """One instance for each namespace met; standard functions only.

    Args:
        namespace: what the arrays' `__array_namespace__()` gives.
    """

    def __init__(self, namespace: Any) -> None:
        super().__init__()
        self.namespace = namespace
        self.name = namespace.__name__.partition(".")[0]

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy by DLPack."""
        import numpy

        return numpy.array(numpy.from_dlpack(array))

    def sum_of_squares(self, array: Array) -> Array:
        """By the definition that all CPU paths share where NumPy can read the memory, else by the library."""
        import numpy

        try:
            readable = numpy.from_dlpack(array)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
            return super().sum_of_squares(array)
        return sum_of_squares(readable)
