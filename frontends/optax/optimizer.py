"""optax's transformations as optimizers of the core."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ...backends import Array, Variable, compute_dtype, ops
from ...backends.arguments import REQUIRED
from ...backends.scope import build_scope
from ...backends.wording import called
from ...optimizers.core.optimizer import Optimizer


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

    The transformation's state is the optimizer's: where it repeats the tree of the parameters, as moments do, it is a
    slot of each, and all else is shared; both have their place in that state for a name. Either lies where the
    parameters lie. 16-bit parameters and their gradients are shown to it in float32. `step`, `delta` and `apply` hand
    further keyword arguments to its `update`: `value=` for `optax.polyak_sgd`, also `grad=` and `value_fn=` for
    `optax.lbfgs`.

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
                "to_optimizer takes a transformation of optax, such as optax.adam(1e-3), received "
                f"{called(transformation)}{_instead_of_transformation(transformation)}."
            )
        super().__init__(learning_rate, **{"convention": "optax", "jit_compile": False, **keywords})
        self.transformation = optax.with_extra_args_support(transformation)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the transformation's state."""
        other = next((each for each in variables if each.backend.name != "jax"), None)
        # For pure functions optax turns NumPy's arrays into its own.
        if other is not None and build_scope() is None:
            raise TypeError(
                f"{type(self).__name__} updates arrays of JAX, and parameter {other.name!r} is one of "
                f"{other.backend.name}: give `gradwise.backends.Variable(jnp.asarray(array))`."
            )
        super().build(variables)
        params = self.as_tree([_wide(cell) for cell in variables])
        state = jax.tree.map(_as_array, self.transformation.init(params))
        leaves, self.definition = jax.tree.flatten(state)
        # Typed random keys are kept as the integers that they stand for, flags as 0 and 1.
        self.keys = {i: jax.random.key_impl(leaf) for i, leaf in enumerate(leaves) if _is_key(leaf)}
        self.flags = {i for i, leaf in enumerate(leaves) if leaf.dtype == bool}
        self.leaves = []
        for leaf, (name, index) in zip(leaves, _owners(self.transformation, state, params), strict=True):
            # Nothing may be the caller's own array, or twice in a state, or it could not be donated.
            fresh = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.numpy.array(_plain(leaf))
            self.leaves.append(self.add_array(fresh, name, None if index is None else variables[index]))

    def _with_fixed_slots(self) -> Any:
        """With a transformation for any tree, which repeats it where this one's does."""
        copy = self.unbuilt_copy()
        sketch = _sketch(self.transformation)
        names = [] if sketch is None else [name for name, repeats in sketch[0] if repeats]
        copy.transformation = optax.GradientTransformation(lambda params: dict.fromkeys(names, params), lambda *_: None)
        return copy

    def step(
        self, params: Any = REQUIRED, grads: Any = REQUIRED, state: Any = REQUIRED, learning_rate: Any = None,
        **extra_args: Any,
    ) -> Any:  # fmt: skip
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
        if len(variables) != len(self.cells.parameters):
            raise ValueError(
                f"{self.name!r} runs an optax transformation, which needs a gradient for each of the "
                f"{len(self.cells.parameters)} parameters; {len(variables)} have one."
            )
        values = [cell.value for cell in self.leaves]
        for position, kind in self.keys.items():
            values[position] = jax.random.wrap_key_data(values[position], impl=kind)
        for position in self.flags:
            values[position] = values[position] != 0
        state = jax.tree.unflatten(self.definition, values)
        given, beside = self.as_tree(gradients), self.as_tree([_wide(cell) for cell in variables])
        tree, state = self.transformation.update(given, state, beside, **_HANDED_OVER.extra_args)
        updates = jax.tree.leaves(tree)
        for cell, leaf in zip(self.leaves, jax.tree.leaves(state), strict=True):
            self.assign(cell, _plain(_as_array(leaf)))
        _HANDED_OVER.updates = {self.variable_index(cell): u for cell, u in zip(variables, updates, strict=True)}

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        """One step of one parameter."""
        update = _HANDED_OVER.updates.pop(self.variable_index(variable))
        self.assign_add(variable, ops.cast(update, gradient.dtype) * learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Not to be had: a transformation is made of functions.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name!r} runs an optax transformation, which cannot be written down as a configuration.")


def _instead_of_transformation(given: Any) -> str:
    if isinstance(given, Optimizer):
        return ". It is an optimizer already: use it as it is, without to_optimizer"
    return f". Call it, `{given.__name__}(...)`" if callable(given) and hasattr(given, "__name__") else ""


def _placeholder() -> Any:
    """What optax gives `init` in place of parameters to see where a state repeats their tree."""
    seen: list[Any] = []

    def init(params: Any) -> Any:
        seen.append(params)
        return {}

    optax.tree_utils.tree_map_params(init, lambda leaf: leaf, {})
    return seen[0]


def _sketch(transformation: Any) -> tuple[list[tuple[str, bool]], Any] | None:
    """For each part of a state its name and whether it repeats the parameters' tree, and what the parts make up.

    None if the transformation does not tell.
    """
    placeholder = _placeholder()
    kind = type(placeholder)
    try:
        state = transformation.init(placeholder)
    except Exception:
        # It looks at its parameters, as optax allows; what it then raises is its own affair.
        return None
    parts, definition = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda node: isinstance(node, kind))
    return [(_name_of(path), isinstance(part, kind)) for path, part in parts], definition


def _owners(transformation: Any, state: Any, params: Any) -> list[tuple[str, int | None]]:
    """For each leaf of a state its name, and the position of the parameter whose place in the tree it has."""
    with_paths, _ = jax.tree_util.tree_flatten_with_path(params)
    places = {jax.tree_util.keystr(path): position for position, (path, _) in enumerate(with_paths)}
    sketch = _sketch(transformation)
    try:
        names, parts = ([], []) if sketch is None else (sketch[0], sketch[1].flatten_up_to(state))
    except ValueError:
        sketch = None
    if sketch is None:
        return [(f"state_{position}", None) for position in range(len(jax.tree.leaves(state)))]
    owners: list[tuple[str, int | None]] = []
    for (name, repeats), part in zip(names, parts, strict=True):
        for path, _ in jax.tree_util.tree_flatten_with_path(part)[0]:
            position = places.get(jax.tree_util.keystr(path)) if repeats else None
            owners.append((name if position is not None or not repeats else f"{name}/{_name_of(path)}", position))
    return owners


def _name_of(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/") or "state"


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
