"""Programs: an update rule as a list of operations on whole arrays and on scalars, without a branch or a loop.

Scalars (rates, step counts and what follows from them) are evaluated once a step, as the host's numbers in double
precision; array operations are what becomes one pass over memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

ELEMENTWISE = (
    "add", "subtract", "multiply", "divide", "negative", "square", "sqrt", "abs", "sign", "maximum", "minimum",
    "select", "less", "less_equal", "greater", "greater_equal", "fill",
)  # fmt: skip
"""Array operations with one result in IEEE arithmetic, so that every lowering gives the same bits."""

COMPARISONS = frozenset(("less", "less_equal", "greater", "greater_equal"))
"""Those of them that give truths."""


class Unrecordable(Exception):
    """A rule did something that cannot be recorded; the message says what, and in which line."""


class Program(NamedTuple):
    """A recorded rule for one parameter.

    Attributes:
        inputs: the number of arrays read; operand k < inputs is the k-th of them.
        operations: of arrays; the i-th makes operand `inputs + i`. Operands are ("array", k) or ("scalar", k).
        outputs: pairs of an input and the operand written to it at the end.
        scalars: which scalar values the array operations use; ("scalar", k) is the k-th of them.
        scalar_inputs: the names of the values that change from step to step.
        constants: the numbers the rule brought.
        scalar_operations: over inputs, then constants, then their own results.
        reductions: pairs of a name in `scalar_inputs` and the operand whose sum of squares it stands for.
    """

    inputs: int
    operations: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    outputs: tuple[tuple[int, int], ...]
    scalars: tuple[int, ...]
    scalar_inputs: tuple[str, ...]
    constants: tuple[float, ...]
    scalar_operations: tuple[tuple[str, tuple[int, ...]], ...]
    reductions: tuple[tuple[str, int], ...] = ()

    @property
    def structure(self) -> Any:
        """What a kernel depends on: no number is part of it."""
        reduced = tuple(operand for _, operand in self.reductions)
        return self.inputs, self.operations, self.outputs, len(self.scalars), reduced

    @property
    def read(self) -> list[int]:
        """The inputs that it reads."""
        used = {number for _, operands in self.operations for kind, number in operands if kind == "array"}
        used |= {number for _, number in (*self.outputs, *self.reductions)}
        return [number for number in range(self.inputs) if number in used]

    def traffic(self, item_sizes: int | Sequence[int]) -> int:
        """Bytes moved for each element in one pass: what is read and what is written.

        Args:
            item_sizes: of a number in all inputs, or of one in each.
        """
        sizes = [item_sizes] * self.inputs if isinstance(item_sizes, int) else item_sizes
        return sum(sizes[number] for number in (*self.read, *(target for target, _ in self.outputs)))

    @property
    def work(self) -> int:
        """Operations for each element; each sum of squares is two."""
        return len(self.operations) + 2 * len(self.reductions)

    def __str__(self) -> str:
        names = [*self.scalar_inputs, *(f"{constant:.17g}" for constant in self.constants)]
        first = len(names)
        lines = []
        for position, (name, operands) in enumerate(self.scalar_operations, first):
            names.append(f"s{position}")
            lines.append(f"s{position} = {name}({', '.join(names[operand] for operand in operands)})")
        for position, (name, typed) in enumerate(self.operations, self.inputs):
            shown = [f"a{number}" if kind == "array" else names[self.scalars[number]] for kind, number in typed]
            lines.append(f"a{position} = {name}({', '.join(shown)})")
        lines += [f"{name} = sum_of_squares(a{operand})" for name, operand in self.reductions]
        lines += [f"write a{target} <- a{source}" for target, source in self.outputs]
        return "\n".join(lines)
