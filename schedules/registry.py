"""Schedules as plain dictionaries, in the form that Keras gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..backends import shown
from ..backends.pages import show_as_page
from ..backends.wording import did_you_mean
from .base import LearningRateSchedule, tell_arguments

MODULE = "gradwise.schedules"

_HOST_MODULES = (None, MODULE, "keras.optimizers.schedules", "keras.src.optimizers.schedules.learning_rate_schedule")
_SCHEDULES: dict[str, type[LearningRateSchedule]] = {}
_Class = TypeVar("_Class", bound=type[LearningRateSchedule])


def registered(schedule_class: _Class) -> _Class:
    """Class decorator, for gradwise's own: `serialize` and `deserialize` know the class by its name; it has a page, and
    says which arguments were meant.
    """
    show_as_page(schedule_class)
    tell_arguments(schedule_class)
    _SCHEDULES[schedule_class.__name__] = schedule_class
    return schedule_class


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as a dictionary that JSON can hold.

    Args:
        schedule: a schedule with `get_config()`.

    Returns:
        {"module", "class_name", "config", "registered_name"}, the last None for gradwise's own schedules.

    Raises:
        TypeError: for anything but a schedule, a Python callable above all, and for a schedule whose config holds
            arrays, traced values or functions.
    """
    if not isinstance(schedule, LearningRateSchedule):
        raise TypeError(
            f"Only a LearningRateSchedule can be serialized, not {schedule!r} of type {type(schedule).__name__}: "
            "write a callable as a subclass of LearningRateSchedule with get_config()."
        )
    kind = type(schedule)
    own = _SCHEDULES.get(kind.__name__) is kind
    config = schedule.get_config()
    for key, value in config.items():
        if not _is_plain(value):
            raise TypeError(
                f"{kind.__name__} cannot be serialized: {key}={value!r} of type {type(value).__name__} is neither a "
                "number, a string, a bool, None nor a list or dictionary of these."
            )
    return {
        "module": MODULE if own else kind.__module__,
        "class_name": kind.__name__,
        "config": config,
        "registered_name": None if own else kind.__name__,
    }


def deserialize(
    config: Any, custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None
) -> LearningRateSchedule:
    """A schedule from its dictionary, gradwise's or Keras's; nothing is imported and the dictionary is not changed.

    Args:
        config: what `serialize` gave, or `keras.optimizers.schedules.serialize`. "class_name" and "config" suffice.
        custom_objects: the user's own classes by their class name or registered name. Default none.

    Raises:
        TypeError: if `config` is no such dictionary, or the class takes no such arguments.
        ValueError: if the class is unknown, or an argument out of range.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        raise TypeError(
            f'A schedule is deserialized from a dictionary with "class_name" and "config", not {shown(config)}.'
        )
    arguments, name = config.get("config", {}), shown(config["class_name"])
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise TypeError(f'The "config" of schedule {name} must be a dictionary of arguments, not {shown(arguments)}.')
    kind = _class_of(config, {} if custom_objects is None else custom_objects)
    try:
        given = {key: _revived(value, custom_objects) for key, value in arguments.items()}
    except RecursionError:
        raise TypeError(f'The "config" of schedule {name} holds itself, or is nested too deeply.') from None
    return kind.from_config(given)


def _class_of(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[LearningRateSchedule]]
) -> type[LearningRateSchedule]:
    if not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects must be a dictionary of classes by name, not {shown(custom_objects)}.")
    name, module, registered_name = config["class_name"], config.get("module"), config.get("registered_name")
    for key in (registered_name, name):
        if isinstance(key, str) and key in custom_objects:
            kind: Any = custom_objects[key]
            if not (isinstance(kind, type) and issubclass(kind, LearningRateSchedule)):
                raise TypeError(f"custom_objects[{key!r}] must be a class of schedules, not {shown(kind)}.")
            return kind
    if module in _HOST_MODULES and name in _SCHEDULES and registered_name in (None, name):
        return _SCHEDULES[name]
    raise ValueError(
        f"Unknown schedule {name!r} of module {shown(module)}.{did_you_mean([name], _SCHEDULES)} Pass custom_objects="
        f"{{{name!r}: the class}}, or use one of {', '.join(sorted(_SCHEDULES))}."
    )


def _revived(value: Any, custom_objects: Mapping[str, type[LearningRateSchedule]] | None) -> Any:
    """A config's value with copies of its containers, and with schedules and numbers in place of their dictionaries."""
    if isinstance(value, Mapping):
        # Keras writes arrays like this; a schedule's arguments are numbers.
        if value.get("class_name") in ("__numpy__", "__tensor__"):
            held = value.get("config")
            if not isinstance(held, Mapping) or "value" not in held:
                raise TypeError(f"A schedule's config holds an array without a value: {shown(value)}.")
            return held["value"]
        if "class_name" in value:
            return deserialize(value, custom_objects)
        return {key: _revived(item, custom_objects) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revived(item, custom_objects) for item in value]
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
