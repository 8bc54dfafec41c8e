"""A wrapped optimizer's steps, for `check`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras

from ...backends.detect import backend_named
from ...optimizers import Optimizer
from ...optimizers.core.own_rules.problem import Problem
from ...optimizers.core.own_rules.ways import LeftOut, Recorded
from .adapter import BACKENDS
from .wrapping import CoreOptimizer


class KerasLoop:
    """Steps on Variables, by one of Keras's optimizers. See `Loop`.

    Args:
        optimizer: of the core; it is wrapped.
        problem: what is run.
        dtype: of the parameters.

    Raises:
        LeftOut: on a backend of Keras that gradwise does not run on.
    """

    def __init__(self, optimizer: Optimizer, problem: Problem, dtype: str) -> None:
        backend = keras.backend.backend()
        if backend not in BACKENDS:
            raise LeftOut(f"Keras's backend is {backend}, and here steps are made on {', '.join(BACKENDS)}")
        self._arrays = partial(problem.arrays, backend_named(backend), dtype)
        arrays = self._arrays(problem.start)
        self._variables = [_variable(*each, dtype) for each in zip(arrays, problem.names, strict=True)]
        self._optimizer = CoreOptimizer(optimizer)

    def step(self, gradients: Sequence[Any]) -> None:
        """See `Loop`."""
        self._optimizer.apply(self._arrays(gradients), self._variables)

    def parameters(self) -> list[Any]:
        """See `Loop`."""
        return [keras.ops.stop_gradient(variable.value) for variable in self._variables]

    def recorded(self) -> Recorded:
        """See `Loop`. Keras's optimizers do not say."""
        return Recorded(None)


def _variable(array: Any, name: str, dtype: str) -> keras.Variable:
    """A Variable whose path is a name."""
    *scopes, last = name.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return keras.Variable(array, dtype=dtype, name=last)
