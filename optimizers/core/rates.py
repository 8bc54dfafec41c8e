"""What may stand for a learning rate beside a number, and what is mistaken for one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...backends import Variable, backend_of, describe, shown

_OF_MODELS = ("named_parameters", "trainable_variables", "init_with_output")
"""What models of torch, Keras and flax have; they can be called, too."""
_FRONT_ENDS = (
    "parameters are given to build, apply or init, and the optimizers that take them first are those of "
    "gradwise.frontends.torch"
)


def check_rate(value: Any, owner: str) -> None:
    """Raise ValueError for what is no rate and would be taken for one, or is often given in place of one.

    Args:
        value: what was given; whether a number is a rate is not asked here.
        owner: what errors call the optimizer.
    """
    remedy = _remedy(value)
    if remedy is not None:
        raise ValueError(
            f"{owner}: `learning_rate` must be a number in [0, inf), a schedule or a callable of the step, received "
            f"{_called(value)}{remedy and f': {remedy}'}."
        )


def _remedy(value: Any) -> str | None:
    """What to do instead, or None if the value may be a rate."""
    if isinstance(value, type):
        return f"call it to make one, {value.__name__}(...)"
    if any(hasattr(value, name) for name in _OF_MODELS) or isinstance(value, Iterator):
        return _FRONT_ENDS
    if isinstance(value, Mapping) and value and not {"class_name", "config"} & value.keys():
        return (
            "an optimizer has one rate; for several take MultiOptimizer, from patterns of names to optimizers or to "
            "their hyperparameters, such as {'bias$': {'learning_rate': 0.1}} with a default"
        )
    if isinstance(value, (list, tuple)):
        return _FRONT_ENDS if _are_parameters(value) else "an optimizer has one rate; for several take MultiOptimizer"
    return "" if value is None or isinstance(value, str) else None


def _are_parameters(values: Sequence[Any]) -> bool:
    """Whether all are arrays, and not all numbers in the shape of arrays."""
    arrays = values and all(isinstance(each, Variable) or backend_of(each) is not None for each in values)
    return bool(arrays) and any(getattr(each, "shape", ()) for each in values)


def _called(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, (str, Mapping)):
        return shown(value)
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)} things" if len(shown(value)) > 60 else shown(value)
    return f"a {type(value).__name__}"


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
            raise ValueError(
                f"{owner}: `learning_rate` must be a callable of the step or of nothing, received {describe(function)}."
            ) from None

        def without_step(step: Any) -> Any:
            return function()

        without_step.__wrapped__ = function  # type: ignore[attr-defined]  # what the user gave, for get_config
        return without_step
    return function
