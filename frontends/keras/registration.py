"""What Keras finds by name: our classes when it loads files, users' own when we do."""

from __future__ import annotations

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


def custom_classes(base: type) -> dict[str, Any]:
    """The subclasses of a class that users have registered with Keras, by their own names."""
    known = keras.saving.get_custom_objects().values()
    return {kind.__name__: kind for kind in known if isinstance(kind, type) and issubclass(kind, base)}
