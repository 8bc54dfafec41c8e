"""keras.optimizers in gradwise: change the import, keep everything else.

`from gradwise.frontends import keras as optimizers`, then `model.compile(optimizer=optimizers.Adam(1e-3), loss=...)`.
Each class is a real `keras.optimizers.Optimizer` with the arguments, configuration and state of Keras's class of the
same name, and is a row of a table: the formula is the core class's, in convention "keras".

What all classes have, beside their own arguments:

- `learning_rate`: a number >= 0, a schedule of Keras, of `schedules` here or of `gradwise.schedules`, or a callable.
- `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
  `loss_scale_factor`, `gradient_accumulation_steps` and `name`: see `gradwise.optimizers.Optimizer`.
- the older `lr`, for `learning_rate`; `epsilon=None`, for its default; and `decay`, which divides the rate by
  1 + `decay` * the number of steps made.

Importing this module registers the classes, so that Keras finds them by name: `compile(optimizer="gradwise>adam")`, and
`keras.models.load_model` in files. Where gradwise is not imported, Keras's own classes take up the training:
`load_model(path, custom_objects={"gradwise>Adam": keras.optimizers.Adam})`. The other way, a model that was trained
with Keras's class goes on with ours from its weights: compile, `optimizer.build(model.trainable_variables)`,
`load_weights` of a `.weights.h5` file.

Two things go on otherwise than in Keras. With `use_ema` and `gradient_accumulation_steps` together, averages move when
parameters do, not in every call. And Keras's `LossScaleOptimizer` does not save the product of its own Nadam, so under
`mixed_float16` Nadam's files do not load from one into the other.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras.optimizers import LossScaleOptimizer, Optimizer, serialize

from ... import optimizers as core
from . import schedules
from .adapter import Adapter
from .registration import PACKAGE, registered
from .table import Row
from .wrapping import wrap

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LossScaleOptimizer", "Nadam", "Optimizer", "RMSprop",
    "deserialize", "get", "schedules", "serialize", "wrap",
]  # fmt: skip


@registered
class SGD(Adapter):
    """`gradwise.optimizers.SGD`, as keras.optimizers.SGD.

    Args:
        learning_rate: 0.01.
        momentum: in [0, 1]. 0.0 keeps no velocity.
        nesterov: step from where the momentum leads. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.SGD, keras.optimizers.SGD)


@registered
class RMSprop(Adapter):
    """`gradwise.optimizers.RMSprop`, as keras.optimizers.RMSprop.

    Args:
        learning_rate: 0.001.
        rho: in [0, 1]; the weight of the past in the mean of squares. 0.9.
        momentum: in [0, 1]. 0.0.
        epsilon: >= 0. 1e-7.
        centered: divide by the root of the variance rather than of the mean of squares. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.RMSprop, keras.optimizers.RMSprop)


@registered
class Adagrad(Adapter):
    """`gradwise.optimizers.Adagrad`, as keras.optimizers.Adagrad.

    Args:
        learning_rate: 0.001.
        initial_accumulator_value: >= 0. 0.1.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.Adagrad, keras.optimizers.Adagrad)


@registered
class Adadelta(Adapter):
    """`gradwise.optimizers.Adadelta`, as keras.optimizers.Adadelta.

    Args:
        learning_rate: 0.001.
        rho: in [0, 1]; the weight of the past in both means. 0.95.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.Adadelta, keras.optimizers.Adadelta)


@registered
class Adam(Adapter):
    """`gradwise.optimizers.Adam`, as keras.optimizers.Adam.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        amsgrad: divide by the largest mean of squares so far. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.Adam, keras.optimizers.Adam)


@registered
class AdamW(Adapter):
    """`gradwise.optimizers.AdamW`, as keras.optimizers.AdamW.

    Args:
        learning_rate: 0.001.
        weight_decay: >= 0. 0.004.
        beta_1, beta_2, epsilon, amsgrad: as in `Adam`.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.AdamW, keras.optimizers.AdamW)


@registered
class Adamax(Adapter):
    """`gradwise.optimizers.Adamax`, as keras.optimizers.Adamax.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.Adamax, keras.optimizers.Adamax)


@registered
class Nadam(Adapter):
    """`gradwise.optimizers.Nadam` with `schedule_decay=1`, as keras.optimizers.Nadam.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        *common: see the module.
        schedule_decay: >= 0, keyword only; 0.004 is Keras 2's. Default 1.0, which is what Keras 3 does.

    Raises:
        TypeError, ValueError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(core.Nadam, keras.optimizers.Nadam, schedule_decay=1.0)


_OWN = {kind.__name__.lower(): kind for kind in Adapter.__subclasses__() if kind.__module__ == __name__}


def get(identifier: Any) -> Any:
    """An optimizer from whatever names one.

    Args:
        identifier: a name in any case such as "adam"; a dictionary from `serialize`; an optimizer of Keras, or one of
            the core, which is wrapped; or None.

    Returns:
        An optimizer of this module where there is one of the name, otherwise Keras's own; None for None.

    Raises:
        ValueError: if it names no optimizer.
    """
    if isinstance(identifier, core.Optimizer):
        return wrap(identifier)
    if isinstance(identifier, str) and identifier.lower() in _OWN:
        return _OWN[identifier.lower()]()
    return deserialize(identifier) if isinstance(identifier, dict) else keras.optimizers.get(identifier)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """An optimizer from what `serialize` gave, for an optimizer of this module or for Keras's of the same name.

    Args:
        config: a dictionary with "class_name" and "config"; it does not change.
        custom_objects: classes by name, for those that are not registered with Keras.

    Raises:
        TypeError, ValueError: if the class is unknown, or the configuration does not fit it.
    """
    name = str(config.get("class_name")).removeprefix(f"{PACKAGE}>").lower()
    own = config.get("registered_name") in (None, config["class_name"], f"{PACKAGE}>{config['class_name']}")
    if own and name in _OWN and name not in (custom_objects or {}):
        return _OWN[name].from_config(config.get("config", {}), custom_objects)
    return keras.optimizers.deserialize(dict(config), custom_objects)
