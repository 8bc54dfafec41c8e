"""Any optimizer of the core as optax's transformation."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

from ...backends import shown
from ...optimizers.core.mistaken import check_fresh, check_optimizer, is_transformation
from ...optimizers.core.optimizer import Optimizer
from ...optimizers.core.state import OptimizerState
from .optimizer import TransformationOptimizer
from .transformation import Behaviour, Transformation, run
from .trees import Leaves, strong


class CoreState(NamedTuple):
    """The state of a transformation made by `from_optimizer`.

    Attributes:
        count: the number of updates made.
        slots: for each slot name of the optimizer a tree shaped like the parameters.
        scalars: what a whole step shares, by name.
    """

    count: Any
    slots: dict[str, Any]
    scalars: dict[str, Any]


class CoreBehaviour(Behaviour):
    """An optimizer of the core, with a state of its own.

    Args:
        numbers: its leaves as a tree of JAX's.
        definition: what remains of it.
    """

    def __init__(self, numbers: Iterable[Any], definition: Any) -> None:
        super().__init__({str(position): number for position, number in enumerate(numbers)}, definition)

    def with_numbers(self, values: Iterable[Any]) -> CoreBehaviour:
        """The same with other numbers."""
        return CoreBehaviour(values, self.rest)

    @functools.cached_property
    def core(self) -> Any:
        """The optimizer."""
        return jax.tree.unflatten(self.rest, self.numbers.values())

    def init(self, params: Any) -> CoreState:
        """The optimizer's state, in trees of the parameters' structure."""
        state = self.core.init(Leaves(params))
        # Of a tree without parameters they would be NumPy's.
        scalars = {name: strong(value) for name, value in state.scalars.items()}
        return CoreState(strong(state.iterations), state.slots, scalars)

    def update(self, updates: Any, state: CoreState, params: Any = None, **extra_args: Any) -> tuple[Any, CoreState]:
        """As `Optimizer.delta`."""
        # The largest has the parameters' shapes: slots may hold a number for each, updates may lack some.
        slots = list(state.slots.values())
        like = params if params is not None else max((*slots, updates), key=_size)
        given = OptimizerState(state.count, None, state.slots, state.scalars)
        further = extra_args if isinstance(self.core, TransformationOptimizer) else {}
        deltas, after = run(self.core, Leaves(like, updates, slots), updates, given, params, None, **further)
        return deltas, CoreState(after.iterations, after.slots, after.scalars)

    def with_state_of(self, name: str) -> str:
        """See `Behaviour`."""
        made = f"from_optimizer({type(self.core).__name__}({name}={name}))"
        return f"optax.inject_hyperparams(lambda {name}: {made})({name}={shown(getattr(self.core, name, 0.0))})"

    def __reduce__(self) -> Any:
        return _core_behaviour_of, (self.core,)

    def __repr__(self) -> str:
        return f"from_optimizer({self.core!r})"


def _core_behaviour_of(optimizer: Optimizer) -> CoreBehaviour:
    return CoreBehaviour(*jax.tree.flatten(optimizer))


def _size(slot: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(slot))


def from_optimizer(optimizer: Optimizer) -> Transformation:
    """Any optimizer of the core as optax's transformation.

    Args:
        optimizer: any; what happens to it afterwards does not change the transformation.

    Returns:
        A transformation whose state is a `CoreState`. Its `update` needs `params` if the rule, weight decay or a moving
        average reads them. The rate is the transformation's, as in optax, and not part of the state:
        `optax.inject_hyperparams` makes it so.
    """
    check_optimizer(optimizer, "from_optimizer", is_transformation)
    check_fresh(optimizer, "from_optimizer")
    return Transformation(_core_behaviour_of(optimizer))
