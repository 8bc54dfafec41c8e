"""How the cells of an optimizer come to be: parameters, slots, step-wide scalars.

`build` is run once for a set of parameters, on the user's instance (imperative) or on an unbuilt copy whose cells hold
nothing themselves (functional). Rules create their slots there and find them again by `variable_index`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

from ...backends import (
    FLOATING,
    HOST,
    Backend,
    Variable,
    any_scope,
    describe,
    handle_of,
)
from ...backends.mistakes import MissingAttribute, line_of_function, line_of_rule, nearest
from ...backends.wording import SaidWhenRead, listed, number_of
from ...backends.written import build_with_slots
from .cells import Cells, NamedCell
from .checks import check_one_backend, check_parameter
from .configuration import STRUCTURE, as_made, kept, shallow, unbuilt
from .declaring import has_no, settable
from .exclusions import Chosen
from .naming import named, unnamed
from .slots import SlotMaker

_NOT_COPIED = frozenset(("_templates", "fusion", "_handle", "_hashed", "_tree", "_bare_names", "_remembered"))
"""Attributes that hold for one object and not for its copy."""


class CellKeeper(SlotMaker):
    """Keeps the cells of one optimizer. The base of `Optimizer`; see there."""

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
        if not (self._building or any_scope()):
            # Whoever asks is no rule.
            return SaidWhenRead(lambda: has_no(name, kind, settable(kind, self)))
        # Of both other things are true once the error has gone through whoever called the rule.
        line, there = line_of_rule(), list(vars(self))
        return MissingAttribute(
            lambda: f"{line}: {kind.__name__} has no attribute {name!r}: {kind._instead_of_missing(name, there)}"
        )

    @classmethod
    def _instead_of_missing(cls, name: str, there: Sequence[str]) -> str:
        """What a rule is told of an attribute that it asks for and has not made, beside those that are there."""
        build = cls.build
        if build is CellKeeper.build:
            return (
                f"it has no build. A rule makes its slots there: {build_with_slots(name)}."
            )
        near = nearest(name, [each for each in (*there, *dir(cls)) if each[0] != "_"])
        return f"its build ({line_of_function(build)}) has not made it." if near is None else f"did you mean {near!r}?"

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
                    why = f"because {reason}.{_exchanged(reason)}"
                    raise TypeError(f"Parameter {name!r}, {describe(array)}, cannot be updated, {why}")
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
            vars(copy)[name] = unbuilt(value if self._pristine is None else as_made(self, name, value))
        copy._reset_structure()
        copy.cells.rate = Variable.scalar(self.cells.rate.value, "learning_rate")
        copy._arrays, copy._made_with = self._arrays, self._made_with
        return copy

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
            names = listed([cell.name for cell in self.cells.parameters], getattr(variable, "name", ""))
            count = number_of(len(self.cells.parameters), "variables")
            remedy = "Make a new optimizer for another model"
            # Classes of arrays have one, too, which is no shape.
            shape = None if isinstance(variable, type) else tuple(getattr(variable, "shape", ()))
            if any(tuple(cell.shape) == shape for cell in self.cells.parameters):
                remedy += f"; if {self.cells.parameters[0].backend.how_replaced}, call `optimizer.relink(variables)`"
            raise ValueError(
                f"Unknown variable: {called} is not one of the parameters that optimizer {self.name!r} was built for "
                f"({count}: {names}). {remedy}."
            ) from None

    def _get_variable_index(self, variable: Any) -> int:
        """`variable_index` under Keras's name."""
        return self.variable_index(variable)


def _exchanged(reason: str) -> str:
    """The question whether gradients, which often cannot change, were given in the place of parameters."""
    return " Did you exchange the arguments? The order is apply(grads, variables)." if reason.endswith("only") else ""


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
        with kept(self.all_optimizers()) as put_back:
            self._pristine = {name: shallow(value) for name, value in vars(self).items() if name not in STRUCTURE}
            self.cells.named, self.cells.taken = [], {}
            self._building = True
            try:
                self._adopt(variables, cells)
                build(self, cells)
                self._group()
                self._check_slot_names()
            except BaseException:
                put_back()
                raise
        self._building = False
        self.built = True

    return guarded


CellKeeper.build = _guarded(CellKeeper.build)  # type: ignore[method-assign]  # as for every override
