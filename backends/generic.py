"""Arrays of any other library that follows the Array API standard."""

from __future__ import annotations

from typing import Any

from .base import Array, Backend


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
