"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .core.hyperparameters import Flag, Number, Switch, in_use
from .core.optimizer import Optimizer


class SGD(Optimizer):
    r"""Gradient descent, plain or with (Nesterov) momentum: of gradient $g_t$, rate $\eta$, momentum $\mu$, $v_0 = 0$,

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

    Conventions: "keras" and "keras2" are the formula above: the rate is inside the velocity, so a changed rate acts on
    what was gathered before only as it fades. "torch" and "optax" keep it outside:
    $b_t = \mu b_{t-1} + (1-\tau) g_t$ with $b_1 = g_1$ (no dampening in a parameter's first update), then
    $\theta_t = \theta_{t-1} - \eta b_t$, or with `nesterov` $\theta_{t-1} - \eta (g_t + \mu b_t)$. "optax" has neither
    dampening nor weight decay. At a constant rate, and without dampening, all are the same: $v_t = -\eta b_t$.

    References: Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {}, "keras2": {},
        "torch": {"rate_in_velocity": False, "nesterov_needs_momentum": True, "dampening": 0.0},
        "optax": {"rate_in_velocity": False},
    }  # fmt: skip
    rate_in_velocity, nesterov_needs_momentum = Switch(True), Switch(False)
    momentum, nesterov, dampening = Number("[0, 1]"), Flag(), Number("[0, 1]", neutral=0.0)

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *common: Any,
                 dampening: float | None = None, **keywords: Any) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(momentum=momentum, nesterov=nesterov, dampening=dampening)
        if nesterov and self.nesterov_needs_momentum and not (in_use(self.momentum) and self.dampening == 0.0):
            given = f"momentum={self.momentum!r} and dampening={self.dampening!r}"
            needs = "`nesterov` needs a momentum above 0 and no dampening"
            raise ValueError(f'SGD: in convention "{self.convention}" {needs}, received {given}.')

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        velocity = self.momentums[self.variable_index(variable)] if in_use(self.momentum) else None
        if velocity is None:
            self.assign_sub(variable, gradient * learning_rate)
        elif self.rate_in_velocity:
            descent = gradient * learning_rate
            self.assign(velocity, velocity * self.momentum - descent)
            self.assign_add(variable, velocity * self.momentum - descent if self.nesterov else velocity)
        else:
            kept, new = velocity * self.momentum, gradient
            if in_use(self.dampening):
                new = new * ops.cast(ops.where(self.step_of(variable) > 1, 1 - self.dampening, 1.0), gradient.dtype)
            self.assign(velocity, kept + new)
            direction = velocity * self.momentum + gradient if self.nesterov else velocity
            self.assign_sub(variable, direction * learning_rate)
