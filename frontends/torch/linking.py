"""Build a core optimizer for parameters of torch so that its cells hold the tensors of the torch optimizer's state."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ...backends import FLOATING, Variable, backend_of, describe
from ...optimizers import Optimizer
from ..pairing import Column, Numbers, columns_of
from .entries import State
from .groups import Groups
from .number_tensors import NumberTensors, are_plain, floats, new_number_tensors

Initial = dict[tuple[str, "int | None"], Any]
"""What cells hold in the beginning, by their names and the positions of their parameters."""

_dtype_of = operator.attrgetter("dtype")
_TRAINABLE = {getattr(torch, name) for name in FLOATING}


class _Kept(NamedTuple):
    """Cells that stand under one key in the state.

    A number that parameters share stands with each of them, an array that they share with one.

    Attributes:
        key: in the state, or None if they are not stored.
        column: the cells.
    """

    key: str | None
    column: Column

    def initial(self, fresh: Initial | None) -> list[Any]:
        """What each cell holds in the beginning: what it was built with, or another core's."""
        name, cells, places, shared = self.column
        if fresh is None:
            return [cell.array for cell in cells]
        return [fresh.get((name, place), 0) for place in ([None] if shared else places)]


def real_view(array: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one with one more axis of length 2, in the same memory; a real one as it is."""
    return torch.view_as_real(array) if array.is_complex() else array


def trainable(parameter: torch.Tensor) -> bool:
    """Whether a parameter's dtype is one that can be optimized. Others ride along as long as they have no gradient."""
    return parameter.dtype in _TRAINABLE or parameter.is_complex()


def all_trainable(parameters: Sequence[torch.Tensor]) -> bool:
    """Whether all are `trainable`."""
    return _TRAINABLE.issuperset(map(_dtype_of, parameters)) or all(map(trainable, parameters))


def step_dtype() -> torch.dtype:
    """The dtype of torch's step counts."""
    return torch.float64 if torch.get_default_dtype() is torch.float64 else torch.float32


def may_be_slot(value: Any, dtype: str) -> bool:
    """Whether it is a tensor that may stand in the place of a slot of a dtype."""
    return isinstance(value, torch.Tensor) and (trainable(value) or dtype not in FLOATING)


def _are_slots(values: Sequence[Any]) -> bool:
    """Whether all are plain tensors that may be slots of any dtype, asked one question after another."""
    return set(map(type, values)) == {torch.Tensor} and _TRAINABLE.issuperset(map(_dtype_of, values))


def may_be_number(value: Any) -> bool:
    """Whether it is one number, of which older checkpoints have Python's."""
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex()
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, (str, bytes))


class Linker:
    """Builds a core and pairs its cells with a state, in which it makes what is missing.

    Args:
        groups: whose core it is.
        state: of the torch optimizer.
        positions: of the parameters in the groups that the core shall be built for.
        before: for each group the values with which its state was made. What they did not ask for may begin beside it.
        known: a core that was built for these parameters, to be linked to another state, if shapes are enough to build
            one. None is a new one.

    Attributes:
        parameters: that the core is built for.
        entries: for each of them what the state has for it, or None.
    """

    def __init__(
        self, groups: Groups, state: State, positions: Sequence[int], before: Sequence[Mapping[str, Any]],
        known: Optimizer | None = None,
    ) -> None:  # fmt: skip
        self._known = known
        self._make, self._groups, self._state, self._positions = groups.maker(), groups, state, positions
        # Whether numbers lie beside the parameters rather than on the CPU.
        self._capturable = groups.flag("capturable")
        self._before, self._row = before, groups.row
        self._names = groups.names_at(positions)
        self._group_of = list(map(groups.number_at, positions))
        self.parameters = [groups.parameters[position] for position in positions]
        # Of a view made without gradients torch refuses to say whether it is a leaf, once its base has changed.
        self._views = [real_view(one.detach()) if one.is_complex() else one for one in self.parameters]
        # What a user's or an older checkpoint's state has as None is missing.
        self.entries: list[Any] = list(map(state.get, self.parameters))
        self._stored = [
            {key: value for key, value in entry.items() if value is not None} if entry else {}
            for entry in self.entries
        ]
        self._made: list[dict[str, Any]] = [{} for _ in positions]
        # Entries that have what another has for all.
        self._dropped: list[tuple[Any, str]] = []
        # Others may keep keys of their own there.
        own_keys = [row.own_keys for row in groups.rows]
        self._begun = [
            not own_keys[number].isdisjoint(entry) if entry else False
            for number, entry in zip(self._group_of, self._stored, strict=True)
        ]
        self._kept: list[_Kept] = []

    def link(self) -> tuple[Optimizer, list[Numbers[NumberTensors]]]:
        """The built core, and its numbers paired with the state's.

        Raises:
            KeyError: if a parameter that has begun lacks a piece of its state; the state has not changed then.
            TypeError: if a parameter cannot be changed in place, or a slot is no tensor or a number none; the state has
                not changed then.
            ValueError: if a stored tensor does not fit its parameter; the state has not changed then.
        """
        if not torch.is_grad_enabled():
            self._refuse_unwritable()
        rule, fresh = self._build()
        numbers = self._link_numbers(rule, fresh)
        self._link_arrays(fresh)
        for place, (entry, made) in enumerate(zip(self.entries, self._made, strict=True)):
            if made and entry is None:
                self._state[self.parameters[place]] = self.entries[place] = made
            elif made:
                entry.update(made)
        for entry, key in self._dropped:
            del entry[key]
        return rule, numbers

    def keys(self) -> list[frozenset[str]]:
        """For each parameter the keys of all that was linked."""
        # Of thousands most are the same.
        known: dict[tuple[str, ...], frozenset[str]] = {}
        return [known.setdefault(tuple(made), frozenset(made)) for made in self._made]

    # ---------------------------------------------------------------- building

    def _refuse_unwritable(self) -> None:
        """Raise if no step can write to a parameter's memory. What it was computed from, the step itself asks."""
        first = backend_of(self.parameters[0]) if self.parameters else None
        if first is not None and first.all_variable(self.parameters):
            return
        for parameter, name in zip(self.parameters, self._names, strict=True):
            backend = backend_of(parameter)
            own = parameter if type(parameter) is torch.nn.Parameter else parameter.detach()
            reason = None if backend is None else backend.why_not_variable(own)
            if reason is not None:
                raise TypeError(f"Parameter {name!r} cannot be updated: {reason}.")

    def _build(self) -> tuple[Optimizer, Initial | None]:
        """The core, and what its cells hold in the beginning if others than they have been built with."""
        # A core that is known holds what was, not what is in the beginning.
        rule = self._known
        if rule is None and self._row.builds_on_shapes and any(self._begun):
            rule = self._built_on_shapes()
        on_shapes = rule is not None
        if rule is None:
            rule = self._build_for(self._views, range(len(self._views)))
        self._kept = list(map(self._kept_of, columns_of(rule)))
        self._refuse_foreign()
        self._refuse_lacking()
        return rule, self._begin_on(rule) if on_shapes else None

    def _built_on_shapes(self) -> Optimizer | None:
        """A core with slots without memory: most of them are about to be replaced by what is stored; or None."""
        try:
            return self._build_for(
                [torch.empty_like(view, device="meta") for view in self._views], range(len(self._views))
            )
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            # Tensors that have no meta form.
            return None

    def _begin_on(self, rule: Optimizer) -> Initial:
        """Let a core have the parameters; what the cells hold in the beginning where nothing is stored."""
        for cell, view in zip(rule.cells.parameters, self._views, strict=True):
            cell.array = view
        lacking = sorted({place for _, place in self._missing()})
        fresh: Initial = {}
        if lacking:
            other = self._build_for([self._views[place] for place in lacking], lacking)
            for cell, name, position in other.named_cells():
                fresh[name, None if position is None else lacking[position]] = cell.array
        return fresh

    def _build_for(self, arrays: Sequence[torch.Tensor], places: Sequence[int]) -> Optimizer:
        rule = self._make([self._positions[place] for place in places])
        rule.build(Variable.all_over(arrays, [self._names[place] for place in places]))
        return rule

    def _kept_of(self, column: Column) -> _Kept:
        """Cells with their key; what one of several rules shares is that of its own parameters."""
        key, group = self._groups.state_key(column.name)
        if column.shared and group is not None:
            own = [place for place, number in enumerate(self._group_of) if number == group]
            column = column._replace(places=own)
        return _Kept(key, column)

    def _missing(self) -> list[tuple[str, int]]:
        """The keys that the rule needs and the state has not, each with a parameter that it is missing for."""
        missing: list[tuple[str, int]] = []
        everywhere = [] if self._row.iterations is None else [(self._row.iterations, self._everyone)]
        for key, column in self._kept:
            if key is not None and column.shared:
                everywhere.append((key, column.places))
            elif key is not None:
                missing += [(key, place) for place in column.places if key not in self._stored[place]]
        for key, places in everywhere:
            if places and not any(key in self._stored[place] for place in places):
                missing.append((key, next((place for place in places if self._begun[place]), places[0])))
        return missing

    @property
    def _everyone(self) -> Sequence[int]:
        return range(len(self.parameters))

    def _refuse_foreign(self) -> None:
        """Raise if what stands in the place of a slot is no tensor of numbers, or in that of a number is none."""
        if not any(self._begun):
            return
        pieces = [(key, column.places, column.on_host, column.cells[0].dtype_name) for key, column in self._kept]
        for key, places, on_host, dtype in [*pieces, (self._row.iterations, range(len(self._stored)), True, "")]:
            values = [] if key is None else [self._stored[place].get(key) for place in places]
            if (are_plain if on_host else _are_slots)(values):
                continue
            for place, value in zip(places, values, strict=False):
                if value is not None and not (may_be_number(value) if on_host else may_be_slot(value, dtype)):
                    needed = "one number" if on_host else "a tensor of floating point" if dtype in FLOATING else dtype
                    raise TypeError(
                        f"The state {key!r} of parameter {self._names[place]!r} is {describe(value)} and must be "
                        f"{needed}: convert it, or delete the parameter's state so that it begins anew."
                    )

    def _refuse_lacking(self) -> None:
        """Raise if something is missing beside warm state, as torch does: begun anew, it would make wrong steps."""
        if not any(self._begun):
            return
        missing = [(key, place) for key, place in self._missing() if self._begun[place]]
        needed = self._groups.pieces(self._before) if missing else []
        arrays = {kept.key for kept in self._kept if kept.column.shared and not kept.column.on_host}
        for key, place in missing:
            if key in needed[self._group_of[place]]:
                if key in arrays:
                    raise KeyError(
                        f"No parameter has {key!r} in its state, which they share and one of them has: set it, or "
                        "clear optimizer.state so that all begin anew."
                    )
                kept = ", ".join(map(repr, self._stored[place]))
                raise KeyError(
                    f"The state of parameter {self._names[place]!r} has no {key!r} beside {kept}: set all of its "
                    "pieces, or delete the parameter's state so that it begins anew."
                )

    # ---------------------------------------------------------------- slots

    def _link_arrays(self, fresh: Initial | None) -> None:
        complex_ones = any([parameter.is_complex() for parameter in self.parameters])
        for kept in self._kept:
            key, (_, cells, places, shared) = kept
            if kept.column.on_host or key is None:
                continue
            if shared:
                self._link_shared(cells[0], kept.initial(fresh)[0], key, places)
                continue
            for cell, place, initial in zip(cells, places, kept.initial(fresh), strict=True):
                array = self._stored[place].get(key)
                if array is None:
                    array = initial
                    # What has another shape has no axis of real and imaginary parts.
                    alike = complex_ones and array.shape == self._views[place].shape
                    if alike and self.parameters[place].is_complex():
                        array = torch.view_as_complex(array)
                if array is not cell.array:
                    self._hold(cell, array, key, place)
                self._made[place][key] = array

    def _link_shared(self, cell: Variable, initial: Any, key: str, places: Sequence[int]) -> None:
        """Let the cell of an array that parameters share hold that which one of them has in its state.

        That goes with the parameter everywhere that torch takes it: into files, shards and other models. Older releases
        stored it with each of them.
        """
        if not places:
            return
        having = [place for place in places if key in self._stored[place]] or [places[0]]
        array = self._stored[having[0]].get(key, initial)
        self._hold(cell, array, key, having[0])
        self._made[having[0]][key] = array
        self._dropped += [(self.entries[place], key) for place in having[1:]]

    def _hold(self, cell: Variable, array: torch.Tensor, key: str, place: int) -> None:
        """Let a slot's cell hold a tensor of the state."""
        array = real_view(array)
        if array is cell.array:
            return
        name, parameter = self._names[place], self._views[place]
        if array.shape != cell.shape:
            raise ValueError(
                f"The state {key!r} of parameter {name!r} has shape {tuple(array.shape)} and needs {cell.shape}: "
                "it belongs to another parameter; delete the parameter's state so that it begins anew."
            )
        if array.device != parameter.device:
            raise ValueError(
                f"The state {key!r} of parameter {name!r} lies on {array.device}, the parameter on {parameter.device}: "
                "move it first."
            )
        cell.take_over(array)

    # ---------------------------------------------------------------- numbers

    def _link_numbers(self, rule: Optimizer, fresh: Initial | None) -> list[Numbers[NumberTensors]]:
        numbers = [kept for kept in self._kept if kept.column.on_host]
        shared = [kept for kept in numbers if kept.column.shared]
        if self._row.iterations is not None:
            key = self._row.iterations
            shared.insert(0, _Kept(key, Column(key, [rule.cells.iterations], self._everyone, True)))
        taken = {kept.column.name for kept in shared}
        own = [kept for kept in numbers if kept.column.name not in taken]
        self._begin_unstored([kept.column for kept in own if kept.key is None])
        stored = [kept for kept in (*own, *shared) if kept.key is not None and kept.column.places]
        return [self._paired(kept, fresh) for kept in stored]

    def _begin_unstored(self, columns: Sequence[Column]) -> None:
        """Let counts that are not stored begin: a parameter that has begun has made a step."""
        for column in columns:
            for cell, place in zip(column.cells, column.places, strict=True):
                cell.array = int(self._begun[place])

    def _paired(self, kept: _Kept, fresh: Initial | None) -> Numbers[NumberTensors]:
        """One number of each parameter, with its tensors; those that are missing are made."""
        key, (_, cells, places, shared) = kept
        assert key is not None
        values: list[Any] = [self._stored[place].get(key) for place in places]
        new = [number for number, value in enumerate(values) if not isinstance(value, torch.Tensor)]
        if new:
            made = self._made_for(kept, new, values, fresh)
            for number, value in zip(new, made, strict=True):
                values[number] = value
        for place, value in zip(places, values, strict=True):
            self._made[place][key] = value
        own = None if len(places) == len(self.parameters) else places
        return Numbers(cells * len(places) if shared else cells, NumberTensors(values), places=own)

    def _made_for(
        self, kept: _Kept, new: Sequence[int], values: Sequence[Any], fresh: Initial | None
    ) -> list[torch.Tensor]:
        """New tensors in the places of some values, of which each is a number that is stored as such or None."""
        begin = kept.initial(fresh)
        if kept.column.shared:
            # What all share goes on for a new parameter; a number of its own begins.
            begin = [next((value for value in values if value is not None), begin[0])] * len(values)
        numbers = floats([begin[number] if values[number] is None else values[number] for number in new])
        if self._capturable:
            devices = [self.parameters[kept.column.places[number]].device for number in new]
            return new_number_tensors(numbers, torch.float32, devices)
        counts = isinstance(kept.column.cells[0].array, int)
        return new_number_tensors(numbers, step_dtype() if counts else torch.float64, None)
