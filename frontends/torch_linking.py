"""Build a core optimizer for parameters of torch so that its cells hold the tensors of the torch optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..backends import HOST, Variable
from ..optimizers import Optimizer
from .torch_scalars import Scalars, new_scalars
from .torch_table import Row

Initial = dict[tuple[str, "int | None"], Any]
"""What cells hold in the beginning, by their names and the positions of their parameters."""


def real_view(array: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one with one more axis of length 2, in the same memory; a real one as it is."""
    return torch.view_as_real(array) if array.is_complex() else array


def step_dtype() -> torch.dtype:
    """The dtype of torch's step counts."""
    return torch.float64 if torch.get_default_dtype() is torch.float64 else torch.float32


class Linker:
    """Builds a core and pairs its cells with a state, in which it makes what is missing.

    Args:
        make: gives an unbuilt core.
        row: how the state is called.
        state: of the torch optimizer.
        parameters: that the core shall be built for.
        names: of the parameters.
        capturable: whether numbers lie beside the parameters rather than on the CPU.
    """

    def __init__(
        self,
        make: Callable[[], Optimizer],
        row: Row,
        state: Any,
        parameters: Sequence[torch.Tensor],
        names: Sequence[str],
        capturable: bool,
    ) -> None:
        self._make, self._row, self._state, self._names = make, row, state, names
        self._parameters, self._capturable = parameters, capturable
        self._views = [real_view(parameter) for parameter in parameters]
        # What a user's or an older checkpoint's state has as None is missing.
        self._stored = [
            {key: value for key, value in (state.get(parameter) or {}).items() if value is not None}
            for parameter in parameters
        ]
        self._made: list[dict[str, Any]] = [{} for _ in parameters]
        self.nothing_stored = not any(self._stored)

    def link(self) -> tuple[Optimizer, list[Scalars]]:
        """The built core, and its numbers paired with the state's.

        Raises:
            ValueError: if a stored tensor does not fit its parameter; the state has not changed then.
        """
        rule, initial = self._build()
        scalars = self._link_numbers(rule, initial)
        self._link_arrays(rule, initial)
        for parameter, made in zip(self._parameters, self._made, strict=True):
            if made:
                self._state[parameter].update(made)
        return rule, scalars

    # ---------------------------------------------------------------- building

    def _build(self) -> tuple[Optimizer, Initial]:
        rule = self._make()
        everyone = range(len(self._views))
        if self.nothing_stored or not self._row.builds_on_shapes:
            return rule, self._build_for(rule, self._views, everyone)
        try:
            # Slots without memory: most of them are about to be replaced by what is stored.
            self._build_for(rule, [torch.empty_like(view, device="meta") for view in self._views], everyone)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            # Tensors that have no meta form.
            rule = self._make()
            return rule, self._build_for(rule, self._views, everyone)
        for cell, view in zip(rule._parameters, self._views, strict=True):
            cell._array = view
        lacking = self._lacking(rule)
        fresh = self._build_for(self._make(), [self._views[place] for place in lacking], lacking) if lacking else {}
        return rule, fresh

    def _build_for(self, rule: Optimizer, arrays: Sequence[torch.Tensor], places: Sequence[int]) -> Initial:
        rule.build([Variable.over(array, self._names[place]) for array, place in zip(arrays, places, strict=True)])
        return {
            (record.name, None if record.position is None else places[record.position]): record.cell._array
            for record in rule._all_records()
        }

    def _lacking(self, rule: Optimizer) -> list[int]:
        """The parameters for which something has to be made."""
        lacking = set()
        for record in rule._all_records():
            key = self._row.state_key(record.name)
            if key is not None and record.position is None and not any(key in entry for entry in self._stored):
                lacking.add(0)
            elif key is not None and record.position is not None and key not in self._stored[record.position]:
                lacking.add(record.position)
        return sorted(lacking)

    # ---------------------------------------------------------------- slots

    def _link_arrays(self, rule: Optimizer, initial: Initial) -> None:
        for record in rule._all_records():
            key = self._row.state_key(record.name)
            if record.cell.backend is HOST or key is None:
                continue
            # What a whole step shares is one tensor in the state of every parameter.
            places = range(len(self._views)) if record.position is None else (record.position,)
            array = next((self._stored[place][key] for place in places if key in self._stored[place]), None)
            if array is None:
                array = initial[record.name, record.position]
                if record.position is not None and self._parameters[record.position].is_complex():
                    array = torch.view_as_complex(array)
            self._hold(record.cell, real_view(array), key, places[0])
            for place in places:
                self._made[place][key] = array

    def _hold(self, cell: Variable, array: torch.Tensor, key: str, place: int) -> None:
        """Let a slot's cell hold a tensor of the state."""
        name, parameter = self._names[place], self._views[place]
        if tuple(array.shape) != cell.shape:
            raise ValueError(
                f"The state {key!r} of parameter {name!r} has shape {tuple(array.shape)} and needs {cell.shape}: "
                "it belongs to another parameter."
            )
        if array.device != parameter.device:
            raise ValueError(
                f"The state {key!r} of parameter {name!r} lies on {array.device}, the parameter on {parameter.device}: "
                "move it first."
            )
        cell._array = array
        cell._dtype_name = cell.backend.dtype_name(array)

    # ---------------------------------------------------------------- numbers

    def _link_numbers(self, rule: Optimizer, initial: Initial) -> list[Scalars]:
        own: dict[str, dict[int, Variable]] = {}
        shared: dict[str, Variable] = {}
        if self._row.iterations is not None:
            shared[self._row.iterations] = rule._iterations
            initial = {**initial, (self._row.iterations, None): 0}
        for cell, name, position in rule._all_records():
            if cell.backend is not HOST:
                continue
            if position is None:
                shared[name] = cell
            elif self._row.state_key(name) is None:
                # Not stored: a parameter that has state has made a step.
                cell._array = int(bool(self._stored[position]))
            else:
                own.setdefault(name, {})[position] = cell
        own.update({name: dict.fromkeys(range(len(self._views)), cell) for name, cell in shared.items()})
        return [self._paired(name, cells, initial) for name, cells in own.items()]

    def _paired(self, name: str, cells: Mapping[int, Variable], initial: Initial) -> Scalars:
        """One number of each parameter, with its tensors; those that are missing are made."""
        key = self._row.state_key(name)
        assert key is not None
        stored = {place: self._stored[place][key] for place in cells if key in self._stored[place]}
        # What all share goes on for a new parameter; a number of its own begins.
        begin = dict.fromkeys(cells, initial.get((name, None), 0))
        if (name, None) in initial and stored:
            begin = dict.fromkeys(cells, next(iter(stored.values())))
        begin.update({place: initial[name, place] for place in cells if (name, place) in initial})
        values: list[Any] = [stored.get(place, begin[place]) for place in cells]
        keep = {place for place, value in stored.items() if isinstance(value, torch.Tensor)}
        if len(keep) < len(cells):
            count = isinstance(next(iter(cells.values()))._array, int)
            devices = [self._parameters[place].device for place in cells] if self._capturable else None
            dtype = torch.float32 if self._capturable else step_dtype() if count else torch.float64
            made = new_scalars([float(value) for value in values], dtype, devices)
            values = [stored[place] if place in keep else new for place, new in zip(cells, made, strict=True)]
        for place, value in zip(cells, values, strict=True):
            self._made[place][key] = value
        return Scalars(list(cells.values()), values)
