"""Schedules made of schedules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Array, backend_of, ops
from . import arguments
from .base import LearningRateSchedule, as_float, choose, ratio, scalar, steps_since
from .registry import deserialize, registered, serialize


def warmup(schedule: Any, steps: Any, initial: Any = 0.0) -> Warmup:
    """`Warmup(schedule, steps, initial)`: a linear rise to where the schedule begins, then the schedule."""
    return Warmup(schedule, steps, initial)


def join(schedules: Iterable[Any], boundaries: Iterable[Any]) -> Join:
    """`Join(schedules, boundaries)`: one schedule after the other."""
    return Join(schedules, boundaries)


@registered
class Warmup(LearningRateSchedule):
    r"""Rises linearly to the value a schedule begins with, then follows that schedule.

    $$\eta(s) = \eta_0 + \left(f(0) - \eta_0\right) \frac{s}{W} \quad (s < W), \qquad
    \eta(s) = f(s - W) \quad (s \ge W)$$

    Args:
        schedule: $f$: a schedule, any callable of the step, or a number >= 0.
        steps: $W$, a whole number of steps, >= 0.
        initial: $\eta_0$, the rate at step 0, >= 0. Default 0.
        name: default "Warmup", also for None.

    Raises:
        ValueError: if a number is out of range, or `schedule` is neither a number nor callable.

    Where hosts differ: Keras has a warm-up in CosineDecay only. There and here the first step has the rate `initial`,
    so with 0 it changes nothing; torch's LinearLR begins at a third of the rate.

    Reference: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677.
    """

    def __init__(self, schedule: Any, steps: Any, initial: Any = 0.0, name: str | None = "Warmup") -> None:
        self.schedule = _stage("schedule", schedule)
        self.steps = arguments.whole_steps("steps", steps)
        self.initial = arguments.number("initial", initial, arguments.NOT_NEGATIVE)
        self.name = arguments.text("name", name, "Warmup")

    def rate(self, step: Any) -> Array:
        """The rule itself."""

        def rising() -> Array:
            return self.initial + (_value(self.schedule, 0) - self.initial) * ratio(step, self.steps)

        return choose(step < self.steps, rising, lambda: _value(self.schedule, steps_since(step, self.steps)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the schedule as a dictionary."""
        return {
            "schedule": _serialized(self.schedule),
            "steps": self.steps,
            "initial": self.initial,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Warmup:
        """A schedule from what `get_config()` gave, which is left unchanged."""
        return cls(**{**config, "schedule": _deserialized(config["schedule"])})


@registered
class Join(LearningRateSchedule):
    r"""Follows one schedule after the other, each from its own step 0.

    $$\eta(s) = f_i(s - b_{i-1}) \quad\text{for}\quad b_{i-1} \le s < b_i, \qquad b_{-1} = 0,\; b_n = \infty$$

    Args:
        schedules: the $f_i$, at least one: schedules, callables of the step, or numbers >= 0.
        boundaries: $0 < b_0 < b_1 < \dots$ in whole steps, one fewer than schedules.
        name: default "Join", also for None.

    Raises:
        ValueError: if there is not one boundary less than schedules, if the boundaries do not increase strictly, if a
            number is out of range, or if a schedule is neither a number nor callable.

    Where hosts differ: a boundary is the first step of the later schedule, as in `optax.join_schedules` and torch's
    SequentialLR, while PiecewiseConstantDecay follows Keras, where it is the last step of the earlier value.
    """

    def __init__(self, schedules: Iterable[Any], boundaries: Iterable[Any], name: str | None = "Join") -> None:
        schedules, boundaries = arguments.sequence("schedules", schedules), arguments.sequence("boundaries", boundaries)
        if len(boundaries) != len(schedules) - 1:
            raise ValueError(
                "The length of boundaries must be 1 less than the length of schedules. Received: "
                f"{len(boundaries)} boundaries and {len(schedules)} schedules."
            )
        self.schedules = tuple(_stage("schedules", schedule) for schedule in schedules)
        boundaries = tuple(arguments.whole_steps("boundaries", item, arguments.POSITIVE) for item in boundaries)
        self.boundaries = arguments.increasing("boundaries", boundaries)
        self.name = arguments.text("name", name, "Join")

    def rate(self, step: Any) -> Array:
        """The rule itself."""
        return self._rate_from(0, step)

    def _rate_from(self, index: int, step: Any) -> Array:
        """The rate if the schedule in force is this one or a later one."""
        begin = self.boundaries[index - 1] if index else 0
        if index == len(self.boundaries):
            return _value(self.schedules[index], steps_since(step, begin))
        end = self.boundaries[index]
        # Under tracing all schedules are computed. None sees a step outside its own stretch, where it might overflow
        # and spoil derivatives though its value is not chosen.
        within = steps_since(ops.minimum(step, end), begin)
        return choose(
            step < end, lambda: _value(self.schedules[index], within), lambda: self._rate_from(index + 1, step)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the schedules as dictionaries."""
        return {
            "schedules": [_serialized(schedule) for schedule in self.schedules],
            "boundaries": list(self.boundaries),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Join:
        """A schedule from what `get_config()` gave, which is left unchanged."""
        return cls(**{**config, "schedules": [_deserialized(schedule) for schedule in config["schedules"]]})


def _stage(name: str, schedule: Any) -> Any:
    """A schedule or callable as it is, a number checked."""
    if callable(schedule):
        return schedule
    if backend_of(schedule) is None:
        raise ValueError(
            f"Argument `{name}` must be a schedule, a callable of the step or a number. Received: {name}={schedule!r}"
        )
    return arguments.number(name, schedule, arguments.NOT_NEGATIVE)


def _value(schedule: Any, step: Any) -> Array:
    """What a schedule, a callable or a number gives at a step, as floating point."""
    if not callable(schedule):
        return schedule
    value = scalar(schedule(step))
    backend = backend_of(value)
    if backend is None or backend.shape(value) != ():
        raise TypeError(
            f"A schedule must give a number. Received {value!r} of type {type(value).__name__} from {schedule!r}."
        )
    return as_float(value)


def _serialized(schedule: Any) -> Any:
    return serialize(schedule) if callable(schedule) else schedule


def _deserialized(schedule: Any) -> Any:
    return deserialize(schedule) if isinstance(schedule, dict) else schedule
