"""What users of torch give in the place of parameters, or to optimizers in the place of what is around them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from ... import optimizers
from ...backends import describe
from ...backends.detect import path_in_keras
from ...backends.wording import of_class
from ...optimizers import Optimizer
from ...optimizers.core.mistaken import is_model
from ..wording import ArgumentsOfCore, InCore

_CLIPPING = "call torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm) before optimizer.step()"
_SCHEDULER = "give the optimizer to a scheduler of torch.optim.lr_scheduler"
_AROUND = {
    **dict.fromkeys(("clipnorm", "clip_norm", "global_clipnorm", "max_norm", "max_grad_norm"), _CLIPPING),
    **dict.fromkeys(("warmup", "warmup_steps", "num_warmup_steps", "schedule", "scheduler"), _SCHEDULER),
}
"""What is around an optimizer in torch, with what to do."""


HOW = "wrap(OPTIMIZER, model.named_parameters())"
"""How an optimizer of the core is taken."""


def elsewhere(name: str, core: type[Optimizer], fixed: Mapping[str, Any]) -> Mapping[str, str]:
    """For arguments that a class of torch.optim has not what to do.

    Args:
        name: of the class. One of this name in the core has its defaults, too.
        core: the class of the core that it is.
        fixed: what it tells that one besides.
    """
    same = getattr(optimizers, name, None)
    there = InCore(core, "torch", fixed) if same is None else InCore(same, "torch")
    return ArgumentsOfCore(there, HOW, _AROUND)


def checked_parameters(params: Any, owner: str, place: str = "first", call: str | None = None) -> Any:
    """Parameters as they were given, those of an iterator in a list.

    Args:
        params: of a constructor.
        owner: what errors call the class.
        place: where it takes them.
        call: how it is called. None: as classes of torch.optim are.

    Raises:
        TypeError: for a single tensor, a model, or what cannot be iterated over.
        ValueError: if there are none.
    """
    if isinstance(params, torch.Tensor):
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
            f"{torch.typename(params)}. Put it into a list."
        )
    call = call or f"{owner}(model.parameters(), ...)"
    _refuse_what_has_no_order(params, f"{owner} takes parameters {place}", call)
    if iter(params) is not params:
        return params
    listed = list(params)
    if not listed:
        raise ValueError(
            f"optimizer got an empty parameter list: {owner} received a {type(params).__name__} that has nothing left. "
            "A generator can be read once: call `model.parameters()` again, or make a list of it."
        )
    return listed


def _refuse_what_has_no_order(params: Any, taken: str, call: str) -> None:
    """Raise TypeError for a model, or for what cannot be iterated over.

    Args:
        params: in the place of parameters.
        taken: what is taken there, as the beginning of a sentence.
        call: what to write.
    """
    if is_model(params):
        raise TypeError(
            f"{taken}, received the model itself, {of_class(type(params))}. Give `model.parameters()`."
        )
    # Some keep the order of a set in a dictionary.
    if isinstance(params, Mapping) and any(isinstance(key, str) for key in params):
        given, remedy = "a dictionary", "Give `params.values()`, or `params.items()` to keep the names"
        if "params" in params:
            given, remedy = "a group", "Put it into a list"
        raise TypeError(f"{taken}, received {given} in the place of a list. {remedy}.")
    if isinstance(params, (list, tuple)) and params and path_in_keras(params[0]) is not None:
        raise TypeError(
            f"{taken}, received {describe(params[0])}. Take gradwise.frontends.keras, or give the tensors, "
            "`[variable.value for variable in variables]`."
        )
    if isinstance(params, str):
        raise TypeError(f"{taken}, received {describe(params)}. Write `{call}`.")
    try:
        iter(params)
    except TypeError:
        raise TypeError(f"{taken}, received {describe(params)}. Write `{call}`.") from None


def check_closure(closure: Any, owner: str) -> None:
    """Raise TypeError for parameters, gradients or anything else that cannot be called in the place of a closure."""
    if not callable(closure):
        given = describe(closure) if isinstance(closure, (int, float, str)) else of_class(type(closure))
        raise TypeError(
            f"{owner}.step takes a closure, which computes the loss, or nothing, received {given}. Write "
            "`loss.backward()`, then `optimizer.step()`: it has its parameters, and their gradients."
        )


def check_state_dict(given: Any) -> None:
    """Raise TypeError for something in the place of an optimizer's state."""
    if isinstance(given, Mapping):
        return
    remedy = "Write `load_state_dict(other.state_dict())`" if hasattr(given, "state_dict") else ""
    if isinstance(given, (str, os.PathLike)):
        remedy = "Load the file first, `load_state_dict(torch.load(path, weights_only=True))`"
    received = of_class(type(given)) if hasattr(given, "state_dict") else describe(given)
    raise TypeError(f"load_state_dict takes what state_dict() gave, received {received}.{remedy and f' {remedy}.'}")


def check_group(group: Any, owner: str) -> None:
    """Refuse a group without parameters, or with something else in their place.

    Args:
        group: what a user gave.
        owner: what errors call the class.

    Raises:
        TypeError: if there is something else, or it is no dictionary.
        ValueError: if there is nothing.
    """
    if not isinstance(group, dict):
        raise TypeError(
            f"param_group must be a dict, but got {type(group)}. Write `add_param_group({{'params': parameters}})`."
        )
    if "params" not in group:
        keys = ", ".join(map(repr, group)) or "none"
        raise ValueError(f"{owner}: a parameter group is a dictionary with 'params', received one with {keys}.")
    if not isinstance(group["params"], torch.Tensor):
        taken = f"{owner} takes parameters as the 'params' of a group"
        _refuse_what_has_no_order(group["params"], taken, "{'params': model.parameters(), ...}")
