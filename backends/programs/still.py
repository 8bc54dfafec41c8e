"""Programs that leave an element as it is where the gradient is zero: a gradient of some rows needs to run on these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .interpreter import OPERATORS
from .program import Program

_Known: TypeAlias = float | None
"""A value that is the same for all elements, or None."""


_Value: TypeAlias = tuple[_Known, int | None]
"""For an array a number that all its elements are, and an input that it is equal to."""


def leaves_still(program: Program, scalars: Sequence[float]) -> bool:
    """Whether all that a program writes is what stands there already, where the gradient is zero and the rest finite.

    Args:
        program: an update's; the gradient is its last input.
        scalars: of the step.
    """
    if program.reductions:
        return False
    known: list[_Value] = [(None, number) for number in range(program.inputs - 1)]
    known.append((0.0, program.inputs - 1))
    for name, operands in program.operations:
        known.append(_result(name, [known[k] if kind == "array" else (scalars[k], None) for kind, k in operands]))
    return all(known[source][1] == target for target, source in program.outputs)


_CHANGES_NOTHING_LAST = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "divide": 1.0}
_CHANGES_NOTHING_FIRST = {"add": 0.0, "multiply": 1.0}
_ZERO_FIRST_GIVES_ZERO, _ZERO_LAST_GIVES_ZERO = ("multiply", "divide"), ("multiply",)


def _result(name: str, operands: list[_Value]) -> _Value:
    if name == "select":
        return _chosen(*operands)
    numbers = [number for number, _ in operands]
    if None not in numbers:
        return _of_numbers(name, numbers), None
    if len(numbers) != 2:
        return None, None
    first, last = numbers
    if (first == 0.0 and name in _ZERO_FIRST_GIVES_ZERO) or (last == 0.0 and name in _ZERO_LAST_GIVES_ZERO):
        return 0.0, None
    if last is not None and last == _CHANGES_NOTHING_LAST.get(name):
        return operands[0]
    if first is not None and first == _CHANGES_NOTHING_FIRST.get(name):
        return operands[1]
    return None, None


def _chosen(predicate: _Value, one: _Value, other: _Value) -> _Value:
    if predicate[0] is not None:
        return one if predicate[0] else other
    return one if one == other else (None, None)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **OPERATORS, "sqrt": math.sqrt, "maximum": max, "minimum": min, "fill": float,
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
}  # fmt: skip


def _of_numbers(name: str, numbers: Sequence[Any]) -> _Known:
    """What an operation makes of numbers; None where that is none, or not the same in every precision."""
    if not all(map(math.isfinite, numbers)) or name not in _FUNCTIONS:
        return None
    try:
        return float(_FUNCTIONS[name](*numbers))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
