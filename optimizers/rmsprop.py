"""RMSprop, plain or centered, with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Flag, Number, in_use


class RMSprop(Optimizer):
    r"""RMSprop: the gradient divided by a moving root mean square of itself.

    With gradient $g_t$, rate $\eta$, decay rate $\rho$, momentum $\mu$ and $v_0 = a_0 = m_0 = 0$:

    $$v_t = \rho v_{t-1} + (1-\rho) g_t^2, \qquad
      m_t = \mu m_{t-1} + \frac{\eta g_t}{\sqrt{v_t + \epsilon}}, \qquad \theta_t = \theta_{t-1} - m_t.$$

    With `centered`, $a_t = \rho a_{t-1} + (1-\rho) g_t$ and $v_t - a_t^2$, an estimate of the variance, stands in place
    of $v_t$ in the root.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        rho: $\rho$ in [0, 1]. 0.9.
        momentum: $\mu$ in [0, 1]. None is the convention's: 0.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7.
        centered: divide by the standard deviation. None is the convention's: False.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" is the formula above. "keras2" has $\sqrt{v_t} + \epsilon$, and neither `momentum` nor
    `centered`. Rounding can bring $v_t - a_t^2$ below zero, where Keras goes on with NaN; here it counts as zero.

    References:
        Hinton, Srivastava and Swersky, Neural Networks for Machine Learning, lecture 6e, 2012;
        Graves, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850 (centered).
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {"momentum": 0.0, "epsilon": 1e-7, "centered": False},
        "keras2": {"epsilon": 1e-7},
    }
    neutral: ClassVar[dict[str, Any]] = {"momentum": 0.0, "centered": False}

    rho = Number("[0, 1]")
    momentum = Number("[0, 1]")
    epsilon = Number("[0, inf)")
    centered = Flag()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float | None = None,
        epsilon: float | None = None,
        centered: bool | None = None,
        *common: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.rho = rho
        self._resolve(momentum=momentum, epsilon=epsilon, centered=centered)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the mean squares, and the momentums and mean gradients that are asked for."""
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")
        if self.centered:
            self.average_gradients = self.add_optimizer_variables(variables, "average_gradient")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        index = self._get_variable_index(variable)
        velocity = self.velocities[index]
        self.assign(velocity, velocity * self.rho + ops.square(gradient) * (1 - self.rho))
        spread = velocity.value
        if self.centered:
            average = self.average_gradients[index]
            self.assign(average, average * self.rho + gradient * (1 - self.rho))
            spread = ops.maximum(spread - ops.square(average), 0.0)
        if self.convention == "keras2":
            denominator = ops.sqrt(spread) + self.epsilon
        else:
            denominator = ops.sqrt(spread + self.epsilon)
        increment = gradient * learning_rate / denominator
        if in_use(self.momentum):
            momentum = self.momentums[index]
            self.assign(momentum, momentum * self.momentum + increment)
            increment = momentum.value
        self.assign_sub(variable, increment)
