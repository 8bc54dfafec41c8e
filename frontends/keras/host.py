"""What the front end needs of Keras and its backend beside their public names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, cast

import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope

__all__ = ["held_in_scope", "in_stateless_scope", "model_starting_to_train", "outside_of_compiler"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def outside_of_compiler(function: _Function) -> _Function:
    """A function that torch.compile calls rather than reads: a step is compiled already."""
    if keras.backend.backend() == "torch":
        from torch._compile import _disable_dynamo

        return cast(_Function, _disable_dynamo(function))
    return function


def held_in_scope(variable: keras.Variable) -> bool:
    """Whether a variable has a value: inside of a stateless scope one that was given to it there."""
    return not in_stateless_scope() or get_stateless_scope().get_current_value(variable) is not None


def model_starting_to_train(optimizer: Any) -> Any:
    """The model whose training loop on JAX is collecting the values of its optimizer, from a property of that.

    None if none is. Keras's loop does not say which model it is, and has no other way to ask for all values.

    Args:
        optimizer: the model's, or the one inside of its LossScaleOptimizer.
    """
    frame: FrameType | None = sys._getframe(2)
    for _ in range(2):
        if frame is not None and frame.f_code.co_name == "_get_jax_state":
            model = frame.f_locals.get("self")
            used = getattr(model, "optimizer", None)
            return model if optimizer in (used, getattr(used, "inner_optimizer", None)) else None
        frame = frame and frame.f_back
    return None
