"""The imperative update in one pass over memory: record each parameter's rule, group equal programs, run kernels.

A plan holds, for each parameter, either its program or the reason why it has none; parameters without one are updated
eagerly. The plan lasts until something that the recording read has changed: an attribute of the optimizer (compared by
value, nested containers included), or an array's memory. The optimizer's numbers are read anew in each step: they are
scalars of the programs, and those are arguments of a kernel, so a new plan compiles nothing as long as its programs
have the same structure.

Most steps take a shorter way, which is put together of what is known of the parameters that have a gradient: see
`lanes.py`. The general step is for what is odd, and knows the words for what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ....backends import HOST, ITEM_SIZES, Rows, any_scope, describe, is_number, ops, scope_holding
from ....backends.kernels.compiler import has_numba
from ....backends.losses import owner_unknown
from ....backends.programs.program import Program
from ..insertion import Insertion
from ..prepared import Later, Run, nothing_later
from .attributes import Seen, is_ours
from .facts import Facts, Kinds
from .lane import Lane
from .lanes import Lanes, lane_of
from .recording import kinds_of, record_begin, record_updates
from .report import ExecutionReport, Group
from .ways import Begin, InBlocks, InTable, Together, Way, addresses_of, calls_of, lines_of, step_values, table_of

_LISTS = (list, tuple)
_BATCH = 2**20
"""Elements that are copied at once."""
_MANY = 64
"""Ways that are remembered; rules have a few."""


_ITS_OWN_CLASS = "its gradient is of a class with arithmetic of its own"
_ELSEWHERE = "processes hold it together, and {} in another way"

_Member: TypeAlias = tuple[int, int, Any]
"""A parameter in a group: its position, the address of its gradient, and what keeps that alive."""


class Fusion:
    """The plan of one optimizer and what it remembers between steps."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self._lanes = Lanes()
        self._meeting = False
        self._seen: Seen | None = None
        self._recorded_for: tuple[bool, bool] | None = None
        self._entries: list[Facts] = []
        self._known_ways: dict[Any, Way] = {}
        self._kinds = Kinds({})
        self._ways: dict[int, str | None] = {}
        self._begins: dict[tuple[int, ...], tuple[Begin | None, str | None]] = {}
        self._begin_reason: str | None = None

    # ---------------------------------------------------------------- running

    def prepare(self, rule: Any, gradients: Any, rate: Any) -> tuple[set[int], Run]:
        """Begin the step; the positions of the parameters that can be updated in one pass, and what updates them.

        Raises:
            RuntimeError: if `jit_compile=True` and some cannot be; nothing has changed then.
        """
        self.lane = None
        if not rule.cells.parameters or scope_holding(rule.cells.parameters[0]) is not None:
            # A functional step runs on what it was given.
            _begin_eagerly(rule, gradients, rate)
            apart = rule.fusion.apart.get(any(cell.sink is not cell for cell in rule.cells.parameters[:1]))
            return (set(), nothing_later) if apart is None else apart.prepare(rule, gradients, rate)
        reason = _why_not_at_all(rule, rate)
        if reason is None:
            self._refresh(rule, _kinds_of(rule, gradients))
        begin = self._begin(rule, gradients, rate, reason)
        if begin is None and reason is None and rule.has_begin_step():
            # It may have changed an attribute.
            self._refresh(rule, _kinds_of(rule, gradients))
        backend = rule.cells.parameters[0].backend
        groups: dict[Any, list[_Member]] = {}
        meeting = False
        self._ways = dict.fromkeys(gradients.present, reason)
        if reason is None:
            groups = self._grouped(rule, gradients, rate)
            self._meeting = meeting = self._overlapping(groups, backend)
            if meeting:
                self._ways = {
                    index: None if self._entries[index].joint else "parameters, slots or gradients share memory"
                    for index in gradients.present
                }
                groups = self._joint_alone(groups, backend)
        if rule.jit_compile is True:
            for index, why in self._ways.items():
                if why is not None:
                    raise RuntimeError(
                        f"jit_compile=True, but {rule.cells.parameters[index].name!r} cannot be updated in one pass: {why}; "
                        "use jit_compile='auto'."
                    )
        if not groups:
            return set(), nothing_later
        values = self._values_of(rule, gradients, rate)
        lines = [
            lines_of(values, [
                [ops.convert_to_number(gradients.factor(index)), *(cell.value for cell in rule.cells.numbers[index])]
                for index, _, _ in members
            ])
            for members in groups.values()
        ]  # fmt: skip

        def run(later: Later) -> None:
            in_memory: list[tuple[Way, list[_Member], list[dict[str, Any]]]] = []
            for ((way, plain, copied), members), own in zip(groups.items(), lines, strict=True):
                if not plain or copied:
                    continue
                if meeting:
                    each = own if len(own) > 1 else own * len(members)
                    in_memory += [(way, [member], [line]) for member, line in zip(members, each, strict=True)]
                else:
                    in_memory.append((way, members, own))
            # Where processes have to tell each other something, they do so before any of them writes.
            write_in_memory = self._ready_in_memory(rule, in_memory, backend)

            def write() -> None:
                for ((way, plain, copied), members), own in zip(groups.items(), lines, strict=True):
                    if not plain:
                        self._run_in_library(way, members, own, backend, compiled=rule.jit_compile is True)
                    elif copied:
                        for batch in _batches(members, own, [self._entries[index].size for index, _, _ in members]):
                            self._run_through_copies(way, *batch, backend)
                write_in_memory()
                if has_numba() and not (meeting or any(self._ways.values())):
                    self.lane = self._lane_of(rule, list(gradients.present))

            later(write)

        return {index for members in groups.values() for index, _, _ in members}, run

    # ---------------------------------------------------------------- short ways

    def another(self, rule: Any, gradients: Any, variables: Any) -> tuple[tuple[int, ...], Lane] | None:
        """Another short way than the last for a step, and the positions of its parameters; None if there is none.

        Args:
            rule: the optimizer.
            gradients: of the step.
            variables: the parameters, or None for all.
        """
        if not has_numba() or not rule.built or rule.cells.loaded or self._meeting or any_scope():
            return None
        if type(gradients) not in _LISTS or type(None) in set(map(type, gradients)):
            return None
        if variables is None:
            positions = tuple(range(len(rule.cells.parameters)))
        elif type(variables) in _LISTS:
            positions = tuple(map(rule.cells.index.get, map(id, variables)))
        else:
            return None
        if not positions or len(positions) != len(gradients):
            return None
        places = set(positions)
        if None in places or len(places) != len(positions):
            return None
        # A user's rule is recorded in a general step: it may do anything meanwhile.
        if rule.has_begin_step() and tuple(sorted(positions)) not in self._begins and not is_ours(rule):
            return None
        if not self._is_recorded(rule):
            if not is_ours(rule) or _why_not_at_all(rule, rule.cells.rate.array) is not None:
                return None
            with rule.cells.parameters[0].backend.arithmetic():
                self._record(rule)
        lane = self._lanes.get(positions)
        if lane is None:
            lane = self._lane_of(rule, sorted(positions))
            if lane is None:
                return None
            lane.arrange(rule, list(positions))
        return None if lane is self.lane else (positions, lane)

    def take(self, positions: tuple[int, ...], lane: Lane | None) -> None:
        """Begin the next step with a short way, for parameters at some positions in their order."""
        self.lane = lane
        if lane is not None:
            self._lanes.keep(positions, lane)
            self._ways = dict.fromkeys(lane.present)
            self._begin_reason = None

    def _lane_of(self, rule: Any, present: list[int]) -> Lane | None:
        """A short way for some parameters, whatever order they are given in."""
        assert self._seen is not None
        return lane_of(
            rule, present, self._entries, self._seen, lambda: self._begin_program(rule, present, _kinds_of(rule))[0]
        )

    def _together(self, rule: Any, positions: list[list[int]]) -> Together | None:
        """What tells processes what they found, if there are several."""
        joint = any(self._entries[index].joint for indices in positions for index in indices)
        return Together(rule, positions) if joint else None

    def _ready_in_memory(
        self, rule: Any, parts: list[tuple[Way, list[_Member], list[dict[str, Any]]]], backend: Any
    ) -> Callable[[], None]:
        """Read all that is added up; what writes then."""
        running = [way.passes(self._memory_of(way, members, backend), lines) for way, members, lines in parts]
        positions = [[index for index, _, _ in members] for _, members, _ in parts]
        calls = calls_of(running, self._together(rule, positions))

        def write() -> None:
            for call in calls:
                call()
            entries = [self._entries[index] for indices in positions for index in indices]
            for entry in entries:
                entry.give_back(backend)
            # What is written back by the library, that counts itself.
            backend.wrote([array for entry in entries if entry.spread or not entry.lent for array in entry.written()])

        return write

    def _memory_of(self, way: Way, members: list[_Member], backend: Any) -> InTable | InBlocks:
        entries = [self._entries[index] for index, _, _ in members]
        if has_numba():
            rows = [[*entry.addresses, address] for entry, (_, address, _) in zip(entries, members, strict=True)]
            return InTable(table_of([entry.size for entry in entries], way.stored[-1], backend), addresses_of(rows))
        return InBlocks([
            [backend.flat_view(array) for array in (*entry.arrays, gradient)]
            for entry, (_, _, gradient) in zip(entries, members, strict=True)
        ])  # fmt: skip

    def _run_through_copies(self, way: Way, members: list[_Member], lines: list[dict[str, Any]], backend: Any) -> None:
        """As in memory, with copies of the arrays that a pass does not take as they are."""
        rows, copies = [], []
        for index, _, gradient in members:
            entry = self._entries[index]
            # What is stored as the pass takes it is written where it lies.
            places = [
                self._plain(array, dtype, entry, backend)
                if number in entry.copied
                else (entry.addresses[number], array)
                for number, (array, dtype) in enumerate(zip(entry.arrays, way.stored[:-1], strict=True))
            ]
            places.append(self._plain(gradient, way.stored[-1], entry, backend))
            rows.append([address for address, _ in places])
            copies.append([array for _, array in places])
        if has_numba():
            table = table_of([self._entries[index].size for index, *_ in members], way.stored[-1], backend)
            way.run(table, addresses_of(rows), lines)
        else:
            way.run_by_blocks([[backend.flat_view(array) for array in arrays] for arrays in copies], lines)
        for (index, _, _), arrays in zip(members, copies, strict=True):
            entry = self._entries[index]
            for target in way.targets:
                if target in entry.copied:
                    backend.write(entry.arrays[target], arrays[target])
            backend.wrote([
                entry.cells[target].array for target in way.targets if entry.spread or target not in entry.copied
            ])  # fmt: skip

    def _run_in_library(
        self, way: Way, members: list[_Member], lines: list[dict[str, Any]], backend: Any, compiled: bool
    ) -> None:
        """By the library's own functions over many arrays; parameters whose scalars differ apart."""
        apart: dict[Any, list[_Member]] = {}
        for number, member in enumerate(members):
            apart.setdefault(way.whole.evaluate(lines[number if len(lines) > 1 else 0]), []).append(member)
        for scalars, together in apart.items():
            entries = [self._entries[index] for index, _, _ in together]
            columns = [list(column) for column in zip(*(entry.operands() for entry in entries), strict=True)]
            columns.append([gradient for _, _, gradient in together])
            results = backend.run_program(way.whole.program, way.dtype, columns, scalars, compiled)
            for target, arrays in zip(way.targets, results, strict=True):
                for entry, array in zip(entries, arrays, strict=True):
                    if entry.spread:
                        backend.write(entry.arrays[target], backend.cast(array, entry.cells[target].dtype_name))
                    else:
                        entry.cells[target].assign(array)
            backend.wrote([array for entry in entries if entry.spread for array in entry.written()])

    def _grouped(self, rule: Any, gradients: Any, rate: Any) -> dict[Any, list[_Member]]:
        backend = rule.cells.parameters[0].backend
        groups: dict[Any, list[_Member]] = {}
        for index in gradients.present:
            entry = self._entries[index]
            entry.simple = False
            factor = ops.convert_to_number(gradients.factor(index))
            joint = entry.way is not None and entry.way.adds_up
            self._ways[index] = reason = entry.reason or self._memory_reason(entry, factor, backend, joint)
            if reason is not None:
                continue
            if not all(isinstance(cell.value, (int, float)) for cell in rule.cells.numbers[index]):
                self._ways[index] = "a scalar is traced or on a device"
                continue
            rows = gradients.rows(index) if entry.plain and not entry.spread else None
            if rows is not None and self._leaves_still(rule, index, gradients, rate):
                self._take(entry, rows, backend)
                gradient = rows.values
            else:
                gradient = gradients.array(index)
            address, gradient = self._gradient_address(entry, gradient, backend)
            if address is None:
                self._ways[index] = gradient
                continue
            # Rows are copied here, and stepped where they lie by short ways.
            in_place = not entry.lent if entry.axes is None else not entry.narrow
            entry.simple = entry.plain and not entry.copied and in_place
            groups.setdefault((entry.pass_, entry.plain, bool(entry.copied)), []).append((index, address, gradient))
        return groups

    def _leaves_still(self, rule: Any, index: int, gradients: Any, rate: Any) -> bool:
        """Whether a parameter and its slots stay as they are where its gradient, which is not clipped, is zero."""
        way = self._entries[index].way
        values = self._values_of(rule, gradients, rate)
        (line,) = lines_of(values, [[None, *(cell.value for cell in rule.cells.numbers[index])]])
        return way is not None and way.leaves_still(line)

    def _take(self, entry: Facts, rows: Rows, backend: Any) -> None:
        """Let copies of some rows stand for a parameter and its slots."""
        entry.touched, entry.axes = entry.bounds(), len(rows.places)
        entry.lent = {number: (array, rows.places) for number, array in enumerate(entry.arrays)}
        entry.shape = backend.shape(rows.values)
        entry.size = math.prod(entry.shape)
        entry.order, entry.copied = None, []
        taken = [
            self._plain(backend.taken(array, rows.places), dtype, entry, backend)
            for array, dtype in zip(entry.arrays, entry.stored[:-1], strict=True)
        ]
        entry.addresses = [address for address, _ in taken]
        entry.arrays = [array for _, array in taken]

    # ---------------------------------------------------------------- begin_step

    def _begin(self, rule: Any, gradients: Any, rate: Any, reason: str | None) -> Begin | None:
        """Run `begin_step`, as a program if it can be recorded; that program."""
        if not rule.has_begin_step():
            return None
        begin = None
        if reason is None:
            begin, reason = self._begin_program(rule, gradients.present, _kinds_of(rule, gradients))
        if begin is not None:
            factors = [ops.convert_to_number(gradients.factor(index)) for index in gradients.present]
            memory, reason = self._begin_memory(rule, gradients, factors) if begin.reads_arrays else ([], None)
            if reason is None:
                rows = [(addresses, size) for addresses, size, _ in memory]
                for cell, value in begin.run(rule, self._values_of(rule, gradients, rate), factors, rows):
                    cell.assign(value)
        self._begin_reason = reason
        if reason is not None:
            _begin_eagerly(rule, gradients, rate)
            return None
        return begin

    def _begin_program(
        self, rule: Any, indices: Sequence[int], kinds: tuple[bool, bool]
    ) -> tuple[Begin | None, str | None]:
        present = tuple(indices)
        if present not in self._begins:
            recorded, reason, free = record_begin(rule, present, *kinds)
            if not free and self._seen is not None:
                # Its program holds the optimizer's numbers as they are now.
                self._seen.free = False
            dtypes = [self._entries[index].dtype for index in present]
            begin = None if recorded is None else Begin(recorded, present, dtypes)
            if begin is not None and begin.writes_arrays:
                begin, reason = None, "it writes arrays"
            self._begins = {present: (begin, reason)}
        return self._begins[present]

    def _begin_memory(
        self, rule: Any, gradients: Any, factors: list[Any]
    ) -> tuple[list[tuple[list[int], int, Any]], str | None]:
        """For each parameter where its arrays lie, how many elements it has, and what must be kept; or why not."""
        if not has_numba():
            return [], "Numba, which would read its arrays, cannot be used"
        backend = rule.cells.parameters[0].backend
        rows = []
        for index, factor in zip(gradients.present, factors, strict=True):
            entry = self._entries[index]
            reason = self._memory_reason(entry, factor, backend, joint=True)
            if reason is not None or not entry.plain or entry.copied:
                return [], reason or "it reads arrays that are not row-major"
            address, gradient = self._gradient_address(entry, gradients.array(index), backend)
            if address is None:
                return [], gradient
            if any(dtype != entry.dtype for dtype in entry.stored):
                return [], "it reads arrays of another dtype than the one computed in"
            rows.append(([*entry.addresses, address], entry.size, gradient))
        return rows, None

    # ---------------------------------------------------------------- reports

    def report(self, rule: Any) -> ExecutionReport:
        """The groups of the last step."""
        groups: dict[Any, list[int]] = {}
        for index, reason in self._ways.items():
            way = self._entries[index].pass_ if reason is None else None
            groups.setdefault((way, rule.cells.parameters[index].dtype_name, reason), []).append(index)
        report = ExecutionReport()
        report.begin_step = self._begin_reason
        for (way, _, reason), members in groups.items():
            traffic = None if way is None else way.traffic
            elements = sum(rule.cells.parameters[index].size for index in members)
            name = "eager" if way is None else self._name_of(rule, members[0])
            report.append(Group(name, len(members), elements, traffic, reason))
        return report

    def _name_of(self, rule: Any, index: int) -> str:
        if not self._entries[index].plain:
            backend = rule.cells.parameters[0].backend
            compiled = rule.jit_compile is True and backend.compiled_way is not None
            return str(backend.compiled_way if compiled else backend.program_way)
        way = self._entries[index].pass_
        return "fused" if has_numba() and way is not None and not way.by_blocks else "blocks"

    @property
    def free(self) -> bool:
        """Whether what was recorded holds for other numbers of the optimizer."""
        return self._seen is not None and self._seen.free

    def ways_of(self, rule: Any, gradients: Any) -> list[Way | None]:
        """For each parameter how its update is run in one pass, or None if it cannot be recorded."""
        self._refresh(rule, _kinds_of(rule, gradients))
        return [entry.way for entry in self._entries]

    def begin_of(self, rule: Any, gradients: Any) -> Begin | None:
        """The recorded `begin_step`, or None where there is none or it cannot be recorded."""
        if not rule.has_begin_step():
            return None
        return self._begin_program(rule, gradients.present, _kinds_of(rule, gradients))[0]

    def program_of(self, index: int) -> Program | None:
        """The program that a parameter's last update was run as."""
        way = self._entries[index].way if index in self._ways and self._ways[index] is None else None
        return None if way is None else way.program

    # ---------------------------------------------------------------- memory

    def _memory_reason(self, entry: Facts, factor: Any, backend: Any, joint: bool) -> str | None:
        """Look where the arrays lie, and why they cannot be updated together if so.

        Where processes have to make a step `joint`ly, that must not depend on what only one of them sees.
        """
        if factor is not None and not is_number(factor):
            return "it is clipped by a norm that lies on a device"
        # In every step: nothing that was seen of memory holds for the next one.
        arrays = backend.held_here([cell.array for cell in entry.cells])
        if arrays is None:
            return _ELSEWHERE.format("its state")
        entry.arrays = arrays
        entry.spread = any(array is not cell.array for array, cell in zip(arrays, entry.cells, strict=True))
        entry.lent, entry.touched, entry.axes = {}, [], None
        entry.shape = backend.shape(arrays[0])
        entry.size = math.prod(entry.shape)
        if entry.spread and joint:
            if entry.narrow or not all(map(backend.of_plain_class, arrays)) or backend.takes_programs(arrays[0]):
                return "it adds up what processes hold together in another kind of memory"
            entry.arrays = arrays = [
                self._plain_part(array, number, entry, backend) for number, array in enumerate(arrays)
            ]
        # A pass goes through all arrays in the order of the parameter's elements; sums are defined in row-major order.
        entry.order = order = None if joint else backend.order(arrays[0])
        entry.copied = entry.narrow
        addresses = [
            backend.address(array, cell.dtype_name, entry.shape, order, write=True)
            for array, cell in zip(arrays, entry.cells, strict=True)
        ]
        for number, (array, cell) in enumerate(zip(arrays, entry.cells, strict=True)):
            own = backend.order(array) if addresses[number] is None else order
            if own != order:
                addresses[number] = backend.address(array, cell.dtype_name, entry.shape, own, write=True)
                if addresses[number] is not None:
                    entry.copied = [*entry.copied, number]
        entry.plain = None not in addresses
        if entry.plain:
            entry.addresses = addresses
        if entry.plain or all(map(backend.takes_programs, arrays)):
            return None
        place = addresses.index(None)
        name, owner = entry.cells[place].name, backend.unknown_owner(arrays[place])
        if owner is not None:
            return owner_unknown(name, owner)
        return f"{name!r} does not lie in plain CPU memory: it is strided, unaligned, or not of the library's own class"

    def _gradient_address(self, entry: Facts, gradient: Any, backend: Any) -> tuple[int | None, Any]:
        """Where the gradient lies, made plain by a copy if need be; and what must stay alive until it is read.

        None if no copy of it is plain; and why.
        """
        here = backend.held_here([entry.cells[0].array, gradient])
        if here is None:
            return None, _ELSEWHERE.format("its gradient")
        gradient = here[1]
        if not entry.plain:
            return 0, gradient
        if not backend.of_plain_class(gradient):
            return None, _ITS_OWN_CLASS
        entry.reads(gradient, backend)
        if entry.copied:
            # It is copied when its turn comes, if what is written until then cannot meet it.
            own = backend.order(gradient)
            address = backend.address(gradient, backend.dtype_name(gradient), entry.shape, own, write=False)
            if address is not None:
                return address, gradient
        return self._plain(gradient, entry.stored[-1], entry, backend)

    def _plain(self, array: Any, dtype: str, entry: Facts, backend: Any) -> tuple[int, Any]:
        """Where an array that belongs to a parameter lies, if need be as a copy as the pass takes it."""
        address = backend.address(array, dtype, entry.shape, entry.order, write=False)
        if address is None:
            array = backend.plain_copy(array, dtype, entry.order)
            address = backend.address(array, dtype, entry.shape, entry.order, write=False)
        if address is None:
            raise TypeError(f"Cannot read {describe(array)}, which belongs to {entry.cells[0].name!r}.")
        return address, array

    def _plain_part(self, array: Any, number: int, entry: Facts, backend: Any) -> Any:
        """What this process holds of an array; a copy that will be written back, if it does not lie plainly."""
        if backend.address(array, entry.stored[number], entry.shape, None, write=True) is not None:
            return array
        copy = backend.plain_copy(array, entry.stored[number], None)
        entry.lent[number] = array, None
        return copy

    def _joint_alone(self, groups: dict[Any, list[_Member]], backend: Any) -> dict[Any, list[_Member]]:
        """Of groups those that processes update together, with gradients that meet no memory that is written."""
        joint = {
            key: [
                (index, *self._plain(backend.plain_copy(gradient, dtype, entry.order), dtype, entry, backend))
                for index, _, gradient in members
                for entry in [self._entries[index]]
                for dtype in entry.stored[-1:]
                if entry.joint
            ]
            for key, members in groups.items()
        }
        return {key: members for key, members in joint.items() if members}

    def _overlapping(self, groups: dict[Any, list[_Member]], backend: Any) -> bool:
        """Whether memory that is written is also read or written for another element."""
        intervals = []
        for members in groups.values():
            for index, address, gradient in members:
                entry = self._entries[index]
                if entry.plain:
                    held = entry.bounds()
                    intervals += [(start, end, True) for start, end in held]
                    length = entry.size * ITEM_SIZES.get(backend.dtype_name(gradient), 8)
                    # It may be the parameter itself: each element is read before it is written.
                    if address and (address, address + length) not in held:
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

    def _is_recorded(self, rule: Any, kinds: tuple[bool, bool] | None = None) -> bool:
        """Whether nothing has changed but numbers."""
        known = self._seen is not None and self._recorded_for == (kinds or _kinds_of(rule))
        return known and self._seen is not None and self._seen.still(rule)

    def _refresh(self, rule: Any, kinds: tuple[bool, bool]) -> None:
        """Record again if anything has changed but numbers."""
        if not self._is_recorded(rule, kinds):
            self._record(rule, kinds)

    def _record(self, rule: Any, kinds: tuple[bool, bool] | None = None) -> None:
        kinds = kinds or _kinds_of(rule)
        recordings = record_updates(rule, *kinds)
        self._begins, self._recorded_for = {}, kinds
        self._lanes.clear()
        self._kinds = Kinds(recordings.updates)
        self._entries = self._kinds.facts(rule.cells.grouped, recordings.kinds, self._way_of)
        self._seen = Seen(rule, recordings.free)

    # ---------------------------------------------------------------- further parameters

    def lasts(self, rule: Any) -> bool:
        """Whether what is known of the parameters will hold when there are more, made alike."""
        return self._is_recorded(rule) and is_ours(rule)

    def grow(self, rule: Any, insertion: Insertion) -> None:
        """Go on with further parameters, of which nothing is known yet.

        Args:
            rule: the optimizer, which has them.
            insertion: where they stand among those that were known.
        """
        known, new = self._entries, list(insertion.further)
        kinds, lane = kinds_of(rule, new), self.lane
        free = self._seen is not None and self._seen.free
        self.lane, self._seen, self._begins, self._ways = None, None, {}, {}
        self._lanes.clear()
        if self._kinds.known(kinds):
            further = self._kinds.facts([rule.cells.grouped[index] for index in new], kinds, self._way_of)
            self._entries = insertion.joined(known, further)
            self._seen = Seen(rule, free)
            own = None if lane is None or rule.has_begin_step() else self._lane_of(rule, new)
            whole = None if lane is None or own is None else lane.with_further(rule, own, insertion)
            if whole is not None:
                self._lanes.keep(tuple(whole.present), whole)

    def _way_of(self, program: Program, dtype: str) -> Way:
        # Equal programs may differ in the sign of a zero.
        key = program, dtype, repr(program.constants)
        if key not in self._known_ways:
            if len(self._known_ways) > _MANY:
                # Constants that change in each step make new ones for ever.
                self._known_ways.clear()
            self._known_ways[key] = Way(program, dtype)
        return self._known_ways[key]

    def _values_of(self, rule: Any, gradients: Any, rate: Any) -> dict[str, Any]:
        assert self._seen is not None
        return step_values(rule, rate, gradients.divisor, self._seen.values)


def _kinds_of(rule: Any, gradients: Any = None) -> tuple[bool, bool]:
    """Whether gradients are divided by a number, and whether they are multiplied by one to keep to a norm."""
    divisor = rule.loss_scale_factor if gradients is None else gradients.divisor
    return divisor is not None, rule.clipnorm is not None or rule.global_clipnorm is not None


def _begin_eagerly(rule: Any, gradients: Any, rate: Any) -> None:
    rule.begin_step(gradients, [rule.cells.parameters[index] for index in gradients.present], rate)


def _batches(
    members: list[_Member], lines: list[dict[str, Any]], sizes: list[int]
) -> Iterator[tuple[list[_Member], list[dict[str, Any]]]]:
    first, count = 0, 0
    for position, size in enumerate([*sizes, 0]):
        if position == len(sizes) or (position > first and count + size > _BATCH):
            yield members[first:position], lines[first:position] if len(lines) > 1 else lines
            first, count = position, 0
        count += size


def _why_not_at_all(rule: Any, rate: Any) -> str | None:
    """A reason that holds for every parameter of this step, or None."""
    if rule.jit_compile is False:
        return "jit_compile is False"
    backend = rule.cells.parameters[0].backend
    if not backend.shares_memory and backend.program_way is None:
        return f"{backend.name} arrays lie in no memory that can be shared"
    scalars = [rate, rule.cells.iterations.value, *(cell.value for cell in rule.cells.shared if cell.backend is HOST)]
    return None if all(isinstance(scalar, (int, float)) for scalar in scalars) else "a scalar is traced or on a device"
