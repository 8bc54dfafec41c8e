"""Nadam, Adam with Nesterov momentum."""

from typing import Any

from ..schedules.base import as_float
from .adam import Adam
from .core.algorithm import Array, Flag, Gradients, Number, Optimizer, Switch, Variable, Variables, ops
from .core.formulas import adaptive_step, moments, weights_of_direction


class Nadam(Optimizer):
    r"""Nadam: Adam with Nesterov momentum, whose weight warms up.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$, schedule decay $\psi$, $m_0 = v_0 = 0$, $P_0 = 1$:

    $$u_t = \beta_1 \left(1 - \tfrac12 \cdot 0.96^{\psi t}\right), \qquad P_t = P_{t-1} u_t,$$
    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\bar m_t = \frac{u_{t+1} m_t}{1 - P_t u_{t+1}} + \frac{(1-u_t) g_t}{1 - P_t}, \qquad
      \theta_t = \theta_{t-1} - \frac{\eta \bar m_t}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.002.
        beta_1, beta_2: $\beta_1$ and $\beta_2$ in [0, 1). 0.9 and 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        *common, **keywords: see `Optimizer`. The following are keyword only.
        schedule_decay: $\psi \ge 0$, in all conventions but "optax". None is the convention's: 0.004.
        decoupled_weight_decay, eps_root: as in `Adam`.

    Raises:
        ValueError: see `Optimizer`; also for `decay` in convention "keras2", whose Nadam has none.

    Conventions: "keras" and "keras2" are this formula, with one product $P_t$ for all parameters; Keras 3 has no
    `schedule_decay` and behaves as with 1. "torch", where $\psi$ is called `momentum_decay`, has a step count and a
    product for each parameter, which differ where gradients are missing, and coupled weight decay unless
    `decoupled_weight_decay`. "optax" has no warm-up, $u_t = \beta_1$ and so $P_t = \beta_1^t$, and $\epsilon_r$ inside
    the root: it is `Adam` with `nesterov`.

    References:
        Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016.
    """

    conventions = {
        "keras": {"epsilon": 1e-7, "schedule_decay": 0.004},
        "keras2": {"epsilon": 1e-7, "schedule_decay": 0.004, "has_decay": False},
        "torch": {"epsilon": 1e-8, "schedule_decay": 0.004, "decoupled_weight_decay": False, "product_of_each": True},
        "optax": {"epsilon": 1e-8, "eps_root": 0.0, "rate_comes_last": True},
    }
    older_order = ("learning_rate", "beta_1", "beta_2", "epsilon", "schedule_decay")
    weight_decay_forms = Adam.weight_decay_forms
    epsilon_is_corrected, rate_comes_last = Switch(True), Switch(False)
    product_of_each, has_decay = Switch(False), Switch(True)
    beta_1, beta_2 = Number("[0, 1)"), Number("[0, 1)")
    epsilon, eps_root = Number("[0, inf)"), Number("[0, inf)")
    decoupled_weight_decay = Flag(neutral=True)
    schedule_decay = Number("[0, inf)", optional=True)

    def __init__(
        self, learning_rate: Any = 0.002, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float | None = None,
        *common: Any, schedule_decay: float | None = None, eps_root: float | None = None,
        decoupled_weight_decay: bool | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, eps_root=eps_root)
        self._resolve(decoupled_weight_decay=decoupled_weight_decay, schedule_decay=schedule_decay)
        self._refuse_if(self.decay != 0.0 and not self.has_decay, "there is no `decay`", "decay")

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.product_of_each:
            self.products = [self.add_scalar("u_product", 1.0, variable) for variable in variables]
        elif self.schedule_decay is not None:
            self.products = [self.add_scalar("u_product", 1.0)] * len(variables)

    def begin_step(self, gradients: Gradients, variables: Variables, learning_rate: Any) -> None:
        """Products grow once a step: that of all parameters together, or those of the parameters with a gradient."""
        if self.schedule_decay is None:
            return
        for variable in variables if self.product_of_each else variables[:1]:
            product = self.products[self.variable_index(variable)]
            self.assign(product, product * self._momentum_at(self.step_of(variable)))

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        momentum, velocity = moments(self, variable, gradient)
        step = self.step_of(variable)
        square, correction = velocity.value, ops.one_minus_power(self.beta_2, step)
        # The direction is a m + b g, with a and b found once; the step is η (a m + b g) / (√(v / correction) + ε).
        if self.schedule_decay is None:
            weights = weights_of_direction(self.beta_1, step, nesterov=True)
        else:
            weights = ops.once(self._weights, step, self.products[self.variable_index(variable)].value)
        self.assign_sub(variable, adaptive_step(self, learning_rate, momentum, gradient, weights, square, correction))

    def _weights(self, step: Any, product: Any) -> tuple[Any, Any]:
        """Of momentum and gradient in the direction."""
        now, following = self._momentum_at(step), self._momentum_at(step + 1)
        return following / (1 - product * following), (1 - now) / (1 - product)

    def _momentum_at(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * ops.power(0.96, as_float(step) * self.schedule_decay))
