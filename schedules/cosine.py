"""Decay along half a cosine, once or again and again."""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, as_float, exact, power_of, ratio, steps_since, whole_periods
from .registry import registered

# How much earlier than computed a restart may come, as a part of the step, in double and in single precision.
_HOST_SLACK = 1e-10
_TRACED_SLACK = 2.0**-20

_FLOOR = "give `alpha`, which is a fraction: the lowest rate divided by the one that the decay begins at"
_OF_THE_FLOOR = dict.fromkeys(("eta_min", "min_lr", "end_value", "end_learning_rate"), _FLOOR)
"""What the lowest rate itself is called elsewhere, with what to do."""


def _half_cosine(progress: Any, floor: Any, height: Any = 1.0) -> Array:
    """From floor + (1 - floor) * height at progress 0 along half a cosine to the floor at progress 1."""
    return (1.0 - floor) * (0.5 * height * (1.0 + ops.cos(math.pi * progress))) + floor


@registered
class CosineDecay(LearningRateSchedule):
    r"""Lowers the rate along half a cosine, after an optional linear warm-up.

    $$\eta(s) = \hat\eta \left[\alpha + (1 - \alpha)\, \tfrac12
    \left(1 + \cos\left(\pi \tfrac{\min(s - W, D)}{D}\right)\right)\right] \quad (s \ge W), \qquad
    \eta(s) = \eta_0 + (\hat\eta - \eta_0)\, \frac{s}{W} \quad (s < W)$$

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

    Where hosts differ: Keras's docstring omits $\eta_0$ from the warm-up; its code does not. Its example with the
    integer rate 0 is constantly 0 there.

    Reference: Loshchilov and Hutter, SGDR, arXiv:1608.03983; warm-up: Goyal et al., arXiv:1706.02677.
    """

    _elsewhere = _OF_THE_FLOOR

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
            None if warmup_target is None else arguments.number("warmup_target", warmup_target, arguments.NOT_NEGATIVE)
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
        return peak * _half_cosine(ops.minimum(ratio(step, self.decay_steps), 1.0), self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._held("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")


@registered
class CosineDecayRestarts(LearningRateSchedule):
    r"""Lowers the rate along half a cosine, and starts again and again, each time for longer and from lower.

    $$\eta(s) = \eta_0 \left[\alpha
    + (1 - \alpha)\, m^i\, \tfrac12 \left(1 + \cos\left(\pi \frac{s - S_i}{D\, t^i}\right)\right)\right], \qquad
    S_i = D\, (1 + t + \dots + t^{i-1}) \le s < S_{i+1}$$

    Args:
        initial_learning_rate: $\eta_0$, the rate at step 0, >= 0.
        first_decay_steps: $D$, the first period in steps, > 0.
        t_mul: $t$, the ratio of the lengths of two periods, >= 1. Default 2. A traced one must differ from 1.
        m_mul: $m$, the ratio of the heights of two periods, >= 0; the floor $\alpha \eta_0$ stays. Default 1.
        alpha: the part of the initial rate that is left at the end of a period, in [0, 1]. Default 0.
        name: default "SGDRDecay", also for None.

    Raises:
        ValueError: if a number is out of range.

    Where hosts differ: Keras takes `t_mul` < 1 and gives NaN after `first_decay_steps` / (1 - `t_mul`) steps, where
    infinitely many restarts have passed. In single precision its restarts come a step late where a logarithm is rounded
    down, `CosineDecayRestarts(1.0, 10)` at step 81910. Here a restart comes on its step. (Traced in single precision,
    restarts after step 2**20 may come early by a millionth of the step.)

    Reference: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983.
    """

    _elsewhere = _OF_THE_FLOOR

    def __init__(
        self, initial_learning_rate: Any, first_decay_steps: Any, t_mul: Any = 2.0, m_mul: Any = 1.0, alpha: Any = 0.0,
        name: str | None = "SGDRDecay",
    ) -> None:  # fmt: skip
        self.initial_learning_rate = arguments.number(
            "initial_learning_rate", initial_learning_rate, arguments.NOT_NEGATIVE
        )
        self.first_decay_steps = arguments.steps("first_decay_steps", first_decay_steps)
        self.t_mul = arguments.number("t_mul", t_mul, arguments.AT_LEAST_ONE)
        self.m_mul = arguments.number("m_mul", m_mul, arguments.NOT_NEGATIVE)
        self.alpha = arguments.number("alpha", alpha, arguments.UNIT_INTERVAL)
        self.name = arguments.text("name", name, "SGDRDecay")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        if isinstance(self.t_mul, float) and self.t_mul == 1.0:
            restarts, progress = self._in_equal_periods(step)
        else:
            restarts, progress = self._in_growing_periods(as_float(step))
        return self.initial_learning_rate * _half_cosine(progress, self.alpha, power_of(self.m_mul, restarts))

    def _in_equal_periods(self, step: Any) -> tuple[Array, Array]:
        restarts = whole_periods(step, self.first_decay_steps)
        return restarts, ratio(step - restarts * exact(self.first_decay_steps), self.first_decay_steps)

    def _in_growing_periods(self, step: Any) -> tuple[Array, Array]:
        growth = self.t_mul - 1.0

        def beginning(index: Array) -> Array:
            return self.first_decay_steps * (ops.power(self.t_mul, index) - 1.0) / growth

        # Restarts mostly fall on whole steps. Neither the rounding of the logarithm nor that of the power may let one
        # be missed, because there the rate jumps.
        reached = step * (1.0 + (_HOST_SLACK if isinstance(step, float) else _TRACED_SLACK))
        index = ops.floor(ops.log1p(growth * ratio(step, self.first_decay_steps)) / ops.log(self.t_mul))
        index = ops.where(reached >= beginning(index + 1.0), index + 1.0, index)
        index = ops.where(reached < beginning(index), index - 1.0, index)
        return index, (step - beginning(index)) / (self.first_decay_steps * ops.power(self.t_mul, index))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._held("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")
