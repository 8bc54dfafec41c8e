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
    """

    watched = False
    asked = False


ASKED_LENGTHS = _Lengths()


@contextlib.contextmanager
def lengths_watched() -> Iterator[_Lengths]:
    """A context that tells whether this thread asks for lengths in it."""
    before = ASKED_LENGTHS.watched, ASKED_LENGTHS.asked
    ASKED_LENGTHS.watched, ASKED_LENGTHS.asked = True, False
    try:
        yield ASKED_LENGTHS
    finally:
        ASKED_LENGTHS.watched, ASKED_LENGTHS.asked = before
