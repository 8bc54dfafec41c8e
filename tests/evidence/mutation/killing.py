"""Whether the reference vectors notice a mutant: runs in float64 on NumPy arrays, by whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from helpers.vector_runs import distances, optimizer_of, run
from parity_table import STEPS, allowed, kept
from rules import STEPS_OF_EACH, all_facts

from gradwise.vectors import Case, Step, distance, load

from .formulas import formula_of
from .mutants import Mutant, Place, installed, place_of, reached

DTYPE = "float64"

SLOTS = 2.0**10
"""How far a slot may be from a case, where it is looked at: one that passes by zero has lost some digits, and what a
mutant changes is far more."""


class Vectors:
    """The cases of an algorithm in a convention, the short ones first, and where in its formula each of them goes."""

    def __init__(self, algorithm: str, convention: str) -> None:
        cases = [case for case in load(algorithm, convention) if DTYPE in case.dtypes]
        self.cases = sorted(cases, key=lambda case: len(case.steps))
        self.places: list[set[Place]] = []
        for position, case in enumerate(self.cases):
            with reached(formula_of(algorithm)) as places:
                assert not self.notices(position), f"{algorithm} is beyond the bound of {case.name} of {convention}"
            self.places.append(places)

    def killer_of(self, mutant: Mutant) -> str | None:
        """The name of a case that the mutant is beyond the bound of, or cannot be run with; None if there is none."""
        with installed(mutant.function, mutant.compiled):
            for position, case in enumerate(self.cases):
                if place_of(mutant) in self.places[position]:
                    try:
                        noticed = self.notices(position)
                    except Exception:  # the original raised none, so any will do
                        noticed = True
                    if noticed:
                        return case.name
        return None

    def notices(self, position: int) -> bool:
        """Whether the optimizer, as it is now, is beyond the bound of a case in any step, or counts steps wrongly, or
        has wrong slots that no parameter shows."""
        case = self.cases[position]
        optimizer = optimizer_of(case, jit_compile=False)
        steps = distances(case, run(case, optimizer, "numpy", DTYPE, "imperative"), DTYPE)
        return any(
            not farthest <= bound(case, number)
            or counts_of(optimizer) != counts
            or not hidden_distance(case, case.steps[number - 1], optimizer) <= SLOTS
            for number, (farthest, counts) in enumerate(zip(steps, expected_counts(case), strict=True), 1)
        )


def bound(case: Case, step: int) -> float:
    """How far from a case a run may be after a step: the published bound of the way that is run here."""
    published = kept()["NumPy, whole arrays"][DTYPE][f"{case.algorithm.lower()}.{case.convention}"]
    return allowed(case, next(each for last, each in zip(STEPS, published, strict=True) if step <= last))


def hidden_distance(case: Case, step: Step, optimizer: Any) -> float:
    """The largest distance of a slot from the case, where a step takes a sign, which hides what it is taken of; 0 where
    parameters follow from the slots, or the case says nothing of these."""
    if step.slots is None or not all_facts()[case.algorithm].signs:
        return 0.0
    names = list(case.parameters)
    return max(
        distance(named.cell.numpy(), step.slots[named.name][names[named.position]], DTYPE)
        for named in optimizer.named_cells()
        if named.name in step.slots
    )


def counts_of(optimizer: Any) -> list[int]:
    """How many steps the optimizer counts: its own, and each parameter's where these are counted."""
    return [optimizer.iterations, *(cell.value for cell in optimizer.cells.steps)]


def expected_counts(case: Case) -> Iterator[list[int]]:
    """The same after each step, from what the case says of the start and of gradients."""
    counted = [None, *(case.parameters if case.convention in STEPS_OF_EACH else ())]
    counts = dict.fromkeys(counted, case.iterations)
    for step in case.steps:
        for name in counts:
            if name is None or step.gradients[name] is not None:
                counts[name] += 1
        yield list(counts.values())
