"""The functional path: `init` and `step` on trees of arrays. State goes in and comes out; nothing else changes.

A step runs on an unbuilt copy of the optimizer, built once for trees of one structure. Its cells are placeholders: a
scope gives them the arrays of the step, so one copy serves any number of trees, threads and nested transformations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backends import (
    HOST,
    NUMPY,
    Array,
    Backend,
    DeltaVariable,
    Scope,
    StepScope,
    Tree,
    Variable,
    backend_of,
    compiler_graph,
    compute_dtype,
    leaves_scopes,
    ops,
    taken_apart,
    value_of,
)
from ...backends.arguments import REQUIRED
from ...backends.losses import owner_unknown
from .checks import (
    check_one_backend,
    check_parameter,
    check_some_gradient,
    checked_count,
    checked_scalar,
)
from .fused.apart import Apart
from .fused.apart_again import Remembered
from .fused.attributes import Seen, of_optimizers_alone
from .hyperparameters import LEARNING_RATE
from .rates import checked_number
from .state import OptimizerState, as_trees, check_state, held_by_state, no_state, state_of
from .stateless import checked_gradients, checked_value, pure_arithmetic, restored
from .templates import LOCK, TemplateKeeper


class FunctionalOptimizer(TemplateKeeper):
    """Pure steps on trees. The base of `Optimizer`."""

    @leaves_scopes
    def init(self, params: Any) -> OptimizerState:
        """The state before the first step.

        Args:
            params: any nesting of arrays of one library; with JAX also tracers and ShapeDtypeStructs. What holds no
                array, such as None or a placeholder of optax, stands in the state where it stands here.

        Returns:
            Fresh state, in the place of the parameters. It shares no memory with them.

        Raises:
            TypeError, ValueError: if a leaf is not an array of a supported dtype.
        """
        tree = Tree.of(no_state(params))
        backend = check_leaves(tree)
        self.check_chosen(tree.names, None)
        template, scope = self._new_template(tree)
        key = self._key_of(tree, backend)
        with LOCK:
            before = self._templates.get(key)
            self._keep_template(key, template)
        if self._may_run_apart(tree, backend):
            known = before.fusion.apart.get(False) if before is not None and of_optimizers_alone(self) else None
            known = known or self._known_apart(key, deltas=False)
            if known is not None:
                template.fusion.apart[False] = known
                self._remember(tree, known, tree.leaves, deltas=False)
        like = tree.leaves[0] if tree.leaves else None
        slots: dict[str, list[Any]] = {name: [None] * len(tree.leaves) for name in template.cells.slot_names}
        scalars: dict[str, Any] = {}
        for named in template.named_cells():
            with scope:
                value = scope.get(named.cell)
            if backend_of(value) is HOST:
                value = backend.number(value, like)
            if named.position is not None:
                slots[named.name][named.position] = value
            else:
                scalars[named.name] = value
        rate = None if self._schedule is not None else _carried(self.cells.rate.value, backend, like)
        return OptimizerState(backend.number(0, like), rate, as_trees(template, tree, slots), scalars)

    def step(
        self, params: Any = REQUIRED, grads: Any = REQUIRED, state: Any = REQUIRED, learning_rate: Any = None
    ) -> tuple[Any, OptimizerState]:
        """One step: new parameters and new state. The inputs never change.

        Args:
            params: the tree `init` was given, or one of the same structure, shapes and dtypes.
            grads: gradients, in a tree of the same structure; None leaves a parameter as it is.
            state: from `init` or the last step. Of this and of gradients NumPy's arrays are JAX's beside JAX's.
            learning_rate: used in this step in place of the state's or the schedule's; a number or a traced scalar.

        Returns:
            The parameters and the state after the step.

        Raises:
            TypeError, ValueError: if trees, shapes or libraries do not fit.

        Under `jax.jit` donate parameters and state: `jax.jit(optimizer.step, donate_argnums=(0, 2))`. A function of
        your own should take them in the order in which it returns them, since JAX gives the memory of donated arrays to
        results of the same shape in order: with state before parameters a step of Adam takes three times as long.
        """
        graph = compiler_graph()
        if graph is not None:
            return graph.pure_step(self._handle, params, grads, state, learning_rate)  # type: ignore[no-any-return]  # as here
        if self._remembered is not None:
            made = self._step_again(self._remembered, params, grads, state, learning_rate, deltas=False)
            if made is not None:
                return made
        if params is REQUIRED or grads is REQUIRED or state is REQUIRED:
            kind = type(self).__name__
            if params is grads is state is REQUIRED:
                raise TypeError(
                    f"{kind}.step() without arguments is torch's: call optimizer.apply(grads, variables), or take an "
                    "optimizer of gradwise.frontends.torch, whose step() finds the gradients itself."
                )
            raise TypeError(
                f"{kind}.step needs three arguments: params, state = optimizer.step(params, grads, state), where the "
                "first state is optimizer.init(params)."
            )
        return self._stepped(Tree.of(no_state(params)), grads, state, learning_rate)

    @property
    def steps_are_remembered(self) -> bool:
        """Whether functional steps have run as recorded programs, and will do so again."""
        return self._remembered is not None

    @leaves_scopes
    def delta(
        self, params: Any, grads: Any, state: OptimizerState, learning_rate: Any = None
    ) -> tuple[Any, OptimizerState]:
        """What `step` would add to the parameters, before it is rounded to them: the sum of the rule's own deltas.

        Args:
            params: as in `step`; with JAX a leaf may be a ShapeDtypeStruct if the rule does not read its value.
            grads, state, learning_rate: as in `step`.

        Returns:
            Deltas, in the dtype that is computed in (float32 for 16-bit parameters) and None where the gradient is
            None, which may be everywhere; and the state after the step.

        Raises:
            UnknownValueError: if the rule reads a parameter that has no value.
            TypeError, ValueError: as `step`.
        """
        if self._remembered is not None:
            made = self._step_again(self._remembered, params, grads, state, learning_rate, deltas=True)
            if made is not None:
                return made
        tree = Tree.of(no_state(params))
        backend = check_leaves(tree)
        zeros = backend.zeros_for(tree.leaves, [compute_dtype(backend.dtype_name(leaf)) for leaf in tree.leaves])
        deltas, state = self._stepped(tree, grads, state, learning_rate, zeros)
        missing = [gradient is None for gradient in tree.match(grads, "gradients")]
        leaves = tree.match(deltas, "deltas")
        return tree.build([None if none else leaf for none, leaf in zip(missing, leaves, strict=True)]), state

    def _step_again(
        self, remembered: Remembered, params: Any, grads: Any, state: OptimizerState, learning_rate: Any, deltas: bool
    ) -> tuple[Any, OptimizerState] | None:
        """What `step` or `delta` gives, if it is like one before."""
        if type(params) is Tree or type(state) is not OptimizerState:
            return None
        leaves, structure = taken_apart(params)
        ways = remembered.ways((structure, deltas))
        if not ways:
            return None
        if not remembered.seen.still(self):
            with LOCK:
                renewed = remembered.renewed(self)
            if renewed is None:
                return None
            self._remembered = remembered = renewed
        rate = None if learning_rate is None else _checked_rate(self, learning_rate)
        for way in ways:
            made = way.step(self, remembered.seen.values, leaves, structure, grads, state, rate)
            if made is not None:
                return made[0], OptimizerState(*made[1])
        return None

    def _remember(self, tree: Tree, apart: Apart, gradients: Sequence[Any], deltas: bool) -> None:
        """Remember how a step is made that may be made again, with gradients, or None, of the same dtypes."""
        way = apart.again(gradients, tree.leaves)
        if way is None or not apart.serves(self):
            return
        with LOCK:
            if self._remembered is None or not self._remembered.seen.still(self):
                self._remembered = Remembered(Seen(self, free=False))
            self._remembered.add((tree.definition, deltas), way)

    @leaves_scopes
    def _stepped(
        self, tree: Tree, grads: Any, state: OptimizerState, learning_rate: Any, zeros: list[Array] | None = None
    ) -> tuple[Any, OptimizerState]:
        """A step: for each parameter what its cell holds at the end or, if deltas start as zeros, that of its delta."""
        backend = check_leaves(tree)
        gradients = [value_of(gradient) for gradient in tree.match(no_state(grads, "gradients"), "gradients")]
        gradients = checked_gradients(gradients, tree.leaves, backend, tree.names)
        if zeros is None:
            check_some_gradient(gradients, tree.names, backend)
        template = self._template_for(tree, backend)
        deltas = zeros is not None
        if deltas not in template.fusion.apart and self._may_run_apart(tree, backend):
            template.fusion.apart[deltas] = self._apart_for(tree, self._key_of(tree, backend), deltas)
        held = held_by_state(template, tree, backend, state)
        rate = None if learning_rate is None else _checked_rate(self, learning_rate)
        scope = StepScope(level=backend.level())
        moved, starts = _held_parameters(scope, template, tree, backend, zeros)
        for cell, _, value in held:
            scope.hold(cell, value)
        with scope:
            if self._schedule is not None or state.learning_rate is None:
                scope.hold(template.cells.rate, self.cells.rate.value)
            with pure_arithmetic(backend):
                template._run(gradients, rate)
            results = [restored(cell.value, start) for cell, start in zip(moved, starts, strict=True)]
            counters = template.step_counters()
            after = [self._after(cell, before, template, counters) for cell, before, _ in held]
        if deltas in template.fusion.apart:
            self._remember(tree, template.fusion.apart[deltas], gradients, deltas)
        inputs = {id(array) for array in (*gradients, *tree.leaves)}
        # State must not be the caller's own array under another name: it would change with it.
        after = [backend.copy(value) if id(value) in inputs else value for value in after]
        return tree.build(results), state_of(template, tree, state, after)

    def _may_run_apart(self, tree: Tree, backend: Backend) -> bool:
        """Whether there is memory that a pass could take."""
        if self.jit_compile is False:
            return False
        found = False
        for leaf, name in zip(tree.leaves, tree.names, strict=True):
            order = backend.order(leaf)
            if backend.address(leaf, backend.dtype_name(leaf), backend.shape(leaf), order, write=False) is not None:
                found = True
            elif (owner := backend.unknown_owner(leaf)) is not None:
                owner_unknown(name, owner)
        return found

    def _after(self, cell: Variable, before: Any, template: FunctionalOptimizer, counters: set[Variable]) -> Any:
        """What a cell of a template holds after a step, as state: in the dtype in which it came in."""
        value = cell.value
        product = cell.backend is HOST and cell not in counters and cell.name != LEARNING_RATE.name
        if product and isinstance(value, float) and backend_of(before) is not HOST:
            # What a file had in single precision goes on in double: rounded in every step, a product would drift.
            return backend_of(before).number(value, before)  # type: ignore[union-attr]  # it was checked
        return restored(value, before, self._turn if cell is template.cells.iterations else 1)

    # ---------------------------------------------------------------- reading and changing state

    def with_learning_rate(self, state: OptimizerState, learning_rate: Any) -> OptimizerState:
        """The state with another learning rate, in the same dtype and place.

        Args:
            state: from `init` or `step`.
            learning_rate: a number, a 0-d array or a traced scalar.

        Raises:
            ValueError: if the optimizer's rate is a schedule, or the rate is not allowed.
        """
        check_state(state, "with_learning_rate(state, learning_rate)")
        if state.learning_rate is None:
            raise ValueError(
                f"The learning rate of {self.name!r} is a schedule, so that the state holds no rate. For a step with "
                "another rate write `optimizer.step(params, grads, state, learning_rate=0.01)`."
            )
        checked_scalar(state.learning_rate, "The state's learning_rate")
        rate = _checked_rate(self, learning_rate)
        return state._replace(learning_rate=restored(rate, state.learning_rate))

    def learning_rate_at(self, state: OptimizerState) -> Any:
        """The learning rate of the next step from this state: a Python float, or a traced scalar."""
        check_state(state, "learning_rate_at(state)")
        count = checked_count(state.iterations, "The state's iterations")
        held = state.learning_rate
        rate = None if held is None else checked_scalar(held, "The state's learning_rate")
        return self.rate_at(count, rate)

    def updates_at(self, state: OptimizerState) -> Any:
        """How many updates were made up to this state: a Python int, or a traced integer.

        `state.iterations` counts calls of `step`, of which `gradient_accumulation_steps` make one update. Schedules are
        asked with the number of calls, bias corrections with that of updates.
        """
        check_state(state, "updates_at(state)")
        return self.updates_after(checked_count(state.iterations, "The state's iterations"))

    def averages(self, state: OptimizerState | None = None) -> Any:
        """The moving averages of the parameters, for evaluation.

        Args:
            state: whose averages, a tree shaped like the parameters. Default: those of the imperative path, copied, in
                a list in the order of the parameters.

        Raises:
            ValueError: if the optimizer keeps none (`use_ema=False`), or there is no state yet.
        """
        if state is None:
            if not self.use_ema:
                raise ValueError(f"Optimizer {self.name!r} keeps no averages: make it with use_ema=True.")
            if not self.built:
                raise ValueError(
                    f"Optimizer {self.name!r} has no averages yet: it was not built. Of pure steps give the state, "
                    "averages(state)."
                )
            return [cell.backend.copy(cell.value) for cell in self.cells.averages]
        check_state(state, "averages(state)")
        if "average" not in state.slots:
            raise ValueError(f"Optimizer {self.name!r} keeps no averages: make it with use_ema=True.")
        return state.slots["average"]


def _held_parameters(
    scope: Scope, template: FunctionalOptimizer, tree: Tree, backend: Backend, zeros: list[Array] | None
) -> tuple[list[Variable], Sequence[Array]]:
    """Have a scope hold the parameters; the cells that a step changes, and with what each starts."""
    parameters = template.cells.parameters
    for parameter, leaf, name in zip(parameters, tree.leaves, tree.names, strict=True):
        # Where deltas are asked for, the value may be unknown.
        value = checked_value(parameter, leaf, f"Parameter {name!r}") if zeros is None else backend.plain(leaf)
        scope.hold(parameter, value)
    if zeros is None:
        return parameters, tree.leaves
    deltas = [parameter.delta for parameter in parameters if isinstance(parameter, DeltaVariable)]
    for cell, zero in zip(deltas, zeros, strict=True):
        scope.hold(cell, zero)
    return deltas, zeros


def check_leaves(tree: Tree) -> Backend:
    """The library of a tree's arrays.

    Raises:
        TypeError, ValueError: if a leaf is no array that can be a parameter, or they are of several libraries.
    """
    for leaf, name in zip(tree.leaves, tree.names, strict=True):
        if isinstance(leaf, Variable):
            raise TypeError(f"Parameter {name!r} is a Variable; functional parameters are arrays: pass its value.")
    backends = [check_parameter(leaf, name) for leaf, name in zip(tree.leaves, tree.names, strict=True)]
    check_one_backend(backends, tree.names)
    return backends[0] if backends else NUMPY


def _checked_rate(optimizer: FunctionalOptimizer, value: Any) -> Any:
    return checked_number(value_of(value), type(optimizer).__name__)


def _carried(rate: Any, backend: Backend, like: Array) -> Array:
    """A rate as state: a number becomes a 0-d array, a traced scalar stays."""
    rate = ops.convert_to_number(rate)
    return backend.number(float(rate), like) if backend_of(rate) is HOST else rate
