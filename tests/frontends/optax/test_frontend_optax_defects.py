"""Where optax's arithmetic is at fault: what it does, and what the function of the same name in gradwise does.

`test_peer_defects.py` shows some of these for the core. Defects of optimizers that `gradwise.frontends.optax` does not
offer (rprop, adafactor, prodigy and others) are not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.releases import enable_x64, optax_tree
from rules import all_facts

pytestmark = pytest.mark.jax


FACTS_OF = {name: facts for facts in all_facts().values() for name in facts.optax}


def both(name: str) -> tuple[Any, Any]:
    import optax

    from gradwise.frontends import optax as goptax

    return getattr(optax, name), getattr(goptax, name)


def stepped(transformation: Any, params: Any, grads: Any, state: Any = None) -> tuple[Any, Any]:
    import optax

    state = transformation.init(params) if state is None else state
    updates, state = transformation.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def test_adadelta_without_a_rate_climbs() -> None:
    """The minus sign comes with the rate."""
    import jax
    import jax.numpy as jnp

    ends = []
    for function in both("adadelta"):
        transformation = function()
        update, params = jax.jit(transformation.update), jnp.asarray([2.0])
        state = transformation.init(params)
        for _ in range(2000):
            updates, state = update(2 * params, state, params)
            params = params + updates
        ends.append(float(params[0]))
    assert ends[0] > 100 and abs(ends[1]) < 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_injected_hyperparameters_are_rounded_to_the_parameters(dtype: str) -> None:
    """optax.inject_hyperparams gives 0.999 as 1 and 1e-8 as 0: NaN from optax, and from gradwise a refusal, or what
    epsilon 0 means. With a dtype that holds them, gradwise's step is right; without injection it always is."""
    import jax.numpy as jnp
    import optax

    theirs, ours = both("adam")
    params = jnp.zeros(1, dtype)
    after, _ = stepped(optax.inject_hyperparams(theirs)(0.125), params, jnp.zeros(1, dtype))
    assert np.isnan(after[0])
    if dtype == "bfloat16":
        with pytest.raises(ValueError, match=r"`b2` must be a number in \[0, 1\), received 1"):
            optax.inject_hyperparams(ours)(0.125).init(params)
    for transformation in (optax.inject_hyperparams(ours, hyperparam_dtype=jnp.float32)(0.125), ours(0.125)):
        assert stepped(transformation, params, jnp.ones(1, dtype))[0] == -0.125
        assert stepped(transformation, params, jnp.zeros(1, dtype))[0] == 0.0


@pytest.mark.parametrize("name", [name for name, facts in FACTS_OF.items() if facts.loses_epsilon])
def test_zero_gradients_in_float16(name: str) -> None:
    """optax's epsilon of 1e-8 is 0 in float16: 0/0, in RAdam from the sixth step on."""
    import jax.numpy as jnp

    theirs, ours = (function(0.1) for function in both(name))
    zeros, ends = jnp.zeros(1, jnp.float16), []
    for transformation in (theirs, ours):
        params, state = jnp.ones(1, jnp.float16), None
        for _ in range(6):
            params, state = stepped(transformation, params, zeros, state)
        ends.append(params[0])
    assert np.isnan(ends[0])
    assert ends[1] == pytest.approx(1.0, abs=1e-3)


def remembers(facts: Any) -> bool:
    return bool(facts.slots(facts.hyperparameters["optax"]))


@pytest.mark.parametrize("name", [name for name, facts in FACTS_OF.items() if remembers(facts)])
def test_float32_gradients_of_bfloat16_parameters(name: str) -> None:
    """optax's state changes its dtypes at the first update, so that a scan over updates is impossible."""
    import jax
    import jax.numpy as jnp

    theirs, ours = (function(0.1) for function in both(name))
    params, grads = jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32)

    def dtypes(transformation: Any) -> tuple[list[Any], list[Any]]:
        state = transformation.init(params)
        after = transformation.update(grads, state, params)[1]
        return [leaf.dtype for leaf in jax.tree.leaves(state)], [leaf.dtype for leaf in jax.tree.leaves(after)]

    before, after = dtypes(theirs)
    assert before != after
    before, after = dtypes(ours)
    assert before == after


def test_sgd_keeps_its_trace_in_its_dtype() -> None:
    import jax.numpy as jnp

    theirs, ours = (function(0.1, momentum=0.9) for function in both("sgd"))
    params, grads = jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32)
    assert theirs.init(params)[0].trace.dtype != stepped(theirs, params, grads)[1][0].trace.dtype
    assert ours.init(params)[0].trace.dtype == stepped(ours, params, grads)[1][0].trace.dtype == jnp.float32


def test_second_moments_in_bfloat16_never_fade() -> None:
    """0.999 v rounds to v."""
    import jax.numpy as jnp

    ends = []
    for function in both("adam"):
        transformation = function(0.001)
        params = jnp.zeros(1, jnp.bfloat16)
        params, state = stepped(transformation, params, jnp.ones(1, jnp.bfloat16))
        first = float(state[0].nu[0])
        for _ in range(50):
            params, state = stepped(transformation, params, jnp.zeros(1, jnp.bfloat16), state)
        ends.append(float(state[0].nu[0]) / first)
    assert ends[0] == 1.0
    assert ends[1] == pytest.approx(0.999**50, rel=1e-4)


def test_centered_rmsprop_takes_the_root_of_less_than_nothing() -> None:
    import jax.numpy as jnp

    theirs, ours = (function(0.01, decay=0.5, centered=True) for function in both("rmsprop"))
    ends = []
    for transformation in (theirs, ours):
        params, state = jnp.zeros(1), None
        for _ in range(40):
            params, state = stepped(transformation, params, jnp.full(1, 10.0), state)
        ends.append(float(params[0]))
    assert np.isnan(ends[0]) and np.isfinite(ends[1])


def test_derivative_where_the_gradient_is_zero() -> None:
    """As behind a relu that is off. The derivative of the step is lr * (1 - b1) / (1 - b1) / eps; optax's is NaN."""
    import jax
    import jax.numpy as jnp

    slopes = []
    for function in both("adam"):
        transformation, params = function(0.1, eps=1e-3), jnp.zeros(1)

        def moved(gradient: Any, transformation: Any = transformation, params: Any = params) -> Any:
            return transformation.update(gradient, transformation.init(params), params)[0][0]

        slopes.append(float(jax.grad(moved)(jnp.zeros(1))[0]))
    assert np.isnan(slopes[0])
    np.testing.assert_allclose(slopes[1], -100, rtol=1e-6)


def test_missing_gradients() -> None:
    """None among the gradients only: optax's adam raises, or gives a state of another structure."""
    import jax
    import jax.numpy as jnp

    theirs, ours = (function(0.1) for function in both("adam"))
    params, grads = {"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": jnp.ones(2), "b": None}
    with pytest.raises(ValueError, match=r"structure|None"):
        theirs.update(grads, theirs.init(params), params)
    updates, state = ours.update(grads, ours.init(params), params)
    assert updates["b"] is None
    assert jax.tree.structure(state) == jax.tree.structure(ours.init(params))


def test_adam_under_strict_promotion() -> None:
    import jax
    import jax.numpy as jnp

    theirs, ours = (function(0.1) for function in both("adam"))
    params = jnp.ones(2)
    with jax.numpy_dtype_promotion("strict"):
        with pytest.raises(jax.dtypes.TypePromotionError, match="strict"):
            stepped(theirs, params, params)
        stepped(ours, params, params)


# ---------------------------------------------------------------- exactness of the bias correction


@pytest.mark.parametrize(("beta", "theirs_at_least"), [(0.999, 1e-5), (0.9999, 1e-4)])
def test_the_bias_correction_under_jit(beta: float, theirs_at_least: float) -> None:
    """The worst relative error of 1 - beta^t in 200 steps: measured 1.3e-5 and 1.7e-4 for optax, here below 2e-7."""
    import jax
    import jax.numpy as jnp
    import mpmath

    from gradwise.backends import ops

    steps = range(1, 201)
    exact = [float(1 - mpmath.mpf(beta) ** t) for t in steps]

    def worst(correction: Any) -> float:
        compiled = jax.jit(correction)
        found = [float(compiled(jnp.asarray(t, jnp.int32))) for t in steps]
        return max(abs(a / b - 1) for a, b in zip(found, exact, strict=True))

    theirs = worst(lambda count: 1 / optax_tree.bias_correction(jnp.ones([]), beta, count))
    ours = worst(lambda count: ops.one_minus_power(beta, count))
    assert ours <= 2e-7 < theirs_at_least <= theirs


@pytest.mark.parametrize("beta", [0.999, 0.9999])
def test_what_that_does_to_parameters_in_100_steps(beta: float) -> None:
    """Against the same steps in float64: relative distances of what the parameters moved, optax's and gradwise's."""
    import jax
    import jax.numpy as jnp
    import optax

    gradients = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)

    def moved(transformation: Any, dtype: Any) -> Any:
        def step(carry: Any, gradient: Any) -> Any:
            params, state = carry
            updates, state = transformation.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        params = jnp.zeros(64, dtype)
        scanned = jax.jit(
            lambda: jax.lax.scan(step, (params, transformation.init(params)), jnp.asarray(gradients, dtype))
        )
        return np.asarray(scanned()[0][0], np.float64)

    theirs, ours = (function(0.01, b2=beta) for function in both("adam"))
    with enable_x64(True):
        exact = moved(ours, jnp.float64)
    errors = [np.max(np.abs(moved(each, jnp.float32) - exact)) / np.max(np.abs(exact)) for each in (theirs, ours)]
    print(f"beta_2 {beta}: optax {errors[0]:.2e}, gradwise {errors[1]:.2e}")
    assert errors[1] <= 5e-7 and errors[0] >= 5 * errors[1]
