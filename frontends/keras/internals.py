"""What the front end needs of Keras and its backend beside their public names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from types import FrameType
from typing import Any, TypeVar, cast

import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope

__all__ = [
    "LentScope", "get_stateless_scope", "held_in_scope", "in_order", "in_stateless_scope", "model_starting_to_train",
    "outside_of_compiler",
]  # fmt: skip

_Function = TypeVar("_Function", bound=Callable[..., Any])


def outside_of_compiler(function: _Function) -> _Function:
    """A function that torch.compile calls rather than reads: a step is compiled already."""
    if keras.backend.backend() == "torch":
        from torch._compile import _disable_dynamo

        return cast(_Function, _disable_dynamo(function))
    return function


def in_order(
    state: Sequence[keras.Variable],
    averages: Sequence[keras.Variable | None],
    accumulators: Sequence[keras.Variable],
    numbers: Sequence[keras.Variable],
) -> list[keras.Variable]:
    """The state of an optimizer in the order in which Keras's own classes keep it and files have it.

    Args:
        state: all of it, but the count and the rate.
        averages, accumulators: of all variables, where there are any.
        numbers: those that belong to no variable.
    """
    first: list[keras.Variable | None] = [*averages, *accumulators]
    if not hasattr(keras.optimizers.Optimizer, "add_optimizer_variables"):
        # Without it Keras made what it has for one variable after the other, and Nadam its product before all slots.
        pairs = zip_longest(averages, accumulators)
        first = [*(variable for pair in pairs for variable in pair), *numbers]
    begin = [variable for variable in first if variable is not None]
    placed = {id(variable) for variable in begin}
    return [*begin, *(variable for variable in state if id(variable) not in placed)]


class LentScope(keras.StatelessScope):
    """A scope in which a few variables hold values; all others hold what they hold outside of it.

    Args:
        values: pairs of a variable and its value, in whatever dtype.

    Attributes:
        others: what was written to other variables, by their identities.
    """

    def __init__(self, values: Iterable[tuple[keras.Variable, Any]]) -> None:
        super().__init__()
        self.state_mapping = {id(variable): value for variable, value in values}
        self.others: dict[int, tuple[keras.Variable, Any]] = {}
        self._lent = set(self.state_mapping)
        self._outer = get_stateless_scope() if in_stateless_scope() else None

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Keep what is written to a variable."""
        if id(update[0]) not in self._lent:
            self.others[id(update[0])] = update
        super().add_update(update)

    def get_current_value(self, variable: keras.Variable) -> Any:
        """What a variable holds, or None for its own value."""
        value = super().get_current_value(variable)
        return self._outer.get_current_value(variable) if value is None and self._outer is not None else value


def held_in_scope(variable: keras.Variable) -> bool:
    """Whether a variable has a value: inside of a stateless scope one that was given to it there."""
    return not in_stateless_scope() or get_stateless_scope().get_current_value(variable) is not None


def model_starting_to_train(optimizer: keras.optimizers.Optimizer) -> Any:
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
