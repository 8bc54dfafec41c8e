"""What a step does to parameters, on what the cells hold now: the path every way of running an optimizer shares.

For each parameter, in one scope and with one rounding at its end: weight decay, `update_step`, constraint, moving
average. Nothing here knows whether the cells hold the user's arrays, a functional state or tracers. What a step does
besides, and in which order, stands in `step.py`.

A step in place changes all or nothing. What was given is checked before, so the rules of this library do not fail, and
write parameter by parameter: no more than one is held twice. A user's own code may fail for the last parameter: a rule,
a constraint, an array whose class has operators of its own. Where such code takes part, what parameters and slots shall
hold is computed for all of them first and written then, for which memory as large as they are is needed for a moment;
passes over memory, which cannot fail, come after it. From the first write on handlers of signals wait for the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backends import (
    HOST,
    Array,
    Disagreement,
    Scope,
    Variable,
    backend_of,
    commit,
    compute_dtype,
    ops,
    shown,
)
from ...backends.programs.program import Program
from .building import CellKeeper
from .exclusions import Chosen
from .fused.plan import Fusion
from .fused.report import ExecutionReport, NotRecorded
from .gradients import Gradients
from .growing import Growing
from .insertion import Insertion
from .origin import outside_library
from .own_rules.explaining import explained, named_otherwise
from .prepared import Later, Run, at_once
from .relinking import Relinked
from .step import StepMaker, count_after
from .weight_decay import DecaysWeights


class UpdateRule(StepMaker, DecaysWeights, Relinked, Growing):
    """Updates parameters by a rule. The base of `Optimizer`; see there for the meaning of the attributes."""

    takes_rows = False
    """Whether gradients may be sparse. What front ends say, where their framework takes such; the core takes none."""

    fusion: Fusion
    maximize: bool
    clipvalue: float | None
    ema_momentum: float
    _excluded: Chosen
    _excluded_names: tuple[str, ...]

    def _reset_structure(self) -> None:
        super()._reset_structure()
        self.forget_plan()

    def forget_plan(self) -> None:
        self.fusion = Fusion()

    def take_in(self, other: CellKeeper, insertion: Insertion) -> None:
        """See `CellKeeper.take_in`. What is known of the own parameters is not found out again."""
        lasts = self.fusion.lasts(self)
        super().take_in(other, insertion)
        if lasts:
            self.fusion.grow(self, insertion)
        else:
            self.forget_plan()

    # ---------------------------------------------------------------- what a rule writes

    def begin_step(self, gradients: Sequence[Array], variables: Sequence[Variable], learning_rate: Any) -> None:
        """What a whole step needs once, before the first `update_step`. The default does nothing.

        Args:
            gradients: the gradients as `update_step` will receive them; each is computed when it is read.
            variables: the parameters that have a gradient in this step.
            learning_rate: a Python float, or a traced scalar.
        """

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """The update rule for one parameter, written with `ops`, operators and `assign`, `assign_add`, `assign_sub`.

        Args:
            gradient: unscaled, clipped, in float32 for 16-bit parameters.
            variable: the parameter; commit the step with `assign_sub(variable, delta)`.
            learning_rate: a Python float, or a traced scalar.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define update_step(self, gradient, variable, learning_rate)"
            f"{named_otherwise(type(self))}."
        )

    # ---------------------------------------------------------------- slots of the base

    def _make_own_slots(self) -> None:
        self.cells.averages = []
        if self.use_ema:
            self.cells.averages = self.add_optimizer_variables(self.cells.parameters, "average")
        super()._make_own_slots()

    # ---------------------------------------------------------------- all parameters

    def _update_held(self, run: Run, alone: Sequence[int], gradients: Gradients, rate: Any, later: Later) -> None:
        if later is not at_once and (
            (alone and not self._of_library_alone()) or any(self._may_fail(index, gradients) for index in alone)
        ):
            arrays = [*self.cells.shared, *(cell for index in alone for cell in self.cells.grouped[index])]
            with Scope((cell, cell.value) for cell in arrays if cell.backend is not HOST) as pending:
                self._update_alone(alone, gradients, rate)
            run(later)
            later(lambda: commit(pending))
        else:
            run(later)
            later(lambda: self._update_alone(alone, gradients, rate))

    def _explain(self, index: int, error: Exception) -> None:
        """Say in other words what a library cannot do: with a traced value, or with what processes hold together."""
        parameter = self.cells.parameters[index]
        mistake = explained(self, error)
        if mistake is not None:
            raise mistake from error
        where = parameter.backend.whereabouts(parameter.value)
        if where is not None and not isinstance(error, Disagreement):
            raise RuntimeError(
                f"{type(self).__name__} cannot update parameter {parameter.name!r}, {where}: {shown(error, str)}. "
                "Gather it, or give it to an optimizer whose rule looks at each element alone."
            ) from error

    def _update_alone(self, alone: Sequence[int], gradients: Gradients, rate: Any) -> None:
        """Update parameters one after another by whole arrays."""
        for index in alone:
            try:
                with self.parameter_scope(index) as scope:
                    gradient = gradients.prepared(index) if index in gradients.present else None
                    self.update_parameter(index, gradient, rate)
            except Exception as error:
                self._explain(index, error)
                raise
            commit(scope)

    def _of_library_alone(self) -> bool:
        """Whether what updates parameters by whole arrays is gradwise's own code, front ends included."""
        return "update_step" not in vars(self) and not any(
            outside_library(type(keeper)) for keeper in self.all_optimizers()
        )

    def _may_fail(self, index: int, gradients: Gradients) -> bool:
        """Whether a parameter has a constraint, or arrays with operators that are not their library's."""
        cell = self.cells.parameters[index]
        arrays = [cell.array, *([gradients.array(index)] if index in gradients.present else [])]
        return cell.constraint is not None or not all(map(cell.backend.computes_itself, arrays))

    # ---------------------------------------------------------------- one parameter

    def has_begin_step(self) -> bool:
        return type(self).begin_step is not UpdateRule.begin_step

    def update_parameter(self, index: int, gradient: Array | None, rate: Any) -> None:
        """All that happens to one parameter, on what its cells hold in this scope."""
        variable = self.cells.parameters[index]
        if gradient is not None:
            self.descend(gradient, variable, rate)
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable.value))
        if self.use_ema:
            self._average(variable, self.cells.averages[index])

    def descend(self, gradient: Array, variable: Variable, rate: Any) -> None:
        """Decoupled weight decay, and the rule.

        Args:
            gradient: from `prepared_gradient`.
            variable: the parameter.
            rate: of the step.
        """
        rate = ops.once(ops.cast, rate, gradient.dtype)
        if not self._decay_is_coupled() and self._decays(variable):
            self._decay(variable, ops.once(ops.multiply, self.weight_decay, rate))
        self.update_step(gradient, variable, rate)

    def prepared_gradient(self, index: int, gradient: Array, divisor: Any, factor: Any) -> Array:
        """A gradient unscaled, clipped, turned round to maximize, and with coupled weight decay in it."""
        if divisor is not None:
            gradient = ops.divide(gradient, divisor)
        if factor is not None:
            gradient = gradient * ops.cast(factor, gradient.dtype)
        if self.clipvalue is not None:
            gradient = ops.clip(gradient, -self.clipvalue, self.clipvalue)
        if self.maximize:
            gradient = -gradient
        variable = self.cells.parameters[index]
        if self._decay_is_coupled() and self._decays(variable):
            gradient = gradient + ops.cast(variable, gradient.dtype) * self.weight_decay
        return gradient

    def _average(self, variable: Variable, average: Variable) -> None:
        momentum = ops.once(self._ema_momentum_after, self.iterations, average.dtype)
        average.assign(ops.moving_average(average, variable, momentum))
        every = self.ema_overwrite_frequency
        if every is not None:
            following = ops.once(count_after, self.iterations, 0, every)
            ops.cond(following % every == 0, lambda: variable.assign(average.value), _nothing)

    def _ema_momentum_after(self, iterations: Any, dtype: Any) -> Any:
        # The first update copies the parameter, so that the average does not start at zero.
        return ops.cast(ops.where(iterations > 0, self.ema_momentum, 0.0), dtype)

    def parameter_scope(self, index: int) -> Scope:
        """A scope in which one parameter and its slots hold arrays of the dtype that is computed in."""
        parameter = self.cells.parameters[index]
        backend, dtype = parameter.backend, compute_dtype(parameter.dtype_name)
        scope = Scope()
        for cell in self.cells.grouped[index]:
            cell.hold_in(scope, dtype)
        for cell in (*self.cells.host_scalars(), *self.cells.numbers[index]):
            value = cell.value
            if backend_of(value) is not HOST and "float" in backend.dtype_name(value):
                # A traced scalar must not widen the arrays it meets.
                scope.hold(cell, backend.cast(value, dtype))
        return scope

    def execution_report(self) -> ExecutionReport:
        """How each group of parameters was updated in the last imperative step, and why not in one pass if not."""
        return self.fusion.report(self)

    def program_of(self, variable: Any) -> Program | NotRecorded:
        """The program that a parameter's update was recorded as: it can be printed, compared, hashed and counted.

        Before the first imperative step, and for updates by whole arrays, what is given is false, and prints why.

        Args:
            variable: a parameter that the optimizer was built for.

        Raises:
            ValueError: if it is unknown.
        """
        return self.fusion.program_of(self.variable_index(variable))


def _nothing() -> None:
    """The branch in which a step does nothing."""
