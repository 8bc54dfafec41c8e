"""Steps in two halves: all that may fail, and what only writes.

Whatever a step finds out, refuses or computes, it does in its first half. The second half of one step, or of several
that shall be made together or not at all, comes in one go, and with it what has to be written beside the arrays, such
as the counts that a framework keeps: an interruption finds all of it before or all of it after the step.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...backends import Backend, Scope, Variable, commit
from ...backends.interruptions import Undisturbed, one_after_another

Later: TypeAlias = Callable[[Callable[[], None]], None]
"""Takes what writes in a step, to be called when all that may fail has been done."""
Run: TypeAlias = Callable[[Later], None]
"""Makes the updates of a step, but for what writes."""
Beside: TypeAlias = Callable[[dict[int, Any]], Iterable["partial[Any]"]]
"""Given the numbers after a step, by the identities of cells, where these do not hold them yet: what else writes."""


class Prepared(Protocol):
    """The second half of a step."""

    def write(self) -> None:
        """Make it, where handlers of signals wait already."""


class InCalls(NamedTuple):
    """The second half of a step as calls of C.

    Attributes:
        backend: of the arrays.
        written: what will be written, for those who look whether arrays have changed.
        calls: change the arrays.
        cells: numbers that change.
        after: what they will be.
        kept: what must live until then: of memory the calls know only where it lies.
    """

    backend: Backend
    written: list[Any]
    calls: list[partial[Any]]
    cells: Sequence[Variable]
    after: list[Any]
    kept: Any

    def make(self, beside: Sequence[partial[Any]] = ()) -> None:
        """Make it, undisturbed by signals.

        Args:
            beside: calls of C that are made too.
        """
        # Those beside come before passes over memory, in which other threads may run: of it nothing was looked at but
        # now.
        calls = [*beside, *self.calls, partial(deque, map(setattr, self.cells, repeat("array"), self.after), 0)]
        # Before they are: an interruption may come after the calls, but not between them.
        self.backend.wrote(self.written)
        one_after_another(calls)

    def write(self) -> None:
        """See `Prepared`."""
        self.make()


class InScope(NamedTuple):
    """The second half of a step as pieces that run in the scopes of the first.

    Attributes:
        scope: holds the numbers that change.
        pieces: what writes.
        contexts: give what the pieces run in.
        finish: what is left to do when all is written.
    """

    scope: Scope
    pieces: list[Callable[[], None]]
    contexts: list[Callable[[], contextlib.AbstractContextManager[Any]]]
    finish: Callable[[], None]

    def make(self) -> None:
        """Make it, undisturbed by signals."""
        with Undisturbed() as guard:
            guard.hold()
            self.write()

    def write(self) -> None:
        """See `Prepared`."""
        with contextlib.ExitStack() as stack:
            for context in self.contexts:
                stack.enter_context(context())
            with self.scope:
                for piece in self.pieces:
                    piece()
            commit(self.scope)
            self.finish()


class Alone(NamedTuple):
    """The second half of a step as a function."""

    function: Callable[[], None]

    def write(self) -> None:
        """See `Prepared`."""
        self.function()


def make(steps: Sequence[Prepared], beside: Sequence[Beside]) -> None:
    """Make several steps, with what is written beside them."""
    in_calls = [step for step in steps if isinstance(step, InCalls)]
    if len(in_calls) == len(steps) > 0:
        one = _joined(in_calls)
        after = dict(zip(map(id, one.cells), one.after, strict=True))
        one.make([call for each in beside for call in each(after)])
        return
    with Undisturbed() as guard:
        guard.hold()
        for step in steps:
            step.write()
        for each in beside:
            for call in each({}):
                call()


def _joined(steps: Sequence[InCalls]) -> InCalls:
    """Several steps as one."""
    if len(steps) == 1:
        return steps[0]
    written, calls, cells, after = (
        [each for step in steps for each in column(step)]
        for column in map(attrgetter, ("written", "calls", "cells", "after"))
    )
    return InCalls(steps[0].backend, written, calls, cells, after, steps)


def nothing_later(later: Later) -> None:
    """What is left to do where nothing is."""


def at_once(write: Callable[[], None]) -> None:
    """What writes need not wait."""
    write()
