"""Nadam, Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from ..schedules.base import as_float
from .hyperparameter import Number
from .moments import AdaptiveMoments


class Nadam(AdaptiveMoments):
    r"""Nadam: Adam with Nesterov momentum, whose weight warms up.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$, schedule decay $\psi$, $m_0 = v_0 = 0$, $P_0 = 1$:

    $$u_t = \beta_1 \left(1 - \tfrac12 \cdot 0.96^{\psi t}\right), \qquad P_t = P_{t-1} u_t,$$
    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\bar m_t = \frac{u_{t+1} m_t}{1 - P_t u_{t+1}} + \frac{(1-u_t) g_t}{1 - P_t}, \qquad
      \theta_t = \theta_{t-1} - \frac{\eta \bar m_t}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}.$$

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.002.
        beta_1: $\beta_1$ in [0, 1). 0.9.
        beta_2: $\beta_2$ in [0, 1). 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        *common: see `Optimizer`.
        schedule_decay: $\psi \ge 0$, in all conventions but "optax". None is the convention's: 0.004. This and the
            following are keyword only.
        decoupled_weight_decay, eps_root: as in `Adam`.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`; also for `decay` in convention "keras2", whose Nadam has none.

    Conventions: "keras" and "keras2" are this formula, with one product $P_t$ for all parameters; Keras 3 has no
    `schedule_decay` and behaves as with 1. "torch", where $\psi$ is called `momentum_decay`, has a step count and a
    product for each parameter, which differ where gradients are missing, and coupled weight decay unless
    `decoupled_weight_decay`. "optax" has no warm-up, $u_t = \beta_1$ and so $P_t = \beta_1^t$, and $\epsilon_r$ inside
    the root: it is `Adam` with `nesterov`.

    References:
        Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {"epsilon": 1e-7, "schedule_decay": 0.004},
        "keras2": {"epsilon": 1e-7, "schedule_decay": 0.004},
        "torch": {"epsilon": 1e-8, "schedule_decay": 0.004, "decoupled_weight_decay": False},
        "optax": {"epsilon": 1e-8, "eps_root": 0.0},
    }
    neutral: ClassVar[dict[str, Any]] = {**AdaptiveMoments.neutral, "schedule_decay": None}

    schedule_decay = Number("[0, inf)", optional=True)

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        *common: Any,
        schedule_decay: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **keywords)
        self._resolve(schedule_decay=schedule_decay)
        if self.convention == "keras2" and self.decay != 0.0:
            raise ValueError(f'Nadam: convention "keras2" has no `decay`, received {self.decay!r}.')

    def build(self, variables: Sequence[Any]) -> None:
        """Create the moments and the products of the momentum schedule."""
        super().build(variables)
        if self.convention == "torch":
            self.products = [self.add_scalar("u_product", 1.0, variable) for variable in variables]
        elif self.schedule_decay is not None:
            self.products = [self.add_scalar("u_product", 1.0)] * len(variables)

    def begin_step(self, gradients: Sequence[Array], variables: Sequence[Variable], learning_rate: Any) -> None:
        """Products grow once a step: that of all parameters together, or those of the parameters with a gradient."""
        if self.schedule_decay is None:
            return
        for variable in variables if self.convention == "torch" else variables[:1]:
            product = self.products[self._get_variable_index(variable)]
            self.assign(product, product * self._momentum_at(self.step_of(variable)))

    def _momentum_at(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * ops.power(0.96, as_float(step) * self.schedule_decay))

    def _weights(self, variable: Variable) -> tuple[Any, Any]:
        step = self.step_of(variable)
        if self.schedule_decay is None:
            return ops.once(self._weights_looking_ahead, step)
        product = self.products[self._get_variable_index(variable)].value
        return ops.once(self._weights_of_schedule, step, product)

    def _weights_of_schedule(self, step: Any, product: Any) -> tuple[Any, Any]:
        now, following = self._momentum_at(step), self._momentum_at(step + 1)
        return following / (1 - product * following), (1 - now) / (1 - product)
