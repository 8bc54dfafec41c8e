"""Optimizers as values: equality, hash, static arguments, nodes of JAX's trees."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.every_convention import EVERY, called

from gradwise import optimizers, schedules
from gradwise.backends import ops
from gradwise.optimizers import SGD, Adam, AdamW, Optimizer


class Wrapping(Optimizer):
    """An optimizer with another inside, and numbers of its own."""

    def __init__(self, inner: Any, factors: Any = (1.0, 0.5), **keywords: Any) -> None:
        super().__init__(**keywords)
        self.inner = inner
        self.factors = list(factors)

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.inner.build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.inner.update_step(gradient * self.factors[1], variable, learning_rate)


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_equal_if_made_alike(kind: Any, convention: str) -> None:
    one, other = (kind(0.1, clipnorm=2, convention=convention) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert len({one, other, kind(0.1, convention=convention)}) == 2


@pytest.mark.parametrize(
    "other",
    [
        Adam(2e-3), Adam(beta_2=0.99), Adam(name="another"), Adam(convention="torch"), Adam(jit_compile=False),
        Adam(schedules.ExponentialDecay(1e-3, 10, 0.9)), AdamW(1e-3, weight_decay=None), SGD(1e-3), 1, None, "adam",
    ],
    ids=repr,
)  # fmt: skip
def test_different(other: Any) -> None:
    assert Adam() != other and other != Adam()


def test_what_is_inside_counts() -> None:
    one, alike = (Wrapping(Adam(slot_dtype={"momentum": "float64"})) for _ in range(2))
    assert one == alike and hash(one) == hash(alike)
    assert one != Wrapping(Adam(slot_dtype={"momentum": "float32"}))
    assert one != Wrapping(Adam(slot_dtype={"momentum": "float64"}), [1.0, 0.25])
    decays = [Adam(schedules.ExponentialDecay(0.1, 10, rate)) for rate in (0.9, 0.9, 0.8)]
    assert decays[0] == decays[1] != decays[2]
    excluding = [Adam(weight_decay=0.1) for _ in range(2)]
    excluding[0].exclude_from_weight_decay(var_names=["bias"])
    assert excluding[0] != excluding[1]


def test_what_was_learned_does_not_count() -> None:
    trained, fresh = SGD(0.1, momentum=0.5), SGD(0.1, momentum=0.5)
    trained.apply([np.ones(3)], [np.ones(3)])
    assert trained == fresh and hash(trained) == hash(fresh)
    trained.apply([np.ones(3)])
    assert trained.iterations == 2


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("learning_rate", lambda it: setattr(it, "learning_rate", 0.5)),
        ("learning_rate", lambda it: setattr(it, "learning_rate", schedules.ExponentialDecay(0.1, 10, 0.9))),
        ("beta_1", lambda it: setattr(it, "beta_1", 0.5)),
        ("clipnorm", lambda it: setattr(it, "clipnorm", None)),
        ("name", lambda it: setattr(it, "name", "other")),
        ("exclusions", lambda it: it.exclude_from_weight_decay(var_names=["bias"])),
    ],
    ids=["rate", "schedule", "beta", "clip", "name", "exclusions"],
)
def test_the_hashed_cannot_change(what: str, change: Any) -> None:
    """A table that kept it under its hash would find something else there."""
    optimizer = Adam(0.1, clipnorm=1.0)
    change(copy.copy(optimizer))
    hash(optimizer)
    with pytest.raises(RuntimeError, match=f"'adam' cannot change its {what}.*because it was hashed.*change a copy"):
        change(optimizer)
    assert optimizer == Adam(0.1, clipnorm=1.0)
    for duplicate in (copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert duplicate == optimizer
        change(duplicate)
        assert duplicate != optimizer


def _trained(optimizer: Any, start: Any = None) -> Any:
    import jax.numpy as jnp

    params = jnp.asarray([1.0, -2.0]) if start is None else start
    state = optimizer.init(params)
    for gradient in ([0.5, 1.0], [-2.0, 0.25], [1.0, 1.0]):
        params, state = optimizer.step(params, jnp.asarray(gradient), state)
    return params


@pytest.mark.jax
@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_static_and_traced_arguments(kind: Any, convention: str) -> None:
    """Static, an equal one compiles nothing anew; traced, nor does one with other numbers."""
    import jax

    def make(rate: float) -> Any:
        return kind(rate, weight_decay=None, clipnorm=0.5, convention=convention)

    for static, most, rates in ((0, 2, (0.1, 0.1)), ((), 1, (0.1, 0.1, 0.2, 0.2))):
        traces = []

        def run(optimizer: Any, traces: list[Any] = traces) -> Any:
            traces.append(optimizer)
            return _trained(optimizer)

        jitted = jax.jit(run, static_argnums=static)
        for rate in rates:
            np.testing.assert_allclose(jitted(make(rate)), _trained(make(rate)), rtol=1e-4)
        for _ in range(2):
            jitted.eval_shape(make(0.2))  # Traced, and not compiled.
        assert len(traces) == most


@pytest.mark.jax
def test_a_tree_of_numbers() -> None:
    """Leaves are the numbers in use; the rest is compared."""
    import jax

    optimizer = Wrapping(SGD(0.5, momentum=0.9), learning_rate=0.25, clipnorm=2.0)
    leaves, structure = jax.tree.flatten(optimizer)
    assert sorted(leaves) == [0.25, 0.5, 0.9, 0.99, 0.99, 2.0]
    assert structure == jax.tree.structure(jax.tree.map(lambda leaf: leaf / 2, optimizer))
    assert structure != jax.tree.structure(Wrapping(SGD(0.5), learning_rate=0.25, clipnorm=2.0))
    assert structure != jax.tree.structure(Wrapping(SGD(0.5, momentum=0.9), learning_rate=0.25))
    again = jax.tree.unflatten(structure, leaves)
    assert again == optimizer and again is not optimizer
    assert not jax.tree.leaves(SGD(schedules.ExponentialDecay(0.1, 10, 0.9), ema_momentum=0.0))


@pytest.mark.jax
def test_what_comes_out_of_jit_works_everywhere() -> None:
    import jax

    optimizer = jax.jit(lambda it: it)(Adam(0.125, beta_1=0.5, beta_2=0.75))
    rounded = {name: float(np.float32(value)) for name, value in {"epsilon": 1e-7, "ema_momentum": 0.99}.items()}
    assert optimizer == Adam(0.125, beta_1=0.5, beta_2=0.75, **rounded)
    weights = np.ones(2, np.float32)
    optimizer.apply([np.ones(2, np.float32)], [weights])
    assert isinstance(optimizer.learning_rate, float) and weights[0] < 1


@pytest.mark.jax
def test_mapped_and_differentiated() -> None:
    import jax
    import jax.numpy as jnp

    rates = [0.1, 0.2, 0.4]
    stacked = jax.tree.map(lambda *numbers: jnp.stack(numbers), *(Adam(rate) for rate in rates))
    mapped = jax.vmap(_trained)(stacked)
    np.testing.assert_allclose(mapped, [_trained(Adam(rate)) for rate in rates], rtol=1e-4)

    def loss(optimizer: Any) -> Any:
        return jnp.sum(_trained(optimizer) ** 2)

    slope = jax.grad(loss)(SGD(0.1, momentum=0.5))
    difference = (loss(SGD(0.101, momentum=0.5)) - loss(SGD(0.099, momentum=0.5))) / 0.002
    assert slope.learning_rate == pytest.approx(float(difference), rel=1e-2)
    difference = (loss(SGD(0.1, momentum=0.501)) - loss(SGD(0.1, momentum=0.499))) / 0.002
    assert slope.momentum == pytest.approx(float(difference), rel=1e-2)


@pytest.mark.jax
def test_rematerialized_and_carried() -> None:
    import jax

    def step(optimizer: Any, gradient: Any) -> Any:
        return optimizer, jax.checkpoint(_trained)(optimizer, gradient)

    starts = jax.numpy.asarray([[1.0, 2.0], [3.0, 4.0]])
    carried, ends = jax.lax.scan(step, SGD(0.1, momentum=0.5), starts)
    np.testing.assert_allclose(ends[1], _trained(SGD(0.1, momentum=0.5), starts[1]), rtol=1e-5)
    assert carried.momentum == 0.5


@pytest.mark.jax
def test_a_rule_of_the_users_own_is_a_node_too() -> None:
    import jax

    class SignDescent(Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, learning_rate * ops.sign(gradient))

    np.testing.assert_allclose(jax.jit(_trained)(SignDescent(0.5)), _trained(SignDescent(0.5)))


def test_the_registry_is_asked_by_value() -> None:
    assert optimizers.deserialize(optimizers.serialize(Adam(0.5))) == Adam(0.5)


def test_one_that_was_hashed_can_still_be_built():
    optimizer, weights = Adam(0.5), np.ones(2)
    hash(optimizer)
    optimizer.apply([np.ones(2)], [weights])
    np.testing.assert_allclose(weights, 0.5, rtol=1e-5)
    with pytest.raises(RuntimeError, match="because it was hashed"):
        optimizer.beta_1 = 0.5
