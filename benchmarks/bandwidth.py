"""How fast the machine copies memory."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy


class Copy:
    """A copy of memory by all processors, which takes turns like a contestant.

    Args:
        count: float32 numbers to copy. Source and target should be as large as what the contestants touch, so that
            caches help both alike.
    """

    def __init__(self, count: int) -> None:
        self._source, self._target = numpy.ones(count, numpy.float32), numpy.zeros(count, numpy.float32)
        threads = processors()
        self._cuts = [count * share // threads for share in range(threads + 1)]
        self._pool = ThreadPoolExecutor(threads)

    def turn(self, steps: int, renew: bool = False) -> float:
        """Seconds for a byte that is read or written, in the faster of two ways."""
        return min(_seconds(self._with_numpy), _seconds(self._with_torch)) / (2 * self._source.nbytes)

    def clear(self) -> None:
        self._pool.shutdown()
        del self._source, self._target

    def _with_numpy(self) -> None:
        def copy(cuts: tuple[int, int]) -> None:
            part = slice(*cuts)
            numpy.copyto(self._target[part], self._source[part])

        list(self._pool.map(copy, itertools.pairwise(self._cuts)))

    def _with_torch(self) -> None:
        import torch

        torch.from_numpy(self._target).copy_(torch.from_numpy(self._source))


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
