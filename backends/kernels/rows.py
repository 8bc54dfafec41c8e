"""Passes over some rows of a parameter's arrays, where they lie: each row is to a kernel what a parameter is elsewhere.

A sparse gradient names rows, some of them twice. What lies in a row that is named once is read where it lies; of one
that is named more often the sum is made first, in the order in which they come.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy

from ..dtypes import ITEM_SIZES, SIXTEEN_BIT
from ..programs.program import Program
from .compiled import compiled
from .intervals import Intervals
from .kernel import Kernels
from .layouts import still_apart
from .placeholders import carray, pointer, prefetch
from .table import Team, is_worth_threads, pass_of_threads

_ADDITION = Program(2, (("add", (("array", 0), ("array", 1))),), ((0, 2),), (), (), (), ())
_NO_SCALARS: Any = numpy.empty((1, 0))
_NO_SUMS: Any = numpy.empty((0, 0))
_LINE, _SOON, _NEAR = 64, 512, 2**18
"""Bytes: a line of memory, how much of a row is fetched before it is needed, and of how many rows of an array."""
_OUTSIDE, _NOT_COMPILED = -1, -2
_SCATTER = -7046029254386353131
"""An odd number without a pattern in its bits: products with it spread what lies close together."""


@compiled(
    "int64(int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])",
    otherwise=lambda *_: _NOT_COMPILED,
)
def _laid_out(lengths: Any, starts: Any, row_lengths: Any, places: Any, room: Any, rows: Any, more: Any) -> int:
    """Say where the arrays of each row lie that a gradient names; how many there are, or that one is outside.

    Args:
        lengths: of the axes along which rows are named.
        starts: where the parameter, its slots, the gradient's rows and its coordinates start; those along the first
            axis come first.
        row_lengths: of one row of each of these but the coordinates, in bytes.
        places: room to look rows up in, at least twice as much as there are; its size is a power of two.
        room: for half as many rows of the gradient as it has. What it has again stands for itself there, so that others
            can be added to it.
        rows: is filled: for each row that is named, where it lies in each array, the gradient's last.
        more: is filled: for each row that the gradient has again, where it stands for itself, and where it lies.
    """
    last, mask, named, again = rows.shape[1] - 1, places.size - 1, 0, 0
    length, used, until = row_lengths[last], room.ctypes.data, room.ctypes.data + 8 * room.size
    coordinates = carray(pointer(starts[0, last + 1]), (lengths.size, rows.shape[0]), dtype=numpy.int64)
    for slot in range(places.size):
        places[slot] = -1
    for own in range(rows.shape[0]):
        place = 0
        for axis in range(lengths.size):
            coordinate = coordinates[axis, own]
            if coordinate < 0 or coordinate >= lengths[axis]:
                return _OUTSIDE
            place = place * lengths[axis] + coordinate
        start = starts[0, 0] + place * row_lengths[0]
        given = starts[0, last] + own * length
        slot = ((place * _SCATTER) >> 24) & mask
        while places[slot] >= 0 and rows[places[slot], 0] != start:
            slot = (slot + 1) & mask
        row = places[slot]
        if row >= 0:
            first = rows[row, last]
            if first < room.ctypes.data or first >= until:
                source = carray(pointer(first), (length,), dtype=numpy.uint8)
                target = carray(pointer(used), (length,), dtype=numpy.uint8)
                for byte in range(length):
                    target[byte] = source[byte]
                rows[row, last] = first = used
                used += length
            more[again, 0], more[again, 1] = first, given
            again += 1
        else:
            places[slot] = named
            for column in range(last):
                first = starts[0, column] + place * row_lengths[column]
                rows[named, column] = first
                # So many stay near until the kernel runs, and are on their way while Python makes it ready.
                if named * row_lengths[column] < _NEAR:
                    for byte in range(0, min(row_lengths[column], _SOON), _LINE):
                        prefetch(first + byte)
            rows[named, last] = given
            named += 1
    return named


@compiled("int64(int64[:, ::1], int64, int64)", otherwise=lambda *_: _NOT_COMPILED)
def _gathered(rows: Any, length: int, place: int) -> int:
    """Copy what the last of the arrays has in some rows to where they stand one after another; 0.

    Args:
        rows: where each lies in each array.
        length: of a row of the last, in bytes.
        place: where they shall stand.
    """
    for row in range(rows.shape[0]):
        source = carray(pointer(rows[row, rows.shape[1] - 1]), (length,), dtype=numpy.uint8)
        target = carray(pointer(place + row * length), (length,), dtype=numpy.uint8)
        for byte in range(length):
            target[byte] = source[byte]
    return 0


class Found(NamedTuple):
    """Rows of a parameter's arrays, in one step.

    Attributes:
        whole: where the arrays start, and then the gradient's own rows.
        given: how many rows the gradient has.
        named: how many of them are different ones.
        rows: for each of these where it lies in each array; the gradient's, the last, may be a sum. There is more room.
        more: where sums stand, and what is to be added to them, in order; None if nothing is.
        kept: what must live as long.
    """

    whole: Any
    given: int
    named: int
    rows: Any
    more: Any
    kept: Any


class RowTable:
    """The work of kernels on some rows of one parameter, of which each step names others.

    Args:
        shape: of the parameter.
        axes: how many of its axes, the first, name a row.
        stored: the dtypes of its arrays, the gradient's last. 16 bits are added up in float32 and rounded each time.
        lent: as of `Table`.
    """

    partial = True

    __slots__ = (
        "_adding", "_given", "_item", "_lengths", "_lent", "_row_length", "_row_lengths", "_row_size", "_work", "sizes",
    )  # fmt: skip

    def __init__(
        self, shape: tuple[int, ...], axes: int, stored: Sequence[str], lent: Callable[[], Team | None]
    ) -> None:
        self._lent = lent
        self._lengths = numpy.array(shape[:axes], dtype=numpy.int64)
        self._row_size = math.prod(shape[axes:])
        self._item = ITEM_SIZES[stored[-1]]
        self._row_lengths = numpy.array([self._row_size * ITEM_SIZES[each] for each in stored], dtype=numpy.int64)
        self._row_length = int(self._row_lengths[-1])
        self.sizes = numpy.array([math.prod(shape)], dtype=numpy.int64)
        self._given = 0, numpy.zeros(1, dtype=numpy.int64)
        computed = "float32" if stored[-1] in SIXTEEN_BIT else stored[-1]
        self._adding = Kernels(_ADDITION, computed, (stored[-1], stored[-1]))
        self._work: Any = None

    def found(self, starts: Any, count: int, kept: Any) -> Found | None:
        """Where the rows of a step lie; None if this cannot be found out.

        Args:
            starts: where the parameter, its slots, the gradient's rows and its coordinates start, in one row. Those
                along the first axis come first.
            count: how many it has.
            kept: what must live as long.

        Raises:
            IndexError: if it names a row that is not there.
        """
        rows = numpy.empty((count, len(self._row_lengths)), dtype=numpy.int64)
        more = numpy.empty((count, 2), dtype=numpy.int64)
        table = numpy.empty(2 << count.bit_length(), dtype=numpy.int64)
        # As words, so that numbers of any size are aligned.
        room = numpy.empty(count // 2 * self._row_length // 8 + 1, dtype=numpy.int64)
        named = _laid_out.run(self._lengths, starts, self._row_lengths, table, room, rows, more)
        if named == _OUTSIDE:
            raise IndexError("a row is not there")
        if named < 0:
            return None
        again = more[: count - named] if named < count else None
        return Found(starts[:, :-1], count, named, rows, again, (kept, room))

    def nowhere(self, columns: int) -> Any:
        """See `Table.nowhere`."""
        return numpy.full((1, columns), -1, dtype=numpy.int64)

    def lying(self, found: Found) -> tuple[Any, Any]:
        """Where the arrays and the gradient's rows start, and how many elements each of them has."""
        sizes = [[*[int(self.sizes[0])] * (found.whole.shape[1] - 1), found.given * self._row_size]]
        return found.whole, numpy.array(sizes, dtype=numpy.int64)

    def still_apart(self, found: Found, before: Any, written: Intervals) -> bool:
        """Whether the arrays lie as before, and the gradient does not meet what is written."""
        before[0, -1] = -1
        given, sizes = self._given
        if given != found.given:
            given, sizes = found.given, numpy.array([found.given * self._row_size], dtype=numpy.int64)
            # In one piece: another thread may look at the same time.
            self._given = given, sizes
        return bool(still_apart.run(found.whole, before, sizes, self._item, written.starts, written.ends))

    def ready(self, kernels: Kernels, found: Found, scalars: Sequence[Sequence[float]]) -> functools.partial[Any]:
        """A pass over the rows, ready to be made by a call. Where rows are named twice, their sums are made now."""
        self._add_up(found)
        lines = numpy.array(scalars, dtype=numpy.float64)
        count = found.named
        work = self._pieces(count)
        if not is_worth_threads(count * self._row_size):
            return functools.partial(kernels.plain, work, found.rows, lines, _NO_SUMS)

        def shares(threads: int) -> list[Any]:
            bounds = [count * share // threads for share in range(threads + 1)]
            return [work[first:last] for first, last in itertools.pairwise(bounds)]

        return pass_of_threads(kernels, self._lent, shares, found.rows, lines, _NO_SUMS)

    def gathered(self, found: Found, place: int) -> Any | None:
        """The numbers of the rows that a gradient names, in order; its rows are then at a place, one after another.

        Args:
            found: of a table of one array, which starts at 0.
            place: room for them.
        """
        self._add_up(found)
        rows = found.rows[: found.named]
        rows = rows[numpy.argsort(rows[:, 0])]
        done = _gathered.run(rows, self._row_length, place) == 0
        return rows[:, 0] // max(int(self._row_lengths[0]), 1) if done else None

    def _add_up(self, found: Found) -> None:
        if found.more is not None:
            # One after another: some belong to one sum.
            self._adding.plain(self._pieces(len(found.more)), found.more, _NO_SCALARS, _NO_SUMS)

    def _pieces(self, count: int) -> Any:
        """Work on so many rows."""
        work = self._work
        if work is None or len(work) < count:
            work = numpy.zeros((max(count, 64), 4), dtype=numpy.int64)
            work[:, 0] = numpy.arange(len(work))
            work[:, 2] = self._row_size
            self._work = work
        return work[:count]
