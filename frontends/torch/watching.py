"""What is done around a step of a torch optimizer for those who watch it, left out while nobody does.

Around every step torch opens a record for its profilers and calls the hooks that were registered. Where there are
neither, the record alone takes longer than the step of a small model. So torch's own way around a step is gone only
where somebody is at its end.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

_COMMON = "_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"
_OWN = "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"
"""Where torch keeps the hooks of all optimizers, and those of one."""


def unless_watched(step: Callable[..., Any], watched: Callable[..., Any]) -> Callable[..., Any]:
    """A step that goes torch's way while somebody watches it: a profiler, a hook or a compiler.

    An `ExecutionTraceObserver` without a profiler is told of the operations in a step, but not of the step itself, as
    it is not by code that torch compiles.

    Args:
        step: of a class.
        watched: the same with all that torch does around it.

    Returns:
        `watched`, if this release of torch keeps its hooks elsewhere.
    """
    module = sys.modules[torch.optim.Optimizer.__module__]
    profiler: Any = torch.autograd.profiler
    # One tells of profilers in any thread, the other of those from before that one.
    profiled: Any = getattr(torch.autograd, "_profiler_enabled", None)
    known = profiled is not None and hasattr(profiler, "_is_profiler_enabled")
    if not known or not all(hasattr(module, name) for name in _COMMON):
        return watched
    before, after = _COMMON

    @functools.wraps(step)
    def perhaps_watched(optimizer: torch.optim.Optimizer, *arguments: Any, **keywords: Any) -> Any:
        # A closure is the user's code, which may begin to watch.
        if arguments or keywords or torch.compiler.is_compiling() or profiler._is_profiler_enabled or profiled():
            return watched(optimizer, *arguments, **keywords)
        own, common = optimizer.__dict__, module.__dict__
        if own.get(_OWN[0], True) or own.get(_OWN[1], True) or common.get(before, True) or common.get(after, True):
            return watched(optimizer)
        return step(optimizer)

    return perhaps_watched
