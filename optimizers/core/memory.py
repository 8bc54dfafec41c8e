"""What an optimizer keeps for parameters, in bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...backends import HOST, ITEM_SIZES
from .functional import FunctionalOptimizer
from .given import of_shapes, tree_of_parameters
from .rule import Rule


class MemoryRow(NamedTuple):
    """A slot of a parameter, or an array that all share.

    Attributes:
        parameter: whose slot it is, by name; None if all share it.
        slot: its name.
        shape, dtype: of the slot.
        bytes: that it takes.
    """

    parameter: str | None
    slot: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


class MemoryReport(tuple[MemoryRow, ...]):
    """A row for each array of an optimizer's state; as text a table. Single numbers, such as counts, are left out."""

    __slots__ = ()

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(row.bytes for row in self)

    @property
    def by_slot(self) -> dict[str, int]:
        """The bytes of each slot, of all parameters together."""
        return _sums((row.slot, row.bytes) for row in self)

    @property
    def by_parameter(self) -> dict[str | None, int]:
        """The bytes of all slots of each parameter; of what all share under None."""
        return _sums((row.parameter, row.bytes) for row in self)

    @property
    def by_dtype(self) -> dict[str, int]:
        """The bytes in each dtype."""
        return _sums((row.dtype, row.bytes) for row in self)

    def __str__(self) -> str:
        head = ("parameter", "slot", "shape", "dtype", "bytes")
        lines = [head, *((row.parameter or "(all)", row.slot, *map(str, row[2:4]), f"{row.bytes:,}") for row in self)]
        lines += [("all parameters", slot, "", "", f"{count:,}") for slot, count in self.by_slot.items()]
        lines.append(("total", "", "", "", f"{self.total:,}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _sums(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for name, count in pairs:
        found[name] = found.get(name, 0) + count
    return found


class MeasuredOptimizer(FunctionalOptimizer):
    """Says what its state takes. A base of `Optimizer`."""

    def memory(self, params: Any = None) -> MemoryReport:
        """How many bytes the optimizer's state takes, by slot and by parameter; `print` shows a table.

        That is what is kept between steps. What a step reads and writes, its traffic, `execution_report` tells.

        Args:
            params: what `init` or `build` takes: a tree, a list, `model.named_parameters()`. Shapes and dtypes suffice,
                as tensors on torch's device "meta" and jax.ShapeDtypeStruct have them; nothing is allocated. Default:
                the parameters that the optimizer was built for.

        Raises:
            ValueError: if there are none, because it was not built, or a dtype cannot be optimized.
            TypeError: if something has no shape and dtype.

        Example:
            >>> import numpy as np
            >>> from gradwise.optimizers import Adam
            >>> report = Adam().memory({"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)})
            >>> report.total, report.by_slot
            (64, {'momentum': 32, 'velocity': 32})
        """
        if params is not None:
            tree = tree_of_parameters(params)
            arrays, _ = of_shapes(tree)
            return memory_of(self._new_template(tree.with_leaves(arrays))[0])
        if not self.built:
            raise ValueError(f"Optimizer {self.name!r} is not built: give the parameters, memory(params).")
        return memory_of(self)


def memory_of(rule: Rule) -> MemoryReport:
    """What an optimizer that is built keeps."""
    names = [cell.name for cell in rule.cells.parameters]
    return MemoryReport(
        MemoryRow(
            None if position is None else names[position], name, cell.shape, cell.dtype_name,
            math.prod(cell.shape) * ITEM_SIZES.get(cell.dtype_name, _OF_OTHERS),
        )
        for cell, name, position in rule.named_cells()
        if cell.backend is not HOST
    )  # fmt: skip


_OF_OTHERS = 8
"""The bytes of a number that is of no floating dtype."""
