"""Compile ahead what the first steps of the algorithms need, by making such steps."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy

from .backends import PerformanceWarning
from .backends.kernels.cache import place, why_no_place
from .backends.kernels.compiler import has_numba
from .backends.kernels.waiting import say_nothing
from .optimizers import Optimizer
from .optimizers.core.hyperparameters import Flag, hyperparameters
from .optimizers.registry import ALGORITHMS

DTYPES = ("float32", "float64")
_SHAPES = ((3,), (20_000,))
"""Small arrays, and one whose norm is taken in blocks."""
_THREADED = ((2**17,),)
"""One that is worth more than one thread, for which torch lends its own."""
_OFTEN: tuple[dict[str, Any], ...] = ({}, {"weight_decay": 0.01}, {"maximize": True})
_MORE: tuple[dict[str, Any], ...] = (
    {"clipvalue": 1.0},
    {"global_clipnorm": 1.0},
    {"use_ema": True},
    {"weight_decay": 0.01, "clipvalue": 1.0},
    {"weight_decay": 0.01, "global_clipnorm": 1.0},
    {"weight_decay": 0.01, "maximize": True},
)
"""What users add to any algorithm, and to those without one of their switches. What a convention lacks it refuses."""


class Outcome(NamedTuple):
    """What became of the functions that steps need.

    Attributes:
        compiled: how many were compiled now.
        found: how many were there already.
        kept: how many of those that were compiled are kept for other processes.
        failed: sentences about what could not be done.
    """

    compiled: int
    found: int
    kept: int
    failed: list[str]


def variants(algorithm: type[Optimizer]) -> Iterator[dict[str, Any]]:
    """The arguments that make the different formulas of an algorithm, with what users add to them."""
    momentum: list[dict[str, Any]] = [{}, {"momentum": 0.9}] if "momentum" in hyperparameters(algorithm) else [{}]
    for convention in algorithm.conventions:
        switches = _turned(algorithm, convention)
        added = [*_OFTEN, *_MORE, *(switch | often for switch in switches for often in _OFTEN)]
        for inert, more in itertools.product(momentum, added):
            arguments = {"convention": convention, **inert, **more}
            if _exist(algorithm, arguments):
                yield arguments


def _turned(algorithm: type[Optimizer], convention: str) -> list[dict[str, Any]]:
    """Each of an algorithm's own switches, turned; where that needs another one turned, with it."""
    usual, own = algorithm(convention=convention), [n for n, each in vars(algorithm).items() if isinstance(each, Flag)]
    turned = [{name: not getattr(usual, name)} for name in own]
    alone = [switch for switch in turned if _exist(algorithm, {"convention": convention, **switch})]
    return [*alone, *(switch | other for switch in turned if switch not in alone for other in alone)]


def _exist(algorithm: type[Optimizer], arguments: dict[str, Any]) -> bool:
    """Whether there is such an optimizer."""
    try:
        algorithm(**arguments)
    except ValueError:
        return False
    return True


def algorithms_named(names: Sequence[str]) -> list[type[Optimizer]]:
    """The algorithms of some names, in any case; all where there are none.

    Raises:
        ValueError: if there is none of a name.
    """
    known = {each.__name__.lower(): each for each in ALGORITHMS}
    for name in names:
        if name.lower() not in known:
            raise ValueError(f"There is no optimizer {name!r}; known are {', '.join(k.__name__ for k in ALGORITHMS)}.")
    return [known[name.lower()] for name in names] or list(ALGORITHMS)


def why_not() -> str | None:
    """Why nothing can be compiled ahead here, or None."""
    if importlib.util.find_spec("numba") is None:
        return 'Numba is not installed, so nothing is compiled: install it with pip install "gradwise[fast]".'
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not has_numba():
            return "; ".join(str(each.message) for each in caught) or "Numba cannot be used here"
    return why_no_place()


class FirstSteps(NamedTuple):
    """One optimizer that makes its first steps.

    Attributes:
        algorithm: its class.
        arguments: of that.
        dtype: of the parameters.
    """

    algorithm: type[Optimizer]
    arguments: dict[str, Any]
    dtype: str

    def make_steps(self) -> None:
        """On arrays of each library whose memory compiled passes run over; a second step takes a shorter way."""
        for ones in _libraries(self.dtype):
            self._steps([ones(shape) for shape in _SHAPES])
            self._steps([ones(shape) for shape in _THREADED])

    def _steps(self, parameters: list[Any]) -> None:
        optimizer = self.algorithm(jit_compile=True, **self.arguments)
        gradients = [parameter + parameter for parameter in parameters]
        for _ in range(2):
            optimizer.apply(gradients, parameters)
        optimizer = self.algorithm(**self.arguments)
        optimizer.step(parameters, gradients, optimizer.init(parameters))


def first_steps_of(algorithms: Sequence[type[Optimizer]], dtypes: Sequence[str]) -> list[FirstSteps]:
    """The steps that need all that can be compiled ahead.

    Args:
        algorithms: some of `ALGORITHMS`.
        dtypes: some of `DTYPES`.
    """
    return [
        FirstSteps(each, arguments, dtype) for each in algorithms for dtype in dtypes for arguments in variants(each)
    ]


def _libraries(dtype: str) -> Iterator[Callable[[Any], Any]]:
    yield lambda shape: numpy.ones(shape, dtype=dtype)
    if importlib.util.find_spec("torch") is not None:
        torch = importlib.import_module("torch")
        yield lambda shape: torch.ones(shape, dtype=getattr(torch, dtype))


def warm_up(pieces: Sequence[FirstSteps], done: Callable[[FirstSteps], None]) -> Outcome:
    """Make the steps.

    Args:
        pieces: from `first_steps_of`.
        done: is called after each.
    """
    from .backends.kernels.compiled import TALLY

    say_nothing()
    before = dict(TALLY)
    with warnings.catch_warnings(record=True) as caught, _two_threads():
        warnings.simplefilter("always")
        for function in compiled_functions():
            _ = function.run
        for piece in pieces:
            piece.make_steps()
            done(piece)
    failed = [str(each.message) for each in caught if issubclass(each.category, PerformanceWarning)]
    compiled, found, kept = (TALLY[name] - before[name] for name in ("compiled", "found", "kept"))
    return Outcome(compiled, found, kept, failed)


def compiled_functions() -> list[Any]:
    """The package's own functions that are compiled, whatever they are for."""
    from .backends import kernels, torch
    from .backends.kernels.compiled import FUNCTIONS

    for room in (kernels, torch) if importlib.util.find_spec("torch") is not None else (kernels,):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    return FUNCTIONS


@contextlib.contextmanager
def _two_threads() -> Iterator[None]:
    """As on a machine of several processors, for which this one may compile."""
    name = "GRADWISE_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "2"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def run(names: Sequence[str], dtypes: Sequence[str]) -> int:
    """The command: the exit status, 0 if all is kept.

    Args:
        names: of algorithms; none means all.
        dtypes: some of `DTYPES`; none means all.
    """
    try:
        pieces = first_steps_of(algorithms_named(names), list(dict.fromkeys(dtypes)) or DTYPES)
    except ValueError as error:
        return _failed([str(error)])
    reason = why_not()
    if reason is not None:
        return _failed([reason])
    folder = place()
    with _progress(len(pieces)) as done:
        outcome = warm_up(pieces, done)
    print(f"{outcome.compiled} functions compiled, {outcome.found} were there already, kept in {folder}")
    if outcome.failed or outcome.kept < outcome.compiled:
        return _failed([f"{outcome.compiled - outcome.kept} of them are not kept", *outcome.failed])
    return 0


def _failed(sentences: Sequence[str]) -> int:
    print("\n".join(sentences), file=sys.stderr)
    return 1


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[FirstSteps], None]]:
    """What shows how far it is: a bar where Rich is installed and there is a terminal, else a line now and then."""
    if importlib.util.find_spec("rich") is not None and sys.stdout.isatty():
        progress: Any = importlib.import_module("rich.progress").Progress()
        task = progress.add_task("compiling", total=total)
        with progress:
            yield lambda piece: progress.update(task, advance=1, description=piece.algorithm.__name__)
        return
    counted = itertools.count(1)
    last: list[Any] = [None]

    def line(piece: FirstSteps) -> None:
        number = next(counted)
        if last[0] not in (None, (piece.algorithm, piece.dtype)) or number == total:
            print(f"{number} of {total}: {piece.algorithm.__name__}, {piece.dtype}", flush=True)
        last[0] = piece.algorithm, piece.dtype

    yield line
