"""What optax calls a transformation: `init` gives a state, `update` what is to be added.

A `Behaviour` is what a transformation does; a `Transformation` is what optax, JAX and their users see of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ...backends import HOST, SIXTEEN_BIT, UnknownValueError, backend_of, is_number, number_of_python, ops, shown
from ...backends.arguments import call_methods
from ...optimizers.core.configuration import frozen
from ...optimizers.core.optimizer import Optimizer
from ...optimizers.core.origin import is_of_library
from ...optimizers.core.state import OptimizerState
from .trees import Leaves

_NO_PARAMS = (
    "You are using a transformation that requires the current value of parameters, but you are not passing `params` "
    "when calling `update`. Write `update(grads, state, params)`."
)


_STEP = (
    "Write `updates, state = transformation.update(grads, state, params)`, then `params = optax.apply_updates(params, "
    "updates)`"
)
_CALLED_HERE = dict.fromkeys(("apply", "apply_gradients", "step"), _STEP)


class Behaviour:
    """What a transformation does, as a value: two of the same kind with the same numbers are equal.

    Args:
        numbers: the hyperparameters that JAX may trace, by name.
        rest: a hashable value for all others.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # What users call stands in a transformation.
        call_methods(cls, "Transformation", is_of_library)

    def __init__(self, numbers: Mapping[str, Any], rest: Any) -> None:
        self.numbers = dict(numbers)
        self.rest = rest

    def with_numbers(self, values: Iterable[Any]) -> Behaviour:
        """The same with other numbers; they are looked at when they are used."""
        raise NotImplementedError

    def with_state_of(self, name: str) -> str:
        """The code that makes it with a hyperparameter in the state, where that can be changed.

        Args:
            name: of the hyperparameter.
        """
        raise NotImplementedError

    def init(self, params: Any) -> Any:
        """The state before the first update; see `optax.GradientTransformation`."""
        raise NotImplementedError

    def update(self, updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        """What is to be added to the parameters, and the next state; see `optax.GradientTransformation`."""
        raise NotImplementedError

    @property
    def key(self) -> Any:
        """What makes it equal to others."""
        return (
            type(self),
            self.rest,
            frozen({name: ops.convert_to_number(number) for name, number in self.numbers.items()}),
        )


class Transformation(optax.GradientTransformationExtraArgs):  # type: ignore[misc]  # of a class without types
    """A transformation that compares and hashes by value and cannot change, and a pytree of its hyperparameters.

    So it may be an argument of a jitted function, static or not: another rate compiles nothing anew, derivatives with
    respect to hyperparameters exist, and `vmap` maps over them.

    Args:
        behaviour: what it does.
    """

    def __new__(cls, behaviour: Behaviour) -> Transformation:
        self: Transformation = super().__new__(cls, behaviour.init, behaviour.update)
        self.__dict__["_behaviour"] = behaviour
        return self

    @property
    def behaviour(self) -> Behaviour:
        """What it does."""
        behaviour: Behaviour = self.__dict__["_behaviour"]
        return behaviour

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Any:
        # What `_replace` gives is no longer this one.
        return optax.GradientTransformationExtraArgs(*iterable)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"A transformation cannot change. Write `transformation = {self.behaviour.with_state_of(name)}`, then "
            f"`state.hyperparams[{name!r}] = {shown(value)}`."
        )

    if not TYPE_CHECKING:  # For which all attributes would exist.

        def __getattr__(self, name: str) -> Any:
            """Say of what optimizers have elsewhere what to do here."""
            remedy = f". {_CALLED_HERE[name]}." if name in _CALLED_HERE else ""
            if name in self.behaviour.numbers:
                remedy = f". `transformation = {self.behaviour.with_state_of(name)}` has it in `state.hyperparams`."
            raise AttributeError(f"A transformation has no attribute {name!r}{remedy}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transformation) and self.behaviour.key == other.behaviour.key

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.behaviour.key)

    def __reduce__(self) -> Any:
        return Transformation, (self.behaviour,)

    def __repr__(self) -> str:
        return repr(self.behaviour)


class _Static:
    """What JAX keeps of a transformation beside its numbers; it compares by that."""

    def __init__(self, behaviour: Behaviour) -> None:
        # Without the numbers: JAX keeps this for as long as what it compiled, and they may be tracers.
        self.behaviour = behaviour.with_numbers([None] * len(behaviour.numbers))
        self._key = (type(behaviour), behaviour.rest, tuple(behaviour.numbers))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _flatten(transformation: Transformation) -> tuple[tuple[Any, ...], _Static]:
    return tuple(transformation.behaviour.numbers.values()), _Static(transformation.behaviour)


def _unflatten(static: _Static, values: Iterable[Any]) -> Transformation:
    return Transformation(static.behaviour.with_numbers(values))


jax.tree_util.register_pytree_node(Transformation, _flatten, _unflatten)


def number_of(value: Any) -> Any:
    """A hyperparameter as a leaf: a float, or an array, in single precision at least, of what was given as one."""
    value = number_of_python(value)
    backend = backend_of(value)
    if backend is not None and backend is not HOST and backend.concrete(value):
        array = backend.traceable(value)
        # Arrays of other libraries, which JAX does not trace, are numbers.
        value = backend.item(value) if array is None else array
    if is_number(value):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return ops.cast(value, "float32") if str(getattr(value, "dtype", "")) in SIXTEEN_BIT else value


def run(
    core: Optimizer, leaves: Leaves, updates: Any, state: OptimizerState, params: Any, rate: Any, **extra_args: Any
) -> Any:
    """One update by an optimizer of the core.

    Args:
        core: the optimizer.
        leaves: what has the parameters' structure.
        updates: the gradients, in a tree.
        state: the core's, its slots by the names of `leaves`.
        params: the parameters in a tree, or None.
        rate: the learning rate of this update, or None for the core's own.
        **extra_args: for a transformation inside of the core's optimizer.

    Returns:
        The updates in a tree, and the core's next state. The updates' dtype is that of the gradient, or a wider one of
        what it meets: the parameter if the rule reads it, or slots that are as wide as parameters.

    Raises:
        ValueError: in optax's words, if the rule reads parameters and there are none.
    """
    gradients = leaves.match(updates, "updates")
    slots = [leaves.beside(slot) for slot in state.slots.values()]
    kept = [leaf for slot in slots for leaf in slot if leaf is not None]
    ways = []
    # Whether the rule reads parameters is found out by giving it none, where nothing else tells the updates' dtype.
    if params is None or all(str(leaf.dtype) in SIXTEEN_BIT for leaf in kept):
        ways.append((_shapes(leaves, gradients, slots), gradients))
    if params is not None:
        ways.append((leaves.leaves, leaves.leaves))
    for known, beside in ways:
        try:
            deltas, state = core.delta(leaves.with_leaves(known), leaves.build(gradients), state, rate, **extra_args)
        except UnknownValueError:
            continue
        found = []
        for delta, gradient, other in zip(leaves.match(deltas, "updates"), gradients, beside, strict=True):
            if delta is not None:
                delta = jax.lax.convert_element_type(delta, jax.numpy.promote_types(gradient.dtype, other.dtype))
            found.append(delta)
        return leaves.build(found), state
    raise ValueError(_NO_PARAMS)


def _shapes(leaves: Leaves, gradients: list[Any], slots: list[list[Any]]) -> list[Any]:
    """Stand-ins for parameters that were not given, as wide as the gradients and slots beside them."""
    found = []
    for position, (leaf, gradient) in enumerate(zip(leaves.leaves, gradients, strict=True)):
        beside = [slot[position].dtype for slot in slots if slot[position] is not None]
        dtypes = [*beside, (leaf if gradient is None else gradient).dtype]
        found.append(shape_of(leaf.shape, functools.reduce(jax.numpy.promote_types, dtypes)))
    return found


def shape_of(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array without values."""
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]  # JAX declares no types here
