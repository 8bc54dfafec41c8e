"""What an optimizer keeps: the parameters that it was built for, and all its state, in one object."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...backends import HOST, DeltaVariable, Variable
from .exclusions import Exclusions


class NamedCell(NamedTuple):
    """A cell an optimizer made: its name, and the parameter it belongs to (None for what a whole step shares)."""

    cell: Variable
    name: str
    position: int | None


class Cells:
    """The cells of one optimizer. Those of optimizers inside it are theirs, but for the count of steps.

    Attributes:
        iterations: counts the calls.
        rate: the learning rate, where that is no schedule.
        parameters: in the order in which `build` was given them.
        index: the position of each parameter by the identity of its cell, and of what `build` was given for it.
        named: what was made, in that order.
        taken: for each name of a cell the positions of the parameters that have one; found again where it is empty.
        from_zero: the names of slots that begin as zeros.
        grouped: for each parameter its own cell and those of its slots.
        numbers: for each parameter its numbers on the host.
        shared: what a whole step shares.
        averages: of each parameter, where these are kept.
        accumulators: of each parameter, where gradients are accumulated.
        steps: for each parameter a count of its own, where the convention has such.
        counts: for each parameter all counts of its own, those of optimizers inside included.
        slot_names: those of functional state, in order.
        window: of an optimizer inside another: for how many calls that one makes an update; None for each call.
        exclusions: of an optimizer inside others: what these leave out of weight decay, for each parameters and names.
        excluded: the same with its own, as it was when it was last looked at.
        places: of an optimizer inside another that has some of its parameters only: where each stands there.
        chosen: what had been excluded from weight decay when it was last seen that all of it exists.
        stand_ins: of a wrapper: what collects the changes of a parameter, by the identity of its cell.
        loaded: whether the parameters may be copies of those that the caller has, as after loading.
    """

    def __init__(self) -> None:
        self.iterations = Variable.scalar(0, "iteration")
        self.rate = Variable.scalar(0.0, "learning_rate")
        self.parameters: list[Variable] = []
        self.index: dict[int, int] = {}
        self.named: list[NamedCell] = []
        self.taken: dict[str, set[int | None]] = {}
        self.from_zero: set[str] = set()
        self.grouped: list[list[Variable]] = []
        self.numbers: list[list[Variable]] = []
        self.shared: list[Variable] = []
        self.averages: list[Variable] = []
        self.accumulators: list[Variable] = []
        self.steps: list[Variable] = []
        self.counts: list[list[Variable]] = []
        self.slot_names: list[str] = []
        self.window: int | None = None
        self.exclusions: list[Sequence[Any]] = []
        self.excluded = Exclusions(())
        self.places: list[int] | None = None
        self.stand_ins: dict[int, DeltaVariable] = {}
        self.loaded = False
        self.chosen: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        # Parameters are known by identity, and a copy has copies of them.
        return {**vars(self), "index": {}, "taken": {}, "slot_names": [], "excluded": Exclusions(()), "stand_ins": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for position, cell in enumerate(self.parameters):
            self.index[id(cell)] = position
            self.index[id(cell.array)] = position

    def copied(self) -> Cells:
        """The same cells in another object."""
        return copy.copy(self)

    def host_scalars(self) -> list[Variable]:
        """The learning rate and the numbers that a step shares."""
        return [self.rate, *(cell for cell in self.shared if cell.backend is HOST)]

    def counted(self, present: Iterable[int]) -> list[Variable]:
        """The counts of steps of their own that parameters at some positions have, which have a gradient."""
        return [count for position in present for count in self.counts[position]] if self.counts else []

    def step_scalars(self) -> list[Variable]:
        """The numbers on the host that a step may change."""
        return [self.iterations, *self.host_scalars(), *(cell for cells in self.numbers for cell in cells)]
