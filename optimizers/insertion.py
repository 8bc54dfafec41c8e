"""Where further parameters come to stand among those that are known."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any


class Insertion:
    """Known and further things in one order, that of their numbers.

    Args:
        known: the numbers of the known ones, ascending.
        further: the numbers of the others, ascending.

    Attributes:
        numbers: of all, ascending.
        places: for each number where it stands among all.
        known: for each known thing where it stands now.
        further: for each further one where it stands.
        behind: whether these stand behind all that are known, which stay where they were.
    """

    def __init__(self, known: Sequence[int], further: Sequence[int]) -> None:
        both = [*known, *further]
        self.numbers = sorted(both)
        self.places = dict(zip(self.numbers, range(len(both)), strict=True))
        self.behind = self.numbers == both
        where: Sequence[int] = range(len(both)) if self.behind else list(map(self.places.__getitem__, both))
        self.known, self.further = where[: len(known)], where[len(known) :]
        # What is the same for all that is put in order is found out once.
        self._ordered = list if self.behind else operator.itemgetter(*inverse(where))

    def joined(self, known: Sequence[Any], further: Sequence[Any]) -> list[Any]:
        """What belongs to the known things and to the further ones, in the order of all."""
        return list(self._ordered([*known, *further]))

    def moved(self, positions: list[int]) -> list[int]:
        """Where known things stand now, of which it is known at which positions among the known ones they stood."""
        return positions if self.behind else list(map(self.known.__getitem__, positions))


def inverse(places: Sequence[int]) -> list[int]:
    """For each place which of some things stands there, when it is known at which place each stands."""
    standing = [0] * len(places)
    for thing, place in enumerate(places):
        standing[place] = thing
    return standing
