"""Stochastic gradient descent, with momentum."""

from typing import Any

from .core.algorithm import Array, Flag, Number, Optimizer, Switch, Variable, Variables, in_use, ops


class SGD(Optimizer):
    r"""Gradient descent, plain or with (Nesterov) momentum.

    With gradient $g_t$, rate $\eta$, momentum $\mu$ and $v_0 = 0$:

    $$v_t = \mu v_{t-1} - \eta g_t, \qquad \theta_t = \theta_{t-1} + v_t,$$

    with `nesterov` $\theta_t = \theta_{t-1} + \mu v_t - \eta g_t$. Without momentum $v_t = -\eta g_t$ in either case.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.01.
        momentum: $\mu$ in [0, 1]. 0 keeps no velocity.
        nesterov: step from where the momentum leads. Without momentum it changes nothing.
        dampening: $\tau$ in [0, 1], in convention "torch". None is the convention's: 0; keyword only.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`; in convention "torch" also for `nesterov` without momentum or with dampening.

    Conventions: "keras" and "keras2" have the rate inside the velocity. "torch" and "optax" keep it outside:
    $b_t = \mu b_{t-1} + (1-\tau) g_t$ with $b_1 = g_1$ (no dampening in a parameter's first update), then
    $\theta_t = \theta_{t-1} - \eta b_t$, or with `nesterov` $\theta_{t-1} - \eta (g_t + \mu b_t)$. "optax" has neither
    dampening nor weight decay. At a constant rate, and without dampening, all are the same: $v_t = -\eta b_t$.

    References: Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    conventions = {
        "keras": {}, "keras2": {},
        "torch": {"rate_in_velocity": False, "nesterov_needs_momentum": True, "dampening": 0.0},
        "optax": {"rate_in_velocity": False},
    }  # fmt: skip
    older_order = ("learning_rate", "momentum", "decay", "nesterov")
    rate_in_velocity, nesterov_needs_momentum = Switch(True), Switch(False)
    momentum, nesterov, dampening = Number("[0, 1]"), Flag(), Number("[0, 1]")
    suggested_rate = 0.2

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *common: Any,
                 dampening: float | None = None, **keywords: Any) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(momentum=momentum, nesterov=nesterov, dampening=dampening)
        unfit = nesterov and self.nesterov_needs_momentum and not (in_use(self.momentum) and self.dampening == 0.0)
        self._refuse_if(unfit, "`nesterov` needs a momentum above 0 and no dampening", "momentum", "dampening")

    def build(self, variables: Variables) -> None:
        super().build(variables)
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        if not in_use(self.momentum):
            self.assign_sub(variable, gradient * learning_rate)
            return
        velocity = self.momentums[self.variable_index(variable)]
        if self.rate_in_velocity:
            descent = gradient * learning_rate
            self.assign(velocity, velocity * self.momentum - descent)
            self.assign_add(variable, velocity * self.momentum - descent if self.nesterov else velocity)
        else:
            share = ops.where(self.step_of(variable) > 1, 1 - self.dampening, 1.0) if in_use(self.dampening) else None
            new = gradient if share is None else gradient * ops.cast(share, gradient.dtype)
            self.assign(velocity, velocity * self.momentum + new)
            direction = velocity * self.momentum + gradient if self.nesterov else velocity
            self.assign_sub(variable, direction * learning_rate)
