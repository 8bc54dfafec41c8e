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


def signature_of_init(cls: type) -> inspect.Signature:
    """The arguments of a class, from its constructor alone."""
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]  # of the class itself
    return inspect.Signature(list(parameters)[1:])


def merged_signature(cls: type) -> inspect.Signature:
    """The constructor's signature, with the parent's arguments where it passes `*` and `**` on."""
    own = list(signature_of_init(cls).parameters.values())
    kinds = {parameter.kind for parameter in own}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return inspect.Signature(own)
    named = [p for p in own if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)]
    names = {parameter.name for parameter in named}
    inherited = [p for p in inspect.signature(cls.__mro__[1]).parameters.values() if p.name not in names]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        inherited = [
            p.replace(kind=keyword_only) if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD else p for p in inherited
        ]
    return inspect.Signature(sorted([*named, *inherited], key=lambda parameter: parameter.kind))
