"""The front ends as ways to run an optimizer, for `check`. Each is imported when it is run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from .backends import trials
from .optimizers import Optimizer
from .optimizers.core.own_rules.problem import Problem
from .optimizers.core.own_rules.ways import LeftOut, Loop


class _LoopOf(Protocol):
    def __call__(self, optimizer: Optimizer, problem: Problem, dtype: str) -> Loop: ...


def _torch() -> _LoopOf:
    from .frontends.torch.checking import TorchLoop

    return TorchLoop


def _optax() -> _LoopOf:
    from .frontends.optax.checking import OptaxLoop

    return OptaxLoop


def _keras() -> _LoopOf:
    if "keras" not in sys.modules:
        raise LeftOut("import keras before, for whoever imports it first settles its backend")
    from .frontends.keras.checking import KerasLoop

    return KerasLoop


class FrontEnd(NamedTuple):
    """A front end as a way to run an optimizer. See `Way`.

    Attributes:
        framework: its module.
        how: it is run.
        library: whose arrays it has; None if the framework says.
        loop: imports it, and gives what makes its loop.
        dtype: of the parameters.
    """

    framework: str
    how: str
    library: str | None
    loop: Callable[[], _LoopOf]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.framework} front end, {self.how}"

    def start(self, optimizer: Optimizer, problem: Problem) -> Loop:
        """See `Way`."""
        # What cannot be imported, for whatever reason, is no fault of the optimizer's.
        try:
            loop = self.loop()
        except LeftOut:
            raise
        except Exception as error:
            raise LeftOut(f"{type(error).__name__}: {error}") from error
        return loop(optimizer, problem, self.dtype)


FRONT_ENDS = (
    FrontEnd("torch", "step", "torch", _torch),
    FrontEnd("optax", "under jit", "jax", _optax),
    FrontEnd("keras", "apply", None, _keras),
)
"""Those whose parameters and gradients `check` has. That of SciPy takes functions."""


def ways_of_front_ends(problem: Problem) -> Iterator[FrontEnd]:
    """Those whose frameworks are installed.

    Args:
        problem: what is run.
    """
    known = {library.name for library in trials.libraries()}
    for each in FRONT_ENDS:
        if each.library in (None, *known) and importlib.util.find_spec(each.framework) is not None:
            yield each
