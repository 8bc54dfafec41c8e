"""What people give in the place of parameters, of an optimizer or of a rate, and what to give instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...backends import Variable, backend_of, describe, shown, value_of
from ...backends.detect import imported_libraries, path_in_keras
from ...backends.wording import called, number_of, of_class
from .configuration import Configured

_OF_MODELS = {
    "trainable_variables": "model.trainable_variables",
    "named_parameters": "model.named_parameters()",
    "init_with_output": "the parameters that model.init(...) returns",
}
"""What models of torch, Keras and flax have, and how their parameters are had of them."""


def is_model(value: Any) -> bool:
    """Whether something is a model, which has parameters and is none; it can be called, too."""
    return any(hasattr(value, name) for name in _OF_MODELS)


def check_no_model(value: Any, what: str, tree: bool = False, question: bool = False) -> None:
    """Raise TypeError for a model, or a generator, in the place of its parameters.

    Args:
        value: what was given.
        what: what errors say was expected.
        tree: whether a tree was, which a generator is not.
        question: whether shapes suffice, so that Keras's variables are taken.
    """
    found = next((each for each in _OF_MODELS.items() if hasattr(value, each[0])), None)
    if found is not None:
        name, theirs = found
        given = f"`dict({theirs})`" if tree and theirs.startswith("model.named") else f"`{theirs}`"
        if name == "trainable_variables" and not question:
            given += " to an optimizer of gradwise.frontends.keras"
        raise TypeError(f"Expected {what}, received the model itself, {of_class(type(value))}. Give {given}.")
    if tree and isinstance(value, Iterator):
        raise TypeError(
            f"Expected {what}, received a {type(value).__name__}, which can be read once. Make a list or a dictionary "
            "of it, such as `list(model.parameters())` or `dict(model.named_parameters())`."
        )


_INSTEAD_IN_KERAS = (
    "Keras's variables are updated by `gradwise.frontends.keras.wrap(optimizer)`, or by a class of "
    "gradwise.frontends.keras"
)


def instead_of_array(value: Any) -> str:
    """What to do about something that is no array, behind an error's sentence."""
    if path_in_keras(value) is not None:
        return f". {_INSTEAD_IN_KERAS}"
    if isinstance(value, (int, float, list, tuple)) and not isinstance(value, bool):
        return ". Make an array of it first"
    return ". Remove it from the parameters"


def check_optimizer(value: Any, taker: str, made: Callable[[Any], bool]) -> None:
    """Refuse what is no optimizer of the core.

    Args:
        value: what was given.
        taker: what errors call the one that takes it.
        made: whether something is already what the taker makes.

    Raises:
        TypeError: with what to give instead.
    """
    if isinstance(value, Configured):
        return
    remedy = "Give one, such as `gradwise.optimizers.Adam(1e-3)`"
    if isinstance(value, type):
        remedy = f"Call it, `{value.__name__}(...)`" if issubclass(value, Configured) else remedy
    elif made(value):
        remedy = f"Use it as it is, without {taker}"
    elif is_transformation(value):
        remedy = "Give `gradwise.frontends.optax.to_optimizer(transformation)`"
    elif isinstance(value, Iterator) or is_model(value):
        remedy = "The optimizer comes first, then the parameters"
    given = called(value) if isinstance(value, (type, str, int, float, type(None))) else of_class(type(value))
    home = type(value).__module__.partition(".")[0]
    given += f" of {home}" if made(value) and home not in given else ""
    raise TypeError(f"{taker} takes an optimizer of gradwise.optimizers, received {given}. {remedy}.")


def check_fresh(optimizer: Configured, taker: str) -> None:
    """Raise ValueError if an optimizer has state that whoever takes it would lose.

    Args:
        optimizer: the optimizer.
        taker: what errors call the one that takes it.
    """
    cells = optimizer.cells
    if cells.parameters:
        state = f"{number_of(len(cells.parameters), 'parameters')} and {number_of(cells.iterations.array, 'steps')}"
        raise ValueError(
            f"{taker} starts with new state, and this {type(optimizer).__name__} already has state, of {state}, which "
            "would be lost. Pass `optimizer.unbuilt_copy()`, which has the same settings and no state."
        )


def is_transformation(value: Any) -> bool:
    """Whether something is a transformation of optax, which is a tuple of two functions."""
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))


def instead_of_rate(value: Any, parameters: str, several: str) -> str | None:
    """What to do about something in the place of a rate; None if it may be a rate.

    Args:
        value: what was given; whether a number is a rate is not asked here.
        parameters: what to do with parameters, or a model, that were given.
        several: what to do for several rates.
    """
    if isinstance(value, type):
        return f"Call it to make one, `{value.__name__}(...)`"
    if is_model(value) or isinstance(value, Iterator) or _are_parameters(value):
        return parameters
    if is_transformation(value):
        return "Give a number, or take `gradwise.frontends.optax.to_optimizer(transformation)` as the optimizer"
    if isinstance(value, Configured):
        rate = getattr(value, "learning_rate", None)
        return f"Give a number, such as {shown(rate) if isinstance(rate, float) else '1e-3'}"
    if isinstance(value, (Mapping, list, tuple)):
        return _instead_of_rates(value, several)
    if isinstance(value, str):
        return instead_of_text(value)
    return "" if value is None else None


def instead_of_parameters(value: Any, owner: str) -> str:
    """What to do with parameters, or a model, that were given in the place of a rate.

    Args:
        value: what was given.
        owner: the class that was called.
    """
    made, listed = f"{owner}(1e-3)", value[:1] if isinstance(value, (list, tuple)) else []
    taken = f"{'A model does' if is_model(value) else 'Parameters do'} not go into the constructor"
    if hasattr(value, "trainable_variables") or any(path_in_keras(each) is not None for each in listed):
        return f"{taken}. Write `model.compile(optimizer=gradwise.frontends.keras.wrap({made}))`"
    # Of what a generator gives is known nothing before it is used up.
    whose = list(map(backend_of, map(value_of, listed))) or [*imported_libraries()]
    first = next((each.how_parameters_come_first for each in whose if each and each.how_parameters_come_first), "")
    params = "model.parameters()" if hasattr(value, "named_parameters") else "params"
    written = f"{taken}. Write `{made}` and `optimizer.apply(grads, {params})`"
    return f"{written}, or, {first.format(made)}" if first else written


def instead_of_text(value: str) -> str:
    """What to do about text in the place of a number."""
    try:
        float(value)
    except ValueError:
        return "It is text: give a number"
    return f"It is text: give the number, `float({value!r})`"


def _are_parameters(value: Any) -> bool:
    """Whether something is a list of arrays, which are not all numbers in the shape of arrays."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    arrays = all(
        isinstance(each, Variable) or backend_of(each) is not None or path_in_keras(each) is not None for each in value
    )
    return arrays and any(getattr(each, "shape", ()) for each in value)


def _instead_of_rates(values: Mapping[Any, Any] | list[Any] | tuple[Any, ...], several: str) -> str | None:
    """What to do about several rates; None for a schedule as a dictionary."""
    if isinstance(values, Mapping) and {"class_name", "config"} & values.keys():
        return None
    return f"An optimizer has one rate. For another one of parameters whose names end in 'bias', write `{several}`"


def shown_in_place_of_rate(value: Any) -> str:
    """What was given in the place of a rate, in a few words: arrays and models have long ones."""
    if isinstance(value, type) or value is None or isinstance(value, (str, Mapping)):
        return called(value).removesuffix(f" of type {type(value).__name__}")
    if path_in_keras(value) is not None:
        return describe(value)
    if _are_parameters(value):
        return f"a {type(value).__name__} of {number_of(len(value), 'arrays')}"
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        short = describe(value).removesuffix(f" of type {type(value).__name__}")
        return f"a {type(value).__name__} of {len(value)} things" if len(short) > 60 or "array" in short else short
    return of_class(type(value))
