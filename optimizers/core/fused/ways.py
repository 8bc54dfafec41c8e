"""Ways to run recorded programs: over memory, pass by pass, with this step's scalars."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

from ....backends import HOST, ITEM_SIZES, SIXTEEN_BIT, Backend, Variable, any_scope
from ....backends.programs.blocks import BlockRunner
from ....backends.programs.passes import apart, passes_of, with_sums_inside
from ....backends.programs.program import Program
from ....backends.programs.scalars import scalar_evaluator
from ....backends.programs.still import leaves_still
from ..rule import Rule
from .recording import BeginProgram


class _Pass:
    """A program that only reads, or only writes, and what evaluates its scalars."""

    def __init__(self, program: Program, dtype: str, stored: tuple[str, ...]) -> None:
        self.program = program
        self.dtype = dtype
        self.stored = stored
        self.evaluate = scalar_evaluator(program)
        self._still: tuple[Sequence[float], bool] | None = None

    def leaves_still(self, scalars: Sequence[float]) -> bool:
        """Whether nothing changes where the gradient is zero, with these scalars."""
        known = self._still
        if known is None or known[0] != scalars:
            # Kept in one piece: another thread may have other scalars.
            self._still = known = scalars, leaves_still(self.program, scalars)
        return known[1]

    @functools.cached_property
    def blocks(self) -> BlockRunner:
        """For memory that is shared, without a compiler."""
        return BlockRunner(self.program, self.dtype, self.stored)

    @functools.cached_property
    def kernels(self) -> Any:
        """For memory that is shared, with Numba."""
        from ....backends.kernels.source import Kernels

        return Kernels(self.program, self.dtype, self.stored)

    @property
    def sums(self) -> list[str]:
        """The names of what it adds up."""
        return [name for name, _ in self.program.reductions]


class InTable(NamedTuple):
    """Memory that Numba's kernels run over.

    Attributes:
        table: the work, from `table_of`.
        addresses: from `addresses_of`.
    """

    table: Any
    addresses: Any

    def __len__(self) -> int:
        return len(self.table.sizes)

    def read(self, reading: _Pass, scalars: Sequence[Sequence[float]]) -> list[list[float]]:
        """The sums of each parameter."""
        return self.table.read(reading.kernels, self.addresses, scalars)  # type: ignore[no-any-return]  # as said

    def writing(self, writing: _Pass, scalars: Sequence[Sequence[float]]) -> list[functools.partial[Any]]:
        """What writes, as calls."""
        return [self.table.writing(writing.kernels, self.addresses, scalars)]


class InBlocks(NamedTuple):
    """Memory that NumPy runs over, block by block.

    Attributes:
        rows: for each parameter its flat arrays.
    """

    rows: list[list[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, reading: _Pass, scalars: Sequence[Sequence[float]]) -> list[list[float]]:
        """See `InTable`."""
        return [list(reading.blocks.read(*each)) for each in self._each(scalars)]

    def writing(self, writing: _Pass, scalars: Sequence[Sequence[float]]) -> list[functools.partial[Any]]:
        """See `InTable`."""
        return [functools.partial(writing.blocks.write, *each) for each in self._each(scalars)]

    def _each(self, scalars: Sequence[Sequence[float]]) -> list[tuple[list[Any], Sequence[float]]]:
        return [(row, scalars[number if len(scalars) > 1 else 0]) for number, row in enumerate(self.rows)]


_Sums: TypeAlias = list[list[float]]
Passes: TypeAlias = Generator[_Sums, _Sums, list[functools.partial[Any]]]
"""The passes of a way: what is read is yielded, what writes is returned."""


def calls_of(
    running: Sequence[Passes], told: Callable[[dict[int, _Sums]], dict[int, _Sums]] | None = None
) -> list[functools.partial[Any]]:
    """Let several ways read, each its next stage in turn; what is left to do then, as calls that only write.

    Args:
        running: from `Way.passes`.
        told: makes of what all of them found in a stage, by their numbers, what they go on with. Default: the same.
    """
    calls: dict[int, list[functools.partial[Any]]] = {}
    sent: dict[int, Any] = dict.fromkeys(range(len(running)))
    while sent:
        found = {}
        for number, sums in sent.items():
            try:
                found[number] = running[number].send(sums)
            except StopIteration as end:
                calls[number] = end.value
        sent = found if told is None or not found else told(found)
    return [call for number in range(len(running)) for call in calls[number]]


class Together:
    """Tells processes that hold parameters together what all of them found, each in its own parts, added up.

    Args:
        rule: the optimizer.
        positions: for each of the ways that run, those of its parameters.
    """

    def __init__(self, rule: Rule, positions: Sequence[Sequence[int]]) -> None:
        self._cells = rule.cells.parameters
        # The same order in all processes, of which some may take other ways than others.
        self._order = sorted(
            (index, number, row) for number, indices in enumerate(positions) for row, index in enumerate(indices)
        )

    def __call__(self, found: dict[int, _Sums]) -> dict[int, _Sums]:
        """What each way goes on with, in place of what was found."""
        order = [each for each in self._order if each[1] in found]
        sums = added_together(
            [self._cells[index] for index, _, _ in order], [found[number][row] for _, number, row in order]
        )
        for (_, number, row), whole in zip(order, sums, strict=True):
            found[number][row] = whole
        return found


def added_together(cells: Sequence[Variable], sums: _Sums) -> _Sums:
    """What was found in what is held here of the arrays of cells, with what other processes found in their parts."""
    return cells[0].backend.added_together([cell.array for cell in cells], sums) if cells else sums


class Way:
    """A parameter's program ready to run, shared by all parameters that have it.

    Args:
        program: what was recorded.
        dtype: the dtype to compute in.
        stored: the dtypes in which arrays are stored, the gradient's is the last. Default: all in the same.
    """

    def __init__(self, program: Program, dtype: str, stored: tuple[str, ...] | None = None) -> None:
        self.program = program
        self.dtype = dtype
        self.stored = stored = stored or (dtype,) * program.inputs
        *reading, writing = passes_of([program])
        self._reading = [_Pass(each, dtype, stored) for stage in reading for _, each in stage]
        self._writing = [_Pass(each, dtype, stored) for _, each in writing]
        self.targets = [target for target, _ in program.outputs]
        self._others: dict[tuple[str, ...], Way] = {}

    def over(self, stored: tuple[str, ...]) -> Way:
        """The same over arrays that are stored in other dtypes."""
        if stored == self.stored:
            return self
        if stored not in self._others:
            # Several threads may ask at once.
            self._others.setdefault(stored, Way(self.program, self.dtype, stored))
        return self._others[stored]

    @functools.cached_property
    def uses_numbers(self) -> bool:
        """Whether anything depends on a parameter's own numbers."""
        names = [name for each in (*self._reading, *self._writing) for name in each.program.scalar_inputs]
        return any(name.startswith("number") for name in names)

    @property
    def adds_up(self) -> bool:
        """Whether anything depends on sums of many elements."""
        return bool(self._reading)

    def leaves_still(self, line: dict[str, Any]) -> bool:
        """Whether nothing changes where the gradient is zero, with these scalars, by name."""
        if self._reading:
            return False
        return all(each.leaves_still(each.evaluate(line)) for each in self._writing)

    @property
    def single_pass(self) -> _Pass | None:
        """The pass that writes, if there is no other."""
        return self._writing[0] if not self._reading and len(self._writing) == 1 else None

    @functools.cached_property
    def whole(self) -> _Pass:
        """For libraries that run programs themselves."""
        return _Pass(with_sums_inside(self.program), self.dtype, self.stored)

    @functools.cached_property
    def apart(self) -> Way:
        """The same, written to further arrays, one for each target, which stand before the gradient."""
        written = [self.stored[target] for target in self.targets]
        return Way(apart(self.program), self.dtype, (*self.stored[:-1], *written, self.stored[-1]))

    @property
    def by_blocks(self) -> bool:
        """Whether Numba is there, but cannot compile some of it."""
        return any(each.kernels.by_blocks for each in (*self._reading, *self._writing))

    @property
    def traffic(self) -> int:
        """Bytes moved for each element by all passes."""
        sizes = [ITEM_SIZES[dtype] for dtype in self.stored]
        return sum(each.program.traffic(sizes) for each in (*self._reading, *self._writing))

    def run(self, table: Any, addresses: Any, lines: list[dict[str, Any]]) -> None:
        """Run it over memory.

        Args:
            table: the work, from `table_of`.
            addresses: for each parameter, where each of its arrays starts in this step; the gradient's is the last.
            lines: this step's scalars by name, for all parameters or for each.
        """
        if self.single_pass is not None:
            self.ready(table, addresses, lines)()
            return
        for call in calls_of([self.passes(InTable(table, addresses), lines)]):
            call()

    def ready(self, table: Any, addresses: Any, lines: list[dict[str, Any]]) -> functools.partial[Any]:
        """What `run` does, as a call, where there is a single pass."""
        (writing,) = self._writing
        call: functools.partial[Any] = table.writing(writing.kernels, addresses, _evaluated(writing, lines))
        return call

    def run_by_blocks(self, rows: list[list[Any]], lines: list[dict[str, Any]]) -> None:
        """Run it over flat arrays, a row of them for each parameter."""
        for call in calls_of([self.passes(InBlocks(rows), lines)]):
            call()

    def passes(self, memory: InTable | InBlocks, lines: list[dict[str, Any]]) -> Passes:
        """Read stage by stage; what is left to do then, as calls that only write.

        Args:
            memory: of the parameters.
            lines: as of `run`.

        Yields:
            What was added up in a stage, for each parameter its sums. What is sent back is gone on with.
        """
        lines = self._for_each(lines, len(memory))
        for reading in self._reading:
            found = yield memory.read(reading, _evaluated(reading, lines))
            for line, sums in zip(lines, found, strict=True):
                line.update(zip(reading.sums, sums, strict=True))
        return [
            call
            for writing in self._writing
            for call in memory.writing(writing, _evaluated(writing, lines))
        ]

    def _for_each(self, lines: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """With reductions every parameter has scalars of its own."""
        if not self._reading:
            return lines
        return [dict(lines[number if len(lines) > 1 else 0]) for number in range(count)]


class Begin:
    """`begin_step` ready to run.

    Args:
        recorded: the program.
        present: the parameters it was recorded for.
        dtypes: in which each of them is computed.
    """

    def __init__(self, recorded: BeginProgram, present: Sequence[int], dtypes: Sequence[str]) -> None:
        self._recorded = recorded
        self._present = present
        self._results = scalar_evaluator(recorded.results, exact=True)
        *self._reading, writing = [
            [(number, _Pass(program, dtypes[number], (dtypes[number],) * program.inputs)) for number, program in stage]
            for stage in passes_of(recorded.programs)
        ]
        self.reads_arrays = bool(self._reading)
        self.writes_arrays = bool(writing)

    def run(
        self, rule: Rule, values: dict[str, Any], factors: Sequence[Any], rows: Sequence[tuple[list[int], int]]
    ) -> list[tuple[Variable, Any]]:
        """The cells it gives new numbers to, with those.

        Args:
            rule: the optimizer.
            values: from `step_values`.
            factors: what each gradient is multiplied by, or None.
            rows: for each parameter where its arrays lie, and how many elements it has.
        """
        values = dict(values)
        for index, factor in zip(self._present, factors, strict=True):
            values[f"{index}/factor"] = factor
            values |= {f"{index}/number{k}": cell.value for k, cell in enumerate(rule.cells.numbers[index])}
        for stage in self._reading:
            found: dict[int, list[float]] = {}
            for passes in _alike(stage):
                first = passes[0][1]
                backend = rule.cells.parameters[0].backend
                table = table_of([rows[k][1] for k, _ in passes], first.dtype, backend)
                addresses = addresses_of([rows[k][0] for k, _ in passes])
                read = table.read(first.kernels, addresses, [each.evaluate(values) for _, each in passes])
                found |= dict(zip((k for k, _ in passes), read, strict=True))
            cells = [rule.cells.parameters[self._present[k]] for k, _ in stage]
            whole = added_together(cells, [found[k] for k, _ in stage])
            for (_, each), sums in zip(stage, whole, strict=True):
                values.update(zip(each.sums, sums, strict=True))
        return list(zip(self._cells(rule), self._results(values), strict=True))

    def _cells(self, rule: Rule) -> list[Variable]:
        return [
            rule.cells.shared[position] if index is None else rule.cells.numbers[index][position]
            for index, position in self._recorded.cells
        ]


def _alike(stage: list[tuple[int, _Pass]]) -> list[list[tuple[int, _Pass]]]:
    """Passes that one kernel can run."""
    groups: dict[Any, list[tuple[int, _Pass]]] = {}
    for number, each in stage:
        groups.setdefault((each.program.structure, each.dtype), []).append((number, each))
    return list(groups.values())


def written_in_place(stored: str, computed: str) -> bool:
    """Whether passes write arrays of a dtype where they lie. To 16 bits they round from float32 alone."""
    return stored in ITEM_SIZES and not (computed == "float64" and stored in SIXTEEN_BIT)


def read_as(stored: str, computed: str) -> str:
    """The dtype in which passes read what they do not write: its own or, in a copy, the one that they compute in."""
    return stored if stored in ITEM_SIZES else computed


def table_of(sizes: Sequence[int], gradients: str, backend: Backend) -> Any:
    """The work of compiled kernels on parameters of these sizes, whose gradients are of a dtype."""
    from ....backends.kernels.table import Table

    return Table(sizes, gradients, backend.threads)


def squares_of(table: Any, addresses: Any) -> list[float]:
    """The sum of squares of each parameter's gradient, in float32 or float64 and in row-major order.

    Args:
        table: the work, from `table_of`.
        addresses: where all arrays lie; the gradient's is the last.
    """
    from ....backends.kernels.reductions import sums_of_squares

    return sums_of_squares(addresses[:, -1].copy(), table.sizes, ITEM_SIZES[table.gradients])


def addresses_of(rows: Sequence[Sequence[int]]) -> Any:
    """Where the arrays of each parameter start, as kernels take it."""
    from ....backends.kernels.table import addresses_of

    return addresses_of(rows)


def before_gradients(tables: Sequence[Any]) -> Any:
    """Addresses of the arrays of several kernels' parameters in one, with those of gradients at which nothing lies."""
    from ....backends.kernels.table import before_gradients

    return before_gradients(tables)


def step_values(rule: Rule, rate: Any, divisor: Any, numbers: dict[str, Any]) -> dict[str, Any]:
    """This step's scalars, by the names under which they were recorded.

    Args:
        rule: the optimizer.
        rate: of this step.
        divisor: of the gradients, or None.
        numbers: `Seen.values`.
    """
    base_rate, count = rule.cells.rate, rule.cells.iterations
    shared = [cell.value if cell.backend is HOST else None for cell in rule.cells.shared]
    if any_scope():
        return named_values(rate, base_rate.value, count.value, shared, divisor, numbers)
    return named_values(rate, base_rate.array, count.array, shared, divisor, numbers)


def named_values(
    rate: Any, base_rate: Any, count: Any, shared: Sequence[Any], divisor: Any, numbers: dict[str, Any]
) -> dict[str, Any]:
    """This step's scalars, by the names under which they were recorded.

    Args:
        rate: of the step.
        base_rate: the rate before `decay`.
        count: of the steps made.
        shared: what the whole step shares; where that is an array, None.
        divisor: of the gradients, or None.
        numbers: `Seen.values`.
    """
    values = {
        "self": numbers, "rate": rate, "base_rate": base_rate, "count": count, "divisor": divisor, "factor": None,
    }  # fmt: skip
    if shared:
        values |= {f"shared{k}": value for k, value in enumerate(shared) if value is not None}
    return values


def lines_of(values: dict[str, Any], own: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """This step's scalars with those of each parameter; a single line if they are the same for all.

    Args:
        values: from `step_values`.
        own: for each parameter the factor of its gradient, or None, and then its numbers.

    Returns:
        A line for each; for equal ones the same object.
    """
    # Another NaN is unlike this one, which only costs time.
    if own.count(own[0]) == len(own):
        own = own[:1]
    names = ["factor", *(f"number{k}" for k in range(len(own[0]) - 1))]
    made: dict[Any, dict[str, Any]] = {}
    lines = []
    for each in own:
        # Zeros may differ in their signs.
        key = tuple(each) if 0 not in each else repr(each)
        line = made.get(key)
        if line is None:
            made[key] = line = values | dict(zip(names, each, strict=True))
        lines.append(line)
    return lines


def lines_with(
    values: dict[str, Any], indices: Sequence[int], own: Sequence[Sequence[Any]], factors: dict[int, Any]
) -> list[dict[str, Any]]:
    """This step's scalars for some parameters; a single line if they are the same for all.

    Args:
        values: from `step_values`.
        indices: the positions of the parameters.
        own: for each number of their own a list of it, in their order.
        factors: what gradients are multiplied by, by position; where there is none, nothing.
    """
    if not factors and not own:
        return [values]
    if not factors and all([column.count(column[0]) == len(column) for column in own]):
        return lines_of(values, [[None, *(column[0] for column in own)]])
    return lines_of(values, list(zip(map(factors.get, indices), *own, strict=True)))


def _evaluated(one: _Pass, lines: Sequence[dict[str, Any]]) -> list[tuple[float, ...]]:
    """The scalars of a pass for each of some lines, of which many may be the same object."""
    if len(lines) == 1:
        return [one.evaluate(lines[0])]
    found: dict[int, tuple[float, ...]] = {}
    for line in lines:
        if id(line) not in found:
            found[id(line)] = one.evaluate(line)
    return [found[id(line)] for line in lines]
