"""Threads for compiled passes, which may be interrupted at any moment.

A signal may raise in the main thread between any two bytecodes, also inside of the standard library's pools, which are
written in Python: a lock that was just taken then stays taken for ever. So only what is one step of C is used here: a
queue, and locks that nobody holds across other code. A job is claimed by whoever takes it first, the thread that gave
it included; so it does not matter how much of the giving was done when an interruption came.
"""

from __future__ import annotations

import _thread
import os
import queue
from collections.abc import Callable

from ..losses import warn_once

_FEWER = "it takes longer; GRADWISE_NUM_THREADS=1 asks for none"


class _Job:
    """A task for a worker, or for the thread that gave it, whichever comes first.

    Only workers, which no signal interrupts, say that they have begun and finished; the giver says that it gives up.
    """

    __slots__ = ("_begun", "_claimed", "_done", "_error", "_finished", "_given_up", "_task")

    def __init__(self, task: Callable[[], None]) -> None:
        self._task = task
        self._claimed, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._done.acquire()
        self._begun = self._finished = self._given_up = False
        self._error: BaseException | None = None

    def work(self) -> None:
        """Do it in a worker, unless the giver has begun or given up."""
        if not self._claimed.acquire(blocking=False):
            return
        self._begun = True
        try:
            if not self._given_up:
                self._task()
        except BaseException as error:
            self._error = error
        finally:
            self._finished = True
            self._done.release()

    def finish(self) -> None:
        """Do it in the giver, or wait for the worker that has begun.

        Raises:
            What the task raises.
        """
        if self._claimed.acquire(blocking=False):
            self._task()
            return
        self._wait()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Return when no worker does it or will do it."""
        self._given_up = True
        if self._begun:
            self._wait()

    def _wait(self) -> None:
        # The lock only wakes this thread up: an interruption may come just after it was taken.
        while not self._finished:
            self._done.acquire(timeout=0.1)


_QUEUES: list[queue.SimpleQueue[_Job]] = [queue.SimpleQueue()]
_WORKERS: list[int] = []


def together(tasks: list[Callable[[], None]]) -> None:
    """Run all tasks at once, the first in this thread; return when the last has ended."""
    jobs = [_Job(task) for task in tasks[1:]]
    try:
        while len(_WORKERS) < len(jobs):
            _WORKERS.append(_thread.start_new_thread(_work, (_QUEUES[0],)))
    except RuntimeError as error:
        # Where no more threads may be had, this one does what is left over.
        warn_once("threads", f"A pass has fewer threads than processors ({error}): {_FEWER}.")
    try:
        for job in jobs:
            _QUEUES[0].put(job)
        tasks[0]()
        for job in jobs:
            job.finish()
    finally:
        # Memory may not be let go, nor an interruption pass on, while another thread still writes.
        _give_up(jobs)


def _give_up(jobs: list[_Job]) -> None:
    interruption: BaseException | None = None
    remaining = list(jobs)
    while remaining:
        try:
            remaining[-1].give_up()
            remaining.pop()
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _work(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        jobs.get().work()


def thread_count() -> int:
    """How many threads share one pass: the processors this process may use, at most 8, or GRADWISE_NUM_THREADS."""
    return asked_threads() or min(
        8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def asked_threads() -> int | None:
    """GRADWISE_NUM_THREADS, or None where it says nothing."""
    asked = os.environ.get("GRADWISE_NUM_THREADS")
    if not asked:
        return None
    try:
        return max(1, int(asked))
    except ValueError:
        warn_once("asked threads", f"GRADWISE_NUM_THREADS={asked!r} is no whole number and counts as not set.")
        return None


def _after_fork() -> None:
    # Threads do not survive a fork, and one of them may have held the queue's lock.
    _WORKERS.clear()
    _QUEUES[0] = queue.SimpleQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
