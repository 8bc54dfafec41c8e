"""What an optimizer was made with: its attributes but for those of what was built, and how they compare."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, TypeAlias, TypeVar

from ...backends import NUMPY, Variable, backend_of
from ...schedules.base import LearningRateSchedule
from .cells import Cells
from .exclusions import Chosen

STRUCTURE = frozenset((
    "cells", "fusion", "built", "_pristine", "_templates", "_handle", "_hashed", "_tree", "_bare_names", "_building",
    "_off_when_built", "_arrays", "_remembered", "_declaring", "_made_with",
))  # fmt: skip
"""Attributes that belong to a built instance and not to its configuration."""

PLAIN = frozenset((float, int, bool, str, bytes, type(None)))
"""The classes of most attributes, which hold nothing else."""


_Kind = TypeVar("_Kind", bound="Configured")


class Configured:
    """What has cells and a configuration. The base of all optimizers."""

    cells: Cells
    _arrays: dict[str, Any]
    _pristine: dict[str, Any] | None
    _made_with: dict[str, Any] = {}  # It never changes.
    """The plain values that the constructor of a user's class was given, by the names of its arguments."""

    def nested_optimizers(self: _Kind) -> Iterator[tuple[str, _Kind]]:
        """Optimizers that this one keeps as attributes, or in lists or dicts that are attributes."""
        for name, value in vars(self).items():
            if type(value) in PLAIN or type(value) is Chosen:
                continue
            inside: list[tuple[str, Any]] = []
            if isinstance(value, Configured):
                inside = [(name, value)]
            elif name in STRUCTURE:
                continue
            elif isinstance(value, (list, tuple)):
                # Lists of cells are as long as there are parameters.
                if value and not isinstance(value[0], Variable):
                    inside = [(f"{name}/{i}", item) for i, item in enumerate(value)]
            elif isinstance(value, dict):
                inside = [(f"{name}/{key}", item) for key, item in value.items()]
            yield from (each for each in inside if isinstance(each[1], Configured))

    def unbuilt_copy(self) -> Any:
        """An instance with the same configuration and no cells."""
        raise NotImplementedError

    def all_optimizers(self: _Kind) -> Iterator[_Kind]:
        """This optimizer and those inside it."""
        yield self
        for _, nested in self.nested_optimizers():
            yield from nested.all_optimizers()


def configuration(keeper: Configured) -> dict[str, Any]:
    """The attributes of an optimizer that its user set, as they were before `build` filled containers with cells."""
    pristine = keeper._pristine
    return {
        name: pristine[name] if pristine is not None and has_cells(value) else value
        for name, value in vars(keeper).items()
        if name not in STRUCTURE and (pristine is None or name in pristine)
    }


def has_cells(value: Any) -> bool:
    """Whether a container was filled with cells by `build`."""
    if isinstance(value, Variable):
        return True
    if isinstance(value, (list, tuple)):
        return any(has_cells(item) for item in value)
    return isinstance(value, dict) and any(has_cells(item) for item in value.values())


def frozen(value: Any, outer: tuple[int, ...] = (), objects: int = 2) -> Any:
    """A hashable stand-in for a configuration value, equal if and only if the values are, nested ones included.

    Args:
        value: what is read: numbers, text, containers and objects of any kind. Functions count by identity, as do cells
            and arrays that cannot change; arrays of other libraries by their versions where they count these.
        outer: the identities of what it stands in.
        objects: how many objects deep to look. One may know all others of a program, as a logger does.
    """
    if type(value) in PLAIN:
        return (type(value), value)
    if isinstance(value, Configured):
        return (type(value), frozen(configuration(value)), frozen(value.cells.rate.array))
    if isinstance(value, (int, float, str, bytes)):
        return (type(value), value)
    if isinstance(value, Chosen):
        return type(value), *map(Same, value)
    if isinstance(value, LearningRateSchedule):
        return type(value), frozen(vars(value), outer, objects)
    backend = backend_of(value)
    if backend is NUMPY:
        array = NUMPY.to_numpy(value)
        # An array of objects has no values of its own that could be compared.
        return Same(value) if array.dtype.hasobject else (array.dtype.str, array.shape, array.tobytes())
    if isinstance(value, Variable) or callable(value) or backend is not None or isinstance(value, type):
        return Same(value), getattr(value, "_version", None)
    if id(value) in outer or (objects == 0 and not isinstance(value, (Mapping, Set, Sequence, deque))):
        return Same(value)
    return _frozen_container(value, (*outer, id(value)), objects)


def _frozen_container(value: Any, outer: tuple[int, ...], objects: int) -> Any:
    """The same of what holds other values: containers, and objects of the user's."""
    if isinstance(value, Mapping):
        items = ((key, frozen(item, outer, objects)) for key, item in value.items())
        return (type(value), *((frozen(key, outer, objects), item) for key, item in items))
    if isinstance(value, Set):
        return (type(value), frozenset(frozen(item, outer, objects) for item in value))
    if isinstance(value, (Sequence, deque)):
        return (type(value), *(frozen(item, outer, objects) for item in value))
    held = _held_by(value)
    return Same(value), *((name, frozen(item, outer, objects - 1)) for name, item in held.items())


def _held_by(value: Any) -> dict[str, Any]:
    """The attributes of an object, in its dictionary and in its slots."""
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        held |= {name: getattr(value, name) for name in names if name[:2] != "__" and hasattr(value, name)}
    return held


class Same:
    """An object by identity. It is kept, because an identity is unique only while the object lives."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


Snapshot: TypeAlias = list[tuple[dict[str, Any], dict[str, tuple[Any, Any]]]]


def snapshot(keeper: Configured) -> Snapshot:
    """All attributes and cells, with the contents of those that are lists, dicts or sets."""
    return [
        (held, {name: (value, shallow(value)) for name, value in held.items()})
        for held in (vars(keeper), vars(keeper.cells))
    ]


def restore(keeper: Configured, before: Snapshot) -> None:
    """Undo what was done to attributes and cells since a snapshot."""
    for held, values in before:
        for name in [name for name in held if name not in values]:
            del held[name]
        for name, (value, contents) in values.items():
            held[name] = value
            if contents is not value:
                value.clear()
                value.extend(contents) if isinstance(value, list) else value.update(contents)
    # Which is known from the named cells.
    keeper.cells.taken = {}


def shallow(value: Any) -> Any:
    """A list, dict or set with the same contents; anything else as it is."""
    return type(value)(value) if type(value) in (list, dict, set) else value


def unbuilt(value: Any) -> Any:
    """A configuration value for an unbuilt copy: containers copied, optimizers unbuilt."""
    if isinstance(value, Configured):
        return value.unbuilt_copy()
    if type(value) in (list, tuple):
        return type(value)(map(unbuilt, value))
    return {key: unbuilt(item) for key, item in value.items()} if type(value) is dict else value
