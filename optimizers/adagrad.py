"""Adagrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Number


class Adagrad(Optimizer):
    r"""Adagrad: the gradient divided by the root of the sum of all its squares.

    With gradient $g_t$, rate $\eta$ and initial value $n_0$:

    $$n_t = n_{t-1} + g_t^2, \qquad \theta_t = \theta_{t-1} - \frac{\eta g_t}{\sqrt{n_t + \epsilon}}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.01.
        initial_accumulator_value: $n_0 \ge 0$. None is the convention's: 0.1 in "keras", 0 in "keras2".
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" is the formula above. "keras2" has $\sqrt{n_t} + \epsilon$ and always starts from $n_0 = 0$.

    References:
        Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization,
        JMLR 2011.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7},
    }
    neutral: ClassVar[dict[str, Any]] = {"initial_accumulator_value": 0.0}

    initial_accumulator_value = Number("[0, inf)")
    epsilon = Number("[0, inf)")

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float | None = None,
        epsilon: float | None = None,
        *common: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the sums of squares."""
        super().build(variables)
        self.accumulators = self.add_optimizer_variables(variables, "accumulator", self.initial_accumulator_value)

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        accumulator = self.accumulators[self._get_variable_index(variable)]
        self.assign_add(accumulator, ops.square(gradient))
        if self.convention == "keras2":
            denominator = ops.sqrt(accumulator) + self.epsilon
        else:
            denominator = ops.sqrt(accumulator + self.epsilon)
        self.assign_sub(variable, gradient * learning_rate / denominator)
