"""Kernels run over the memory of many parameters in one call, in several threads where that takes less time.

A kernel gets a table of addresses, one row for each parameter, and a list of pieces of work (row, start, stop). It
reads every input of an element, computes, and writes every output, in the order and the precision of the program: no
fused multiply-add, no reassociation, so the bits are those of the same operations on whole arrays.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy

from ..dtypes import ITEM_SIZES
from ..sums import BLOCK, added_in_order
from .intervals import Intervals
from .kernel import Kernels
from .layouts import still_apart
from .threads import thread_count, together

_THREADED_FROM = 100_000
"""Below so many elements, threads only cost."""

_NO_SUMS = numpy.empty((0, 0))


class Team(Protocol):
    """Threads that a library lends."""

    def size(self) -> int:
        """How many there are."""

    def ready(
        self, function: int, shares: Sequence[Any], addresses: Any, scalars: Any, sums: Any, threads: int
    ) -> functools.partial[Any]:
        """A call of C that has all shares done by a function of C, and returns when they are."""


def addresses_of(rows: Sequence[Sequence[int]]) -> Any:
    """For each parameter, where each of its arrays starts, as kernels take it."""
    return numpy.array(rows, dtype=numpy.int64)


def before_gradients(tables: Sequence[Any]) -> Any:
    """Addresses of the arrays of several parameters in one table, with those of gradients at which nothing can lie."""
    both = numpy.concatenate(tables)
    both[:, -1] = -1
    return both


class Table:
    """The work of kernels on the arrays of some parameters. Where these lie is told in every pass.

    Args:
        sizes: for each parameter, how many elements it has.
        gradients: their dtype.
        lent: asked for threads of the arrays' own library in every pass: a forked process has none.
    """

    partial = False
    """Whether it stands for a part of a parameter's elements."""

    __slots__ = ("_shares", "gradients", "lent", "sizes", "total", "work")

    def __init__(self, sizes: Sequence[int], gradients: str, lent: Callable[[], Team | None]) -> None:
        self.lent = lent
        self.sizes = numpy.array(sizes, dtype=numpy.int64)
        self.gradients = gradients
        self.total = int(self.sizes.sum())
        # Which row of addresses, from which element to which, and which block of the whole the first one is in.
        blocks = -(-self.sizes // BLOCK)
        self.work = numpy.zeros((len(self.sizes), 4), dtype=numpy.int64)
        self.work[:, 0] = numpy.arange(len(self.sizes))
        self.work[:, 2] = self.sizes
        self.work[:, 3] = blocks.cumsum() - blocks
        self._shares: dict[bool, list[Any]] = {}

    def nowhere(self, columns: int) -> Any:
        """Addresses of so many arrays for each parameter, at which nothing can lie."""
        return numpy.full((len(self.sizes), columns), -1, dtype=numpy.int64)

    def lying(self, addresses: Any) -> tuple[Any, Any]:
        """Addresses as a look gave them, and a column of how many elements each parameter has."""
        return addresses, self.sizes[:, None]

    def still_apart(self, addresses: Any, before: Any, written: Intervals) -> bool:
        """Whether memory lies as before and gradients do not meet what is written; these are then put into `before`."""
        size = ITEM_SIZES[self.gradients]
        return bool(still_apart.run(addresses, before, self.sizes, size, written.starts, written.ends))

    def ready(
        self, kernels: Kernels, addresses: Any, scalars: Sequence[Sequence[float]], sums: Any = _NO_SUMS
    ) -> functools.partial[Any]:
        """A pass, ready to be made by a call, which returns when all is written.

        Args:
            kernels: of a program that writes, or of one that reads.
            addresses: for each parameter, where each of its arrays starts in this step; the gradient's is the last.
            scalars: one line for all parameters, or one for each.
            sums: are filled by what reads, for each block of elements.
        """
        lines = numpy.array(scalars, dtype=numpy.float64)
        if self.total < _THREADED_FROM:
            return functools.partial(kernels.plain, self.work, addresses, lines, sums)
        shares = functools.partial(self._in_shares, whole_blocks=sums is not _NO_SUMS)
        return pass_of_threads(kernels, self.lent, shares, addresses, lines, sums)

    def read(self, kernels: Kernels, addresses: Any, scalars: Sequence[Sequence[float]]) -> list[list[float]]:
        """Run a program that reads; for each parameter its sums.

        Args:
            kernels: of a program with reductions and without outputs.
            addresses: as for `ready`.
            scalars: one line for all parameters, or one for each.
        """
        sums = numpy.empty((int((-(-self.sizes // BLOCK)).sum()), len(kernels.program.reductions)))
        self.ready(kernels, addresses, scalars, sums)()
        blocks = sums.tolist()
        if len(blocks) == len(self.sizes) and self.sizes.all():
            return blocks
        bounds = [*self.work[:, 3].tolist(), len(blocks)]
        none = [0.0] * len(kernels.program.reductions)
        return [
            blocks[first]
            if end - first == 1
            else list(map(added_in_order, zip(*blocks[first:end], strict=True))) or none
            for first, end in itertools.pairwise(bounds)
        ]

    def _in_shares(self, threads: int, *, whole_blocks: bool) -> list[Any]:
        """The work in as many shares as there are threads worth starting for it."""
        shares = self._shares.get(whole_blocks)
        if shares is None or len(shares) != threads:
            shares = split(self.work, threads, BLOCK if whole_blocks else 1) if threads > 1 else [self.work]
            self._shares[whole_blocks] = shares
        return shares


def is_worth_threads(elements: int) -> bool:
    """Whether a pass over so many elements takes less time in several threads."""
    return elements >= _THREADED_FROM


def pass_of_threads(
    kernels: Kernels, lent: Callable[[], Team | None], shares_of: Callable[[int], list[Any]],
    addresses: Any, lines: Any, sums: Any,
) -> functools.partial[Any]:  # fmt: skip
    """A pass, ready to be made by a call, in several threads if there are.

    Args:
        kernels: what runs.
        lent: as of `Table`.
        shares_of: the work in about so many shares.
        addresses: for each row of the work, where its arrays start.
        lines: the scalars: one line for all, or one for each row.
        sums: are filled by what reads.
    """
    team = lent()
    threads = thread_count() if team is None else team.size()
    shares = shares_of(threads)
    if threads == 1:
        return functools.partial(kernels.plain, shares[0], addresses, lines, sums)
    if team is not None and (function := kernels.team) is not None:
        return team.ready(function, shares, addresses, lines, sums, threads)
    kernel = kernels.plain
    return functools.partial(together, [functools.partial(kernel, share, addresses, lines, sums) for share in shares])


def share_out(task: Callable[[int, int], None], count: int, elements: int) -> None:
    """Run `task(first, last)` over 0..count in as many threads as so many elements are worth."""
    threads = min(thread_count(), count) if elements >= _THREADED_FROM else 1
    bounds = [count * share // max(threads, 1) for share in range(threads + 1)]
    together([lambda low=low, high=high: task(low, high) for low, high in itertools.pairwise(bounds)])  # type: ignore[misc]


def split(work: Any, shares: int, step: int = 1) -> list[Any]:
    """The pieces of work cut into shares of about equal numbers of elements, between multiples of `step` elements."""
    lengths = -(-(work[:, 2] - work[:, 1]) // step)
    ends = lengths.cumsum()
    starts, total = ends - lengths, int(lengths.sum())
    bounds = [total * share // shares for share in range(shares + 1)]
    result = []
    for low, high in itertools.pairwise(bounds):
        first, last = (low - starts).clip(min=0), numpy.minimum(high - starts, lengths)
        own = first < last
        pieces = work[own]
        begin = pieces[:, 1] + first[own] * step
        pieces[:, 2] = numpy.minimum(pieces[:, 1] + last[own] * step, pieces[:, 2])
        pieces[:, 1] = begin
        pieces[:, 3] += begin // BLOCK
        result.append(pieces)
    return result
