"""How the cells of an optimizer come to be: parameters, slots, step-wide scalars.

`build` is run once for a set of parameters, on the user's instance (imperative) or on an unbuilt copy whose cells hold
nothing themselves (functional). Rules create their slots there and find them again by `variable_index`.
"""

from __future__ import annotations

import copy
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...backends import (
    FLOATING,
    HOST,
    NUMPY,
    Backend,
    Variable,
    backend_of,
    compute_dtype,
    describe,
    handle_of,
    value_of,
    values_of,
)
from ...backends.mistakes import MissingAttribute, line_of_function, line_of_rule, nearest
from ...backends.wording import listed, which_instead
from .cells import Cells, NamedCell
from .checks import check_one_backend, check_parameter
from .configuration import STRUCTURE, has_cells, restore, shallow, snapshot
from .exclusions import Chosen
from .insertion import Insertion
from .naming import named, unnamed
from .rule import Rule

_OF_EACH = ("parameters", "grouped", "numbers", "counts", "steps", "averages", "accumulators")
"""The cells of which there are as many as parameters, or none."""
_NOT_COPIED = frozenset(("_templates", "fusion", "_handle", "_hashed", "_tree", "_bare_names", "_remembered"))
"""Attributes that hold for one object and not for its copy."""


class CellKeeper(Rule):
    """Keeps the cells of one optimizer. The base of `Optimizer`; see there."""

    slot_dtype: Any
    _excluded: Chosen
    _excluded_names: tuple[str, ...]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "build" in vars(cls):
            cls.build = _guarded(cls.build)  # type: ignore[method-assign]  # every override gets the same guard

    def _reset_structure(self) -> None:
        self.cells = Cells()
        self._templates: dict[Any, Any] = {}
        self._handle = handle_of(self)
        self._pristine: dict[str, Any] | None = None
        self.built = False
        self._building = False
        self._off_when_built: set[str] = set()
        self._arrays: dict[str, Any] = {}
        self._hashed = False
        self._tree: Any = None
        self._bare_names: set[str] = set()
        self._remembered: Any = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        return {**state, "cells": self.cells.copied()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state.get("cells"), Cells):
            raise ValueError(
                f"This {type(self).__name__} was pickled by another version of gradwise, which keeps its state in "
                "another way: load it there, and carry it over by get_config, variables and set_weights."
            )
        self._reset_structure()
        vars(self).update(state)
        self.cells.loaded = bool(self.cells.parameters)

    def _forgotten(self, name: str) -> AttributeError:
        """What a class forgot where an attribute is missing."""
        kind = type(self)
        begun = "cells" in vars(self)
        if name[:2] == "__" or (begun and name[0] == "_"):
            return AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
        if not begun:
            return MissingAttribute(
                f"{line_of_function(kind.__init__)} has not called super().__init__(learning_rate, **keywords), which "
                f"every optimizer needs before anything else of {kind.__name__} can be used."
            )
        near = nearest(name, [each for each in (*vars(self), *dir(kind)) if each[0] != "_"])
        remedy = f"did you mean {near!r}?"
        if kind.build is CellKeeper.build:
            remedy = (
                "it has no build. A rule makes its slots there: def build(self, variables): super().build(variables); "
                f"self.{name} = self.add_optimizer_variables(variables, {name!r})."
            )
        elif near is None:
            remedy = f"its build ({line_of_function(kind.build)}) has not made it."
        return MissingAttribute(f"{line_of_rule()}: {kind.__name__} has no attribute {name!r}: {remedy}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy in memory, where identities are kept: it knows the copies of its parameters and no others."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        other.cells.loaded = False
        return other

    def forget_plan(self) -> None:
        """Forget how steps were made with the arrays so far."""

    def _refuse_change(self, name: str) -> None:
        """Raise if the optimizer was hashed and what would change belongs to its value."""
        # What `build` makes does not belong to the value.
        if vars(self).get("_hashed") and not self._building and name not in STRUCTURE:
            raise RuntimeError(
                f"{self.name!r} cannot change its {name} any more, because it was hashed, as static arguments of "
                "jax.jit and keys of dictionaries are: change a copy (copy.copy(optimizer)) instead."
            )

    # ---------------------------------------------------------------- building

    def build(self, variables: Any) -> None:
        """Create the slots for these parameters. Later calls for the same ones, or some of them, do nothing.

        A rule with slots overrides this, calls `super().build(variables)` and creates them.

        Args:
            variables: NumPy arrays, torch tensors or `Variable`s; or these under names, by which errors call them and
                patterns find them: pairs, such as `model.named_parameters()` gives, or a dictionary. Inside an override
                they are always a list of `Variable`s.

        Raises:
            TypeError: if a parameter cannot be updated in place, or parameters of several libraries are mixed.
            ValueError: if a parameter appears twice or has an unsupported dtype; or, in a later call, if it is unknown.
        """

    def _check_known(self, variables: Sequence[Any]) -> None:
        """Raise ValueError if the optimizer was built for others than these."""
        self._link_if_loaded(variables)
        for variable in variables:
            self.variable_index(variable)

    def _link_if_loaded(self, variables: Sequence[Any]) -> None:
        """After loading, take variables that equal the parameters for these, if identity was not kept."""

    def _make_own_slots(self) -> None:
        """Slots of features that every optimizer has, made before the rule's."""

    def _cells_for(self, variables: Sequence[Any], names: Sequence[str] | None = None) -> list[Variable]:
        """The parameters as cells, checked."""
        cells: list[Variable] = []
        backends: list[Backend] = []
        seen: dict[int, int] = {}
        for position, array in enumerate(variables):
            own = unnamed(position) if names is None else names[position]
            name = array.name if isinstance(array, Variable) else own
            backends.append(check_parameter(array, name))
            if not isinstance(array, Variable):
                reason = backends[-1].why_not_variable(array)
                if reason is not None:
                    raise TypeError(f"Parameter {name!r}, {describe(array)}, cannot be updated: {reason}.")
            if id(array) in seen:
                raise ValueError(
                    f"Parameter {position} ({name!r}) is the same object as parameter {seen[id(array)]}: "
                    "give each parameter once."
                )
            seen[id(array)] = position
            cells.append(array if isinstance(array, Variable) else Variable.over(array, name))
        check_one_backend(backends, [cell.name for cell in cells])
        return cells

    def _adopt(self, variables: Sequence[Any], cells: list[Variable]) -> None:
        self.cells.parameters = cells
        self.cells.index = {id(array): position for position, array in enumerate(variables)}
        self.cells.index.update({id(cell): position for position, cell in enumerate(cells)})
        for _, nested in self.nested_optimizers():
            # An optimizer inside another counts the outer one's steps.
            nested.cells.iterations = self.cells.iterations
        self._tell_inside()
        self._make_own_slots()

    def _tell_inside(self) -> None:
        """Let optimizers inside this one know for how many calls it makes an update, and what does not decay."""
        for _, nested in self.nested_optimizers():
            nested.cells.window, nested.cells.exclusions = self.calls_each_update, self._exclusions()
            nested._tell_inside()

    def _exclusions(self) -> list[Sequence[Any]]:
        """What does not decay, here and in what this is inside of: parameters, and expressions for names, in turn."""
        return [self._excluded, self._excluded_names, *self.cells.exclusions]

    @property
    def calls_each_update(self) -> int | None:
        """For how many calls there is an update; None if for each."""
        every = self.gradient_accumulation_steps
        return self.cells.window if every is None else every

    def _group(self) -> None:
        """Sort the cells by parameter, arrays and numbers apart, once they are all made."""
        self.cells.grouped = grouped = [[parameter] for parameter in self.cells.parameters]
        numbers: list[list[Variable]] = [[] for _ in self.cells.parameters]
        self.cells.numbers = numbers
        named_cells = self.named_cells()
        for cell, _, position in named_cells:
            if position is None:
                continue
            if cell.backend is HOST:
                numbers[position].append(cell)
            elif cell.dtype_name in FLOATING:
                # Random keys and flags are for the whole step: within one parameter's all is in the dtype computed in.
                grouped[position].append(cell)
        counts = self._counts_of_each()
        self.cells.counts = counts if any(counts) else []
        self.cells.shared = [named.cell for named in named_cells if named.position is None]

    def take_in(self, other: CellKeeper, insertion: Insertion) -> None:
        """Go on with the parameters of another optimizer too, which was made alike and built for further ones.

        Args:
            other: the optimizer. It is no more to be used.
            insertion: where its parameters come to stand among the own ones.

        Raises:
            LookupError: if there is more to it than a list of cells for each name, as where parameters share something;
                nothing has changed then.
        """
        pairs = list(zip(self.all_optimizers(), other.all_optimizers(), strict=True))
        lists = [each for own, further in pairs for each in _joined_lists(own, further)]
        for keeper, name, cells, more in lists:
            vars(keeper)[name] = insertion.joined(cells, more)
        for own, further in pairs:
            if not insertion.behind:
                own.cells.named = _moved(own.cells.named, insertion.known)
                own.cells.index = {key: insertion.known[at] for key, at in own.cells.index.items()}
            own.cells.named += _moved(further.cells.named, insertion.further)
            own.cells.index |= {key: insertion.further[at] for key, at in further.cells.index.items()}
            own.cells.taken = {}
            for name in _OF_EACH:
                both = getattr(own.cells, name), getattr(further.cells, name)
                setattr(own.cells, name, insertion.joined(*both) if any(both) else [])
            own._templates, own._remembered = {}, None

    def as_tree(self, values: Sequence[Any]) -> Any:
        """Values for all parameters in the tree that `init` was given; a list on the imperative path.

        Args:
            values: one for each parameter, in the order of `build`.
        """
        return list(values) if self._tree is None else self._tree.unflatten(values)

    def step_counters(self) -> set[Variable]:
        """The cells that count steps."""
        return {self.cells.iterations, *(cell for keeper in self.all_optimizers() for cell in keeper.cells.steps)}

    def named_cells(self) -> list[NamedCell]:
        """This optimizer's cells and those of the optimizers inside it, under names that are unique."""
        named_cells = list(self.cells.named)
        for prefix, nested in self.nested_optimizers():
            inside, places = nested.named_cells(), nested.cells.places
            if places is not None:
                inside = [named if named.position is None else named._replace(position=places[named.position])
                          for named in inside]  # fmt: skip
            named_cells += [named._replace(name=f"{prefix}/{named.name}") for named in inside]
        return named_cells

    def _counts_of_each(self) -> list[list[Variable]]:
        """For each parameter the counts of its steps, those of optimizers inside included."""
        counts = [[cell] for cell in self.cells.steps] or [[] for _ in self.cells.parameters]
        for _, nested in self.nested_optimizers():
            places = range(len(counts)) if nested.cells.places is None else nested.cells.places
            for place, cells in zip(places, nested._counts_of_each(), strict=False):  # It need not be built.
                counts[place] += cells
        return counts

    def unbuilt_copy(self) -> Any:
        """An instance with the same configuration and no cells."""
        copy = object.__new__(type(self))
        for name, value in vars(self).items():
            if name in STRUCTURE or (self._pristine is not None and name not in self._pristine):
                continue
            if self._pristine is not None and has_cells(value):
                value = self._pristine[name]
            vars(copy)[name] = _unbuilt(value)
        copy._reset_structure()
        copy.cells.rate = Variable.scalar(self.cells.rate.value, "learning_rate")
        copy._arrays = self._arrays
        return copy

    # ---------------------------------------------------------------- creating slots and scalars

    def _refuse_unless_building(self, name: str) -> None:
        if not self._building:
            raise RuntimeError(
                f"{line_of_rule()}: {name} works inside build(variables) only, once for all parameters: a functional "
                "state must have all slots before the first step."
            )

    def add_variable_from_reference(
        self, reference_variable: Any, name: str = "slot", initializer: Any = "zeros",
        shape: Sequence[int] | None = None,
    ) -> Variable:
        """A slot of a parameter, in the place where the parameter lives.

        Args:
            reference_variable: the parameter.
            name: the slot's name, the same for all parameters; the key in functional state.
            initializer: "zeros", "ones", a number, or an array of the slot's shape. Default "zeros".
            shape: lengths >= 0, where the slot has another shape than the parameter: `variable.shape[:-1]` for a number
                of each row, say. Its axes that are the parameter's are spread over devices as those are. Parameters
                with such slots are updated by whole arrays, not in one pass. Default: the parameter's.

        Returns:
            The slot, stored in float32 for 16-bit parameters, else in the parameter's dtype, unless `slot_dtype` says
            otherwise.

        Raises:
            ValueError: if the initializer has another shape, or `shape` is none.
        """
        self._refuse_unless_building("add_variable_from_reference")
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
        self._refuse_unless_building("add_optimizer_variables")
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
        self._refuse_unless_building("add_array")
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
        self._refuse_unless_building("add_variable")
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
        self._refuse_unless_building("add_scalar")
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
        """Keep cells, for each name a list of them, in the order of the parameters; a name that is taken gets a number.

        Args:
            columns: for each name a cell for each position.
            names: of the cells.
            positions: of their parameters; None for what a whole step shares.
        """
        if not self.cells.taken:
            for named in self.cells.named:
                self.cells.taken.setdefault(named.name, set()).add(named.position)
        called = [self._unused(name, positions) for name in names]
        self.cells.named += _named(
            itertools.chain.from_iterable(zip(*columns, strict=True)),
            itertools.chain.from_iterable(zip(*called, strict=True)),
            [position for position in positions for _ in names],
        )
        return columns

    def _unused(self, name: str, positions: Sequence[int | None]) -> list[str]:
        """For each of some positions the name, or if it is taken there the first number of it that is not."""
        places = self.cells.taken.setdefault(name, set())
        if places.isdisjoint(positions) and len(set(positions)) == len(positions):
            places.update(positions)
            return [name] * len(positions)
        called = []
        for position in positions:
            candidate, number = name, 0
            while position in self.cells.taken.setdefault(candidate, set()):
                number += 1
                candidate = f"{name}_{number}"
            self.cells.taken[candidate].add(position)
            called.append(candidate)
        return called

    # ---------------------------------------------------------------- reading

    @property
    def variables(self) -> list[Variable]:
        """All state: step count, learning rate (unless it is a schedule), then slots in the order of their creation."""
        own = [self.cells.iterations] + ([self.cells.rate] if self._rate_is_state() else [])
        return own + [named.cell for named in self.named_cells()]

    def _rate_is_state(self) -> bool:
        raise NotImplementedError

    def variable_index(self, variable: Any) -> int:
        """The position of a parameter among those that the optimizer was built for.

        Args:
            variable: the parameter: what `build` was given for it, or its cell.

        Raises:
            ValueError: if it is not one of them.
        """
        try:
            return self.cells.index[id(variable)]
        except KeyError:
            called = f"{variable.name!r}" if isinstance(variable, Variable) else describe(variable)
            if not self.cells.parameters:
                raise ValueError(f"Optimizer {self.name!r} is not built: call build(variables) first.") from None
            raise ValueError(
                f"Unknown variable: {called} is not one of the {len(self.cells.parameters)} variables that optimizer "
                f"{self.name!r} was built for; make a new optimizer for new variables, or call relink(variables) if "
                "they are the same ones in other arrays, as after joblib. It was built for "
                f"{listed([cell.name for cell in self.cells.parameters], getattr(variable, 'name', ''))}."
            ) from None

    def _get_variable_index(self, variable: Any) -> int:
        """`variable_index` under Keras's name."""
        return self.variable_index(variable)


def _guarded(build: Callable[..., None]) -> Callable[..., None]:
    """A `build` that is run once, receives cells, and leaves nothing behind if it fails."""

    @functools.wraps(build)
    def guarded(self: CellKeeper, variables: Sequence[Any]) -> None:
        if self._building:
            build(self, variables)
            return
        variables, names = named(variables, "variables")
        if self.built:
            self._check_known(variables)
            return
        cells = self._cells_for(variables, names)
        # Of those inside too: they would pass for built.
        before = [(keeper, snapshot(keeper)) for keeper in self.all_optimizers()]
        self._pristine = {name: shallow(value) for name, value in vars(self).items() if name not in STRUCTURE}
        self.cells.named, self.cells.taken = [], {}
        self._building = True
        try:
            self._adopt(variables, cells)
            build(self, cells)
            self._group()
            self._check_slot_names()
        except BaseException:
            for keeper, attributes in before:
                restore(keeper, attributes)
            raise
        self._building = False
        self.built = True

    return guarded


def _named(cells: Iterable[Variable], names: Iterable[str], positions: Iterable[int | None]) -> list[NamedCell]:
    """Each cell with its name."""
    # Of thousands a call for each takes twice as long.
    return list(map(functools.partial(tuple.__new__, NamedCell), zip(cells, names, positions, strict=True)))


def _moved(named_cells: Sequence[NamedCell], places: Sequence[int]) -> list[NamedCell]:
    """Cells that belong to parameters, which stand in other places now."""
    cells, names, positions = zip(*named_cells, strict=True) if named_cells else ((), (), ())
    return _named(cells, names, map(places.__getitem__, positions))


def _joined_lists(
    own: CellKeeper, further: CellKeeper
) -> list[tuple[CellKeeper, str, list[Variable], list[Variable]]]:
    """The lists of cells that `build` made, each with that of a further optimizer.

    Raises:
        LookupError: if it made something else.
    """
    counts = len(own.cells.parameters), len(further.cells.parameters)
    if own._excluded or own._tree is not None or any(named.position is None for named in further.cells.named):
        raise LookupError("something belongs to no parameter, or to one that was chosen")
    found = []
    for name, value in vars(own).items():
        if name in STRUCTURE or not has_cells(value):
            continue
        more = vars(further).get(name)
        if type(value) is not list or type(more) is not list or (len(value), len(more)) != counts:
            raise LookupError(f"{name} is no list with one cell for each parameter")
        found.append((own, name, value, more))
    return found


CellKeeper.build = _guarded(CellKeeper.build)  # type: ignore[method-assign]  # as for every override


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
    """A slot made of an array."""
    backend = parameter.backend
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


def _unbuilt(value: Any) -> Any:
    """A configuration value for an unbuilt copy: containers copied, optimizers unbuilt."""
    if isinstance(value, CellKeeper):
        return value.unbuilt_copy()
    if type(value) in (list, tuple):
        return type(value)(_unbuilt(item) for item in value)
    return {key: _unbuilt(item) for key, item in value.items()} if type(value) is dict else value
