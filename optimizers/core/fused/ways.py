"""Ways to run recorded programs: over memory, pass by pass, with this step's scalars."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ....backends import ITEM_SIZES, SIXTEEN_BIT, Backend, Variable
from ....backends.programs.blocks import BlockRunner
from ....backends.programs.passes import apart, passes_of, with_sums_inside
from ....backends.programs.program import Program
from ....backends.programs.scalars import scalar_evaluator
from ....backends.programs.still import leaves_still
from ..rule import Rule

if TYPE_CHECKING:  # Numba is imported when there is a first table.
    from ....backends.kernels.kernel import Kernels
    from ....backends.kernels.table import Table


class Pass:
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
    def kernels(self) -> Kernels:
        """For memory that is shared, with Numba."""
        from ....backends.kernels.kernel import Kernels

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

    table: Table
    addresses: Any

    def __len__(self) -> int:
        return len(self.table.sizes)

    def read(self, reading: Pass, scalars: Sequence[Sequence[float]]) -> list[list[float]]:
        """The sums of each parameter."""
        return self.table.read(reading.kernels, self.addresses, scalars)

    def writing(self, writing: Pass, scalars: Sequence[Sequence[float]]) -> list[functools.partial[Any]]:
        """What writes, as calls."""
        return [self.table.ready(writing.kernels, self.addresses, scalars)]


class InBlocks(NamedTuple):
    """Memory that NumPy runs over, block by block.

    Attributes:
        rows: for each parameter its flat arrays.
    """

    rows: list[list[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, reading: Pass, scalars: Sequence[Sequence[float]]) -> list[list[float]]:
        """See `InTable`."""
        return [list(reading.blocks.read(*each)) for each in self._each(scalars)]

    def writing(self, writing: Pass, scalars: Sequence[Sequence[float]]) -> list[functools.partial[Any]]:
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

    Attributes:
        program, dtype, stored: as given.
        columns: how many arrays each parameter has, with its slots and without its gradient.
        targets: which of them it writes.
        single_pass: the pass that writes, if there is no other.
        evaluate: makes of this step's scalars, by name, a row that it runs with: those of its only pass, or all of
            them as they are, where what is read in between adds to them.
    """

    def __init__(self, program: Program, dtype: str, stored: tuple[str, ...] | None = None) -> None:
        self.program = program
        self.dtype = dtype
        self.stored = stored = stored or (dtype,) * program.inputs
        self.columns = len(stored) - 1
        *reading, writing = passes_of([program])
        self._reading = [Pass(each, dtype, stored) for stage in reading for _, each in stage]
        self._writing = [Pass(each, dtype, stored) for _, each in writing]
        self.targets = [target for target, _ in program.outputs]
        self.single_pass = self._writing[0] if not self._reading and len(self._writing) == 1 else None
        self.evaluate: Callable[[dict[str, Any]], Any] = _as_it_is
        if self.single_pass is not None:
            self.evaluate = self.single_pass.evaluate
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

    def leaves_still(self, row: Any) -> bool:
        """Whether nothing changes where the gradient is zero, with a row of scalars."""
        return self.single_pass is not None and self.single_pass.leaves_still(row)

    @functools.cached_property
    def whole(self) -> Pass:
        """For libraries that run programs themselves."""
        return Pass(with_sums_inside(self.program), self.dtype, self.stored)

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

    def run(self, table: Table, addresses: Any, rows: list[Any]) -> None:
        """Run it over memory.

        Args:
            table: the work, from `table_of`.
            addresses: for each parameter, where each of its arrays starts in this step; the gradient's is the last.
            rows: this step's scalars, from `evaluate`, for all parameters or for each.
        """
        for call in calls_of([self.passes(InTable(table, addresses), rows)]):
            call()

    def run_by_blocks(self, arrays: list[list[Any]], rows: list[Any]) -> None:
        """Run it over flat arrays, a list of them for each parameter."""
        for call in calls_of([self.passes(InBlocks(arrays), rows)]):
            call()

    def passes(self, memory: InTable | InBlocks, rows: list[Any]) -> Passes:
        """Read stage by stage; what is left to do then, as calls that only write.

        Args:
            memory: of the parameters.
            rows: as of `run`.

        Yields:
            What was added up in a stage, for each parameter its sums. What is sent back is gone on with.
        """
        if self.single_pass is not None:
            return memory.writing(self.single_pass, rows)
        # With sums every parameter has scalars of its own.
        lines = [dict(rows[number if len(rows) > 1 else 0]) for number in range(len(memory))]
        for reading in self._reading:
            found = yield memory.read(reading, list(map(reading.evaluate, lines)))
            for line, sums in zip(lines, found, strict=True):
                line.update(zip(reading.sums, sums, strict=True))
        return [
            call for writing in self._writing for call in memory.writing(writing, list(map(writing.evaluate, lines)))
        ]


def _as_it_is(values: dict[str, Any]) -> dict[str, Any]:
    return values


def written_in_place(stored: str, computed: str) -> bool:
    """Whether passes write arrays of a dtype where they lie. To 16 bits they round from float32 alone."""
    return stored in ITEM_SIZES and not (computed == "float64" and stored in SIXTEEN_BIT)


def read_as(stored: str, computed: str) -> str:
    """The dtype in which passes read what they do not write: its own or, in a copy, the one that they compute in."""
    return stored if stored in ITEM_SIZES else computed


def table_of(sizes: Sequence[int], gradients: str, backend: Backend) -> Table:
    """The work of compiled kernels on parameters of these sizes, whose gradients are of a dtype."""
    from ....backends.kernels.table import Table

    return Table(sizes, gradients, backend.threads)


def squares_of(table: Table, addresses: Any) -> list[float]:
    """The sum of squares of each parameter's gradient, in float32 or float64 and in row-major order.

    Args:
        table: the work, from `table_of`.
        addresses: where all arrays lie; the gradient's is the last.
    """
    from ....backends.kernels.reductions import sums_of_squares

    return sums_of_squares(table, addresses[:, -1:].copy())


def addresses_of(rows: Sequence[Sequence[int]]) -> Any:
    """Where the arrays of each parameter start, as kernels take it."""
    from ....backends.kernels.table import addresses_of

    return addresses_of(rows)


def before_gradients(tables: Sequence[Any]) -> Any:
    """Addresses of the arrays of several kernels' parameters in one, with those of gradients at which nothing lies."""
    from ....backends.kernels.table import before_gradients

    return before_gradients(tables)
