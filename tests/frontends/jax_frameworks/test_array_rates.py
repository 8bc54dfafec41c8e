"""Rates given as arrays: equinox traces them, and flax takes the transformation as static all the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradwise import optimizers
from gradwise.frontends import optax as goptax

pytestmark = pytest.mark.jax

MAKE = {
    "adam": goptax.adam,
    "sgd": lambda rate: goptax.sgd(rate, momentum=rate),
    "from_optimizer": lambda rate: goptax.from_optimizer(optimizers.Adam(rate)),
}


@pytest.mark.parametrize("name", MAKE)
def test_equinox_traces_them(name: str) -> None:
    import equinox
    import equinox.internal

    traces = []

    @equinox.filter_jit
    def step(transformation: Any, params: Any, state: Any) -> Any:
        traces.append(None)
        return transformation.update(params, state, params)

    params = jnp.ones(3)
    for change in (lambda tx: tx, equinox.internal.closure_to_pytree):
        for rate in (1e-3, 1e-2, 1e-1):
            transformation = change(MAKE[name](jnp.asarray(rate)))
            updates, _ = step(transformation, params, transformation.init(params))
            plain, _ = MAKE[name](rate).update(params, transformation.init(params), params)
            np.testing.assert_allclose(updates, plain, rtol=1e-5)
    assert len(traces) == 1


def test_optimistix_traces_a_function_once() -> None:
    import optimistix

    traces = []

    def loss(x: Any, _: Any) -> Any:
        traces.append(None)
        return x**2

    for rate in (1e-3, 1e-2):
        solver = optimistix.OptaxMinimiser(goptax.adam(jnp.asarray(rate)), rtol=1e-3, atol=1e-3)
        optimistix.minimise(loss, solver, 1.0, throw=False)
    assert len(traces) == 1


@pytest.mark.parametrize("name", MAKE)
def test_flax_keeps_them(name: str) -> None:
    from flax import nnx

    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, MAKE[name](jnp.asarray(0.5)), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> None:
        optimizer.update(model, nnx.grad(lambda m: jnp.mean(m(jnp.ones((2, 3)))))(model))

    before = jnp.array(model.kernel[...])
    step(model, optimizer)
    assert jnp.all(model.kernel[...] < before)
    assert len(jax.tree.leaves(optimizer.tx)) > 0
