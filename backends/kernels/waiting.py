"""A message in the log when compiling takes longer than a second, so that nobody takes it for a program that hangs.

It goes to the logger "gradwise". Where nobody has given that or those above it a handler, Python writes it to stderr.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

_PATIENCE = [1.0]
"""Seconds of waiting that this process may still spend without a word, if any."""


@contextlib.contextmanager
def said_if_long(words: Callable[[], str]) -> Iterator[None]:
    """A context in which a word is said if it, and those before it, take longer than a second; once in a process.

    Args:
        words: gives the sentence. It is called in a thread of its own, while what takes long goes on.
    """
    if not _PATIENCE:
        yield
        return
    started, timer = time.monotonic(), threading.Timer(max(_PATIENCE[0], 0.0), _say, (words,))
    timer.daemon = True  # A process that ends does not wait for it.
    with contextlib.suppress(RuntimeError):  # Where no more threads may be had, nothing is said.
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if _PATIENCE:
            _PATIENCE[:] = [_PATIENCE[0] - (time.monotonic() - started)]


def say_nothing() -> None:
    """From now on no word is said in this process: who waits knows why."""
    _PATIENCE.clear()


def _say(words: Callable[[], str]) -> None:
    if _PATIENCE:
        _PATIENCE.clear()
        logging.getLogger("gradwise").warning(words())
