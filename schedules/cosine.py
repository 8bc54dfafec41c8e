"""Decay along half a cosine, once or again and again."""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, as_float, choose, power_of, ratio, steps_since, whole_periods
from .registry import registered


def _half_cosine(progress: Any, height: Any, floor: Any) -> Array:
    """From `height` at progress 0 along a cosine to `floor` at progress 1, height being 1 and floor a part of it."""
    return (1.0 - floor) * (0.5 * height * (1.0 + ops.cos(math.pi * progress))) + floor


@registered
class CosineDecay(LearningRateSchedule):
    r"""Lowers the rate along half a cosine, after an optional linear warm-up.

    $$\eta(s) = \hat\eta \left[\alpha + (1 - \alpha)\, \tfrac12 \left(1 + \cos \pi \tfrac{\min(s - W, D)}{D}\right)\right]
    \quad (s \ge W), \qquad \eta(s) = \eta_0 + (\hat\eta - \eta_0)\, \frac{s}{W} \quad (s < W)$$

    Without `warmup_target`, $\hat\eta = \eta_0$ and $W = 0$.

    Args:
        initial_learning_rate: $\eta_0$, the rate at step 0, >= 0.
        decay_steps: $D$ in steps, the warm-up not counted, > 0.
        alpha: the part of $\hat\eta$ that is left in the end, in [0, 1]. Default 0.
        name: default "CosineDecay", also for None.
        warmup_target: $\hat\eta$, >= 0, or None for no warm-up, the default.
        warmup_steps: $W$ in steps, >= 0; without meaning if there is no target. Default 0.

    Raises:
        ValueError: if a number is out of range.

    Where hosts differ: Keras's docstring omits $\eta_0$ from the warm-up; its code does not. Its example with the integer
    rate 0 is constantly 0 there.

    Reference: Loshchilov and Hutter, SGDR, arXiv:1608.03983; warm-up: Goyal et al., arXiv:1706.02677.
    """

    def __init__(
        self, initial_learning_rate: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = "CosineDecay",
        warmup_target: Any = None, warmup_steps: Any = 0,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = arguments.number(
            "initial_learning_rate", initial_learning_rate, arguments.NOT_NEGATIVE
        )
        self.decay_steps = arguments.steps("decay_steps", decay_steps)
        self.alpha = arguments.number("alpha", alpha, arguments.UNIT_INTERVAL)
        self.name = arguments.text("name", name, "CosineDecay")
        self.warmup_target = (
            None
            if warmup_target is None
            else arguments.number("warmup_target", warmup_target, arguments.NOT_NEGATIVE)
        )
        self.warmup_steps = arguments.steps("warmup_steps", warmup_steps, arguments.NOT_NEGATIVE)

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        if self.warmup_target is None:
            return self._decayed(step, self.initial_learning_rate)
        decayed = self._decayed(steps_since(step, self.warmup_steps), self.warmup_target)
        if isinstance(self.warmup_steps, (int, float)) and self.warmup_steps == 0:
            return decayed
        rise = (self.warmup_target - self.initial_learning_rate) * ratio(step, self.warmup_steps)
        return ops.where(ops.less(step, exact(self.warmup_steps)), self.initial_learning_rate + rise, decayed)

    def _decayed(self, step: Any, peak: Any) -> Array:
        return peak * _half_cosine(ops.minimum(ratio(step, self.decay_steps), 1.0), 1.0, self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }
