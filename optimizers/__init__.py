"""Optimizers: one file for each algorithm, written once for every array library.

    from gradwise import optimizers

    optimizer = optimizers.Adam(1e-3)
    optimizer.apply(grads, variables)                        # arrays that change in place
    state = optimizer.init(params)                           # pure functions, on any tree of arrays
    params, state = optimizer.step(params, grads, state)
"""

import sys
from typing import TYPE_CHECKING, Any

from .. import schedules
from ..backends.wording import name_files, no_such_name
from . import registry
from .core.multi import MultiOptimizer
from .core.optimizer import Optimizer
from .core.state import OptimizerState
from .core.wrapper import Wrapper
from .registry import *  # noqa: F403  # every algorithm

# As in Keras, the schedules are also found here: `from gradwise.optimizers.schedules import ExponentialDecay`.
sys.modules[f"{__name__}.schedules"] = schedules

__all__ = ["MultiOptimizer", "Optimizer", "OptimizerState", "Wrapper", "schedules"]
__all__ += registry.__all__

# Where Python leaves docstrings out (-OO) there is none to add to.
_summaries = [*map(registry.summary_of, registry.ALGORITHMS), registry.summary_of(MultiOptimizer)]
_around = map(registry.summary_of, registry.WRAPPERS)
__doc__ = "\n".join([
    __doc__ or "", "Algorithms:", *_summaries, "", "Wrappers, which are put around any of them:", *_around,
])  # fmt: skip

# A file's name is one that people type for the class. `from gradwise.optimizers import adamw` finds it all the same.
name_files(__name__, registry.__all__)
for _algorithm in registry.ALGORITHMS:
    globals().pop(_algorithm.__module__.rpartition(".")[2], None)


if not TYPE_CHECKING:  # For which no name would be unknown.

    def __getattr__(name: str) -> Any:
        """No more names, but which was meant."""
        raise no_such_name(__name__, name, [*registry.__all__, *__all__])
