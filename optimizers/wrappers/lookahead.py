"""Lookahead: parameters that follow, every few steps, an optimizer that runs ahead."""

from typing import Any

from ..core.algorithm import Array, Count, Number, Optimizer, Variable, Variables, Wrapper, ops


class Lookahead(Wrapper):
    r"""Lookahead: every $k$ steps the parameters go back a part of the way that the optimizer inside has come.

    With $\theta_t$ from the optimizer inside, and slow weights $\phi$ that begin as the parameters, where $t$ is a
    multiple of $k$:

    $$\phi \leftarrow \phi + \alpha (\theta_t - \phi), \qquad \theta_t \leftarrow \phi.$$

    Args:
        optimizer: see `Wrapper`.
        sync_period: $k \ge 1$. 6.
        slow_step_size: $\alpha$ in (0, 1]. 0.5.
        name: see `Wrapper`.

    Raises:
        TypeError, ValueError: see `Wrapper`.

    Steps are counted as the optimizer inside counts them (`step_of`): where that is for all parameters together, one
    that has no gradient in a step which is a multiple of $k$ goes back in the next such step in which it has one.

    For evaluation take the slow weights, `evaluation_parameters`. The state of the optimizer inside goes on after each
    return, as optax has it by default; the paper's own default is to keep it, too. Optax has the slow weights in a pair
    with the parameters, here they are a slot.

    References:
        Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, arXiv:1907.08610.
    """

    sync_period, slow_step_size = Count(1), Number("(0, 1]")

    def __init__(
        self, optimizer: Optimizer, sync_period: int = 6, slow_step_size: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(optimizer, name)
        self.sync_period, self.slow_step_size = sync_period, slow_step_size

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.__slow_weights = [self.add_variable_from_reference(each, "slow_weight", each.value) for each in variables]

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        slow = self.__slow_weights[self.variable_index(variable)]
        delta = self.delta_of(super().update_step, gradient, variable, learning_rate)

        def go_back() -> None:
            self.assign_add(slow, (variable + delta - slow.value) * self.slow_step_size)
            self.assign(variable, slow)

        ops.cond(self.step_of(variable) % self.sync_period == 0, go_back, lambda: self.assign_add(variable, delta))

    def evaluation_value(self, variable: Variable) -> Array:
        return self.__slow_weights[self.variable_index(variable)].value
