"""What a way to run an optimizer is, and who knows ways.

A way starts a loop for a copy of the optimizer; who asks makes the steps and reads the parameters. Each way is one
value that answers what `Way` names, so that whoever lists them needs to know nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from .problem import Problem


class Recorded(NamedTuple):
    """Whether updates ran as recorded programs.

    Attributes:
        all_of_them: whether all did; None where that is not known.
        why: why not, if it is to be told.
        some: whether some did, and others did not.
    """

    all_of_them: bool | None
    why: str = ""
    some: bool = False


class Loop(Protocol):
    """What makes an optimizer's steps on a way, one after another."""

    def step(self, gradients: Sequence[Any]) -> None:
        """Make a step.

        Args:
            gradients: of all parameters, as arrays of NumPy's in double precision.
        """

    def parameters(self) -> list[Any]:
        """The parameters as they are now, as arrays of the way's library."""

    def recorded(self) -> Recorded:
        """Whether updates ran as recorded programs."""


Kind = TypeVar("Kind", contravariant=True)


class Way(Protocol[Kind]):
    """A way to run an optimizer; as text its name in the report."""

    @property
    def dtype(self) -> str:
        """Of the parameters."""

    def start(self, optimizer: Kind, problem: Problem) -> Loop:
        """Begin with a problem's parameters.

        Args:
            optimizer: unbuilt, and the way's own.
            problem: what is run.

        Raises:
            LeftOut: if the way is not there, with the reason.
        """


class LeftOut(Exception):
    """A way that is not there, through no fault of the optimizer's."""


_SOURCES: list[Callable[[Problem], Iterable[Way[Any]]]] = []


def know_ways(source: Callable[[Problem], Iterable[Way[Any]]]) -> None:
    """Have further ways run by `check`, after those that are known.

    Args:
        source: what gives the ways for a problem, the first of each dtype being one that others are compared with.
    """
    if source not in _SOURCES:
        _SOURCES.append(source)


def ways_for(problem: Problem) -> Iterator[Way[Any]]:
    """All ways that are known, in the order in which they became so.

    Args:
        problem: what is run.
    """
    for source in _SOURCES:
        yield from source(problem)
