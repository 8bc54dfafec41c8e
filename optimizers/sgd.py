"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .base import Optimizer
from .hyperparameter import Flag, Number, in_use


class SGD(Optimizer):
    r"""Gradient descent, plain or with (Nesterov) momentum.

    With gradient $g_t$, rate $\eta$, momentum $\mu$ and $v_0 = 0$:

    $$v_t = \mu v_{t-1} - \eta g_t, \qquad \theta_t = \theta_{t-1} + v_t,$$

    and with `nesterov` $\theta_t = \theta_{t-1} + \mu v_t - \eta g_t$. Without momentum,
    $\theta_t = \theta_{t-1} - \eta g_t$.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.01.
        momentum: $\mu$ in [0, 1]. 0 keeps no velocity.
        nesterov: step from where the momentum leads. Without momentum it changes nothing.
        *common: see `Optimizer`.
        dampening: $\tau$ in [0, 1], in convention "torch". None is the convention's: 0; keyword only.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`; in convention "torch" also for `nesterov` without momentum or with dampening.

    Conventions: "keras" and "keras2" are the formula above: the rate is inside the velocity, so a changed rate acts on
    what was gathered before only as it fades. "torch" and "optax" keep it outside:
    $b_t = \mu b_{t-1} + (1-\tau) g_t$ with $b_1 = g_1$ (no dampening in a parameter's first update), then
    $\theta_t = \theta_{t-1} - \eta b_t$, or with `nesterov` $\theta_{t-1} - \eta (g_t + \mu b_t)$. "optax" has neither
    dampening nor weight decay. At a constant rate, and without dampening, all are the same: $v_t = -\eta b_t$.

    References:
        Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum in deep learning,
        ICML 2013.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {},
        "keras2": {},
        "torch": {"dampening": 0.0},
        "optax": {},
    }
    neutral: ClassVar[dict[str, Any]] = {"dampening": 0.0}

    momentum = Number("[0, 1]")
    nesterov = Flag()
    dampening = Number("[0, 1]")

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *common: Any,
        dampening: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.momentum = momentum
        self.nesterov = nesterov
        self._resolve(dampening=dampening)
        if self.convention == "torch" and self.nesterov and not (in_use(self.momentum) and self.dampening == 0.0):
            raise ValueError(
                'SGD: in convention "torch" `nesterov` needs a momentum above 0 and no dampening, received '
                f"momentum={self.momentum!r} and dampening={self.dampening!r}."
            )

    def build(self, variables: Sequence[Any]) -> None:
        """Create the velocities, if there is momentum."""
        super().build(variables)
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        if not in_use(self.momentum):
            self.assign_sub(variable, gradient * learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        if self.convention in ("torch", "optax"):
            self.assign(velocity, velocity * self.momentum + self._dampened(gradient, variable))
            direction = velocity * self.momentum + gradient if self.nesterov else velocity
            self.assign_sub(variable, direction * learning_rate)
            return
        descent = gradient * learning_rate
        self.assign(velocity, velocity * self.momentum - descent)
        self.assign_add(variable, velocity * self.momentum - descent if self.nesterov else velocity)

    def _dampened(self, gradient: Array, variable: Variable) -> Array:
        if not in_use(self.dampening):
            return gradient
        weight = ops.where(self.step_of(variable) > 1, 1 - self.dampening, 1.0)
        return gradient * ops.cast(weight, gradient.dtype)
