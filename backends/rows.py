"""Gradients that are zero but for some rows of their parameter, as embeddings leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Rows(NamedTuple):
    """An array that is zero but for some rows, each of which it has once.

    Attributes:
        places: which rows, as the library's own functions take it.
        values: what stands in them, one after another.
        shape: of the whole.
        whole: gives the same as a dense array.
    """

    places: Any
    values: Any
    shape: tuple[int, ...]
    whole: Callable[[], Any]
