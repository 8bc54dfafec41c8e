"""A call in a thread of its own, for which the caller waits: what libraries keep for a thread does not reach it.

What a caller sees is as if the call were its own. Context variables are the caller's, such as what NumPy says of
infinite numbers, and a warning of this package is given by the caller: its line is found on the caller's stack, and
where warnings are errors it is the caller who gets one.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from .losses import kept_back, warn

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_own_thread(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function that is called in a thread of its own."""

    @functools.wraps(function)
    def called(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        kept: list[str] = []
        context = contextvars.copy_context()

        def work() -> _Result:
            return kept_back(kept, function, *arguments, **keywords)

        try:
            with ThreadPoolExecutor(1) as thread:
                result = thread.submit(context.run, work).result()
        except BaseException:
            # Where warnings are errors none of them is raised in its place.
            for sentence in kept:
                with contextlib.suppress(Warning):
                    warn(sentence)
            raise
        for sentence in kept:
            warn(sentence)
        return result

    return called
