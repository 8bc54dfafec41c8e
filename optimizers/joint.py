"""Steps of several optimizers as one: parameter groups of one front end, each with an optimizer of its own.

Where each of them would take its short way, and none of them more than one pass, what is the same for all is done once:
one look at all memory, and one call for all that run the same program, with scalars of their own. If anything is not
like the last time, nothing has happened, and each makes its step alone.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..backends import any_scope
from ..backends.interruptions import attributes_set, one_after_another
from ..backends.intervals import intervals_of
from .attributes import is_ours
from .lane import Lane
from .ways import addresses_of, step_values, table_of

_NUMBERS = (float, int)
_array_of = operator.attrgetter("_array")


class _Launch(NamedTuple):
    """What one kernel does.

    Attributes:
        members: which of the optimizers.
        cells: of all their parameters, with slots.
        counts: how many parameters each of them has.
        table: the work.
        before: where all arrays lay in the step before.
        look: tells where they lie.
    """

    members: list[int]
    cells: list[Any]
    counts: list[int]
    table: Any
    before: Any
    look: Any


class Joint:
    """Steps of several optimizers that are ready to be made again together.

    Args:
        rules: the optimizers.

    Raises:
        LookupError: if they have no such step.
    """

    def __init__(self, rules: Sequence[Any]) -> None:
        lanes = lanes_of(rules)
        if None in lanes:
            raise LookupError("some have no short way of one pass")
        self._lanes: list[Lane] = [lane for lane in lanes if lane is not None]
        self._passes = [lane.single_pass for lane in self._lanes]
        if not all(map(is_ours, rules)) or any(rule.loss_scale_factor is not None for rule in rules):
            raise LookupError("a user's rule may change its attributes, and every step looks at them")
        self._backend = rules[0]._parameters[0].backend
        memory = [lane.memory for lane in self._lanes]
        if None in memory:
            raise LookupError("some memory was not seen yet")
        bounds = sorted(bound for each in memory if each is not None for bound in each.bounds())
        if any(end > start for (_, end), (start, _) in itertools.pairwise(bounds)):
            raise LookupError("they write to the same memory")
        self._memory = intervals_of(bounds)
        groups: dict[Any, list[int]] = {}
        for number, lane in enumerate(self._lanes):
            way = lane.parts[0].way
            # Equal programs may differ in the sign of a zero.
            key = way.program, repr(way.program.constants), way.dtype, way.stored
            groups.setdefault(key, []).append(number)
        self._launches = [self._launch(numbers) for numbers in groups.values()]
        self._counted = [cell for lane, rule in zip(self._lanes, rules, strict=True) for cell in lane.counted(rule)]

    def _launch(self, numbers: list[int]) -> _Launch:
        parts = [self._lanes[number].parts[0] for number in numbers]
        columns = len(parts[0].before[0])
        cells = [cell for part in parts for cell in part.cells]
        shapes = [cell.shape for cell in cells[:: columns - 1]]
        stored = parts[0].way.stored
        look = self._backend.lookout(shapes, [order for part in parts for order in part.orders], stored)
        if look is None:
            raise LookupError("there is no quick look at arrays")
        table = table_of([size for part in parts for size in part.table.sizes.tolist()], stored[-1], self._backend)
        # Of no gradient is it known yet that it does not lie in what another optimizer writes.
        before = addresses_of([[*row[:-1], -1] for part in parts for row in part.before.tolist()])
        return _Launch(numbers, cells, [len(part.indices) for part in parts], table, before, look)

    def holds(self, rules: Sequence[Any]) -> bool:
        """Whether these are the optimizers, and their short ways those that they had."""
        lanes = [rule._fusion.lane for rule in rules]
        return len(lanes) == len(self._lanes) and all(map(operator.is_, lanes, self._lanes))

    def step(self, rules: Sequence[Any], gradients: Sequence[Sequence[Any]], changed: Sequence[bool]) -> bool:
        """Make one step of each, if all are like the last ones; whether they were made.

        Args:
            rules: the optimizers.
            gradients: of each, in the order of its parameters.
            changed: for each whether its attributes may have changed since its last step.

        Raises:
            What a schedule of one of them raises; nothing has changed then.
        """
        rates = []
        if any_scope():
            return False
        for rule, lane, own, new in zip(rules, self._lanes, gradients, changed, strict=True):
            if not lane.is_expected(rule, own, looked_at=not new):
                return False
            # A schedule is code of the user's: the last that runs before memory is looked at.
            rates.append(rule._rate_at(rule._iterations._array, rule._rate._array))
        written: list[Any] = []
        found = []
        for launch in self._launches:
            held = list(map(_array_of, launch.cells))
            given = [gradient for number in launch.members for gradient in gradients[number]]
            addresses = launch.look(held, given)
            if addresses is None or not launch.table.still_apart(addresses, launch.before, self._memory):
                return False
            found.append(addresses)
            if self._backend.counts_writes:
                written += self._targets(launch, held)
        if not all([type(rate) in _NUMBERS for rate in rates]):
            return False
        calls: list[Any] = []
        for launch, addresses in zip(self._launches, found, strict=True):
            rows: list[tuple[float, ...]] = []
            for number, count in zip(launch.members, launch.counts, strict=True):
                lane, rule = self._lanes[number], rules[number]
                lines = lane.lines(step_values(rule, rates[number], None, lane.numbers))
                own = [self._passes[number].evaluate(line) for line in lines]
                rows += own if len(own) == count else own * count
            kernels = self._passes[launch.members[0]].kernels
            calls.append(launch.table.writing(kernels, addresses, rows))
        calls.append(attributes_set(self._counted, "_array", [cell._array + 1 for cell in self._counted]))
        # Before they are: an interruption may come after the calls, but not between them.
        self._backend.wrote(written)
        one_after_another(calls)
        return True

    def _targets(self, launch: _Launch, held: list[Any]) -> list[Any]:
        """The arrays that are written."""
        columns = len(launch.before[0]) - 1
        targets = self._lanes[launch.members[0]].parts[0].way.targets
        return [array for target in targets for array in held[target::columns]]


def lanes_of(rules: Sequence[Any]) -> list[Lane | None]:
    """For each optimizer its short way, if that is one pass over memory of one kind that looks at no norm."""
    lanes = [rule._fusion.lane for rule in rules]
    return [lane if lane is not None and lane.single_pass is not None else None for lane in lanes]
