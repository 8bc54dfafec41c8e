"""The step by which torch asks an optimizer for state that does not exist yet."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import torch

from ...backends import number_of_python

_MODULE, _FUNCTION = "torch.distributed.checkpoint.state_dict", "_init_optim_state"


def asks_for_state(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the step that is being made is the one with which torch's distributed checkpoints make state.

    They set all rates and gradients to 0, and call `step`. A step of training may look the same: the first one of a
    warm-up, where the gradients are all 0 on this process. That one counts, on all processes; so the caller is what
    tells, and no gradient is read.

    Args:
        groups: of an optimizer without state.
    """
    if _MODULE not in sys.modules or any(_may_move(group.get("lr")) for group in groups):
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == _FUNCTION and frame.f_globals.get("__name__") == _MODULE:
            return True
        frame = frame.f_back
    return False


def _may_move(rate: Any) -> bool:
    """Whether a rate is not 0. Of a device, which would be waited for, torch sets no rate to 0."""
    if isinstance(rate, torch.Tensor):
        return rate.device.type != "cpu" or bool(rate)
    # Decimals may be such as refuse to be compared.
    return rate is not None and number_of_python(rate) != 0
