"""Adamax, Adam with the infinity norm."""

from typing import Any

from .core.algorithm import Array, Number, Optimizer, Switch, Variable, Variables, in_use, ops
from .core.formulas import scaled_quotient


class Adamax(Optimizer):
    r"""Adamax: Adam with a fading maximum of the gradient's size in place of the root mean square.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = u_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad u_t = \max(\beta_2 u_{t-1}, |g_t|), \qquad
      \theta_t = \theta_{t-1} - \frac{\eta}{1-\beta_1^t} \cdot \frac{m_t}{u_t + \epsilon}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.002.
        beta_1: $\beta_1$ in [0, 1). 0.9.
        beta_2: $\beta_2$ in [0, 1]. 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" and "keras2" are this same formula. "torch" and "optax" put $\epsilon$ inside the maximum:
    $u_t = \max(\beta_2 u_{t-1}, |g_t| + \epsilon)$ and $m_t / u_t$. Weight decay is coupled in "torch" and decoupled in
    "optax" (its `adamaxw`), which multiplies by $\eta$ last.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, section 7.1.
    """

    conventions = {
        "keras": {"epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7},
        "torch": {"epsilon": 1e-8, "epsilon_in_maximum": True},
        "optax": {"epsilon": 1e-8, "epsilon_in_maximum": True, "rate_comes_last": True},
    }
    older_order = ("learning_rate", "beta_1", "beta_2", "epsilon", "decay")
    weight_decay_forms = {**Optimizer.weight_decay_forms, "optax": "decoupled"}
    epsilon_in_maximum, rate_comes_last = Switch(False), Switch(False)
    beta_1, beta_2, epsilon = Number("[0, 1)"), Number("[0, 1]"), Number("[0, inf)")
    suggested_rate = 0.004

    def __init__(
        self, learning_rate: Any = 0.002, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float | None = None,
        *common: Any, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums, self.norms = self.add_optimizer_variables(variables, ["momentum", "norm"])

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        index = self.variable_index(variable)
        momentum, norm = self.momentums[index], self.norms[index]
        rate = ops.once(ops.divide, learning_rate, ops.one_minus_power(self.beta_1, self.step_of(variable)))
        self.assign(momentum, ops.moving_average(momentum, gradient, self.beta_1))

        size = ops.absolute(gradient)
        if self.epsilon_in_maximum:
            self.assign(norm, ops.maximum(norm * self.beta_2, size + self.epsilon))
            denominator = norm.value
        else:
            self.assign(norm, ops.maximum(norm * self.beta_2, size))
            denominator = norm + self.epsilon
        # Without a memory, the norm may be 0 beside a large momentum.
        rate_first = not (self.rate_comes_last or in_use(self.beta_2))
        self.assign_sub(variable, scaled_quotient(momentum.value, denominator, rate, rate_first))
