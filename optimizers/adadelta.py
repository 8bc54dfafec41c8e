"""Adadelta, the gradient on the scale of past steps."""

import math
from typing import Any

from .core.algorithm import Array, Number, Optimizer, Variable, Variables, ops


class Adadelta(Optimizer):
    r"""Adadelta: the gradient scaled by a ratio of moving root mean squares, of past steps and of gradients.

    With gradient $g_t$, rate $\eta$, decay rate $\rho$ and $a_0 = d_0 = 0$:

    $$a_t = \rho a_{t-1} + (1-\rho) g_t^2, \qquad
      \Delta_t = \frac{\sqrt{d_{t-1} + \epsilon}}{\sqrt{a_t + \epsilon}} g_t,$$
    $$d_t = \rho d_{t-1} + (1-\rho) \Delta_t^2, \qquad \theta_t = \theta_{t-1} - \eta \Delta_t.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 1, as in the paper.
        rho: $\rho$ in [0, 1]. 0.95.
        epsilon: $\epsilon \ge 0$, inside both roots. None is the convention's: 1e-7, in "torch" and "optax" 1e-6.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: all are this same formula; weight decay is coupled in "torch" and "optax". Keras 3's default rate of
    0.001 hardly moves; optax's default, no rate at all, climbs the gradient.

    References:
        Zeiler, ADADELTA: An Adaptive Learning Rate Method, arXiv:1212.5701.
    """

    conventions = {
        "keras": {"epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7},
        "torch": {"epsilon": 1e-6},
        "optax": {"epsilon": 1e-6},
    }
    older_order = ("learning_rate", "rho", "epsilon", "decay")
    weight_decay_forms = {**Optimizer.weight_decay_forms, "optax": "coupled"}
    rho, epsilon = Number("[0, 1]"), Number("[0, inf)")
    suggested_rate = 1.0

    def __init__(
        self, learning_rate: Any = 1.0, rho: float = 0.95, epsilon: float | None = None, *common: Any, **keywords: Any
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(rho=rho, epsilon=epsilon)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        names = ["accumulated_grad", "accumulated_delta_var"]
        self.accumulated_grads, self.accumulated_delta_vars = self.add_optimizer_variables(variables, names)

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        index = self.variable_index(variable)
        squares, steps = self.accumulated_grads[index], self.accumulated_delta_vars[index]
        self.assign(squares, ops.moving_average_of_squares(squares, gradient, self.rho))
        step = ops.sqrt(steps + self.epsilon) / ops.sqrt(squares + self.epsilon) * gradient
        square = ops.square(step)
        average = ops.moving_average(steps, square, self.rho)
        # A square that overflows is weighed on the way: with all of the memory, or most of it, the average does not.
        weighed = ops.moving_average_of_squares(steps, step, self.rho)
        self.assign(steps, ops.where(ops.less(square, math.inf), average, weighed))
        # Added, because XLA compiles this sum a tenth sooner than the difference with a rate that is traced.
        self.assign_add(variable, step * ops.once(ops.negative, learning_rate))
