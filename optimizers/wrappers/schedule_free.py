"""Schedule-free: an average takes the place of a schedule that falls."""

from typing import Any

from ..core.algorithm import Array, Gradients, Number, Optimizer, Variable, Variables, Wrapper, ops


class ScheduleFree(Wrapper):
    r"""Schedule-free: gradients are taken between what the optimizer inside finds and the average of that.

    With the parameters $y$, at which gradients are taken, $z$ that the optimizer inside moves, both the parameters in
    the beginning, its step $u_t$, the largest rate so far $\eta^*_t$, and $x$, which evaluation has:

    $$z_t = z_{t-1} - u_t, \qquad w_t = (\eta^*_t)^p, \qquad c_t = \frac{w_t}{w_1 + \dots + w_t},$$
    $$x_t = (1 - c_t) x_{t-1} + c_t z_t, \qquad y_t = (1 - \beta) z_t + \beta x_t.$$

    Args:
        optimizer: see `Wrapper`; without momentum of its own, such as `SGD(1.0)` or `RMSprop`, whose place $\beta$
            takes, or `Adam(beta_1=0.0)`.
        interpolation: $\beta$ in (0, 1). 0.9.
        weight_power: $p \ge 0$. 2.
        name: see `Wrapper`.

    Raises:
        TypeError, ValueError: see `Wrapper`.

    $x$ is not kept: it is $(y - (1-\beta) z) / \beta$, and `evaluation_parameters` gives it. Evaluate that, never the
    parameters themselves; and let statistics such as those of batch normalization be taken with it. Weight decay that
    is decoupled is taken off $y$. While all rates were 0, $c_t$ is 0.

    References:
        Defazio et al., The Road Less Scheduled, arXiv:2405.15682.
    """

    interpolation, weight_power = Number("(0, 1)"), Number("[0, inf)")

    def __init__(
        self, optimizer: Optimizer, interpolation: float = 0.9, weight_power: float = 2.0, name: str | None = None
    ) -> None:
        super().__init__(optimizer, name)
        self.interpolation, self.weight_power = interpolation, weight_power

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.__ahead = [self.add_variable_from_reference(each, "z", each.value) for each in variables]
        self.__largest_rate = self.add_scalar("largest_rate", 0.0)
        self.__weight_sum, self.__share = self.add_scalar("weight_sum", 0.0), self.add_scalar("average_share", 0.0)

    def begin_step(self, gradients: Gradients, variables: Variables, learning_rate: Any) -> None:
        super().begin_step(gradients, variables, learning_rate)
        self.assign(self.__largest_rate, ops.maximum(self.__largest_rate, learning_rate))
        weight = self.__largest_rate.value ** self.weight_power
        self.assign_add(self.__weight_sum, weight)
        none = self.__weight_sum.value == 0
        self.assign(self.__share, ops.where(none, 0.0, weight / ops.where(none, 1.0, self.__weight_sum)))

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        z = self.__ahead[self.variable_index(variable)]
        delta = self.delta_of(super().update_step, gradient, variable, learning_rate)
        share = ops.cast(self.__share, gradient.dtype)
        # y' = (1-β) z' + β x' with β x = y - (1-β) z, where x is not kept.
        x_part = variable - z * (1 - self.interpolation)
        self.assign_add(z, delta)
        after = z * (1 - self.interpolation + self.interpolation * share) + x_part * (1 - share)
        self.assign(variable, after)

    def evaluation_value(self, variable: Variable) -> Array:
        z = self.__ahead[self.variable_index(variable)]
        return (variable - z * (1 - self.interpolation)) / self.interpolation
