"""A step of a torch optimizer that is like the last one: of all its groups at once, with one look at everything."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from ...backends.kernels.lists import comparable, same_objects
from ...optimizers.core.fused.joint import Joint
from .asking import asks_for_state
from .engine import Engine
from .entries import State
from .groups import Groups, check_agreement
from .number_tensors import joined
from .values import Values, alike

_parameters_of = operator.itemgetter("params")
_gradient_of = operator.attrgetter("grad")

Ready: TypeAlias = tuple[Groups, Engine, list[torch.Tensor], Sequence[int]]
"""Groups that make a step: they, their engine, the gradients, and their positions in the groups."""


class Repeat:
    """A step that is ready to be made again.

    In every step it sees anew which groups there are, with which parameters and values, what the state holds, and which
    parameters have a gradient. What all this was is kept; if anything else is there, the general step takes over.

    Args:
        groups: of the optimizer.
        state: of the optimizer.
        ready: the groups that made the last step.

    Attributes:
        sure: whether nothing but this has used the engines since its last step.

    Raises:
        LookupError: if there is no such step.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], state: State, ready: Sequence[Ready]) -> None:
        self._engines = engines = [engine for _, engine, _, _ in ready]
        if not comparable():
            raise LookupError("lists cannot be compared")
        self._joint = Joint([engine.rule for engine in engines])
        # Some have one number for all of their parameters.
        self._numbers = engines[0].numbers if len(engines) == 1 else joined([engine.numbers for engine in engines])
        # For each of these numbers its place among those that a step counts up; None if it does none of them.
        counted = {id(cell): place for place, cell in enumerate(self._joint.counted)}
        self._counted = tuple([_places(counted, numbers.cells) for numbers in self._numbers])
        self._state = state
        self._lengths = self._lengths_of(groups)
        self._entries = tuple([entry for engine in engines for entry in engine.entries.held])
        # Where nobody else keeps anything, all there is is read in one go.
        self._alone = all(engine.entries.alone for engine in engines)
        self._present, self._absent = _with_and_without_gradient(groups, ready)
        self._look_at_values(ready)
        self._objects = self._now(groups)
        # What the cores hold is seen in every step in the parameters and the state.
        if not {id(each) for each in self._objects}.issuperset(map(id, self._joint.arrays())):
            raise LookupError("a core holds other arrays than the state")
        self.sure = False

    def _look_at_values(self, ready: Sequence[Ready]) -> None:
        """Remember which values of which groups are followed."""
        # The groups of each engine, of which most have one; and of each group the number of its engine.
        self._of_each = [groups.groups for groups, _, _, _ in ready]
        self._rows = [groups.row for groups, _, _, _ in ready]
        self._groups = (*itertools.chain.from_iterable(self._of_each),)
        self._members = [number for number, own in enumerate(self._of_each) for _ in own]
        self._values: tuple[Values, ...] = tuple([values for engine in self._engines for values in engine.values])
        self._reads = tuple([values.read for values in self._values])
        self._held = [values.held for values in self._values]
        self._live = self._followed_always()

    def _followed_always(self) -> tuple[int, ...]:
        return tuple([number for number, values in enumerate(self._values) if values.live])

    def lasts(self) -> bool:
        """Whether it may be made again after another step."""
        return self._joint.lasts()

    def _now(self, groups: Sequence[dict[str, Any]]) -> list[Any]:
        """All that must be the same objects as before."""
        if self._alone:
            contents = itertools.chain.from_iterable(map(dict.values, self._entries))
        else:
            contents = itertools.chain.from_iterable(engine.entries.contents() for engine in self._engines)
        parameters = itertools.chain.from_iterable(map(_parameters_of, groups))
        return [*groups, *parameters, *self._state.values(), *contents]

    @staticmethod
    def _lengths_of(groups: Sequence[dict[str, Any]]) -> Any:
        """How many keys and parameters groups have. Of the latter, those of one are counted with all else."""
        if len(groups) == 1:
            return len(groups[0])
        return list(map(len, [*groups, *map(_parameters_of, groups)]))

    def fits(self, groups: Sequence[dict[str, Any]], state: State) -> bool:
        """Whether groups, parameters and what the state holds are the same objects as before."""
        if state is not self._state:
            return False
        try:
            now = self._now(groups)
        except KeyError:
            return False
        same = same_objects.run(id(now), id(self._objects))
        return bool(same) and self._lengths_of(groups) == self._lengths

    def step(self, groups: Sequence[dict[str, Any]]) -> bool:
        """Make the step, once it fits, if all else is as it was but for numbers; whether it was made.

        Args:
            groups: of the optimizer.

        Raises:
            ValueError: if a hyperparameter is not allowed; nothing has changed then.
        """
        if not self._entries and asks_for_state(groups):
            return False
        # Nothing is if this is interrupted.
        sure, self.sure = self.sure, False
        now = list(map(operator.call, self._reads, self._groups))
        followed = bool(self._live) or not alike(now, self._held)
        if followed and not self._follow(now):
            return False
        if self._absent and any([gradient is not None for gradient in map(_gradient_of, self._absent)]):
            return False
        gradients = list(map(_gradient_of, self._present))
        for numbers in self._numbers:
            # As `numbers.read()`, with a call less in every step.
            held = numbers.containers.held()
            if held != numbers.seen:
                numbers.take(held)
        # Hundreds of optimizers of one parameter are out of the processor's reach: what is not touched costs nothing.
        changed, renumbered = self._news() if followed or not sure else ([], [])
        # It refuses all that is no tensor, such as None.
        step = self._joint.prepared(gradients, changed, renumbered, sure)
        if step is None:
            return False
        step.make(self._writing(step.after))
        if changed or renumbered:
            self._told()
        self.sure = True
        return True

    def _news(self) -> tuple[list[int], list[int]]:
        """The engines whose optimizers may have other attributes, and those that have other numbers."""
        changed, renumbered = {}, {}
        for member, values in zip(self._members, self._values, strict=True):
            if values.changed:
                changed[member] = True
            if values.renumbered:
                renumbered[member] = True
        return list(changed), list(renumbered)

    def _told(self) -> None:
        for values in self._values:
            values.changed = values.renumbered = False

    def _writing(self, after: Sequence[Any]) -> list[Any]:
        """What writes the numbers that a step has counted up into the state."""
        calls: list[Any] = []
        for numbers, places in zip(self._numbers, self._counted, strict=True):
            calls += numbers.writing(numbers.after({}) if places is None else places(after))
        return calls

    def _follow(self, now: list[Any]) -> bool:
        """Take over what has changed in groups. False if a group makes no such step any more."""
        for groups, row in zip(self._of_each, self._rows, strict=True):
            if len(groups) > 1:
                check_agreement(groups, row)
        for number, (values, group) in enumerate(zip(self._values, self._groups, strict=True)):
            if number not in self._live and alike(now[number], self._held[number]):
                continue
            # Where one is refused, it is not known what is followed.
            self._held[number] = None
            if not values.follow(group, now[number]):
                return False
            if (values.live or values.changed) and values.in_tensors(group):
                return False
            self._held[number] = values.held
            if values.live or self._live:
                self._live = self._followed_always()
        return True


def _with_and_without_gradient(
    groups: Sequence[dict[str, Any]], ready: Sequence[Ready]
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """The parameters that have a gradient, in the order of the groups that are ready, and the others."""
    starts = [0, *itertools.accumulate(map(len, map(_parameters_of, groups)))]
    places = [starts[own.index] + position for own, _, _, present in ready for position in present]
    everyone = [*itertools.chain.from_iterable(map(_parameters_of, groups))]
    without = sorted(set(range(starts[-1])).difference(places))
    return tuple([everyone[place] for place in places]), tuple([everyone[place] for place in without])


def _places(known: dict[int, int], cells: Sequence[Any]) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """A function that picks from a sequence what belongs to some cells; None if none of them is known.

    Raises:
        LookupError: if only some are.
    """
    places = [known[id(cell)] for cell in cells if id(cell) in known]
    if not places:
        return None
    if len(places) < len(cells):
        raise LookupError("some numbers change, and others do not")
    if places == list(range(places[0], places[0] + len(places))):
        return operator.itemgetter(slice(places[0], places[0] + len(places)))
    return operator.itemgetter(*places)
