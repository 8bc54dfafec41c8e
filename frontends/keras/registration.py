"""What Keras finds by name: our classes when it loads files, users' own when we do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import keras

PACKAGE = "gradwise"

_Class = TypeVar("_Class", bound=type)


def registered(kind: _Class) -> _Class:
    """Class decorator: Keras finds the class as "gradwise>Name", in files, and as "gradwise>name", in `compile`."""
    for name in (kind.__name__.lower(), kind.__name__):
        # Files are written under the last of the names.
        keras.saving.register_keras_serializable(package=PACKAGE, name=name)(kind)
    return kind


def custom_classes(config: Any, base: type, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The user's own classes that a configuration names.

    Args:
        config: plain values; classes are named in it by "class_name" and "registered_name".
        base: what the classes must be subclasses of to be meant.
        given: classes by name, which count before those that Keras knows.
    """
    registered = {kind.__name__: kind for kind in keras.saving.get_custom_objects().values() if isinstance(kind, type)}
    found = {}
    for name in _class_names(config):
        for kind in ((given or {}).get(name), keras.saving.get_registered_object(name), registered.get(name)):
            if isinstance(kind, type) and issubclass(kind, base):
                found[name] = kind
                break
    return found


def _class_names(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        yield from (config[key] for key in ("class_name", "registered_name") if isinstance(config.get(key), str))
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from _class_names(value)
