"""A core optimizer whose state lies in Keras Variables."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import keras

from ...backends import HOST, BuildScope, StepScope, Variable, commit, ops
from ...backends.interruptions import Undisturbed
from ...optimizers import Optimizer
from ...optimizers.core.cells import NamedCell
from ...optimizers.core.prepared import make
from ..pairing import Numbers, Pairing, columns_of, same
from .internals import LentScope, get_stateless_scope, held_in_scope
from .schedules import plain

Make = Callable[[NamedCell, Any, "keras.Variable | None"], keras.Variable]
"""Makes a Keras Variable for a cell of the core, with a first value and the model's Variable that it belongs to."""


_item = operator.methodcaller("item")


class NumberVariables:
    """Containers of numbers: Keras Variables on torch (see `frontends.pairing`).

    Args:
        variables: of one number each.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = list(variables)

    def held(self) -> list[Any]:
        """See `Containers`."""
        return [variable.value.item() for variable in self._variables]

    def writing(self, values: Sequence[Any], places: Sequence[int] | None) -> tuple[list[partial[Any]], Iterable[Any]]:
        """See `Containers`."""
        tensors = [variable.value for variable in self._variables]
        calls = [partial(tensor.fill_, value) for tensor, value in zip(tensors, values, strict=True)]
        # As they can hold that; read when they do.
        return calls, map(list, (map(_item, tensors),))


class Link:
    """A built core paired with Keras Variables, and the two ways to make its steps.

    Args:
        core: an unbuilt core optimizer.
        variables: the model's Variables that it shall be built for.
        make: gives a Keras Variable for each cell of its state.
        iterations: the Keras Variable that counts the calls.

    Attributes:
        core, variables: as given.
        made: the Keras Variable of each cell.
    """

    def __init__(
        self, core: Optimizer, variables: Sequence[keras.Variable], make: Make, iterations: keras.Variable
    ) -> None:
        self.core, self._iterations = core, iterations
        self.variables = list(variables)
        self._constraints = [variable.constraint for variable in variables]
        self.made = self._made(make)
        columns = columns_of(core)
        numbers = [([core.cells.iterations], [iterations])]
        numbers += [(each.cells, [self.made[cell] for cell in each.cells]) for each in columns if each.on_host]
        self._pairing = Pairing([Numbers(cells, NumberVariables(own)) for cells, own in numbers], [])
        slots = [cell for each in columns if not each.on_host for cell in each.cells]
        self._arrays = [*core.cells.parameters, *slots]
        self._owners = [*self.variables, *(self.made[cell] for cell in slots)]
        self._places = {id(variable): position for position, variable in enumerate(self.variables)}
        self._seen: list[Any] | None = None

    def _made(self, make: Make) -> dict[Variable, keras.Variable]:
        """Build the core; the Keras Variable of each cell."""
        values = [variable.value for variable in self.variables]
        pairs = list(zip(values, self.variables, strict=True))
        cells = [Variable.placeholder(value, variable.path) for value, variable in pairs]
        for cell, constraint in zip(cells, self._constraints, strict=True):
            cell.constraint = constraint
        made: dict[Variable, keras.Variable] = {}
        # The core's cells hold nothing themselves: the Keras Variables own all arrays.
        with BuildScope(zip(cells, values, strict=True)) as scope:
            self.core.build(cells)
        for named in self.core.named_cells():
            initial = scope.get(named.cell)
            reference = None if named.position is None else self.variables[named.position]
            made[named.cell] = make(named, initial, reference)
            if named.cell.backend is HOST:
                named.cell.array = initial
        return made

    # ---------------------------------------------------------------- a rule that a subclass overrides

    @contextlib.contextmanager
    def obeying(self, update_step: Callable[[Any, keras.Variable, Any], None]) -> Iterator[None]:
        """A context in which the core calls this in place of its own rule.

        It reads and writes Keras Variables, which in the meantime hold what the core's cells hold. What else it looks
        at nobody can tell, so it is called in every step, and for each variable.
        """
        attributes = vars(self.core)
        before = attributes["jit_compile"]

        def called(gradient: Any, cell: Variable, rate: Any) -> None:
            position = self.core.variable_index(cell)
            pairs = self._pairs_at(position)
            with LentScope((variable, cell.value) for cell, variable in pairs) as scope:
                self._seen = [scope.get_current_value(variable) for _, variable in pairs]
                try:
                    update_step(gradient, self.variables[position], rate)
                    self._take_over(pairs, scope)
                finally:
                    self._seen = None
            for variable, value in scope.others.values():
                # A subclass may have variables of its own.
                variable.assign(value)

        attributes["jit_compile"], attributes["update_step"] = False, called
        try:
            yield
        finally:
            attributes["jit_compile"] = before
            del attributes["update_step"]

    def update_one(self, gradient: Any, variable: keras.Variable, rate: Any) -> None:
        """The core's own rule for one variable: inside of a step for a subclass that overrides it, or by itself."""
        core, position = self.core, self._places[id(variable)]
        pairs, rule = self._pairs_at(position), type(core).update_step
        if self._seen is not None:
            scope = get_stateless_scope()
            self._take_over(pairs, scope)
            rule(core, gradient, core.cells.parameters[position], rate)
            for number, (cell, own) in enumerate(pairs):
                scope.add_update((own, cell.value))
                self._seen[number] = cell.value
            return
        values = [(cell, plain(own)) for cell, own in pairs]
        values += [(cell, plain(own)) for cell, own in self.made.items() if cell.backend is HOST]
        values.append((core.cells.iterations, plain(self._iterations)))
        with contextlib.ExitStack() as stack:
            stack.enter_context(core.cells.parameters[position].backend.arithmetic())
            scope_of_step = stack.enter_context(
                StepScope((cell, ops.convert_to_number(value) if cell.backend is HOST else value)
                          for cell, value in values)
            )  # fmt: skip
            with core.parameter_scope(position) as scope_of_one:
                wide = core.cells.parameters[position].value.dtype
                rule(core, ops.cast(gradient, wide), core.cells.parameters[position], ops.convert_to_number(rate))
            commit(scope_of_one)
            changed = [(own, scope_of_step.get(cell)) for cell, own in pairs]
        for own, value in changed:
            own.assign(value)

    def _pairs_at(self, position: int) -> list[tuple[Variable, keras.Variable]]:
        """A variable and its slots: cells, and the Keras Variables of these."""
        parameter, *slots = self.core.cells.grouped[position]
        return [(parameter, self.variables[position]), *((cell, self.made[cell]) for cell in slots)]

    def _take_over(self, pairs: Sequence[tuple[Variable, keras.Variable]], scope: Any) -> None:
        """Give cells what a subclass wrote to their Keras Variables."""
        assert self._seen is not None
        for number, (cell, variable) in enumerate(pairs):
            value = scope.get_current_value(variable)
            if value is not self._seen[number]:
                cell.assign(value)
                self._seen[number] = value

    # ---------------------------------------------------------------- steps in place

    def step_in_place(self, gradients: Sequence[Any], positions: Sequence[int] | None, rate: Any) -> None:
        """One step on tensors that change in place.

        Args:
            gradients: one for each position.
            positions: of the variables in the order of the gradients. None is all, in their order.
            rate: the Keras Variable of the rate, or None if the core has a schedule.
        """
        core = self.core
        self._follow_constraints()
        held = [variable._value for variable in self._owners]
        if not self._pairing.holds(held):
            held = [variable.value for variable in self._owners]
            for cell, tensor in zip(self._arrays, held, strict=True):
                cell.array = tensor
            self._pairing.objects = held
        self._pairing.read()
        if rate is not None:
            # Which no step writes.
            core.cells.rate.array = rate.value.item()
        step = core.prepared(gradients, None if positions is None else [core.cells.parameters[at] for at in positions])
        if step is not None:
            make([step], [self._pairing.writing])

    def _follow_constraints(self) -> None:
        """Let the core's cells have the constraints that the Keras Variables have now."""
        now = [variable.constraint for variable in self.variables]
        if not same(now, self._constraints):
            for cell, constraint in zip(self.core.cells.parameters, now, strict=True):
                cell.constraint = constraint
            self._constraints = now

    # ---------------------------------------------------------------- pure steps

    def step_on_values(self, gradients: Sequence[Any], positions: Sequence[int] | None, rate: Any) -> None:
        """One step on what the Keras Variables hold now, traced values included; they are given new ones.

        Args:
            gradients, positions, rate: as in `step_in_place`.
        """
        self._follow_constraints()
        aligned = self._aligned(gradients, positions)
        own = [self._iterations, *([] if rate is None else [rate])]
        state = [*own, *(self.made[named.cell] for named in self.core.named_cells())]
        values = [self._value_at(position) for position in range(len(self.variables))]
        changed, after = self.core.stateless_apply([plain(variable) for variable in state], aligned, values)
        pairs = [
            (variable, value)
            for variable, gradient, value in zip(self.variables, aligned, changed, strict=True)
            if gradient is not None or (self.core.use_ema and held_in_scope(variable))
        ]
        pairs += [(variable, value) for variable, value in zip(state, after, strict=True) if variable is not rate]
        given: set[int] = set()
        changes = []
        for variable, value in pairs:
            # JAX takes an array away from all that share it.
            changes.append((variable, keras.ops.copy(value) if id(value) in given else value))
            given.add(id(value))
        with Undisturbed() as guard:
            guard.hold()
            for variable, value in changes:
                variable.assign(value)

    def _aligned(self, gradients: Sequence[Any], positions: Sequence[int] | None) -> list[Any]:
        """For each variable its gradient, or None."""
        aligned: list[Any] = [None] * len(self.variables)
        for position, gradient in zip(positions or range(len(gradients)), gradients, strict=True):
            if aligned[position] is not None:
                path = self.variables[position].path
                raise ValueError(f"Variable {path!r} was given twice in one step: add up its gradients.")
            # It may be a NumPy array or, on JAX, a sparse one.
            aligned[position] = keras.ops.convert_to_tensor(gradient, sparse=False)
        return aligned

    def _value_at(self, position: int) -> Any:
        """The value of a variable, or what stands for it where a layer is frozen and its values are not given."""
        variable = self.variables[position]
        if held_in_scope(variable):
            return plain(variable)
        if self.core.use_ema:
            # So that the average stays as it is.
            return keras.ops.cast(plain(self.made[self.core.cells.averages[position]]), variable.dtype)
        return keras.ops.zeros(variable.shape, variable.dtype)
