"""Kernels: a recorded rule becomes the source of one loop over memory, which Numba compiles.

`compiled` has it compiled and keeps what was. A program that Numba cannot compile runs over the same memory by NumPy,
block by block, with the same bits.

The rule that `programs.recorder` shows, as the loop over the elements of one parameter after another. Those that are
far ahead are fetched before they are needed; the step's two scalars were computed beforehand:

    >>> velocity = ("multiply", (("array", 1), ("scalar", 0))), ("add", (("array", 3), ("array", 2)))
    >>> weights = ("multiply", (("array", 4), ("scalar", 1))), ("subtract", (("array", 0), ("array", 5)))
    >>> program = Program(3, (*velocity, *weights), ((0, 6), (1, 4)), (0, 1), ("decay", "step"), (), ())
    >>> print(source_of(program, "float32", ["float32", "float32", "float32"]))
        one, zero = numpy.float32(1), numpy.float32(0)
        for piece in range(work.shape[0]):
            row, start, stop = work[piece, 0], work[piece, 1], work[piece, 2]
            line = row if scalars.shape[0] > 1 else 0
            s0 = numpy.float32(scalars[line, 0])
            s1 = numpy.float32(scalars[line, 1])
            while start < stop:
                count = stop - start
                if count >= 640:
                    count = 128
                    for byte in range(2048, 2560, 64):
                        prefetch(addresses[row, 0] + start * 4 + byte)
                        prefetch(addresses[row, 1] + start * 4 + byte)
                        prefetch(addresses[row, 2] + start * 4 + byte)
                p0 = carray(pointer(addresses[row, 0] + start * 4), (count,), dtype=numpy.float32)
                p1 = carray(pointer(addresses[row, 1] + start * 4), (count,), dtype=numpy.float32)
                p2 = carray(pointer(addresses[row, 2] + start * 4), (count,), dtype=numpy.float32)
                for i in range(count):
                    a0 = p0[i]
                    a1 = p1[i]
                    a2 = p2[i]
                    a3 = a1 * s0
                    a4 = a3 + a2
                    a5 = a4 * s1
                    a6 = a0 - a5
                    p0[i] = a6
                    p1[i] = a4
                start += count
    <BLANKLINE>
"""

from __future__ import annotations

import ctypes
import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..dtypes import ITEM_SIZES, SIXTEEN_BIT
from ..programs.blocks import BlockRunner
from ..programs.program import Program
from ..sums import BLOCK, LANES
from .compiled import compile_callback, compile_function, compiled_or, with_arrays
from .sums import added_up, cleared, squares_added

_SIGNATURE = "void(int64[:, ::1], int64[:, ::1], float64[:, ::1], float64[:, ::1])"
_NAMES = "work", "addresses", "scalars", "sums"
_TEAM_FIELDS = 13
_TEAM = f"""
def team(data):
    fields = carray(pointer(data), ({_TEAM_FIELDS},), dtype=numpy.int64)
    shares = carray(pointer(fields[1]), (fields[2] + 1,), dtype=numpy.int64)
    addresses = carray(pointer(fields[4]), (fields[5], fields[6]), dtype=numpy.int64)
    scalars = carray(pointer(fields[7]), (fields[8], fields[9]), dtype=numpy.float64)
    sums = carray(pointer(fields[10]), (fields[11], fields[12]), dtype=numpy.float64)
    share = taken(fields[0])
    while share < fields[2]:
        first = fields[3] + 32 * shares[share]
        work = carray(pointer(first), (shares[share + 1] - shares[share], 4), dtype=numpy.int64)
        share = taken(fields[0])
"""
"""In its fields it is given where the number of the next share stands; where the bounds of the shares among the pieces
of work stand, and how many shares there are; the work; then for addresses, scalars and sums where they stand and both
lengths. Whichever thread is free takes the next share."""
_LINE, _STRIDE, _AHEAD = 64, 512, 2048
"""Bytes: a line of memory, what a loop does before it fetches more, and how far ahead that lies, on an average of all
arrays. The processor's own prefetching stops at the end of each page; without this, a pass over large arrays takes a
tenth longer."""
_PART = 8 * LANES
"""How many elements are computed before their squares are added up: so many that they stay near."""
_EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "square": "{0} * {0}",
    "sqrt": "numpy.sqrt({0})",
    "abs": "abs({0})",
    "sign": "one if {0} > zero else (-one if {0} < zero else (zero if {0} == zero else {0}))",
    "maximum": "{0} if ({0} > {1} or {0} != {0}) else {1}",
    "minimum": "{0} if ({0} < {1} or {0} != {0}) else {1}",
    "select": "{1} if {0} else {2}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "fill": "{0}",
}
_KERNELS: dict[Any, Any] = {}


def _stored_as(dtype: str) -> str:
    """The dtype by which an array of a dtype is known in a kernel: there 16 bits are an integer."""
    return "uint16" if dtype in SIXTEEN_BIT else dtype


def _read(number: str, stored: str, dtype: str) -> str:
    """A number of a stored dtype in the one that is computed in."""
    if stored in SIXTEEN_BIT:
        number, stored = f"from_{stored}({number})", "float32"
    return number if stored == dtype else f"numpy.{dtype}({number})"


def source_of(program: Program, dtype: str, stored: Sequence[str]) -> str:
    """The body of the kernel's Python source. A program writes, or it reads for its sums.

    Each number is read as the dtype that is computed in and rounded once when it is written.

    Args:
        program: what to run.
        dtype: "float32" or "float64", in which it is computed.
        stored: the dtype of each of its inputs; of 16 bits only with float32, and for what is only read.
    """
    rows = len(program.reductions)
    lines = [f"one, zero = numpy.{dtype}(1), numpy.{dtype}(0)"]
    if rows:
        size = ITEM_SIZES[dtype]
        lines += [f"values = carray(pointer(room({rows * _PART * size})), ({rows}, {_PART}), dtype=numpy.{dtype})"]
        lines += [f"lanes = carray(pointer(room({rows * LANES * 8})), ({rows}, {LANES}), dtype=numpy.float64)"]
    lines += ["for piece in range(work.shape[0]):"]
    piece = ["row, start, stop = work[piece, 0], work[piece, 1], work[piece, 2]"]
    # Scalars are rounded to the dtype here, once; all parameters share one line of them, or each has its own.
    piece += ["line = row if scalars.shape[0] > 1 else 0"]
    piece += [f"s{number} = numpy.{dtype}(scalars[line, {number}])" for number in range(len(program.scalars))]
    elements = _loop_over_elements(program, dtype, stored)
    piece += _added_up(program, elements) if rows else _in_strides(program, dtype, stored, elements)
    return "".join(f"    {line}\n" for line in [*lines, *_indented(piece)])


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _touched(program: Program) -> list[int]:
    """The inputs that are read or written."""
    return sorted({*program.read, *(target for target, _ in program.outputs)})


def _loop_over_elements(program: Program, dtype: str, stored: Sequence[str]) -> list[str]:
    """What a program does to `count` elements from `start`."""
    lines = [
        f"p{number} = carray(pointer(addresses[row, {number}] + start * {ITEM_SIZES[stored[number]]}), (count,), "
        f"dtype=numpy.{_stored_as(stored[number])})"
        for number in _touched(program)
    ]
    # Counting from zero, Numba knows that no index is negative, without which the loop would not vectorise.
    lines += ["for i in range(count):"]
    lines += [f"    a{number} = {_read(f'p{number}[i]', stored[number], dtype)}" for number in program.read]
    for position, (name, operands) in enumerate(program.operations, program.inputs):
        arguments = [f"{'a' if kind == 'array' else 's'}{number}" for kind, number in operands]
        if name == "select" and operands[0][0] == "scalar":
            arguments[0] = f"({arguments[0]} != zero)"
        lines.append(f"    a{position} = {_EXPRESSIONS[name].format(*arguments)}")
    for target, source in program.outputs:
        narrow = stored[target] in SIXTEEN_BIT
        lines.append(f"    p{target}[i] = " + (f"to_{stored[target]}(a{source})" if narrow else f"a{source}"))
    return lines


def _in_strides(program: Program, dtype: str, stored: Sequence[str], elements: Sequence[str]) -> list[str]:
    """A piece of what writes.

    Only what is long is done in strides; what is left, and all that is short, in one more. What is done stands there
    once: to compile it is what takes time.
    """
    arrays = _touched(program)
    widths = [ITEM_SIZES[stored[number]] for number in arrays]
    # Where some are narrow, less is moved for each element: as much memory is more elements.
    stride = _STRIDE // ITEM_SIZES[dtype]
    ahead = _AHEAD * len(widths) // sum(widths) // stride * stride
    long = [f"count = {stride}"]
    for width in sorted(set(widths)):
        long += [f"for byte in range({ahead * width}, {(ahead + stride) * width}, {_LINE}):"]
        long += [
            f"    prefetch(addresses[row, {number}] + start * {width} + byte)"
            for number in arrays if ITEM_SIZES[stored[number]] == width
        ]  # fmt: skip
    once = ["count = stop - start", f"if count >= {ahead + stride}:", *_indented(long), *elements, "start += count"]
    return ["while start < stop:", *_indented(once)]


def _added_up(program: Program, elements: Sequence[str]) -> list[str]:
    """A piece of what reads: for each block its sums, of one part after another."""
    sums = [source for _, source in program.reductions]
    part = [f"count = min(end - start, {_PART})", *elements]
    part += [f"    values[{number}, i] = a{source}" for number, source in enumerate(sums)]
    part += [f"squares_added(values[{number}, :count], lanes[{number}])" for number in range(len(sums))]
    block = [f"end = min(start + {BLOCK}, stop)", *(f"cleared(lanes[{number}])" for number in range(len(sums)))]
    block += ["while start < end:", *_indented([*part, "start += count"])]
    block += [f"sums[place, {number}] = added_up(lanes[{number}])" for number in range(len(sums))]
    return ["place = work[piece, 3]", "while start < stop:", *_indented([*block, "place += 1"])]


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
        return kernel_of(self.program, self.dtype, self.stored) or _by_blocks(self.program, self.dtype, self.stored)

    @property
    def by_blocks(self) -> bool:
        """Whether it was found that the program cannot be compiled."""
        return _KERNELS.get((self.program.structure, self.dtype, self.stored, False), self) is None

    @functools.cached_property
    def team(self) -> int | None:
        """As a function of C: its address, or None where it cannot be compiled."""
        team = kernel_of(self.program, self.dtype, self.stored, team=True)
        return None if team is None else int(team.address)


def kernel_of(program: Program, dtype: str, stored: tuple[str, ...], team: bool = False) -> Any:
    """The compiled kernel, from memory, from disk, or made now; None where it cannot be compiled.

    Args:
        program: which writes, or reads for its sums.
        dtype: "float32" or "float64", in which it is computed.
        stored: the dtype of each of its inputs.
        team: as a function of C, whose address others can call, rather than one of Python.
    """
    key = (program.structure, dtype, stored, team)
    if key not in _KERNELS:
        kernel = compiled_or(lambda: _compiled(program, dtype, stored, team), "an update rule", None)
        return _KERNELS.setdefault(key, kernel)
    return _KERNELS[key]


def _compiled(program: Program, dtype: str, stored: tuple[str, ...], team: bool) -> Any:
    body = source_of(program, dtype, stored)
    parts = {"squares_added": squares_added, "cleared": cleared, "added_up": added_up}
    if not team:
        return compile_function(with_arrays("kernel", _SIGNATURE, _NAMES, body), "kernel", _SIGNATURE, parts)
    lines = _TEAM.splitlines(keepends=True)
    source = "".join([*lines[:-1], textwrap.indent(body, "    "), lines[-1]])
    return compile_callback(source, "team", parts)


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
