"""The general step: what was looked at parameter by parameter, and how it is run.

Most steps take shorter ways; this is for what is odd. Arrays that a pass takes as they are come together in tables,
others go through copies, and what lies on devices is run by the library's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ....backends import ITEM_SIZES, Backend
from ..prepared import Later
from ..rule import Rule
from .arrays import plain
from .facts import Facts
from .ways import InBlocks, InTable, Together, Way, addresses_of, calls_of, table_of

_BATCH = 2**20
"""Elements that are copied at once."""

Member: TypeAlias = tuple[int, int, Any]
"""A parameter in a group: its position, the address of its gradient, and what keeps that alive."""
_Work: TypeAlias = tuple[Way, list[Member], list[Any]]
"""What runs over some parameters, with this step's scalars."""


class GeneralStep:
    """A step but for what it writes.

    Args:
        rule: the optimizer.
        entries: what is known of each parameter.
        groups: by their ways, whether they lie in plain memory, and whether they go through copies, the parameters.
        rows: for each group this step's scalars, once for all of it or for each parameter.
        meeting: whether memory that is written is also read or written for another element.
        compiled: whether passes are compiled; else NumPy runs them, block by block.
    """

    def __init__(
        self, rule: Rule, entries: Sequence[Facts], groups: dict[Any, list[Member]], rows: list[list[Any]],
        meeting: bool, compiled: bool,
    ) -> None:  # fmt: skip
        self._rule, self._entries = rule, entries
        self._work = list(zip(groups, groups.values(), rows, strict=True))
        self._meeting, self._compiled = meeting, compiled
        self._backend: Backend = rule.cells.parameters[0].backend

    def run(self, later: Later, ready: Callable[[], None]) -> None:
        """Make it.

        Args:
            later: takes what writes.
            ready: is called behind that.
        """
        # Where processes have to tell each other something, they do so before any of them writes.
        write_in_memory = self._ready_in_memory(self._in_memory())

        def write() -> None:
            for (way, in_memory, copied), members, rows in self._work:
                if not in_memory:
                    self._run_in_library(way, members, rows, compiled=self._rule.jit_compile is True)
                elif copied:
                    for batch in _batches(members, rows, [self._entries[index].size for index, _, _ in members]):
                        self._run_through_copies(way, *batch)
            write_in_memory()
            ready()

        later(write)

    def _in_memory(self) -> list[_Work]:
        """What passes run over as it is; parameter by parameter where memory meets."""
        found: list[_Work] = []
        for (way, in_memory, copied), members, rows in self._work:
            if not in_memory or copied:
                continue
            if self._meeting:
                each = rows if len(rows) > 1 else rows * len(members)
                found += [(way, [member], [row]) for member, row in zip(members, each, strict=True)]
            else:
                found.append((way, members, rows))
        return found

    def _together(self, positions: list[list[int]]) -> Together | None:
        """What tells processes what they found, if there are several."""
        joint = any(self._entries[index].joint for indices in positions for index in indices)
        return Together(self._rule, positions) if joint else None

    def _ready_in_memory(self, parts: list[_Work]) -> Callable[[], None]:
        """Read all that is added up; what writes then."""
        backend = self._backend
        running = [way.passes(self._memory_of(way, members), rows) for way, members, rows in parts]
        positions = [[index for index, _, _ in members] for _, members, _ in parts]
        calls = calls_of(running, self._together(positions))

        def write() -> None:
            for call in calls:
                call()
            entries = [self._entries[index] for indices in positions for index in indices]
            for entry in entries:
                entry.give_back(backend)
            # What is written back by the library, that counts itself.
            backend.wrote([array for entry in entries if entry.spread or not entry.lent for array in entry.written()])

        return write

    def _memory_of(self, way: Way, members: list[Member]) -> InTable | InBlocks:
        backend = self._backend
        entries = [self._entries[index] for index, _, _ in members]
        if self._compiled:
            rows = [[*entry.addresses, address] for entry, (_, address, _) in zip(entries, members, strict=True)]
            return InTable(table_of([entry.size for entry in entries], way.stored[-1], backend), addresses_of(rows))
        return InBlocks([
            [backend.flat_view(array) for array in (*entry.arrays, gradient)]
            for entry, (_, _, gradient) in zip(entries, members, strict=True)
        ])  # fmt: skip

    def _run_through_copies(self, way: Way, members: list[Member], rows: list[Any]) -> None:
        """As in memory, with copies of the arrays that a pass does not take as they are."""
        backend = self._backend
        addresses, copies = [], []
        for index, _, gradient in members:
            entry = self._entries[index]
            # What is stored as the pass takes it is written where it lies.
            places = [
                plain(array, dtype, entry, backend)
                if number in entry.copied
                else (entry.addresses[number], array)
                for number, (array, dtype) in enumerate(zip(entry.arrays, way.stored[:-1], strict=True))
            ]
            places.append(plain(gradient, way.stored[-1], entry, backend))
            addresses.append([address for address, _ in places])
            copies.append([array for _, array in places])
        if self._compiled:
            table = table_of([self._entries[index].size for index, *_ in members], way.stored[-1], backend)
            way.run(table, addresses_of(addresses), rows)
        else:
            way.run_by_blocks([[backend.flat_view(array) for array in arrays] for arrays in copies], rows)
        for (index, _, _), arrays in zip(members, copies, strict=True):
            entry = self._entries[index]
            for target in way.targets:
                if target in entry.copied:
                    backend.write(entry.arrays[target], arrays[target])
            backend.wrote([
                entry.cells[target].array for target in way.targets if entry.spread or target not in entry.copied
            ])  # fmt: skip

    def _run_in_library(
        self, way: Way, members: list[Member], rows: list[Any], compiled: bool
    ) -> None:
        """By the library's own functions over many arrays; parameters whose scalars differ apart."""
        backend = self._backend
        apart: dict[Any, list[Member]] = {}
        for number, member in enumerate(members):
            apart.setdefault(rows[number if len(rows) > 1 else 0], []).append(member)
        for scalars, together in apart.items():
            entries = [self._entries[index] for index, _, _ in together]
            columns = [list(column) for column in zip(*(entry.operands() for entry in entries), strict=True)]
            columns.append([gradient for _, _, gradient in together])
            results = backend.run_program(way.whole.program, way.dtype, columns, scalars, compiled)
            for target, arrays in zip(way.targets, results, strict=True):
                for entry, array in zip(entries, arrays, strict=True):
                    if entry.spread:
                        backend.write(entry.arrays[target], backend.cast(array, entry.cells[target].dtype_name))
                    else:
                        entry.cells[target].assign(array)
            backend.wrote([array for entry in entries if entry.spread for array in entry.written()])


def joint_alone(entries: Sequence[Facts], groups: dict[Any, list[Member]], backend: Backend) -> dict[Any, list[Member]]:
    """Of groups those that processes update together, with gradients that meet no memory that is written."""
    joint = {
        key: [
            (index, *plain(backend.plain_copy(gradient, dtype, entry.order), dtype, entry, backend))
            for index, _, gradient in members
            for entry in [entries[index]]
            for dtype in entry.stored[-1:]
            if entry.joint
        ]
        for key, members in groups.items()
    }
    return {key: members for key, members in joint.items() if members}


def overlapping(entries: Sequence[Facts], groups: dict[Any, list[Member]], backend: Backend) -> bool:
    """Whether memory that is written is also read or written for another element."""
    intervals = []
    for members in groups.values():
        for index, address, gradient in members:
            entry = entries[index]
            if entry.plain:
                held = entry.bounds()
                intervals += [(start, end, True) for start, end in held]
                length = entry.size * ITEM_SIZES.get(backend.dtype_name(gradient), 8)
                # It may be the parameter itself: each element is read before it is written.
                if address and (address, address + length) not in held:
                    intervals.append((address, address + length, False))
    intervals = sorted(interval for interval in intervals if interval[0] < interval[1])
    reached, reached_written = 0, 0
    for start, end, written in intervals:
        if start < (reached if written else reached_written):
            return True
        reached = max(reached, end)
        reached_written = max(reached_written, end) if written else reached_written
    return False


def _batches(
    members: list[Member], rows: list[Any], sizes: list[int]
) -> Iterator[tuple[list[Member], list[dict[str, Any]]]]:
    first, count = 0, 0
    for position, size in enumerate([*sizes, 0]):
        if position == len(sizes) or (position > first and count + size > _BATCH):
            yield members[first:position], rows[first:position] if len(rows) > 1 else rows
            first, count = position, 0
        count += size
