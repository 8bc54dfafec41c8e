"""The parameter groups that one core optimizer updates: a single one, most often."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from ...optimizers import Optimizer
from ...optimizers.core.grouped import GroupedOptimizer
from .keys import name_at
from .table import TorchRow
from .values import Values, alike

Group: TypeAlias = dict[str, Any]
Together: TypeAlias = Callable[[Sequence[Optimizer], Sequence[int]], GroupedOptimizer]
"""Makes one optimizer of several: given these, and for each parameter the number of the one that it belongs to."""


class Groups:
    """Some groups, and what their values and their state are called.

    Args:
        groups: the parameter groups, which follow one another in their optimizer.
        index: of the first of them.
        rows: for each how its values and its state are called.
        first: the number of their first parameter in `state_dict`, by which errors name it.
        together: makes the optimizer of them all. None: of the only one, its row makes it.

    Attributes:
        groups, index, rows: as given.
        parameters: of all groups, in order.
        row: what is the same for all of them.
        starts: at which of the parameters each group begins.

    Raises:
        ValueError: if they differ in what concerns the whole model.
    """

    def __init__(
        self, groups: Sequence[Group], index: int, rows: Sequence[TorchRow], first: int,
        together: Together | None = None,
    ) -> None:  # fmt: skip
        self.groups, self.index, self.rows = groups, index, rows
        self._first, self._together = first, together
        self.row = rows[0]
        if together is None:
            self.parameters: list[torch.Tensor] = groups[0]["params"]
            self.starts = [0]
            return
        check_agreement(groups, self.row)
        self.parameters = [*itertools.chain.from_iterable(group["params"] for group in groups)]
        self._numbers = [number for number, group in enumerate(groups) for _ in group["params"]]
        self.starts = [0, *itertools.accumulate(len(group["params"]) for group in groups[:-1])]

    def number_at(self, position: int) -> int:
        """The number of the group in which the parameter at a position stands."""
        return 0 if self._together is None else self._numbers[position]

    def holding(self, groups: Sequence[Group]) -> Groups:
        """The same with other values."""
        return Groups(groups, self.index, self.rows, self._first, self._together)

    def made_by(self, together: Together) -> Groups:
        """The same, with an optimizer that is one of several even where there is one group."""
        return Groups(self.groups, self.index, self.rows, self._first, together)

    @property
    def indices(self) -> range:
        """Those of the groups in their optimizer."""
        return range(self.index, self.index + len(self.groups))

    def names_at(self, positions: Sequence[int]) -> list[str]:
        """The names of the parameters at some positions."""
        if self._together is None:
            return [name_at(self.groups[0], self._first, position) for position in positions]
        starts, numbers = self.starts, self._numbers
        return [
            name_at(self.groups[number], self._first + starts[number], position - starts[number])
            for position, number in zip(positions, map(numbers.__getitem__, positions), strict=True)
        ]

    def flag(self, name: str) -> bool:
        """Whether a flag is set in one of them."""
        return any([group.get(name) for group in self.groups])

    def maker(self) -> Callable[[Sequence[int]], Optimizer]:
        """Makes an unbuilt core with the values that the groups have now, for parameters at some positions.

        Raises:
            ValueError: if a value is not allowed.
        """
        given = [row.attributes(group) for row, group in zip(self.rows, self.groups, strict=True)]

        def make(positions: Sequence[int]) -> Optimizer:
            rules = [row.make(attributes) for row, attributes in zip(self.rows, given, strict=True)]
            if self._together is None:
                return rules[0]
            return self._together(rules, list(map(self.number_at, positions)))

        return make

    def values(self, core: Optimizer) -> list[Values]:
        """The values of each group, with the optimizer that follows them."""
        if not isinstance(core, GroupedOptimizer):
            return [Values(self.row, core, self.groups[0])]
        return [
            Values(row, rule, group, core)
            for row, rule, group in zip(self.rows, core.members(), self.groups, strict=True)
        ]

    def state_key(self, cell: str) -> tuple[str | None, int | None]:
        """The key under which a cell of a name is stored, or None; and the group that it is for, or None."""
        number, own = (None, cell) if self._together is None else GroupedOptimizer.owner_of(cell)
        return self.rows[number or 0].state_key(own), number

    def pieces(self, before: Sequence[Mapping[str, Any]]) -> list[set[str]]:
        """For each group the keys of all that cores with the values of some groups keep in the state."""
        return [row.pieces(row.attributes(values)) for row, values in zip(self.rows, before, strict=True)]


def check_agreement(groups: Sequence[Mapping[str, Any]], row: TorchRow) -> None:
    """Raise ValueError if groups differ in what concerns the whole model, by the names of a row."""
    first, *others = groups
    for name in row.whole:
        for other in others:
            if not alike(first.get(name), other.get(name)):
                raise ValueError(
                    f"Parameter groups have {name}={first.get(name)!r} and {name}={other.get(name)!r}, and it "
                    "concerns the whole model: set it to the same value in all of optimizer.param_groups."
                )
