"""The core optimizer of parameter groups, whose slots are the tensors in the torch optimizer's state."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import is_fake

from ...backends import Variable
from ...optimizers.core.optimizer import Optimizer
from ...optimizers.core.prepared import Alone, Beside, Prepared
from ..pairing import Numbers, Pairing
from . import on_tensors
from .entries import Entries, State
from .groups import Groups
from .linking import Linker
from .number_tensors import NumberTensors, merged
from .on_tensors import Inputs, inputs_of
from .positions import Positions, whole
from .values import Values

_dtype_of = operator.attrgetter("dtype")


class Engine:
    """Runs the steps of a group, or of several. It lasts until their parameters, their state or needed slots change.

    Args:
        groups: whose steps they are.
        state: of the optimizer. What is missing in it is made.
        positions: which of the parameters take part.
        before: for each group its values when its state was last used. What has been switched on since may begin.

    Attributes:
        positions: of the parameters that take part.
        entries: what the state has for these.
        values: those of each group.

    Raises:
        KeyError: if state lacks a piece.
        ValueError: if a hyperparameter is not allowed, or state does not fit its parameter.
        AssertionError: if the group is capturable, and a parameter on the CPU.
    """

    def __init__(
        self, groups: Groups, state: State, positions: Sequence[int], before: Sequence[Mapping[str, Any]]
    ) -> None:
        self._row, self._state = groups.row, state
        self.positions, self._starts = Positions(groups.parameters, positions), groups.starts
        own = self.positions
        if groups.flag("capturable") and any(parameter.device.type == "cpu" for parameter in own.parameters):
            raise AssertionError(
                "If capturable=True, params and state_steps must be on supported devices, and a parameter is on the CPU"
            )
        linker = Linker(groups, state, own.own, before)
        self._rule, numbers = linker.link()
        self._take_stock(linker, numbers)
        if any(rule.learning_rate_schedule is not None for rule in self._rule.all_optimizers()):
            self._pairing.read()
        self.values = groups.values(self._rule)
        self._follow(groups)

    def _follow(self, groups: Groups) -> bool:
        """Take over what has changed in all groups. False if it needs slots that were not made."""
        return all(map(Values.follow, self.values, groups.groups))

    def _take_stock(self, linker: Linker, numbers: Sequence[Numbers[NumberTensors]]) -> None:
        """Remember what was linked, to see whether it still is what it was."""
        self.entries = Entries(linker.parameters, linker.entries, linker.keys())
        self._complex: list[torch.Tensor] = []
        self._numbers_unknown = False
        self._pairing: Pairing[NumberTensors] = Pairing(numbers, self.entries.contents())
        self._note(linker.parameters, self._pairing.objects, numbers)

    def _note(
        self, parameters: Sequence[torch.Tensor], tensors: Sequence[Any], numbers: Sequence[Numbers[NumberTensors]]
    ) -> None:
        """Remember what belongs to parameters that were linked, behind what is remembered."""
        self._cells = self._rule.cells.parameters
        self.positions.forget_cells()
        # Stand-ins for tensors, such as those of FakeTensorMode, have no values.
        for each in numbers:
            own = each.containers.tensors
            if set(map(type, own)) != {torch.Tensor} and any(map(is_fake, own)):
                self._numbers_unknown = True
        # Of these the core has views, which stay where they are when a tensor is given other memory.
        if any([dtype.is_complex for dtype in set(map(_dtype_of, parameters))]):
            self._complex += [tensor for tensor in (*parameters, *tensors) if _is_complex(tensor)]
        self._addresses = [tensor.data_ptr() for tensor in self._complex]

    # ---------------------------------------------------------------- other state, further parameters

    def relink(
        self, groups: Groups, state: State, begun: Sequence[int], before: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Go on with other tensors as the state of the same parameters; whether this could be done.

        Args:
            groups: as they are now.
            state: of the optimizer, as it is now.
            begun: which of the parameters have a state.
            before: for each group its values when this was last used.

        Raises:
            As for a new engine.
        """
        own = self.positions
        if self._is_like_no_other(groups) or not self.is_of(groups) or list(begun) != own.own:
            return False
        if not self._row.builds_on_shapes or not groups.groups[0].keys() >= set(self.values[0].keys):
            # The latter of a flag that the group has no more.
            return False
        if any([not _is_as_built(cell) for cell in self._cells]):
            # The core that is known is for parameters of other shapes.
            return False
        self._state = state
        dtypes = self._dtypes()
        linker = Linker(groups, state, own.own, before, self._rule)
        numbers = linker.link()[1]
        if self._dtypes() != dtypes:
            self._rule.forget_plan()
        self._take_stock(linker, numbers)
        # The core has other lists now.
        self._note_change()
        return self._follow(groups)

    def _is_like_no_other(self, groups: Groups) -> bool:
        """Whether steps of the groups are such as go on with nothing but what they began with."""
        flags = groups.flag("capturable") or groups.flag("differentiable") or self.positions.repeated
        return flags or any([values.shown is not None for values in self.values])

    def _note_change(self) -> None:
        for values in self.values:
            values.changed = True

    def _dtypes(self) -> list[str]:
        return [cell.dtype_name for cells in self._rule.cells.grouped for cell in cells]

    def grow(self, groups: Groups, state: State, present: Sequence[int], entries: object) -> bool:
        """Let further parameters of the groups take part; whether this could be done, and all else is what it was.

        Args:
            groups: as they are now.
            state: of the optimizer, as it is now. What is missing in it is made.
            present: which of the parameters have a gradient.
            entries: as in `holds`.

        Raises:
            As for a new engine.
        """
        further = self.positions.further(present)
        parameters = [groups.parameters[position] for position in further]
        unlike = self._is_like_no_other(groups) or self._row.iterations is not None
        if not further or unlike or len(set(map(id, parameters))) < len(further):
            return False
        if any(state.get(parameter) for parameter in parameters):
            # It was used elsewhere.
            return False
        if not self.holds(groups, state, self.positions.everywhere, entries):
            return False
        # All is as it was, but that these have no state yet: a part of its own, which then becomes one of the whole.
        linker = Linker(groups, state, further, groups.groups)
        part, numbers = linker.link()
        insertion = self.positions.insertion(further)
        try:
            both = [merged(one, another, insertion) for one, another in zip(self.numbers, numbers, strict=True)]
            self._rule.take_in(part, insertion)
        except (LookupError, ValueError):
            return False
        self.positions.take_in(insertion)
        tensors = self.entries.take_in(parameters, linker.entries, linker.keys())
        self._pairing = Pairing(both, [*self._pairing.objects, *tensors])
        self._note(parameters, tensors, numbers)
        self._note_change()
        return True

    # ---------------------------------------------------------------- whether it still holds

    def is_of(self, groups: Groups) -> bool:
        """Whether these are groups of the same lengths, with the very parameters that they had."""
        return groups.starts == self._starts and self.positions.are_of(groups.parameters)

    def holds(self, groups: Groups, state: State, present: Sequence[int], entries: object) -> bool:
        """Whether parameters, state and needed slots are what they were; if so, changed hyperparameters are taken over.

        Args:
            groups: as they are now.
            state: of the optimizer, as it is now.
            present: which of the parameters have a gradient.
            entries: another object when the state has got other dictionaries.

        Raises:
            ValueError: if a hyperparameter is not allowed.
        """
        if state is not self._state or not self.is_of(groups) or not self.positions.include(present):
            return False
        self.entries.look(state, entries)
        try:
            if not self._pairing.holds(self.entries.contents()):
                return False
        except KeyError:
            return False
        if self._complex and [tensor.data_ptr() for tensor in self._complex] != self._addresses:
            return False
        return all(map(Values.hold, self.values, groups.groups))

    def fits(self) -> bool:
        """Whether parameters and slots have the shapes and dtypes that they had when this was made, side by side."""
        return all(
            _is_as_built(cell) and cell.array.device == cells[0].array.device
            for cells in self._rule.cells.grouped
            for cell in cells
        )

    def needs_tensors(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """Whether numbers of this step lie on a device or are differentiated, so that the host cannot read them."""
        return self._numbers_unknown or any(map(Values.in_tensors, self.values, groups))

    # ---------------------------------------------------------------- steps

    def rate_now(self, groups: Groups) -> Any:
        """The rate of a step that follows, which a schedule may give; None if numbers of the step lie in tensors."""
        if self.needs_tensors(groups.groups):
            return None
        if self._rule.rate_follows_steps:
            self._pairing.read()
        return self._rule.rate_at(self._rule.cells.iterations.array, self._rule.cells.rate.array)

    def prepared(
        self, gradients: Sequence[torch.Tensor], present: Sequence[int], groups: Groups, rate: Any
    ) -> tuple[Prepared, Beside] | None:
        """A step, but for what it writes, and what writes the numbers in the state; None if there is nothing to do.

        Args:
            gradients: one for each parameter that has one.
            present: their positions in the groups.
            groups: whose step it is.
            rate: from `rate_now`.
        """
        if self.needs_tensors(groups.groups):
            return Alone(on_tensors.prepared(self._rule, self.inputs(gradients, present))), _nothing_beside
        gradients, places = self.positions.placed(gradients, present, bool(self._complex))
        # All of them, in their order, need not be named.
        some = None if isinstance(places, range) else tuple(places)
        self._pairing.read()
        cells = None if some is None else self.positions.cells_at(some, self._cells)
        step = self._rule.prepared(gradients, cells, rate)
        if step is None:
            return None
        shown = [
            call
            for values, group in zip(self.values, groups.groups, strict=True)
            if values.shown is not None
            for call in values.showing_next(group)
        ]
        return step, lambda numbers: [*self._pairing.writing(numbers, some), *shown]

    @property
    def rule(self) -> Optimizer:
        """The core's optimizer."""
        return self._rule

    @property
    def numbers(self) -> list[Numbers[NumberTensors]]:
        """Those that stand in the state."""
        return self._pairing.numbers

    def is_plain(self, groups: Groups, present: Sequence[int]) -> bool:
        """Whether a step is one of the core on the gradients as they are, and changes nothing in the groups."""
        return (
            present == self.positions.everywhere
            and all([values.shown is None for values in self.values])
            and not (self.positions.repeated or self._complex)
            and not self.needs_tensors(groups.groups)
        )

    def inputs(self, gradients: Sequence[torch.Tensor], present: Sequence[int], compiling: bool = False) -> Inputs:
        """What a step on tensors reads and writes.

        Args:
            gradients: one for each parameter that has one.
            present: their positions in the groups.
            compiling: whether a number that differs in the next step means to be compiled again.
        """
        aligned: list[Any] = [None] * len(self._cells)
        gradients, places = self.positions.placed(whole(gradients), present, bool(self._complex))
        for place, gradient in zip(places, gradients, strict=True):
            aligned[place] = gradient
        counts_calls = self._row.iterations is not None
        return inputs_of(self._rule, self.numbers, self.positions.parameters, aligned, counts_calls, compiling)

    def run(self, inputs: Inputs) -> None:
        """Make the step. `torch.compile` follows."""
        on_tensors.run(self._rule, inputs)


def _nothing_beside(numbers: dict[int, Any]) -> list[functools.partial[Any]]:
    return []


def _is_as_built(cell: Variable) -> bool:
    """Whether an array has the shape and the dtype that its cell was made for."""
    backend, array = cell.backend, cell.array
    return backend.shape(array) == cell.shape and backend.dtype_name(array) == cell.dtype_name


def _is_complex(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()
