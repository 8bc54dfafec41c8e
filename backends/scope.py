"""Scopes: what variables hold while an update rule runs.

A `Variable` is a cell. Outside of every scope it holds its own array. Inside a scope it may hold something else: the
arrays of a functional step, JAX tracers, float32 copies of 16-bit arrays. A read takes the value of the innermost
scope that holds the cell, and a write goes there too, so the array behind a cell changes only when a scope is left
in good order. Scopes belong to a thread, and cells are found by identity.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from .base import Backend

_Kind = TypeVar("_Kind", bound="Scope")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.modes: list[tuple[Callable[[Any], Any], Any]] = []


_STACK = _Stack()


class Cell(Protocol):
    """What holds an array. Scopes know it by its identity, and ask for its library and what errors call it."""

    @property
    def backend(self) -> Backend:
        """The library of its array."""

    @property
    def name(self) -> str:
        """What errors call it."""


class Scope:
    """Holds values for cells on the current thread, from `with` until its end.

    Args:
        values: pairs of a cell and what it holds inside.
    """

    __slots__ = ("_cells", "_values", "written")

    def __init__(self, values: Iterable[tuple[Cell, Any]] = ()) -> None:
        # The cell is kept beside its value: an identity is unique only while the object lives.
        self._cells: dict[int, Cell] = {}
        self._values: dict[int, Any] = {}
        self.written: set[int] = set()
        for cell, value in values:
            self.hold(cell, value)

    def hold(self, cell: Cell, value: Any) -> None:
        """Let `cell` hold `value` in this scope, without counting as a write."""
        self._cells[id(cell)] = cell
        self._values[id(cell)] = value

    def holds(self, cell: Cell) -> bool:
        """Whether this scope holds the cell."""
        return id(cell) in self._values

    def get(self, cell: Cell) -> Any:
        """What the cell holds in this scope."""
        return self._values[id(cell)]

    def set(self, cell: Cell, value: Any) -> None:
        """Write what the cell holds in this scope."""
        self._values[id(cell)] = value
        self.written.add(id(cell))

    def writes(self) -> Iterator[tuple[Any, Any]]:
        """The cells that were written in this scope, with what they hold now."""
        for key, cell in self._cells.items():
            if key in self.written:
                yield cell, self._values[key]

    def cells(self) -> list[Any]:
        """The cells this scope holds."""
        return list(self._cells.values())

    @property
    def conceals(self) -> bool:
        """Whether cells that it holds, and outer scopes may hold too, are none of what runs inside."""
        return False

    def __enter__(self) -> Scope:
        _STACK.scopes.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _STACK.scopes.remove(self)


class Mode:
    """A context in which a library computes in another mode.

    Args:
        read: gives the mode.
        change: changes it.
        mode: in here.
    """

    __slots__ = ("_change", "_mode", "_read")

    def __init__(self, read: Callable[[], Any], change: Callable[[Any], Any], mode: Any) -> None:
        self._read, self._change, self._mode = read, change, mode

    def __enter__(self) -> None:
        # First, so that it is known what to go back to wherever an interruption comes.
        _STACK.modes.append((self._change, self._read()))
        self._change(self._mode)

    def __exit__(self, *_: object) -> None:
        change, before = _STACK.modes[-1]
        change(before)
        _STACK.modes.pop()


class StepScope(Scope):
    """The scope of a whole functional step, or of one branch in it.

    Args:
        values: pairs of a cell and what it holds inside.
        level: the library's level of transformation.

    Attributes:
        computed: what was computed from traced scalars, with these. See `once`.
    """

    __slots__ = ("computed", "level")

    def __init__(self, values: Iterable[tuple[Cell, Any]] = (), level: Any = None) -> None:
        super().__init__(values)
        self.level = level
        self.computed: dict[Any, tuple[Any, Any]] = {}


class _Later(NamedTuple):
    make: Callable[[], Any]


class BuildScope(Scope):
    """A scope in which new cells keep their initial value here and own no array themselves.

    Steps need the cells only, so what is not asked for is not made.
    """

    __slots__ = ()

    def hold_later(self, cell: Cell, make: Callable[[], Any]) -> None:
        """Let `cell` hold what `make` will give."""
        self.hold(cell, _Later(make))

    def get(self, cell: Cell) -> Any:
        """What the cell holds in this scope, made now at the latest."""
        value = super().get(cell)
        if not isinstance(value, _Later):
            return value
        made = value.make()
        # Made inside a transformation of the rule's own, it may not leave that.
        if not cell.backend.traced(made):
            self.hold(cell, made)
        return made


def scope_holding(cell: Cell) -> Scope | None:
    """The innermost scope of this thread that holds the cell, or None."""
    key = id(cell)
    for scope in reversed(_STACK.scopes):
        if key in scope._values:
            return scope
    return None


def leaves_scopes(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function that, when it raises, has left all scopes and modes that it entered.

    An interruption may come when one is about to be left, and keep it from that. All later calls would find what it
    holds. So what a user calls is decorated with this wherever it enters any.
    """

    @functools.wraps(function)
    def leaving(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        scopes, modes = _STACK.scopes, _STACK.modes
        before, modes_before = len(scopes), len(modes)
        try:
            return function(*arguments, **keywords)
        except BaseException:
            del scopes[before:]
            while len(modes) > modes_before:
                change, mode = modes[-1]
                change(mode)
                modes.pop()
            raise

    return leaving


def any_scope() -> bool:
    """Whether this thread is inside of a scope."""
    return bool(_STACK.scopes)


def is_written(cell: Cell) -> bool:
    """Whether the cell was written in a scope of this thread that still runs."""
    key = id(cell)
    return any(key in scope.written for scope in _STACK.scopes)


def build_scope() -> BuildScope | None:
    """The innermost build scope of this thread, or None."""
    return _innermost(BuildScope)


def innermost_step() -> StepScope | None:
    """The innermost functional step of this thread, or None."""
    return _innermost(StepScope)


def _innermost(kind: type[_Kind]) -> _Kind | None:
    if not _STACK.scopes:
        return None
    return next((scope for scope in reversed(_STACK.scopes) if isinstance(scope, kind)), None)


def held_cells() -> list[Any]:
    """Every cell that some scope of this thread holds and none inside of it conceals, outermost first, each once."""
    found: dict[int, Any] = {}
    for scope in _STACK.scopes:
        if scope.conceals:
            for cell in scope.cells():
                found.pop(id(cell), None)
        else:
            found.update((id(cell), cell) for cell in scope.cells())
    return list(found.values())


def run_in_branch(
    function: Callable[[], Any], cells: list[Any], values: Iterable[Any], level: Any
) -> tuple[Any, list[Any], set[int]]:
    """Run `function` with `cells` holding `values`: its result, what the cells hold then, and which were written."""
    # What is computed from the branch's own scalars may not outlive it.
    with StepScope(zip(cells, values, strict=True), level) as scope:
        result = function()
    return result, [scope.get(cell) for cell in cells], scope.written
