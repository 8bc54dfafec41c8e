"""The keys of parameter groups: what their users call them elsewhere, and where they look for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...backends import is_number, shown
from ...backends.wording import did_you_mean, meant, synonyms_of
from ...optimizers.core.declaring import is_declaring
from ...optimizers.core.naming import unnamed
from ...optimizers.core.synonyms import SYNONYMS

RULE = "rule"
"""The key of a group's rule, where each group has one of several."""

_NEARLY_THE_SAME = 0.85
"""How alike a key must be to one that exists: schedulers have keys of their own, such as `max_momentum`."""


_OF_THE_CORE = {
    "apply": "call backward(), then step(), which takes the gradients from the parameters",
    "apply_gradients": "call backward(), then step(), which takes the gradients from the parameters",
    "build": "it has its parameters from the constructor, and add_param_group takes more",
    "exclude_from_weight_decay": (
        "give groups to the constructor, `[{'params': [bias], 'weight_decay': 0.0}, {'params': others}]`"
    ),
}
"""What the core's optimizers have, with what torch has instead."""


class KeysInGroups:
    """What has parameter groups, and refuses attributes that are called like what stands in these: they would do
    nothing. A subclass that has such an attribute of its own sets it in its constructor.
    """

    if not TYPE_CHECKING:  # For which all attributes would exist.

        def __getattr__(self, name: str) -> Any:
            instead = _instead(self, name) or "."
            raise AttributeError(f"{type(self).__name__} has no attribute `{name}`{instead}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SYNONYMS and not (name in vars(self) or hasattr(type(self), name) or is_declaring(self)):
            instead = _instead(self, name, shown(value) if is_number(value) else "value")
            if instead:
                raise AttributeError(f"{type(self).__name__} has no attribute `{name}` to set{instead}")
        super().__setattr__(name, value)


def _instead(owner: KeysInGroups, name: str, value: str | None = None) -> str:
    """What to do in place of an attribute, at the end of a sentence; nothing where that is not known.

    Args:
        owner: the optimizer.
        name: of the attribute.
        value: what it is set to, as text. Default: it is read.
    """
    if name in _OF_THE_CORE:
        return f": {_OF_THE_CORE[name]}."
    defaults = vars(owner).get("defaults", {})
    keys = [name] if name in defaults else synonyms_of(name, defaults, SYNONYMS)
    if not keys:
        return ""
    if value is None:
        return f'. Groups have it: read optimizer.param_groups[0]["{keys[0]}"].'
    called = "" if keys[0] == name else f", which is {keys[0]!r} here"
    return f"{called}. Write `for group in optimizer.param_groups: group[{keys[0]!r}] = {value}`."


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
    others = {*known, "params", "param_names", RULE}
    # To look for what is like a key takes longer than all else about a group.
    for key in [key for key in group if key not in others]:
        if isinstance(key, str) and meant(key, known, SYNONYMS, _NEARLY_THE_SAME):
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
