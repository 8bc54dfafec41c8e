"""A program as one loop over memory, in LLVM's language.

A recorded program has no branches and each of its values a name, as LLVM wants it, so it is written down operation by
operation. Around it stands what all kernels have in common: over pieces of work, in strides, over elements. Numba could
make the same of a loop in Python, in ten times the time, nearly all of it to find out types that are known here.

No operation may be fused with another, reordered or replaced by an approximation: none has a flag that says so.

The rule that `programs.recorder` shows, as the loop over the elements of one stride of one parameter. The step's two
scalars were computed beforehand:

    >>> velocity = ("multiply", (("array", 1), ("scalar", 0))), ("add", (("array", 3), ("array", 2)))
    >>> weights = ("multiply", (("array", 4), ("scalar", 1))), ("subtract", (("array", 0), ("array", 5)))
    >>> program = Program(3, (*velocity, *weights), ((0, 6), (1, 4)), (0, 1), ("decay", "step"), (), ())
    >>> text = lowered(program, "float32", ["float32", "float32", "float32"], 2, "kernel", "kernel_of_team")
    >>> print(text[text.index("element.done:") : text.index("element.end:")].replace('"', ""))
    element.done:
      %place0 = getelementptr inbounds float, ptr %start0, i64 %element
      %place1 = getelementptr inbounds float, ptr %start1, i64 %element
      %place2 = getelementptr inbounds float, ptr %start2, i64 %element
      %a0 = load float, ptr %place0
      %a1 = load float, ptr %place1
      %a2 = load float, ptr %place2
      %a3 = fmul float %a1, %s0
      %a4 = fadd float %a3, %a2
      %a5 = fmul float %a4, %s1
      %a6 = fsub float %a0, %a5
      store float %a6, ptr %place0
      store float %a4, ptr %place1
      %element.next = add nsw i64 %element, 1
      br label %element.asked
    <BLANKLINE>
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]  # it has no types

from ..dtypes import ITEM_SIZES, SIXTEEN_BIT
from ..programs.program import Program
from ..sums import BLOCK, LANES
from .sixteen_bits import NARROWING, WIDENING

_LONG, _BIT, _NOTHING, _POINTER = ir.IntType(64), ir.IntType(1), ir.VoidType(), ir.PointerType()
_TYPES: dict[str, Any] = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_TYPES |= dict.fromkeys(SIXTEEN_BIT, ir.IntType(16))
_DOUBLE = _TYPES["float64"]

_TEAM_FIELDS = 13
"""What a team's function is given: where the number of the next share stands; where the bounds of the shares among the
pieces of work stand, and how many shares there are; the work; then for addresses, scalars and sums where they stand and
both lengths. Whichever thread is free takes the next share."""
_LINE, _STRIDE, _AHEAD = 64, 512, 2048
"""Bytes: a line of memory, what a loop does before it fetches more, and how far ahead that lies, on an average of all
arrays. The processor's own prefetching stops at the end of each page; without this, a pass over large arrays takes a
tenth longer."""
_PIECE = 4
"""Numbers that tell a piece of work: the row of addresses, its first element, where it ends, its first block."""


def _long(number: int) -> Any:
    return ir.Constant(_LONG, number)


class _Array(NamedTuple):
    """An array of two axes: where it starts, and how long they are."""

    start: Any
    rows: Any
    columns: Any


def lowered(program: Program, dtype: str, stored: Sequence[str], head: int, name: str, team: str) -> str:
    """A module with a program's kernel, as two functions.

    Args:
        program: writes, or reads for its sums.
        dtype: "float32" or "float64", in which it is computed. Each number is read as it and rounded once when it is
            written.
        stored: the dtype of each of its inputs; of 16 bits only with float32, and for what is only read.
        head: how many words of 8 bytes stand before what is an array's own, in an array of NumPy.
        name: of a function that takes arrays of NumPy: the work, addresses, scalars and sums.
        team: of a function that takes a pointer to `_TEAM_FIELDS` numbers, and does shares until none is left.
    """
    module = ir.Module()
    pieces = _Pieces(module, program, dtype, stored).function
    _of_arrays(module, name, pieces, head)
    _of_a_team(module, team, pieces)
    return str(module)


class _Pieces:
    """A function that runs a program on pieces of work."""

    def __init__(self, module: Any, program: Program, dtype: str, stored: Sequence[str]) -> None:
        self._program, self._dtype, self._stored = program, dtype, stored
        # The work and its length, then three arrays.
        kind = ir.FunctionType(_NOTHING, [_POINTER, _LONG, *[_POINTER, _LONG, _LONG] * 3])
        self.function = ir.Function(module, kind, "pieces")
        self.function.linkage = "internal"
        work, count, *arrays = self.function.args
        self._addresses, self._scalars, self._sums = (_Array(*arrays[first : first + 3]) for first in (0, 3, 6))
        self._builder = builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        if program.reductions:
            self._lanes = builder.alloca(_DOUBLE, size=len(program.reductions) * LANES)
            self._lanes.align = _LINE
        with _counted(builder, _long(0), count, "piece") as piece:
            told = builder.mul(piece, _long(_PIECE))
            self._row, start, stop, place = (
                self._item(_LONG, work, builder.add(told, _long(field)), name)
                for field, name in enumerate(("row", "start", "stop", "place"))
            )
            self._wide = self._scalars_of_row()
            self._numbers = [
                _converted(builder, value, dtype, f"s{number}") for number, value in enumerate(self._wide)
            ]
            if program.reductions:
                self._sums_of(start, stop, place)
            else:
                self._in_strides(start, stop)
        builder.ret_void()

    def _place(self, kind: Any, start: Any, number: Any, name: str = "") -> Any:
        return self._builder.gep(start, [number], inbounds=True, source_etype=kind, name=name)

    def _item(self, kind: Any, start: Any, number: Any, name: str = "") -> Any:
        return self._builder.load(self._place(kind, start, number), typ=kind, name=name)

    def _scalars_of_row(self) -> list[Any]:
        """The scalars, in double precision: all parameters share one line of them, or each has its own."""
        builder, scalars = self._builder, self._scalars
        several = builder.icmp_signed(">", scalars.rows, _long(1))
        line = builder.mul(builder.select(several, self._row, _long(0)), scalars.columns)
        return [
            self._item(_DOUBLE, scalars.start, builder.add(line, _long(number)))
            for number in range(len(self._program.scalars))
        ]

    def _address(self, number: int) -> Any:
        """Where the array of an input starts, as a number."""
        addresses = self._addresses
        line = self._builder.mul(self._row, addresses.columns)
        return self._item(_LONG, addresses.start, self._builder.add(line, _long(number)))

    def _touched(self) -> list[int]:
        """The inputs that are read or written."""
        return sorted({*self._program.read, *(target for target, _ in self._program.outputs)})

    def _in_strides(self, start: Any, stop: Any) -> None:
        """A piece of what writes.

        Only what is long is done in strides; what is left, and all that is short, in one more. What is done stands
        there once: to compile it is what takes time.
        """
        builder, arrays = self._builder, self._touched()
        widths = {number: ITEM_SIZES[self._stored[number]] for number in arrays}
        # Where some are narrow, less is moved for each element: as much memory is more elements.
        stride = _STRIDE // ITEM_SIZES[self._dtype]
        ahead = _AHEAD * len(widths) // sum(widths.values()) // stride * stride
        addresses = {number: self._address(number) for number in arrays}
        with _while_below(builder, start, stop, "stride") as (first, step):
            left = builder.sub(stop, first)
            is_long = builder.icmp_signed(">=", left, _long(ahead + stride))
            with builder.if_then(is_long):
                places = {
                    number: builder.add(addresses[number], builder.mul(first, _long(width)))
                    for number, width in widths.items()
                }
                self._prefetched(places, widths, ahead, stride)
            count = builder.select(is_long, _long(stride), left)
            self._elements(addresses, first, count)
            step(count)

    def _prefetched(self, places: dict[int, Any], widths: dict[int, int], ahead: int, stride: int) -> None:
        """Have the processor fetch lines of memory that are to be read, and kept as near as can be: one of each array,
        then the next of each."""
        builder, number = self._builder, ir.IntType(32)
        kind = ir.FunctionType(_NOTHING, [_POINTER, number, number, number])
        name = "llvm.prefetch.p0"
        fetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        for line in range(0, stride * max(widths.values()), _LINE):
            for array, width in widths.items():
                if line < stride * width:
                    byte = builder.add(places[array], _long(ahead * width + line))
                    choices = (ir.Constant(number, choice) for choice in (0, 3, 1))
                    builder.call(fetch, [builder.inttoptr(byte, _POINTER), *choices])

    def _elements(self, addresses: dict[int, Any], first: Any, count: Any) -> None:
        """What a program does to `count` elements from `first`: it writes, or adds the square of each to a lane."""
        builder, program, stored = self._builder, self._program, self._stored
        starts = {
            number: self._place(_TYPES[stored[number]], builder.inttoptr(address, _POINTER), first, f"start{number}")
            for number, address in addresses.items()
        }
        with _counted(builder, _long(0), count, "element") as element:
            values: dict[int, Any] = {}
            places = {
                number: self._place(_TYPES[stored[number]], start, element, f"place{number}")
                for number, start in starts.items()
            }
            for number in program.read:
                value = builder.load(places[number], typ=_TYPES[stored[number]], name=f"a{number}")
                values[number] = _read(builder, value, stored[number], self._dtype)
            for position, (name, operands) in enumerate(program.operations, program.inputs):
                given = [values[number] if kind == "array" else self._numbers[number] for kind, number in operands]
                if name == "select" and operands[0][0] == "scalar":
                    # What it is as the host has it: rounded, it might be zero.
                    given[0] = self._wide[operands[0][1]]
                values[position] = _applied(builder, name, given, self._dtype, f"a{position}")
            for target, source in program.outputs:
                builder.store(_written(builder, values[source], stored[target], self._dtype), places[target])
            for number, (_, source) in enumerate(program.reductions):
                wide = _converted(builder, values[source], "float64")
                lane = self._lane(number, element)
                builder.store(builder.fadd(builder.load(lane, typ=_DOUBLE), builder.fmul(wide, wide)), lane)

    def _sums_of(self, start: Any, stop: Any, place: Any) -> None:
        """A piece of what reads: for each block its sums, as `backends/sums.py` defines them."""
        builder, sums = self._builder, range(len(self._program.reductions))
        addresses = {number: self._address(number) for number in self._touched()}
        with _while_below(builder, start, stop, "block") as (first, step):
            count = _least(builder, builder.sub(stop, first), _long(BLOCK))
            for number in sums:
                with _counted(builder, _long(0), _long(LANES), "lane") as lane:
                    builder.store(ir.Constant(_DOUBLE, 0.0), self._lane(number, lane))
            rows = builder.sdiv(count, _long(LANES))
            with _counted(builder, _long(0), rows, "row") as row:
                self._elements(addresses, builder.add(first, builder.mul(row, _long(LANES))), _long(LANES))
            whole = builder.mul(rows, _long(LANES))
            self._elements(addresses, builder.add(first, whole), builder.sub(count, whole))
            # The piece's own blocks come one after another, and the first of them has its number.
            block = builder.add(place, builder.sdiv(builder.sub(first, start), _long(BLOCK)))
            line = builder.mul(block, self._sums.columns)
            for number in sums:
                target = self._place(_DOUBLE, self._sums.start, builder.add(line, _long(number)))
                builder.store(self._added_up(number), target)
            step(count)

    def _lane(self, number: int, lane: Any) -> Any:
        return self._place(_DOUBLE, self._lanes, self._builder.add(lane, _long(number * LANES)))

    def _added_up(self, number: int) -> Any:
        """The lanes, from the first to the last."""
        builder = self._builder
        total = builder.load(self._lane(number, _long(0)), typ=_DOUBLE)
        for lane in range(1, LANES):
            total = builder.fadd(total, builder.load(self._lane(number, _long(lane)), typ=_DOUBLE))
        return total


# -------------------------------------------------------------------- how kernels are called


def _of_arrays(module: Any, name: str, pieces: Any, head: int) -> None:
    """A function of C that is given objects: arrays of NumPy."""
    function = ir.Function(module, ir.FunctionType(_NOTHING, [_LONG] * 4), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def word(start: Any, number: int, kind: Any = _LONG) -> Any:
        return builder.load(builder.gep(start, [_long(number)], source_etype=_LONG), typ=kind)

    def array(given: Any) -> list[Any]:
        given = builder.inttoptr(given, _POINTER)
        lengths = word(given, head + 2, _POINTER)
        return [word(given, head, _POINTER), word(lengths, 0), word(lengths, 1)]

    work, *arrays = (array(given) for given in function.args)
    builder.call(pieces, [*work[:2], *(each for given in arrays for each in given)])
    builder.ret_void()


def _of_a_team(module: Any, name: str, pieces: Any) -> None:
    """A function of C that each thread of a team calls."""
    function = ir.Function(module, ir.FunctionType(_NOTHING, [_POINTER]), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def word(start: Any, number: Any, kind: Any = _LONG) -> Any:
        return builder.load(builder.gep(start, [number], source_etype=_LONG), typ=kind)

    pointers = {0, 1, 3, 4, 7, 10}
    fields = [
        word(function.args[0], _long(field), _POINTER if field in pointers else _LONG) for field in range(_TEAM_FIELDS)
    ]
    following, bounds, shares, work, *arrays = fields

    def taken() -> Any:
        return builder.atomic_rmw("add", following, _long(1), "monotonic")

    with _while_below(builder, taken(), shares, "share") as (share, step):
        first, last = word(bounds, share), word(bounds, builder.add(share, _long(1)))
        start = builder.gep(work, [builder.mul(first, _long(_PIECE))], source_etype=_LONG)
        builder.call(pieces, [start, builder.sub(last, first), *arrays])
        step(builder.sub(taken(), share))
    builder.ret_void()


# -------------------------------------------------------------------- loops


@contextlib.contextmanager
def _while_below(builder: Any, start: Any, stop: Any, name: str) -> Iterator[tuple[Any, Callable[[Any], None]]]:
    """What is written inside is done while a number is below another: the number, and what says its step."""
    before = builder.block
    head, body, end = (builder.append_basic_block(f"{name}{part}") for part in (".asked", ".done", ".end"))
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(_LONG, name)
    number.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", number, stop), body, end)
    builder.position_at_end(body)
    steps: list[Any] = []
    yield number, steps.append
    number.add_incoming(builder.add(number, *steps, name=f"{name}.next", flags=["nsw"]), builder.block)
    builder.branch(head)
    builder.position_at_end(end)


@contextlib.contextmanager
def _counted(builder: Any, start: Any, stop: Any, name: str) -> Iterator[Any]:
    """What is written inside is done for each number from one to another."""
    with _while_below(builder, start, stop, name) as (number, step):
        yield number
        step(_long(1))


# -------------------------------------------------------------------- operations on numbers


def _least(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.icmp_signed("<", one, other), one, other)


def _converted(builder: Any, value: Any, dtype: str, name: str = "") -> Any:
    """A number, or a truth, in a dtype that is computed in."""
    kind = _TYPES[dtype]
    if value.type == kind:
        return value
    if value.type == _BIT:
        return builder.uitofp(value, kind, name=name)
    return (builder.fpext if dtype == "float64" else builder.fptrunc)(value, kind, name=name)


def _read(builder: Any, value: Any, stored: str, dtype: str) -> Any:
    return _converted(builder, WIDENING[stored](builder, value) if stored in WIDENING else value, dtype)


def _written(builder: Any, value: Any, stored: str, dtype: str) -> Any:
    if stored in NARROWING:
        return NARROWING[stored](builder, _converted(builder, value, "float32"))
    return _converted(builder, _converted(builder, value, dtype), stored)


def _truth(builder: Any, value: Any) -> Any:
    return value if value.type == _BIT else builder.fcmp_unordered("!=", value, ir.Constant(value.type, 0.0))


_COMPARED = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_ARITHMETIC = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_INTRINSICS = {"sqrt": "llvm.sqrt", "abs": "llvm.fabs"}
_EXTREMES = {"maximum": ">", "minimum": "<"}


def _applied(builder: Any, name: str, operands: Sequence[Any], dtype: str, called: str) -> Any:
    """An operation of a program on numbers, in IEEE arithmetic."""
    if name == "select":
        wanted, first, last = (operands[0], *(_converted(builder, each, dtype) for each in operands[1:]))
        return builder.select(_truth(builder, wanted), first, last, name=called)
    numbers = [_converted(builder, each, dtype) for each in operands]
    first, last = numbers[0], numbers[-1]
    if name in _ARITHMETIC:
        return getattr(builder, _ARITHMETIC[name])(first, last, name=called)
    if name in _COMPARED:
        return builder.fcmp_ordered(_COMPARED[name], first, last, name=called)
    if name in _INTRINSICS:
        return builder.call(builder.module.declare_intrinsic(_INTRINSICS[name], [first.type]), [first], name=called)
    if name in _EXTREMES:
        # What is no number is kept, if it is the first.
        no_number = builder.fcmp_unordered("uno", first, first)
        chosen = builder.or_(builder.fcmp_ordered(_EXTREMES[name], first, last), no_number)
        return builder.select(chosen, first, last, name=called)
    return _ALONE[name](builder, first, called)


def _sign(builder: Any, number: Any, called: str) -> Any:
    """1, -1 or 0; what is no number stays."""
    one, zero, less = (ir.Constant(number.type, value) for value in (1.0, 0.0, -1.0))
    same = builder.select(builder.fcmp_ordered("==", number, zero), zero, number)
    negative = builder.select(builder.fcmp_ordered("<", number, zero), less, same)
    return builder.select(builder.fcmp_ordered(">", number, zero), one, negative, name=called)


_ALONE: dict[str, Callable[[Any, Any, str], Any]] = {
    "negative": lambda builder, number, called: builder.fneg(number, name=called),
    "square": lambda builder, number, called: builder.fmul(number, number, name=called),
    "sign": _sign,
    "fill": lambda builder, number, called: number,
}
