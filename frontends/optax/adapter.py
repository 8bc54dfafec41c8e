"""One of optax's optimizers as a transformation whose updates are those of a core optimizer."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from ... import optimizers
from ...backends import backend_of, describe, is_number, number_of_python, ops, shown
from ...optimizers.core.configuration import frozen
from .linking import DECAY_SCHEDULE, SCHEDULE, Pairs, core_state, count_of, new_states, next_states, pairs_of
from .table import OptaxRow
from .transformation import Behaviour, run
from .trees import Leaves

_DTYPES = ("mu_dtype", "accumulator_dtype")
"""What optax calls the dtype of the core's slot "momentum"."""
_MASKS = ("mask", "weight_decay_mask")


class RowBehaviour(Behaviour):
    """A row with its arguments.

    Args:
        row: which optimizer of optax it is.
        numbers: those of optax's arguments that JAX may trace, by name.
        others: the other arguments.
    """

    def __init__(self, row: OptaxRow, numbers: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        self.row = row
        self._others = others
        self._arguments = {**others, **numbers}
        super().__init__(numbers, (row.name, frozen(dict(others))))

    def with_numbers(self, values: Iterable[Any]) -> RowBehaviour:
        """The same with other numbers."""
        # JAX and others put anything into a tree: which arguments are numbers is not asked of the new values.
        return RowBehaviour(self.row, dict(zip(self.numbers, values, strict=True)), self._others)

    # ---------------------------------------------------------------- the optimizer

    @functools.cached_property
    def core(self) -> optimizers.Optimizer:
        """The core's optimizer, its weight decay as it is before the first update."""
        decay = self._arguments.get("weight_decay")
        return self._core(0.0 if callable(decay) else decay)

    def _core(self, weight_decay: Any) -> optimizers.Optimizer:
        given = {**self._arguments, "weight_decay": weight_decay}
        # What older releases of optax do not ask for, they do in the convention's own way.
        asked = {theirs: ours for theirs, ours in self.row.arguments.items() if theirs in given}
        named = {ours: ops.convert_to_number(given[theirs]) for theirs, ours in asked.items()}
        if is_number(named.get("momentum")) and named["momentum"] == 0:
            # A momentum of 0 keeps a trace in optax, which counts when a schedule raises it. This is 0 for an array.
            named["momentum"] = math.ulp(0.0)
        dtypes = [given[name] for name in _DTYPES if given.get(name) is not None]
        slots = {slot for piece in self.row.pieces(self._arguments) for slot in piece.slots.values()}
        rate = given["learning_rate"]
        return self.row.algorithm(
            # Without one, optax's adadelta climbs: the minus comes with the rate. The paper's rate is 1.
            1.0 if rate is None else rate,
            **{name: value for name, value in named.items() if value is not None},
            **self.row.fixed,
            convention="optax",
            # Without a momentum optax does not ask for its dtype.
            slot_dtype={"momentum": _dtype_name(dtypes[0], self.row.name)} if dtypes and "momentum" in slots else None,
        )

    def _core_at(self, pairs: Pairs, leaves: Leaves, updates: Any) -> optimizers.Optimizer:
        """The core's optimizer with the weight decay of this update."""
        decay, core = self._arguments.get("weight_decay"), self.core
        if callable(decay):
            core = self._core(decay(count_of(pairs, DECAY_SCHEDULE)))
        mask = self._mask
        if mask is not None:
            flags = leaves.flags(mask(updates) if _is_function(mask) else mask)
            core = core.unbuilt_copy()
            core.exclude_from_weight_decay(
                var_names=[f"^{re.escape(name)}$" for name, decays in flags.items() if not decays]
            )
        return core

    @property
    def _mask(self) -> Any:
        return next((self._arguments[name] for name in _MASKS if self._arguments.get(name) is not None), None)

    # ---------------------------------------------------------------- states

    def init(self, params: Any) -> Any:
        """A tuple of optax's own states."""
        return new_states(self.row.pieces(self._arguments), self.core.init(Leaves(params)), self._mask is not None)

    def update(self, updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        """As `Optimizer.delta`; arguments that the rule does not know are ignored, as in optax."""
        pairs = pairs_of(self.row.pieces(self._arguments), state, self.row.name)
        before = core_state(pairs)
        trees = list(before.slots.values())
        leaves = Leaves(params if params is not None else next(iter(trees), updates), updates, trees)
        core = self._core_at(pairs, leaves, updates)
        schedule = self._arguments["learning_rate"]
        rate = schedule(count_of(pairs, SCHEDULE)) if callable(schedule) else None
        deltas, after = run(core, leaves, updates, before, params, rate)
        return deltas, next_states(pairs, after, self._mask is not None)

    def __reduce__(self) -> Any:
        return RowBehaviour, (self.row, self.numbers, self._others)

    def with_state_of(self, name: str) -> str:
        """See `Behaviour`."""
        known = self.row.signature.parameters
        given = {each: shown(value) for each, value in self._arguments.items() if value is not known[each].default}
        given |= {name: shown(self._arguments[name])} if name in known else {}
        arguments = ", ".join(f"{each}={value}" for each, value in given.items())
        return f"optax.inject_hyperparams({self.row.name})({arguments})"

    def __repr__(self) -> str:
        values = {name: ops.convert_to_number(value) for name, value in self._arguments.items()}
        arguments = [f"{name}={values[name]!r}" for name in self.row.signature.parameters]
        return f"{self.row.name}({', '.join(arguments)})"


def is_hyperparameter(name: str, value: Any) -> bool:
    """Whether JAX may trace an argument: a number, and not one that stands for a choice."""
    value = number_of_python(value)
    backend = backend_of(value)
    if backend is not None and not backend.is_real(value):
        return False
    return name not in _MASKS and (is_number(value) or getattr(value, "shape", None) == ())


def _is_function(mask: Any) -> bool:
    """Whether a mask is a function of the tree; one that is itself a tree of bools may be callable, as modules are."""
    leaves = jax.tree.leaves(mask)
    return bool(leaves) and all(map(callable, leaves))


def _dtype_name(dtype: Any, owner: str) -> str:
    """A dtype by its name, as JAX would store it."""
    try:
        return str(jax.dtypes.canonicalize_dtype(dtype).name)
    except TypeError:
        raise TypeError(
            f"{owner}: the dtype of moments must be one of JAX's, such as jnp.bfloat16, received {describe(dtype)}."
        ) from None
