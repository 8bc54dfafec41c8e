"""Adagrad, steps that shrink with the sum of all squared gradients so far."""

from typing import Any

from .core.algorithm import Array, Number, Optimizer, Switch, Variable, Variables, in_use, ops


class Adagrad(Optimizer):
    r"""Adagrad: the gradient divided by the root of the sum of all its squares.

    With gradient $g_t$, rate $\eta$ and initial value $n_0$:

    $$n_t = n_{t-1} + g_t^2, \qquad \theta_t = \theta_{t-1} - \frac{\eta g_t}{\sqrt{n_t + \epsilon}}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.01.
        initial_accumulator_value: $n_0 \ge 0$. None is the convention's: 0.1 in "keras" and "optax", 0 in "keras2" and
            "torch".
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" 1e-10.
        *common: see `Optimizer`.
        lr_decay: $\gamma \ge 0$, in convention "torch". None is the convention's: 0; keyword only.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" is the formula above. "keras2" has $\sqrt{n_t} + \epsilon$ and always starts from $n_0 = 0$.
    "torch" has $\sqrt{n_t} + \epsilon$ and divides the rate by $1 + (t-1) \gamma$. "optax" is as "keras", but a step of
    0/0, which there is with $\epsilon = 0$ only, is 0; it has no weight decay.

    References:
        Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization,
        JMLR 2011.
    """

    conventions = {
        "keras": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7, "epsilon_in_sqrt": False},
        "torch": {"initial_accumulator_value": 0.0, "epsilon": 1e-10, "lr_decay": 0.0, "epsilon_in_sqrt": False},
        "optax": {"initial_accumulator_value": 0.1, "epsilon": 1e-7, "stays_at_zero_over_zero": True},
    }
    older_order = ("learning_rate", "epsilon", "decay")
    epsilon_in_sqrt, stays_at_zero_over_zero = Switch(True), Switch(False)
    initial_accumulator_value, epsilon = Number("[0, inf)"), Number("[0, inf)")
    lr_decay = Number("[0, inf)")
    suggested_rate = 0.05

    def __init__(
        self, learning_rate: Any = 0.01, initial_accumulator_value: float | None = None, epsilon: float | None = None,
        *common: Any, lr_decay: float | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(initial_accumulator_value=initial_accumulator_value, epsilon=epsilon, lr_decay=lr_decay)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.accumulators = self.add_optimizer_variables(variables, "accumulator", self.initial_accumulator_value)

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        accumulator = self.accumulators[self.variable_index(variable)]
        self.assign_add(accumulator, ops.square(gradient))
        if in_use(self.lr_decay):
            learning_rate = learning_rate / (1 + (self.step_of(variable) - 1) * self.lr_decay)
        if self.epsilon_in_sqrt:
            denominator = ops.sqrt(accumulator + self.epsilon)
        else:
            denominator = ops.sqrt(accumulator) + self.epsilon
        if self.stays_at_zero_over_zero and not in_use(self.epsilon):
            # Where all gradients were 0, so that 0/1 stands for 0/0.
            denominator = ops.where(accumulator > 0.0, denominator, 1.0)
        self.assign_sub(variable, gradient / denominator * learning_rate)
