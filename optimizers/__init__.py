"""Optimizers: one file for each algorithm, written once for every array library."""

import sys

from .. import schedules
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .base import Optimizer
from .functional import OptimizerState
from .nadam import Nadam
from .registry import deserialize, get, serialize
from .rmsprop import RMSprop
from .sgd import SGD

# As in Keras, the schedules are also found here: `from gradwise.optimizers.schedules import ExponentialDecay`.
sys.modules[f"{__name__}.schedules"] = schedules

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Nadam", "Optimizer", "OptimizerState", "RMSprop",
    "deserialize", "get", "schedules", "serialize",
]  # fmt: skip
