"""RMSprop, plain or centered, with momentum."""

import math
from typing import Any

from .core.algorithm import Array, Fixed, Flag, Number, Optimizer, Switch, Variable, Variables, in_use, ops


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
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        centered: divide by the standard deviation. None is the convention's: False.
        *common: see `Optimizer`.
        nesterov: of convention "optax": step from where the momentum leads. Default False; this and the following are
            keyword only.
        initial_scale: of convention "optax": $v_0 \ge 0$. Default 0.
        eps_in_sqrt: of convention "optax": whether $\epsilon$ is added inside the root. Default True.
        bias_correction: of convention "optax": divide $v_t$ and $a_t$ by $1-\rho^t$ where they are used. Default False.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" is the formula above. "keras2" has $\sqrt{v_t} + \epsilon$, and neither `momentum` nor
    `centered`. "torch" has $\sqrt{v_t} + \epsilon$ and the rate outside of the momentum:
    $m_t = \mu m_{t-1} + g_t / (\sqrt{v_t} + \epsilon)$ and $\theta_t = \theta_{t-1} - \eta m_t$. "optax" is as "keras"
    with four options more, but has no weight decay; its slot holds $-m_t$, which is added to the parameters. Rounding
    can bring $v_t - a_t^2$ below zero, where Keras, torch and optax go on with NaN; here it counts as zero.

    References:
        Hinton, Srivastava and Swersky, Neural Networks for Machine Learning, lecture 6e, 2012;
        Graves, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850 (centered).
    """

    conventions = {
        "keras": {"momentum": 0.0, "epsilon": 1e-7, "centered": False, "eps_in_sqrt": Fixed(True)},
        "keras2": {"epsilon": 1e-7, "eps_in_sqrt": Fixed(False)},
        "torch": {
            "momentum": 0.0, "epsilon": 1e-8, "centered": False, "eps_in_sqrt": Fixed(False), "rate_in_velocity": False,
        },
        "optax": {
            "momentum": 0.0, "epsilon": 1e-8, "centered": False, "nesterov": False, "initial_scale": 0.0,
            "eps_in_sqrt": True, "bias_correction": False, "momentum_descends": True,
        },
    }  # fmt: skip
    older_order = ("learning_rate", "rho", "epsilon", "decay")
    rate_in_velocity, momentum_descends = Switch(True), Switch(False)
    rho, momentum, epsilon = Number("[0, 1]"), Number("[0, 1]"), Number("[0, inf)")
    centered, nesterov, initial_scale = Flag(), Flag(), Number("[0, inf)")
    eps_in_sqrt, bias_correction = Flag(), Flag()

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float | None = None, epsilon: float | None = None,
        centered: bool | None = None, *common: Any, nesterov: bool | None = None, initial_scale: float | None = None,
        eps_in_sqrt: bool | None = None, bias_correction: bool | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(rho=rho, momentum=momentum, epsilon=epsilon, centered=centered, nesterov=nesterov)
        self._resolve(initial_scale=initial_scale, eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction)
        divides_by_zero = self.bias_correction and not in_use(1.0 - self.rho)
        self._refuse_if(divides_by_zero, "`bias_correction` needs a `rho` below 1, not to divide by zero", "rho")

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity", self.initial_scale)
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")
        if self.centered:
            self.average_gradients = self.add_optimizer_variables(variables, "average_gradient")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        index = self.variable_index(variable)
        velocity = self.velocities[index]
        correction = 1.0
        if self.bias_correction:
            correction = ops.once(ops.divide, 1, ops.one_minus_power(self.rho, self.step_of(variable)))
        self.assign(velocity, ops.moving_average_of_squares(velocity, gradient, self.rho))
        spread = velocity * correction if self.bias_correction else velocity.value
        if self.centered:
            average = self.average_gradients[index]
            self.assign(average, ops.moving_average(average, gradient, self.rho))
            mean = average * correction if self.bias_correction else average.value
            square = ops.square(mean)
            # A square that overflows cannot be taken off: the mean of squares, which is no smaller, is infinite then.
            spread = ops.where(ops.less(square, math.inf), ops.maximum(spread - square, 0.0), spread)
        denominator = ops.sqrt(spread + self.epsilon) if self.eps_in_sqrt else ops.sqrt(spread) + self.epsilon

        if self.momentum_descends:
            # Added, because XLA compiles these sums a tenth sooner than differences with a rate that is traced.
            step: Any = gradient / denominator * ops.once(ops.negative, learning_rate)
            if in_use(self.momentum):
                momentum = self.momentums[index]
                self.assign(momentum, momentum * self.momentum + step)
                step = momentum * self.momentum + step if self.nesterov else momentum
            self.assign_add(variable, step)
            return
        rate_outside = in_use(self.momentum) and not self.rate_in_velocity
        if rate_outside:
            increment: Any = gradient / denominator
        else:
            before, after = ops.once(_before_and_after, learning_rate, self.rho)
            increment = gradient * before / denominator * after
        if in_use(self.momentum):
            momentum = self.momentums[index]
            self.assign(momentum, momentum * self.momentum + increment)
            increment = momentum * learning_rate if rate_outside else momentum
        self.assign_sub(variable, increment)


def _before_and_after(learning_rate: Any, rho: Any) -> tuple[Any, Any]:
    """What a gradient is multiplied by before it is divided, and after.

    A mean of squares that remembers all does not learn of the gradient, beside which the denominator may be so small
    that their quotient overflows, where the step does not.
    """
    learns = rho < 1.0
    return ops.where(learns, 1.0, learning_rate), ops.where(learns, learning_rate, 1.0)
