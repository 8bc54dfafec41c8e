"""What parameters are in evaluation, where that is not what they are in training."""

from __future__ import annotations

from typing import Any

from ...backends import Scope, StepScope, Tree, Variable, leaves_scopes, value_of
from ...backends.dtypes import Array
from .functional import FunctionalOptimizer, check_leaves
from .state import OptimizerState, held_by_state, no_state
from .stateless import checked_value, pure_arithmetic, restored


class EvaluatedOptimizer(FunctionalOptimizer):
    """Gives parameters for evaluation. A base of `Optimizer`."""

    def evaluation_value(self, variable: Variable) -> Array:
        """What a parameter is in evaluation where no averages are kept: itself, unless a wrapper says otherwise.

        Args:
            variable: the parameter. It and its slots may be read.
        """
        return variable.value

    def _evaluated(self, index: int) -> Array:
        """What a parameter is in evaluation; with `use_ema` its average, whatever rule it has."""
        if self.use_ema:
            return self.cells.averages[index].value
        return self.evaluation_value(self.cells.parameters[index])

    @leaves_scopes
    def evaluation_parameters(self, state: OptimizerState | None = None, params: Any = None) -> Any:
        """The parameters for evaluation: averages with `use_ema`, what wrappers keep apart; otherwise the parameters.

        Args:
            state: from `init` or `step`. Default: that of the imperative path.
            params: that belong to it, which `step` gave. None on the imperative path.

        Returns:
            A tree like the parameters, of their dtypes. On the imperative path copies, in a list in the order of
            `build`. Training goes on with what it had.

        Raises:
            TypeError, ValueError: if one is given without the other, the state belongs to another optimizer, or, on the
                imperative path, the optimizer is not built.
        """
        if (state is None) is not (params is None):
            raise TypeError(
                "evaluation_parameters(state, params) needs both, from the same step; on the imperative path neither."
            )
        return self._evaluated_now() if state is None else self._evaluated_at(state, params)

    def _evaluated_now(self) -> list[Array]:
        if not self.built:
            raise ValueError(
                f"Optimizer {self.name!r} has no parameters yet: it was not built. Of pure steps give the state and "
                "the parameters, evaluation_parameters(state, params)."
            )
        found = []
        for index, cell in enumerate(self.cells.parameters):
            with self.parameter_scope(index):
                value = self._evaluated(index)
            found.append(cell.backend.copy(cell.backend.cast(value, cell.dtype_name)))
        return found

    def _evaluated_at(self, state: OptimizerState, params: Any) -> Any:
        tree = Tree.of(no_state(params))
        backend = check_leaves(tree)
        template = self._template_for(tree, backend)
        held = held_by_state(template, tree, backend, state)
        scope: Scope = StepScope(level=backend.level())
        for cell, leaf, name in zip(template.cells.parameters, tree.leaves, tree.names, strict=True):
            scope.hold(cell, checked_value(cell, value_of(leaf), f"Parameter {name!r}"))
        for cell, _, value in held:
            scope.hold(cell, value)
        found = []
        with scope, pure_arithmetic(backend):
            for index, leaf in enumerate(tree.leaves):
                with template.parameter_scope(index):
                    value = template._evaluated(index)
                # Of its own, also where it is what the state or the caller has.
                found.append(backend.copy(restored(value, leaf)))
        return tree.build(found)
