"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import Array, Variable
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
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "keras" and "keras2" are this same formula. The rate is inside the velocity, so a changed rate acts on
    what was gathered before only as it fades; torch and optax's `trace` keep it outside.

    References:
        Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum in deep learning,
        ICML 2013.
    """

    momentum = Number("[0, 1]")
    nesterov = Flag()

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *common: Any, **keywords: Any
    ) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables: Sequence[Any]) -> None:
        """Create the velocities, if there is momentum."""
        super().build(variables)
        if in_use(self.momentum):
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        descent = gradient * learning_rate
        if not in_use(self.momentum):
            self.assign_sub(variable, descent)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, velocity * self.momentum - descent)
        if self.nesterov:
            self.assign_add(variable, velocity * self.momentum - descent)
        else:
            self.assign_add(variable, velocity.value)
