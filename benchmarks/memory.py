"""The peak of a process's memory."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

from contestant import Contestant
from shapes import Shape

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of_steps(contestant: Contestant, shapes: list[Shape]) -> int | None:
    """The most memory that arrays took during three steps, the first of which makes the slots, in bytes.

    What code, compilers and caches need is left out: the contestant must have run on these shapes before.

    Returns:
        None where a process cannot learn the high-water mark of its memory.
    """
    if not os.access(_RESET, os.W_OK):
        return None
    contestant.clear()
    _give_back()
    before = _bytes("VmRSS")
    contestant.fill(shapes)
    _give_back()
    _RESET.write_text("5")  # the mark starts anew
    contestant.turn(3)
    return _bytes("VmHWM") - before


def _bytes(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _give_back() -> None:
    """What was freed goes back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
