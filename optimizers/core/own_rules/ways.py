"""What a way to run an optimizer is.

A way starts a loop for a copy of the optimizer; who asks makes the steps and reads the parameters. Each way is one
value that answers what `Way` names, so that whoever lists them needs to know nothing else of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .problem import Problem


class Loop(Protocol):
    """What makes an optimizer's steps on a way, one after another."""

    def step(self, gradients: Sequence[Any]) -> None:
        """Make a step.

        Args:
            gradients: of all parameters, as arrays of NumPy's in double precision.
        """

    def parameters(self) -> list[Any]:
        """The parameters as they are now, as arrays of the way's library."""

    def recorded(self) -> tuple[bool, str]:
        """Whether all updates ran as recorded programs; and, where that is to be told, why not."""


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
        """
