"""What weight decay leaves out, put together so that one look tells of a parameter."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any

from ...backends import Variable


class Chosen(tuple[Any, ...]):
    """Parameters as objects: what they hold, which every step changes, does not matter, nor is it looked at."""

    __slots__ = ()


class Exclusions:
    """Parameters, and expressions for names.

    Args:
        chosen: the ones and the others, in turn. They do not change, but are replaced.
    """

    __slots__ = ("_chosen", "_identities", "_names", "_patterns")

    def __init__(self, chosen: Sequence[Sequence[Any]]) -> None:
        self._chosen = list(chosen)
        # Unique as long as what was chosen is kept.
        self._identities = {id(parameter) for parameters in chosen[::2] for parameter in parameters}
        every = {pattern: only_name(pattern) for patterns in chosen[1::2] for pattern in patterns}
        self._names = {name for name in every.values() if name is not None}
        self._patterns = [re.compile(pattern).search for pattern, name in every.items() if name is None]

    def are(self, chosen: Sequence[Sequence[Any]]) -> bool:
        """Whether these are they."""
        return len(chosen) == len(self._chosen) and all(map(operator.is_, chosen, self._chosen))

    def have(self, variable: Variable) -> bool:
        """Whether a parameter is left out."""
        identities = self._identities
        if identities and (id(variable) in identities or id(variable.array) in identities):
            return True
        # To an expression, a line's end does not belong to the name.
        if variable.name in self._names or variable.name.removesuffix("\n") in self._names:
            return True
        return any([search(variable.name) for search in self._patterns])


def only_name(pattern: str) -> str | None:
    """The one name that an expression is found in; None if it may be found in others. Of such there may be many."""
    name = re.sub(r"\\(.)", r"\1", pattern[1:-1], flags=re.DOTALL)
    return name if pattern == f"^{re.escape(name)}$" else None
