"""Whether a mutant is the same function as the original, written differently."""

from __future__ import annotations

from .formulas import formula_of
from .mutants import Mutant, installed, place_of, reached
from .states import STATES, same, states_of


class Equivalence:
    """Compares mutants with the original on random states of an algorithm in a convention."""

    def __init__(self, algorithm: str, convention: str, states: int = STATES) -> None:
        self.states = states_of(algorithm, convention, states)
        with reached(formula_of(algorithm)) as self.places:
            for state in self.states:
                assert same(state.still(), state.after), "a step is not the same when it is taken again"

    def holds(self, mutant: Mutant) -> bool:
        """Whether original and mutant agree in 40 digits on all states, in all that a step writes."""
        if place_of(mutant) not in self.places:
            return True  # the step goes through the same code
        with installed(mutant.function, mutant.compiled):
            try:
                return all(same(state.still(), state.after) for state in self.states)
            except Exception:  # the original raised none, so any is a difference
                return False
