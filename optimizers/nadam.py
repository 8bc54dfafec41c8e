"""Nadam, Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Number


class Nadam(Optimizer):
    r"""Nadam: Adam with Nesterov momentum, whose weight warms up.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$, schedule decay $\psi$, $m_0 = v_0 = 0$, $P_0 = 1$:

    $$u_t = \beta_1 \left(1 - \tfrac12 \cdot 0.96^{\psi t}\right), \qquad P_t = P_{t-1} u_t,$$
    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\bar m_t = \frac{u_{t+1} m_t}{1 - P_t u_{t+1}} + \frac{(1-u_t) g_t}{1 - P_t}, \qquad
      \theta_t = \theta_{t-1} - \frac{\eta \bar m_t}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.002.
        beta_1: $\beta_1$ in [0, 1). 0.9.
        beta_2: $\beta_2$ in [0, 1). 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7.
        *common: see `Optimizer`.
        schedule_decay: $\psi \ge 0$. 0.004; keyword only.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`; also for `decay` in convention "keras2", whose Nadam has none.

    Conventions: "keras" and "keras2" are this same formula. Keras 3 has no `schedule_decay` and behaves as with 1; with
    torch's `momentum_decay` it is the same quantity. The product $P_t$ is one for all parameters.

    References:
        Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {"epsilon": 1e-7, "schedule_decay": 0.004},
        "keras2": {"epsilon": 1e-7, "schedule_decay": 0.004},
    }

    beta_1 = Number("[0, 1)")
    beta_2 = Number("[0, 1)")
    epsilon = Number("[0, inf)")
    schedule_decay = Number("[0, inf)")

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        *common: Any,
        schedule_decay: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self._resolve(epsilon=epsilon, schedule_decay=schedule_decay)
        if self.convention == "keras2" and self.decay != 0.0:
            raise ValueError(f'Nadam: convention "keras2" has no `decay`, received {self.decay!r}.')

    def build(self, variables: Sequence[Any]) -> None:
        """Create the moments and the product of the momentum schedule."""
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self.product = self.add_scalar("u_product", 1.0)

    def _momentum_at(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * ops.power(0.96, step * self.schedule_decay))

    def begin_step(self, gradients: Sequence[Array], variables: Sequence[Variable], learning_rate: Any) -> None:
        """The product is one for all parameters and grows once a step."""
        self.assign(self.product, self.product * self._momentum_at(self.iterations + 1))

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        index = self._get_variable_index(variable)
        momentum, velocity = self.momentums[index], self.velocities[index]
        step = self.step_of(variable)
        now, following, product = self._momentum_at(step), self._momentum_at(step + 1), self.product.value

        self.assign_add(momentum, (gradient - momentum.value) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity.value) * (1 - self.beta_2))
        lookahead = momentum * (following / (1 - product * following)) + gradient * ((1 - now) / (1 - product))
        denominator = ops.sqrt(velocity / ops.one_minus_power(self.beta_2, step)) + self.epsilon
        self.assign_sub(variable, lookahead * learning_rate / denominator)
