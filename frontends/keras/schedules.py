"""Keras's learning rate schedules, computed by gradwise's.

Each class has Keras's name, arguments and configuration, and is a row: the formula is that of the class of the same
name in `gradwise.schedules`. They can be given to Keras's own optimizers too.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras.optimizers.schedules import LearningRateSchedule, deserialize, serialize

from ... import schedules as core
from ...backends import HOST, backend_of
from ...backends.wording import no_such_name
from ...schedules.base import bound_arguments
from .registration import custom_classes, registered

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize", "wrap",
]  # fmt: skip

if not TYPE_CHECKING:  # For which no name would be unknown.

    def __getattr__(name: str) -> Any:
        """No more names, but which was meant."""
        raise no_such_name(__name__, name, __all__)


class ScheduleAdapter(LearningRateSchedule):
    """A schedule of Keras that a schedule of the core computes. The base of all classes here.

    Args:
        *arguments, **keywords: those of Keras's class of the same name.

    Raises:
        ValueError: if a number is out of range.

    Where it differs from Keras, which computes in the dtype of the initial rate, so that an integer rate makes an
    integer schedule: here an integer rate is a float. On a step that Python can read the rate is computed in double
    precision.
    """

    row: ClassVar[tuple[type[core.LearningRateSchedule], type[LearningRateSchedule]]]
    core: core.LearningRateSchedule

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "row" in vars(cls):
            parameters = list(inspect.signature(cls.row[1].__init__).parameters.values())[1:]
            cls.__signature__ = inspect.Signature(parameters)  # read by inspect.signature

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        given = bound_arguments(self.row[0], inspect.signature(type(self)), arguments, keywords)
        given.apply_defaults()
        self.core = self.row[0](**{name: plain(value) for name, value in given.arguments.items()})

    def __getattr__(self, name: str) -> Any:
        """Keras's attributes, which are the arguments."""
        if name != "core" and name in inspect.signature(type(self)).parameters:
            return getattr(self.core, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """What the core's schedule computes with is set there; a user's own class may have attributes besides."""
        kind, held = type(self), vars(self).get("core")
        if held is None or name[0] == "_" or name == "core" or hasattr(kind, name):
            super().__setattr__(name, value)
        elif kind.__module__ == __name__ or name in vars(held):
            setattr(held, name, plain(value))
        else:
            super().__setattr__(name, value)

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step, as a tensor.

        Args:
            step: the number of updates made so far: a number, a 0-d tensor, a `keras.Variable` or a traced scalar. An
                array of steps, as for a plot, gives a tensor of rates.

        Raises:
            TypeError: if the step is no number and no array of them.
        """
        return keras.ops.convert_to_tensor(self.core(plain(step)), dtype=keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self.core.get_config()


@registered
class ExponentialDecay(ScheduleAdapter):
    """`gradwise.schedules.ExponentialDecay`, as keras.optimizers.schedules.ExponentialDecay.

    Args:
        initial_learning_rate: >= 0.
        decay_steps: > 0.
        decay_rate: >= 0; a factor for every `decay_steps` steps.
        staircase: whether the rate changes only at multiples of `decay_steps`. False.
        name: "ExponentialDecay".

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.ExponentialDecay, keras.optimizers.schedules.ExponentialDecay)


@registered
class PiecewiseConstantDecay(ScheduleAdapter):
    """`gradwise.schedules.PiecewiseConstantDecay`, as keras.optimizers.schedules.PiecewiseConstantDecay.

    Args:
        boundaries: increasing steps.
        values: rates >= 0, one more than boundaries.
        name: "PiecewiseConstant".

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.PiecewiseConstantDecay, keras.optimizers.schedules.PiecewiseConstantDecay)


@registered
class PolynomialDecay(ScheduleAdapter):
    """`gradwise.schedules.PolynomialDecay`, as keras.optimizers.schedules.PolynomialDecay.

    Args:
        initial_learning_rate: >= 0.
        decay_steps: > 0.
        end_learning_rate: >= 0. 0.0001.
        power: 1.0.
        cycle: start again after `decay_steps`. False.
        name: "PolynomialDecay".

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.PolynomialDecay, keras.optimizers.schedules.PolynomialDecay)


@registered
class InverseTimeDecay(ScheduleAdapter):
    """`gradwise.schedules.InverseTimeDecay`, as keras.optimizers.schedules.InverseTimeDecay.

    Args:
        initial_learning_rate: >= 0.
        decay_steps: > 0.
        decay_rate: >= 0.
        staircase: whether the rate changes only at multiples of `decay_steps`. False.
        name: "InverseTimeDecay".

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.InverseTimeDecay, keras.optimizers.schedules.InverseTimeDecay)


@registered
class CosineDecay(ScheduleAdapter):
    """`gradwise.schedules.CosineDecay`, as keras.optimizers.schedules.CosineDecay.

    Args:
        initial_learning_rate: >= 0.
        decay_steps: > 0.
        alpha: in [0, 1]; the last rate as a fraction of the first. 0.0.
        name: "CosineDecay".
        warmup_target: >= 0; the rate the warm-up leads to. None is no warm-up.
        warmup_steps: >= 0. 0.

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.CosineDecay, keras.optimizers.schedules.CosineDecay)


@registered
class CosineDecayRestarts(ScheduleAdapter):
    """`gradwise.schedules.CosineDecayRestarts`, as keras.optimizers.schedules.CosineDecayRestarts.

    Args:
        initial_learning_rate: >= 0.
        first_decay_steps: > 0.
        t_mul: >= 1; how much longer each period is than the one before. 2.0.
        m_mul: how much of the rate each period begins with, compared with the one before. 1.0.
        alpha: in [0, 1]; the last rate of a period as a fraction of the first rate. 0.0.
        name: "SGDRDecay".

    Raises:
        ValueError: see `ScheduleAdapter`.
    """

    row: ClassVar[Any] = (core.CosineDecayRestarts, keras.optimizers.schedules.CosineDecayRestarts)


@registered
class CoreSchedule(ScheduleAdapter):
    """Any schedule of the core as one of Keras. `wrap` makes it.

    Args:
        schedule: a schedule of `gradwise.schedules`, or of a user's own subclass.
    """

    def __init__(self, schedule: core.LearningRateSchedule) -> None:
        self.core = schedule

    def get_config(self) -> dict[str, Any]:
        """The schedule as a dictionary that JSON can hold."""
        return {"schedule": core.serialize(self.core)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CoreSchedule:
        """A schedule from what `get_config` gave; a user's own class must be registered with Keras."""
        return cls(core.deserialize(config["schedule"], custom_classes(config, core.LearningRateSchedule)))


def wrap(schedule: core.LearningRateSchedule) -> LearningRateSchedule:
    """A schedule of the core as one that Keras's optimizers, ours and its own, take.

    Args:
        schedule: from `gradwise.schedules`, composed ones included, or of a user's own subclass.

    Raises:
        TypeError: if it is no schedule of the core.
    """
    if not isinstance(schedule, core.LearningRateSchedule):
        raise TypeError(f"Expected a schedule of gradwise.schedules, received {type(schedule).__name__}.")
    return CoreSchedule(schedule)


def as_keras(rate: Any) -> Any:
    """A learning rate as Keras takes it: schedules of the core wrapped, all else as it is."""
    return CoreSchedule(rate) if isinstance(rate, core.LearningRateSchedule) else rate


def rate_of(rate: Any) -> Any:
    """A learning rate as the core takes it: its own schedules unwrapped, Keras's called with the step."""
    return rate.core if isinstance(rate, ScheduleAdapter) else plain(rate)


def plain(value: Any) -> Any:
    """What a `keras.Variable` holds; anything else as it is."""
    if isinstance(value, keras.Variable):
        value = value.value
        if backend_of(value) is not HOST and getattr(value, "requires_grad", False):
            value = value.detach()
    return value
