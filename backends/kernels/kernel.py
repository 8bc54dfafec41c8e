"""Kernels: what a recorded rule becomes, a function over memory that is looked up when it is first needed.

`lowering` writes it, and `compiled` has it compiled and keeps it. A program that cannot be compiled runs over the same
memory by NumPy, block by block, with the same bits.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy

from ..dtypes import ITEM_SIZES
from ..programs.blocks import BlockRunner
from ..programs.program import Program
from ..sums import BLOCK
from .compiled import compile_kernel, compiled_or

_KERNELS: dict[Any, Any] = {}


class Kernels:
    """The kernels of a program, looked up when they are first needed.

    Args:
        program: which writes, or reads for its sums.
        dtype: "float32" or "float64", in which it is computed.
        stored: the dtype of each of its inputs.
    """

    def __init__(self, program: Program, dtype: str, stored: tuple[str, ...]) -> None:
        self.program = program
        self.dtype = dtype
        self.stored = stored

    @functools.cached_property
    def plain(self) -> Any:
        """As a function of Python."""
        kernel = kernel_of(self.program, self.dtype, self.stored)
        return kernel[0] if kernel else _by_blocks(self.program, self.dtype, self.stored)

    @property
    def by_blocks(self) -> bool:
        """Whether it was found that the program cannot be compiled."""
        return _KERNELS.get((self.program.structure, self.dtype, self.stored), self) is None

    @functools.cached_property
    def team(self) -> int | None:
        """As a function of C: its address, or None where it cannot be compiled."""
        kernel = kernel_of(self.program, self.dtype, self.stored)
        return None if kernel is None else int(kernel[1])


def kernel_of(program: Program, dtype: str, stored: tuple[str, ...]) -> Any:
    """The compiled kernel, from memory, from disk, or made now; None where it cannot be compiled.

    Args:
        program: which writes, or reads for its sums.
        dtype: "float32" or "float64", in which it is computed.
        stored: the dtype of each of its inputs.

    Returns:
        It as a function of Python; and the address of a function of C, which a team's threads call.
    """
    key = (program.structure, dtype, stored)
    if key not in _KERNELS:
        kernel = compiled_or(lambda: compile_kernel(program, dtype, stored), "an update rule", None)
        return _KERNELS.setdefault(key, kernel)
    return _KERNELS[key]


def _by_blocks(program: Program, dtype: str, stored: tuple[str, ...]) -> Callable[[Any, Any, Any, Any], None]:
    """What a kernel does, without a compiler."""
    runner = BlockRunner(program, dtype, stored)

    def kernel(work: Any, addresses: Any, scalars: Any, sums: Any) -> None:
        for row, start, stop, place in work.tolist():
            line = scalars[row if len(scalars) > 1 else 0].tolist()
            arrays = [
                _memory(address + start * ITEM_SIZES[kind], stop - start, "uint16" if kind == "bfloat16" else kind)
                for address, kind in zip(addresses[row].tolist(), stored, strict=True)
            ]
            with numpy.errstate(all="ignore"):
                if not program.reductions:
                    runner.write(arrays, line)
                    continue
                for block, first in enumerate(range(0, stop - start, BLOCK), place):
                    sums[block] = runner.read([array[first : first + BLOCK] for array in arrays], line)

    return kernel


def _memory(address: int, count: int, dtype: str) -> Any:
    length = count * numpy.dtype(dtype).itemsize
    # Nothing can lie at address zero, where what is empty may be said to lie.
    held: Any = (ctypes.c_char * length).from_address(address) if length else b""
    return numpy.frombuffer(held, dtype=dtype)
