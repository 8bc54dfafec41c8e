"""The loops that JAX users write, really run: flax, equinox, optimistix and orbax with transformations of gradwise.

These packages are not in the test extra: `make jax-frameworks` makes an environment for them and runs this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradwise import optimizers
from gradwise.frontends import optax as goptax

pytestmark = pytest.mark.jax


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=1e-6)


def data() -> tuple[Any, Any]:
    x = jax.random.normal(jax.random.key(0), (64, 3))
    return x, x @ jnp.asarray([1.0, -2.0, 0.5]) + 0.25


def matrices(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, tree)


TRANSFORMATIONS = {
    "adam": lambda module: module.adam(0.05),
    "adamw": lambda module: module.adamw(0.05, weight_decay=0.01, mask=matrices),
    "sgd": lambda module: optax.chain(optax.clip_by_global_norm(1.0), module.sgd(0.05, momentum=0.9)),
    "injected": lambda module: optax.inject_hyperparams(module.rmsprop)(optax.linear_schedule(0.1, 0.01, 50)),
}
# ---------------------------------------------------------------- flax


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_nnx_optimizer(name: str) -> None:
    from flax import nnx

    x, y = data()
    ends = []
    for module in (goptax, optax):
        model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, TRANSFORMATIONS[name](module), wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any) -> Any:
            loss, grads = nnx.value_and_grad(lambda model: jnp.mean((model(x)[:, 0] - y) ** 2))(model)
            optimizer.update(model, grads)
            return loss

        losses = [float(step(model, optimizer)) for _ in range(60)]
        assert losses[-1] < losses[0] / 10
        ends.append(nnx.state(model, nnx.Param))
    close(ends[0], ends[1], 1e-3)


def test_train_state() -> None:
    from flax.training.train_state import TrainState

    x, y = data()
    traces = []

    @jax.jit
    def step(state: Any) -> Any:
        traces.append(None)
        grads = jax.grad(lambda w: jnp.mean((state.apply_fn(w["w"], x) - y) ** 2))(state.params)
        return state.apply_gradients(grads=grads)

    def apply(w: Any, x: Any) -> Any:
        return x @ w

    for _ in range(3):
        # A transformation made anew is equal to the last one, and compiles nothing anew.
        state = TrainState.create(apply_fn=apply, params={"w": jnp.zeros(3)}, tx=goptax.adam(0.1))
        for _ in range(100):
            state = step(state)
    assert len(traces) == 1
    close(state.params["w"], jnp.asarray([1.0, -2.0, 0.5]), 0.2)


def test_nnx_state_through_orbax(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp
    from flax import nnx

    x, y = data()

    def made() -> Any:
        model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        return model, nnx.Optimizer(model, goptax.adam(0.05), wrt=nnx.Param)

    def train(model: Any, optimizer: Any, steps: int) -> None:
        for _ in range(steps):
            grads = nnx.grad(lambda model: jnp.mean((model(x)[:, 0] - y) ** 2))(model)
            optimizer.update(model, grads)

    model, optimizer = made()
    train(model, optimizer, 3)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state((model, optimizer)))
        checkpointer.wait_until_finished()
        again = made()
        nnx.update(again, checkpointer.restore(tmp_path / "state", nnx.state(again)))
    train(model, optimizer, 3)
    train(*again, 3)
    close(nnx.state(again[0]), nnx.state(model), 0)


# ---------------------------------------------------------------- equinox


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_equinox_loop(name: str) -> None:
    import equinox as eqx

    x, y = data()
    ends = []
    for module in (goptax, optax):
        transformation = TRANSFORMATIONS[name](module)
        # The activation functions are leaves that are no arrays; filtered out, they are None.
        model = eqx.nn.MLP(3, 1, 8, 1, key=jax.random.key(0))
        state = transformation.init(eqx.filter(model, eqx.is_inexact_array))

        @eqx.filter_jit
        def step(model: Any, state: Any, transformation: Any) -> Any:
            loss, grads = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x)[:, 0] - y) ** 2))(model)
            updates, state = transformation.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
            return eqx.apply_updates(model, updates), state, loss

        losses = []
        for _ in range(80):
            model, state, loss = step(model, state, transformation)
            losses.append(float(loss))
        assert losses[-1] < losses[0] / 4
        ends.append(losses[-1])
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


def test_equinox_serialisation(tmp_path: Path) -> None:
    import equinox as eqx

    params = {"w": jnp.arange(3.0)}
    transformation = goptax.adamw(0.1)
    _, state = transformation.update(params, transformation.init(params), params)
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", state)
    close(eqx.tree_deserialise_leaves(tmp_path / "state.eqx", transformation.init(params)), state, 0)


# ---------------------------------------------------------------- optimistix


@pytest.mark.parametrize("name", ["adam", "sgd", "core"])
def test_optimistix(name: str) -> None:
    import optimistix

    def loss(y: Any, args: Any) -> Any:
        return jnp.sum((y["a"] - 3.0) ** 2) + jnp.sum(y["b"] ** 2)

    transformation = {
        "adam": lambda: goptax.adam(0.1),
        "sgd": lambda: goptax.sgd(0.1, momentum=0.5),
        "core": lambda: goptax.from_optimizer(optimizers.Nadam(0.1)),
    }[name]()
    # As in optimistix's own tests.
    with jax.numpy_dtype_promotion("strict"):
        solver = optimistix.OptaxMinimiser(transformation, rtol=1e-4, atol=1e-4)
        solution = optimistix.minimise(loss, solver, {"a": jnp.ones(2), "b": jnp.ones(3)}, max_steps=2000)
    np.testing.assert_allclose(solution.value["a"], 3.0, atol=0.02)
    np.testing.assert_allclose(solution.value["b"], 0.0, atol=0.02)


# ---------------------------------------------------------------- orbax


@pytest.mark.parametrize("writer", ["ours", "optax"])
@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "amsgrad", "adagrad"])
def test_orbax_saves_and_restores_by_name(name: str, writer: str, tmp_path: Path) -> None:
    """Also what optax wrote: the states are the same."""
    import orbax.checkpoint as ocp

    options = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    ours, theirs = (getattr(module, name)(0.1, **options) for module in (goptax, optax))
    params = {"w": jnp.arange(3.0), "b": jnp.ones(2)}
    written = ours if writer == "ours" else theirs
    _, state = written.update(params, written.init(params), params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, ours.init(params))
        restored = checkpointer.restore(tmp_path / "state", target)
    assert jax.tree.structure(restored) == jax.tree.structure(ours.init(params))
    close(restored, state, 0)
    close(ours.update(params, restored, params), ours.update(params, state, params), 0)


def test_orbax_saves_a_core_s_state(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    optimizer = optimizers.Nadam(0.1, use_ema=True)
    params = {"w": jnp.arange(3.0), "b": jnp.ones(2)}
    _, state = optimizer.step(params, params, optimizer.init(params))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", optimizer.init(params))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    close(restored, state, 0)


def test_a_core_state_that_flax_read_from_bytes() -> None:
    """Flax gives NumPy arrays back where JAX's went in: the step takes them as JAX's own functions do."""
    from flax import serialization

    params = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]], jnp.float32), "b": jnp.asarray([0.25, -1.0], jnp.bfloat16)}
    grads = {"w": jnp.asarray([[0.5, 1e-3], [-2.0, 4.0]], jnp.float32), "b": jnp.asarray([-1.0, 2.0], jnp.bfloat16)}
    optimizer = optimizers.Adam(0.1)
    params, state = optimizer.step(params, grads, optimizer.init(params))
    read = serialization.from_bytes(optimizer.init(params), serialization.to_bytes(state))
    found, expected = optimizer.step(params, grads, read), optimizer.step(params, grads, state)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, jax.Array) and a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))
