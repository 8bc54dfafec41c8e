"""What may stand for a learning rate beside a number."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...backends.arguments import without_types
from ...backends.detect import path_in_keras
from .hyperparameters import LEARNING_RATE
from .mistaken import instead_of_parameters, instead_of_rate, shown_in_place_of_rate

_SEVERAL = "MultiOptimizer({'bias$': {'learning_rate': 0.01}}, default=Adam(0.001))"


def check_rate(value: Any, owner: str, parameters: str | None = None, several: str = _SEVERAL) -> None:
    """Raise ValueError for what is no rate and would be taken for one, or is often given in place of one.

    Args:
        value: what was given; whether a number is a rate is not asked here.
        owner: what errors call the optimizer.
        parameters: what to do with parameters, or a model, that were given. Default: what goes for the core's classes.
        several: what to do for several rates.
    """
    remedy = instead_of_rate(value, parameters or instead_of_parameters(value, owner), several)
    if remedy is not None:
        raise _no_rate(owner, ", a schedule or a callable of the step", value, remedy)


def _no_rate(owner: str, or_else: str, value: Any, remedy: str) -> ValueError:
    """The error about something in the place of a rate, which may be a number or something else."""
    return ValueError(
        f"{owner}: `learning_rate` must be a number in [0, inf){or_else}, received "
        f"{shown_in_place_of_rate(value)}{remedy and f'. {remedy}'}."
    )


def checked_number(value: Any, owner: str) -> Any:
    """A rate that is a number: a float, or a traced scalar as it is.

    Args:
        value: what was given.
        owner: what errors call the optimizer.

    Raises:
        ValueError: if it is none.
    """
    try:
        return LEARNING_RATE.checked(value, owner)
    except ValueError:
        remedy = instead_of_rate(value, instead_of_parameters(value, owner), _SEVERAL)
        if path_in_keras(value) is not None:
            remedy = "Give a number, `float(variable.numpy())`"
        elif callable(value) and not isinstance(value, type):
            remedy = f"Give it to the optimizer, `{owner}(learning_rate=...)`, or write `schedule(step)` for its value"
        if remedy is None:
            raise
        raise _no_rate(owner, "", value, remedy) from None


def _of_step(signature: inspect.Signature) -> str:
    """A call of a function with the step alone, as it is written."""
    _, *others = signature.parameters
    return f"lambda step: function({', '.join(['step', *(f'{name}=...' for name in others)])})"


def called_with_step(function: Callable[..., Any], owner: str) -> Callable[[Any], Any]:
    """A callable of the step from one of the step or of nothing."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some callables written in C have no signature: they are called with the step.
        return function
    try:
        signature.bind(0)
    except TypeError:
        try:
            signature.bind()
        except TypeError:
            arguments = ", ".join(without_types(signature))
            raise ValueError(
                f"{owner}: `learning_rate` must be a callable of the step, or of nothing, received a function "
                f"with the arguments ({arguments}). Write `{_of_step(signature)}`, with values for the others."
            ) from None

        def without_step(step: Any) -> Any:
            return function()

        without_step.__wrapped__ = function  # type: ignore[attr-defined]  # what the user gave, for get_config
        return without_step
    return function
