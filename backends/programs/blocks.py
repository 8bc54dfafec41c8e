"""Programs run over NumPy's arrays in blocks that stay in the processor's cache: what is done without a compiler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from .. import sums
from ..sixteen_bits import narrowed, widened
from .interpreter import OPERATORS
from .program import Program

BLOCK = 8192
"""Elements of a NumPy block: small enough that all that a program holds at once stays in the cache."""

_INTO = {
    "add": numpy.add, "subtract": numpy.subtract, "multiply": numpy.multiply, "divide": numpy.divide,
    "negative": numpy.negative, "square": numpy.square, "sqrt": numpy.sqrt, "abs": numpy.absolute, "sign": numpy.sign,
    "maximum": numpy.maximum, "minimum": numpy.minimum,
}  # fmt: skip


class BlockRunner:
    """Runs a program over flat NumPy arrays in blocks, with as few buffers as its values live at once.

    Args:
        program: what to run; it writes, or it reads for its sums.
        dtype: "float32" or "float64", in which it is computed.
        stored: the dtype of each of its inputs; arrays of bfloat16 are those of the integers that stand for them.
    """

    def __init__(self, program: Program, dtype: str, stored: Sequence[str]) -> None:
        self._program = program
        self._dtype = numpy.dtype(dtype)
        self._stored = stored
        self._slots = _buffers_of(program)
        self._count = max(self._slots.values(), default=-1) + 1

    def write(self, arrays: Sequence[Any], scalars: Sequence[float]) -> None:
        """Update `arrays`, one flat array for each input, in place."""
        program = self._program
        for places, values in self._by_blocks(arrays, scalars, BLOCK):
            # An input that is written to another input must be read before it may be overwritten itself.
            results = [values[k].copy() if k < program.inputs else values[k] for _, k in program.outputs]
            for (target, _), result in zip(program.outputs, results, strict=True):
                places[target][...] = narrowed(result) if self._stored[target] == "bfloat16" else result

    def read(self, arrays: Sequence[Any], scalars: Sequence[float]) -> list[float]:
        """The sums of squares over `arrays`, one flat array for each input."""
        totals = [0.0] * len(self._program.reductions)
        for _, values in self._by_blocks(arrays, scalars, sums.BLOCK):
            for position, (_, operand) in enumerate(self._program.reductions):
                totals[position] += sums.block_sum(values[operand])
        return totals

    def _by_blocks(
        self, arrays: Sequence[Any], scalars: Sequence[float], length: int
    ) -> Iterator[tuple[list[Any], list[Any]]]:
        """For each block all inputs as they are stored; and as they are computed with, with all results."""
        program = self._program
        buffers = numpy.empty((self._count, length), dtype=self._dtype)
        for start in range(0, arrays[0].size, length):
            places = [array[start : start + length] for array in arrays]
            values: list[Any] = [
                widened(place) if stored == "bfloat16" else place.astype(self._dtype, copy=False)
                for place, stored in zip(places, self._stored, strict=True)
            ]
            for position, (name, operands) in enumerate(program.operations, program.inputs):
                arguments = [values[k] if kind == "array" else scalars[k] for kind, k in operands]
                values.append(self._apply(name, arguments, buffers[self._slots[position], : values[0].size]))
            yield places, values

    def _apply(self, name: str, arguments: list[Any], out: Any) -> Any:
        if name in _INTO:
            return _INTO[name](*arguments, out=out)
        if name == "fill":
            out.fill(arguments[0])
        elif name == "select":
            predicate, a, b = arguments
            numpy.copyto(out, b)
            numpy.copyto(out, a, where=numpy.asarray(predicate, dtype=bool))
        else:
            return OPERATORS[name](*arguments)
        return out


def _buffers_of(program: Program) -> dict[int, int]:
    """For each operation's result a buffer, shared by values that are never needed at the same time."""
    end = len(program.operations) + program.inputs
    last_use = {source: end for _, source in (*program.outputs, *program.reductions)}
    for position, (_, operands) in enumerate(program.operations, program.inputs):
        for kind, number in operands:
            if kind == "array":
                last_use[number] = max(last_use.get(number, 0), position)
    slots: dict[int, int] = {}
    free: list[int] = []
    made = 0
    for position in range(program.inputs, program.inputs + len(program.operations)):
        # A select writes its result before it has read all operands, so nothing is freed until after the operation.
        slots[position] = free.pop() if free else made
        made += slots[position] == made
        free += [slots[number] for number in slots if last_use.get(number, number) == position]
    return slots
