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

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ....backends import HOST, any_scope, ops, scope_holding
from ....backends.kernels.compiler import has_numba
from ....backends.programs.program import Program
from ..insertion import Insertion
from ..prepared import Run, nothing_later
from ..rule import Rule, StepGradients
from ..step import Bookkeeping
from .apart import Apart
from .arrays import gradient_address, memory_reason, take_rows
from .attributes import Seen, of_optimizers_alone
from .begin import Begin, begin_eagerly
from .facts import Facts, Kinds
from .general import GeneralStep, Member, joint_alone, overlapping
from .lane import Lane
from .lanes import Lanes, lane_of
from .recording import kinds_of, record_begin, record_updates
from .report import ExecutionReport, NotRecorded, report_of
from .scalars import rows_for, step_values
from .ways import Way

_Treatment: TypeAlias = tuple[bool, bool]
"""Whether gradients are divided by a number, and whether they are multiplied by one to keep to a norm."""
_LISTS = (list, tuple)
_MANY = 64
"""Ways that are remembered; rules have a few."""


class Fusion:
    """The plan of one optimizer and what it remembers between steps.

    Attributes:
        lane: the short way of the last step, or None.
        apart: what functional steps run on, by whether they make deltas.
        rehearsed: whether the rule, if it is a user's, was tried out.
    """

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self.apart: dict[bool, Apart] = {}
        self.rehearsed = False
        self._lanes = Lanes()
        self._meeting = False
        self._seen: Seen | None = None
        self._treated: _Treatment = False, False
        self._entries: list[Facts] = []
        self._known_ways: dict[Any, Way] = {}
        self._kinds, self._by_axes = Kinds({}), False
        self._ways: dict[int, str | None] = {}
        self._begins: dict[tuple[int, ...], tuple[Begin | None, str | None]] = {}
        self._begin_reason: str | None = None

    # ---------------------------------------------------------------- running

    def begin(self, rule: Rule, gradients: StepGradients, rate: Any) -> str | None:
        """Run `begin_step`, as a program if it can be one; why no parameter can be updated in one pass, or None.

        Args:
            rule: the optimizer.
            gradients: of the step.
            rate: of the step.
        """
        self.lane = None
        if _runs_elsewhere(rule):
            begin_eagerly(rule, gradients, rate)
            return None
        reason, treated = _why_not_at_all(rule, rate), (gradients.divisor is not None, gradients.clipped)
        if reason is None:
            self._refresh(rule, treated)
        begun = self._begun(rule, gradients, rate, reason)
        if not begun and reason is None and rule.has_begin_step():
            # It may have changed an attribute; what becomes of gradients in this step was decided before.
            self._refresh(rule, treated)
        return reason

    def prepare(
        self, rule: Rule, gradients: StepGradients, rate: Any, reason: str | None
    ) -> tuple[set[int], Run]:
        """The positions of the parameters that can be updated in one pass, and what updates them.

        Args:
            rule, gradients, rate: as of `begin`.
            reason: what that gave.

        Raises:
            RuntimeError: if `jit_compile=True` and some cannot be; nothing has changed then.
        """
        if _runs_elsewhere(rule):
            apart = self.apart.get(any(cell.sink is not cell for cell in rule.cells.parameters[:1]))
            return (set(), nothing_later) if apart is None else apart.prepare(rule, gradients, rate)
        self._ways = dict.fromkeys(gradients.present, reason)
        groups, meeting = self._groups_apart(rule, gradients, rate) if reason is None else ({}, False)
        self._refuse_others(rule)
        if not groups:
            return set(), nothing_later
        values = self._values_of(rule, gradients, rate)
        rows = [
            rows_for(rule, [index for index, _, _ in members], values, gradients,
                     way.evaluate if in_memory else way.whole.evaluate)
            for (way, in_memory, _), members in groups.items()
        ]  # fmt: skip
        step = GeneralStep(rule, self._entries, groups, rows, meeting, has_numba())

        def ready() -> None:
            if has_numba() and not (meeting or any(self._ways.values())) and self._is_recorded(rule):
                self.lane = self._lane_of(rule, list(gradients.present))

        return {index for members in groups.values() for index, _, _ in members}, lambda later: step.run(later, ready)

    # ---------------------------------------------------------------- short ways

    def another(self, rule: Rule, gradients: Any, variables: Any) -> tuple[tuple[int, ...], Lane] | None:
        """Another short way than the last for a step, and the positions of its parameters; None if there is none.

        Args:
            rule: the optimizer.
            gradients: of the step.
            variables: the parameters, or None for all.
        """
        if not has_numba() or not rule.built or rule.cells.loaded or self._meeting or any_scope():
            return None
        positions = _positions_of(rule, gradients, variables)
        if positions is None or not self._has_recorded(rule, positions):
            return None
        lane = self._lanes.get(positions)
        if lane is None:
            lane = self._lane_of(rule, sorted(positions))
            if lane is None:
                return None
            lane.arrange(rule, list(positions))
        return None if lane is self.lane else (positions, lane)

    def _has_recorded(self, rule: Rule, positions: tuple[int, ...]) -> bool:
        """Whether what a short way runs was recorded, or could be now: a user's rule is recorded in a general step,
        since it may do anything meanwhile."""
        if not Bookkeeping.serves(rule, len(positions)):
            return False
        if self._is_recorded(rule):
            return not rule.has_begin_step() or tuple(sorted(positions)) in self._begins or of_optimizers_alone(rule)
        if not of_optimizers_alone(rule) or _why_not_at_all(rule, rule.cells.rate.array) is not None:
            return False
        with rule.cells.parameters[0].backend.arithmetic():
            self._record(rule, _treatment_by(rule))
        return True

    def take(self, positions: tuple[int, ...], lane: Lane | None) -> None:
        """Begin the next step with a short way, for parameters at some positions in their order."""
        self.lane = lane
        if lane is not None:
            self._lanes.keep(positions, lane)
            self._ways = dict.fromkeys(lane.present)
            self._begin_reason = None

    def _lane_of(self, rule: Rule, present: list[int]) -> Lane | None:
        """A short way for some parameters, whatever order they are given in."""
        assert self._seen is not None
        return lane_of(
            rule, present, self._entries, self._seen, lambda: self._begin_program(rule, present)[0]
        )

    def _groups_apart(self, rule: Rule, gradients: StepGradients, rate: Any) -> tuple[dict[Any, list[Member]], bool]:
        """The parameters that can be updated in one pass, in groups, and whether memory meets."""
        backend = rule.cells.parameters[0].backend
        groups = self._grouped(rule, gradients, rate)
        self._meeting = meeting = overlapping(self._entries, groups, backend)
        if meeting:
            self._ways = {
                index: None if self._entries[index].joint else "parameters, slots or gradients share memory"
                for index in gradients.present
            }
            groups = joint_alone(self._entries, groups, backend)
        return groups, meeting

    def _refuse_others(self, rule: Rule) -> None:
        """Raise if all parameters must be updated in one pass, and one cannot be."""
        for index, why in self._ways.items():
            if rule.jit_compile is True and why is not None:
                name = rule.cells.parameters[index].name
                raise RuntimeError(
                    f"jit_compile=True, but {name!r} cannot be updated in one pass: {why}; use jit_compile='auto'."
                )

    def _grouped(self, rule: Rule, gradients: StepGradients, rate: Any) -> dict[Any, list[Member]]:
        backend = rule.cells.parameters[0].backend
        groups: dict[Any, list[Member]] = {}
        for index in gradients.present:
            entry = self._entries[index]
            entry.simple = False
            factor = ops.convert_to_number(gradients.factor(index))
            joint = entry.way is not None and entry.way.adds_up
            self._ways[index] = reason = entry.reason or memory_reason(entry, factor, backend, joint)
            if reason is not None:
                continue
            if not all(isinstance(cell.value, (int, float)) for cell in rule.cells.numbers[index]):
                self._ways[index] = "a scalar is traced or on a device"
                continue
            rows = gradients.rows(index) if entry.plain and not entry.spread else None
            if rows is not None and self._leaves_still(rule, index, gradients, rate):
                take_rows(entry, rows, backend)
                gradient = rows.values
            else:
                gradient = gradients.array(index)
            address, gradient = gradient_address(entry, gradient, backend)
            if address is None:
                self._ways[index] = gradient
                continue
            # Rows are copied here, and stepped where they lie by short ways.
            in_place = not entry.lent if entry.axes is None else not entry.narrow
            entry.simple = entry.plain and not entry.copied and in_place
            groups.setdefault((entry.pass_, entry.plain, bool(entry.copied)), []).append((index, address, gradient))
        return groups

    def _leaves_still(self, rule: Rule, index: int, gradients: StepGradients, rate: Any) -> bool:
        """Whether a parameter and its slots stay as they are where its gradient, which is not clipped, is zero."""
        way = self._entries[index].way
        if way is None:
            return False
        (row,) = rows_for(rule, [index], self._values_of(rule, gradients, rate), gradients, way.evaluate)
        return way.leaves_still(row)

    # ---------------------------------------------------------------- begin_step

    def _begun(self, rule: Rule, gradients: StepGradients, rate: Any, reason: str | None) -> bool:
        """Run `begin_step`; whether as a program, which it is not for a reason that holds for all, or one of its own.
        """
        if not rule.has_begin_step():
            return False
        begin = None
        if reason is None:
            begin, reason = self._begin_program(rule, list(gradients.present))
        if begin is not None:
            values = self._values_of(rule, gradients, rate)
            reason = begin.run_on_cells(rule, gradients, values, self._entries, has_numba())
        self._begin_reason = reason
        if reason is not None:
            begin_eagerly(rule, gradients, rate)
        return reason is None

    def _begin_program(self, rule: Rule, indices: Sequence[int]) -> tuple[Begin | None, str | None]:
        present = tuple(indices)
        if present not in self._begins:
            recorded, reason, free = record_begin(rule, present, *self._treated)
            if not free and self._seen is not None:
                # Its program holds the optimizer's numbers as they are now.
                self._seen.free = False
            dtypes = [self._entries[index].dtype for index in present]
            begin = None if recorded is None else Begin(recorded, present, dtypes)
            if begin is not None and begin.writes_arrays:
                begin, reason = None, "it writes arrays"
            self._begins = {present: (begin, reason)}
        return self._begins[present]

    # ---------------------------------------------------------------- reports

    def report(self, rule: Rule) -> ExecutionReport:
        """The groups of the last step."""
        return report_of(rule, self._entries, self._ways, self._begin_reason, has_numba())

    @property
    def free(self) -> bool:
        """Whether what was recorded holds for other numbers of the optimizer."""
        return self._seen is not None and self._seen.free

    def ways_of(self, rule: Rule) -> list[Way | None]:
        """For each parameter how its update is run in one pass, or None if it cannot be recorded."""
        self._refresh(rule, _treatment_by(rule))
        return [entry.way for entry in self._entries]

    def begin_of(self, rule: Rule, present: Sequence[int]) -> Begin | None:
        """The recorded `begin_step`, or None where there is none or it cannot be recorded.

        Args:
            rule: the optimizer.
            present: the positions of the parameters that have a gradient.
        """
        return self._begin_program(rule, present)[0] if rule.has_begin_step() else None

    def program_of(self, index: int) -> Program | NotRecorded:
        """The program that a parameter's last update was run as, or why there is none."""
        if index not in self._ways:
            return NotRecorded("it had no gradient in the last imperative step, of apply(), if one was made")
        reason = self._ways[index]
        # Where a reason holds for all nothing is known of any.
        way = None if reason is not None else self._entries[index].way
        if way is not None:
            return way.program
        return NotRecorded(reason or "its update is run by whole arrays")

    # ---------------------------------------------------------------- recording

    def _is_recorded(self, rule: Rule, treated: _Treatment | None = None) -> bool:
        """Whether nothing has changed but numbers, for steps in which gradients are treated so; or as in the next."""
        if self._seen is None or self._treated != (treated or _treatment_by(rule)):
            return False
        return self._seen.still(rule)

    def _refresh(self, rule: Rule, treated: _Treatment) -> None:
        """Record again if anything has changed but numbers."""
        if not self._is_recorded(rule, treated):
            self._record(rule, treated)

    def _record(self, rule: Rule, treated: _Treatment) -> None:
        recordings = record_updates(rule, *treated)
        self._treated = treated
        self._begins = {}
        self._lanes.clear()
        self._kinds, self._by_axes = Kinds(recordings.updates), recordings.by_axes
        self._entries = self._kinds.facts(rule.cells.grouped, recordings.kinds, self._way_of)
        self._seen = Seen(rule, recordings.free)

    # ---------------------------------------------------------------- further parameters

    def lasts(self, rule: Rule) -> bool:
        """Whether what is known of the parameters will hold when there are more, made alike."""
        return self._is_recorded(rule) and of_optimizers_alone(rule)

    def grow(self, rule: Rule, insertion: Insertion) -> None:
        """Go on with further parameters, of which nothing is known yet.

        Args:
            rule: the optimizer, which has them.
            insertion: where they stand among those that were known.
        """
        known, new = self._entries, list(insertion.further)
        kinds, lane = kinds_of(rule, new, self._by_axes), self.lane
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

    def _values_of(self, rule: Rule, gradients: StepGradients, rate: Any) -> dict[str, Any]:
        assert self._seen is not None
        return step_values(rule, rate, gradients.divisor, self._seen.values)


def _treatment_by(rule: Rule) -> _Treatment:
    """What becomes of the gradients of a step that begins now."""
    return rule.gradient_divisor is not None, rule.clips_norms


def _runs_elsewhere(rule: Rule) -> bool:
    """Whether a step runs on what it was given, as functional ones do, and not on what cells hold themselves."""
    return not rule.cells.parameters or scope_holding(rule.cells.parameters[0]) is not None


def _positions_of(rule: Rule, gradients: Any, variables: Any) -> tuple[int, ...] | None:
    """The positions of the parameters of a step; None if these are not plainly known, each once, with a gradient."""
    if type(gradients) not in _LISTS or type(None) in set(map(type, gradients)):
        return None
    positions: tuple[Any, ...]
    if variables is None:
        positions = tuple(range(len(rule.cells.parameters)))
    elif type(variables) in _LISTS:
        position_of: Callable[[int], Any] = rule.cells.index.get
        positions = tuple(map(position_of, map(id, variables)))
    else:
        return None
    places = set(positions)
    if not positions or len(positions) != len(gradients) or len(places) != len(positions) or None in places:
        return None
    return positions


def _why_not_at_all(rule: Rule, rate: Any) -> str | None:
    """A reason that holds for every parameter of this step, or None."""
    if rule.jit_compile is False:
        return "jit_compile is False"
    backend = rule.cells.parameters[0].backend
    if not backend.shares_memory and backend.program_way is None:
        return f"{backend.name} arrays lie in no memory that can be shared"
    scalars = [rate, rule.cells.iterations.value, *(cell.value for cell in rule.cells.shared if cell.backend is HOST)]
    return None if all(isinstance(scalar, (int, float)) for scalar in scalars) else "a scalar is traced or on a device"
