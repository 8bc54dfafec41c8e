"""The imperative path: `apply` changes the parameters the optimizer was given, in place."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...backends import (
    HOST,
    Disagreement,
    Rows,
    Scope,
    Variable,
    compiler_graph,
    describe,
    leaves_scopes,
    value_of,
)
from ...backends.interruptions import Undisturbed
from .checks import (
    as_list,
    check_gradient,
    check_held,
    check_not_exchanged,
    check_rows,
    check_some_gradient,
)
from .naming import by_name, named
from .prepared import InCalls, InScope
from .updating import UpdateRule


class ImperativeOptimizer(UpdateRule):
    """Applies gradients in place and keeps the state in itself. The base of `Optimizer`."""

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> int | None:
        """One step from pairs of a gradient and its parameter.

        Args:
            grads_and_vars: such as `zip(grads, variables)`.

        Returns:
            As `apply`.

        Raises:
            As `apply`.
        """
        pairs = as_list(grads_and_vars, "pairs of a gradient and its variable")
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            other = next(pair for pair in pairs if not (isinstance(pair, (tuple, list)) and len(pair) == 2))
            raise TypeError(
                f"Expected pairs of a gradient and its variable, received {describe(other)} in the place of one: give "
                "zip(gradients, variables), or [(gradient, variable)]."
            )
        return self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> int | None:
        """One step: change the parameters by their gradients.

        The first call builds the optimizer for the parameters given. Everything is checked before anything is written.

        Args:
            grads: one gradient for each parameter, of the parameter's library and shape; None to leave it out. Where
                parameters have names, also a dictionary by these.
            trainable_variables: NumPy arrays, torch tensors or `Variable`s, in the order of the gradients. They may be
                a part of those the optimizer was built for; and with names, as `build` takes them. Default: all of
                those, in their order.

        Inside of `torch.compile` the step is one operator of the compiled code, which neither a step nor a rate
        compiles again; the optimizer must be built before.

        Returns:
            The number of calls made so far; None inside of `torch.compile`, where it is not known. An empty list of
            gradients does nothing.

        Raises:
            TypeError, ValueError: if gradients and parameters do not fit; nothing has changed then.
            RuntimeError: inside of `torch.compile`, if the optimizer is not built.
        """
        graph = compiler_graph()
        if graph is not None:
            self._apply_in_graph(graph, grads, trainable_variables)
            return None
        return self._apply_now(grads, trainable_variables)

    @leaves_scopes
    def _apply_now(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None) -> int:
        step = self._prepared(grads, trainable_variables)
        if step is not None:
            step.make()
        return int(self.cells.iterations.array)

    @leaves_scopes
    def prepared(
        self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None, rate: Any = None
    ) -> InCalls | InScope | None:
        """The first half of `apply`, for front ends: a step that is ready to be made; None if there is nothing to do.

        Args:
            grads, trainable_variables: as of `apply`.
            rate: of the step. Default: the optimizer's.

        Raises:
            As `apply`.
        """
        return self._prepared(grads, trainable_variables, rate)

    def _prepared(
        self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None, rate: Any = None
    ) -> InCalls | InScope | None:
        lane = self.fusion.lane
        step = None if lane is None else lane.prepared(self, grads, trainable_variables, rate)
        return step or self._prepared_otherwise(grads, trainable_variables, rate) or self._prepared_generally(
            grads, trainable_variables, rate
        )  # fmt: skip

    def _prepared_otherwise(self, grads: Any, trainable_variables: Any, rate: Any) -> InCalls | None:
        """A step by another short way than that of the step before, if there is one."""
        another = self.fusion.another(self, grads, trainable_variables)
        step = None if another is None else another[1].prepared(self, grads, trainable_variables, rate)
        if another is not None and step is not None:
            self.fusion.take(*another)
        return step

    def _prepared_generally(
        self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None, rate: Any
    ) -> InCalls | InScope | None:
        """A step that finds out everything about what it was given."""
        gradients, variables, names = self._given(grads, trainable_variables)
        if not gradients:
            return None
        if self.built and names is not None:
            # Names say nothing new: there may be a short way for the parameters alone.
            return self._prepared(gradients, variables, rate)
        cells, positions = self._found(variables, names)
        self._check_chosen_once(self.cells.parameters if self.built else cells)
        if self.takes_rows:
            backend = cells[0].backend
            gradients = [each if each is None else backend.rows(each) or each for each in gradients]
        refusal = self._refusal(gradients, cells, positions)
        if not self.built:
            self.build(variables if names is None else dict(zip(names, variables, strict=True)))
            step = None if refusal is not None else self._prepared_otherwise(gradients, variables, rate)
            if step is not None:
                return step
        return self._in_scope(gradients, positions, rate, refusal)

    def _found(self, variables: list[Any], names: list[str] | None) -> tuple[list[Variable], list[int]]:
        """The cells of parameters, and their positions among those that the optimizer is built for, or will be."""
        if not self.built:
            cells = self._cells_for(variables, names)
            return cells, list(range(len(cells)))
        if self.cells.loaded:
            self._link_if_loaded(variables)
        known = self.cells.index
        positions = [
            known[id(variable)] if id(variable) in known else self.variable_index(variable) for variable in variables
        ]
        return [self.cells.parameters[position] for position in positions], positions

    def _in_scope(
        self, gradients: list[Any], positions: list[int], rate: Any, refusal: _Refusal | None
    ) -> InScope:
        """The step but for what it writes.

        Args:
            gradients: of the step, or None.
            positions: of their parameters.
            rate: of the step. Default: the optimizer's.
            refusal: an error to raise once other processes know of it, or None.
        """
        backend = self.cells.parameters[0].backend
        aligned: list[Any] = [None] * len(self.cells.parameters)
        for position, gradient in zip(positions, gradients, strict=True):
            whole = gradient is not None and type(gradient) is not Rows
            aligned[position] = backend.plain(gradient) if whole else gradient
        pieces: list[Callable[[], None]] = []
        contexts: list[Callable[[], contextlib.AbstractContextManager[Any]]] = [
            functools.partial(self._agreement, aligned, refusal), backend.arithmetic
        ]  # fmt: skip
        with contexts[0](), contexts[1]():
            with Scope((cell, cell.value) for cell in self.cells.step_scalars()) as scope:
                self._run(aligned, rate, pieces.append)
            if refusal is not None:
                raise refusal.error
        given = [position for position in positions if aligned[position] is not None]
        return InScope(scope, pieces, contexts, functools.partial(self._begin_next, given))

    def _begin_next(self, given: list[int]) -> None:
        """Begin the next step with the way that was found for some parameters."""
        lane = self.fusion.lane
        if lane is not None:
            lane.arrange(self, given)
            self.fusion.take(tuple(given), lane)

    def _apply_in_graph(self, graph: Any, grads: Any, trainable_variables: Any) -> None:
        """`apply`, read by torch's compiler: written in what that understands."""
        if not self.built:
            raise RuntimeError(f"Optimizer {self.name!r} is not built: call build(variables) before torch.compile.")
        gradients = [value_of(gradient) for gradient in grads]
        variables = list(self.cells.parameters if trainable_variables is None else trainable_variables)
        if len(variables) != len(gradients):
            raise ValueError(f"Received {len(gradients)} gradients for {len(variables)} variables.")
        positions: list[int] = []
        given: list[Any] = []
        arrays: list[Any] = []
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                position = self._position_in_graph(variable, len(positions))
                positions.append(position)
                given.append(gradient)
                arrays += [cell.array for cell in self.cells.grouped[position]]
        graph.step_in_place(self._handle, given, arrays, positions)

    def _position_in_graph(self, variable: Any, likely: int) -> int:
        order = [likely, *range(likely), *range(likely + 1, len(self.cells.parameters))]
        for position in order:
            cell = self.cells.parameters[position]
            if variable is cell or variable is cell.array:
                return int(position)
        raise ValueError(f"Optimizer {self.name!r} was not built for one of the variables.")

    @leaves_scopes
    def step_on(self, gradients: Sequence[Any], arrays: Sequence[Any], positions: Sequence[int]) -> None:
        """One step as code of torch's compiler makes it.

        Args:
            gradients: of the parameters at some positions.
            arrays: for each of these parameters its array and those of its slots: its own, or copies that the compiled
                code puts back.
            positions: at which the parameters were built.
        """
        cells = [cell for position in positions for cell in self.cells.grouped[position]]
        backend = self.cells.parameters[0].backend
        if all(backend.same_memory(cell.array, array) for cell, array in zip(cells, arrays, strict=True)):
            self.apply(list(gradients), [self.cells.parameters[position] for position in positions])
            return
        aligned: list[Any] = [None] * len(self.cells.parameters)
        for position, gradient in zip(positions, gradients, strict=True):
            aligned[position] = gradient
        place = {id(cell): array for cell, array in zip(cells, arrays, strict=True)}
        held = [(cell, place.get(id(cell), cell.array)) for group in self.cells.grouped for cell in group]
        with backend.arithmetic(), Undisturbed() as guard:
            with Scope([*held, *((cell, cell.value) for cell in self.cells.step_scalars())]) as scope:
                self._run(aligned)
            guard.hold()
            for cell, value in scope.writes():
                if id(cell) in place:
                    backend.write(place[id(cell)], value)
                else:
                    cell.assign(value)

    def _given(
        self, grads: Any, trainable_variables: Any
    ) -> tuple[list[Any], list[Any], list[str] | None]:
        """The gradients and the parameters of a step, in one order, and the names of the parameters if these have some.

        Raises:
            TypeError, ValueError: if they are no such collections, or of different lengths.
        """
        names: list[str] | None = None
        if trainable_variables is not None:
            variables, names = named(trainable_variables, "variables")
        elif self.built:
            variables = list(self.cells.parameters)
        else:
            raise ValueError(
                f"Optimizer {self.name!r} is not built: pass the variables with the gradients, or call "
                "build(variables)."
            )
        if isinstance(grads, Mapping):
            of_cells = names is None and self.built and trainable_variables is None
            known = [cell.name for cell in self.cells.parameters] if of_cells else names
            if known is None:
                raise TypeError(
                    "Gradients were given by name, and parameters without: give the parameters as a dictionary with "
                    "the same names, or the gradients as a list."
                )
            gradients = by_name(grads, known)
        else:
            gradients = as_list(grads, "gradients")
        if gradients and len(variables) != len(gradients):
            raise ValueError(
                f"Received {len(gradients)} gradients for {len(variables)} variables: they must match one to one "
                "(None for a variable without a gradient)."
            )
        return [value_of(gradient) for gradient in gradients], variables, names

    def _refusal(self, gradients: list[Any], cells: list[Variable], positions: list[int]) -> _Refusal | None:
        """Check what a step was given, and raise; where other processes would wait for this one, later.

        Zeros stand in for gradients that are refused, so that the step goes on as far as it does on the others.
        """
        try:
            self._check(gradients, cells, positions)
            return None
        except (TypeError, ValueError) as error:
            spread = [cell.backend.whereabouts(cell.array) is not None for cell in cells]
            if not any(spread):
                raise
            nothing = all(gradient is None for gradient in gradients)
            wrong = spread if nothing else [_is_refused(*each) for each in zip(gradients, cells, strict=True)]
            places = [place for place, refused in enumerate(wrong) if refused]
            if not places:
                # Something else is the matter, with what is held.
                raise
            for place in places:
                gradients[place] = cells[place].backend.full_like(cells[place].array, 0.0)
            return _Refusal(error, positions[places[0]])

    @contextlib.contextmanager
    def _agreement(self, aligned: Sequence[Any], refusal: _Refusal | None) -> Iterator[None]:
        """Where processes hold parameters together, all of them make the step, or none does."""
        cells = self.cells.parameters
        agreement = cells[0].backend.agreement(
            [cell.array for cell in cells],
            [cell.name for cell in cells],
            [position for position, gradient in enumerate(aligned) if gradient is not None],
            None if refusal is None else refusal.position,
        )
        try:
            with agreement or contextlib.nullcontext():
                yield
        except Disagreement as error:
            if refusal is None:
                raise
            # The others were told.
            raise type(refusal.error)(f"{refusal.error} {error}") from refusal.error

    def _check(self, gradients: list[Any], cells: list[Variable], positions: list[int]) -> None:
        if len(set(positions)) != len(positions):
            repeated = next(cell.name for cell, at in zip(cells, positions, strict=True) if positions.count(at) > 1)
            raise ValueError(f"Variable {repeated!r} was given twice in one step: add up its gradients.")
        self._check_held(cells, positions)
        if not self.built:
            check_not_exchanged(gradients, cells)
        for gradient, cell in zip(gradients, cells, strict=True):
            backend = cell.backend
            if type(gradient) is Rows:
                check_rows(gradient, cell.array, backend, cell.shape, cell.name)
                continue
            if gradient is None or (
                backend.fits_plainly(gradient, cell.array) and backend.why_no_values(gradient) is None
            ):
                continue
            check_gradient(gradient, cell.array, backend, cell.shape, cell.name)
            if cell.backend.traced(gradient) or cell.backend.traced(cell.array):
                raise RuntimeError(
                    f"The gradient of {cell.name!r} is being traced: inside a transformation use the optimizer's init "
                    "and step, which return the new values."
                )
        missing = [cell.name for cell, gradient in zip(cells, gradients, strict=True) if gradient is None]
        if missing:
            check_some_gradient(gradients, missing, cells[0].backend)
            warnings.warn(f"Gradients do not exist for variables {missing}: they are left as they are.", stacklevel=8)

    def _check_held(self, cells: Sequence[Variable], positions: Sequence[int]) -> None:
        """Raise if an array that this step reads or writes was given another kind of memory since it was made."""
        if not self.built:
            for cell in cells:
                check_held(cell, f"Parameter {cell.name!r}", cell.array)
            return
        for position in range(len(self.cells.parameters)) if self.use_ema else positions:
            parameter, *slots = self.cells.grouped[position]
            check_held(parameter, f"Parameter {parameter.name!r}", parameter.array)
            for cell in slots:
                check_held(cell, f"Slot {cell.name!r} of parameter {parameter.name!r}", parameter.array)
        for cell in self.cells.shared:
            if cell.backend is not HOST:
                check_held(cell, f"{cell.name!r}, which all parameters share,", self.cells.parameters[0].array)

    # ---------------------------------------------------------------- around training

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`, for a backward pass that would underflow; `apply` divides again."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, variables: Iterable[Any]) -> None:
        """Put the moving averages into the parameters, once training is over. Without `use_ema`, do nothing.

        Args:
            variables: parameters the optimizer was built for, all or some.

        Raises:
            ValueError: if one of them is unknown.
        """
        if not self.use_ema:
            return
        indices = [self.variable_index(variable) for variable in as_list(variables, "variables")]
        for index in indices:
            parameter = self.cells.parameters[index]
            parameter.assign(self.cells.averages[index].value)

class _Refusal(NamedTuple):
    """An error that is raised once other processes know of it, and the position of the parameter that it is about."""

    error: Exception
    position: int


def _is_refused(gradient: Any, cell: Variable) -> bool:
    if gradient is None:
        return False
    try:
        if type(gradient) is Rows:
            check_rows(gradient, cell.array, cell.backend, cell.shape, cell.name)
        else:
            check_gradient(gradient, cell.array, cell.backend, cell.shape, cell.name)
    except (TypeError, ValueError):
        return True
    return False
