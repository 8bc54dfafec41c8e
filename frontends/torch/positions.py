"""Which parameters of a group take part in its steps, and where each of them stands among those that do."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ...backends import Variable
from ...optimizers.core.insertion import Insertion
from .linking import real_view

_SETS = 16
"""For how many sets of parameters their cells are kept."""


class Positions:
    """The positions of parameters in their group, and their places among those that take part.

    Args:
        given: the parameters of the group.
        positions: which of them take part.

    Attributes:
        own: the positions of the parameters that take part, each once.
        everywhere: all positions at which these stand, in order.
        parameters: those that take part.
        repeated: whether some stand in the group twice.
    """

    def __init__(self, given: Sequence[torch.Tensor], positions: Iterable[int]) -> None:
        self._given = list(given)
        self._arrange(*_places(self._given, positions))

    def _arrange(self, own: list[int], places: dict[int, int]) -> None:
        self.own, self._place = own, places
        everyone = range(len(self._given))
        self.everywhere: Sequence[int] = everyone if len(places) == len(everyone) else list(places)
        self.repeated = len(self.everywhere) != len(own)
        self.parameters = [self._given[position] for position in own]
        self._some_cells: dict[tuple[int, ...], list[Variable]] = {}

    def insertion(self, further: Sequence[int]) -> Insertion:
        """Where parameters at further positions would come to stand."""
        return Insertion(self.own, further)

    def take_in(self, insertion: Insertion) -> None:
        """Let further parameters take part."""
        self._arrange(insertion.numbers, insertion.places(self._place))

    def are_of(self, given: Sequence[torch.Tensor]) -> bool:
        """Whether a group has the very parameters that it had."""
        return len(given) == len(self._given) and all(map(operator.is_, given, self._given))

    def further(self, present: Sequence[int]) -> list[int]:
        """Those of some positions in the group whose parameters do not take part yet."""
        return [position for position in present if position not in self._place]

    def include(self, present: Sequence[int]) -> bool:
        """Whether the parameters at some positions take part."""
        return present == self.everywhere or self._place.keys() >= set(present)

    def placed(
        self, gradients: Sequence[torch.Tensor], present: Sequence[int], complex_ones: bool
    ) -> tuple[Sequence[torch.Tensor], Sequence[int]]:
        """Real gradients, and the places of their parameters among those that take part.

        Args:
            gradients: one for each parameter that has one.
            present: their positions in the group.
            complex_ones: whether there are complex parameters.
        """
        if complex_ones:
            # A gradient may be a conjugate that was not computed yet.
            gradients = [real_view(gradient.resolve_conj()) for gradient in whole(gradients)]
        if present == self.everywhere and not self.repeated:
            return gradients, range(len(self.own))
        places = [self._place[position] for position in present]
        if self.repeated:
            once = dict(zip(places, gradients, strict=True))
            return list(once.values()), list(once)
        return gradients, places

    def cells_at(self, places: tuple[int, ...], cells: Sequence[Variable]) -> list[Variable]:
        """The cells at some places, in a list of the last step with the same ones."""
        if places not in self._some_cells:
            if len(self._some_cells) >= _SETS:
                # Sets that never come again would fill the memory.
                self._some_cells.clear()
            self._some_cells[places] = [cells[place] for place in places]
        return self._some_cells[places]

    def forget_cells(self) -> None:
        """Forget the lists of cells: the core has others."""
        self._some_cells = {}


def _places(given: Sequence[Any], positions: Iterable[int]) -> tuple[list[int], dict[int, int]]:
    """Which of a group's parameters take part, and for each position where its parameter stands among these.

    A parameter that a group has twice takes part once, where it stands first.
    """
    identities, own = list(map(id, given)), sorted(set(positions))
    if len(set(identities)) == len(identities):
        return own, dict(zip(own, range(len(own)), strict=True))
    first = dict(zip(reversed(identities), reversed(range(len(given))), strict=True))
    firsts = [first[each] for each in identities]
    own = sorted({firsts[position] for position in own})
    places = dict(zip(own, range(len(own)), strict=True))
    return own, {position: places[each] for position, each in enumerate(firsts) if each in places}


def whole(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Sparse ones as dense ones."""
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients]
