"""The verdict on every mutant of an algorithm in a convention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .equivalence import Equivalence
from .killing import Vectors
from .mutants import Mutant, Place, mutants_of, place_of
from .states import STATES


@dataclass
class Score:
    """What became of the mutants.

    Attributes:
        killed: by the name of the case that noticed them, how many.
        unreached: how many of the equivalent ones are in code that this convention does not go through.
        survivors: those that no case noticed although they are different; as text.
        places: the places of the formula that random states reach.
    """

    algorithm: str
    convention: str
    total: int
    killed: dict[str, int]
    equivalent: int
    unreached: int
    survivors: list[str]
    places: set[Place]


def score_of(algorithm: str, convention: str, mutants: Iterable[Mutant] | None = None, states: int = STATES) -> Score:
    """Judge all mutants, or those given; by so many random states, if no vector notices them."""
    judged = tuple(mutants_of(algorithm) if mutants is None else mutants)
    vectors, equivalence = Vectors(algorithm, convention), Equivalence(algorithm, convention, states)
    # Where cases go and random states do not, these say nothing.
    unknown = set().union(*vectors.places) - equivalence.places
    score = Score(algorithm, convention, len(judged), {}, 0, 0, [], equivalence.places)
    for mutant in judged:
        killer = vectors.killer_of(mutant)
        if killer is not None:
            score.killed[killer] = score.killed.get(killer, 0) + 1
        elif place_of(mutant) not in unknown and equivalence.holds(mutant):
            score.equivalent += 1
            score.unreached += place_of(mutant) not in equivalence.places
        else:
            score.survivors.append(str(mutant))
    return score
