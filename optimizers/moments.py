"""What Adam and its kin share: two moving moments, and a step by their ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Flag, Number, in_use
from .quotients import scaled_quotient


class AdaptiveMoments(Optimizer):
    r"""The base of optimizers that step by a direction over the root of a moving mean of squares.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = v_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\theta_t = \theta_{t-1} - \eta \frac{a_t m_t + b_t g_t}{\sqrt{v_t / (1-\beta_2^t) + \epsilon_r} + \epsilon}.$$

    A subclass says in `_weights` what $a_t$ and $b_t$ are. Numerator and denominator are multiplied by
    $\sqrt{1-\beta_2^t}$, so that the correction costs nothing for each element:
    $\sqrt{v_t + (1-\beta_2^t) \epsilon_r} + \epsilon \sqrt{1-\beta_2^t}$. What is the same for all elements is
    multiplied last, since it might make a large momentum overflow.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable.
        beta_1: $\beta_1$ in [0, 1).
        beta_2: $\beta_2$ in [0, 1).
        epsilon: $\epsilon \ge 0$. None is the convention's.
        *common: see `Optimizer`.
        eps_root: $\epsilon_r \ge 0$, in convention "optax". None is the convention's: 0; keyword only.
        decoupled_weight_decay: in convention "torch", whether `weight_decay` acts on the parameter rather than through
            the gradient. None is the convention's: False; elsewhere it always does; keyword only.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.
    """

    weight_decay_forms: ClassVar[dict[str, str]] = {"keras": "decoupled", "torch": "coupled", "optax": "decoupled"}
    neutral: ClassVar[dict[str, Any]] = {"eps_root": 0.0, "decoupled_weight_decay": True}
    raw_epsilon: ClassVar[tuple[str, ...]] = ()
    """The conventions that add epsilon to the root of the uncorrected mean of squares."""

    beta_1 = Number("[0, 1)")
    beta_2 = Number("[0, 1)")
    epsilon = Number("[0, inf)")
    eps_root = Number("[0, inf)")
    decoupled_weight_decay = Flag()

    def __init__(
        self,
        learning_rate: Any,
        beta_1: float,
        beta_2: float,
        epsilon: float | None,
        *common: Any,
        eps_root: float | None = None,
        decoupled_weight_decay: bool | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self._resolve(epsilon=epsilon, eps_root=eps_root, decoupled_weight_decay=decoupled_weight_decay)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the first and second moments."""
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        index = self._get_variable_index(variable)
        momentum, velocity = self.momentums[index], self.velocities[index]
        self.assign(momentum, ops.moving_average(momentum, gradient, self.beta_1))
        self.assign(velocity, ops.moving_average_of_squares(velocity, gradient, self.beta_2))

        spread, correction = self._spread(index, ops.one_minus_power(self.beta_2, self.step_of(variable)))
        if in_use(self.eps_root):
            spread = spread + ops.once(ops.multiply, self.eps_root, correction)
        weights, floor = self._weights(variable), ops.smallest_normal(gradient)
        size, of_momentum, of_gradient, epsilon = ops.once(self._scaled, learning_rate, correction, floor, *weights)
        direction = momentum.value if of_gradient is None else momentum * of_momentum + gradient * of_gradient
        # Without a memory, the denominator may be epsilon beside a large momentum.
        size_first = self.convention != "optax" and not in_use(self.beta_2)
        self.assign_sub(variable, scaled_quotient(direction, ops.sqrt(spread) + epsilon, size, size_first))

    def _scaled(
        self, learning_rate: Any, correction: Any, floor: float, of_momentum: Any, of_gradient: Any
    ) -> tuple[Any, Any, Any, Any]:
        """The size of the step, the shares of momentum and gradient in its direction, the epsilon of its denominator.

        The shares are 1 together, so that a direction never overflows, whatever the rate is. And an epsilon that is in
        use stays one: beside any root but that of 0, the `floor` is too small to be seen.
        """
        root = ops.sqrt(correction)
        epsilon = self.epsilon if self.convention in type(self).raw_epsilon else self.epsilon * root
        if in_use(self.epsilon):
            epsilon = ops.maximum(epsilon, floor)
        if of_gradient is None:
            return learning_rate * root * of_momentum, None, None, epsilon
        total = of_momentum + of_gradient
        return learning_rate * root * total, of_momentum / total, of_gradient / total, epsilon

    def _weights(self, variable: Variable) -> tuple[Any, Any]:
        """The weights of momentum and gradient in this step's direction; None for no gradient."""
        raise NotImplementedError

    def _weights_looking_ahead(self, step: Any) -> tuple[Any, Any]:
        """The weights in which the next step's momentum is foreseen."""
        following = ops.one_minus_power(self.beta_1, step + 1)
        return self.beta_1 / following, (1 - self.beta_1) / ops.one_minus_power(self.beta_1, step)

    def _spread(self, index: int, correction: Any) -> tuple[Array, Any]:
        """The mean of squares that divides this step, and what it has still to be divided by to be unbiased."""
        return self.velocities[index].value, correction

    def _decay_is_coupled(self) -> bool:
        return not self.decoupled_weight_decay
