"""Decay with the inverse of time."""

from __future__ import annotations

from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, as_float, ratio, whole_periods
from .registry import registered


@registered
class InverseTimeDecay(LearningRateSchedule):
    r"""Divides the rate by a number that grows evenly with the step.

    $$\eta(s) = \frac{\eta_0}{1 + r\, s / D}, \qquad \text{with staircase } \frac{\eta_0}{1 + r \lfloor s / D \rfloor}$$

    With `decay_steps=1` this is the older optimizer argument `decay=decay_rate`.

    Args:
        initial_learning_rate: $\eta_0$, the rate at step 0, >= 0.
        decay_steps: $D$ in steps, > 0.
        decay_rate: $r$ per `decay_steps`, >= 0.
        staircase: whether the rate changes only at multiples of `decay_steps`. Default False.
        name: default "InverseTimeDecay", also for None.

    Raises:
        ValueError: if a number is out of range.

    Where hosts differ: Keras takes a negative `decay_rate`, whose rate has a pole.
    """

    def __init__(
        self, initial_learning_rate: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ) -> None:  # fmt: skip
        self.initial_learning_rate = arguments.number(
            "initial_learning_rate", initial_learning_rate, arguments.NOT_NEGATIVE
        )
        self.decay_steps = arguments.steps("decay_steps", decay_steps)
        self.decay_rate = arguments.number("decay_rate", decay_rate, arguments.NOT_NEGATIVE)
        self.staircase = arguments.flag("staircase", staircase)
        self.name = arguments.text("name", name, "InverseTimeDecay")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        periods = as_float((whole_periods if self.staircase else ratio)(step, self.decay_steps))
        return ops.divide(self.initial_learning_rate, ops.add(1.0, ops.multiply(self.decay_rate, periods)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._held("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")
