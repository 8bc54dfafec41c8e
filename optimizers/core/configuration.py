"""What an optimizer was made with: its attributes but for those of what was built, and how they compare."""

from __future__ import annotations

import contextlib
import operator
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

from ...backends import NUMPY, Variable, backend_of
from ...schedules.base import LearningRateSchedule
from .cells import Cells
from .exclusions import Chosen

STRUCTURE = frozenset((
    "cells", "fusion", "built", "_pristine", "_templates", "_handle", "_hashed", "_tree", "_bare_names", "_building",
    "_off_when_built", "_arrays", "_remembered", "_declaring", "_made_with", "_memos",
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
    _memos: frozenset[str] = frozenset()
    """Attributes in which a rule keeps what follows from shapes and the like, and which are no setting."""

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
        name: value if pristine is None else as_made(keeper, name, value)
        for name, value in vars(keeper).items()
        if name not in STRUCTURE and (pristine is None or name in pristine)
    }


def as_made(keeper: Configured, name: str, value: Any) -> Any:
    """An attribute of a built optimizer as its user set it."""
    filled = name in keeper._memos or has_cells(value)
    return keeper._pristine[name] if filled and keeper._pristine is not None else value


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


_KEPT: dict[int, list[Kept]] = {}
"""What is to be put back, by the identities of optimizers. Each is there as long as its context."""


class Kept:
    """All attributes and cells of an optimizer, with the contents of those that are lists, dicts or sets, to be put
    back. What other threads set in the meantime stays: it is their user's.

    Args:
        keeper: the optimizer.
    """

    def __init__(self, keeper: Configured) -> None:
        self.keeper = keeper
        self.attributes, self._cells = ({name: (value, shallow(value)) for name, value in held.items()} for held in (
            vars(keeper), vars(keeper.cells),
        ))  # fmt: skip
        self._thread = threading.get_ident()
        self._set_elsewhere: set[str] = set()

    def __enter__(self) -> Kept:
        _KEPT.setdefault(id(self.keeper), []).append(self)
        return self

    def __exit__(self, *error: object) -> None:
        others = _KEPT[id(self.keeper)]
        others.remove(self)
        if not others:
            del _KEPT[id(self.keeper)]

    def note(self, name: str) -> None:
        """Remember that an attribute is about to be set."""
        if threading.get_ident() != self._thread:
            self._set_elsewhere.add(name)

    def put_back(self) -> None:
        """Undo what was done since."""
        theirs = self._set_elsewhere
        _put_back(vars(self.keeper), self.attributes, theirs)
        _put_back(vars(self.keeper.cells), self._cells, {"rate"} if _RATE in theirs else set())
        # Which is known from the named cells.
        self.keeper.cells.taken = {}


@contextlib.contextmanager
def kept(keepers: Iterable[Configured]) -> Iterator[Callable[[], None]]:
    """A context in which what some optimizers are is kept. It gives a function that puts it back."""
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(Kept(keeper)) for keeper in keepers]

        def put_back() -> None:
            for each in every:
                each.put_back()

        yield put_back


_RATE = "learning_rate"
"""The attribute that is kept in a cell."""


def note_setting(keeper: Configured, name: str) -> None:
    """Tell whoever puts an optimizer's attributes back that one is about to be set."""
    for kept in _KEPT.get(id(keeper), ()):
        kept.note(name)


def _put_back(held: dict[str, Any], before: Mapping[str, tuple[Any, Any]], theirs: Set[str]) -> None:
    for name in [name for name in held if name not in before and name not in theirs]:
        del held[name]
    for name, (value, contents) in before.items():
        if held.get(name) is not value and name not in theirs:
            held[name] = value
        if contents is not value and not holds_same(value, contents):
            value.clear()
            value.extend(contents) if isinstance(value, list) else value.update(contents)


def holds_same(value: Any, contents: Any) -> bool:
    """Whether two lists, dicts or sets have the same objects in them."""
    if len(value) != len(contents):
        return False
    if isinstance(value, dict):
        return all(key in contents and contents[key] is item for key, item in value.items())
    return all(map(operator.is_, value, contents))


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
