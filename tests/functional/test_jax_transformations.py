"""Functional steps under JAX's transformations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.every_convention import SMOOTH, WITH_NAMES, algorithm_of, existing
from helpers.releases import enable_x64
from helpers.selection import crossing

from gradwise import schedules
from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adagrad, Adam, Nadam, Optimizer, RMSprop
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.jax


def params_and_grads():
    import jax.numpy as jnp

    params = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.asarray(0.25, jnp.float32)}
    grads = {"w": jnp.asarray([[0.5, 1e-3], [-2.0, 4.0]]), "b": jnp.asarray(-1.0, jnp.float32)}
    return params, grads


def kinds(tree):
    import jax

    return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree_util.tree_leaves(tree)]


def close(a, b, tolerance=1e-6):
    import jax

    for x, y in zip(jax.tree_util.tree_leaves(a), jax.tree_util.tree_leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_init_and_step_under_jit_compile_once(algorithm):
    import jax

    params, grads = params_and_grads()
    decay = existing(algorithm, {"weight_decay": 0.1})
    optimizer = algorithm(0.1, use_ema=True, ema_overwrite_frequency=3, global_clipnorm=1.0, **decay)
    state = jax.jit(optimizer.init)(params)
    close(state, optimizer.init(params))
    assert kinds(state) == kinds(optimizer.init(params))
    step = jax.jit(optimizer.step)
    eager_params, eager_state = params, state
    for _ in range(4):
        before = kinds((params, state))
        params, state = step(params, grads, state)
        eager_params, eager_state = optimizer.step(eager_params, grads, eager_state)
        assert kinds((params, state)) == before
        assert kinds((eager_params, eager_state)) == before
    assert step._cache_size() == 1
    close(params, eager_params, 1e-5)
    assert int(state.iterations) == 4


def test_accumulation_under_jit():
    import jax

    params, grads = params_and_grads()
    optimizer = Nadam(0.1, gradient_accumulation_steps=3, clipnorm=1.0, use_ema=True, ema_momentum=0.5)
    step = jax.jit(optimizer.step)
    state = eager_state = optimizer.init(params)
    eager_params = params
    for count in range(7):
        scaled = jax.tree_util.tree_map(lambda g, count=count: g * (count - 2.0), grads)
        params, state = step(params, scaled, state)
        eager_params, eager_state = optimizer.step(eager_params, scaled, eager_state)
        close((params, state), (eager_params, eager_state), 1e-5)
    assert step._cache_size() == 1 and int(state.iterations) == 7


def test_a_changed_learning_rate_does_not_recompile():
    import jax

    params, grads = params_and_grads()
    optimizer = Adam(0.1)
    state = optimizer.init(params)
    step = jax.jit(optimizer.step)
    for rate in (0.1, 0.2, 0.3):
        step(params, grads, state, learning_rate=rate)
    assert step._cache_size() == 1
    in_state = jax.jit(optimizer.step)
    for rate in (0.1, 0.2, 0.3):
        in_state(params, grads, optimizer.with_learning_rate(state, rate))
    assert in_state._cache_size() == 1


def test_a_schedule_is_traced_with_the_state():
    import jax

    params, grads = params_and_grads()
    optimizer = SGD(schedules.ExponentialDecay(0.5, 1, 0.5))
    state = optimizer.init(params)
    step = jax.jit(optimizer.step)
    expected = params
    for count in range(3):
        params, state = step(params, grads, state)
        rate = 0.5 * 0.5**count
        expected = jax.tree_util.tree_map(lambda p, g, rate=rate: p - rate * g, expected, grads)
    close(params, expected)
    assert step._cache_size() == 1


def test_scan():
    import jax

    params, grads = params_and_grads()
    optimizer = Adam(0.1, amsgrad=True)
    carry = (params, optimizer.init(params))
    scanned, _ = jax.lax.scan(lambda c, _: (optimizer.step(c[0], grads, c[1]), None), carry, None, length=5)
    for _ in range(5):
        carry = optimizer.step(carry[0], grads, carry[1])
    close(scanned, carry, 1e-5)


def test_vmap_over_parameters_and_rates():
    import jax
    import jax.numpy as jnp

    optimizer = Nadam(0.1)
    batch, grads = jnp.asarray([[1.0, 2.0], [3.0, 4.0]]), jnp.asarray([[1.0, -1.0], [0.5, 2.0]])
    states = jax.vmap(optimizer.init)(batch)
    assert states.iterations.shape == (2,) and states.scalars["u_product"].shape == (2,)
    rates = jnp.asarray([0.1, 0.2])
    for _ in range(3):
        batch, states = jax.vmap(lambda p, g, s, r: optimizer.step(p, g, s, learning_rate=r))(
            batch, grads, states, rates
        )
    for row in range(2):
        p, g = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])[row], grads[row]
        s = optimizer.init(p)
        for _ in range(3):
            p, s = optimizer.step(p, g, s, learning_rate=float(rates[row]))
        close(batch[row], p, 1e-5)


def test_init_takes_shapes_only():
    import jax

    params, _ = params_and_grads()
    shapes = jax.tree_util.tree_map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    optimizer = Adam(0.1)
    assert kinds(optimizer.init(shapes)) == kinds(optimizer.init(params))
    evaluated = jax.eval_shape(optimizer.init, shapes)
    assert evaluated.slots["momentum"]["w"].shape == (2, 2)


def test_gradient_through_a_step_to_the_learning_rate():
    import jax
    import jax.numpy as jnp

    params, grads = params_and_grads()
    optimizer = SGD(0.1, momentum=0.9)
    state = optimizer.init(params)

    def loss(rate):
        stepped, _ = optimizer.step(params, grads, state, learning_rate=rate)
        return jnp.sum(stepped["w"]) + stepped["b"]

    slope = jax.grad(loss)(0.1)
    np.testing.assert_allclose(slope, -(np.sum(grads["w"]) + grads["b"]), rtol=1e-6)


@pytest.mark.parametrize("name", ["beta_1", "beta_2", "epsilon", "learning_rate"])
def test_gradient_through_steps_to_a_hyperparameter(name):
    import jax
    import jax.numpy as jnp

    params, grads = params_and_grads()
    at = {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.5, "learning_rate": 0.1}[name]

    def loss(value):
        optimizer = Adam(**{"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.5, name: value})
        p, s = params, optimizer.init(params)
        for scale in (1.0, -2.0):
            p, s = optimizer.step(p, jax.tree_util.tree_map(lambda g, scale=scale: g * scale, grads), s)
        return jnp.sum(p["w"]) + p["b"]

    with enable_x64(True):
        params = jax.tree_util.tree_map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
        grads = jax.tree_util.tree_map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), grads)
        slope = jax.grad(loss)(jnp.asarray(at, jnp.float64))
        width = 1e-5
        difference = (loss(at + width) - loss(at - width)) / (2 * width)
    assert math.isclose(slope, difference, rel_tol=1e-5)


@crossing(
    ("kind", "convention", "clipped"),
    [each for each in WITH_NAMES if each.values in SMOOTH],
    [pytest.param(False, id=""), pytest.param(True, id="clipped")],
    of=algorithm_of,
)
def test_derivative_where_the_gradient_is_zero(kind, convention, clipped):
    """The root of the mean of squares has no derivative there, and the step has one."""
    import jax
    import jax.numpy as jnp

    limit = "clipnorm" if convention == "keras2" else "global_clipnorm"
    optimizer = kind(0.1, convention=convention, **({limit: 1.0} if clipped else {}))

    def moved(gradient):
        params = jnp.zeros(2)
        params, state = optimizer.step(params, gradient, optimizer.init(params))
        return jnp.sum(optimizer.step(params, jnp.asarray([0.0, 0.5]), state)[0])

    with enable_x64(True):
        slope, curvature = jax.jit(jax.grad(moved))(jnp.zeros(2)), jax.hessian(moved)(jnp.zeros(2))
        # So narrow, because the direction is smooth only as long as the root is smaller than epsilon.
        steps = jnp.eye(2) * 1e-14
        difference = jnp.stack([(moved(step) - moved(-step)) / 2e-14 for step in steps])
    np.testing.assert_allclose(slope, difference, rtol=1e-2)
    assert np.all(np.isfinite(curvature))


def test_hyperparameters_can_be_mapped_over():
    import jax
    import jax.numpy as jnp

    params, grads = params_and_grads()

    def stepped(beta_1, momentum):
        adam = Adam(0.1, beta_1=beta_1)
        sgd = SGD(0.1, momentum=momentum)
        p, _ = adam.step(params, grads, adam.init(params))
        return sgd.step(p, grads, sgd.init(p))[0]["w"]

    mapped = jax.vmap(stepped)(jnp.asarray([0.5, 0.9]), jnp.asarray([0.0, 0.5]))
    close(mapped[1], stepped(0.9, 0.5), 1e-5)


def test_meta_gradient_through_parameters():
    import jax
    import jax.numpy as jnp

    optimizer = SGD(0.25)

    def loss(w):
        grads = jax.grad(lambda v: jnp.sum(v**2))(w)
        stepped, _ = optimizer.step(w, grads, optimizer.init(w))
        return jnp.sum(stepped**2)

    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray([1.0, 2.0])), [0.5, 1.0], rtol=1e-6)


def test_x64_keeps_float32_parameters_float32_all_through():
    import jax
    import jax.numpy as jnp

    with enable_x64(True):
        params = {"w": jnp.ones(3, jnp.float32), "d": jnp.ones(2, jnp.float64)}
        optimizer = Nadam(0.1, global_clipnorm=0.5, weight_decay=0.1, decay=0.1)
        state = optimizer.init(params)
        assert state.iterations.dtype == jnp.int64 and state.learning_rate.dtype == jnp.float64
        wide = []

        def step(params, state):
            return optimizer.step(params, params, state)

        for equation in jax.make_jaxpr(step)({"w": params["w"]}, optimizer.init({"w": params["w"]})).eqns:
            wide += [v.aval for v in equation.outvars if v.aval.dtype == jnp.float64 and v.aval.shape != ()]
        # The float64 sum of squares is meant; nothing else of the array's shape may be wide.
        assert len([aval for aval in wide if aval.shape == (3,)]) <= 2
        params, state = jax.jit(step)(params, state)
        assert params["w"].dtype == jnp.float32 and params["d"].dtype == jnp.float64


def test_no_tracer_is_kept():
    import jax

    params, grads = params_and_grads()
    optimizer = Adam(0.1)
    with jax.checking_leaks():
        step = jax.jit(lambda p, g: optimizer.step(p, g, optimizer.init(p)))
        step(params, grads)
    optimizer.step(params, grads, optimizer.init(params))


def test_donation():
    import jax

    params, grads = params_and_grads()
    optimizer = Nadam(0.1, use_ema=True)
    state = optimizer.init(params)
    step = jax.jit(optimizer.step, donate_argnums=(0, 2))
    for _ in range(2):
        params, state = step(params, grads, state)
    assert int(state.iterations) == 2


def test_imperative_steps_on_variables():
    params, grads = params_and_grads()
    variables = [Variable(params["w"], name="w"), Variable(params["b"], name="b")]
    optimizer = Adam(0.1)
    state = optimizer.init(params)
    for _ in range(3):
        optimizer.apply([grads["w"], grads["b"]], variables)
        params, state = optimizer.step(params, grads, state)
    # One runs under jit, the other does not.
    close([variable.numpy() for variable in variables], [params["w"], params["b"]])


def test_stateless_apply_under_jit():
    import jax

    params, grads = params_and_grads()
    variables = [Variable(params["w"]), Variable(params["b"])]
    optimizer = Nadam(0.1)
    optimizer.build(variables)
    state = [cell.value for cell in optimizer.variables]
    values = [cell.value for cell in variables]
    step = jax.jit(optimizer.stateless_apply)
    for _ in range(3):
        values, state = step(state, [grads["w"], grads["b"]], values)
        optimizer.apply([grads["w"], grads["b"]], variables)
    close(values, [cell.value for cell in variables], 1e-5)
    assert int(state[0]) == 3


@pytest.mark.parametrize(("kind", "name"), [(Adagrad, "initial_accumulator_value"), (RMSprop, "initial_scale")])
def test_initial_values_of_slots_may_be_traced(kind, name):
    import jax
    import jax.numpy as jnp

    params = {"w": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(3.0)}

    def moved(initial):
        optimizer = kind(0.5, convention="optax", **{name: initial})
        return optimizer.step(params, params, optimizer.init(params))[0]["w"][0]

    slope = float(jax.jit(jax.grad(moved))(0.5))
    difference = float(moved(0.51) - moved(0.49)) / 0.02
    assert slope == pytest.approx(difference, rel=1e-2)
    assert slope > 0.01


@pytest.mark.parametrize("way", ["cond", "loop", "vmap"])
def test_a_rule_s_own_transformations_leak_nothing(way):
    """What is computed once for all parameters is kept until the step ends, and so not what is traced inside of it."""
    import jax
    import jax.numpy as jnp

    class Corrected(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            step = self.step_of(variable)

            def correction(count):
                return ops.one_minus_power(0.9, count + 1)

            if way == "cond":
                factor = jax.lax.cond(step > 3, correction, lambda count: jnp.float32(1.0), step)
            elif way == "loop":
                factor = jax.lax.fori_loop(0, 2, lambda i, total: total + correction(step + i), jnp.float32(0.0))
            else:
                factor = jnp.sum(jax.vmap(correction)(jnp.arange(3) + step))
            self.assign_sub(variable, learning_rate * gradient * factor)

    params, optimizer = {"a": jnp.ones(2), "b": jnp.ones(3)}, Corrected(0.5)
    state = optimizer.init(params)
    with jax.checking_leaks():
        moved, _ = jax.jit(optimizer.step)(params, params, state)
    expected = {"cond": 1.0, "loop": (1 - 0.9**2) + (1 - 0.9**3), "vmap": sum(1 - 0.9**n for n in (2, 3, 4))}[way]
    close(moved, {"a": np.full(2, 1 - 0.5 * expected), "b": np.full(3, 1 - 0.5 * expected)}, 1e-5)
