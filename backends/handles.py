"""Names for objects of Python, by which compiled code that can hold only text finds them again."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

_KNOWN: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


def handle_of(value: Any) -> str:
    """A new name for an object. It holds for this process, as long as the object lives."""
    handle = f"{type(value).__name__} {next(_NUMBERS)}"
    _KNOWN[handle] = value
    return handle


def object_of(handle: str) -> Any:
    """The object of a name."""
    return _KNOWN[handle]
