"""Interruptions in the middle of what has to be done whole.

A signal's handler runs in the main thread, between two steps of Python code, and may raise there: that of Ctrl-C does.
So arrays that are written in several steps of Python code would stay half written. What is one step of C cannot be
interrupted: see `one_after_another`. For all else handlers are put off: see `Undisturbed`.
"""

from __future__ import annotations

import collections
import functools
import operator
import signal
import threading
import types
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

# The functions of C that those of the module call, which take ten times as long for the sake of nicer numbers.
_handler_of = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_set_handler = getattr(signal.signal, "__wrapped__", signal.signal)
_SIGNALS = tuple(map(int, signal.valid_signals()))


_PYTHON = frozenset((types.FunctionType, types.MethodType))


def one_after_another(calls: Sequence[functools.partial[Any]]) -> None:
    """Make calls between which no handler of a signal runs: if all are of C, in one step of C."""
    for call in calls:
        if type(call.func) in _PYTHON:
            break
    else:
        collections.deque(map(operator.call, calls), 0)
        return
    with Undisturbed() as guard:
        guard.hold()
        collections.deque(map(operator.call, calls), 0)


class Undisturbed:
    """A context in which, once it is told to `hold`, the handlers of signals wait for its end.

    What would wait for the user's own code, which may never end, must come before.
    """

    __slots__ = ("_before", "_noted")

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._noted: list[tuple[int, FrameType | None]] = []

    def hold(self) -> None:
        """From now on handlers wait. Only in the main thread are there any to wait."""
        if self._before or threading.get_ident() != threading.main_thread().ident:
            return
        try:
            for number in _SIGNALS:
                handler = _handler_of(number)
                if callable(handler):
                    self._before[number] = handler
                    _set_handler(number, self._note)
        except ValueError:
            # In a subinterpreter there are no handlers.
            self._before.clear()
        except BaseException:
            self._restore()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append((number, frame))

    def _restore(self) -> None:
        interruption: BaseException | None = None
        while self._before:
            try:
                for number, handler in list(self._before.items()):
                    _set_handler(number, handler)
                    self._before.pop(number, None)
            except BaseException as error:
                # Of a handler that is back already: the others have to come back too.
                interruption = error
        if interruption is not None:
            raise interruption

    def __enter__(self) -> Undisturbed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._before:
            return
        handlers = dict(self._before)
        self._restore()
        interruption: BaseException | None = None
        for number, frame in self._noted:
            try:
                handlers[number](number, frame)
            except BaseException as error:
                # The others have to be told, too.
                interruption = interruption or error
        if interruption is not None:
            raise interruption
