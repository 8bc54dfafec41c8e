"""What a user's own class adds to the configuration of an optimizer: arguments of its constructor, and attributes.

Nobody has to write `get_config` for them. Attributes that `__init__` sets to numbers, text, flags or None are found by
looking, and arguments by what the constructor was given: plain values alone, because a model that was given would live
as long as the optimizer, and a function may not be pickled. A configuration is made again before it is given away: what
does not lead to an equal optimizer is an error that says what to write.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ....backends import HOST, NUMPY, backend_of, describe, is_number, shown
from ....backends.arguments import named_in
from ....schedules.base import LearningRateSchedule
from ..configuration import STRUCTURE, Configured, configuration, frozen, unbuilt
from ..hyperparameters import hyperparameters
from ..origin import outside_library
from ..rule import Rule

_NOT_WRITTEN = frozenset(("_excluded", "_excluded_names"))
"""Which parameters do not decay belongs to a model, and no configuration has it."""
_REMEDY = "keep each argument of the constructor in a public attribute of its name (self.x = x), or write get_config"


def is_own(kind: type) -> bool:
    """Whether a class, or one of its parents, is not of this library and has a constructor."""
    return any("__init__" in vars(each) for each in outside_library(kind))


def remembering(method: Callable[..., Any]) -> Callable[..., Any]:
    """An `__init__` that keeps what it was given under the names in its own signature, if it is the outermost one."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def remembered(self: Any, *arguments: Any, **keywords: Any) -> Any:
        attributes = vars(self)
        if "_made_with" not in attributes:
            attributes["_made_with"] = _bound(signature, self, arguments, keywords)
        return method(self, *arguments, **keywords)

    return remembered


def _bound(
    signature: inspect.Signature, keeper: Configured, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        given = signature.bind(keeper, *arguments, **keywords)
    except TypeError:
        # The constructor itself says what is wrong.
        return {}
    passed = set(given.arguments)
    given.apply_defaults()
    values = {name: given.arguments[name] for name in named_in(signature)[1:]}
    return {
        name: value if _is_plain(value) else NotKept
        for name, value in values.items()
        if name in passed or _is_plain(value)
    }


class NotKept:
    """Stands for what a constructor was given and nobody remembers."""


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, text, a flag, None, an optimizer, a schedule, or a container of such."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, Configured, LearningRateSchedule)):
        return True
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return backend_of(value) is NUMPY and not NUMPY.shape(value)


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Of an optimizer's attributes those that are public and hold a number, text, a flag or None."""
    return {
        name: value
        for name, value in attributes.items()
        if name[0] != "_" and name not in STRUCTURE
        and (value is None or isinstance(value, (bool, str)) or is_number(value))
    }  # fmt: skip


def own_values(keeper: Configured) -> dict[str, Any]:
    """What a user's class has beside the hyperparameters that it was given by this library, as it is now."""
    kind, held = type(keeper), configuration(keeper)
    users = outside_library(kind)
    ours = [vars(each) for each in kind.__mro__ if each not in users]
    known = {"name", "learning_rate", *(name for name in hyperparameters(kind) if any(name in each for each in ours))}
    given = {
        name: held[name] if name in held else getattr(keeper, name) if hasattr(kind, name) else value
        for name, value in keeper._made_with.items()
        if value is not NotKept or name in held or hasattr(kind, name)
    }
    return {name: value for name, value in {**given, **plain_attributes(held)}.items() if name not in known}


def shown_values(keeper: Configured) -> str:
    """What of that is found in its attributes, as text behind what else is shown of an optimizer."""
    held = {*configuration(keeper), *dir(type(keeper))}
    return "".join(f", {name}={_shown(value)}" for name, value in own_values(keeper).items() if name in held)


def _shown(value: Any) -> str:
    return shown(value) if backend_of(value) in (None, HOST) else describe(value)


def completed(keeper: Rule, config: dict[str, Any], checked: bool) -> dict[str, Any]:
    """A configuration with what a user's class adds.

    Args:
        keeper: the optimizer.
        config: what this library's classes know of it.
        checked: whether the class's `from_config` shall be able to make an equal optimizer of it.

    Raises:
        TypeError: if it shall and cannot.
    """
    own = {name: unbuilt(value) for name, value in own_values(keeper).items()}
    if not checked:
        return {**config, **own}
    config = {**config, **_each_once(keeper, own)}
    reason, more = _why_not_made_again(keeper, config)
    if more:
        config |= more
        reason, _ = _why_not_made_again(keeper, config)
    if not reason:
        return config
    raise TypeError(
        f"{type(keeper).__name__} has no configuration that it could be made from again, because {reason}: {_REMEDY}."
    )


def _why_not_made_again(keeper: Rule, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Why the optimizer that a configuration makes is not equal, or nothing; and what may be added to make it so."""
    made_with = keeper._made_with
    try:
        made = type(keeper).from_config(config)
    except Exception as error:
        lost = [name for name, value in made_with.items() if value is NotKept and name not in config]
        if lost:
            what = "an argument of its constructor that is no plain value"
            if len(lost) > 1:
                what = "arguments of its constructor that are no plain values"
            return f"it does not keep {', '.join(map(repr, lost))}, {what}", {}
        return f"it raises {type(error).__name__}: {shown(error, str)}", {}
    different = _differences(keeper, made)
    if not different:
        return "", {}
    names = ", ".join(f"self.{name}" for name in different)
    held = configuration(keeper)
    # Of what was made of an argument, the argument; and what was set later.
    given = {name: value for name, value in made_with.items() if value is not NotKept}
    public = [name for name in different if name[0] != "_" and name in held]
    return (
        f"{names} would not be what {'it is' if len(different) == 1 else 'they are'}",
        {name: unbuilt(given.get(name, held[name])) for name in public},
    )


def _each_once(keeper: Rule, own: dict[str, Any]) -> dict[str, Any]:
    """What a user's class adds, without attributes that hold what an argument of another name was.

    They follow from the argument; where they do not, the first equal optimizer that is tried shows it.
    """
    made_with, held = keeper._made_with, configuration(keeper)
    renamed = [frozen(own[name]) for name in made_with if name in own and name not in held]
    return {name: value for name, value in own.items() if name in made_with or frozen(value) not in renamed}


def _differences(keeper: Configured, other: Configured) -> list[str]:
    """The attributes that two optimizers of a class do not have in common."""
    held, others = configuration(keeper), configuration(other)
    names = [
        name
        for name in dict.fromkeys((*held, *others))
        if name not in _NOT_WRITTEN and (
            (name in held) is not (name in others) or frozen(held[name]) != frozen(others[name])
        )
    ]  # fmt: skip
    return names + ["learning_rate"] * (frozen(keeper.cells.rate.array) != frozen(other.cells.rate.array))


def made_from(kind: type[Any], config: dict[str, Any]) -> Any:
    """An optimizer of a user's class: made of the arguments in its own signature, and then given the rest.

    Args:
        kind: the class.
        config: arguments and attributes by name.

    Raises:
        What the constructor raises, also for what is neither.
    """
    config = {name: unbuilt(value) for name, value in config.items()}
    named = _named_by(kind)
    arguments = {name: value for name, value in config.items() if name in named}
    made = kind(**arguments)
    more = {
        name: value
        for name, value in config.items()
        if name not in arguments and (_is_unknown(made, name) or (name == "convention" and made.convention != value))
    }
    if more:
        made = kind(**arguments, **more)
    for name, value in config.items():
        if name not in arguments and name not in more and frozen(_now(made, name)) != frozen(value):
            setattr(made, name, value)
    return made


def _named_by(kind: type) -> list[str]:
    """The arguments that the constructor of a class names itself."""
    return named_in(inspect.signature(kind.__init__))[1:]  # type: ignore[misc]  # of the class itself


def _is_unknown(made: Configured, name: str) -> bool:
    return name not in vars(made) and not hasattr(type(made), name)


def _now(made: Rule, name: str) -> Any:
    if name == "learning_rate":
        return made.cells.rate.value if made.learning_rate_schedule is None else made.learning_rate_schedule
    return getattr(made, name)
