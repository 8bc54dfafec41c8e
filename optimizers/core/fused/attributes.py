"""What an optimizer's attributes are, and whether they are still what they were.

Its numbers, and those of the optimizers inside it, are inputs of the programs that its rule is recorded as: another
number changes nothing but a scalar. All else is part of what was recorded.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ....backends import Variable
from ....backends.variable import constraints_now
from ..configuration import STRUCTURE, Configured, Same, configuration, frozen
from ..exclusions import Chosen
from ..origin import outside_optimizers

_PLAIN = (float, int, str, bool)


class FreeNumber(NamedTuple):
    """A number of an optimizer that a program has as a scalar.

    Attributes:
        keeper: the optimizer, or one inside it.
        attribute: its name there.
        name: in programs.
    """

    keeper: Configured
    attribute: str
    name: str

    def read(self) -> Any:
        """What it is now."""
        return self.keeper.cells.rate.array if self.attribute == _RATE else vars(self.keeper)[self.attribute]

    def write(self, value: Any) -> None:
        """Set it without a look at what it may be."""
        if self.attribute == _RATE:
            self.keeper.cells.rate.array = value
        else:
            vars(self.keeper)[self.attribute] = value


_RATE = "rate"
"""Stands for the learning rate, which is no attribute but a cell."""


def numbers_of(rule: Configured) -> list[FreeNumber]:
    """The numbers that programs may have as scalars: floats that are not zero, which may mean that something is off."""
    found = []
    for path, keeper in _named(rule, "self"):
        # The rate of the step is a scalar of its own.
        names = [name for name, value in vars(keeper).items() if name not in STRUCTURE and _is_in_use(value)]
        names += [_RATE] if keeper is not rule and _is_in_use(keeper.cells.rate.array) else []
        found += [FreeNumber(keeper, name, f"{path}.{'learning_rate' if name == _RATE else name}") for name in names]
    return found


def _named(keeper: Configured, path: str) -> list[tuple[str, Configured]]:
    """An optimizer and those inside it, with what leads to them."""
    inside = [each for name, nested in keeper.nested_optimizers() for each in _named(nested, f"{path}.{name}")]
    return [(path, keeper), *inside]


def _is_in_use(value: Any) -> bool:
    return type(value) is float and value != 0.0


def of_optimizers_alone(rule: Configured) -> bool:
    """Whether a rule, with all inside it, is of `gradwise.optimizers`' classes alone: no user's and no front end's."""
    keepers = list(rule.all_optimizers())
    return not any([outside_optimizers(type(keeper)) for keeper in keepers]) and not any(
        "update_step" in vars(keeper) or "begin_step" in vars(keeper) for keeper in keepers
    )


def classes_of(rule: Configured) -> list[list[Any]]:
    """The classes of an optimizer and of those inside it, each with all that it holds: its methods and values."""
    kinds = dict.fromkeys(kind for keeper in rule.all_optimizers() for kind in type(keeper).__mro__[:-1])
    return [[kind, *vars(kind).values()] for kind in kinds]


def settings_of(keeper: Configured) -> Any:
    """All that an optimizer is but for its numbers, of which it tells only which there are; can be hashed.

    And but for parameters that it was given: what follows from these is known of each parameter.
    """
    held = configuration(keeper).items()
    return type(keeper), tuple((name, _setting(value)) for name, value in held if type(value) is not Chosen)


def _setting(value: Any) -> Any:
    if _is_in_use(value):
        return "a number"
    if isinstance(value, Configured):
        return settings_of(value), _setting(value.cells.rate.array)
    if type(value) in (list, tuple):
        return type(value), *map(_setting_inside, value)
    if type(value) is dict:
        return dict, *((frozen(key), _setting_inside(item)) for key, item in value.items())
    return type(value), frozen(value)


def _setting_inside(value: Any) -> Any:
    # A number in a container is none of those that programs have as scalars.
    return _setting(value) if isinstance(value, Configured) else frozen(value)


class Fingerprint:
    """All attributes a rule may have read, by value; lists of cells by identity."""

    def __init__(self, rule: Configured) -> None:
        self._rule = rule
        self._taken = self._now()

    def holds(self) -> bool:
        """Whether all is as it was."""
        return bool(self._now() == self._taken)

    def _now(self) -> Any:
        found = []
        for keeper in self._rule.all_optimizers():
            held = [(name, _frozen(value)) for name, value in vars(keeper).items() if name not in STRUCTURE]
            found.append((keeper.cells.rate.array, held))
        return found


class Seen:
    """The attributes of a rule as they were when it was recorded.

    Args:
        rule: the optimizer.
        free: whether its numbers may be others in the next step.

    Attributes:
        free: as given; may become False.
        values: its numbers as they are now, by their names in programs. As long as none changes, it is the same
            object.
    """

    __slots__ = ("_classes", "_constraints", "_keepers", "free", "values")

    def __init__(self, rule: Configured, free: bool) -> None:
        numbers: dict[int, list[FreeNumber]] = {}
        for each in numbers_of(rule):
            numbers.setdefault(id(each.keeper), []).append(each)
        self._keepers = [
            _Attributes(keeper, numbers.get(id(keeper), ()), keeper is rule) for keeper in rule.all_optimizers()
        ]
        self.free = free
        self._classes = _of_classes(rule)
        self._constraints = constraints_now()
        self._collect()

    def still(self, rule: Configured) -> bool:
        """Whether all that was recorded has the same value; numbers may have changed."""
        if self._constraints is not constraints_now():
            return False
        found, changed = [], False
        for each in self._keepers:
            values = each.look(rule)
            if values is None:
                return False
            found.append(values)
            changed = changed or values is not each.values
        if (changed and not self.free) or (self._classes and _of_classes(rule) != self._classes):
            return False
        if changed:
            for each, values in zip(self._keepers, found, strict=True):
                each.values = values
            self._collect()
        return True

    def reread(self, rule: Configured) -> bool:
        """Read the numbers again, of which it is known that nothing else has changed; whether they may be others."""
        changed = False
        for each in self._keepers:
            values = each.read(rule)
            if values != each.values:
                each.values, changed = values, True
        if changed:
            self._collect()
        return self.free or not changed

    def renewed(self, rule: Configured) -> Seen | None:
        """The same for the numbers that the rule has now; None if something else has changed."""
        other = copy.copy(self)
        other._keepers = [copy.copy(each) for each in self._keepers]
        other.free = True
        if not other.still(rule):
            return None
        other.free = self.free
        return other

    def _collect(self) -> None:
        self.values: dict[str, Any] = {}
        for each in self._keepers:
            self.values.update(zip(each.names, each.values, strict=True))


class _Attributes:
    """Those of one optimizer.

    Attributes:
        names: of its numbers in programs.
        values: these numbers.
    """

    __slots__ = (
        "_count", "_keeper", "_lists", "_numbers", "_plain", "_plain_values", "_rate", "_rest", "names", "values",
    )  # fmt: skip

    def __init__(self, keeper: Configured, numbers: Sequence[FreeNumber], outermost: bool) -> None:
        # What the outermost keeps may not keep that: both would last until the next collection of cycles.
        self._keeper = None if outermost else keeper
        self._count = len(vars(keeper))
        free = {each.attribute: each.name for each in numbers}
        self.names = tuple(free.values())
        # The rate of the step is read elsewhere; that of an optimizer inside, the last, may be a number like others.
        self._rate = None if outermost or _RATE in free else keeper.cells.rate.array
        self._numbers = _several([name for name in free if name != _RATE])
        self.values = self._read(keeper)
        self._take_others({
            name: value for name, value in vars(keeper).items() if name not in STRUCTURE and name not in free
        })  # fmt: skip
        self._plain_values = self._plain(vars(keeper))

    def _take_others(self, held: dict[str, Any]) -> None:
        """Find out how attributes that are no such numbers are looked at."""
        # One look at all plain values together is ten times as fast as one at each.
        plain = [name for name, value in held.items() if type(value) in _PLAIN or value is None]
        self._plain = _several([*plain, "built"])
        others = {name: value for name, value in held.items() if name not in plain}
        self._lists = [(name, value, len(value)) for name, value in others.items() if _is_list_of_cells(value)]
        # What cannot change need not be read again, as long as it is the same object.
        self._rest = [
            (name, value if _is_fixed(value) else _CHANGES, _frozen(value))
            for name, value in others.items()
            if not _is_list_of_cells(value)
        ]

    def _read(self, keeper: Configured) -> tuple[Any, ...]:
        values = self._numbers(vars(keeper))
        return (*values, keeper.cells.rate.array) if len(values) < len(self.names) else values

    def read(self, outermost: Configured) -> tuple[Any, ...]:
        """The numbers as they are now."""
        return self._read(outermost if self._keeper is None else self._keeper)

    def look(self, outermost: Configured) -> tuple[Any, ...] | None:
        """The numbers as they are now, `values` itself if they are those; None if something else has changed."""
        keeper = outermost if self._keeper is None else self._keeper
        attributes = vars(keeper)
        if len(attributes) != self._count or self._plain(attributes) != self._plain_values:
            return None
        for name, cells, length in self._lists:
            if attributes[name] is not cells or len(cells) != length:
                return None
        for name, same, value in self._rest:
            if attributes[name] is not same and _frozen(attributes[name]) != value:
                return None
        if self._rate is not None and keeper.cells.rate.array != self._rate:
            return None
        values = self._read(keeper)
        if values == self.values:
            return self.values
        return values if all([type(value) is float and value != 0.0 for value in values]) else None


def _several(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads some keys of a dictionary, as a tuple."""
    if len(names) > 1:
        return operator.itemgetter(*names)
    return lambda attributes: tuple([attributes[name] for name in names])


def _of_classes(rule: Configured) -> list[Any]:
    """What the user's own classes hold: methods by identity, values by value."""
    own = outside_optimizers(type(rule))
    return [frozen({name: held for name, held in vars(kind).items() if name not in _PUT_THERE}) for kind in own]


_PUT_THERE = frozenset((
    "own_tables", "sometimes_lacked", "__signature__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl",
))  # fmt: skip
"""What classes hold that says nothing of what they do, or is put together from what they and their parents hold."""


_CHANGES = object()


def _is_fixed(value: Any) -> bool:
    """Whether neither a value nor anything in it can change."""
    if type(value) is Chosen:
        return True
    if type(value) is tuple:
        return all(map(_is_fixed, value))
    return type(value) in _PLAIN or value is None


def _is_list_of_cells(value: Any) -> bool:
    return type(value) is list and (not value or isinstance(value[0], Variable))


def _frozen(value: Any) -> Any:
    """A value, where optimizers count by identity: their own attributes are looked at apart."""
    if type(value) in _PLAIN or value is None:
        return value
    if _is_list_of_cells(value):
        return id(value), len(value)
    if isinstance(value, Configured):
        return Same(value)
    if isinstance(value, (list, tuple)) and any(isinstance(item, Configured) for item in value):
        return type(value), *map(_frozen, value)
    if type(value) is dict and any(isinstance(item, Configured) for item in value.values()):
        return type(value), *((key, _frozen(item)) for key, item in value.items())
    return frozen(value)
