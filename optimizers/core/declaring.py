"""Setting an attribute that does not exist, such as `optimizer.learning_rte = 0.1`, is an error.

What is misspelt would do nothing, and nobody would know. A class of one's own makes its attributes in `__init__` and
`build`, where any name is allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...backends.wording import did_you_mean, which_instead
from .configuration import STRUCTURE
from .hyperparameters import hyperparameters
from .origin import is_of_library
from .synonyms import NO_ATTRIBUTES, SYNONYMS

_DECLARING = "_declaring"
_WHERE = "A class of your own makes attributes of its own in __init__ or build."


def declaring(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method, such as `__init__`, during which its object may be given attributes of any name.

    Args:
        method: the method; methods that it calls, those of a parent class among them, may be such as well.
    """

    @functools.wraps(method)
    def declared(self: Any, *arguments: Any, **keywords: Any) -> Any:
        attributes = self.__dict__
        if _DECLARING in attributes:
            return method(self, *arguments, **keywords)
        attributes[_DECLARING] = True
        try:
            return method(self, *arguments, **keywords)
        finally:
            attributes.pop(_DECLARING, None)

    return declared


def is_declaring(thing: object) -> bool:
    """Whether an object is being made, and may be given attributes of any name."""
    return _DECLARING in thing.__dict__


def check_declared(
    thing: object,
    name: str,
    known: Callable[[], Iterable[str]],
    elsewhere: Callable[[], Mapping[str, str]],
    where: str = _WHERE,
) -> None:
    """Refuse to give an object an attribute that neither its class nor the object itself has.

    Args:
        thing: the object.
        name: of the attribute.
        known: gives the names of the attributes that its users set.
        elsewhere: gives, for attributes that cannot be set, or that such objects have elsewhere, what to do.
        where: a sentence that says where classes that users write set others.

    Raises:
        AttributeError: with the attribute that was probably meant.
    """
    if name in thing.__dict__ or is_declaring(thing):
        return
    kind = type(thing)
    there = hasattr(kind, name)
    if there and getattr(getattr(kind, name), "fset", thing) is not None:
        return
    remedy = elsewhere().get(name)
    if remedy is not None:
        raise AttributeError(f"`{name}` of {kind.__name__} cannot be set: {remedy}.")
    if not there:
        names = list(known())
        if name in NO_ATTRIBUTES:
            raise AttributeError(f"{kind.__name__} has no attribute `{name}` to set: {NO_ATTRIBUTES[name]}.")
        instead = which_instead([name], names, "There", SYNONYMS)
        own = "" if is_of_library(kind) or did_you_mean([name], names, SYNONYMS) else f" {where}"
        raise AttributeError(f"{kind.__name__} has no attribute `{name}` to set.{instead}{own}")


def has_no(name: str, kind: type, known: Iterable[str]) -> str:
    """The sentence about an attribute that is asked for and does not exist.

    Args:
        name: of the attribute.
        kind: the class of what has it not.
        known: the attributes that users set. What the class has besides may be meant, too.
    """
    known = list(known)
    there = [*known, *(each for each in dir(kind) if each[0] != "_")]
    instead = did_you_mean([name], there, SYNONYMS) or which_instead([name], known, "Its attributes", SYNONYMS)
    return f"{kind.__name__} has no attribute `{name}`.{instead}"


def settable(kind: type, thing: object) -> list[str]:
    """The attributes that an optimizer's users set: the rate, the hyperparameters and what its class declared.

    Args:
        kind: a class of optimizers.
        thing: an optimizer, or what stands for one.
    """
    attributes = [name for name in vars(thing) if name[0] != "_" and name not in STRUCTURE]
    every, common = hyperparameters(kind), hyperparameters(_oldest(kind))
    # Those of the algorithm before those that all have.
    own = [name for name in every if name not in common]
    return list(dict.fromkeys(["learning_rate", *own, *every, *attributes]))


def _oldest(kind: type) -> type:
    """Of a class and its parents the oldest that has hyperparameters: the base of all optimizers."""
    return next(each for each in reversed(kind.__mro__) if hyperparameters(each))
