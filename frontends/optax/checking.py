"""A transformation's steps, for `check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ...backends.detect import backend_named
from ...optimizers import Optimizer
from ...optimizers.core.own_rules.problem import Problem
from ...optimizers.core.own_rules.ways import Recorded
from .wrapping import from_optimizer


class OptaxLoop:
    """Updates under `jax.jit` that are added to the parameters. See `Loop`.

    Args:
        optimizer: of the core; a transformation is made of it.
        problem: what is run.
        dtype: of the parameters.
    """

    def __init__(self, optimizer: Optimizer, problem: Problem, dtype: str) -> None:
        self._problem, self._dtype = problem, dtype
        transformation = from_optimizer(optimizer)
        self._params = self._tree(problem.start)
        self._state = transformation.init(self._params)

        def step(params: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
            updates, state = transformation.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        self._step = jax.jit(step)

    def _tree(self, values: Sequence[Any]) -> Any:
        return self._problem.tree.build(self._problem.arrays(backend_named("jax"), self._dtype, values))

    def step(self, gradients: Sequence[Any]) -> None:
        """See `Loop`."""
        self._params, self._state = self._step(self._params, self._tree(gradients), self._state)

    def parameters(self) -> list[Any]:
        """See `Loop`."""
        return self._problem.tree.match(self._params, "parameters")

    def recorded(self) -> Recorded:
        """See `Loop`. What is under `jit` is JAX's to compile."""
        return Recorded(False)
