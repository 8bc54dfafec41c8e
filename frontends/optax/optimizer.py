"""optax's transformations as optimizers of the core."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ...backends import Array, Variable, compute_dtype, ops
from ...optimizers.base import Optimizer


class _HandedOver(threading.local):
    """What one part of a step leaves for another, on the same thread.

    Attributes:
        updates: from `begin_step`, for the `update_step`s.
        extra_args: from the caller, for `begin_step`.
    """

    def __init__(self) -> None:
        self.updates: dict[int, Array] = {}
        self.extra_args: Mapping[str, Any] = {}


_HANDED_OVER = _HandedOver()


@contextlib.contextmanager
def _handing_over(extra_args: Mapping[str, Any]) -> Iterator[None]:
    before, _HANDED_OVER.extra_args = _HANDED_OVER.extra_args, extra_args
    try:
        yield
    finally:
        _HANDED_OVER.extra_args = before


class TransformationOptimizer(Optimizer):
    """An optimizer that makes the updates of an optax transformation, on JAX arrays.

    The transformation's state is the optimizer's: its arrays are kept in the order of their leaves, and what is small
    and shared goes with them. 16-bit parameters and their gradients are shown to it in float32. `step`, `delta` and
    `apply` hand further keyword arguments to its `update`: `value=` for `optax.polyak_sgd`, also `grad=` and
    `value_fn=` for `optax.lbfgs`.

    Args:
        transformation: with its own learning rate.
        learning_rate: a factor of every update: a number >= 0, a schedule or a callable. 1.
        **keywords: see `Optimizer`.

    Raises:
        TypeError: if the transformation has no `init` and `update`.
        ValueError: see `Optimizer`; in a step, if a parameter has no gradient, since transformations see all together.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {"optax": {}}
    weight_decay_forms: ClassVar[dict[str, str]] = {}

    def __init__(self, transformation: Any, learning_rate: Any = 1.0, **keywords: Any) -> None:
        if not (callable(getattr(transformation, "init", None)) and callable(getattr(transformation, "update", None))):
            raise TypeError(
                "to_optimizer takes a transformation of optax, with init and update; received a "
                f"{type(transformation).__name__}."
            )
        super().__init__(learning_rate, **{"convention": "optax", "jit_compile": False, **keywords})
        self.transformation = optax.with_extra_args_support(transformation)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the transformation's state."""
        super().build(variables)
        state = self.transformation.init(self.as_tree([_wide(cell) for cell in variables]))
        leaves, self.definition = jax.tree.flatten(jax.tree.map(_as_array, state))
        # Typed random keys are kept as the integers that they stand for, flags as 0 and 1.
        self.keys = {i: jax.random.key_impl(leaf) for i, leaf in enumerate(leaves) if _is_key(leaf)}
        self.flags = {i for i, leaf in enumerate(leaves) if leaf.dtype == bool}
        self.cells = []
        for position, leaf in enumerate(map(_plain, leaves)):
            self.cells.append(self.add_variable(leaf.shape, leaf, str(leaf.dtype), f"state_{position}"))

    def _with_fixed_slots(self) -> Any:
        """With a transformation for any tree; what a transformation keeps is no slot."""
        copy = self._unbuilt_copy()
        copy.transformation = optax.identity()
        return copy

    def step(self, params: Any, grads: Any, state: Any, learning_rate: Any = None, **extra_args: Any) -> Any:
        """As `Optimizer.step`; further arguments are the transformation's."""
        with _handing_over(extra_args):
            return super().step(params, grads, state, learning_rate)

    def delta(self, params: Any, grads: Any, state: Any, learning_rate: Any = None, **extra_args: Any) -> Any:
        """As `Optimizer.delta`; further arguments are the transformation's."""
        with _handing_over(extra_args):
            return super().delta(params, grads, state, learning_rate)

    def apply(
        self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None, **extra_args: Any
    ) -> int | None:
        """As `Optimizer.apply`; further arguments are the transformation's."""
        with _handing_over(extra_args):
            return super().apply(grads, trainable_variables)

    def begin_step(self, gradients: Sequence[Array], variables: Sequence[Variable], learning_rate: Any) -> None:
        """Run the transformation on the whole list of gradients."""
        if len(variables) != len(self._parameters):
            raise ValueError(
                f"{self.name!r} runs an optax transformation, which needs a gradient for each of the "
                f"{len(self._parameters)} parameters; {len(variables)} have one."
            )
        values = [cell.value for cell in self.cells]
        for position, kind in self.keys.items():
            values[position] = jax.random.wrap_key_data(values[position], impl=kind)
        for position in self.flags:
            values[position] = values[position] != 0
        state = jax.tree.unflatten(self.definition, values)
        given, beside = self.as_tree(gradients), self.as_tree([_wide(cell) for cell in variables])
        tree, state = self.transformation.update(given, state, beside, **_HANDED_OVER.extra_args)
        updates = jax.tree.leaves(tree)
        for cell, leaf in zip(self.cells, jax.tree.leaves(state), strict=True):
            self.assign(cell, _plain(_as_array(leaf)))
        _HANDED_OVER.updates = {self._get_variable_index(cell): u for cell, u in zip(variables, updates, strict=True)}

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        update = _HANDED_OVER.updates.pop(self._get_variable_index(variable))
        self.assign_add(variable, ops.cast(update, gradient.dtype) * learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Not to be had: a transformation is made of functions.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name!r} runs an optax transformation, which cannot be written down as a configuration.")


def _as_array(leaf: Any) -> Array:
    """An array of JAX, or a shape without values; what a transformation keeps may be a number or NumPy's."""
    return leaf if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) else jax.numpy.asarray(leaf)


def _is_key(leaf: Array) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _plain(leaf: Array) -> Array:
    if leaf.dtype == bool:
        return leaf.astype("int32")
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _wide(cell: Variable) -> Array:
    """A parameter in the dtype that is computed in."""
    return cell.backend.cast(cell.value, compute_dtype(cell.dtype_name))


def to_optimizer(transformation: Any, learning_rate: Any = 1.0, **keywords: Any) -> TransformationOptimizer:
    """Any optax transformation as an optimizer of the core, for JAX arrays and `Variable`s that hold them.

    Args:
        transformation: with its own learning rate, such as `optax.lion(1e-4)` or a chain.
        learning_rate: a factor of every update: a number >= 0, a schedule or a callable. 1.
        **keywords: see `gradwise.optimizers.Optimizer`: clipping, accumulation, averages, loss scaling.

    Raises:
        TypeError: if it is no transformation.
        ValueError: see `gradwise.optimizers.Optimizer`.
    """
    return TransformationOptimizer(transformation, learning_rate, **keywords)
