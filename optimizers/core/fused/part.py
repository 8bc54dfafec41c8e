"""The work of one compiled kernel in a step: for which parameters, and where in memory their arrays lie."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ....backends import Order, Variable
from ..insertion import Insertion
from .ways import InTable, Together, Way, calls_of

if TYPE_CHECKING:  # Numba is imported when there is a first table.
    from ....backends.kernels.table import Table


class Part:
    """What one kernel does in a step, for parameters of one optimizer or of several.

    Args:
        way: how it runs.
        shares: for each optimizer its number, and the positions of its parameters.
        table: the work.
        look: tells where all arrays lie, if they are what they should be.
        before: where they lay in the step before, if that is known.
        cells: of each parameter and its slots, one parameter after another, where cells hold the arrays.
        orders: in which the elements of each parameter lie.
        spread: whether processes hold some of them together.

    Attributes:
        way, shares, table, look, before, cells, orders, spread: as given.
        otherwise: which parameters' gradients do not come as the kernel reads them.
        written: gives what is written of what `cells` hold.
        stored: the dtypes in which the arrays of each parameter and its gradient are stored.
    """

    __slots__ = (
        "before", "cells", "look", "orders", "otherwise", "shares", "spread", "stored", "table", "way", "written",
    )  # fmt: skip

    def __init__(
        self, way: Way, shares: Sequence[tuple[int, Sequence[int]]], table: Table, look: Callable[..., Any],
        before: Any = None, cells: Sequence[Variable] = (), orders: Sequence[Order] = (), spread: bool = False,
    ) -> None:  # fmt: skip
        self.way, self.shares, self.table, self.look, self.before = way, shares, table, look, before
        self.cells, self.orders, self.spread = cells, orders, spread
        self.otherwise: set[int] = set()
        self.stored = way.stored
        self.written: Callable[[Sequence[Any]], list[Any]] = list
        if len(way.targets) < way.columns:
            each = [slice(target, None, way.columns) for target in way.targets]
            self.written = lambda held: [array for target in each for array in held[target]]

    @property
    def indices(self) -> Sequence[int]:
        """The positions of the parameters, where they are of one optimizer."""
        ((_, indices),) = self.shares
        return indices

    def moved(self, insertion: Insertion) -> Part:
        """The same once there are further parameters."""
        other = copy.copy(self)
        other.shares = [(member, insertion.moved(indices)) for member, indices in self.shares]
        return other


class Parts:
    """What all kernels do in a step.

    Args:
        parts: what each does.
        told: what tells processes that hold parameters together what each found, or None.
    """

    __slots__ = ("_parts", "_some", "_told", "_writing")

    def __init__(self, parts: Sequence[Part], told: Together | None = None) -> None:
        self._parts = parts
        self._told = told
        # Where nothing is read before it is known what is written.
        alone = [part.way.single_pass for part in parts if part.way.single_pass is not None]
        self._writing: list[Callable[..., functools.partial[Any]]] = []
        if told is None and len(alone) == len(parts):
            work = zip(parts, alone, strict=True)
            self._writing = [functools.partial(part.table.ready, each.kernels) for part, each in work]
        # Those that run over some rows, where all others stay as they are.
        self._some = [number for number, part in enumerate(parts) if part.table.partial]

    def calls(self, found: Sequence[Any], rows: Sequence[list[Any]]) -> list[functools.partial[Any]] | None:
        """As calls that only write; None if what should stay as it is would not.

        Args:
            found: for each where all arrays lie.
            rows: for each this step's scalars.
        """
        for number in self._some:
            if not all(map(self._parts[number].way.leaves_still, rows[number])):
                return None
        if self._writing:
            return list(map(operator.call, self._writing, found, rows))
        return calls_of(
            [part.way.passes(InTable(part.table, addresses), own)
             for part, addresses, own in zip(self._parts, found, rows, strict=True)],
            self._told,
        )  # fmt: skip
