"""`begin_step` as a program: it reads arrays, where it does, and gives numbers new values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....backends import Variable, ops
from ....backends.programs.passes import passes_of
from ....backends.programs.scalars import scalar_evaluator
from ..rule import Rule, StepGradients
from .arrays import gradient_address, memory_reason
from .facts import Facts
from .recording import BeginProgram
from .scalars import FACTOR, number_names, of_parameter
from .ways import Pass, added_together, addresses_of, table_of


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
            [(number, Pass(program, dtypes[number], (dtypes[number],) * program.inputs)) for number, program in stage]
            for stage in passes_of(recorded.programs)
        ]
        self.reads_arrays = bool(self._reading)
        self.writes_arrays = bool(writing)

    def run(
        self, rule: Rule, values: dict[str, Any], factors: Sequence[Any], own: Sequence[Sequence[Any]],
        rows: Sequence[tuple[list[int], int]] = (),
    ) -> tuple[Any, ...]:  # fmt: skip
        """The new numbers of `cells`.

        Args:
            rule: the optimizer.
            values: this step's scalars by name, from `scalars.py`.
            factors: what each gradient is multiplied by, or None.
            own: for each parameter the numbers of its own.
            rows: for each parameter where its arrays lie, and how many elements it has.
        """
        values = dict(values)
        for index, factor, numbers in zip(self._present, factors, own, strict=True):
            names = [FACTOR, *number_names(len(numbers))]
            values.update(zip([of_parameter(index, name) for name in names], [factor, *numbers], strict=True))
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
        results: tuple[Any, ...] = self._results(values)
        return results

    def run_on_cells(
        self, rule: Rule, gradients: StepGradients, values: dict[str, Any], known: Sequence[Facts], compiled: bool
    ) -> str | None:
        """Give cells their new numbers; or why that is no program's work, and nothing has happened.

        Args:
            rule: the optimizer.
            gradients: of the step.
            values: as of `run`.
            known: what is known of all parameters.
            compiled: whether passes are compiled.
        """
        factors = [ops.convert_to_number(gradients.factor(index)) for index in gradients.present]
        memory: list[tuple[list[int], int, Any]] = []
        reason: str | None = None
        if self.reads_arrays:
            reason = "Numba, which would read its arrays, cannot be used"
            if compiled:
                memory, reason = _memory(rule, gradients, factors, known)
        if reason is None:
            rows = [(addresses, size) for addresses, size, _ in memory]
            own = [[cell.value for cell in rule.cells.numbers[index]] for index in gradients.present]
            for cell, value in zip(self.cells(rule), self.run(rule, values, factors, own, rows), strict=True):
                cell.assign(value)
        return reason

    def cells(self, rule: Rule) -> list[Variable]:
        """What it gives new numbers to."""
        return [
            rule.cells.shared[position] if index is None else rule.cells.numbers[index][position]
            for index, position in self._recorded.cells
        ]


def _alike(stage: list[tuple[int, Pass]]) -> list[list[tuple[int, Pass]]]:
    """Passes that one kernel can run."""
    groups: dict[Any, list[tuple[int, Pass]]] = {}
    for number, each in stage:
        groups.setdefault((each.program.structure, each.dtype), []).append((number, each))
    return list(groups.values())


def begin_eagerly(rule: Rule, gradients: StepGradients, rate: Any) -> None:
    """Call `begin_step` as its author would."""
    rule.begin_step(gradients, [rule.cells.parameters[index] for index in gradients.present], rate)


def _memory(
    rule: Rule, gradients: StepGradients, factors: list[Any], known: Sequence[Facts]
) -> tuple[list[tuple[list[int], int, Any]], str | None]:
    """For each parameter where its arrays lie, how many elements it has, and what must be kept; or why not."""
    backend = rule.cells.parameters[0].backend
    rows = []
    for index, factor in zip(gradients.present, factors, strict=True):
        entry = known[index]
        reason = memory_reason(entry, factor, backend, joint=True)
        if reason is not None or not entry.plain or entry.copied:
            return [], reason or "it reads arrays that are not row-major"
        address, gradient = gradient_address(entry, gradients.array(index), backend)
        if address is None:
            return [], gradient
        if any(dtype != entry.dtype for dtype in entry.stored):
            return [], "it reads arrays of another dtype than the one computed in"
        rows.append(([*entry.addresses, address], entry.size, gradient))
    return rows, None
