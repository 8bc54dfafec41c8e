"""Pieces of large arrays, on which a rule is tried out first: most rules do the same with them.

Arrays that lie side by side must go on fitting together, so every axis is shortened by its length: axes of one length
keep one length, and a longer one stays longer. A rule that asks for a length, or that meets any error, is judged by the
arrays themselves: nothing that only pieces show is ever said of a rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ....backends import HOST, Rows, StepScope, backend_of, trials
from ....backends.scope import Cell
from ..rule import Rule
from .values import is_joint, is_traced, stand_in

_KEPT = 10
"""Up to which length axes stay as they are: to such, rules put numbers themselves."""
_FEW = 2**20
"""Up to how many elements together a rule takes the arrays themselves: pieces of them would not be faster."""


class Pieces:
    """How long the axes of pieces are.

    Args:
        shapes: of all arrays that may meet.
    """

    def __init__(self, shapes: Iterable[tuple[int, ...]]) -> None:
        lengths = sorted({length for shape in shapes for length in shape if length > _KEPT})
        self._lengths = {length: place for place, length in enumerate(lengths, _KEPT + 1)}

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a piece."""
        return tuple([self._lengths.get(length, length) for length in shape])

    def of(self, value: Any) -> Any:
        """The beginning of an array along every axis; what is traced, is no array or has no values, as it is.

        For one that processes hold together stands a plain one: of theirs nobody asks them anything.
        """
        value = value.whole() if type(value) is Rows else value
        backend = backend_of(value)
        if backend is None or backend is HOST or is_traced(value) or backend.why_no_values(value) is not None:
            return value
        shape = backend.shape(value)
        short = self.shape(shape)
        if is_joint(value):
            return trials.made(backend, stand_in(short, "float64"), backend.dtype_name(value))
        return value if short == tuple(shape) else backend.copy(value[tuple(map(slice, short))])


WHOLE = Pieces(())
"""The arrays themselves."""

PLAIN = Pieces(())
"""Arrays as long as these, and plain."""


def pieces_for(rule: Rule, indices: Sequence[int], present: Iterable[int]) -> Pieces | None:
    """The pieces of what some parameters have; None if that is not much.

    Args:
        rule: an optimizer.
        indices: of parameters that its rule is tried out for.
        present: of those that have a gradient.
    """
    parameters = rule.cells.parameters
    taken = present if rule.has_begin_step() else indices
    if sum(math.prod(parameters[index].shape) for index in taken) <= _FEW:
        return None
    named = (each.cell.shape for each in rule.named_cells())
    return Pieces([*(cell.shape for cell in parameters), *named])


class PiecesHeld(StepScope):
    """A scope in which cells hold pieces of what they held before, cut when they are asked for.

    Args:
        values: pairs of a cell and what it holds.
        level: the library's level of transformation.
        pieces: how long these are.
    """

    __slots__ = ("_pieces", "_waiting")

    def __init__(self, values: Iterable[tuple[Cell, Any]], level: Any, pieces: Pieces) -> None:
        super().__init__(values, level)
        self._pieces, self._waiting = pieces, set(map(id, self.cells()))

    def get(self, cell: Cell) -> Any:
        """As `Scope`."""
        if id(cell) in self._waiting:
            self._waiting.discard(id(cell))
            self.hold(cell, self._pieces.of(super().get(cell)))
        return super().get(cell)

    def set(self, cell: Cell, value: Any) -> None:
        """As `Scope`."""
        self._waiting.discard(id(cell))
        super().set(cell, value)


class GradientPieces(list[Any]):
    """Gradients, or None, of which each is asked for as its piece.

    Args:
        arrays: the gradients.
        pieces: how long these are.
    """

    def __init__(self, arrays: Sequence[Any], pieces: Pieces) -> None:
        super().__init__(arrays)
        self._pieces = pieces

    def __getitem__(self, index: Any) -> Any:
        return self._pieces.of(super().__getitem__(index))
