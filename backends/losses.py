"""Warnings, each once, that something which makes steps faster cannot be had: they go on without it."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# Functools, because what is compiled is a cached property.
_INSIDE = ("gradwise", "numba", "functools")
_SAID: set[Hashable] = set()


class _Kept(threading.local):
    sentences: list[str] | None = None


_KEPT = _Kept()
"""Takes what is to be said on a thread that works for another one."""


class PerformanceWarning(UserWarning):
    """Results are right, but slower than they could be; the message says why and what helps."""


def warn_once(cause: Hashable, sentence: str) -> None:
    """Warn, unless this process has been warned of that cause.

    Args:
        cause: what tells it from other causes.
        sentence: what was lost, and what to do.
    """
    if cause not in _SAID:
        # Before the warning, which may be made an exception.
        _SAID.add(cause)
        warn(sentence)


def warn(sentence: str, kind: type[Warning] = PerformanceWarning) -> None:
    """Warn as of the line that called this package, directly or while Numba compiled for it."""
    if _KEPT.sentences is not None:
        _KEPT.sentences.append(sentence)
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, kind, stacklevel=level)


def kept_back(
    sentences: list[str], function: Callable[_Arguments, _Result], *arguments: _Arguments.args,
    **keywords: _Arguments.kwargs,
) -> _Result:  # fmt: skip
    """What a function gives on a thread that works for another one, which shall say what is to be said.

    Args:
        sentences: takes that.
        function, arguments, keywords: the call.
    """
    _KEPT.sentences = sentences
    try:
        return function(*arguments, **keywords)
    finally:
        _KEPT.sentences = None


def owner_unknown(name: str, owner: str) -> str:
    """Warn of memory of an owner that cannot be asked, once for each kind; why no pass takes it.

    Args:
        name: of what lies there.
        owner: in a word or two.
    """
    reason = f"{name!r} lies in memory of {owner}, which cannot be asked whether it still has it"
    advice = "numpy.asarray(tensor) instead of numpy.from_dlpack(tensor), or a copy, has an owner that can"
    warn_once(("owner", owner), f"{reason}: its steps are made by whole arrays, several times slower; {advice}.")
    return f"{reason}: {advice}"
