"""What a recording has no symbols for: what belongs to other parameters, and arrays that a whole step shares.

A program is that of one parameter's update, or of `begin_step` for some; it runs again and again, and what is no input
of it is a constant. So no cell may show a recording what it holds now: cells that are no inputs hold symbols of another
recording, which is never made. As long as nothing comes of these, nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ....backends import HOST, Scope, Variable
from ....backends.mistakes import line_of_rule
from ....backends.programs.program import Unrecordable
from ....backends.programs.recorder import FreeSymbol, RecordedScalars, Recorder, Symbol
from ....backends.scope import Cell
from ..rule import Rule
from .scalars import shared_numbers


class Others(Scope):
    """A scope around recordings, each of which has one of its own for the cells that are its inputs.

    Args:
        rule: what is recorded. All its cells are held, once for all recordings.
        turn: gives the scalars of the recording that is being made, of which numbers that a whole step shares are some.

    Attributes:
        order: why the order counts in which parameters are updated, so that no update may run ahead of the others; or
            None.
    """

    __slots__ = ("_numbers", "_scalars", "_symbols", "order")

    def __init__(self, rule: Rule, turn: Callable[[], RecordedScalars]) -> None:
        super().__init__()
        parameters = rule.cells.parameters
        cells = [*parameters, *[each.sink for each in parameters], *[named.cell for named in rule.named_cells()]]
        for cell in cells:
            self.hold(cell, cell)
        self._scalars = RecordedScalars("what belongs to another parameter or to the whole step")
        self._numbers = {id(cell): FreeSymbol(name, turn) for name, cell in shared_numbers(rule)}
        self._symbols: dict[int, Symbol] = {}
        self.order: str | None = None

    def get(self, cell: Cell) -> Symbol:
        """A number that the whole step shares; of all else a symbol that no program takes."""
        if id(cell) in self._numbers:
            return self._numbers[id(cell)]
        if cell.backend is HOST:
            # No update that writes numbers is recorded, nor any that reads those of others.
            return self._scalars.named("a number")
        if self.order is None:
            self.order = f"an update reads {cell.name!r}, which others may write, in {line_of_rule()}"
        if id(cell) not in self._symbols:
            known: Variable = super().get(cell)
            name = known.dtype_name
            self._symbols[id(cell)] = Recorder(self._scalars, name, known.backend.dtype(name), known.shape).array()
        return self._symbols[id(cell)]

    def set(self, cell: Cell, value: Any) -> NoReturn:
        """Refuse to write."""
        self.order = f"an update writes {cell.name!r}, which others may read, in {line_of_rule()}"
        raise Unrecordable(
            f"a write to {cell.name!r}, which belongs to another parameter or to the whole step, in {line_of_rule()}"
        )

    @property
    def conceals(self) -> bool:
        """Branches take what they may write, and these may be written by none."""
        return True
