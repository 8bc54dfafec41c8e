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

    __slots__ = ("_chosen", "_identities", "_patterns")

    def __init__(self, chosen: Sequence[Sequence[Any]]) -> None:
        self._chosen = list(chosen)
        # Unique as long as what was chosen is kept.
        self._identities = {id(parameter) for parameters in chosen[::2] for parameter in parameters}
        self._patterns = [re.compile(pattern).search for patterns in chosen[1::2] for pattern in patterns]

    def are(self, chosen: Sequence[Sequence[Any]]) -> bool:
        """Whether these are they."""
        return len(chosen) == len(self._chosen) and all(map(operator.is_, chosen, self._chosen))

    def have(self, variable: Variable) -> bool:
        """Whether a parameter is left out."""
        identities = self._identities
        if identities and (id(variable) in identities or id(variable.array) in identities):
            return True
        return any([search(variable.name) for search in self._patterns])
