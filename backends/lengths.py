"""Whether somebody asks how long the axes of arrays are, for whoever lets a rule compute with pieces of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Lengths(threading.local):
    """What this thread knows.

    Attributes:
        watched: whether anybody wants to know.
        asked: whether they were asked for since somebody does.
        asked_axes: whether it was asked how many axes there are.
    """

    watched = False
    asked = False
    asked_axes = False


ASKED_LENGTHS = _Lengths()


@contextlib.contextmanager
def lengths_watched() -> Iterator[_Lengths]:
    """A context that tells whether this thread asks for lengths in it."""
    before = ASKED_LENGTHS.watched, ASKED_LENGTHS.asked, ASKED_LENGTHS.asked_axes
    ASKED_LENGTHS.watched, ASKED_LENGTHS.asked, ASKED_LENGTHS.asked_axes = True, False, False
    try:
        yield ASKED_LENGTHS
    finally:
        ASKED_LENGTHS.watched, ASKED_LENGTHS.asked, ASKED_LENGTHS.asked_axes = before
