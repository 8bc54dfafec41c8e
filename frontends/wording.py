"""What the front ends say of names that they have not, and the core or their framework has."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .. import optimizers
from ..backends.arguments import named_in
from ..optimizers import Optimizer
from ..optimizers.core.conventions import facts_of
from ..optimizers.core.following import conventions_having
from ..optimizers.core.hyperparameters import hyperparameters


class InCore(NamedTuple):
    """What in the core is what a front end has.

    Attributes:
        kind: a class.
        convention: how it computes there.
        fixed: arguments that it has there besides.
    """

    kind: type[Optimizer]
    convention: str
    fixed: Mapping[str, Any] = {}

    def written(self, argument: str = "", convention: str | None = None) -> str:
        """A line that makes one.

        Args:
            argument: what its user gives.
            convention: another than its own, where the fixed arguments need not exist.
        """
        name = self.kind.__name__
        place = "gradwise.optimizers." if getattr(optimizers, name, None) is self.kind else ""
        fixed = self.fixed if convention is None else {}
        given = [f"{key}={value!r}" for key, value in fixed.items() if key != argument]
        given += [f"{argument}=..." if argument else "..."]
        convention = convention or self.convention
        if argument != "convention" and convention != next(iter(self.kind.conventions)):
            given += [f'convention="{convention}"']
        return f"{place}{name}({', '.join(given)})"


class ArgumentsOfCore(Mapping[str, str]):
    """For each argument of a class of the core what its user can do in a front end that lacks it; found when asked for.

    Args:
        there: the class, as it is in that front end.
        how: a line that takes an optimizer of the core there, with OPTIMIZER in its place.
        others: what to do for other names, or for some of these.
    """

    def __init__(self, there: InCore, how: str, others: Mapping[str, str] | None = None) -> None:
        self._there, self._how, self._others = there, how, others or {}

    def __getitem__(self, name: str) -> str:
        if name in self._others:
            return self._others[name]
        kind, own = self._there.kind, self._there.convention
        known = hyperparameters(kind)
        if name not in ("learning_rate", *known) or name not in named_in(inspect.signature(kind)):
            raise KeyError(name)
        having = conventions_having(kind, known[name]) if name in known else None
        if name == "global_clipnorm" and facts_of(own).clipnorm_is_global:
            having = [each for each in kind.conventions if not facts_of(each).clipnorm_is_global]
        if having is None or own in having:
            return f"take {self._how.replace('OPTIMIZER', self._there.written(name))}"
        if not having:
            raise KeyError(name)
        other = self._how.replace("OPTIMIZER", self._there.written(name, having[0]))
        return f'take {other}, whose formula may differ: convention "{own}" has none'

    def __iter__(self) -> Iterator[str]:
        every = ("learning_rate", *hyperparameters(self._there.kind))
        return (name for name in dict.fromkeys([*every, *self._others]) if name in self)

    def __len__(self) -> int:
        return len(list(iter(self)))


_INSIDE = {"MultiOptimizer": ", with optimizers of gradwise.optimizers inside"}
"""What a class of the core needs besides."""


def classes_of_core(known: Iterable[str], how: str) -> Mapping[str, str]:
    """For each class of the core that a front end lacks what its user can do there.

    Args:
        known: the names of the front end.
        how: as for `ArgumentsOfCore`.
    """
    lowered = {name.lower() for name in known}
    return {
        name: f"take {how.replace('OPTIMIZER', f'gradwise.optimizers.{name}(...)')}{_INSIDE.get(name, '')}"
        for name in (*(each.__name__ for each in optimizers.registry.ALGORITHMS), optimizers.MultiOptimizer.__name__)
        if name.lower() not in lowered
    }
