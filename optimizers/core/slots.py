"""How a rule makes its slots, and numbers beside them, inside of `build`."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...backends import (
    HOST,
    NUMPY,
    Variable,
    backend_of,
    compute_dtype,
    describe,
    value_of,
    values_of,
)
from ...backends.mistakes import WrongValue, called_by_rule, line_of_rule
from ...backends.wording import which_instead
from ...backends.written import instead_in_build
from .cells import NamedCell
from .own_rules.reserved_names import check_slot
from .rule import Rule


class SlotMaker(Rule):
    """Makes slots for the parameters that an optimizer is being built for. A base of `Optimizer`; see there."""

    slot_dtype: Any
    _building: bool

    def _check_made(self, by: str, name: str | Sequence[str], for_rule: bool) -> None:
        """Raise unless a cell may be made now, under that name."""
        for each in ([name] if isinstance(name, str) else name) if for_rule else ():
            check_slot(each)
        if not self._building:
            raise RuntimeError(
                f"{line_of_rule()}: {by} works inside build(variables) only, because state is made before the first "
                f"step. Write {instead_in_build(by, name)} there."
            )

    def add_variable_from_reference(
        self, reference_variable: Any, name: str = "slot", initializer: Any = "zeros",
        shape: Sequence[int] | None = None,
    ) -> Variable:
        """A slot of a parameter, in the place where the parameter lives.

        Args:
            reference_variable: the parameter.
            name: the slot's name, the same for all parameters; the key in functional state.
            initializer: "zeros", "ones", a number, or an array of the slot's shape, of the parameter's library or of
                NumPy's. Default "zeros".
            shape: lengths >= 0, where the slot has another shape than the parameter: `variable.shape[:-1]` for a number
                of each row, say. Its axes that are the parameter's are spread over devices as those are. Parameters
                with such slots are updated by whole arrays, not in one pass. Default: the parameter's.

        Returns:
            The slot, stored in float32 for 16-bit parameters, else in the parameter's dtype, unless `slot_dtype` says
            otherwise.

        Raises:
            ValueError: if the initializer has another shape, or `shape` is none.
        """
        self._check_made("add_variable_from_reference", name, called_by_rule())
        index = self.variable_index(reference_variable)
        lengths = self.cells.parameters[index].shape if shape is None else _checked_shape(shape, name)
        if lengths == self.cells.parameters[index].shape:
            return self._slots([index], [name], [initializer])[0][0]
        return self._recorded_one(self._made_of_shape(index, lengths, name, initializer), name, index)

    def _made_of_shape(self, index: int, shape: tuple[int, ...], name: str, initializer: Any) -> Variable:
        """A slot of another shape than its parameter."""
        parameter, fill = self.cells.parameters[index], _constant(initializer)
        dtype = self._stored_dtype(name) or compute_dtype(parameter.dtype_name)
        called = f"{parameter.name.replace('/', '_')}_{name}"
        backend, initial = parameter.backend, value_of(initializer)
        given = backend.shape(initial) if fill is None and backend_of(initial) is backend else None
        if fill is None and backend_of(initial) is NUMPY and NUMPY.shape(initial) == shape and backend is not NUMPY:
            return Variable.owning(backend.from_numpy(initial, dtype, parameter.value), called)
        if fill is None and given == shape:
            array = backend.cast(backend.copy(initial), dtype)
            return Variable.owning(backend.beside(array, parameter.value), called)
        if fill is None and given != ():
            raise ValueError(
                f"Slot {name!r} of {parameter.name!r} takes a {backend.name} array of shape {shape}, "
                f"received {describe(initial)}."
            )
        # An array of no shape is a number that is being traced.
        value = initial if fill is None else fill
        if fill == 0.0:
            self.cells.from_zero.add(name)
        return Variable.full_beside(parameter, parameter.value, shape, value, dtype, called)

    def _slots(self, indices: Sequence[int], names: Sequence[str], initializers: Sequence[Any]) -> list[list[Variable]]:
        """Slots of some parameters, for each name a list of them."""
        parameters = [self.cells.parameters[index] for index in indices]
        references = values_of(parameters)
        slots = [
            self._made(parameters, references, name, initializer)
            for name, initializer in zip(names, initializers, strict=True)
        ]
        return self._recorded(slots, names, indices)

    def _made(
        self, parameters: Sequence[Variable], references: Sequence[Any], name: str, initializer: Any
    ) -> list[Variable]:
        """Slots filled with a number or made of an array, in a dtype that was asked for or the parameter's own."""
        stored, fill = self._stored_dtype(name), _constant(initializer)
        kinds = [parameter.dtype_name for parameter in parameters]
        dtype_for = {kind: stored or compute_dtype(kind) for kind in set(kinds)}
        dtypes = [dtype_for[kind] for kind in kinds]
        called = [f"{parameter.name.replace('/', '_')}_{name}" for parameter in parameters]
        if fill is not None:
            if fill == 0.0:
                self.cells.from_zero.add(name)
            return Variable.all_full_like(parameters, references, fill, dtypes, called)
        initial = value_of(initializer)
        return [
            _slot_of(initial, parameter, reference, dtype, name, called_so)
            for parameter, reference, dtype, called_so in zip(parameters, references, dtypes, called, strict=True)
        ]

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Any], name: str | Sequence[str], initializer: Any = "zeros"
    ) -> Any:
        """Slots for many parameters at once.

        Args:
            trainable_variables: the parameters.
            name: one name, or several for several slots of each parameter.
            initializer: as in `add_variable_from_reference`, one for all or one for each name.

        Returns:
            A list of slots for one name; for several, a tuple of lists, one for each name.

        Raises:
            ValueError: if the numbers of names and initializers differ.
        """
        self._check_made("add_optimizer_variables", name, called_by_rule())
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, (list, tuple))
        initializers = list(initializer) if several else [initializer] * len(names)
        if len(initializers) != len(names):
            raise ValueError(f"Received {len(names)} slot names {names} and {len(initializers)} initializers.")
        indices = list(map(self.variable_index, trainable_variables))
        slots = self._slots(indices, names, initializers)
        return slots[0] if isinstance(name, str) else tuple(slots)

    def add_array(self, array: Any, name: str, variable: Any = None) -> Variable:
        """A fresh array of the parameters' library as state: one parameter's, of any shape, or the whole optimizer's.

        Args:
            array: any; it is put where the parameter lies, unless it has a place already.
            name: its key in functional state.
            variable: the parameter it belongs to. Default: the whole optimizer shares it.
        """
        self._check_made("add_array", name, called_by_rule())
        position = None if variable is None else self.variable_index(variable)
        owner = variable if variable is not None else next(iter(self.cells.parameters), None)
        if owner is not None:
            array = owner.backend.beside(array, owner.value)
        return self._recorded_one(Variable.owning(array, name), name, position)

    def add_variable(
        self, shape: Sequence[int], initializer: Any = "zeros", dtype: str | None = None, name: str = "variable"
    ) -> Variable:
        """An array that the whole optimizer shares, of any shape, on the parameters' library.

        Args:
            shape: its shape.
            initializer: "zeros", "ones", a number, or an array of that shape. Default "zeros".
            dtype: the name of a dtype. Default: the first parameter's slot dtype.
            name: its key in functional state.

        Raises:
            ValueError: if the initializer is of another library or shape.
        """
        self._check_made("add_variable", name, called_by_rule())
        first = self.cells.parameters[0] if self.cells.parameters else None
        fill, own = _constant(initializer), backend_of(initializer)
        # Without parameters it is of the initializer's library.
        backend = first.backend if first is not None else NUMPY if own in (None, HOST) else own
        kind = dtype or self._stored_dtype(name) or compute_dtype("float32" if first is None else first.dtype_name)
        if fill is not None:
            array = backend.full(tuple(shape), fill, kind, None if first is None else first.value)
        elif own is backend and backend.shape(initializer) == tuple(shape):
            array = backend.cast(backend.copy(initializer), kind)
        else:
            raise ValueError(
                f'add_variable takes the initializers "zeros", "ones", a number or a {backend.name} array of '
                f"shape {tuple(shape)}, received {describe(initializer)}."
            )
        return self._recorded_one(Variable.owning(array, name), name, None)

    def add_scalar(self, name: str, initial: float, variable: Any = None) -> Variable:
        """A number kept in double precision on the host: the whole step's, or one parameter's.

        `begin_step` is the place to change it.

        Args:
            name: its key in functional state.
            initial: its value before the first step; an int counts.
            variable: the parameter it belongs to. Default: the whole step shares it.
        """
        self._check_made("add_scalar", name, called_by_rule())
        position = None if variable is None else self.variable_index(variable)
        return self._recorded_one(Variable.scalar(initial, name), name, position)

    def _scalars_of_each(self, name: str, initial: float) -> list[Variable]:
        """As `add_scalar`, for each parameter one."""
        cells = Variable.scalars(initial, name, len(self.cells.parameters))
        return self._recorded([cells], [name], range(len(cells)))[0]

    def _check_slot_names(self) -> None:
        """Raise ValueError if a dtype was asked for slots that do not exist."""
        if not isinstance(self.slot_dtype, dict) or not self.cells.parameters:
            return
        names = list(dict.fromkeys(each.name.rpartition("/")[2] for each in self.named_cells()))
        unknown = [name for name in self.slot_dtype if name not in names]
        if unknown:
            raise ValueError(
                f"`slot_dtype` of optimizer {self.name!r} has a dtype for slots {', '.join(map(repr, unknown))}, which "
                f"do not exist.{which_instead(unknown, names, 'Its slots')}"
            )

    def _stored_dtype(self, name: str) -> str | None:
        """The dtype that was asked for slots of a name."""
        chosen: str | None = self.slot_dtype.get(name) if isinstance(self.slot_dtype, dict) else self.slot_dtype
        return chosen

    def _recorded_one(self, cell: Variable, name: str, position: int | None) -> Variable:
        return self._recorded([[cell]], [name], [position])[0][0]

    def _recorded(
        self, columns: list[list[Variable]], names: Sequence[str], positions: Sequence[int | None]
    ) -> list[list[Variable]]:
        """Keep cells, for each name a list of them, in the order of the parameters; what the whole step shares may be
        called like something else that it does, and gets a number.

        Args:
            columns: for each name a cell for each position.
            names: of the cells.
            positions: of their parameters; None for what a whole step shares.

        Raises:
            WrongValue: if a parameter has a slot of the name already.
        """
        if not self.cells.taken:
            for named in self.cells.named:
                self.cells.taken.setdefault(named.name, set()).add(named.position)
        called = [self._free(name, positions) for name in names]
        self.cells.named += with_names(
            itertools.chain.from_iterable(zip(*columns, strict=True)),
            called * len(positions),
            [position for position in positions for _ in names],
        )
        return columns

    def _free(self, name: str, positions: Sequence[int | None]) -> str:
        """The name, if nothing in its places has it; of what the whole step shares otherwise with a number."""
        places = self.cells.taken.setdefault(name, set())
        if places.isdisjoint(positions) and len(set(positions)) == len(positions):
            places.update(positions)
            return name
        twice = _first_again(places, positions)
        if twice is not None:
            raise WrongValue(
                f"{line_of_rule()}: parameter {self.cells.parameters[twice].name!r} has a slot {name!r} already: give "
                "each slot a name of its own, which is its key in states and checkpoints."
            )
        number = _first_where(lambda number: None not in self.cells.taken.get(f"{name}_{number}", ()))
        return self._free(f"{name}_{number}", positions)


def _first_again(places: Iterable[int | None], positions: Sequence[int | None]) -> int | None:
    """The first of some positions that is among these places, or was among the positions before it."""
    known = set(places)
    for position in positions:
        if position in known:
            return position
        known.add(position)
    raise AssertionError("each is there once")


def _first_where(is_free: Callable[[int], bool]) -> int:
    """A number from 1 that is free, where the one before it is not; the first, where those below are taken in turn."""
    below, number = 0, 1
    while not is_free(number):
        below, number = number, 2 * number
    while number - below > 1:
        between = (below + number) // 2
        below, number = (below, between) if is_free(between) else (between, number)
    return number


def with_names(cells: Iterable[Variable], names: Iterable[str], positions: Iterable[int | None]) -> list[NamedCell]:
    """Each cell with its name."""
    # Of thousands a call for each takes twice as long.
    return list(map(functools.partial(tuple.__new__, NamedCell), zip(cells, names, positions, strict=True)))


def _checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    """The shape of a slot as a tuple.

    Raises:
        ValueError: if it is no sequence of lengths.
    """
    try:
        lengths = tuple(map(operator.index, shape))
    except TypeError:
        lengths = (-1,)
    if any(length < 0 for length in lengths):
        raise ValueError(
            f"The shape of slot {name!r} must be a tuple of lengths >= 0, such as variable.shape[:-1], received "
            f"{describe(shape)}."
        )
    return lengths


def _slot_of(initial: Any, parameter: Variable, reference: Any, dtype: str, name: str, called: str) -> Variable:
    """A slot made of an array, which may be NumPy's: a rule is written for all libraries."""
    backend = parameter.backend
    if backend is not NUMPY and backend_of(initial) is NUMPY and NUMPY.shape(initial) == parameter.shape:
        return Variable.owning(backend.from_numpy(initial, dtype, reference), called)
    shape = backend.shape(initial) if backend_of(initial) is backend else None
    if shape == parameter.shape:
        return Variable.owning(backend.cast(backend.copy(initial), dtype), called)
    if shape == ():
        # An array of no shape is a number that is being traced.
        return Variable.full_like(reference, initial, dtype, called)
    raise ValueError(
        f"Slot {name!r} of {parameter.name!r} takes a {backend.name} array of shape {parameter.shape}, "
        f"received {describe(initial)}."
    )


def _constant(initializer: Any) -> float | None:
    """The number an initializer stands for, or None if it is an array."""
    if isinstance(initializer, str):
        if initializer not in ("zeros", "ones"):
            raise ValueError(f'Unknown initializer {initializer!r}: use "zeros", "ones", a number or an array.')
        return 0.0 if initializer == "zeros" else 1.0
    return float(initializer) if backend_of(initializer) is HOST else None
