"""Checking what a schedule is constructed with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from ..backends import HOST, backend_of, number_of_python, ops, value_of


class Range(NamedTuple):
    """The values an argument may take, beside being finite.

    Args:
        text: how an error states it, such as "> 0".
        holds: whether a finite number lies inside.
    """

    text: str
    holds: Callable[[float], bool]


POSITIVE = Range("> 0", lambda value: value > 0)
NOT_NEGATIVE = Range(">= 0", lambda value: value >= 0)
AT_LEAST_ONE = Range(">= 1", lambda value: value >= 1)
UNIT_INTERVAL = Range("in [0, 1]", lambda value: 0 <= value <= 1)
BELOW_ONE = Range("in [0, 1)", lambda value: 0 <= value < 1)
ANY = Range("", lambda value: True)


def number(name: str, value: Any, allowed: Range = ANY) -> Any:
    """The argument as a Python float; a traced scalar, or one on a device, as it came and unchecked.

    Args:
        name: the argument's name.
        value: a Python or NumPy number, or a 0-d array of any library.
        allowed: the range.

    Raises:
        ValueError: if it is no number, a bool, NaN, infinite or out of range.
    """
    value = _checked(name, value, allowed, "a finite number")
    return float(value) if isinstance(value, int) else value


def steps(name: str, value: Any, allowed: Range = POSITIVE) -> Any:
    """As `number`, but an integer stays an integer: a count of steps, which may be fractional."""
    return _checked(name, value, allowed, "a finite number")


def whole_steps(name: str, value: Any, allowed: Range = NOT_NEGATIVE) -> Any:
    """As `steps`, without fractions."""
    checked = _checked(name, value, allowed, "a whole number")
    if not isinstance(checked, float):
        return checked
    if not checked.is_integer():
        raise ValueError(_message(name, value, allowed, "a whole number"))
    return int(checked)


def flag(name: str, value: Any) -> bool:
    """The argument as a Python bool, or a ValueError."""
    if isinstance(value, bool):
        return value
    backend = backend_of(value)
    if backend is not None and backend.dtype_name(value) == "bool" and ops.is_concrete(value):
        return bool(value)
    raise ValueError(f"Argument `{name}` must be True or False. Received: {name}={value!r}")


def sequence(name: str, value: Any) -> tuple[Any, ...]:
    """The argument's items, or a ValueError."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise ValueError(f"Argument `{name}` must be a list or tuple. Received: {name}={value!r}")
    return tuple(value)


def increasing(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The numbers, or a ValueError unless each is greater than the one before it; traced ones are not compared."""
    for before, after in pairwise(values):
        if isinstance(before, (int, float)) and isinstance(after, (int, float)) and not before < after:
            raise ValueError(f"Argument `{name}` must increase strictly. Received: {name}={list(values)!r}")
    return values


def text(name: str, value: Any, default: str) -> str:
    """The argument if it is a string, the default for None, or a ValueError."""
    if value is None:
        return default
    if not isinstance(value, str):
        raise ValueError(f"Argument `{name}` must be a string. Received: {name}={value!r}")
    return value


def _checked(name: str, value: Any, allowed: Range, kind: str) -> Any:
    found = ops.convert_to_number(value)
    backend = backend_of(found)
    if backend is None or backend.shape(found) != () or not _is_real(value):
        raise ValueError(_message(name, value, allowed, kind))
    if backend is not HOST:
        return found
    if not _is_finite(found) or not allowed.holds(found):
        raise ValueError(_message(name, value, allowed, kind))
    return int(found) if isinstance(found, int) else float(found)


def _message(name: str, value: Any, allowed: Range, kind: str) -> str:
    return f"Argument `{name}` must be {kind} {allowed.text}".rstrip() + f". Received: {name}={value!r}"


def _is_real(value: Any) -> bool:
    value = number_of_python(value_of(value))
    backend = backend_of(value)
    return backend is not None and backend.is_real(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False
