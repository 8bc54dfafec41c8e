"""Names that a user's own class may not take: every optimizer has them, and means something else by them.

They are found in this library's classes themselves. What a class defines is looked at when it is defined, attributes
when they are set, and slots when they are made: later each would do something else, or fail where nobody looks.
"""

from __future__ import annotations

import inspect
import types
from typing import Any, Final

from ....backends.mistakes import RuleMistake, line_of_function, line_of_rule
from ..configuration import STRUCTURE
from ..declaring import is_declaring
from ..hyperparameters import Hyperparameter
from ..origin import is_of_library

_ANOTHER = "choose another name"
_METHODS = (types.FunctionType, classmethod, staticmethod)
_WRITTEN_BY_USERS = frozenset(("build", "update_step", "begin_step", "get_config", "from_config"))
"""Methods that rules are made of; their arguments may have any names."""
_SET_BY_USERS = frozenset(("built",))
"""What a `build` written for Keras sets."""

_MEANS_ELSE: Final = {
    "decay": "as Keras's older argument divides the rate by 1 + decay * the number of calls: call one's own "
    "hyperparameter decay_rate, or give super().__init__ decay=... if that is meant",
}
"""Hyperparameters of every optimizer whose names mean something else in most formulas, and what they do here."""

_SLOTS: Final = {
    "step": "front ends keep the count of steps under it",
    "iterations": "front ends keep the count of calls under it",
    "average": "the moving average of `use_ema` is kept under it",
    "gradient_accumulator": "the gradients of `gradient_accumulation_steps` are kept under it",
}
"""Names in state and checkpoints that no slot may have, and why."""


def check_class(kind: type[Any]) -> None:
    """Refuse what a user's class defines under a name of an optimizer's.

    Args:
        kind: the class.

    Raises:
        RuleMistake: if it is of another sort than what has that name: no method, no property, or a method of other
            arguments.
    """
    if is_of_library(kind):
        return
    for name, own in vars(kind).items():
        base = None if name[:2] == "__" or name in _WRITTEN_BY_USERS else _inherited(kind, name)
        if base is not None and not _is_override(name, own, base):
            where = line_of_function(own) if isinstance(own, types.FunctionType) else f"class {kind.__name__}"
            raise RuleMistake(f"{where}: `{name}` of {kind.__name__} is {_called(name, base)}: {_ANOTHER}.")


def check_attribute(thing: Any, name: str, value: Any) -> None:
    """Refuse an attribute that a user gives an optimizer under a name of an optimizer's.

    Args:
        thing: the optimizer.
        name: of the attribute.
        value: what it is set to; where it is made already, a function may take the place of a method.

    Raises:
        AttributeError: then.
    """
    kind, making = type(thing), is_declaring(thing) or vars(thing).get("_building", False)
    if making and name in _MEANS_ELSE and not is_of_library(kind):
        raise AttributeError(f"{line_of_rule()}: `{name}` of {kind.__name__} {_MEANS_ELSE[name]}.")
    base = _inherited(kind, name)
    if name in STRUCTURE and name not in _SET_BY_USERS:
        taken = True
    elif isinstance(base, property):
        taken = making and base.fset is None
    elif name[0] == "_" and base is None:
        taken = any(name in vars(each).get("__annotations__", ()) for each in kind.__mro__ if is_of_library(each))
    else:
        taken = isinstance(base, _METHODS) and (making or not callable(value))
    if taken:
        raise AttributeError(f"{line_of_rule()}: `{name}` of {kind.__name__} is {_called(name, base)}: {_ANOTHER}.")


def check_slot(name: str) -> None:
    """Refuse a name that something else has in states and checkpoints.

    Args:
        name: of a slot, or of a number or an array beside slots.

    Raises:
        RuleMistake: then.
    """
    if name in _SLOTS:
        raise RuleMistake(f"{line_of_rule()} makes a slot {name!r}, but {_SLOTS[name]}: {_ANOTHER}.")


def _inherited(kind: type, name: str) -> Any:
    """What this library's classes among a class and its parents have under a name; None if nothing."""
    return next((vars(each)[name] for each in kind.__mro__ if is_of_library(each) and name in vars(each)), None)


def _called(name: str, base: Any) -> str:
    """What a name of an optimizer's is, in an error."""
    if isinstance(base, _METHODS):
        return "a method of every optimizer" if name[0] != "_" else "a method that optimizers work with"
    if isinstance(base, property):
        return "a property of every optimizer"
    return "where optimizers keep their state" if name == "cells" else "a name that optimizers work with"


def _is_override(name: str, own: Any, base: Any) -> bool:
    """Whether something in a class may stand for what its parent has under the name."""
    if isinstance(base, _METHODS):
        return type(own) is type(base) and (name[0] != "_" or name == "_get_variable_index") and _takes(own, base)
    # In the place of a hyperparameter something plain may stand.
    return isinstance(base, Hyperparameter) or isinstance(own, type(base))


def _takes(own: Any, base: Any) -> bool:
    """Whether a method begins with the same argument as its parent's, or takes any."""
    mine, theirs = (inspect.signature(getattr(each, "__func__", each)).parameters for each in (own, base))
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in mine.values()):
        return True
    # Behind what stands for the object.
    return list(mine)[1:2] == list(theirs)[1:2]
