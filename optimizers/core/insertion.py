"""Where further parameters come to stand among those that are known."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any


class Insertion:
    """Known and further things in one order, that of their numbers.

    Args:
        known: the numbers of the known ones, ascending.
        further: the numbers of the others, ascending.

    Attributes:
        numbers: of all, ascending.
        known: for each known thing where it stands now.
        further: for each further one where it stands.
        behind: whether these stand behind all that are known, which stay where they were.
    """

    def __init__(self, known: Sequence[int], further: Sequence[int]) -> None:
        both = [*known, *further]
        self.numbers = sorted(both)
        self.behind = self.numbers == both
        where: Sequence[int] = range(len(both))
        self._ordered: Callable[[list[Any]], Sequence[Any]] | None = None
        if not self.behind:
            order = sorted(where, key=both.__getitem__)
            where = inverse(order)
            # What is the same for all that is put in order is found out once.
            self._ordered = operator.itemgetter(*order)
        self.known, self.further = where[: len(known)], where[len(known) :]

    def places(self, known: dict[int, int]) -> dict[int, int]:
        """For each number where it stands among all, when it is known where the known ones stood."""
        if self.behind:
            return known | dict(zip(self.numbers[len(known) :], self.further, strict=True))
        return dict(zip(self.numbers, range(len(self.numbers)), strict=True))

    def joined(self, known: Sequence[Any], further: Sequence[Any]) -> list[Any]:
        """What belongs to the known things and to the further ones, in the order of all."""
        both = [*known, *further]
        return both if self._ordered is None else list(self._ordered(both))

    def moved(self, positions: Sequence[int]) -> Sequence[int]:
        """Where known things stand now, of which it is known at which positions among the known ones they stood."""
        return positions if self.behind else list(map(self.known.__getitem__, positions))


def inverse(places: Sequence[int]) -> list[int]:
    """For each place which of some things stands there, when it is known at which place each stands."""
    standing = [0] * len(places)
    for thing, place in enumerate(places):
        standing[place] = thing
    return standing
