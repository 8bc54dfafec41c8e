"""Constants between boundaries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Array, ops
from . import arguments
from .base import LearningRateSchedule, exact
from .registry import registered


@registered
class PiecewiseConstantDecay(LearningRateSchedule):
    r"""Keeps each value up to and including its boundary.

    $$\eta(s) = v_i \quad\text{for}\quad b_{i-1} < s \le b_i, \qquad b_{-1} = -\infty,\; b_n = \infty$$

    Args:
        boundaries: $b_0 < b_1 < \dots$ in steps, as many as you like; none makes a constant.
        values: the rates $v_i$, >= 0, one more than boundaries.
        name: default "PiecewiseConstant", also for None.

    Raises:
        ValueError: if there is not one more value than boundaries, if the boundaries do not increase strictly, or if a
            number is out of range.

    Where hosts differ: a step on a boundary still has the value before it, as in Keras but unlike `schedules.join`,
    torch's MultiStepLR and optax. Keras takes unsorted boundaries and then adds up all the values whose interval holds
    the step, and fails at the first step without boundaries.
    """

    def __init__(
        self, boundaries: Iterable[Any], values: Iterable[Any], name: str | None = "PiecewiseConstant"
    ) -> None:
        boundaries, values = arguments.sequence("boundaries", boundaries), arguments.sequence("values", values)
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries must be 1 less than the length of values. Received: "
                f"boundaries={boundaries} of length {len(boundaries)}, and values={values} of length {len(values)}."
            )
        boundaries = tuple(arguments.steps("boundaries", boundary, arguments.ANY) for boundary in boundaries)
        self.boundaries = arguments.increasing("boundaries", boundaries)
        self.values = tuple(arguments.number("values", value, arguments.NOT_NEGATIVE) for value in values)
        self.name = arguments.text("name", name, "PiecewiseConstant")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        rate = self.values[0]
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = ops.where(ops.greater(step, exact(boundary)), value, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"boundaries": list(self.boundaries), "values": list(self.values), "name": self.name}
