"""Lion, steps of one size in the direction of a mean's sign."""

from typing import Any

from .core.algorithm import Array, Number, Optimizer, Variable, Variables, ops


class Lion(Optimizer):
    r"""Lion (evolved sign momentum): each element moves by the rate, against the sign of a mean of gradients.

    With gradient $g_t$, rate $\eta$, weights of the past $\beta_1, \beta_2$ and $m_0 = 0$:

    $$c_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t, \qquad
      \theta_t = \theta_{t-1} - \eta \operatorname{sign} c_t.$$

    The sign of 0 is 0. An infinite gradient makes a step like any other and leaves the momentum infinite.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1: $\beta_1$ in [0, 1], for the sign; 0 is sign descent. 0.9.
        beta_2: $\beta_2$ in [0, 1], for the momentum. 0.99.
        weight_decay: >= 0, decoupled. None is the convention's: none, in "optax" 0.001.
        *common, **keywords: from `clipnorm` on, see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" and "optax" are this same formula.

    References:
        Chen et al., Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675.
    """

    conventions = {"keras": {}, "optax": {"weight_decay": 1e-3}}
    weight_decay_forms = {**Optimizer.weight_decay_forms, "optax": "decoupled"}
    beta_1, beta_2 = Number("[0, 1]"), Number("[0, 1]")

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, weight_decay: float | None = None,
        *common: Any, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, weight_decay=weight_decay)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        momentum = self.momentums[self.variable_index(variable)]
        direction = ops.sign(ops.moving_average(momentum, gradient, self.beta_1))
        self.assign(momentum, ops.moving_average(momentum, gradient, self.beta_2))
        self.assign_sub(variable, direction * learning_rate)
