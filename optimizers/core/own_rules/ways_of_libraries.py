"""The ways to run an optimizer on arrays of each library: in place, and as pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ....backends import SIXTEEN_BIT, Backend, Variable, trials, value_of
from ..functional import FunctionalOptimizer
from ..fused.report import NotRecorded
from ..imperative import ImperativeOptimizer
from .problem import Problem
from .ways import Loop, Recorded, Way

_FEW = 3
"""So many names are listed in a row of the report."""


class InPlace(NamedTuple):
    """On arrays that change in place, or on Variables.

    Attributes:
        library: the backend of the arrays.
        whole: whether by whole arrays, though it might be recorded.
        dtype: of the parameters.
        column_major: whether their first axis is the innermost in memory.
    """

    library: Backend
    whole: bool
    dtype: str
    column_major: bool = False

    def __str__(self) -> str:
        order = ", column-major" if self.column_major else ""
        return f"{self.library.name}, in place{_how(self.whole)}{order}"

    def start(self, optimizer: ImperativeOptimizer, problem: Problem) -> Loop:
        """See `Way`."""
        optimizer.jit_compile = _jit_compile(self.whole)
        return _InPlaceLoop(self, optimizer, problem)


class _InPlaceLoop:
    def __init__(self, way: InPlace, optimizer: ImperativeOptimizer, problem: Problem) -> None:
        self._way, self._optimizer, self._problem = way, optimizer, problem
        parameters = self._arrays(problem.start)
        if any(way.library.why_not_variable(each) is not None for each in parameters):
            parameters = [Variable(each, name) for each, name in zip(parameters, problem.names, strict=True)]
        self._parameters = parameters
        optimizer.build(dict(zip(problem.names, parameters, strict=True)))

    def _arrays(self, values: Sequence[Any]) -> list[Any]:
        way = self._way
        return self._problem.arrays(way.library, way.dtype, values, way.column_major)

    def step(self, gradients: Sequence[Any]) -> None:
        """See `Loop`."""
        self._optimizer.apply(self._arrays(gradients), self._parameters)

    def parameters(self) -> list[Any]:
        """See `Loop`."""
        return list(map(value_of, self._parameters))

    def recorded(self) -> Recorded:
        """See `Loop`."""
        groups = [group.reason is None and group.way != "eager" for group in self._optimizer.execution_report()]
        if all(groups) or self._way.whole:
            return Recorded(all(groups))
        return Recorded(False, _why_not_recorded(self._optimizer, self._parameters, self._problem.names), any(groups))


class Functional(NamedTuple):
    """As pure functions.

    Attributes:
        library: the backend of the arrays.
        whole: whether by whole arrays, though it might be recorded.
        dtype: of the parameters.
        compiled: whether by the library's own compiler.
    """

    library: Backend
    whole: bool
    dtype: str
    compiled: bool = False

    def __str__(self) -> str:
        how = "under jit" if self.compiled else f"functional{_how(self.whole)}"
        return f"{self.library.name}, {how}"

    def start(self, optimizer: FunctionalOptimizer, problem: Problem) -> Loop:
        """See `Way`."""
        optimizer.jit_compile = _jit_compile(self.whole)
        return _FunctionalLoop(self, optimizer, problem)


class _FunctionalLoop:
    def __init__(self, way: Functional, optimizer: FunctionalOptimizer, problem: Problem) -> None:
        self._way, self._optimizer, self._problem = way, optimizer, problem
        self._params = self._tree(problem.start)
        self._state = optimizer.init(self._params)
        self._step = (way.compiled and way.library.compiled(optimizer.step)) or optimizer.step

    def _tree(self, values: Sequence[Any]) -> Any:
        return self._problem.tree.build(self._problem.arrays(self._way.library, self._way.dtype, values))

    def step(self, gradients: Sequence[Any]) -> None:
        """See `Loop`."""
        self._params, self._state = self._step(self._params, self._tree(gradients), self._state)

    def parameters(self) -> list[Any]:
        """See `Loop`."""
        return self._problem.tree.match(self._params, "parameters")

    def recorded(self) -> Recorded:
        """See `Loop`."""
        return Recorded(self._optimizer.steps_are_remembered)


def _how(whole: bool) -> str:
    return ", whole arrays" if whole else ""


def _jit_compile(whole: bool) -> Any:
    return False if whole else "auto"


def _why_not_recorded(optimizer: ImperativeOptimizer, parameters: Sequence[Any], names: Sequence[str]) -> str:
    """Why parameters were not updated in one pass, with their names where others were."""
    programs = list(map(optimizer.program_of, parameters))
    found: dict[str, list[str]] = {}
    for name, program in zip(names, programs, strict=True):
        if isinstance(program, NotRecorded):
            found.setdefault(program.reason, []).append(name)
    alone = len(found) == 1 and not any(programs)
    return "; ".join(reason if alone else f"{_listed(which)}: {reason}" for reason, which in found.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _FEW else f"{names[0]} and {len(names) - 1} others"


def ways_of_libraries(problem: Problem) -> Iterator[Way[Any]]:
    """All ways to run a problem, for each dtype whole arrays of NumPy's first."""
    known = trials.libraries()
    for dtype in ("float32", *(["float64"] if problem.has_wide() else []), *SIXTEEN_BIT):
        for library in known:
            if trials.has_dtype(library, dtype):
                yield from _ways_of(library, dtype, problem.has_orders() and dtype not in SIXTEEN_BIT)


def _ways_of(library: Backend, dtype: str, orders: bool) -> Iterator[Way[Any]]:
    """The ways of a library, with other orders in memory where there are such."""
    yield InPlace(library, True, dtype)
    if library.writable or library.program_way is not None:
        yield InPlace(library, False, dtype)
    yield Functional(library, True, dtype)
    if library.writable:
        yield Functional(library, False, dtype)
    if library.writable and orders:
        yield InPlace(library, True, dtype, column_major=True)
        yield InPlace(library, False, dtype, column_major=True)
    if library.compiled(_nothing) is not None:
        yield Functional(library, True, dtype, compiled=True)


def _nothing() -> None:
    """What is asked whether it can be compiled."""
