"""Hyperparameters as attributes that check what they are set to, at construction and at any time after; and switches,
which conventions set.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple, TypeAlias

from ...backends import HOST, backend_of, describe, number_of_python, ops, shown, value_of
from ...backends.wording import did_you_mean
from .configuration import Configured
from .synonyms import CONVENTION_SYNONYMS

Tables: TypeAlias = tuple[tuple[type, dict[str, dict[str, Any]]], ...]
"""The conventions that a class, and each of its parents, has in a table of its own; the class's first."""


class Fixed(NamedTuple):
    """In a table of conventions: the value an argument has there and cannot change."""

    value: Any


UNKNOWN = object()
"""The neutral value of a hyperparameter of which neither its kind nor its class says any."""


class Hyperparameter:
    """An attribute of an optimizer that belongs to its configuration.

    What `build` reads decides which slots there are. If it finds an option off, nothing can switch that on later: there
    would be no slots for it.

    Args:
        optional: whether None, meaning off, is allowed.
        neutral: the value at which it changes nothing, which it has in conventions that lack it. Default: that at which
            such a thing is off; nothing is off at what it cannot be.
    """

    off: Any = UNKNOWN
    """The value at which one that is not optional is off, if it may have that."""

    def __init__(self, *, optional: bool = False, neutral: Any = UNKNOWN) -> None:
        self.optional = optional
        # What a class says of it holds for its subclasses too, whatever their conventions are.
        self.says_neutral = neutral is not UNKNOWN
        self.neutral = neutral if self.says_neutral else None if optional else self.off
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        attributes = instance.__dict__
        try:
            value = attributes[self.name]
        except KeyError:
            raise AttributeError(
                f"{type(instance).__name__} has no {self.name!r} yet: call super().__init__() first."
            ) from None
        if attributes.get("_building") and self.is_off(value):
            attributes["_off_when_built"].add(self.name)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        given = value
        if value is not None or not self.optional:
            value = self.checked(value, type(instance).__name__)
        instance._check_convention_has(self, value)
        if self.name in vars(instance).get("_off_when_built", ()) and not self.is_off(value):
            raise RuntimeError(
                f"{type(instance).__name__}: `{self.name}` cannot be switched on after build or the first step: make a "
                f"new optimizer with {self.name}={shown(value)}."
            )
        instance.__dict__[self.name] = value
        remember_array(instance, self.name, given)

    def __delete__(self, instance: Any) -> None:
        raise AttributeError(
            f"{type(instance).__name__}: `{self.name}` cannot be deleted; set it to another value"
            f"{', or to None' if self.optional else ''}."
        )

    def is_off(self, value: Any) -> bool:
        """Whether the value is the one at which the hyperparameter does nothing."""
        return value is None if self.optional else value is False or not in_use(value)

    def checked(self, value: Any, owner: str) -> Any:
        """The value as it is stored.

        Raises:
            ValueError: if it is not allowed.
        """
        raise NotImplementedError

    def refused(self, value: Any, owner: str, allowed: str) -> ValueError:
        """The error for a value that is not allowed."""
        nothing = " or None" if self.optional else ""
        return ValueError(f"{owner}: `{self.name}` must be {allowed}{nothing}, received {describe(value)}.")


class Number(Hyperparameter):
    """A real number in an interval, kept as a Python float.

    NumPy scalars, integers, Python's other real numbers (Fraction, Decimal) and 0-d arrays the host can read are
    converted. Tracers, tensors being differentiated and device scalars pass unchecked, so that hyperparameters can be
    differentiated and mapped over.

    Args:
        interval: such as "[0, 1)"; "inf" for an open end.
        optional, neutral: see `Hyperparameter`.
    """

    def __init__(self, interval: str, *, optional: bool = False, neutral: Any = UNKNOWN) -> None:
        self.interval = interval
        low, high = interval[1:-1].split(",")
        # The least and the greatest number in it: one look at each tells also of NaN and of what is infinite. Above 0
        # it is a normal number, which is greater than 0 also where the processor is told to flush others.
        self.least = float(low)
        if interval[0] == "(":
            self.least = sys.float_info.min if self.least == 0.0 else math.nextafter(self.least, math.inf)
        self._greatest = math.nextafter(float(high), -math.inf) if interval[-1] == ")" else float(high)
        self.off = 0.0 if self.contains(0.0) else UNKNOWN
        super().__init__(optional=optional, neutral=neutral)

    def checked(self, value: Any, owner: str) -> Any:
        """A float in the interval, or a traced scalar as it is."""
        if type(value) is float and self.contains(value):
            # As nearly all are, also in steps that each have another one.
            return value
        number = number_of_python(value)
        backend = backend_of(number)
        if backend is None or backend.shape(number) != () or not backend.is_real(number):
            raise self.refused(value, owner, f"a number in {self.interval}")
        number = ops.convert_to_number(number)
        if backend_of(number) is not HOST:
            return number
        try:
            number = float(number)
        except OverflowError:
            number = math.inf
        if not self.contains(number):
            raise self.refused(value, owner, f"a number in {self.interval}")
        return number

    def contains(self, number: float) -> bool:
        """Whether a float lies in the interval."""
        return self.least <= number <= self._greatest


def remember_array(keeper: Configured, name: str, given: Any) -> None:
    """Keep that a number was given as an array, for `equality.py`: the optimizer itself computes with the number."""
    known = vars(keeper).get("_arrays", {})
    if type(given) is float and not known:
        return
    given = value_of(given)
    backend = backend_of(given)
    if backend in (None, HOST) or backend.shape(given) != () or not backend.concrete(given):
        array = None
    else:
        array = backend.traceable(given)
    if array is not None or name in known:
        # Copies of an optimizer share the table, so it is never changed.
        kept = {key: value for key, value in known.items() if key != name}
        keeper._arrays = kept if array is None else {**kept, name: array}


def exchange(keeper: Configured, name: str, value: Any) -> bool:
    """Set a number that is in use to another that is, from which nothing follows but scalars; whether this was done.

    Args:
        keeper: an optimizer.
        name: of its hyperparameter.
        value: the new number. If it is not allowed, or anything else might follow, nothing has changed.
    """
    attributes = vars(keeper)
    before, kind = attributes.get(name), getattr(type(keeper), name, None)
    if type(value) is not float or type(before) is not float or not (value and before):
        return False
    if type(kind) is not Number or not kind.contains(value) or attributes["_arrays"] or attributes["_hashed"]:
        return False
    attributes[name] = value
    return True


LEARNING_RATE = Number("[0, inf)")
"""What a learning rate may be, wherever it is given."""
LEARNING_RATE.name = "learning_rate"


class Count(Hyperparameter):
    """A whole number.

    Args:
        minimum: the least allowed.
        optional: whether None is allowed.
    """

    def __init__(self, minimum: int, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self.minimum = minimum

    def checked(self, value: Any, owner: str) -> Any:
        """An int."""
        number = number_of_python(value)
        backend = backend_of(number)
        whole = backend is not None and not isinstance(value, bool) and backend.shape(number) == ()
        if backend is None or not whole or not backend.dtype_name(number).startswith(("int", "uint")):
            raise self.refused(value, owner, f"an integer >= {self.minimum}")
        number = ops.convert_to_number(number)
        if not isinstance(number, int) or number < self.minimum:
            raise self.refused(value, owner, f"an integer >= {self.minimum}")
        return number


class Flag(Hyperparameter):
    """True or False."""

    off = False

    def checked(self, value: Any, owner: str) -> Any:
        """A bool."""
        if not isinstance(value, bool):
            raise self.refused(value, owner, "True or False")
        return value


class Choice(Hyperparameter):
    """One of a few names.

    Args:
        choices: the names.
        optional: whether None is allowed.
    """

    def __init__(self, choices: tuple[Any, ...], *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self.choices = choices

    def checked(self, value: Any, owner: str) -> Any:
        """The name."""
        if not isinstance(value, (str, bool)) or value not in self.choices:
            raise self.refused(value, owner, f"one of {', '.join(map(repr, self.choices))}")
        return value


class ChoiceForEach(Choice):
    """One of a few names for all, or a dict with one of them for each of some keys."""

    def checked(self, value: Any, owner: str) -> Any:
        """The name, or a dict of names."""
        if not isinstance(value, dict):
            return super().checked(value, owner)
        if not all(isinstance(key, str) for key in value):
            raise self.refused(value, owner, "a dict with names as keys")
        return {key: super(ChoiceForEach, self).checked(item, owner) for key, item in value.items()}


class Convention(Choice):
    """The name of a convention the class has; chosen once, because slots and defaults follow from it."""

    def __set__(self, instance: Any, value: Any) -> None:
        kind = type(instance)
        if not isinstance(value, str) or value not in kind.conventions:
            names = ", ".join(map(repr, kind.conventions))
            likely = did_you_mean([value], kind.conventions, CONVENTION_SYNONYMS) if isinstance(value, str) else ""
            raise ValueError(f"{kind.__name__} has no `convention` {shown(value)}; it has {names}.{likely}")
        if vars(instance).setdefault(self.name, value) != value:
            raise ValueError(f"The convention of {kind.__name__} is chosen when it is made: make a new optimizer.")


class Switch:
    """What a convention decides about a formula. It stands in the class's `conventions`, and cannot be set.

    A subclass whose table has no row for a convention, or says nothing of the switch there, has it from its parent.

    Args:
        otherwise: what it is where no row says anything.
    """

    def __init__(self, otherwise: bool) -> None:
        self.otherwise = otherwise

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        convention = instance.convention
        for kind, table in type(instance).own_tables:
            if convention in table and self.name in table[convention]:
                return table[convention][self.name]
            if kind is self._owner:
                break
        return self.otherwise

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(
            f"{type(instance).__name__}: `{self.name}` follows from the convention: set it in a subclass's table."
        )

    def __delete__(self, instance: Any) -> None:
        raise AttributeError(f"{type(instance).__name__}: `{self.name}` follows from the convention.")


def tables_of(kind: type) -> Tables:
    """The conventions that a class, and each of its parents, has in a table of its own.

    They are put together when the class is made, because torch's compiler cannot look into classes.
    """
    return tuple((each, vars(each).get("conventions", {})) for each in kind.__mro__)


def lacked_in(tables: Tables) -> frozenset[str]:
    """What some rows of a table name and others do not: hyperparameters that need not exist in a convention."""
    rows = [[set(row) for row in table.values()] for _, table in tables if table]
    return frozenset(name for each in rows for name in set[str]().union(*each) - each[0].intersection(*each))


def in_use(value: Any) -> bool:
    """Whether a hyperparameter that is off at 0 is on; a traced one, which cannot be compared, is there to be used."""
    return not (isinstance(value, float) and value == 0.0)


def may_be(cls: type, name: str, value: Any) -> bool:
    """Whether a hyperparameter of a class may have a value, as far as it knows by itself."""
    known = hyperparameters(cls).get(name)
    try:
        return known is None or known.checked(value, cls.__name__) is not None
    except (TypeError, ValueError):
        return False


def hyperparameters(cls: type) -> dict[str, Hyperparameter]:
    """The hyperparameters of a class, the base's first, in the order in which they were written."""
    found: dict[str, Hyperparameter] = {}
    for parent in reversed(cls.__mro__):
        found.update({name: value for name, value in vars(parent).items() if isinstance(value, Hyperparameter)})
    return found
