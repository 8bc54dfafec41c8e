"""Steps that are interrupted, as by Ctrl-C, at each of gradwise's own lines in turn."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradwise
from gradwise import backends, frontends, optimizers

_ROOMS = tuple(str(Path(room.__file__).parent) for room in (gradwise, backends, frontends, optimizers))


class _Tracer:
    """Lets a signal arrive at one of gradwise's lines."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_ROOMS):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                # Its handler runs in here, and raises; or waits, where handlers have to.
                signal.raise_signal(signal.SIGUSR1)
        return self


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def interrupted_at_each_line(
    make: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]], between: int = 3, stride: int = 1
) -> int:
    """Interrupt steps, until one has fewer lines than that at which it would be; how many there were.

    Args:
        make: gives a function that makes a step, and one that gives all that steps change; two that are alike follow
            each other.
        between: steps that nothing interrupts, so that most are like the last ones.
        stride: from one of the lines to the next.

    Raises:
        AssertionError: if after an interruption there is something else than before or after the step.
    """
    (step, state), (follow, followed) = make(), make()
    before = signal.signal(signal.SIGUSR1, _interrupt)
    line = 1
    try:
        while True:
            for _ in range(between):
                step()
                follow()
            kept, tracer = followed(), _Tracer(line)
            assert state() == kept, line
            outer = sys.gettrace()
            sys.settrace(tracer)
            try:
                step()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(outer)
            now = state()
            if now != kept:
                follow()
                assert now == followed(), f"at odds after an interruption at line {line}"
            if tracer.left > 0:
                return line
            line += stride
    finally:
        signal.signal(signal.SIGUSR1, before)
