"""NumPy's arrays beside JAX's are JAX's on every way, as in JAX's own functions: states read from files, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.every_convention import EVERY, called

from gradwise.backends import Variable
from gradwise.optimizers import Adam

pytestmark = pytest.mark.jax


def trees() -> tuple[Any, Any]:
    import jax.numpy as jnp

    params = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]], jnp.float32), "b": jnp.asarray([0.25, -1.0], jnp.bfloat16)}
    grads = {"w": jnp.asarray([[0.5, 1e-3], [-2.0, 4.0]], jnp.float32), "b": jnp.asarray([-1.0, 2.0], jnp.bfloat16)}
    return params, grads


def assert_same(found: Any, expected: Any) -> None:
    import jax

    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, jax.Array) and a.dtype == b.dtype and not a.weak_type
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_a_state_and_gradients_that_came_to_the_host(kind: Any, convention: str) -> None:
    import jax

    params, grads = trees()
    optimizer = kind(0.1, convention=convention, use_ema=True)
    params, state = optimizer.step(params, grads, optimizer.init(params))
    held, given = jax.device_get((state, grads))
    assert_same(optimizer.step(params, given, held), optimizer.step(params, grads, state))
    assert_same(optimizer.delta(params, given, held), optimizer.delta(params, grads, state))
    assert all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves((held, given)))


def test_what_runs_under_jit_runs_without() -> None:
    import jax

    params, grads = trees()
    optimizer = Adam(0.1)
    held, given = jax.device_get((optimizer.init(params), grads))
    compiled = jax.jit(optimizer.step)(params, given, held)
    with jax.disable_jit():
        found = jax.jit(optimizer.step)(params, given, held)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, "auto"])
def test_imperative_steps(jit_compile: Any) -> None:
    import jax
    import jax.numpy as jnp

    cells = [Variable(jnp.ones(3)), Variable(jnp.ones(3))]
    optimizers = [Adam(0.1, jit_compile=jit_compile) for _ in cells]
    for number in range(1, 4):
        gradient = np.asarray([1.0, -2.0, 0.5], np.float32) * number
        optimizers[0].apply([gradient], [cells[0]])
        optimizers[1].apply([jnp.asarray(gradient)], [cells[1]])
    assert isinstance(cells[0].value, jax.Array)
    np.testing.assert_array_equal(cells[0].value, cells[1].value)


def test_stateless_steps() -> None:
    params, grads = trees()
    optimizer = Adam(0.1)
    optimizer.build([Variable(params["w"])])
    own = [cell.value for cell in optimizer.variables]
    host = [value if isinstance(value, int | float) else np.asarray(value) for value in own]
    found = optimizer.stateless_apply(host, [np.asarray(grads["w"])], [params["w"]])
    expected = optimizer.stateless_apply(own, [grads["w"]], [params["w"]])
    assert_same(found[0], expected[0])
    assert [type(value) for value in found[1]] == [type(value) for value in expected[1]]


@pytest.mark.parametrize("dtype", ["bool", "complex64", "longdouble", ">f4", "U1", "object", "datetime64[D]"])
def test_arrays_of_what_jax_has_not_are_refused(dtype: str) -> None:
    import jax.numpy as jnp

    optimizer, params = Adam(0.1), jnp.ones(2)
    state = optimizer.init(params)
    with pytest.raises(TypeError, match="gradient of 'parameter'"):
        optimizer.step(params, np.asarray([1, 0]).astype(dtype), state)
    cell = Variable(params)
    with pytest.raises(TypeError, match="gradient of"):
        Adam(0.1).apply([np.asarray([1, 0]).astype(dtype)], [cell])
    np.testing.assert_array_equal(cell.value, 1.0)


def test_masked_arrays_are_refused_before_anything_is_built() -> None:
    import jax.numpy as jnp

    optimizer, cell = Adam(0.1), Variable(jnp.ones(2))
    with pytest.raises(TypeError, match=r"gradient of .* must be a jax array"):
        optimizer.apply([np.ma.array(np.ones(2), mask=[True, False])], [cell])
    assert not optimizer.built
