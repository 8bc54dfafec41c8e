"""Arguments as their user names them: bound to a signature, and what is said where one does not exist."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...backends.wording import which_instead
from .synonyms import SYNONYMS

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def named_in(signature: inspect.Signature) -> list[str]:
    """The names of the arguments of a signature."""
    return [name for name, parameter in signature.parameters.items() if parameter.kind not in _ANY_NUMBER]


def takes_any(signature: inspect.Signature) -> bool:
    """Whether arguments of any name are passed on, to who knows whether they exist."""
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def instead(unknown: Sequence[str], known: Iterable[str]) -> str:
    """What is said behind the error about arguments that do not exist: which were meant, and which there are."""
    return which_instead(unknown, known, "Its arguments", SYNONYMS)


def bound(
    owner: str, signature: inspect.Signature, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> inspect.BoundArguments:
    """Arguments by name.

    Args:
        owner: what errors call the class or function.
        signature: its arguments.
        arguments, keywords: of a call.

    Raises:
        TypeError: if one does not exist, is missing or given twice, or if there are too many.
    """
    try:
        return signature.bind(*arguments, **keywords)
    except TypeError as error:
        known = named_in(signature)
        unknown = [name for name in keywords if name not in known]
        if unknown and not takes_any(signature):
            names = ", ".join(map(repr, unknown))
            said = f"got an unexpected keyword argument {names}.{instead(unknown, known)}"
        else:
            by_name = f" and {', '.join(keywords)} by name" if keywords else ""
            said = f"{error}: received {len(arguments)} by position{by_name}; its arguments are, in their order, "
            said += f"{', '.join(known)}."
        raise TypeError(f"{owner}() {said}") from None
