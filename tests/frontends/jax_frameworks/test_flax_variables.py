"""flax's Variables and boxes, with transformations of gradwise beside optax's."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from gradwise import optimizers
from gradwise.frontends import optax as goptax

pytestmark = pytest.mark.jax


def model() -> Any:
    from flax import nnx

    return nnx.Linear(3, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "from_optimizer"])
def test_hijax_variables(name: str) -> None:
    """They are leaves of trees that look like arrays of an unknown library; they are JAX's."""
    from flax import nnx

    make = {
        "adam": lambda: goptax.adam(0.1),
        "adamw": lambda: goptax.adamw(0.1),
        "sgd": lambda: goptax.sgd(0.1, momentum=0.9),
        "from_optimizer": lambda: goptax.from_optimizer(optimizers.Nadam(0.1)),
    }[name]
    ends = []
    for hijax in (False, True):
        with nnx.var_defaults(hijax=hijax), warnings.catch_warnings():
            warnings.simplefilter("error")
            trained = model()
            optimizer = nnx.Optimizer(trained, make(), wrt=nnx.Param)
            for _ in range(2):
                optimizer.update(trained, nnx.state(trained, nnx.Param))
            shapes = nnx.eval_shape(lambda: nnx.Optimizer(model(), make(), wrt=nnx.Param))
            assert len(jax.tree.leaves(shapes)) == len(jax.tree.leaves(optimizer))
            params = nnx.state(trained, nnx.Param)
            transformation = make()
            updates, _ = transformation.update(params, transformation.init(params), params)
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(updates))
            ends.append(jax.tree.leaves(nnx.as_pure(params)))
    for plain, hijax in zip(*ends, strict=True):
        assert jnp.allclose(plain, hijax, rtol=1e-6)


def test_hijax_variables_in_the_core() -> None:
    from flax import nnx

    with nnx.var_defaults(hijax=True):
        params = nnx.state(model(), nnx.Param)
    optimizer = optimizers.Adam(0.1)
    state = optimizer.init(params)
    moved, state = jax.jit(optimizer.step)(nnx.as_pure(params), nnx.as_pure(params), state)
    again, _ = optimizer.step(params, params, optimizer.init(params))
    for one, other in zip(jax.tree.leaves(moved), jax.tree.leaves(again), strict=True):
        assert jnp.allclose(one, other, rtol=1e-5)


def test_an_unfiltered_equinox_model() -> None:
    """The activation functions of a model have no gradient; optax's sgd takes them, and so do all functions here."""
    import equinox as eqx

    network = eqx.nn.MLP(3, 1, 8, 1, key=jax.random.key(0))
    grads = eqx.filter_grad(lambda m: jnp.sum(m(jnp.ones(3))))(network)
    for name in ("sgd", "adam", "adamw"):
        ends = []
        for module in (goptax, optax):
            transformation = getattr(module, name)(0.1)
            filtered = eqx.filter(network, eqx.is_inexact_array)
            state = transformation.init(network if name == "sgd" or module is goptax else filtered)
            updates, _ = transformation.update(grads, state, network)
            ends.append(eqx.apply_updates(network, updates))
        for ours, theirs in zip(*(jax.tree.leaves(eqx.filter(end, eqx.is_array)) for end in ends), strict=True):
            assert jnp.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


KINDS = {
    "core": lambda: goptax.from_optimizer(optimizers.Adam(0.1, convention="torch", use_ema=True)),
    "row": lambda: goptax.adamw(0.1),
    "transformation": lambda: goptax.from_optimizer(
        goptax.to_optimizer(optax.adafactor(0.1, min_dim_size_to_factor=1))
    ),
}


def fits(leaves: Any, specs: Any) -> bool:
    from jax.sharding import PartitionSpec

    found = jax.tree.leaves(specs, is_leaf=lambda node: isinstance(node, PartitionSpec))
    return all(len(spec) <= leaf.ndim for leaf, spec in zip(jax.tree.leaves(leaves), found, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_partitioned_parameters_of_linen(name: str) -> None:
    """What is a number for each parameter is not partitioned as the parameter is."""
    from flax import linen
    from flax.training.train_state import TrainState

    def boxed(init: Any, *names: str) -> Any:
        return linen.with_partitioning(init, names)

    network = linen.Dense(
        4, kernel_init=boxed(linen.initializers.ones, "x", "y"), bias_init=boxed(linen.initializers.zeros, "y")
    )
    params = network.init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=KINDS[name]())
    assert fits(linen.unbox(state.opt_state), linen.get_partition_spec(state.opt_state))
    after = state.apply_gradients(grads=params)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("name", KINDS)
def test_partitioned_parameters_of_nnx(name: str) -> None:
    from flax import nnx

    def boxed(init: Any, *names: str) -> Any:
        return nnx.with_partitioning(init, names)

    mesh = jax.make_mesh((1, 1), ("x", "y"))
    with jax.set_mesh(mesh):
        network = nnx.Linear(
            2,
            4,
            kernel_init=boxed(nnx.initializers.ones_init(), "x", "y"),
            bias_init=boxed(nnx.initializers.zeros_init(), "y"),
            rngs=nnx.Rngs(0),
        )
        optimizer = nnx.Optimizer(network, KINDS[name](), wrt=nnx.Param)
        state = nnx.state(optimizer)
        assert fits(state, nnx.get_partition_spec(state))
        optimizer.update(network, nnx.state(network, nnx.Param))
