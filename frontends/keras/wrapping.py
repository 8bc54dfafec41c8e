"""Any core optimizer as one of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ... import optimizers
from ...optimizers import Optimizer
from ...optimizers.core.declaring import settable
from ...optimizers.core.mistaken import check_fresh, check_optimizer
from ...schedules import LearningRateSchedule
from .adapter import KerasAdapter
from .registration import custom_classes, registered


@registered
class CoreOptimizer(KerasAdapter):
    """Any optimizer of the core, in any convention, as one of Keras. `wrap` makes it.

    Attributes:
        core: the optimizer; what is set on it acts from the next step on (on JAX from the next compilation on).
    """

    def __init__(self, optimizer: Optimizer, name: str | None = None) -> None:
        copy = optimizer.unbuilt_copy()
        schedule = copy.learning_rate_schedule
        self._start(copy, copy.learning_rate if schedule is None else schedule, name or optimizer.name)

    def _settable(self) -> list[str]:
        return settable(type(self.core), self.core)

    def _elsewhere(self) -> Mapping[str, str]:
        inside = {each: f"set optimizer.core.{each}, that of the optimizer inside" for each in self._settable()}
        return {**inside, **super()._elsewhere()}

    def get_config(self) -> dict[str, Any]:
        """The core optimizer as a dictionary of plain values."""
        core = self.core.unbuilt_copy()
        if isinstance(self._learning_rate, keras.Variable):
            core.learning_rate = float(self._learning_rate.numpy())
        return {"name": self.name, "optimizer": optimizers.serialize(core)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """An optimizer from what `get_config` gave.

        Args:
            config: the arguments; it does not change.
            custom_objects: classes of optimizers and schedules by name, for those not registered with Keras.
        """
        known = custom_classes(config, Optimizer, custom_objects)
        known |= custom_classes(config, LearningRateSchedule, custom_objects)
        return cls(optimizers.deserialize(config["optimizer"], known), config["name"])


def wrap(optimizer: Optimizer, name: str | None = None) -> keras.optimizers.Optimizer:
    """A core optimizer as one of Keras, for `compile`.

    Args:
        optimizer: of the core, or of a user's own class. It is copied, and does not change.
        name: default: the optimizer's.

    Raises:
        TypeError: if it is no optimizer of the core.
        ValueError: if it has state, which would be lost.

    A model that holds a user's own class is saved as any other; to load it, register the class with Keras
    (`keras.saving.register_keras_serializable`) or pass it in `custom_objects` by its name.

    Example:
        >>> from gradwise import optimizers
        >>> from gradwise.frontends import keras as gkeras
        >>> gkeras.wrap(optimizers.Adam(0.01, convention="torch")).core.convention
        'torch'
    """
    check_optimizer(optimizer, "wrap", lambda given: isinstance(given, keras.optimizers.Optimizer))
    check_fresh(optimizer, "wrap")
    return CoreOptimizer(optimizer, name)
