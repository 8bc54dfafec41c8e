"""Gradients that are zero but for some rows of their parameter, and which programs leave all other rows as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from .programs.interpreter import OPERATORS
from .programs.program import Program


class Rows(NamedTuple):
    """An array that is zero but for some rows, each of which it has once.

    Attributes:
        places: which rows, as the library's own functions take it.
        values: what stands in them, one after another.
        shape: of the whole.
        whole: gives the same as a dense array.
    """

    places: Any
    values: Any
    shape: tuple[int, ...]
    whole: Callable[[], Any]


_Known: TypeAlias = float | None
"""A value that is the same for all elements, or None."""


def leaves_still(program: Program, scalars: Sequence[float]) -> bool:
    """Whether all that a program writes is what stands there already, where the gradient is zero and the rest finite.

    Args:
        program: an update's; the gradient is its last input.
        scalars: of the step.
    """
    if program.reductions:
        return False
    # For each array a number that all its elements are, and an input that it is equal to.
    known: list[tuple[_Known, int | None]] = [(None, number) for number in range(program.inputs - 1)]
    known.append((0.0, program.inputs - 1))
    for name, operands in program.operations:
        known.append(_result(name, [known[k] if kind == "array" else (scalars[k], None) for kind, k in operands]))
    return all(known[source][1] == target for target, source in program.outputs)


def _result(name: str, operands: list[tuple[_Known, int | None]]) -> tuple[_Known, int | None]:
    numbers = [number for number, _ in operands]
    if name == "select" and numbers[0] is not None:
        return operands[1] if numbers[0] else operands[2]
    if name == "select" and operands[1] == operands[2]:
        return operands[1]
    if None not in numbers:
        return _of_numbers(name, numbers), None
    if name in ("multiply", "divide") and numbers[0] == 0.0:
        return 0.0, None
    if name == "multiply" and numbers[1] == 0.0:
        return 0.0, None
    if name in ("add", "subtract") and numbers[1] == 0.0:
        return operands[0]
    if name in ("multiply", "divide") and numbers[1] == 1.0:
        return operands[0]
    if (name == "add" and numbers[0] == 0.0) or (name == "multiply" and numbers[0] == 1.0):
        return operands[1]
    return None, None


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
