"""Programs run operation by operation, on whatever stands for an array, such as tracers and lists of tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from .program import Program


def interpret(
    program: Program, inputs: Sequence[Any], scalars: Sequence[Any], apply: Callable[[str, list[Any]], Any]
) -> list[Any]:
    """What a program writes, in the order of its outputs.

    Args:
        program: what to run; sums stand among its operations (see `passes.with_sums_inside`).
        inputs: one value for each input.
        scalars: from `scalar_evaluator`.
        apply: runs one operation, by name, on its operands.
    """
    values = list(inputs)
    for name, operands in program.operations:
        values.append(apply(name, [values[k] if kind == "array" else scalars[k] for kind, k in operands]))
    return [values[source] for _, source in program.outputs]


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "negative": operator.neg, "abs": operator.abs, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge, "equal": operator.eq, "not_equal": operator.ne,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "power": operator.pow, "square": lambda x: x * x,
}  # fmt: skip
"""Operations that are spelled alike in every library."""
