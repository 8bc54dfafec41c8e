"""The functional path of every algorithm under JAX: branches, rematerialization, donation, deltas."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from helpers.every_convention import EVERY, called
from helpers.releases import enable_x64, optax_tree, shard_map

from gradwise import optimizers
from gradwise.backends import UnknownValueError, Variable, ops
from gradwise.optimizers import SGD, Adam, AdamW, Nadam, Optimizer, RMSprop
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.jax


def trees() -> tuple[Any, Any]:
    import jax.numpy as jnp

    params = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]], jnp.float32), "b": jnp.asarray(0.25, jnp.float32)}
    grads = {"w": jnp.asarray([[0.5, 1e-3], [-2.0, 4.0]], jnp.float32), "b": jnp.asarray(-1.0, jnp.float32)}
    return params, grads


def kinds(tree: Any) -> Any:
    import jax

    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    import jax

    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_in_a_branch_of_a_loop_that_is_rematerialized(kind: Any, convention: str) -> None:
    """scan, cond and remat together; the state keeps its types, or JAX would refuse it."""
    import jax

    params, grads = trees()
    optimizer = kind(0.1, convention=convention, use_ema=True)

    @jax.checkpoint
    def step(carry: Any, skipped: Any) -> Any:
        return jax.lax.cond(skipped, lambda: carry, lambda: optimizer.step(carry[0], grads, carry[1])), None

    start = (params, optimizer.init(params))
    skips = jax.numpy.asarray([False, True, False])
    (looped, state), _ = jax.jit(lambda: jax.lax.scan(step, start, skips))()
    for _ in range(2):
        params, start = optimizer.step(
            params, grads, start[1] if isinstance(start, tuple) and len(start) == 2 else start
        )
    close(looped, params)
    assert int(state.iterations) == 2


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_donation_of_parameters_and_state(kind: Any, convention: str) -> None:
    """No buffer is in there twice, and JAX uses every one: a donated array that it cannot use is a warning."""
    import jax

    params, grads = trees()
    optimizer = kind(0.1, convention=convention, use_ema=True, gradient_accumulation_steps=2)
    state = optimizer.init(params)
    step = jax.jit(optimizer.step, donate_argnums=(0, 2))
    before = kinds((params, state))
    given = jax.tree.leaves((params, state))
    for _ in range(3):
        params, state = step(params, grads, state)
    assert all(leaf.is_deleted() for leaf in given)
    assert kinds((params, state)) == before and step._cache_size() == 1


def test_vmap_over_seeds() -> None:
    """One model for each seed, each with a count of its own."""
    import jax
    import jax.numpy as jnp

    optimizer = Nadam(0.1, global_clipnorm=1.0)

    def trained(seed: Any) -> Any:
        params = jax.random.normal(jax.random.key(seed), (3,))
        state = optimizer.init(params)
        return jax.lax.scan(
            lambda c, _: (optimizer.step(c[0], c[0] ** 3, c[1]), None), (params, state), None, length=4
        )[0]

    mapped = jax.vmap(trained)(jnp.arange(3))
    assert mapped[1].iterations.shape == (3,)
    for seed in range(3):
        close(jax.tree.map(lambda leaf, seed=seed: leaf[seed], mapped), trained(seed))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=called)
def test_meta_learning_through_three_steps(algorithm: Any) -> None:
    """The derivative of a loss after three steps, with respect to the first parameters, against differences."""
    import jax
    import jax.numpy as jnp

    optimizer = algorithm(0.1)

    def loss(scale: Any) -> Any:
        params = jnp.asarray([1.0, -2.0]) * scale
        state = optimizer.init(params)
        for _ in range(3):
            params, state = optimizer.step(params, jax.grad(lambda v: jnp.sum(v**4 + v**2))(params), state)
        return jnp.sum(params**2)

    with enable_x64(True):
        slope = jax.jit(jax.grad(loss))(jnp.asarray(1.0))
        difference = (loss(1.0 + 1e-5) - loss(1.0 - 1e-5)) / 2e-5
        assert float(slope) == pytest.approx(float(difference), rel=1e-5)


def test_init_takes_what_has_no_leaves() -> None:
    import jax
    import optax

    for tree in (None, {}, {"a": None}, optax.MaskedNode(), {"a": (), "b": [None]}):
        optimizer = Adam(0.1)
        state = optimizer.init(tree)
        params, after = optimizer.step(tree, tree, state)
        assert jax.tree.structure(params) == jax.tree.structure(tree) and int(after.iterations) == 1


def test_numbers_of_each_parameter_are_arrays_from_the_start() -> None:
    """In a convention with a step count for each parameter jit sees the same types at the first step and later."""
    import jax

    params, grads = trees()
    optimizer = Nadam(0.1, convention="torch")
    state = optimizer.init(params)
    assert kinds(state) == kinds(jax.jit(optimizer.init)(params))
    step = jax.jit(optimizer.step)
    for _ in range(3):
        params, state = step(params, grads, state)
    assert step._cache_size() == 1


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_bfloat16_parameters_with_float32_gradients(kind: Any, convention: str) -> None:
    import jax
    import jax.numpy as jnp

    params, grads = trees()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    optimizer = kind(0.1, convention=convention)
    state = optimizer.init(params)
    after = jax.eval_shape(optimizer.step, params, grads, state)  # As under jit, which would also compile it.
    assert kinds(after) == kinds((params, state))


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_strict_promotion(kind: Any, convention: str) -> None:
    """No two dtypes meet that the user did not bring together."""
    import jax

    params, grads = ({**tree, "h": tree["w"].astype("bfloat16")} for tree in trees())
    clip = "clipnorm" if convention == "keras2" else "global_clipnorm"
    optimizer = kind(
        0.1, use_ema=True, gradient_accumulation_steps=2, convention=convention, loss_scale_factor=8.0,
        **{clip: 1.0}, **({} if (kind, convention) == (Nadam, "keras2") else {"decay": 0.1}),
    )  # fmt: skip
    with jax.numpy_dtype_promotion("strict"):
        state = optimizer.init(params)
        jitted = jax.eval_shape(optimizer.step, params, grads, state)
        eager = optimizer.step(params, grads, state)
    assert kinds(jitted) == kinds(eager) == kinds((params, state))


# ---------------------------------------------------------------- deltas


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_delta_is_what_step_adds(kind: Any, convention: str) -> None:
    import jax

    params, grads = trees()
    decay = {"weight_decay": 0.1} if convention in kind.weight_decay_forms else {}
    optimizer = kind(0.1, convention=convention, clipnorm=1.0, **decay)
    state = optimizer.init(params)
    for method in (optimizer.delta, jax.jit(optimizer.delta)):
        deltas, after = method(params, grads, state)
        stepped, expected = optimizer.step(params, grads, state)
        close(jax.tree.map(lambda a, b: a + b, params, deltas), stepped, 1e-6)
        close(after, expected, 1e-6)
        assert kinds(after) == kinds(expected)


def test_delta_with_averages_that_overwrite_and_accumulation() -> None:
    """In a traced branch the sum of the deltas comes out of the branch that ran."""
    import jax

    params, grads = trees()
    optimizer = Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, gradient_accumulation_steps=2)
    state = optimizer.init(params)
    delta, moved = jax.jit(optimizer.delta), params
    for count in range(6):
        deltas, after = delta(moved, grads, state)
        params, state = optimizer.step(params, grads, state)
        moved = jax.tree.map(lambda a, b: a + b, moved, deltas)
        close((moved, after), (params, state), 1e-5)
        assert count % 2 or not np.any(deltas["w"])


def test_delta_is_not_rounded_to_the_parameter() -> None:
    import jax.numpy as jnp

    params = {"w": jnp.full(2, 256.0, jnp.bfloat16)}
    optimizer = SGD(0.5)
    deltas, _ = optimizer.delta(params, {"w": jnp.ones(2, jnp.bfloat16)}, optimizer.init(params))
    assert deltas["w"].dtype == jnp.float32 and np.all(deltas["w"] == -0.5)
    stepped, _ = optimizer.step(params, {"w": jnp.ones(2, jnp.bfloat16)}, optimizer.init(params))
    assert np.all(stepped["w"] == 256.0)


def test_delta_without_values_of_the_parameters() -> None:
    import jax

    params, grads = trees()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    optimizer = Adam(0.1)
    close(
        optimizer.delta(shapes, grads, optimizer.init(params)), optimizer.delta(params, grads, optimizer.init(params))
    )
    optimizer = AdamW(0.1)
    with pytest.raises(UnknownValueError, match="reads parameter 'b', whose value was not given"):
        optimizer.delta(shapes, grads, optimizer.init(params))


def test_delta_on_numpy() -> None:
    params, grads = {"a": np.ones(2), "b": np.ones(3)}, {"a": np.full(2, 0.5), "b": None}
    optimizer = SGD(0.5, weight_decay=0.1)
    deltas, state = optimizer.delta(params, grads, optimizer.init(params))
    assert deltas["b"] is None and state.iterations == 1
    np.testing.assert_allclose(deltas["a"], -0.05 - 0.25)
    np.testing.assert_array_equal(params["a"], 1.0)


def test_slots_in_dtypes_of_their_own() -> None:
    import jax.numpy as jnp

    params, grads = trees()
    optimizer = Adam(0.1, slot_dtype={"momentum": "bfloat16"})
    state = optimizer.init(params)
    _, after = optimizer.step(params, grads, state)
    assert kinds(after) == kinds(state)
    assert state.slots["momentum"]["w"].dtype == jnp.bfloat16 and state.slots["velocity"]["w"].dtype == jnp.float32
    assert optimizers.get(optimizers.serialize(optimizer)).slot_dtype == {"momentum": "bfloat16"}
    for wrong in ({"momentum": "int8"}, {1: "float32"}):
        with pytest.raises(ValueError, match="`slot_dtype` must be"):
            Adam(0.1, slot_dtype=wrong)
    cell = Variable(params["w"])
    optimizer.build([cell])
    assert optimizer.momentums[0].dtype_name == "bfloat16"


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_init_shows_where_the_parameters_stand_in_the_state(kind: Any, convention: str) -> None:
    """optax asks with a placeholder, which JAX takes for an empty container."""
    import jax

    params, grads = trees()
    optimizer = kind(0.1, convention=convention)
    state = optimizer.init(params)
    shapes = optax_tree.map_params(optimizer, lambda slot, param: param.shape, state, params)
    assert set(shapes.slots) == set(state.slots)
    assert all(shapes.slots[name] == {"w": (2, 2), "b": ()} for name in shapes.slots)
    doubled = optax_tree.map_params(optimizer.init, lambda slot: 2 * slot, optimizer.step(params, grads, state)[1])
    assert jax.tree.structure(doubled) == jax.tree.structure(state)


@pytest.mark.parametrize("kind", [Adam, Nadam])
def test_bias_corrections_are_traced_once_for_all_parameters(kind: Any) -> None:
    import jax
    import jax.numpy as jnp

    def corrections(count: int) -> int:
        params = [jnp.ones(3)] * count
        optimizer = kind()
        return str(jax.make_jaxpr(optimizer.step)(params, params, optimizer.init(params))).count("name=_one_minus_exp")

    assert corrections(5) == corrections(1) > 0


def test_what_a_rule_asks_for_once_is_traced_once() -> None:
    """For each optimizer, and not for each parameter."""
    import jax
    import jax.numpy as jnp

    asked: list[Any] = []

    class Sharing(Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            size, three = ops.once(self._sizes, self.step_of(variable), learning_rate, gradient.dtype)
            self.assign_sub(variable, gradient * size * three)

        def _sizes(self, step: Any, learning_rate: Any, dtype: Any) -> tuple[Any, float]:
            asked.append(dtype)
            return ops.cast(step, dtype) * learning_rate, 3.0

    def steps(params: Any, state: Any, again: Any) -> Any:
        params, state = optimizer.step(params, params, state)
        return other.step(params, params, again)

    optimizer, other = Sharing(0.5), Sharing(0.5)
    params = [jnp.ones(2), jnp.ones(3), jnp.ones(2, jnp.float16), jnp.ones(())]
    # 16-bit parameters are computed in float32, as the others are.
    given = params, optimizer.init(params), other.init(params)
    # Before its first step a user's rule is tried out.
    jax.eval_shape(lambda *trees: steps(*trees), *given)
    asked.clear()
    ends, _ = jax.jit(steps)(*given)
    assert len(asked) == 2
    for end in ends:
        np.testing.assert_array_equal(np.asarray(end, np.float32), 0.25)


def test_what_a_rule_computes_inside_a_branch_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias correction that was first asked for in a branch of JAX's own is not known outside."""
    import jax
    import jax.numpy as jnp

    # Where a rule is tried out, what only JAX has is refused.
    monkeypatch.setattr("gradwise.optimizers.core.step.is_to_be_tried", lambda rule: False)

    class Branching(Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            def correction() -> Any:
                return ops.one_minus_power(0.9, self.step_of(variable)) * jnp.ones(())

            doubled = jax.lax.cond(jnp.sum(gradient) > 0, lambda: 2 * correction(), lambda: 3 * correction())
            self.assign_sub(variable, gradient * learning_rate * doubled * correction())

    optimizer, params = Branching(0.1), [jnp.ones(2), jnp.ones(3)]
    ends, _ = jax.jit(optimizer.step)(params, params, optimizer.init(params))
    for end in ends:
        np.testing.assert_allclose(end, 1 - 0.1 * 2 * 0.1 * 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1, momentum=0.9), RMSprop(0.1, momentum=0.9), RMSprop(0.1, momentum=0.9, convention="optax")],
    ids=str,
)
def test_no_addition_stands_alone(optimizer: Any) -> None:
    """XLA's compiler for CPUs vectorizes what stands alone over the last axis only."""
    import jax
    import jax.numpy as jnp

    params = jnp.ones((64, 64, 3, 3))
    lowered = jax.jit(optimizer.step, donate_argnums=(0, 2)).lower(params, params, optimizer.init(params))
    entry = lowered.compile().as_text().split("ENTRY")[1]
    assert "fusion(" in entry
    assert not re.findall(r"%wrapped_(?:add|subtract)\S* = f32.*", entry)


@pytest.mark.parametrize("options", [{}, {"use_ema": True}], ids=str)
def test_no_tracer_is_kept(options: Any) -> None:
    """What was computed inside the branch of an accumulated update ends with it."""
    import jax

    params, grads = trees()
    optimizer = Adam(0.1, gradient_accumulation_steps=2, **options)
    state = optimizer.init(params)
    with jax.checking_leaks():
        jax.jit(optimizer.step)(params, grads, state)


def test_whole_numbers_are_added_as_they_are() -> None:
    """What floats are held between would not fit them."""
    import jax
    import jax.numpy as jnp

    class Counting(Optimizer):
        def build(self, variables: Any) -> None:
            super().build(variables)
            self.total = self.add_variable((), "zeros", "int32", "total")
            self.every = self.add_variable((), 2, "int32", "every")

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_add(self.total, self.every)
            self.assign_sub(variable, gradient * learning_rate)

    optimizer, params = Counting(0.1), jnp.ones(2)
    _, state = jax.jit(optimizer.step)(params, params, optimizer.init(params))
    assert int(state.scalars["total"]) == 2


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_init_and_step_on_each_device_of_a_mesh(options: Any) -> None:
    """What is the same on all devices stays so for JAX, whatever the first parameter is."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, PartitionSpec

    mesh = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Auto,))
    optimizer = optimizers.Adam(0.1, **options)
    placed = {"a": PartitionSpec("x"), "b": PartitionSpec()}

    def two_steps(params: Any) -> Any:
        state = optimizer.init(params)
        for _ in range(2):
            params, state = optimizer.step(params, params, state)
        return params

    on_devices = jax.jit(shard_map(two_steps, bool(options), mesh=mesh, in_specs=(placed,), out_specs=placed))
    params = {"a": jnp.ones(8), "b": jnp.ones(3)}
    close(on_devices(params), two_steps(params))


def test_a_slot_may_be_read_inside_of_a_transformation_while_slots_are_made() -> None:
    import jax
    import jax.numpy as jnp

    class Shifted(optimizers.Optimizer):
        def build(self, variables: Any) -> None:
            super().build(variables)
            self.slots = self.add_optimizer_variables(variables, "slot", 2.0)
            self.shifted = [
                self.add_variable_from_reference(cell, "shifted", jax.jit(lambda slot=slot: slot.value + 1.0)())
                for cell, slot in zip(variables, self.slots, strict=True)
            ]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, gradient * learning_rate)

    for init in (Shifted(0.1).init, jax.jit(Shifted(0.1).init)):
        slots = init({"w": jnp.ones(2)}).slots
        close(slots, {"slot": {"w": jnp.full(2, 2.0)}, "shifted": {"w": jnp.full(2, 3.0)}})


@pytest.mark.parametrize("decay", [0.0, 1e-6, 0.3, 0.5, 0.9])
def test_decays_that_are_traced_may_have_any_size(decay: float) -> None:
    """Nothing cancels where a large gradient is followed by a small one, and derivatives are those of float64."""
    import jax
    import jax.numpy as jnp

    def moved(beta_1: Any, beta_2: Any) -> Any:
        optimizer = optimizers.Adam(0.1, beta_1, beta_2, convention="optax")
        params = {"w": jnp.zeros(1)}
        state = optimizer.init(params)
        for gradient in (1e3, 1e-3, 2.0):
            params, state = optimizer.step(params, {"w": jnp.asarray([gradient])}, state)
        return params["w"][0]

    def exactly(beta_1: float, beta_2: float) -> float:
        m = v = w = 0.0
        for step, gradient in enumerate((1e3, 1e-3, 2.0), 1):
            m, v = beta_1 * m + (1 - beta_1) * gradient, beta_2 * v + (1 - beta_2) * gradient**2
            w -= 0.1 * (m / (1 - beta_1**step)) / (math.sqrt(v / (1 - beta_2**step)) + 1e-8)
        return w

    found, slope = jax.jit(jax.value_and_grad(moved))(decay, 0.9)
    assert found == pytest.approx(exactly(decay, 0.9), rel=1e-5)
    # Of both sides where they exist.
    low, high = (decay, decay + 1e-7) if decay == 0.0 else (decay * (1 - 1e-5), decay * (1 + 1e-5))
    assert slope == pytest.approx((exactly(high, 0.9) - exactly(low, 0.9)) / (high - low), rel=2e-3)
    assert jax.jit(moved)(0.9, decay) == pytest.approx(exactly(0.9, decay), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The state counts steps in int32:RuntimeWarning")
@pytest.mark.parametrize("kind, convention", EVERY, ids=called)
def test_a_full_counter_goes_on_compiled_as_it_does_otherwise(kind: Any, convention: str) -> None:
    import jax
    import jax.numpy as jnp

    optimizer = kind(0.1, convention=convention)
    largest = jnp.iinfo(jnp.int32).max
    params = {"w": jnp.asarray([1.0, -2.0])}
    state = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, largest - 1) if leaf.dtype == jnp.int32 else leaf, optimizer.init(params)
    )
    plain = compiled = (params, state)
    for _ in range(4):
        plain = optimizer.step(plain[0], params, plain[1])
        compiled = jax.jit(optimizer.step)(compiled[0], params, compiled[1])
        for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(compiled), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
            assert np.all(np.isfinite(one)) and one.dtype == other.dtype
    assert plain[1].iterations == largest


@pytest.mark.filterwarnings("ignore:The state counts steps in int32")
@pytest.mark.parametrize("options", [{"gradient_accumulation_steps": 3}, {"use_ema": True, "ema_momentum": 0.5,
    "ema_overwrite_frequency": 3}, {"gradient_accumulation_steps": 3, "use_ema": True, "ema_momentum": 0.5,
    "ema_overwrite_frequency": 2}], ids=["accumulation", "averages", "both"])  # fmt: skip
def test_what_happens_every_so_many_steps_goes_on_with_a_full_counter(options: Any) -> None:
    """As where the count has 64 bits."""
    import jax
    import jax.numpy as jnp

    optimizer = optimizers.SGD(0.1, **options)
    params, grads = {"w": np.asarray([1.0, -2.0], np.float32)}, {"w": np.asarray([0.5, 2.0], np.float32)}
    start = 2**31 - 8
    state = optimizer.init(params)._replace(iterations=np.int64(start))
    eager = traced = (
        jax.tree.map(jnp.asarray, params), optimizer.init(jax.tree.map(jnp.asarray, params))._replace(
            iterations=jnp.asarray(start, jnp.int32))
    )  # fmt: skip
    step, jax_grads = jax.jit(optimizer.step), jax.tree.map(jnp.asarray, grads)
    for _ in range(20):
        params, state = optimizer.step(params, grads, state)
        eager = optimizer.step(eager[0], jax_grads, eager[1])
        traced = step(traced[0], jax_grads, traced[1])
        for found, after in (eager, traced):
            np.testing.assert_allclose(found["w"], params["w"], rtol=1e-5)
            assert after.iterations > start - 8
    assert eager[1].iterations == traced[1].iterations and step._cache_size() == 1


def test_a_full_counter_says_so() -> None:
    import jax.numpy as jnp

    optimizer = optimizers.SGD(0.1)
    state = optimizer.init(jnp.ones(2))._replace(iterations=jnp.asarray(2**31 - 1, jnp.int32))
    with pytest.warns(RuntimeWarning, match="counts steps in int32, which ends at 2147483647"):
        optimizer.step(jnp.ones(2), jnp.ones(2), state)
