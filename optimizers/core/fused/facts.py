"""What is known of each parameter: how it is updated, and where its arrays were seen to lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ....backends import ITEM_SIZES, Backend, Order, Variable, compute_dtype
from ....backends.programs.program import Program
from .ways import Way, read_as, written_in_place


class Kind(NamedTuple):
    """What parameters have in common that are updated by one program and whose arrays are stored alike.

    Attributes:
        way: how they are updated in one pass, or None.
        reason: why they are not.
        dtype: that is computed in.
        narrow: which arrays pass through copies in that dtype.
        stored: in which dtypes a pass reads and writes the arrays and, the last, a gradient like the parameter.
    """

    way: Way | None
    reason: str | None
    dtype: str
    narrow: list[int]
    stored: tuple[str, ...]


class Kinds:
    """The kinds of an optimizer's parameters, each found out once.

    Args:
        updates: for each the program of their updates and None, or None and why there is none.
    """

    def __init__(self, updates: Mapping[Any, tuple[Program | None, str | None]]) -> None:
        self._updates = updates
        self._found: dict[Any, Kind] = {}

    def known(self, kinds: Iterable[Any]) -> bool:
        """Whether all of some kinds were recorded."""
        return self._updates.keys() >= set(kinds)

    def facts(
        self, grouped: Sequence[list[Variable]], kinds: Sequence[Any], way_of: Callable[[Program, str], Way]
    ) -> list[Facts]:
        """What is known of some parameters.

        Args:
            grouped: for each of them it and its slots.
            kinds: for each of them its kind, which was recorded.
            way_of: gives the way to run a program, computing in a dtype.
        """
        found = self._found
        for kind, cells in dict(zip(kinds, grouped, strict=True)).items():
            if kind not in found:
                found[kind] = self._kind(cells, *self._updates[kind], way_of)
        held = [cells[0].array for cells in grouped]
        usual = bool(held) and grouped[0][0].backend.all_row_major(held)
        return [Facts(cells, found[kind], usual) for cells, kind in zip(grouped, kinds, strict=True)]

    def _kind(
        self, cells: list[Variable], program: Program | None, reason: str | None, way_of: Callable[[Program, str], Way]
    ) -> Kind:
        names = [cell.dtype_name for cell in cells]
        dtype = compute_dtype(names[0])
        narrow = [number for number, name in enumerate(names) if not written_in_place(name, dtype)]
        stored = tuple(dtype if number in narrow else name for number, name in enumerate(names))
        # The gradient's is the parameter's own.
        stored = (*stored, stored[0])
        way = None if program is None else way_of(program, dtype)
        return Kind(way, reason, dtype, narrow, stored)


class Facts:
    """What is known of one parameter.

    Args:
        cells: it and its slots.
        kind: what it has in common with others.
        row_major: whether it is known to lie in this process alone, with its elements in row-major order.

    Attributes:
        cells: it and its slots.
        simple: whether its next update can be a short one: one pass over its arrays where they lie.
        axes: how many of its axes, the first, name the rows that its gradient had in the last step, where all others
            stay as they are. None if the gradient was a whole one.
    """

    __slots__ = (
        "addresses", "arrays", "axes", "cells", "copied", "dtype", "lent", "narrow", "order", "plain", "reason",
        "shape", "simple", "size", "spread", "stored", "touched", "way",
    )  # fmt: skip

    def __init__(self, cells: list[Variable], kind: Kind, row_major: bool) -> None:
        self.cells = cells
        self.way, self.reason, self.dtype, self.narrow, self.stored = kind
        self.shape = cells[0].shape
        self.size = math.prod(self.shape)
        # Which arrays pass through copies: those that are narrow, and in a step those in another order than the others.
        self.copied = self.narrow
        self.order: Order = None
        # Whether several processes hold it together: then the arrays are what this one holds.
        self.spread = False
        # For which of its arrays copies stand in this step, to be written back: the array, and where in it.
        self.lent: dict[int, tuple[Any, Any]] = {}
        # Memory that is read and written beside that of its arrays.
        self.touched: list[tuple[int, int]] = []
        self.axes: int | None = None
        self.arrays: list[Any] = []
        self.addresses: list[int] = []
        # Before it was seen: what it is if it is like most. The step itself looks whether it is so.
        array, backend = cells[0].array, cells[0].backend
        usual = self.reason is None and not self.narrow and backend.shares_memory
        self.simple = self.plain = usual and (row_major or backend.whereabouts(array) is None)
        # Sums are defined in row-major order.
        if self.simple and not (row_major or (self.way is not None and self.way.adds_up)):
            self.order = backend.order(array)

    def bounds(self) -> list[tuple[int, int]]:
        """Where its arrays lie: from which address to which."""
        lengths = [self.size * ITEM_SIZES[cell.dtype_name] for cell in self.cells]
        return [*self.touched, *((start, start + each) for start, each in zip(self.addresses, lengths, strict=True))]

    def give_back(self, backend: Backend) -> None:
        """Write back what copies hold."""
        for target in self.way.targets if self.lent and self.way is not None else ():
            if target in self.lent:
                array, places = self.lent[target]
                if places is None:
                    backend.write(array, self.arrays[target])
                else:
                    backend.put(array, places, self.arrays[target])

    @property
    def joint(self) -> bool:
        """Whether processes make its update together, and wait for each other, whatever its memory is here."""
        return self.spread and self.way is not None and self.way.adds_up

    def operands(self) -> list[Any]:
        """What its library computes with."""
        return self.arrays if self.spread else [cell.value for cell in self.cells]

    @property
    def pass_(self) -> Way | None:
        """Its way over arrays in the dtypes of this step; elsewhere than in plain memory, as its library has them."""
        return self.way if self.way is None or not self.plain else self.way.over(self.stored)

    def reads(self, gradient: Any, backend: Backend) -> None:
        """A pass reads a gradient as it is stored, if it is of a dtype that kernels know."""
        self.stored = *self.stored[:-1], read_as(backend.dtype_name(gradient), self.dtype)

    def written(self) -> list[Any]:
        """The arrays that its program writes, as the cells hold them."""
        return [] if self.way is None else [self.cells[target].array for target in self.way.targets]
