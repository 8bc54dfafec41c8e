"""The imperative update in one pass over memory: record each parameter's rule, group equal programs, run kernels.

A plan holds, for each parameter, either its program or the reason why it has none; parameters without one are updated
eagerly. The plan lasts until something that the recording read has changed: an attribute of the optimizer (compared by
value, nested containers included), or an array's memory. Numbers are arguments of a kernel, so a new plan compiles
nothing as long as its programs have the same structure.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..backends import HOST, Scope, Variable, compute_dtype, is_number, numba_lowering, ops, scope_holding
from ..backends.interpreter import BlockRunner
from ..backends.program import Program, Recorder, Symbol, Unrecordable, scalar_evaluator
from ..backends.reductions import has_numba
from .cells import STRUCTURE, CellKeeper, frozen, restore, snapshot

_PLAIN = (float, int, str, bool)
_BATCH = 2**20
"""Elements that are copied to another dtype at once."""
_ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


class Group(NamedTuple):
    """Parameters that are updated in the same way; a line of `execution_report`."""

    way: str
    parameters: int
    elements: int
    bytes_per_parameter: int | None
    reason: str | None

    def __str__(self) -> str:
        traffic = "" if self.bytes_per_parameter is None else f", {self.bytes_per_parameter} bytes per element"
        reason = "" if self.reason is None else f": {self.reason}"
        return f"{self.way}: {self.parameters} parameters, {self.elements} elements{traffic}{reason}"


class ExecutionReport(list[Group]):
    """How each group of parameters was updated in the last imperative step. It prints as a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no imperative step has been made yet"


class _Pass:
    """A program ready to run, shared by all parameters that have it."""

    def __init__(self, program: Program, dtype: str) -> None:
        self.program = program
        self.dtype = dtype
        self.evaluate = scalar_evaluator(program)

    @functools.cached_property
    def kernel(self) -> Any:
        """Compiled for memory that is shared."""
        return numba_lowering.kernel_of(self.program, self.dtype)

    @functools.cached_property
    def blocks(self) -> BlockRunner:
        """For memory that is shared, without a compiler."""
        return BlockRunner(self.program, self.dtype)


class _Entry:
    """What the plan knows about one parameter."""

    __slots__ = (
        "addresses", "arrays", "cells", "dtype", "narrow", "plain", "reason", "size", "way",
    )  # fmt: skip

    def __init__(self, cells: list[Variable], dtype: str) -> None:
        self.cells = cells
        self.dtype = dtype
        self.way: _Pass | None = None
        self.reason: str | None = None
        self.size = cells[0].size
        # Inputs stored in another dtype than the one computed in pass through copies in that dtype.
        self.narrow = [number for number, cell in enumerate(cells) if cell.dtype_name != dtype]
        self.plain = False
        self.arrays: list[Any] = []
        self.addresses: list[int] = []

    def bounds(self) -> list[tuple[int, int]]:
        """Where its arrays lie: from which address to which."""
        lengths = [self.size * _ITEM_SIZES[cell.dtype_name] for cell in self.cells]
        return [(start, start + length) for start, length in zip(self.addresses, lengths, strict=True)]

    def written(self) -> list[Any]:
        """The arrays that its program writes."""
        return [] if self.way is None else [self.arrays[target] for target, _ in self.way.program.outputs]


class _Ready:
    """What a step needs if nothing but gradients has moved since the last one.

    Args:
        present: the positions of the parameters that have a gradient.
        groups: for each kernel, the positions of its parameters and their table.
        entries: of those parameters.
    """

    __slots__ = ("addresses", "arrays", "groups", "memory", "present", "written")

    def __init__(self, present: list[int], groups: list[Any], entries: list[_Entry]) -> None:
        self.present = present
        self.groups = groups
        self.arrays = [array for entry in entries for array in entry.arrays]
        self.addresses = [address for entry in entries for address in entry.addresses]
        self.memory = numba_lowering.Intervals([bounds for entry in entries for bounds in entry.bounds()])
        self.written = [array for entry in entries for array in entry.written()]


_Member: TypeAlias = tuple[int, int, Any]
"""A parameter in a group: its position, the address of its gradient, and what keeps that alive."""


class Fusion:
    """The plan of one optimizer and what it remembers between steps."""

    def __init__(self) -> None:
        self._seen: _Seen | None = None
        self._entries: list[_Entry] = []
        self._ways: dict[int, str | None] = {}
        self._ready: _Ready | None = None

    # ---------------------------------------------------------------- running

    def run(self, rule: Any, gradients: Any, rate: Any) -> set[int]:
        """Update as many parameters as possible; the positions of those that were.

        Raises:
            RuntimeError: if `jit_compile=True` and some cannot be; nothing has changed then.
        """
        if not rule._parameters or scope_holding(rule._parameters[0]) is not None:
            # A functional step runs on what it was given, by the library's own functions.
            return set()
        reason = _why_not_at_all(rule, rate)
        backend = rule._parameters[0].backend
        ready = None if reason is not None or self._refresh(rule, gradients) else self._ready
        # What is read by address must stay alive until it has been.
        arrays = [] if ready is None else [gradients.array(index) for index in gradients.present]
        if ready is not None and self._is_ready(rule, ready, gradients, arrays, backend):
            factor = ops.convert_to_number(gradients.factor(ready.present[0]))
            values = _step_values(rule, rate) | {"factor": factor}
            for way, indices, table in ready.groups:
                scalars = way.evaluate(values | _named(_numbers(rule, indices[0])))
                numba_lowering.run(way.kernel, way.dtype, table, scalars)
            backend.wrote(ready.written)
            return set(gradients.present)
        self._ready = None
        groups: dict[Any, list[_Member]] = {}
        self._ways = dict.fromkeys(gradients.present, reason)
        if reason is None:
            groups = self._grouped(rule, gradients)
            if self._overlapping(groups, backend):
                self._ways = dict.fromkeys(gradients.present, "parameters, slots or gradients share memory")
                groups = {}
        if rule.jit_compile is True:
            for index, why in self._ways.items():
                if why is not None:
                    raise RuntimeError(
                        f"jit_compile=True, but {rule._parameters[index].name!r} cannot be updated in one pass: {why}; "
                        "use jit_compile='auto'."
                    )
        if not groups:
            return set()
        values = _step_values(rule, rate)
        for (way, plain, narrow, factor, numbers), members in groups.items():
            scalars = way.evaluate(values | _named(numbers) | {"factor": factor})
            if not plain:
                self._run_in_library(way, members, scalars, backend)
            elif not narrow:
                self._run_in_memory(way, members, scalars, backend)
            else:
                for batch in _batches(members, [self._entries[index].size for index, _, _ in members]):
                    self._run_through_copies(way, batch, scalars, backend)
        self._remember(gradients, groups, backend)
        return {index for members in groups.values() for index, _, _ in members}

    def _remember(self, gradients: Any, groups: dict[Any, list[_Member]], backend: Any) -> None:
        """If nothing but gradients moves until the next step, only their addresses need to be found."""
        simple = all(plain and not narrow for _, plain, narrow, _, _ in groups)
        if not (simple and has_numba() and gradients.one_factor) or any(self._ways.values()):
            return
        held = [
            (way, [index for index, _, _ in members], self._table(members)) for (way, *_), members in groups.items()
        ]
        entries = [self._entries[index] for index in gradients.present]
        self._ready = _Ready(list(gradients.present), held, entries)

    def _is_ready(self, rule: Any, ready: _Ready, gradients: Any, arrays: list[Any], backend: Any) -> bool:
        """Whether all stands as it did; if so, the tables have the addresses of these gradients."""
        if list(gradients.present) != ready.present:
            return False
        if not backend.all_still_at(ready.arrays, ready.addresses):
            return False
        by_index = dict(zip(ready.present, arrays, strict=True))
        for way, indices, table in ready.groups:
            first = _numbers(rule, indices[0])
            if first and any(_numbers(rule, index) != first for index in indices):
                return False
            found = backend.addresses([by_index[index] for index in indices], way.dtype)
            if found is None or not table.move_gradients(found, _ITEM_SIZES[way.dtype], ready.memory):
                return False
        return True

    def _run_in_memory(self, way: _Pass, members: list[_Member], scalars: Sequence[float], backend: Any) -> None:
        if has_numba():
            numba_lowering.run(way.kernel, way.dtype, self._table(members), scalars)
        else:
            for index, _, gradient in members:
                arrays = [*self._entries[index].arrays, gradient]
                way.blocks.run([backend.flat_view(array) for array in arrays], scalars)
        targets = [target for target, _ in way.program.outputs]
        backend.wrote([self._entries[index].arrays[target] for index, _, _ in members for target in targets])

    def _run_through_copies(self, way: _Pass, members: list[_Member], scalars: Sequence[float], backend: Any) -> None:
        """As in memory, with a copy in the dtype of the computation for each array that is stored in another."""
        rows, copies = [], []
        for index, _, gradient in members:
            entry = self._entries[index]
            arrays = [*entry.arrays, gradient]
            for number in {*entry.narrow, len(entry.arrays)}:
                if backend.address(arrays[number], way.dtype, write=False) is None:
                    arrays[number] = backend.plain_copy(arrays[number], way.dtype)
            copies.append(arrays)
            rows.append([backend.address(array, way.dtype, write=False) for array in arrays])
        if has_numba():
            table = numba_lowering.Table(rows, [self._entries[index].size for index, *_ in members])
            numba_lowering.run(way.kernel, way.dtype, table, scalars)
        else:
            for arrays in copies:
                way.blocks.run([backend.flat_view(array) for array in arrays], scalars)
        targets = [target for target, _ in way.program.outputs]
        for (index, _, _), arrays in zip(members, copies, strict=True):
            entry = self._entries[index]
            for target in targets:
                if target in entry.narrow:
                    backend.write(entry.arrays[target], arrays[target])
            backend.wrote([entry.arrays[target] for target in targets if target not in entry.narrow])

    def _run_in_library(self, way: _Pass, members: list[_Member], scalars: Sequence[float], backend: Any) -> None:
        cells = [self._entries[index].cells for index, _, _ in members]
        columns = [[cell.value for cell in column] for column in zip(*cells, strict=True)]
        columns.append([gradient for _, _, gradient in members])
        results = backend.run_program(way.program, way.dtype, columns, scalars)
        for (target, _), arrays in zip(way.program.outputs, results, strict=True):
            for row, array in zip(cells, arrays, strict=True):
                row[target].assign(array)

    def _grouped(self, rule: Any, gradients: Any) -> dict[Any, list[_Member]]:
        backend = rule._parameters[0].backend
        groups: dict[Any, list[_Member]] = {}
        for index in gradients.present:
            entry = self._entries[index]
            factor = ops.convert_to_number(gradients.factor(index))
            self._ways[index] = reason = entry.reason or self._memory_reason(entry, factor, backend)
            if reason is not None:
                continue
            numbers = _numbers(rule, index)
            if not all(isinstance(number, (int, float)) for number in numbers):
                self._ways[index] = "a scalar is traced or on a device"
                continue
            gradient = gradients.array(index)
            address = 0
            if entry.plain and not entry.narrow:
                address, gradient = self._gradient_address(entry, gradient, backend)
            elif entry.plain:
                address = backend.address(gradient, backend.dtype_name(gradient), write=False) or 0
            key = entry.way, entry.plain, bool(entry.narrow), factor, numbers
            groups.setdefault(key, []).append((index, address, gradient))
        return groups

    def report(self, rule: Any) -> ExecutionReport:
        """The groups of the last step."""
        groups: dict[Any, list[int]] = {}
        for index, reason in self._ways.items():
            way = self._entries[index].way if reason is None else None
            groups.setdefault((way, rule._parameters[index].dtype_name, reason), []).append(index)
        report = ExecutionReport()
        for (way, _, reason), members in groups.items():
            traffic = None if way is None else way.program.traffic(_ITEM_SIZES[way.dtype])
            elements = sum(rule._parameters[index].size for index in members)
            name = "eager" if way is None else self._name_of(rule, members[0])
            report.append(Group(name, len(members), elements, traffic, reason))
        return report

    def _name_of(self, rule: Any, index: int) -> str:
        if not self._entries[index].plain:
            return str(rule._parameters[0].backend.program_way)
        return "fused" if has_numba() else "blocks"

    def program_of(self, index: int) -> Program | None:
        """The program of a parameter in the current plan."""
        way = self._entries[index].way if index < len(self._entries) else None
        return None if way is None else way.program

    # ---------------------------------------------------------------- memory

    def _memory_reason(self, entry: _Entry, factor: Any, backend: Any) -> str | None:
        """Look where the arrays lie, and why they cannot be updated together if so."""
        if factor is not None and not is_number(factor):
            return "it is clipped by a norm that lies on a device"
        arrays = [cell._array for cell in entry.cells]
        if (
            entry.plain
            and all(map(operator.is_, arrays, entry.arrays))
            and all(map(backend.still_at, arrays, entry.addresses))
        ):
            return None
        entry.arrays = arrays
        addresses = [
            backend.address(array, cell.dtype_name, write=True) for array, cell in zip(arrays, entry.cells, strict=True)
        ]
        entry.plain = None not in addresses
        if entry.plain:
            entry.addresses = addresses
        if entry.plain or all(map(backend.takes_programs, arrays)):
            return None
        name = next(cell.name for cell, address in zip(entry.cells, addresses, strict=True) if address is None)
        return f"{name!r} does not lie in plain CPU memory"

    def _gradient_address(self, entry: _Entry, gradient: Any, backend: Any) -> tuple[int, Any]:
        """Where the gradient lies, made plain by a copy if need be; and what must stay alive until it is read."""
        address = backend.address(gradient, entry.dtype, write=False)
        if address is None:
            gradient = backend.plain_copy(gradient, entry.dtype)
            address = backend.address(gradient, entry.dtype, write=False)
        return address, gradient

    def _table(self, members: Sequence[_Member]) -> Any:
        rows = [[*self._entries[index].addresses, address] for index, address, _ in members]
        return numba_lowering.Table(rows, [self._entries[index].size for index, _, _ in members])

    def _overlapping(self, groups: dict[Any, list[_Member]], backend: Any) -> bool:
        """Whether memory that is written is also read or written for another element."""
        intervals = []
        for members in groups.values():
            for index, address, gradient in members:
                entry = self._entries[index]
                if entry.plain:
                    intervals += [(start, end, True) for start, end in entry.bounds()]
                    if address and address not in entry.addresses:
                        length = entry.size * _ITEM_SIZES.get(backend.dtype_name(gradient), 8)
                        intervals.append((address, address + length, False))
        intervals = sorted(interval for interval in intervals if interval[0] < interval[1])
        reached, reached_written = 0, 0
        for start, end, written in intervals:
            if start < (reached if written else reached_written):
                return True
            reached = max(reached, end)
            reached_written = max(reached_written, end) if written else reached_written
        return False

    # ---------------------------------------------------------------- recording

    def _refresh(self, rule: Any, gradients: Any) -> bool:
        """Record again if anything has changed; whether it had."""
        clipped = rule.clipnorm is not None or rule.global_clipnorm is not None
        if self._seen is not None and self._seen.still(rule, gradients.divisor):
            return False
        passes: dict[Any, _Pass] = {}
        before = self._entries
        self._entries = []
        for index, cells in enumerate(rule._grouped):
            entry = _Entry(cells, compute_dtype(cells[0].dtype_name))
            if index < len(before):
                entry.arrays, entry.addresses = before[index].arrays, before[index].addresses
                entry.plain = before[index].plain
            program, entry.reason = record_twice(rule, index, gradients.divisor, clipped)
            if program is not None:
                # Equal programs may differ in the sign of a zero.
                key = program, entry.dtype, repr(program.constants)
                if key not in passes:
                    passes[key] = _Pass(program, entry.dtype)
                entry.way = passes[key]
            self._entries.append(entry)
        self._seen = _Seen(rule, gradients.divisor)
        return True


def _step_values(rule: Any, rate: Any) -> dict[str, Any]:
    """This step's scalars, by the names under which they were recorded."""
    values = {"rate": rate, "base_rate": rule._rate.value, "count": rule._iterations.value, "factor": None}
    return values | {f"shared{k}": cell.value for k, cell in enumerate(rule._shared) if cell.backend is HOST}


def _numbers(rule: Any, index: int) -> tuple[Any, ...]:
    """This step's scalars of one parameter. Parameters whose scalars differ are updated apart."""
    return tuple(cell.value for cell in rule._numbers[index])


def _named(numbers: tuple[Any, ...]) -> dict[str, Any]:
    return {f"number{position}": number for position, number in enumerate(numbers)}


def _batches(members: list[_Member], sizes: list[int]) -> Iterator[list[_Member]]:
    batch: list[_Member] = []
    count = 0
    for member, size in zip(members, sizes, strict=True):
        if batch and count + size > _BATCH:
            yield batch
            batch, count = [], 0
        batch.append(member)
        count += size
    yield batch


def _why_not_at_all(rule: Any, rate: Any) -> str | None:
    """A reason that holds for every parameter of this step, or None."""
    if rule.jit_compile is False:
        return "jit_compile is False"
    backend = rule._parameters[0].backend
    if not backend.shares_memory and backend.program_way is None:
        return f"{backend.name} arrays lie in no memory that can be shared"
    scalars = [rate, rule._iterations.value, *(cell.value for cell in rule._shared if cell.backend is HOST)]
    return None if all(isinstance(scalar, (int, float)) for scalar in scalars) else "a scalar is traced or on a device"


class _Seen:
    """The attributes of a rule as they were when it was recorded.

    Args:
        rule: the optimizer.
        divisor: of its gradients.
    """

    __slots__ = ("_count", "_divisor", "_plain", "_plain_values", "_rest")

    def __init__(self, rule: CellKeeper, divisor: Any) -> None:
        attributes = {name: value for name, value in vars(rule).items() if name not in STRUCTURE}
        self._count, self._divisor = len(vars(rule)), divisor
        # One look at all plain values together is ten times as fast as one at each.
        plain = [name for name, value in attributes.items() if type(value) in _PLAIN or value is None]
        self._plain = operator.itemgetter(*plain, "built")
        self._plain_values = self._plain(vars(rule))
        self._rest = [(name, _frozen(value)) for name, value in attributes.items() if name not in plain]

    def still(self, rule: CellKeeper, divisor: Any) -> bool:
        """Whether all has the same value."""
        attributes = vars(rule)
        return (
            len(attributes) == self._count
            and divisor == self._divisor
            and self._plain(attributes) == self._plain_values
            and all(_frozen(attributes[name]) == value for name, value in self._rest)
        )


def _fingerprint(rule: CellKeeper) -> Any:
    """All attributes a rule may have read, by value; lists of cells by identity."""
    return tuple((name, _frozen(value)) for name, value in vars(rule).items() if name not in STRUCTURE)


def _frozen(value: Any) -> Any:
    if type(value) in _PLAIN or value is None:
        return value
    if type(value) is list and value and isinstance(value[0], Variable):
        return id(value), len(value)
    if isinstance(value, CellKeeper):
        return _fingerprint(value), value._rate._array
    return frozen(value)


def record_twice(rule: Any, index: int, divisor: Any, clipped: bool) -> tuple[Program | None, str | None]:
    """The program of a parameter's update, or why there is none. Whatever the rule did to its attributes is undone."""
    before = snapshot(rule)
    fingerprint = _fingerprint(rule)
    try:
        program = record(rule, index, divisor, clipped)
        again = record(rule, index, divisor, clipped)
        if program != again:
            return None, "the rule is not the same twice (a random number, a counter)"
        if _fingerprint(rule) != fingerprint:
            return None, "the rule changes an attribute of its optimizer"
    except Unrecordable as reason:
        return None, f"it cannot be recorded: {reason}"
    except Exception as error:
        return None, f"recording it raised {type(error).__name__}: {error}"
    finally:
        restore(rule, before)
    return program, None


def record(rule: Any, index: int, divisor: Any, clipped: bool) -> Program:
    """Run one parameter's whole update on symbols."""
    parameter = rule._parameters[index]
    name = compute_dtype(parameter.dtype_name)
    recorder = Recorder(name, parameter.backend.dtype(name), parameter.shape)
    cells = rule._grouped[index]
    arrays = [recorder.array() for _ in cells]
    gradient = recorder.array()
    rate = recorder.scalar("rate")
    scope = Scope(zip(cells, arrays, strict=True))
    # What a rule reads as its learning_rate is the rate before `decay`.
    scope.hold(rule._rate, recorder.scalar("base_rate"))
    scope.hold(rule._iterations, recorder.scalar("count"))
    for position, cell in enumerate(rule._numbers[index]):
        scope.hold(cell, recorder.scalar(f"number{position}"))
    for position, cell in enumerate(rule._shared):
        scope.hold(cell, recorder.scalar(f"shared{position}") if cell.backend is HOST else cell.value)
    with scope:
        factor = recorder.scalar("factor") if clipped else None
        rule._update_one(index, rule._prepare(index, gradient, divisor, factor), rate)
    written = {id(cell) for cell, _ in scope.writes()}
    if written - {id(cell) for cell in cells}:
        raise Unrecordable("a write to what the whole step shares")
    outputs = [(position, scope.get(cell)) for position, cell in enumerate(cells) if id(cell) in written]
    if not all(isinstance(value, Symbol) and not value.is_scalar for _, value in outputs):
        raise Unrecordable("a number written in place of an array")
    return recorder.program(outputs)
