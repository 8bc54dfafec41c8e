"""Build a core optimizer for parameters of torch so that its cells hold the tensors of the torch optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..backends import HOST, Variable, backend_of
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
        before: the core's attributes with which the state was made. What they did not ask for may begin beside it.
        known: a core that was built for these parameters, to be linked to another state. None is a new one.
    """

    def __init__(
        self,
        make: Callable[[], Optimizer],
        row: Row,
        state: Any,
        parameters: Sequence[torch.Tensor],
        names: Sequence[str],
        capturable: bool,
        before: Mapping[str, Any],
        known: Optimizer | None = None,
    ) -> None:
        self._known = known
        self._make, self._row, self._state, self._names = make, row, state, names
        self._parameters, self._capturable, self._before = parameters, capturable, before
        # Of a view made without gradients torch refuses to say whether it is a leaf, once its base has changed.
        self._views = [real_view(one.detach()) if one.is_complex() else one for one in parameters]
        # What a user's or an older checkpoint's state has as None is missing.
        self._stored = [
            {key: value for key, value in (state.get(parameter) or {}).items() if value is not None}
            for parameter in parameters
        ]
        self._made: list[dict[str, Any]] = [{} for _ in parameters]
        # Others may keep keys of their own there.
        self._begun = [not row.own_keys.isdisjoint(entry) for entry in self._stored]

    def link(self) -> tuple[Optimizer, list[Scalars]]:
        """The built core, and its numbers paired with the state's.

        Raises:
            KeyError: if a parameter that has begun lacks a piece of its state; the state has not changed then.
            TypeError: if a parameter cannot be changed in place; the state has not changed then.
            ValueError: if a stored tensor does not fit its parameter; the state has not changed then.
        """
        if not torch.is_grad_enabled():
            self._refuse_unwritable()
        rule, initial = self._build()
        scalars = self._link_numbers(rule, initial)
        self._link_arrays(rule, initial)
        for parameter, made in zip(self._parameters, self._made, strict=True):
            if made:
                self._state[parameter].update(made)
        return rule, scalars

    def keys(self) -> set[str]:
        """The keys of all that was linked."""
        return {key for made in self._made for key in made}

    # ---------------------------------------------------------------- building

    def _refuse_unwritable(self) -> None:
        """Raise if no step can write to a parameter's memory. What it was computed from, the step itself asks."""
        for parameter, name in zip(self._parameters, self._names, strict=True):
            backend = backend_of(parameter)
            own = parameter if type(parameter) is torch.nn.Parameter else parameter.detach()
            reason = None if backend is None else backend.why_not_variable(own)
            if reason is not None:
                raise TypeError(f"Parameter {name!r} cannot be updated: {reason}.")

    def _build(self) -> tuple[Optimizer, Initial]:
        rule = self._make() if self._known is None else self._known
        everyone = range(len(self._views))
        on_shapes = self._row.builds_on_shapes and any(self._begun)
        if on_shapes and self._known is None:
            try:
                # Slots without memory: most of them are about to be replaced by what is stored.
                self._build_for(rule, [torch.empty_like(view, device="meta") for view in self._views], everyone)
            except (RuntimeError, TypeError, ValueError, NotImplementedError):
                # Tensors that have no meta form.
                on_shapes, rule = False, self._make()
        initial = {} if on_shapes else self._build_for(rule, self._views, everyone)
        self._refuse_lacking(rule)
        if not on_shapes:
            return rule, initial
        for cell, view in zip(rule._parameters, self._views, strict=True):
            cell._array = view
        lacking = sorted({place for _, place in self._missing(rule)})
        fresh = self._build_for(self._make(), [self._views[place] for place in lacking], lacking) if lacking else {}
        return rule, fresh

    def _build_for(self, rule: Optimizer, arrays: Sequence[torch.Tensor], places: Sequence[int]) -> Initial:
        rule.build([Variable.over(array, self._names[place]) for array, place in zip(arrays, places, strict=True)])
        return {
            (record.name, None if record.position is None else places[record.position]): record.cell._array
            for record in rule._all_records()
        }

    def _missing(self, rule: Optimizer) -> list[tuple[str, int]]:
        """The keys that the rule needs and the state has not, each with a parameter that it is missing for."""
        missing, everywhere = [], [] if self._row.iterations is None else [self._row.iterations]
        for record in rule._all_records():
            key = self._row.state_key(record.name)
            if key is not None and record.position is None:
                everywhere.append(key)
            elif key is not None and record.position is not None and key not in self._stored[record.position]:
                missing.append((key, record.position))
        # What a whole step shares is stored with every parameter.
        begun = [place for place, begun in enumerate(self._begun) if begun] or [0]
        shared = [key for key in everywhere if not any(key in entry for entry in self._stored)]
        return missing + [(key, begun[0]) for key in shared]

    def _refuse_lacking(self, rule: Optimizer) -> None:
        """Raise if something is missing beside warm state, as torch does: begun anew, it would make wrong steps."""
        missing = [(key, place) for key, place in self._missing(rule) if self._begun[place]]
        needed = self._row.pieces(self._before) if missing else ()
        for key, place in missing:
            if key in needed:
                kept = ", ".join(map(repr, self._stored[place]))
                raise KeyError(
                    f"The state of parameter {self._names[place]!r} has no {key!r} beside {kept}: set all of its "
                    "pieces, or delete the parameter's state so that it begins anew."
                )

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
            if array is not record.cell._array:
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
                # Not stored: a parameter that has begun has made a step.
                cell._array = int(self._begun[position])
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
        values: dict[int, Any] = {place: stored.get(place, begin[place]) for place in cells}
        new = [place for place in cells if not isinstance(stored.get(place), torch.Tensor)]
        if new:
            count = isinstance(next(iter(cells.values()))._array, int)
            devices = [self._parameters[place].device for place in new] if self._capturable else None
            dtype = torch.float32 if self._capturable else step_dtype() if count else torch.float64
            made = new_scalars([float(values[place]) for place in new], dtype, devices)
            values.update(zip(new, made, strict=True))
        for place, value in values.items():
            self._made[place][key] = value
        return Scalars(list(cells.values()), list(values.values()))
