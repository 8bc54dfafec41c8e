"""Optimizers from whatever names one: names, configurations, optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ... import optimizers as core
from ...backends import describe
from ...backends.wording import which_instead
from .classes import OWN
from .registration import PACKAGE
from .wrapping import wrap


def get(identifier: Any) -> Any:
    """An optimizer from whatever names one.

    Args:
        identifier: a name in any case such as "adam"; a dictionary from `serialize`; an optimizer of Keras, or one of
            the core, which is wrapped; or None.

    Returns:
        An optimizer of this module where there is one of the name, otherwise Keras's own; None for None.

    Raises:
        ValueError: if it names no optimizer.
    """
    if isinstance(identifier, core.Optimizer):
        return wrap(identifier)
    if isinstance(identifier, str) and identifier.lower() in OWN:
        return OWN[identifier.lower()]()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    try:
        return keras.optimizers.get(identifier)
    except ValueError as error:
        if isinstance(identifier, type):
            raise ValueError(f"{error}. Call it, `{identifier.__name__}(...)`.") from None
        if not isinstance(identifier, str):
            raise ValueError(f"{error}. Give an optimizer, such as Adam(1e-3), or a name, such as 'adam'.") from None
        known = [*OWN, *(name.lower() for name, kind in vars(keras.optimizers).items() if isinstance(kind, type))]
        raise ValueError(f"{error}.{which_instead([identifier], known, 'Its names')}") from None


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """An optimizer from what `serialize` gave, for an optimizer of this module or for Keras's of the same name.

    Args:
        config: a dictionary with "class_name" and "config"; it does not change.
        custom_objects: classes by name, for those that are not registered with Keras.

    Raises:
        TypeError, ValueError: if the class is unknown, or the configuration does not fit it.
    """
    if not isinstance(config, Mapping) or "class_name" not in config:
        given = describe(config)
        raise TypeError(f"deserialize takes the dictionary that serialize(optimizer) gave, received {given}.")
    name = str(config.get("class_name")).removeprefix(f"{PACKAGE}>").lower()
    own = config.get("registered_name") in (None, config["class_name"], f"{PACKAGE}>{config['class_name']}")
    if own and name in OWN and name not in (custom_objects or {}):
        return OWN[name].from_config(config.get("config", {}), custom_objects)
    return keras.optimizers.deserialize(dict(config), custom_objects)
