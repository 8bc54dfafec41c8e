"""Whether this machine is ours alone: what other processes use of its processors."""

from __future__ import annotations

import os
import time
from pathlib import Path

QUIET = 0.1
"""Others may use so much of one processor before a measurement counts as disturbed."""
_LOOK = 0.3
"""Seconds of one look at the machine."""
_PROC = Path("/proc")


class Watch:
    """Watches the processors from its making on."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), _all_seconds(), _own_seconds()

    def elapsed(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._start[0]

    def others(self) -> float | None:
        """How many processors other processes (and other machines on the same hardware) kept busy in the mean.

        Returns:
            None where the system does not tell.
        """
        now = time.perf_counter(), _all_seconds(), _own_seconds()
        elapsed, everyone, own = (b - a for a, b in zip(self._start, now, strict=True))
        return max(everyone - own, 0.0) / elapsed if now[1] else None

    def disturbed(self) -> bool:
        """Whether others used more than a little. False where nobody knows."""
        return (self.others() or 0.0) > QUIET


class Patience:
    """How much longer a run may wait for a quiet machine.

    Args:
        seconds: in all.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def lasts(self) -> bool:
        return time.monotonic() < self._end

    def wait_for_quiet(self) -> None:
        """Return when others leave the machine alone, or when patience is at its end."""
        while self.lasts():
            watch = Watch()
            time.sleep(_LOOK)
            if not watch.disturbed():
                return


def _all_seconds() -> float:
    """Processor time of all processes."""
    try:
        line = (_PROC / "stat").read_text().splitlines()[0]
    except FileNotFoundError:
        return 0.0
    user, nice, system, _, _, interrupts, soft_interrupts, steal = map(int, line.split()[1:9])
    return (user + nice + system + interrupts + soft_interrupts + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Processor time of this process and its children, living and ended."""
    total = sum(os.times()[:4])
    for children in _PROC.glob("self/task/*/children"):
        for child in children.read_text().split():
            try:
                fields = (_PROC / child / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total
