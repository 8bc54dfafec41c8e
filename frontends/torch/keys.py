"""The keys of parameter groups: what their users call them elsewhere, and where they look for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...backends.wording import did_you_mean, meant, synonyms_of
from ...optimizers.core.declaring import is_declaring
from ...optimizers.core.naming import unnamed
from ...optimizers.core.synonyms import SYNONYMS

_NAMES = frozenset(name for meaning in SYNONYMS for name in meaning)

RULE = "rule"
"""The key of a group's rule, where each group has one of several."""

_NEARLY_THE_SAME = 0.9
"""How alike a key must be to one that exists: schedulers have keys of their own, such as `max_momentum`."""


class _InGroups:
    """An attribute that an optimizer of torch has not: what is set so would do nothing.

    A subclass that has such an attribute of its own sets it in its constructor first.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None or self._name in instance.__dict__:
            return self if instance is None else instance.__dict__[self._name]
        raise AttributeError(f"{type(instance).__name__} has no attribute `{self._name}`.{self._instead(instance)}")

    def __set__(self, instance: Any, value: Any) -> None:
        known = self._name in instance.__dict__ or is_declaring(instance)
        if not known and self._keys(instance):
            raise AttributeError(
                f"{type(instance).__name__} has no attribute `{self._name}` to set.{self._instead(instance)}"
            )
        instance.__dict__[self._name] = value

    def __delete__(self, instance: Any) -> None:
        instance.__dict__.pop(self._name, None)

    def _keys(self, instance: Any) -> list[str]:
        defaults = instance.__dict__.get("defaults", {})
        return [self._name] if self._name in defaults else synonyms_of(self._name, defaults, SYNONYMS)

    def _instead(self, instance: Any) -> str:
        return "".join(
            f' Groups have it: for group in optimizer.param_groups: group["{key}"] = ...'
            for key in self._keys(instance)[:1]
        )


def stand_in_groups(kind: type) -> None:
    """Let a class refuse attributes that are called like what stands in parameter groups."""
    for name in sorted(_NAMES):
        if name.isidentifier() and not hasattr(kind, name):
            attribute = _InGroups()
            attribute.__set_name__(kind, name)
            setattr(kind, name, attribute)


def check_keys(group: Mapping[Any, Any], known: Iterable[str], owner: str) -> None:
    """Refuse keys by which something is meant that the class calls otherwise. Of others torch knows nothing either.

    Args:
        group: what a user gave.
        known: the keys of the class.
        owner: its name.

    Raises:
        ValueError: if there is one.
    """
    known = list(known)
    for key in group:
        if isinstance(key, str) and key not in known and meant(key, known, SYNONYMS, _NEARLY_THE_SAME):
            likely = did_you_mean([key], known, SYNONYMS)
            raise ValueError(f"{owner}: a parameter group has the key {key!r}, which does nothing.{likely}")


def name_at(group: Mapping[str, Any], first: int, place: int) -> str:
    """The name of a parameter: its own, where the optimizer was given named ones.

    Args:
        group: its group.
        first: the number of the group's first parameter among those of all groups.
        place: of the parameter in its group.
    """
    names = group.get("param_names")
    return unnamed(first + place) if names is None else str(names[place])
