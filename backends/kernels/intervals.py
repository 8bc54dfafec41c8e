"""Pieces of memory, and whether those that a step writes lie apart from each other and from all else that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy

from ..dtypes import ITEM_SIZES

Lying: TypeAlias = tuple[Any, Any, Sequence[str], bool]
"""Where the arrays of the parameters of one kernel lie: see `written_apart`."""


class Intervals:
    """Pieces of memory that lie apart from each other, in order.

    Args:
        starts: the address where each starts.
        ends: the one where it has ended.
    """

    __slots__ = ("ends", "starts")

    def __init__(self, starts: Any, ends: Any) -> None:
        self.starts = starts
        self.ends = ends


def joined(several: Sequence[Intervals]) -> Intervals | None:
    """The pieces of all of them; None if they do not lie apart."""
    if len(several) == 1:
        return several[0]
    starts = numpy.concatenate([each.starts for each in several])
    ends = numpy.concatenate([each.ends for each in several])
    order = starts.argsort(kind="stable")
    starts, ends = starts[order], ends[order]
    return None if (ends[:-1] > starts[1:]).any() else Intervals(starts, ends)


def written_apart(parts: Sequence[Lying]) -> Intervals | None:
    """The memory of parameters and their slots; None if a kernel may not write to it.

    That is so if it is not aligned, or one piece meets another, or a gradient meets one. A whole gradient may be one of
    its parameter's own arrays: each element is read before it is written.

    Args:
        parts: for each kernel the addresses, a row for each parameter, the gradient's is the last; how many elements
            each parameter has, or each of its arrays; the dtypes in which the arrays of each and its gradient are
            stored; and whether gradients are whole.
    """
    starts, ends, of_gradients = [], [], []
    for addresses, sizes, stored, whole in parts:
        items = numpy.array([ITEM_SIZES[dtype] for dtype in stored], dtype=numpy.int64)
        lengths = sizes * items
        there = lengths > 0
        if (there & ((addresses == 0) | (addresses % items != 0))).any():
            return None
        until = addresses + lengths
        starts.append(addresses[:, :-1][there[:, :-1]])
        ends.append(until[:, :-1][there[:, :-1]])
        own = whole & (addresses[:, :-1] == addresses[:, -1:]) & (until[:, :-1] == until[:, -1:])
        apart = there[:, -1] & ~own.any(axis=1)
        of_gradients.append((addresses[apart, -1], until[apart, -1]))
    first, last = numpy.concatenate(starts), numpy.concatenate(ends)
    order = first.argsort(kind="stable")
    first, last = first[order], last[order]
    if (last[:-1] > first[1:]).any():
        return None
    memory = Intervals(first, last)
    return None if any(_meet(memory, start, end) for start, end in of_gradients) else memory


def _meet(memory: Intervals, starts: Any, ends: Any) -> bool:
    """Whether pieces between some addresses, which are not empty, meet memory."""
    # The first piece that ends behind where each starts.
    following = memory.ends.searchsorted(starts, side="right")
    inside = following < len(memory.starts)
    return bool((memory.starts[following[inside]] < ends[inside]).any())


def written_beside(memory: Intervals, known: Sequence[Lying], further: Sequence[Lying]) -> Intervals | None:
    """As `written_apart`, where all but what is written further has been looked at and lies where it did.

    Args:
        memory: of the parameters and their slots that are known.
        known: for each kernel that writes to it what `written_apart` takes.
        further: likewise for the others.
    """
    beside = written_apart(further)
    if beside is None:
        return None
    for pieces, parts in ((beside, known), (memory, further)):
        for addresses, sizes, stored, _ in parts:
            starts, lengths = addresses[:, -1], sizes[:, -1] * ITEM_SIZES[stored[-1]]
            there = lengths > 0
            if _meet(pieces, starts[there], (starts + lengths)[there]):
                return None
    return joined([memory, beside])
