"""What an optimizer will do with each parameter, to be read before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...backends import HOST, ITEM_SIZES, is_number


class Times(NamedTuple):
    """A rate that is a product, of which one factor or both are schedules."""

    factor: Any
    rate: Any

    def __str__(self) -> str:
        return f"{self.factor} * {self.rate}"


def times(factor: Any, rate: Any) -> Any:
    """The product of two rates, each of which is a number or a schedule."""
    if callable(factor) or callable(rate):
        others = [each for each in (factor, rate) if callable(each) or not (is_number(each) and each == 1)]
        return others[0] if len(others) == 1 else Times(*sorted(others, key=callable))
    return factor * rate


class PlanRow(NamedTuple):
    """One parameter.

    Attributes:
        parameter: its path.
        shape, dtype: of it.
        optimizer: the name of its rule.
        learning_rate: of the rule, times that of all: a number or a schedule; `Times` where they have one and a factor.
        weight_decay: of the rule for this parameter; None if it does not decay.
        slots: the names of its slots and numbers.
        bytes: what its slots take.
    """

    parameter: str
    shape: tuple[int, ...]
    dtype: str
    optimizer: str
    learning_rate: Any
    weight_decay: float | None
    slots: tuple[str, ...]
    bytes: int


class Plan(tuple[PlanRow, ...]):
    """A row for each parameter; as text a table."""

    __slots__ = ()

    def __str__(self) -> str:
        head = ("parameter", "shape", "dtype", "optimizer", "learning_rate", "weight_decay", "slots", "bytes")
        lines = [head, *(tuple(map(_text, row)) for row in self)]
        lines.append((f"{len(self)} parameters", "", "", "", "", "", "", f"{sum(row.bytes for row in self):,}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def bytes_of(cells: Sequence[Any]) -> int:
    """What arrays take; numbers on the host count nothing."""
    return sum(math.prod(cell.shape) * ITEM_SIZES.get(cell.dtype_name, 8) for cell in cells if cell.backend is not HOST)
