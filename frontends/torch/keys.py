"""The keys of parameter groups: what their users call them elsewhere, and where they look for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...backends import is_number, shown
from ...backends.losses import warn
from ...backends.wording import SaidWhenRead, did_you_mean, meant, synonyms_of
from ...optimizers.core.declaring import is_declaring
from ...optimizers.core.naming import unnamed
from ...optimizers.core.synonyms import SYNONYMS

RULE = "rule"
"""The key of a group's rule, where each group has one of several."""

_NEARLY_THE_SAME = 0.85
"""How alike a key must be to one that exists: schedulers have keys of their own, such as `max_momentum`."""


_OF_SCHEDULERS = frozenset((
    "initial_lr", "base_lr", "base_lrs", "max_lr", "min_lr", "swa_lr", "max_momentum", "base_momentum",
))  # fmt: skip
"""What schedulers keep in groups, and others on optimizers, for themselves."""

_OF_THE_CORE = {
    "apply": "call backward(), then step(), which takes the gradients from the parameters",
    "apply_gradients": "call backward(), then step(), which takes the gradients from the parameters",
    "minimize": "call loss.backward(), then step(), which takes the gradients from the parameters",
    "init": "it has its state itself: call backward(), then step()",
    "update": "call backward(), then step(), which takes the gradients from the parameters",
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

    param_groups: list[dict[str, Any]]

    if not TYPE_CHECKING:  # For which all attributes would exist.

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            if name[0] == "_":
                raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
            raise SaidWhenRead(
                lambda: f"{kind.__name__} has no attribute `{name}`{_instead(self, name) or _nearly(kind, name)}"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_" and not (name in vars(self) or hasattr(type(self), name)):
            self._tell_of_attribute(name, shown(value) if is_number(value) else "value")
        super().__setattr__(name, value)

    def _tell_of_attribute(self, name: str, value: str) -> None:
        """Refuse an attribute that is called like what stands in groups, and warn of one that nearly is."""
        # Torch's own constructor sets the groups last.
        if name in _OF_SCHEDULERS or is_declaring(self) or "param_groups" not in vars(self):
            return
        sentence = f"{type(self).__name__} has no attribute `{name}` to set"
        instead = _instead(self, name, value) if name in SYNONYMS else ""
        if instead:
            raise AttributeError(f"{sentence}{instead}")
        keys = meant(name, vars(self)["defaults"], SYNONYMS, _NEARLY_THE_SAME)
        if keys:
            # It may be somebody's own.
            question = f"what is set so does nothing. Did you mean `{keys[0]}`?"
            warn(f"{sentence}, and {question}{_set_in_groups(keys[0], value)}", UserWarning)

    def _tell_of_keys(self, known: Callable[[Mapping[str, Any]], Iterable[str]]) -> None:
        """Warn, once for each, of keys that groups have got which are called like a hyperparameter elsewhere.

        Args:
            known: gives those that a group has from its class.
        """
        lengths = list(map(len, self.param_groups))
        if lengths == vars(self).get("_lengths_of_groups"):
            return
        self._lengths_of_groups = lengths
        told: set[str] = vars(self).setdefault("_keys_told", set())
        for group in self.param_groups:
            for key in group.keys() - told:
                sentence = key_instead([key], known(group), type(self).__name__)
                if sentence:
                    told.add(key)
                    warn(sentence, UserWarning)


def _nearly(kind: type, name: str) -> str:
    """Which of a class's own attributes was meant, as the end of a sentence."""
    return f".{did_you_mean([name], [each for each in dir(kind) if each[0] != '_'])}"


def _set_in_groups(key: str, value: str) -> str:
    return f" Write `for group in optimizer.param_groups: group[{key!r}] = {value}`."


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
    return f"{called}.{_set_in_groups(keys[0], value)}"


def check_keys(group: Mapping[Any, Any], known: Iterable[str], owner: str) -> None:
    """Refuse keys by which something is meant that the class calls otherwise. Of others torch knows nothing either.

    Args:
        group: what a user gave.
        known: the keys of the class.
        owner: its name.

    Raises:
        ValueError: if there is one.
    """
    sentence = key_instead(group, known, owner)
    if sentence:
        raise ValueError(sentence)


def key_instead(keys: Iterable[Any], known: Iterable[str], owner: str) -> str:
    """The sentence about the first key by which something is meant that a class calls otherwise; nothing if none is.

    Args:
        keys: of a group, or some of them.
        known, owner: as for `check_keys`.
    """
    known = list(known)
    others = {*known, "params", "param_names", RULE, *_OF_SCHEDULERS}
    # To look for what is like a key takes longer than all else about a group.
    for key in [key for key in keys if key not in others]:
        if isinstance(key, str) and key[:1] != "_" and meant(key, known, SYNONYMS, _NEARLY_THE_SAME):
            likely = did_you_mean([key], known, SYNONYMS)
            return f"{owner}: a parameter group has the key {key!r}, which does nothing.{likely}"
    return ""


def name_at(group: Mapping[str, Any], first: int, place: int) -> str:
    """The name of a parameter: its own, where the optimizer was given named ones.

    Args:
        group: its group.
        first: the number of the group's first parameter among those of all groups.
        place: of the parameter in its group.
    """
    names = group.get("param_names")
    return unnamed(first + place) if names is None else str(names[place])
