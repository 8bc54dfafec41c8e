"""Adam, with AMSGrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Flag, Number


class Adam(Optimizer):
    r"""Adam: steps by the ratio of a moving mean of gradients to the root of a moving mean of their squares.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = v_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\theta_t = \theta_{t-1} - \eta \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \cdot \frac{m_t}{\sqrt{v_t} + \epsilon}.$$

    With `amsgrad`, $\hat v_t = \max(\hat v_{t-1}, v_t)$ stands in place of $v_t$ in the denominator.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1: $\beta_1$ in [0, 1). 0.9.
        beta_2: $\beta_2$ in [0, 1). 0.999.
        epsilon: $\epsilon \ge 0$, added to the root of the uncorrected $v_t$. None is the convention's: 1e-7.
        amsgrad: keep the maximum of $v$.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" and "keras2" are this same formula. $\epsilon$ is not bias-corrected in it: the effective value
    is $\epsilon / \sqrt{1-\beta_2^t}$, so that no constant maps it to the formula of torch and optax.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980 (the form before its section 2.1);
        Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, ICLR 2018.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {"keras": {"epsilon": 1e-7}, "keras2": {"epsilon": 1e-7}}

    beta_1 = Number("[0, 1)")
    beta_2 = Number("[0, 1)")
    epsilon = Number("[0, inf)")
    amsgrad = Flag()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        amsgrad: bool = False,
        *common: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self._resolve(epsilon=epsilon)
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Any]) -> None:
        """Create the first and second moments, and with `amsgrad` the largest second moments."""
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self.velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        index = self._get_variable_index(variable)
        momentum, velocity = self.momentums[index], self.velocities[index]
        step = self.step_of(variable)
        correction = ops.sqrt(ops.one_minus_power(self.beta_2, step)) / ops.one_minus_power(self.beta_1, step)

        self.assign_add(momentum, (gradient - momentum.value) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity.value) * (1 - self.beta_2))
        if self.amsgrad:
            self.assign(self.velocity_hats[index], ops.maximum(self.velocity_hats[index], velocity))
            velocity = self.velocity_hats[index]
        self.assign_sub(variable, momentum * (learning_rate * correction) / (ops.sqrt(velocity) + self.epsilon))
