"""The classes of keras.optimizers, each a row: what stands in Keras for what the core has."""

from __future__ import annotations

from typing import ClassVar

import keras

from ... import optimizers as core
from .adapter import KerasAdapter
from .registration import registered
from .table import KerasRow

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "RMSprop"]


@registered
class SGD(KerasAdapter):
    """`gradwise.optimizers.SGD`, as keras.optimizers.SGD.

    Args:
        learning_rate: 0.01.
        momentum: in [0, 1]. 0.0 keeps no velocity.
        nesterov: step from where the momentum leads. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.SGD, keras.optimizers.SGD)


@registered
class RMSprop(KerasAdapter):
    """`gradwise.optimizers.RMSprop`, as keras.optimizers.RMSprop.

    Args:
        learning_rate: 0.001.
        rho: in [0, 1]; the weight of the past in the mean of squares. 0.9.
        momentum: in [0, 1]. 0.0.
        epsilon: >= 0. 1e-7.
        centered: divide by the root of the variance rather than of the mean of squares. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.RMSprop, keras.optimizers.RMSprop)


@registered
class Adagrad(KerasAdapter):
    """`gradwise.optimizers.Adagrad`, as keras.optimizers.Adagrad.

    Args:
        learning_rate: 0.001.
        initial_accumulator_value: >= 0. 0.1.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Adagrad, keras.optimizers.Adagrad)


@registered
class Adadelta(KerasAdapter):
    """`gradwise.optimizers.Adadelta`, as keras.optimizers.Adadelta.

    Args:
        learning_rate: 0.001.
        rho: in [0, 1]; the weight of the past in both means. 0.95.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Adadelta, keras.optimizers.Adadelta)


@registered
class Adam(KerasAdapter):
    """`gradwise.optimizers.Adam`, as keras.optimizers.Adam.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        amsgrad: divide by the largest mean of squares so far. False.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Adam, keras.optimizers.Adam)


@registered
class AdamW(KerasAdapter):
    """`gradwise.optimizers.AdamW`, as keras.optimizers.AdamW.

    Args:
        learning_rate: 0.001.
        weight_decay: >= 0. 0.004.
        beta_1, beta_2, epsilon, amsgrad: as in `Adam`.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.AdamW, keras.optimizers.AdamW)


@registered
class Adamax(KerasAdapter):
    """`gradwise.optimizers.Adamax`, as keras.optimizers.Adamax.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Adamax, keras.optimizers.Adamax)


@registered
class Nadam(KerasAdapter):
    """`gradwise.optimizers.Nadam` with `schedule_decay=1`, as keras.optimizers.Nadam.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1). 0.9.
        beta_2: in [0, 1). 0.999.
        epsilon: >= 0. 1e-7.
        *common: see the module.
        schedule_decay: >= 0, keyword only; 0.004 is Keras 2's. Default 1.0, which is what Keras 3 does.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Nadam, keras.optimizers.Nadam, schedule_decay=1.0)


@registered
class Lion(KerasAdapter):
    """`gradwise.optimizers.Lion`, as keras.optimizers.Lion.

    Args:
        learning_rate: 0.001.
        beta_1: in [0, 1], for the sign. 0.9.
        beta_2: in [0, 1], for the momentum. 0.99.
        *common: see the module.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.
    """

    row: ClassVar[KerasRow] = KerasRow(core.Lion, keras.optimizers.Lion)


OWN = {name.lower(): globals()[name] for name in __all__}
"""All of them, by their names in lower case."""
