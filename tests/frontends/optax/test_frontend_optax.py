"""`gradwise.frontends.optax` beside optax: the same signatures, states and steps, inside everything that optax has."""

from __future__ import annotations

import contextlib
import copy
import inspect
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.backend_table import distance, precision
from helpers.every_convention import EVERY
from helpers.releases import optax_partition, optax_tree, seeded, skip_what_optax_lacks
from helpers.selection import crossing, taking_turns
from ml_dtypes import bfloat16
from rules import all_facts

from gradwise import optimizers, schedules

pytestmark = pytest.mark.jax

FACTS_OF = {name: facts for facts in all_facts().values() for name in facts.optax}
NAMES = sorted(FACTS_OF)
VARIANTS = [(name, dict(each)) for name in NAMES for each in ({}, *FACTS_OF[name].optax[name].variants)]


def called(variant: Any) -> str:
    name, options = variant
    return "-".join([name, *options])


def functions() -> Any:
    from gradwise.frontends import optax as goptax

    return goptax


def tree(dtype: str = "float32") -> dict[str, Any]:
    import jax.numpy as jnp

    return {
        "kernel": jnp.asarray([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]], dtype),
        "bias": jnp.asarray([0.5, -3.0], dtype),
    }


def gradient(params: Any, step: int) -> Any:
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda leaf: (3 * jnp.sin(leaf * (step + 1.5))).astype(leaf.dtype), params)


def run(transformation: Any, params: Any, steps: int, state: Any = None, start: int = 0) -> tuple[Any, Any]:
    import jax
    import optax

    state = transformation.init(params) if state is None else state
    update = jax.jit(transformation.update)
    for step in range(start, start + steps):
        updates, state = update(gradient(params, step), state, params)
        params = optax.apply_updates(params, updates)
    assert update._cache_size() == 1
    return params, state


def kinds(state: Any) -> Any:
    import jax

    return jax.tree.structure(state), [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(state)]


def assert_close(ours: Any, theirs: Any, cap: float) -> None:
    import jax

    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        mine, other = np.asarray(mine, np.float64), np.asarray(other, np.float64)
        assert np.max(np.abs(mine - other), initial=0) <= cap * max(1.0, np.max(np.abs(other), initial=0))


# ---------------------------------------------------------------- the functions


def test_all_rows_are_here() -> None:
    goptax = functions()
    from gradwise.frontends.optax.functions import ROWS

    assert sorted(ROWS) == NAMES
    assert set(NAMES) <= set(goptax.__all__)
    assert all(getattr(goptax, name).__name__ == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_optax_s(name: str) -> None:
    import optax

    ours, theirs = inspect.signature(getattr(functions(), name)), inspect.signature(getattr(optax, name))
    assert ours.parameters == theirs.parameters
    assert isinstance(getattr(functions(), name)(0.1), optax.GradientTransformationExtraArgs)


@crossing(
    ("variant", "scheduled"),
    [pytest.param(variant, id=called(variant)) for variant in VARIANTS],
    [pytest.param(False, id="rate"), pytest.param(True, id="schedule")],
    of=lambda variant: variant.values[0][0],
)
def test_steps_and_states_are_optax_s(variant: Any, scheduled: bool) -> None:
    """In float64, where optax's bias correction is good enough to compare with."""
    import optax

    name, options = variant
    skip_what_optax_lacks(name, options)
    rate = optax.cosine_decay_schedule(0.1, 20) if scheduled else 0.1
    with precision("jax", "float64"):
        params = tree("float64")
        ours, theirs = (getattr(module, name)(rate, **options) for module in (functions(), optax))
        # A slot in bfloat16 may round the other way; what follows from that grows.
        steps, cap = (1, 1e-2) if "mu_dtype" in options else (10, 1e-10)
        (mine, state), (others, their_state) = run(ours, params, steps), run(theirs, params, steps)
        assert_close(mine, others, cap)
        assert_close(state, their_state, cap)
        # Either goes on from the other's state.
        following = [run(each, others, min(steps, 3), their_state, 10) for each in (ours, theirs)]
        assert_close(*following, cap)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_a_step_is_the_core_s_step(variant: Any) -> None:
    """`update` gives the sum of the rule's deltas, so that the sum with the parameters is what `step` gives."""
    import jax
    import optax

    name, options = variant
    skip_what_optax_lacks(name, options)
    if "weight_decay" in options:
        pytest.skip("the core has no masks and no schedules of weight decay")
    transformation = getattr(functions(), name)(0.1, **options)
    core = transformation.behaviour.core
    params, state = tree(), core.init(tree())
    mine, our_state = params, transformation.init(params)
    for step in range(5):
        grads = gradient(params, step)
        params, state = core.step(params, grads, state)
        updates, our_state = transformation.update(grads, our_state, mine)
        mine = optax.apply_updates(mine, updates)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(params), strict=True):
        assert distance(np.asarray(a), np.asarray(b), np.asarray(b)) <= 2


def test_the_update_is_not_rounded_to_the_parameter() -> None:
    import jax.numpy as jnp

    goptax = functions()
    params, grads = jnp.asarray([1e6]), jnp.asarray([1e-3])
    updates, _ = goptax.sgd(0.1).update(grads, goptax.sgd(0.1).init(params), params)
    assert updates[0] == np.float32(-0.1) * np.float32(1e-3)
    assert params[0] + updates[0] == params[0]


@crossing(
    ("variant", "of_params", "of_grads", "way"),
    [pytest.param(variant, id=called(variant)) for variant in VARIANTS],
    [
        pytest.param("bfloat16", "float32"),
        pytest.param("bfloat16", "bfloat16"),
        pytest.param("float16", "float16"),
        pytest.param("float32", "bfloat16"),
        pytest.param("float32", "float32"),
    ],
    ["eager", "jit", "scan"],
)
def test_dtypes_of_states_and_updates(variant: Any, of_params: str, of_grads: str, way: str) -> None:
    import jax
    import jax.numpy as jnp
    import optax

    name, options = variant
    skip_what_optax_lacks(name, options)
    params = tree(of_params)
    transformation = getattr(functions(), name)(0.1, **options)
    state = transformation.init(params)
    grads = jax.tree.map(lambda leaf: leaf.astype(of_grads), gradient(params, 0))
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(state)) or "mu_dtype" in options
    update = transformation.update
    if way == "scan":
        def carried(state: Any) -> Any:
            return jax.lax.scan(lambda carry, _: (update(grads, carry, params)[1], None), state, length=2)[0]

        assert kinds(jax.eval_shape(carried, state)) == kinds(state)
        return
    # What is compiled has the types of what is traced.
    updates, after = (update if way == "eager" else partial(jax.eval_shape, update))(grads, state, params)
    assert kinds(after) == kinds(state)
    theirs = getattr(optax, name)(0.1, **options)
    expected, _ = jax.eval_shape(theirs.update, grads, theirs.init(params), params)
    if "mu_dtype" in options and of_params == "float16":
        # The two 16-bit types make a wide one in optax.
        expected = params
    assert kinds(updates) == kinds(expected)


def test_mu_dtype_is_for_the_first_moment() -> None:
    import jax.numpy as jnp

    state = functions().adam(0.1, mu_dtype=jnp.bfloat16).init(tree())
    assert state[0].mu["bias"].dtype == jnp.bfloat16 and state[0].nu["bias"].dtype == jnp.float32
    state = functions().sgd(0.1, momentum=0.9, accumulator_dtype="float16").init(tree())
    assert state[0].trace["bias"].dtype == jnp.float16


def test_arguments_are_checked_when_the_transformation_is_made() -> None:
    goptax = functions()
    with pytest.raises(ValueError, match=r"`b1` must be a number in \[0, 1\)"):
        goptax.adam(0.1, b1=1.5)
    with pytest.raises(ValueError, match="`learning_rate` must be"):
        goptax.sgd(-1.0)
    with pytest.raises(TypeError, match="learning_rate"):
        goptax.adam()
    with pytest.raises(ValueError, match="`slot_dtype` must be one of"):
        goptax.adam(0.1, mu_dtype="complex64")


# ---------------------------------------------------------------- parameters that are not there


@pytest.mark.parametrize("name", NAMES)
def test_without_params(name: str) -> None:
    """Only a rule that reads the parameters asks for them."""
    import jax

    transformation = getattr(functions(), name)(0.1)
    params, grads = tree(), gradient(tree(), 0)
    state = transformation.init(params)
    if FACTS_OF[name].optax[name].reads_parameters:
        with pytest.raises(ValueError, match="You are using a transformation that requires the current value"):
            transformation.update(grads, state)
        transformation = getattr(functions(), name)(0.1, weight_decay=0.0)
    without, _ = jax.jit(transformation.update)(grads, state)
    given, _ = jax.jit(transformation.update)(grads, state, params)
    assert_close(without, given, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_init_is_a_pure_map_of_the_tree(name: str) -> None:
    import jax
    import optax

    transformation = getattr(functions(), name)(0.1)
    params = {"a": (tree(), None), "b": optax.MaskedNode(), "c": []}
    state = transformation.init(params)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    assert kinds(transformation.init(shapes)) == kinds(state) == kinds(jax.jit(transformation.init)(params))
    assert jax.tree.structure(jax.eval_shape(transformation.init, params)) == jax.tree.structure(state)
    theirs = getattr(optax, name)(0.1)
    assert jax.tree.structure(theirs.init(params)) == jax.tree.structure(state)
    marked = optax_tree.map_params(transformation, lambda leaf: None, state)
    assert jax.tree.structure(marked) == jax.tree.structure(optax_tree.map_params(theirs, lambda leaf: None, state))
    updates, after = transformation.update(params, state, params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert kinds(after) == kinds(state)
    for empty in ({}, None, (), optax.MaskedNode()):
        updates, after = transformation.update(empty, transformation.init(empty), empty)
        assert jax.tree.leaves(updates) == []


def test_a_missing_gradient_leaves_parameter_and_slots_alone() -> None:
    transformation = functions().adam(0.1)
    params = tree()
    state = transformation.init(params)
    updates, after = transformation.update({"kernel": params["kernel"], "bias": None}, state, params)
    assert updates["bias"] is None and kinds(after) == kinds(state)
    assert not np.any(after[0].nu["bias"]) and np.all(after[0].nu["kernel"])


def test_no_gradient_at_all_leaves_parameters_and_slots_alone() -> None:
    transformation = functions().adam(0.1)
    params = tree()
    state = transformation.init(params)
    nothing = dict.fromkeys(params)
    updates, after = transformation.update(nothing, state, params)
    assert updates == nothing and kinds(after) == kinds(state)
    assert after[0].count == 1 and not any(np.any(leaf) for leaf in after[0].nu.values())


def test_python_numbers_and_numpy_arrays_are_parameters() -> None:
    import jax

    transformation = functions().adam(0.1)
    params = {"a": 1.0, "c": np.ones(2, np.float32)}
    state = transformation.init(params)
    updates, after = jax.jit(transformation.update)(params, state, params)
    assert kinds(after) == kinds(state)
    assert_close(updates, {"a": -0.1, "c": np.full(2, -0.1)}, 1e-6)
    # An integer of Python's is no integer array: it has no dtype that could not hold the update.
    updates, _ = transformation.update({"b": 2}, transformation.init({"b": 2}), {"b": 2})
    assert_close(updates, {"b": -0.1}, 1e-6)


def test_names_that_read_alike_are_different_parameters() -> None:
    import jax.numpy as jnp

    params = {"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}
    mask = {"a/b": False, "a": {"b": True}}
    transformation = functions().adamw(0.1, weight_decay=0.5, mask=mask)
    zeros = {"a/b": jnp.zeros(1), "a": {"b": jnp.zeros(1)}}
    updates, _ = transformation.update(zeros, transformation.init(params), params)
    assert updates["a/b"] == 0.0 and updates["a"]["b"] == pytest.approx(-0.05)


# ---------------------------------------------------------------- what optax has around it


def wrappers() -> dict[str, Any]:
    import optax

    return {
        "chain": lambda tx: optax.chain(optax.clip_by_global_norm(0.5), tx),
        "named_chain": lambda tx: optax.named_chain(("clip", optax.clip(0.5)), ("tx", tx)),
        "masked": lambda tx: optax.masked(tx, {"kernel": True, "bias": False}),
        "partition": lambda tx: optax_partition({"a": tx, "b": optax.sgd(0.1)}, {"kernel": "a", "bias": "b"}),
        "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
        "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
        "flatten": optax.flatten,
        "schedule_free": lambda tx: optax.contrib.schedule_free(tx, 0.1),
        "mechanize": optax.contrib.mechanize,
        "conditionally_mask": lambda tx: optax.transforms.conditionally_mask(tx, lambda step, **extra: step % 2 == 0),
        "reduce_on_plateau": lambda tx: optax.chain(tx, optax.contrib.reduce_on_plateau()),
    }


WRAPPERS = [
    "MultiSteps", "apply_if_finite", "chain", "conditionally_mask", "flatten", "masked", "mechanize", "named_chain",
    "partition", "reduce_on_plateau", "schedule_free",
]  # fmt: skip


@crossing(("wrapper", "name"), WRAPPERS, ["adam", "adamw", "sgd"], of=taking_turns)
def test_inside_of_optax_s_wrappers(wrapper: str, name: str) -> None:
    import jax
    import optax

    assert sorted(wrappers()) == WRAPPERS
    wrap, extra = wrappers()[wrapper], {"value": 1.0} if wrapper == "reduce_on_plateau" else {}
    with precision("jax", "float64"):
        results = []
        for module in (functions(), optax):
            transformation = wrap(getattr(module, name)(0.1))
            params, update = tree("float64"), jax.jit(transformation.update)
            state = transformation.init(params)
            for step in range(4):
                updates, state = update(gradient(params, step), state, params, **extra)
                params = optax.apply_updates(params, updates)
            results.append((params, state))
        assert_close(results[0], results[1], 1e-10)


def test_lookahead() -> None:
    import optax

    results = []
    for module in (functions(), optax):
        transformation = optax.lookahead(module.sgd(0.1, momentum=0.9), 2, 0.5)
        params = optax.LookaheadParams.init_synced(tree())
        state = transformation.init(params)
        for step in range(4):
            updates, state = transformation.update(gradient(params.fast, step), state, params)
            params = optax.apply_updates(params, updates)
        results.append(params)
    assert_close(results[0], results[1], 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_injected_hyperparameters(name: str) -> None:
    import jax
    import optax

    params = tree()
    injected = optax.inject_hyperparams(getattr(functions(), name))(learning_rate=0.1)
    state = injected.init(params)
    update = jax.jit(injected.update)
    for rate in (0.1, 0.2, 0.3):
        grads = gradient(params, 1)
        state.hyperparams["learning_rate"] = jax.numpy.float32(rate)
        plain, _ = getattr(functions(), name)(rate).update(grads, state.inner_state, params)
        updates, after = update(grads, state, params)
        assert_close(updates, plain, 2e-5)
        assert kinds(after) == kinds(state)
        state = after
    assert update._cache_size() == 1
    scheduled = optax.inject_hyperparams(getattr(functions(), name))(optax.linear_schedule(0.0, 1.0, 10))
    state = scheduled.init(params)
    for _ in range(3):
        _, state = scheduled.update(gradient(params, 1), state, params)
    assert state.hyperparams["learning_rate"] == pytest.approx(0.2)


def test_a_momentum_of_zero_can_be_injected_and_changed() -> None:
    import jax
    import optax

    injected = optax.inject_hyperparams(functions().sgd)(0.1, momentum=0.0)
    params = tree()
    state = injected.init(params)
    updates, after = jax.jit(injected.update)(gradient(params, 0), state, params)
    assert kinds(after) == kinds(state)
    eager, after = injected.update(gradient(params, 0), state, params)
    assert kinds(after) == kinds(state)
    assert_close(updates, eager, 1e-6)


def test_states_are_found_by_name() -> None:
    import optax

    params = tree()
    state = optax.chain(optax.clip(1.0), functions().adam(0.1)).init(params)
    assert optax_tree.get(state, "count") == 0
    assert optax_tree.get(state, "mu")["bias"].shape == (2,)
    assert type(optax_tree.get(state, "ScaleByAdamState")).__name__ == "ScaleByAdamState"
    state = optax_tree.set(state, count=7)
    assert optax_tree.get(state, "count") == 7


def test_a_state_of_something_else_is_refused() -> None:
    goptax, params = functions(), tree()
    with pytest.raises(ValueError, match=r"The state of adam is a tuple of 2 states"):
        goptax.adam(0.1).update(params, None, params)
    with pytest.raises(ValueError, match=r"must have a ScaleByAdamState, received TraceState"):
        goptax.adam(0.1).update(params, goptax.sgd(0.1, momentum=0.9).init(params), params)


# ---------------------------------------------------------------- as values


def test_transformations_are_values() -> None:
    goptax = functions()
    a, b = goptax.adam(0.1), goptax.adam(np.float32(0.5))
    assert a == goptax.adam(0.1, b1=0.9) and hash(a) == hash(goptax.adam(0.1))
    assert a not in (b, goptax.nadam(0.1), goptax.adam(0.1, mu_dtype="float32"), (a.init, a.update))
    assert repr(b).startswith("adam(learning_rate=0.5, b1=0.9,")
    assert copy.deepcopy(a) == a == pickle.loads(pickle.dumps(a))
    init, update = a
    assert init(tree()) is not None and callable(update)
    with pytest.raises(AttributeError, match="cannot change"):
        a.update = None
    mask = {"kernel": True, "bias": False}
    assert goptax.adamw(0.1, mask=mask) == goptax.adamw(0.1, mask=dict(mask)) != goptax.adamw(0.1)
    core = optimizers.Nadam(0.1, clipnorm=1.0)
    assert goptax.from_optimizer(core) == goptax.from_optimizer(copy.deepcopy(core))
    assert goptax.from_optimizer(core) != goptax.from_optimizer(optimizers.Nadam(0.1, clipnorm=2.0))


def test_another_rate_compiles_nothing_anew() -> None:
    import jax

    goptax, params = functions(), tree()
    traces = []

    def step(transformation: Any, params: Any, state: Any) -> Any:
        traces.append(None)
        return transformation.update(gradient(params, 1), state, params)

    as_tree, as_static = jax.jit(step), jax.jit(step, static_argnums=0)
    for rate in (0.1, 0.2, 0.3):
        as_tree(goptax.adam(rate), params, goptax.adam(rate).init(params))
    assert len(traces) == 1
    for _ in range(3):
        as_static(goptax.adam(0.1), params, goptax.adam(0.1).init(params))
    assert len(traces) == 2
    for rate in (0.1, 0.2):
        core = goptax.from_optimizer(optimizers.Adam(rate, convention="optax"))
        as_tree(core, params, core.init(params))
    assert len(traces) == 3


def test_derivatives_with_respect_to_hyperparameters_and_maps_over_them() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    goptax, params = functions(), tree()

    def moved(transformation: Any) -> Any:
        state = transformation.init(params)
        stepped = params
        for step in (0, 1):
            updates, state = transformation.update(gradient(params, step), state, stepped)
            stepped = optax.apply_updates(stepped, updates)
        return jnp.sum(stepped["kernel"])

    slopes = jax.grad(moved)(goptax.adam(0.1, b1=0.8, b2=0.9, eps=0.5)).behaviour.numbers
    for name, at, width in (("learning_rate", 0.1, 1e-2), ("b1", 0.8, 1e-2), ("b2", 0.9, 1e-2), ("eps", 0.5, 1e-2)):
        near = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 0.5}
        high, low = (moved(goptax.adam(**{**near, name: at + sign * width})) for sign in (1, -1))
        assert float(slopes[name]) == pytest.approx(float(high - low) / (2 * width), rel=2e-2, abs=1e-3)

    both = jax.tree.map(
        lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), goptax.sgd(0.1), goptax.sgd(0.2)
    )
    assert_close(jax.vmap(moved)(both), jnp.stack([moved(goptax.sgd(0.1)), moved(goptax.sgd(0.2))]), 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_strict_promotion_leaks_and_nans(name: str) -> None:
    """None of JAX's checks finds anything, not even the strict promotion that optax's own adam does not pass."""
    import jax

    strict = jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise")
    with strict[0], strict[1], jax.checking_leaks(), jax.debug_nans(True):
        for dtype in ("float32", "bfloat16"):
            params = tree(dtype)
            transformation = getattr(functions(), name)(0.1)
            zeros = jax.tree.map(lambda leaf: leaf * 0, params)
            jax.jit(transformation.update)(zeros, transformation.init(params), params)


# ---------------------------------------------------------------- from and to the core


def test_any_optimizer_of_the_core() -> None:
    import jax
    import optax

    goptax = functions()
    core = optimizers.Nadam(
        0.1, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2, global_clipnorm=0.5, weight_decay=0.1
    )
    core.exclude_from_weight_decay(var_names=["bias"])
    transformation = goptax.from_optimizer(core)
    core.clipnorm = None
    params, state = tree(), core.init(tree())
    mine, our_state = tree(), transformation.init(tree())
    update = jax.jit(transformation.update)
    for step in range(4):
        grads = gradient(params, step)
        params, state = core.step(params, grads, state)
        updates, after = update(grads, our_state, mine)
        assert kinds(after) == kinds(our_state)
        mine, our_state = optax.apply_updates(mine, updates), after
    assert_close(mine, params, 1e-6)
    assert_close(our_state.slots, state.slots, 1e-6)
    assert optax_tree.get(our_state, "count") == 4
    assert update._cache_size() == 1
    assert kinds(optax_tree.map_params(transformation, lambda leaf: leaf, our_state)) == kinds(our_state)
    reading = goptax.from_optimizer(optimizers.AdamW(0.1))
    with pytest.raises(ValueError, match="You are using a transformation that requires"):
        reading.update(params, reading.init(params))
    with pytest.raises(TypeError, match=r"takes an optimizer of gradwise\.optimizers"):
        goptax.from_optimizer(optax.adam(0.1))


def test_a_users_rule_that_assigns() -> None:
    """With `assign` the delta is what is missing; a read sees what was added before."""
    import jax.numpy as jnp

    class Halving(optimizers.Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            variable.assign_add(gradient)
            variable.assign(variable * 0.5)
            variable.assign_sub(1.0)

    transformation = functions().from_optimizer(Halving(schedules.ExponentialDecay(0.1, 1, 0.5)))
    params = {"w": jnp.asarray([4.0, 8.0])}
    state = transformation.init(params)
    updates, _ = transformation.update({"w": jnp.asarray([2.0, 2.0])}, state, params)
    assert_close(updates, {"w": np.asarray([-2.0, -4.0])}, 0.0)


@pytest.mark.parametrize("name", ["lion", "adafactor", "noisy_sgd", "chain", "prodigy", "ours"])
def test_any_transformation_as_an_optimizer(name: str) -> None:
    import jax
    import optax

    from gradwise.backends import Variable

    transformation = {
        "lion": lambda: optax.lion(0.1),
        "adafactor": lambda: optax.adafactor(0.1, min_dim_size_to_factor=1),
        "noisy_sgd": lambda: seeded(optax.noisy_sgd, 0.1, seed=0),
        "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1)),
        "prodigy": optax.contrib.prodigy,
        "ours": lambda: functions().adamw(0.1),
    }[name]()
    optimizer = functions().to_optimizer(transformation)
    params, state = tree(), optimizer.init(tree())
    variables = [Variable(leaf, name=key) for key, leaf in sorted(tree().items())]
    theirs, their_state = tree(), transformation.init(tree())
    step = jax.jit(optimizer.step)
    for count in range(3):
        grads = gradient(params, count)
        params, state = step(params, grads, state)
        updates, their_state = transformation.update(grads, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        optimizer.apply([grads[key] for key in sorted(grads)], variables)
    assert step._cache_size() == 1
    assert_close(params, theirs, 1e-5)
    assert_close([variable.value for variable in variables], [params[key] for key in sorted(params)], 1e-5)


@pytest.mark.parametrize("name", ["polyak_sgd", "lbfgs"])
def test_a_transformation_that_needs_more_than_gradients(name: str) -> None:
    """Further arguments of step, delta and apply are its update's; without them optax says what it lacks."""
    import jax
    import jax.numpy as jnp
    import optax

    from gradwise.backends import Variable

    def loss(params: Any) -> Any:
        return jnp.sum((params["kernel"] - 1.5) ** 4) + jnp.sum((params["bias"] - 0.5) ** 2)

    def further(value: Any, grads: Any) -> dict[str, Any]:
        return {"value": value} if name == "polyak_sgd" else {"value": value, "grad": grads, "value_fn": loss}

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        return optimizer.step(params, grads, state, **further(value, grads))

    transformation = getattr(optax, name)()
    optimizer = functions().to_optimizer(getattr(optax, name)())
    params, state = tree(), optimizer.init(tree())
    theirs, their_state = tree(), transformation.init(tree())
    variables = {key: Variable(leaf, name=key) for key, leaf in sorted(tree().items())}
    for _ in range(4):
        value, grads = jax.value_and_grad(loss)(params)
        moved, _ = optimizer.delta(params, grads, state, **further(value, grads))
        before = params
        params, state = step(params, state)
        assert_close(jax.tree.map(jnp.add, before, moved), params, 1e-5)
        value, grads = jax.value_and_grad(loss)(theirs)
        updates, their_state = transformation.update(grads, their_state, theirs, **further(value, grads))
        theirs = optax.apply_updates(theirs, updates)
        value, grads = jax.value_and_grad(loss)({key: variable.value for key, variable in variables.items()})
        # What lbfgs asks for besides has to be a list, as the parameters of the imperative path are.
        if name == "polyak_sgd":
            optimizer.apply([grads[key] for key in variables], list(variables.values()), value=value)
            assert_close({key: variable.value for key, variable in variables.items()}, params, 1e-5)
    assert_close(params, theirs, 1e-5)
    with pytest.raises(TypeError, match="value"):
        optimizer.step(params, params, state)


def test_an_optimizer_from_a_transformation_as_a_transformation() -> None:
    import optax

    transformation = functions().from_optimizer(functions().to_optimizer(optax.polyak_sgd()))
    params = tree()
    updates, _ = transformation.update(params, transformation.init(params), params, value=1.0)
    theirs, _ = optax.polyak_sgd().update(params, optax.polyak_sgd().init(params), params, value=1.0)
    assert_close(updates, theirs, 1e-6)


@pytest.mark.parametrize("name", ["adam", "partition", "noisy_sgd"])
def test_a_transformation_for_a_tree_without_parameters(name: str) -> None:
    import jax
    import optax

    goptax = functions()
    transformation = {
        "adam": optax.adam,
        "partition": lambda rate: optax_partition(
            {"a": optax.adam(rate)}, lambda params: jax.tree.map(lambda _: "a", params)
        ),
        "noisy_sgd": lambda rate: seeded(optax.noisy_sgd, rate, seed=0),
    }[name](0.1)
    optimizer = goptax.to_optimizer(transformation, use_ema=True)
    state = optimizer.init({})
    assert "average" in state.slots and all(slot == {} for slot in state.slots.values())
    assert all(isinstance(leaf, jax.Array) for leaf in state.scalars.values())
    params, after = optimizer.step({}, {}, state)
    assert params == {} and jax.tree.structure(after) == jax.tree.structure(state)
    # A group of a partition may be empty, and what it trains may come later.
    within = optax_partition({"a": goptax.from_optimizer(optimizer), "b": optax.sgd(0.5)}, {"kernel": "b", "bias": "b"})
    updates, _ = within.update(tree(), within.init(tree()), tree())
    assert_close(updates, jax.tree.map(lambda leaf: -0.5 * leaf, tree()), 0.0)


def test_a_transformation_that_keeps_numbers_of_the_host() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda leaf: -leaf * state["rate"], updates), {**state, "count": state["count"] + 1}

    def init(params: Any) -> Any:
        return {"count": 0, "rate": 0.5, "flag": np.bool_(True)}

    optimizer = functions().to_optimizer(optax.GradientTransformation(init, update))
    params = {"w": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(2):
        params, state = optimizer.step(params, params, state)
    assert_close(params, {"w": np.full(2, 0.25)}, 0.0)
    assert 2 in [int(leaf) for leaf in jax.tree.leaves(state.scalars)]


@pytest.mark.parametrize("name", NAMES)
def test_injected_hyperparameters_cost_a_program_nothing(name: str) -> None:
    """No slot is made for a step, and what all parameters share is computed once: so it is much as with fixed ones."""
    import jax
    import jax.numpy as jnp
    import optax

    make = getattr(functions(), name)
    # Switched on, because what is traced may be.
    options = {key: 0.5 for key in ("eps_root", "weight_decay") if key in inspect.signature(make).parameters}
    lengths = []
    for wrapped in (lambda f: f, optax.inject_hyperparams):
        for count in (2, 12):
            params = {str(i): jnp.ones((2, 3)) for i in range(count)}
            transformation = wrapped(make)(learning_rate=0.1, **options)
            state = transformation.init(params)
            lengths.append(len(jax.jit(transformation.update).trace(params, state, params).jaxpr.eqns))
    assert lengths[3] - lengths[2] == lengths[1] - lengths[0]


def test_no_tracer_is_kept_by_an_optimizer_with_traced_numbers() -> None:
    import jax
    import jax.numpy as jnp

    from gradwise.optimizers import SGD

    goptax, params = functions(), {"w": jnp.ones(2)}
    compiled = jax.jit(lambda transformation: transformation.update(params, transformation.init(params), params)[0])
    with jax.checking_leaks():
        mapped = jax.vmap(lambda rate: compiled(goptax.from_optimizer(SGD(rate))))(jnp.arange(3.0))
    assert_close(mapped, {"w": -np.arange(3.0)[:, None] * np.ones((3, 2))}, 0.0)


@pytest.mark.parametrize("core", [False, True], ids=["row", "core"])
def test_no_tracer_is_kept_by_what_jax_keeps(core: bool) -> None:
    import jax
    import jax.numpy as jnp

    from gradwise.optimizers import SGD

    goptax, params = functions(), {"w": jnp.ones(2)}
    compiled = jax.jit(lambda transformation: transformation.update(params, transformation.init(params), params)[0])
    made = goptax.from_optimizer(SGD(0.5)) if core else goptax.sgd(0.5)
    leaves, definition = jax.tree.flatten(made)
    with jax.checking_leaks():
        mapped = jax.vmap(lambda rate: compiled(jax.tree.unflatten(definition, [rate, *leaves[1:]])))(jnp.ones(3))
    assert_close(mapped, {"w": -np.ones((3, 2))}, 0.0)


def test_what_an_optimizer_from_a_transformation_refuses() -> None:
    import optax

    goptax = functions()
    optimizer = goptax.to_optimizer(optax.adam(0.1))
    params = tree()
    state = optimizer.init(params)
    with pytest.raises(ValueError, match="needs a gradient for each of the 2 parameters; 1 have one"):
        optimizer.step(params, {"kernel": params["kernel"], "bias": None}, state)
    with pytest.raises(TypeError, match="takes a transformation of optax"):
        goptax.to_optimizer(0.1)
    with pytest.raises(TypeError, match="cannot be written down"):
        optimizer.get_config()


def test_injected_rates_reach_an_optimizer_of_the_core() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    goptax = functions()
    params = {"w": jnp.ones(2)}
    make = optax.inject_hyperparams(lambda learning_rate: goptax.from_optimizer(optimizers.SGD(learning_rate)))
    transformation = make(learning_rate=optax.linear_schedule(1.0, 0.0, 2))
    for update in (transformation.update, jax.jit(transformation.update)):
        state, seen = transformation.init(params), []
        for _ in range(3):
            updates, state = update(params, state, params)
            seen.append(float(updates["w"][0]))
        assert seen == [-1.0, -0.5, 0.0]


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=str)
def test_every_optimizer_of_the_core_is_an_argument_and_needs_no_parameters(kind: Any, convention: str) -> None:
    """Its numbers are traced, but not those that mean something in other conventions only, or are off."""
    import jax
    import jax.numpy as jnp

    transformation = functions().from_optimizer(kind(0.1, convention=convention))
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(())}
    state = transformation.init(params)
    # Decay reads the parameters.
    given = params if all_facts()[kind.__name__].hyperparameters[convention].get("weight_decay") else None
    expected, after = transformation.update(params, state, given)
    found, traced = jax.jit(lambda tx, grads, state: tx.update(grads, state, given))(transformation, params, state)
    assert_close(found, expected, 1e-5)
    assert_close(traced, after, 1e-5)


def test_a_transformation_sees_the_tree_of_the_parameters() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    goptax = functions()
    params = {"w": jnp.ones(2), "inner": [jnp.ones(2), jnp.ones(3)]}

    def labels(tree: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: "a" if "w" in jax.tree_util.keystr(path) else "b", tree)

    for make in (
        lambda: optax_partition({"a": optax.sgd(0.5), "b": optax.set_to_zero()}, labels),
        lambda: optax.adamw(0.1, mask={"w": True, "inner": [False, True]}),
        lambda: optax.masked(optax.adam(0.1), {"w": False, "inner": True}),
        lambda: optax.apply_if_finite(optax.adam(0.1), 3),
        lambda: optax.optimistic_gradient_descent(0.1),
        lambda: optax.contrib.dog(1.0),
    ):
        transformation = make()
        optimizer = goptax.to_optimizer(make())
        ours, state = params, optimizer.init(params)
        theirs, their_state = params, transformation.init(params)
        for step in range(3):
            grads = jax.tree.map(lambda leaf, n=step: leaf * (n + 0.5), params)
            ours, state = jax.jit(optimizer.step)(ours, grads, state)
            updates, their_state = transformation.update(grads, their_state, theirs)
            theirs = optax.apply_updates(theirs, updates)
            assert_close(ours, theirs, 1e-5)


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_a_momentum_that_starts_at_0(name: str) -> None:
    """The trace is kept, as in optax, whether the momentum is traced or not."""
    import jax
    import jax.numpy as jnp
    import optax

    params = {"w": jnp.ones(2)}
    ends = []
    for module, compiled in ((optax, False), (functions(), False), (functions(), True)):
        transformation = optax.inject_hyperparams(getattr(module, name))(
            learning_rate=0.5, momentum=lambda count: jnp.where(count < 2, 0.0, 0.9)
        )
        update = jax.jit(transformation.update) if compiled else transformation.update
        moved, state = params, transformation.init(params)
        for _ in range(4):
            updates, state = update(params, state, moved)
            moved = optax.apply_updates(moved, updates)
        ends.append(moved)
    assert_close(ends[1], ends[0], 1e-5)
    assert_close(ends[2], ends[0], 1e-5)
    plain = getattr(functions(), name)(0.5, momentum=0.0)
    _, state = plain.update(params, plain.init(params), params)
    assert float(optax_tree.get(state, "trace")["w"][0]) != 0


def of_16_bits() -> list[str]:
    """Those whose default hyperparameters are allowed when they are rounded to bfloat16, where 0.999 is 1."""
    found = []
    for name, facts in FACTS_OF.items():
        known = facts.hyperparameters["optax"]
        rounded = {each: float(bfloat16(value)) for each, value in known.items() if isinstance(value, float)}
        with contextlib.suppress(ValueError):
            getattr(optimizers, facts.name)(**{**known, **rounded}, convention="optax")
            found.append(name)
    return found


@pytest.mark.parametrize("name", of_16_bits())
def test_injected_hyperparameters_of_16_bits_under_strict_promotion(name: str) -> None:
    import jax
    import jax.numpy as jnp
    import optax

    transformation = optax.inject_hyperparams(getattr(functions(), name), hyperparam_dtype=jnp.bfloat16)(0.5)
    params = tree("bfloat16")
    with jax.numpy_dtype_promotion("strict"):
        updates, _ = jax.jit(transformation.update)(params, transformation.init(params), params)
    assert kinds(updates) == kinds(params)
