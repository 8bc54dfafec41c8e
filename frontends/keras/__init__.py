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

from typing import TYPE_CHECKING, Any

from ...backends.wording import no_such_name
from ..needed import needed
from ..wording import classes_of_core

with needed(
    "keras",
    "Keras runs on another library, which the environment variable KERAS_BACKEND names: set it to 'torch' or 'jax' "
    "before Keras is imported, and install that one, as pip install 'gradwise[torch]' does.",
):
    import keras
    from keras.optimizers import LossScaleOptimizer, Optimizer, serialize

from . import classes, schedules
from .classes import *
from .identifiers import deserialize, get
from .table import HOW as _HOW
from .wrapping import wrap

__all__ = ["LossScaleOptimizer", "Optimizer", "deserialize", "get", "schedules", "serialize", "wrap"]
__all__ += classes.__all__

if not TYPE_CHECKING:  # For which no name would be unknown.

    def __getattr__(name: str) -> Any:
        """No more names, but which was meant."""
        theirs = [each for each in dir(keras.optimizers) if each[0] != "_"]
        elsewhere = {each: f"gradwise has no such algorithm; take keras.optimizers.{each} itself" for each in theirs}
        elsewhere |= classes_of_core(__all__, _HOW)
        raise no_such_name(__name__, name, __all__, elsewhere)


for _kind in (vars(classes)[name] for name in classes.__all__):
    # Where users import them from, and configurations say they are.
    _kind.__module__ = __name__
