"""A wrapped optimizer's steps, for `check`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ...backends.detect import backend_named
from ...optimizers import Optimizer
from ...optimizers.core.own_rules.problem import Problem
from ...optimizers.core.own_rules.ways import Recorded
from .wrapping import wrap


class TorchLoop:
    """Steps on parameters that need gradients, by a torch optimizer. See `Loop`.

    Args:
        optimizer: of the core; it is wrapped.
        problem: what is run.
        dtype: of the parameters.
    """

    def __init__(self, optimizer: Optimizer, problem: Problem, dtype: str) -> None:
        self._arrays = partial(problem.arrays, backend_named("torch"), dtype)
        self._parameters = [torch.nn.Parameter(each) for each in self._arrays(problem.start)]
        self._optimizer = wrap(optimizer, list(zip(problem.names, self._parameters, strict=True)))

    def step(self, gradients: Sequence[Any]) -> None:
        """See `Loop`."""
        for parameter, gradient in zip(self._parameters, self._arrays(gradients), strict=True):
            parameter.grad = gradient
        self._optimizer.step()

    def parameters(self) -> list[Any]:
        """See `Loop`."""
        return [parameter.detach() for parameter in self._parameters]

    def recorded(self) -> Recorded:
        """See `Loop`. A torch optimizer does not say."""
        return Recorded(None)
