"""Optimizers: one file for each algorithm, written once for every array library."""

import sys

from .. import schedules
from . import registry
from .core.functional import OptimizerState
from .core.multi import MultiOptimizer
from .core.optimizer import Optimizer
from .registry import *  # noqa: F403  # every algorithm

# As in Keras, the schedules are also found here: `from gradwise.optimizers.schedules import ExponentialDecay`.
sys.modules[f"{__name__}.schedules"] = schedules

__all__ = ["MultiOptimizer", "Optimizer", "OptimizerState", "schedules"]
__all__ += registry.__all__
