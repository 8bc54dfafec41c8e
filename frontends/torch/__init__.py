"""torch.optim in gradwise: change the import, keep everything else.

`from gradwise.frontends import torch as optim`, then `optim.Adam(model.parameters(), lr=1e-3)`. Each class has torch's
name, arguments, group keys and state keys, and is a row of a table: the formula is the core class's, in convention
"torch".

What all classes have:

- `lr` >= 0, and where torch has them `betas` in [0, 1), two in anything that has items: numbers, or tensors of one
  element, read in every step.
- `weight_decay` >= 0, through the gradient unless the class says otherwise; `maximize` climbs.
- `foreach` and `fused` are hints: on the CPU a step is one compiled pass over memory, elsewhere multi-tensor functions.
- `capturable` keeps step counts beside the parameters, for CUDA graphs; `differentiable` lets autograd follow the step.

A rate that is a tensor and comes from the constructor is the first group's; later groups have copies of it, and a
parameter that stands twice in a group makes one step, not two. A gradient may have another dtype than its parameter.
Values are checked, also those of groups and those that are changed later; torch checks those of the constructor only.
Where torch.optim is at fault, the result is that of the stated mathematics
(tests/frontends/torch/test_frontend_torch_defects.py). The step with which torch's distributed checkpoints ask for
state before training makes the state and counts for nothing.

The state is the user's: counts and slots are read from it in every step, whoever wrote them and in whatever way, and
keys of others stay beside them. State that lacks a piece raises KeyError; what a hyperparameter needs that was switched
on meanwhile begins then. Loading copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...backends.wording import no_such_name
from ..needed import needed
from ..wording import classes_of_core

with needed("torch"):
    from torch import optim
    from torch.optim import Optimizer, lr_scheduler, swa_utils

from . import classes
from .classes import *
from .mistaken import HOW as _HOW
from .wrapping import Wrapped, wrap

__all__ = ["Optimizer", "lr_scheduler", "swa_utils", "wrap"]
__all__ += classes.__all__

if hasattr(optim, "swap_in_optimizer_params_and_state"):  # which older releases lack
    from torch.optim import swap_in_optimizer_params_and_state

    __all__ += ["swap_in_optimizer_params_and_state"]

if not TYPE_CHECKING:  # For which no name would be unknown.

    def __getattr__(name: str) -> Any:
        """No more names, but which was meant."""
        elsewhere = {each: f"gradwise has no such algorithm; take torch.optim.{each} itself" for each in dir(optim)}
        elsewhere |= classes_of_core(__all__, _HOW)
        raise no_such_name(__name__, name, __all__, elsewhere)


for _kind in (*(vars(classes)[name] for name in classes.__all__), Wrapped):
    # Where users import them from, and pickles find them.
    _kind.__module__ = __name__
