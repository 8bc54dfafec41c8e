"""MARS: gradients from which a part of their noise is taken, by what they were a step before."""

from typing import Any

from ..core.algorithm import Array, Flag, Number, Optimizer, Variable, Variables, Wrapper, ops


class MARS(Wrapper):
    r"""MARS: the optimizer inside is given gradients corrected by how they have changed since the step before.

    With gradient $g_t$, $g_0 = 0$, scale $\gamma$ and the decay rate $\beta$ of the momentum inside:

    $$c_t = g_t + \gamma \frac{\beta}{1-\beta} (g_t - g_{t-1}), \qquad
      g_t \leftarrow c_t / \max(1, \lVert c_t \rVert).$$

    Args:
        optimizer: see `Wrapper`; one with momentum, such as `AdamW` or `Lion`.
        gamma: $\gamma \ge 0$. 0.025.
        momentum_decay: $\beta$ in [0, 1). None is the `beta_1` of the optimizer inside, and follows it.
        optimize_1d: whether gradients of one axis or none are corrected too. False.
        name: see `Wrapper`.

    Raises:
        TypeError: see `Wrapper`.
        ValueError: see `Wrapper`; also if neither that is given nor the optimizer has a `beta_1`.

    $g$ is the gradient with what clipping and coupled weight decay did to it. The authors' code is the same with
    `AdamW(3e-3, beta_1=0.95, beta_2=0.99)` inside; timm leaves the first gradient as it is. The norm is that of a whole
    tensor, so that parameters are updated by whole arrays, not in one pass.

    References:
        Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models, arXiv:2411.10438.
    """

    beta_1: Any  # Of the optimizer inside, if it has one.
    gamma, momentum_decay, optimize_1d = Number("[0, inf)"), Number("[0, 1)", optional=True), Flag()

    def __init__(
        self, optimizer: Optimizer, gamma: float = 0.025, momentum_decay: float | None = None,
        optimize_1d: bool = False, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(optimizer, name)
        self.gamma, self.momentum_decay, self.optimize_1d = gamma, momentum_decay, optimize_1d
        unknown = momentum_decay is None and not hasattr(self, "beta_1")
        self._refuse_if(unknown, "give `momentum_decay`: the optimizer inside has no `beta_1` to take it from")

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.__last_gradients = self.add_optimizer_variables(variables, "last_gradient")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        if variable.ndim > 1 or self.optimize_1d:
            beta = self.beta_1 if self.momentum_decay is None else self.momentum_decay
            last = self.__last_gradients[self.variable_index(variable)]
            corrected = gradient + (gradient - last.value) * (self.gamma * beta / (1 - beta))
            self.assign(last, gradient)
            gradient = corrected / ops.maximum(ops.norm(corrected), 1.0)
        super().update_step(gradient, variable, learning_rate)
