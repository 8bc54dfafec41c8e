"""Functional steps in one pass: what was given is read where it lies, and what comes out is written to new arrays.

The programs are those of the imperative path, with memory of their own for what they write. So nothing that was given
changes, whatever overlaps in it; and nothing is moved that a step in place would not move. What no pass can take is
computed by the library's own functions: what is traced, differentiated or watched, another kind of memory, a rule that
cannot be recorded.

A template serves any number of threads at once. It is recorded on a second one that nobody runs, because recording
changes attributes for a moment; what was recorded does not change any more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ....backends import Backend, DeltaVariable, Scope, compute_dtype, is_number, ops
from ....backends.kernels.compiler import has_numba
from ..configuration import configuration, frozen
from ..prepared import Later, Run, nothing_later
from ..rule import Rule, StepGradients
from ..step import Bookkeeping
from .apart_again import Again
from .attributes import numbers_of
from .begin import Begin
from .scalars import rows_for, step_values
from .ways import Way, addresses_of, read_as, table_of, written_in_place


class _Member(NamedTuple):
    """A parameter in a group: its way and position, what its cells hold, where that lies, and its gradient likewise."""

    way: Way
    position: int
    arrays: list[Any]
    addresses: list[int]
    gradient: Any
    address: int


class RuleRecorder(Protocol):
    """What records an optimizer: see `Fusion`."""

    free: bool

    def ways_of(self, rule: Rule) -> list[Way | None]:
        """For each parameter how its update is run in one pass, or None."""

    def begin_of(self, rule: Rule, present: Sequence[int]) -> Begin | None:
        """The recorded `begin_step`, or None."""


class Apart:
    """The recorded updates of a template, and steps that run them.

    Args:
        rule: a template of the same structure that nobody runs.
        recorder: its.
        deltas: whether what is asked for are the parameters' deltas, not their new values.
    """

    def __init__(self, rule: Rule, recorder: RuleRecorder, deltas: bool) -> None:
        self._rule = rule
        self._recorder = recorder
        self._deltas = deltas
        self._lock = threading.Lock()
        with self._recording():
            self._ways = recorder.ways_of(rule)
        self._again: dict[Any, Again | None] = {}

    def _recording(self) -> Scope:
        """A scope in which the template's parameters collect deltas, if these are asked for."""
        parameters = self._rule.cells.parameters if self._deltas else []
        return Scope((cell.delta, None) for cell in parameters if isinstance(cell, DeltaVariable))

    def serves(self, rule: Rule) -> bool:
        """Whether it holds for an optimizer that may differ from its own in its numbers."""
        return self._recorder.free or frozen(configuration(self._rule)) == frozen(configuration(rule))

    def again(self, gradients: Sequence[Any], leaves: Sequence[Any]) -> Again | None:
        """The short way of steps like one that was made, if there is one.

        Args:
            gradients: for each parameter one of the dtype that its gradients have, or None.
            leaves: the parameters.
        """
        rule, kind, backend = self._rule, type(leaves[0]) if leaves else None, self._rule.cells.parameters[0].backend
        dtypes = {index: backend.dtype_name(each) for index, each in enumerate(gradients) if each is not None}
        key = tuple(dtypes.items()), kind, tuple(backend.order(leaves[index]) for index in dtypes)
        if key not in self._again:
            made = None
            if dtypes and Bookkeeping.serves(rule, len(dtypes)) and has_numba():
                with self._lock, contextlib.suppress(LookupError):
                    with self._recording():
                        begin = self._recorder.begin_of(rule, tuple(dtypes))
                    if not rule.has_begin_step() or (begin is not None and not begin.reads_arrays):
                        orders = dict(zip(dtypes, key[2], strict=True))
                        ways = {index: self._stored(index, dtype) for index, dtype in dtypes.items()}
                        made = Again(rule, ways, begin, orders, type(leaves[0]), self._deltas)
            self._again[key] = made
        return self._again[key]

    def _stored(self, index: int, gradient: str) -> Way:
        """How a parameter is updated whose gradients have a dtype, and its slots those that `init` gives them.

        Raises:
            LookupError: if that is no pass over arrays where they lie.
        """
        way: Way | None = self._ways[index]
        held = [cell.dtype_name for cell in self._rule.cells.grouped[index]]
        if way is None or not all(written_in_place(each, way.dtype) for each in held):
            raise LookupError("a parameter has no program that takes it as it is")
        if self._deltas and held[0] != way.dtype:
            raise LookupError("deltas have the dtype that is computed in")
        return way.over((*held, read_as(gradient, way.dtype)))

    def prepare(self, rule: Rule, gradients: StepGradients, rate: Any) -> tuple[set[int], Run]:
        """The positions of the parameters that can be updated in one pass, and what updates them, in their scope.

        Args:
            rule: the template that runs.
            gradients: of the step, which has begun.
            rate: of the step.
        """
        backend = rule.cells.parameters[0].backend
        scalars = [rate, rule.cells.iterations.value, *(cell.value for cell in rule.cells.host_scalars())]
        if not all(map(is_number, scalars)) or backend.watched():
            return set(), nothing_later
        groups: dict[Way, list[_Member]] = {}
        for index, way in enumerate(self._ways):
            if way is not None and index in gradients.present:
                member = _looked_at(rule, index, way, gradients, backend)
                if member is not None:
                    groups.setdefault(member.way, []).append(member)
        if not groups:
            return set(), nothing_later
        numbers = {number.name: number.read() for number in numbers_of(rule)}
        values = step_values(rule, rate, gradients.divisor, numbers)

        def write() -> None:
            for way, members in groups.items():
                positions = [each.position for each in members]
                _run(rule, way, members, rows_for(rule, positions, values, gradients, way.apart.evaluate), backend)

        def run(later: Later) -> None:
            later(write)

        return {each.position for members in groups.values() for each in members}, run


def _looked_at(rule: Rule, index: int, way: Way, gradients: StepGradients, backend: Backend) -> _Member | None:
    """A parameter with its slots and gradient, if all are plain memory that holds what is computed with."""
    factor = ops.convert_to_number(gradients.factor(index))
    numbers = [cell.value for cell in rule.cells.numbers[index]]
    if not all(map(is_number, numbers if factor is None else [factor, *numbers])):
        return None
    shape, arrays = rule.cells.parameters[index].shape, [cell.value for cell in rule.cells.grouped[index]]
    # Sums are defined in row-major order.
    order = None if way.adds_up else backend.order(arrays[0])
    held = list(map(backend.dtype_name, arrays))
    if not _fits(rule, index, way, held, backend):
        return None
    addresses = [
        backend.address(array, dtype, shape, order, write=False) for array, dtype in zip(arrays, held, strict=True)
    ]
    known = [each for each in addresses if each is not None]
    gradient = gradients.array(index)
    if len(known) < len(addresses) or not backend.of_plain_class(gradient) or not backend.concrete(gradient):
        return None
    dtype = read_as(backend.dtype_name(gradient), way.dtype)
    address = backend.address(gradient, dtype, shape, order, write=False)
    if address is None:
        gradient = backend.plain_copy(gradient, dtype, order)
        address = backend.address(gradient, dtype, shape, order, write=False)
    way = way.over((*held, dtype))
    return None if address is None else _Member(way, index, arrays, known, gradient, address)


def _fits(rule: Rule, index: int, way: Way, held: list[str], backend: Backend) -> bool:
    """Whether a pass takes, and writes, what a parameter's cells hold, which is of some dtypes."""
    if compute_dtype(held[0]) != way.dtype or not all(written_in_place(each, way.dtype) for each in held):
        return False
    # What is written has the dtype of what was read, which the deltas of parameters of 16 bits have not.
    sinks = [(held[target], rule.cells.grouped[index][target].sink) for target in way.targets]
    return all(backend.dtype_name(sink.value) == dtype for dtype, sink in sinks)


def _run(rule: Rule, way: Way, members: list[_Member], rows: list[Any], backend: Backend) -> None:
    made = [backend.empties([each.arrays[target] for target in way.targets]) for each in members]
    if has_numba():
        addresses = [
            [*each.addresses, *(_address(array, backend) for array in new), each.address]
            for each, new in zip(members, made, strict=True)
        ]
        sizes = [rule.cells.parameters[each.position].size for each in members]
        way.apart.run(table_of(sizes, way.stored[-1], backend), addresses_of(addresses), rows)
    else:
        way.apart.run_by_blocks(
            [[backend.flat_view(array) for array in (*each.arrays, *new, each.gradient)]
             for each, new in zip(members, made, strict=True)], rows,
        )  # fmt: skip
    for each, new in zip(members, made, strict=True):
        for target, array in zip(way.targets, new, strict=True):
            rule.cells.grouped[each.position][target].sink.assign(array)


def _address(array: Any, backend: Backend) -> int:
    dtype, shape = backend.dtype_name(array), backend.shape(array)
    address = backend.address(array, dtype, shape, backend.order(array), write=True)
    assert address is not None
    return int(address)
