"""The state of a core optimizer, paired with the containers in which a framework keeps the same state.

Users look for an optimizer's state where their framework has it: in the tensors of a dictionary, in the Variables of a
model. A pairing says which cell of the core stands for which of these containers, and what holds at which time:

- An array is one object in both. The container owns it, the cell borrows it, a step changes it in place. Before a step
  every container is asked whether it still holds the very object that it held (`Pairing.holds`); if not, cells and
  containers are paired anew.
- A number is in both: in double precision in the cell, rounded to its dtype in the container. Before a step
  containers are read (`Pairing.read`). One that holds what was last seen in it was written by nobody else, and the
  cell's number counts, which has more digits; otherwise the container's, which was loaded or set by somebody.
- After a step, numbers are written to containers by the calls that write its arrays (`Pairing.writing`).

So no step is made with state that somebody has replaced meanwhile, no digits are lost on the way through a container,
and an interruption finds arrays and numbers both before the step or both after it.
"""

from __future__ import annotations

import collections
import itertools
import operator
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..backends import HOST, Variable
from ..optimizers import Optimizer

_held_by = operator.attrgetter("array")


def same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two sequences hold the very same objects."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


class Column(NamedTuple):
    """The cells of one name.

    Attributes:
        name: of the cells.
        cells: one for each place, or a single one that all parameters share.
        places: of the parameters that have one, among those that the core was built for.
        shared: whether it is a single one.
    """

    name: str
    cells: list[Variable]
    places: Sequence[int]
    shared: bool

    @property
    def on_host(self) -> bool:
        """Whether they hold numbers."""
        return self.cells[0].backend is HOST


def columns_of(core: Optimizer) -> list[Column]:
    """All that a built core keeps, in the order in which it was made."""
    columns: dict[Any, tuple[list[Variable], list[int]]] = {}
    for cell, name, position in core.named_cells():
        kind = name, position is None, cell.backend is HOST
        if kind not in columns:
            columns[kind] = [], []
        cells, places = columns[kind]
        cells.append(cell)
        if position is not None:
            places.append(position)
    everyone = range(len(core.cells.parameters))
    return [
        Column(name, cells, everyone if shared else places, shared)
        for (name, shared, _), (cells, places) in columns.items()
    ]


class Containers(Protocol):
    """Where a framework keeps numbers of one kind, all of them read and written together."""

    def held(self) -> list[Any]:
        """What they hold now, as Python's numbers."""

    def writing(self, values: Sequence[Any], places: Sequence[int] | None) -> tuple[list[partial[Any]], Iterable[Any]]:
        """What writes numbers into them.

        Args:
            values: one for each container.
            places: of those that may change. None is all.

        Returns:
            The calls, and what all containers hold after them: a list, or, where that is not known before, an iterator
            that is asked then and gives one list. Calls and iterator are of C, if they can be.
        """


Kept = TypeVar("Kept", bound=Containers)


class Numbers(Generic[Kept]):
    """Numbers that cells of the core hold in double precision, and containers of a framework too.

    Args:
        cells: of the core, one for each container, or the same one for all.
        containers: which count, as the module says.
        seen: what they held when they were last read or written. None is not known.
        places: of the parameters that have them, where some have none. None is all.

    Attributes:
        cells, containers, seen: as given.
        shared: whether all containers have one cell. Of these the first counts, and all are written.
        counts: whether the numbers are counts of steps.
    """

    def __init__(
        self, cells: Sequence[Variable], containers: Kept, seen: list[Any] | None = None,
        places: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        self.cells, self.containers, self.seen = list(cells), containers, seen
        self._own = None if places is None else {place: own for own, place in enumerate(places)}
        self.shared = len(cells) > 1 and cells[0] is cells[1]
        self.counts = isinstance(cells[0].array, int)

    def read(self) -> None:
        """Take what others wrote to the containers into the cells."""
        values = self.containers.held()
        if values != self.seen:
            self.take(values)

    def take(self, values: list[Any]) -> None:
        """Take what others wrote, where it was read already.

        Args:
            values: what the containers hold.
        """
        for cell, value in zip(reversed(self.cells), reversed(values), strict=True):
            # Counts that were averaged over several optimizers may be fractions.
            cell.array = int(value) if self.counts and value == value // 1 else float(value)
        self.seen = values

    def after(self, numbers: dict[int, Any]) -> list[Any]:
        """What the cells hold after a step.

        Args:
            numbers: what the step changes, by the identities of cells.
        """
        held = list(map(_held_by, self.cells))
        return list(map(numbers.get, map(id, self.cells), held)) if numbers else held

    def writing(self, values: Sequence[Any], places: Sequence[int] | None = None) -> list[partial[Any]]:
        """What writes numbers into the containers, as calls, to be made at once.

        Args:
            values: what the cells hold then.
            places: of the parameters whose numbers may change. None is all.

        Raises:
            OverflowError: if the containers cannot hold them.
        """
        if places is not None and self._own is not None:
            places = [self._own[place] for place in places if place in self._own]
        calls, seen = self.containers.writing(values, None if self.shared else places)
        if type(seen) is list:
            calls.append(partial(setattr, self, "seen", seen))
        else:
            calls.append(partial(collections.deque, map(setattr, (self,), ("seen",), seen), 0))
        return calls


class Pairing(Generic[Kept]):
    """A core optimizer's state and a framework's containers of it; the module says what it promises.

    Args:
        numbers: with their containers.
        objects: what was found in all containers that hold objects, in some order.

    Attributes:
        numbers, objects: as given.
    """

    def __init__(self, numbers: Sequence[Numbers[Kept]], objects: Sequence[Any]) -> None:
        self.numbers, self.objects = list(numbers), list(objects)

    def holds(self, objects: Sequence[Any]) -> bool:
        """Whether containers still hold what they held.

        Args:
            objects: that are in them now, in the same order.
        """
        return same(objects, self.objects)

    def read(self) -> None:
        """Take what others wrote to containers of numbers into the cells."""
        for numbers in self.numbers:
            numbers.read()

    def writing(self, after: dict[int, Any], places: Sequence[int] | None = None) -> list[partial[Any]]:
        """What writes the numbers that a step changes, as calls, to be made with it.

        Args:
            after: what they are after the step, by the identities of cells, where these do not hold them yet.
            places: of the parameters whose numbers may change. None is all.
        """
        calls = [each.writing(each.after(after), places) for each in self.numbers]
        return list(itertools.chain.from_iterable(calls))
