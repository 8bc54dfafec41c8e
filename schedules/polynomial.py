"""Decay along a power of the time that is left."""

from __future__ import annotations

from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, as_float, exact, ratio, whole_periods
from .registry import registered


@registered
class PolynomialDecay(LearningRateSchedule):
    r"""Goes from the initial to the end rate in `decay_steps` steps, then stays there or starts again.

    $$\eta(s) = (\eta_0 - \eta_1) \left(1 - \frac{\min(s, D)}{D}\right)^p + \eta_1$$

    With `cycle`, $D$ is replaced by its first multiple that is not below $s$ (by $D$ itself at $s = 0$) and $s$ has no
    limit: the rate reaches $\eta_1$ at every multiple of $D$ and starts again one step later, from a lower rate each
    time.

    Args:
        initial_learning_rate: $\eta_0$, the rate at step 0, >= 0.
        decay_steps: $D$ in steps, > 0.
        end_learning_rate: $\eta_1$, >= 0. Default 1e-4.
        power: $p$, >= 0. Default 1, a straight line.
        cycle: whether to start again. Default False.
        name: default "PolynomialDecay", also for None.

    Raises:
        ValueError: if a number is out of range.

    Where hosts differ: Keras takes a negative `power`, whose rate is infinite at `decay_steps`.
    """

    def __init__(
        self, initial_learning_rate: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0,
        cycle: bool = False, name: str | None = "PolynomialDecay",
    ) -> None:  # fmt: skip
        self.initial_learning_rate = arguments.number(
            "initial_learning_rate", initial_learning_rate, arguments.NOT_NEGATIVE
        )
        self.decay_steps = arguments.steps("decay_steps", decay_steps)
        self.end_learning_rate = arguments.number("end_learning_rate", end_learning_rate, arguments.NOT_NEGATIVE)
        self.power = arguments.number("power", power, arguments.NOT_NEGATIVE)
        self.cycle = arguments.flag("cycle", cycle)
        self.name = arguments.text("name", name, "PolynomialDecay")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        period = self.decay_steps
        if self.cycle:
            whole = whole_periods(step, period)
            begun = ops.where(whole * exact(period) < step, whole + 1, whole)
            period = period * as_float(ops.maximum(begun, 1))
        # A quotient compiled as a product with a rounded 1 / period may exceed 1, whose power is NaN.
        left = 1.0 - ops.minimum(ratio(step, period), 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return ops.add(ops.multiply(span, ops.power(left, self.power)), self.end_learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._held("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")
