"""The state of functional steps: a tree that says what the cells of an optimizer hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...backends import Backend, Tree, Variable
from .building import CellKeeper
from .stateless import checked_value


class OptimizerState(NamedTuple):
    """The state of a functional optimizer: a tree that both JAX and optree know.

    Attributes:
        iterations: the number of calls of `step`, a 0-d integer (int32 under JAX without x64). Where gradients are
            accumulated, several calls make one update: `optimizer.updates_at(state)` is the number of these.
        learning_rate: 0-d; None if the optimizer's rate is a schedule.
        slots: for each slot name a tree shaped like the parameters (None where a parameter has no such slot).
        scalars: what a whole step shares, by name.
    """

    iterations: Any
    learning_rate: Any
    slots: dict[str, Any]
    scalars: dict[str, Any]


def no_state(params: Any, what: str = "parameters") -> Any:
    """Parameters, or gradients, unless they are a state: then the order of the arguments is another.

    Raises:
        TypeError: if they are.
    """
    if isinstance(params, OptimizerState):
        raise TypeError(
            f"Received an OptimizerState in place of the {what}: the order is init(params), "
            "step(params, grads, state) and delta(params, grads, state)."
        )
    return params


_STEP = "step(params, grads, state)"


def check_state(state: Any, call: str = _STEP) -> None:
    """Raise TypeError if something is no state.

    Args:
        state: what was given.
        call: to what, as it is written.
    """
    parts = (state.slots, state.scalars) if isinstance(state, OptimizerState) else (None,)
    if not all(isinstance(part, dict) for part in parts):
        raise TypeError(
            f"The `state` of {call} must be the OptimizerState that init or step returned, received "
            f"{type(state).__name__}. Write `state = optimizer.init(params)`, then `{call}`."
        )


def _kept(slots: Iterable[str], scalars: Iterable[str]) -> str:
    """What a state has, in words."""
    numbers = sorted(scalars)
    return f"slots {sorted(slots)}{f' and scalars {numbers}' if numbers else ''}"


def held_by_state(
    template: CellKeeper, tree: Tree, backend: Backend, state: OptimizerState
) -> list[tuple[Variable, Any, Any]]:
    """The template's cells with what the state has for them: as it came, in the parameters' library, and as it is held.

    Raises:
        TypeError, ValueError: if it is no state, or that of something else.
    """
    check_state(state)
    values = _values_of(template, tree, state)
    counters, first = template.step_counters(), tree.leaves[0] if tree.leaves else None
    held = []
    for cell, given, beside in values:
        before = _as_theirs(given, backend, first if beside is None else beside)
        called = "iterations" if cell is template.cells.iterations else repr(cell.name)
        held.append((cell, before, checked_value(cell, before, f"The state's {called}", cell in counters, beside)))
    return held


def _values_of(template: CellKeeper, tree: Tree, state: OptimizerState) -> list[tuple[Variable, Any, Any]]:
    """The template's cells, what the state has for them, and for slots the parameter they lie beside."""
    named_cells = template.named_cells()
    slot_names = set(template.cells.slot_names)
    scalar_names = {named.name for named in named_cells if named.position is None}
    if slot_names != set(state.slots) or scalar_names != set(state.scalars):
        raise ValueError(
            f"The state has {_kept(state.slots, state.scalars)}; {template.name!r} needs "
            f"{_kept(slot_names, scalar_names)}: it was made by another optimizer, or "
            "with other options: make it with the init(params) of this one."
        )
    leaves = {
        name: tree.match(slot, f"the state's slot {name!r}", bare=name in template._bare_names)
        for name, slot in state.slots.items()
    }
    values = [(template.cells.iterations, state.iterations, None)]
    if state.learning_rate is not None:
        values.append((template.cells.rate, state.learning_rate, None))
    for cell, name, position in named_cells:
        if position is None:
            values.append((cell, state.scalars[name], None))
        else:
            values.append((cell, leaves[name][position], tree.leaves[position]))
    return values


def _as_theirs(value: Any, backend: Backend, like: Any) -> Any:
    """What the state holds, in the parameters' library and place if that takes it for its own."""
    if not backend.takes(value):
        return value
    array = backend.plain(value)
    return array if like is None or backend.traced(like) else backend.beside(array, like)


def state_of(template: CellKeeper, tree: Tree, before: OptimizerState, values: list[Any]) -> OptimizerState:
    """The state after a step, from one before it and what its cells hold now, in the order of `held_by_state`."""
    remaining = iter(values)
    iterations = next(remaining)
    rate = None if before.learning_rate is None else next(remaining)
    slots: dict[str, list[Any]] = {name: [None] * len(tree.leaves) for name in before.slots}
    scalars: dict[str, Any] = {}
    for named, value in zip(template.named_cells(), remaining, strict=True):
        if named.position is None:
            scalars[named.name] = value
        else:
            slots[named.name][named.position] = value
    return OptimizerState(iterations, rate, as_trees(template, tree, slots), scalars)


def as_trees(template: CellKeeper, tree: Tree, slots: dict[str, list[Any]]) -> dict[str, Any]:
    """Slots as trees. What has not its parameter's shape, such as a count, is outside of a box that names the axes."""
    return {name: tree.build(leaves, bare=name in template._bare_names) for name, leaves in slots.items()}
