"""Recorded rules run on lists of tensors, by torch's functions of many tensors or by its compiler."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from ..dtypes import Array
from ..programs.interpreter import OPERATORS, interpret
from ..programs.program import Program

_MULTI: dict[str, Any] = {
    "add": torch._foreach_add, "subtract": torch._foreach_sub, "multiply": torch._foreach_mul,
    "divide": torch._foreach_div, "maximum": torch._foreach_maximum, "minimum": torch._foreach_minimum,
    "negative": torch._foreach_neg, "sqrt": torch._foreach_sqrt, "abs": torch._foreach_abs, "sign": torch._foreach_sign,
}  # fmt: skip


def apply_to_lists(name: str, operands: list[Any], like: list[Array]) -> list[Array]:
    """One operation on operands that are lists of tensors (as long as `like`) or Python numbers."""
    if name == "fill":
        return [torch.full_like(tensor, operands[0], requires_grad=False) for tensor in like]
    if name == "square":
        return list(torch._foreach_mul(operands[0], operands[0]))
    first_is_list = isinstance(operands[0], list)
    if name in ("add", "multiply", "maximum", "minimum") and not first_is_list:
        operands, first_is_list = operands[::-1], True
    if name in _MULTI and first_is_list:
        return list(_MULTI[name](*operands))
    columns = [operand if isinstance(operand, list) else [operand] * len(like) for operand in operands]
    return [_apply_to_tensors(name, list(row)) for row in zip(*columns, strict=True)]


def run_compiled(program: Program, inputs: list[list[Array]], scalars: Sequence[float]) -> list[list[Array]]:
    """What a program writes, by code that torch's compiler made for its structure and these shapes."""
    # As tensors of one number the scalars are arguments: neither a step nor a rate compiles again.
    numbers = [torch.tensor(scalar, dtype=inputs[0][0].dtype) for scalar in scalars]
    return _compiled(program.structure)(inputs, numbers)  # type: ignore[no-any-return]  # what the function gives


@functools.cache
def _compiled(structure: Any) -> Any:
    count, operations, outputs, *_ = structure
    program = Program(count, operations, outputs, (), (), (), ())

    def run(inputs: list[list[Array]], scalars: list[Array]) -> list[list[Array]]:
        rows = zip(*inputs, strict=True)
        made = [interpret(program, list(row), scalars, functools.partial(_apply_to_row, like=row[0])) for row in rows]
        return [list(column) for column in zip(*made, strict=True)]

    return torch.compile(run, dynamic=False)


def _apply_to_row(name: str, operands: list[Any], like: Array) -> Array:
    if name == "fill":
        return torch.zeros_like(like) + operands[0]
    if name == "select":
        predicate, a, b = operands
        return torch.where(predicate if predicate.dtype is torch.bool else predicate != 0, a, b)
    return _apply_to_tensors(name, operands)


def _apply_to_tensors(name: str, operands: list[Any]) -> Array:
    if name == "select":
        predicate, a, b = operands
        if isinstance(predicate, float):
            like = a if isinstance(a, torch.Tensor) else b
            chosen = a if predicate else b
            return chosen if isinstance(chosen, torch.Tensor) else torch.full_like(like, chosen)
        return torch.where(predicate, a, b)
    if name == "sum_of_squares":
        return torch.sum(torch.square(operands[0].to(torch.float64)))
    return (OPERATORS.get(name) or getattr(torch, name))(*operands)
