"""Decay by a constant factor."""

from __future__ import annotations

from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, power_of, ratio, whole_periods
from .registry import registered


@registered
class ExponentialDecay(LearningRateSchedule):
    r"""Multiplies the rate by a constant factor every `decay_steps` steps.

    $$\eta(s) = \eta_0\, r^{s / D}, \qquad \text{with staircase } \eta(s) = \eta_0\, r^{\lfloor s / D \rfloor}$$

    Args:
        initial_learning_rate: $\eta_0$, the rate at step 0, >= 0.
        decay_steps: $D$ in steps, > 0.
        decay_rate: $r$ per `decay_steps`, >= 0. Above 1 the rate grows.
        staircase: whether the rate changes only at multiples of `decay_steps`. Default False.
        name: default "ExponentialDecay", also for None.

    Raises:
        ValueError: if a number is out of range.

    Where hosts differ: Keras takes negative rates, and under JAX's compiler its staircase may be one step late, where
    here integers divide as integers.
    """

    def __init__(
        self, initial_learning_rate: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ) -> None:  # fmt: skip
        self.initial_learning_rate = arguments.number(
            "initial_learning_rate", initial_learning_rate, arguments.NOT_NEGATIVE
        )
        self.decay_steps = arguments.steps("decay_steps", decay_steps)
        self.decay_rate = arguments.number("decay_rate", decay_rate, arguments.NOT_NEGATIVE)
        self.staircase = arguments.flag("staircase", staircase)
        self.name = arguments.text("name", name, "ExponentialDecay")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        periods = (whole_periods if self.staircase else ratio)(step, self.decay_steps)
        return ops.multiply(self.initial_learning_rate, power_of(self.decay_rate, periods))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._held("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")
