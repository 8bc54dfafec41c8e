"""Many functional steps of an optimizer, one after another: of their states nobody sees any but the last."""

from __future__ import annotations

from typing import Any

from ...backends import HOST, backend_of, taken_apart
from .functional import FunctionalOptimizer
from .fused.apart_again import Again, Remembered
from .state import OptimizerState


class Run:
    """Steps on parameters of one structure. What is given and returned stays as it is.

    What a step needs of the one before is kept as it is between them, and is a state only when that is asked for.

    Args:
        optimizer: whose steps these are. As for all functional steps, its settings may change between them.
        params: a tree of arrays.

    Raises:
        As the optimizer's `init`.
    """

    def __init__(self, optimizer: FunctionalOptimizer, params: Any) -> None:
        self._optimizer = optimizer
        self._state = _in_numbers(optimizer.init(params))
        self._flat: _Flat | None = None

    def step(self, params: Any, grads: Any) -> Any:
        """The parameters after one more step.

        Args:
            params: before it.
            grads: gradients, in a tree of the same structure.

        Raises:
            As the optimizer's `step`.
        """
        if self._flat is not None:
            after = self._flat.step(self._optimizer, params, grads)
            if after is not None:
                return after
            self._state, self._flat = self._flat.state(self._state), None
        params, self._state = self._optimizer.step(params, grads, self._state)
        self._flat = _flat_of(self._optimizer, params, self._state)
        return params

    @property
    def state(self) -> OptimizerState:
        """The state after the last step."""
        return self._state if self._flat is None else self._flat.state(self._state)


class _Flat:
    """The arrays and numbers of steps that take a short way."""

    def __init__(
        self, way: Again, remembered: Remembered, structure: Any, flat: tuple[list[Any], list[Any]], rate: Any
    ) -> None:
        self._way, self._remembered, self._structure, self._rate = way, remembered, structure, rate
        self._values, self._numbers = flat

    def step(self, optimizer: FunctionalOptimizer, params: Any, grads: Any) -> Any:
        """The parameters after one more step; None, and nothing has happened, if it is another than the last one."""
        seen = self._remembered.seen
        if optimizer._remembered is not self._remembered or not seen.still(optimizer):
            return None
        try:
            leaves, gradients = self._structure.flatten_up_to(params), self._structure.flatten_up_to(grads)
        except Exception:
            # Anything may stand there: the general step tells what is wrong.
            return None
        if self._rate is None:
            self._numbers[-1] = optimizer.cells.rate.value
        self._values[: len(leaves)] = leaves
        after = self._way.advance(optimizer, seen.values, self._values, self._numbers, gradients, None)
        if after is None:
            return None
        self._numbers = after
        return self._structure.unflatten(self._values[: self._way.count])

    def state(self, before: OptimizerState) -> OptimizerState:
        """What a step would have returned.

        Args:
            before: an earlier one.
        """
        results = self._way.results(self._structure, list(self._values), before, self._numbers, before.learning_rate)
        return OptimizerState(*results[1])


def _flat_of(optimizer: FunctionalOptimizer, params: Any, state: OptimizerState) -> _Flat | None:
    """The same as trees, if a short way was taken to them."""
    remembered = optimizer._remembered
    if remembered is None:
        return None
    leaves, structure = taken_apart(params)
    ways = remembered.ways((structure, False))
    # What is passed on as it is must be looked at in each step: it may be the caller's.
    base = optimizer.cells.rate.value if state.learning_rate is None else state.learning_rate
    flat = ways[0].flat(leaves, structure, state, base) if ways and not ways[0].passes_on else None
    return None if flat is None else _Flat(ways[0], remembered, structure, flat, state.learning_rate)


def _in_numbers(state: OptimizerState) -> OptimizerState:
    """A state whose numbers are Python's, which are read and written sooner than arrays of them."""

    def number(value: Any) -> Any:
        backend = backend_of(value)
        plain = None if backend is None or backend is HOST else backend.plain_number(value)
        return value if plain is None else plain

    return state._replace(
        iterations=number(state.iterations),
        learning_rate=number(state.learning_rate),
        scalars={name: number(value) for name, value in state.scalars.items()},
    )
