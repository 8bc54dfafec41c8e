"""What optax's users put into trees: leaves that are no parameters, boxes, masks by path, rates that are arrays."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from test_frontend_optax import NAMES, assert_close, functions, kinds

from gradwise import optimizers

pytestmark = pytest.mark.jax


def others() -> dict[str, Any]:
    """What stands among the parameters of a model and has no gradient."""
    import jax
    import jax.numpy as jnp

    return {
        "activation": jax.nn.relu,
        "text": "same",
        "object": object(),
        "flag": True,
        "size": 3,
        "share": 0.5,
        "counter": jnp.arange(2),
        "used": jnp.asarray([True]),
        "table": np.arange(2),
        "key": jax.random.key(0),
    }


def called(variant: Any) -> str:
    return "-".join([variant[0], *variant[1]])


EVERY = [*((name, {}) for name in NAMES), ("sgd", {"momentum": 0.9})]


@pytest.mark.parametrize("variant", EVERY, ids=called)
def test_leaves_without_a_gradient_may_be_anything(variant: Any) -> None:
    """A filtered model makes the state, and the whole one is given as `params`: as in optax, leaf for leaf."""
    import jax
    import jax.numpy as jnp
    import optax

    name, options = variant
    made = [getattr(module, name)(0.1, **options) for module in (functions(), optax)]
    for key, other in others().items():
        whole, filtered = {"w": jnp.ones(2), key: other}, {"w": jnp.ones(2), key: None}
        ours, theirs = (each.update(filtered, each.init(filtered), whole) for each in made)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs), key
        assert_close(ours, theirs, 1e-4)
        # optax's stateful ones cannot begin with such leaves; here they have no slots.
        state = made[0].init(whole)
        if key not in ("size", "share"):
            assert kinds(state) == kinds(made[0].init(filtered)), key
        assert_close(made[0].update(filtered, state, whole)[0], ours[0], 0.0)


@pytest.mark.parametrize("scheduled", [False, True], ids=["rate", "schedule"])
def test_what_keeps_no_slots_begins_with_any_tree(scheduled: bool) -> None:
    import jax.numpy as jnp
    import optax

    rate = optax.linear_schedule(0.1, 0.2, 10) if scheduled else 0.1
    ours, theirs = functions().sgd(rate), optax.sgd(rate)
    whole = {"w": jnp.ones(2), **others()}
    grads = {key: leaf if key == "w" else None for key, leaf in whole.items()}
    assert kinds(ours.init(whole)) == kinds(theirs.init(whole))
    for params in (whole, grads, None):
        assert_close(ours.update(grads, ours.init(whole), params), theirs.update(grads, theirs.init(whole), params), 0)


def test_a_gradient_of_what_cannot_be_optimized_is_refused() -> None:
    import jax
    import jax.numpy as jnp

    transformation = functions().sgd(0.1)
    params = {"w": jnp.ones(2), "counter": jnp.arange(2)}
    state = transformation.init(params)
    with pytest.raises(ValueError, match=r"holds a jax array of dtype float32 .* where a jax array of dtype int32"):
        transformation.update({"w": jnp.ones(2), "counter": jnp.ones(2)}, state, params)
    # What `jax.grad(..., allow_int=True)` gives for integers stands for none.
    grads = jax.grad(lambda p: jnp.sum(p["w"] * p["counter"]), allow_int=True)(params)
    updates, _ = transformation.update(grads, state, params)
    assert updates["counter"] is None and updates["w"].shape == (2,)


def test_any_optimizer_of_the_core_beside_other_leaves() -> None:
    import jax.numpy as jnp

    core = optimizers.Nadam(0.1, use_ema=True, global_clipnorm=1.0)
    transformation = functions().from_optimizer(core)
    whole = {"w": jnp.ones(2), **others()}
    params = {"w": jnp.ones(2)}
    grads = {key: leaf if key == "w" else None for key, leaf in whole.items()}
    updates, after = transformation.update(grads, transformation.init(whole), whole)
    expected, state = transformation.update(params, transformation.init(params), params)
    assert_close(updates["w"], expected["w"], 0.0)
    assert_close(after.slots["average"]["w"], state.slots["average"]["w"], 0.0)
    assert after.slots["average"]["activation"] is None


def test_leaves_that_stand_for_arrays() -> None:
    """As flax's hijax Variables, which are leaves and say that JAX may take them for arrays."""
    import jax
    import jax.numpy as jnp

    class Cell:
        """Looks like an array of a library of its own, as those do."""

        def __init__(self, array: Any) -> None:
            self.array = array
            self.dtype, self.shape = array.dtype, array.shape

        def __jax_array__(self) -> Any:
            return self.array

        def __array_namespace__(self) -> Any:
            return jnp

    plain = {"w": jnp.ones(2), "b": jnp.zeros(3)}
    cells = {key: Cell(leaf) for key, leaf in plain.items()}
    for kind in (optimizers.Adam, optimizers.SGD):
        core = kind(0.1)
        assert kinds(core.init(cells)) == kinds(core.init(plain))
        assert_close(core.step(cells, cells, core.init(cells)), core.step(plain, plain, core.init(plain)), 0.0)
    transformation = functions().adamw(0.1)
    state = transformation.init(cells)
    assert kinds(state) == kinds(transformation.init(plain))
    assert_close(transformation.update(cells, state, cells), transformation.update(plain, state, plain), 0.0)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


# ---------------------------------------------------------------- boxes


class Box:
    """As flax's `Partitioned`: a node that holds one array and names its axes."""

    def __init__(self, value: Any, names: tuple[str, ...]) -> None:
        self.value, self.names = value, names

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, value: Any) -> Any:
        return Box(value, self.names)


@pytest.fixture(scope="module")
def boxed() -> Any:
    import jax
    import jax.numpy as jnp

    jax.tree_util.register_pytree_with_keys(
        Box,
        lambda box: (((jax.tree_util.GetAttrKey("value"), box.value),), box.names),
        lambda names, values: Box(values[0], names),
    )
    return {"kernel": Box(jnp.ones((2, 3)), ("x", "y")), "bias": Box(jnp.zeros(3), ("y",)), "scale": jnp.ones(())}


@pytest.mark.parametrize("name", ["Adam", "Nadam", "adafactor", "adam", "averaged"])
def test_a_box_is_around_what_has_the_parameter_s_axes(name: str, boxed: Any) -> None:
    """Not around a count of each parameter, or a row's mean."""
    import jax
    import optax

    goptax = functions()
    core = {
        "Adam": lambda: optimizers.Adam(0.1, convention="torch"),
        "Nadam": lambda: optimizers.Nadam(0.1),
        "adafactor": lambda: goptax.to_optimizer(optax.adafactor(0.1, min_dim_size_to_factor=1)),
        "adam": lambda: goptax.to_optimizer(goptax.adam(0.1)),
        "averaged": lambda: optimizers.SGD(0.1, convention="torch", momentum=0.9, use_ema=True),
    }[name]()
    bare = {key: value.value if isinstance(value, Box) else value for key, value in boxed.items()}
    transformation = goptax.from_optimizer(core)
    for init in (core.init, transformation.init, jax.jit(core.init)):
        boxes = [node for node in jax.tree.leaves(init(boxed), is_leaf=lambda node: isinstance(node, Box))]
        boxes = [node for node in boxes if isinstance(node, Box)]
        # Each kind of slot of the one has other axes for some parameter.
        assert bool(boxes) == (name != "adafactor")
        assert all(node.value.ndim == len(node.names) for node in boxes)
    state, bare_state = core.init(boxed), core.init(bare)
    params, bare_params, step = boxed, bare, jax.jit(core.step)
    for _ in range(2):
        params, state = step(params, params, state)
        bare_params, bare_state = core.step(bare_params, bare_params, bare_state)
    assert jax.tree.structure(params) == jax.tree.structure(boxed) and step._cache_size() == 1
    assert_close(jax.tree.leaves(params), jax.tree.leaves(bare_params), 1e-5)
    updates, after = transformation.update(boxed, transformation.init(boxed), boxed)
    assert jax.tree.structure(updates) == jax.tree.structure(boxed)
    assert kinds(after) == kinds(transformation.init(boxed))
    # What took the boxes off, as flax does before an update, takes them off the state too.
    unboxed = jax.tree.map(
        lambda node: node.value if isinstance(node, Box) else node,
        transformation.init(boxed),
        is_leaf=lambda node: isinstance(node, Box),
    )
    found, _ = transformation.update(bare, unboxed, bare)
    assert_close(jax.tree.leaves(found), jax.tree.leaves(updates), 1e-6)


def test_a_box_is_no_part_of_a_name(boxed: Any) -> None:
    import jax

    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["^kernel$"])
    zeros = jax.tree.map(lambda leaf: leaf * 0, boxed)
    params, _ = optimizer.step(boxed, zeros, optimizer.init(boxed))
    assert float(params["kernel"].value[0, 0]) == 1.0 and float(params["scale"]) == pytest.approx(0.95)


# ---------------------------------------------------------------- the tree that a transformation sees


def model() -> Any:
    import jax.numpy as jnp

    return {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "other": [jnp.ones(2), jnp.ones(3)]}


def is_kernel(tree: Any) -> Any:
    import jax

    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", "") == "kernel" and len(path) == 2, tree
    )


FLAGS = {"dense": {"kernel": True, "bias": False}, "other": [False, True]}
LABELS = {"dense": {"kernel": "a", "bias": "z"}, "other": "a"}


def looking_at_the_tree() -> dict[str, Any]:
    import jax
    import optax

    goptax = functions()
    groups = {"a": optax.sgd(0.1), "z": optax.set_to_zero()}
    return {
        "mask is a tree": lambda: optax.lion(0.1, weight_decay=0.5, mask=FLAGS),
        "mask by path": lambda: optax.lion(0.1, weight_decay=0.5, mask=is_kernel),
        "ours, mask is a tree": lambda: goptax.adamw(0.1, weight_decay=0.5, mask=FLAGS),
        "ours, mask by path": lambda: goptax.adamw(0.1, weight_decay=0.5, mask=is_kernel),
        "masked": lambda: optax.masked(optax.adam(0.1), FLAGS),
        "partition": lambda: optax.partition(groups, LABELS),
        "partition by path": lambda: optax.partition(
            groups, lambda tree: jax.tree.map(lambda kernel: "a" if kernel else "z", is_kernel(tree))
        ),
    }


@pytest.mark.parametrize("twice", [False, True], ids=["", "twice"])
@pytest.mark.parametrize(
    "name",
    ["mask by path", "mask is a tree", "masked", "ours, mask by path", "ours, mask is a tree", "partition",
     "partition by path"],
)  # fmt: skip
def test_a_transformation_in_an_optimizer_in_a_transformation_sees_the_user_s_tree(name: str, twice: bool) -> None:
    import jax
    import optax

    goptax = functions()
    make = looking_at_the_tree()[name]
    theirs, ours = make(), goptax.from_optimizer(goptax.to_optimizer(make()))
    if twice:
        ours = goptax.from_optimizer(goptax.to_optimizer(ours))
    params = their_params = model()
    state, their_state = ours.init(params), theirs.init(params)
    for step in range(3):
        grads = jax.tree.map(lambda leaf, n=step: leaf * (n - 0.5), params)
        updates, state = jax.jit(ours.update)(grads, state, params)
        their_updates, their_state = theirs.update(grads, their_state, their_params)
        assert_close(updates, their_updates, 1e-5)
        params, their_params = optax.apply_updates(params, updates), optax.apply_updates(their_params, their_updates)


def keeping() -> dict[str, Any]:
    import optax

    groups = {"a": optax.adam(0.1), "z": optax.sgd(0.1, momentum=0.9)}
    return {
        "adam": lambda: optax.adam(0.1),
        "ours": lambda: functions().adamw(0.1, mask=is_kernel),
        "masked": lambda: optax.masked(optax.adam(0.1), FLAGS),
        "partition": lambda: optax.partition(groups, LABELS),
        "MultiSteps": lambda: optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
        "injected": lambda: optax.inject_hyperparams(optax.adam)(0.1),
        "adafactor": lambda: optax.adafactor(0.1, min_dim_size_to_factor=1),
        "noisy_sgd": lambda: optax.noisy_sgd(0.1, key=0),
        "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.1), 3),
    }


@pytest.mark.parametrize(
    "name",
    ["MultiSteps", "adafactor", "adam", "apply_if_finite", "injected", "masked", "noisy_sgd", "ours", "partition"],
)
def test_what_repeats_the_parameters_is_a_slot_of_each(name: str) -> None:
    """So it is found by `map_params`, and parameters are told apart in state as they are in optax's."""
    import jax
    import optax

    assert sorted(keeping()) == [
        "MultiSteps", "adafactor", "adam", "apply_if_finite", "injected", "masked", "noisy_sgd", "ours", "partition",
    ]  # fmt: skip
    theirs = keeping()[name]()
    ours = functions().from_optimizer(functions().to_optimizer(keeping()[name]()))
    params = model()

    def counted(transformation: Any) -> Any:
        seen = []
        state = transformation.init(params)
        changed = optax.tree_utils.tree_map_params(
            transformation, lambda leaf: seen.append(leaf.shape) or leaf, state, transform_non_params=lambda leaf: leaf
        )
        assert jax.tree.structure(changed) == jax.tree.structure(state)
        return sorted(seen)

    assert counted(ours) == counted(theirs)
    state = ours.init(params)
    step = jax.jit(ours.update)
    for _ in range(2):
        _, state = step(params, state, params)
    assert step._cache_size() == 1 and kinds(state) == kinds(ours.init(params))


def test_a_transformation_that_takes_the_tree_apart_keeps_all_as_shared() -> None:
    import optax

    optimizer = functions().to_optimizer(optax.flatten(optax.adam(0.1)))
    state = optimizer.init(model())
    assert not state.slots and len(state.scalars) == 3
    moved, _ = optimizer.step(model(), model(), state)
    updates, _ = optax.flatten(optax.adam(0.1)).update(model(), optax.flatten(optax.adam(0.1)).init(model()))
    assert_close(moved, optax.apply_updates(model(), updates), 1e-5)


# ---------------------------------------------------------------- hyperparameters that are arrays


def traced_where_arrays(function: Any) -> Any:
    """As `equinox.filter_jit`: of the first argument, leaves that are arrays are traced and all others are static."""
    import jax

    def joined(static: Any, traced: Any, *others: Any) -> Any:
        definition, leaves = static
        merged = [leaf if array is None else array for array, leaf in zip(traced, leaves, strict=True)]
        return function(jax.tree.unflatten(definition, merged), *others)

    compiled = jax.jit(joined, static_argnums=0)

    def call(argument: Any, *others: Any) -> Any:
        leaves, definition = jax.tree.flatten(argument)
        array = [isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in leaves]
        traced = [leaf if traces else None for leaf, traces in zip(leaves, array, strict=True)]
        static = tuple(None if traces else leaf for leaf, traces in zip(leaves, array, strict=True))
        return compiled((definition, static), traced, *others)

    return call


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
@pytest.mark.parametrize("name", ["sgd", "adam", "momentum", "from_optimizer", "optimizer"])
def test_numbers_given_as_arrays_are_traced(name: str, dtype: str) -> None:
    """Another one traces nothing anew where arrays are traced and numbers are not."""
    import jax.numpy as jnp

    goptax = functions()
    make = {
        "sgd": goptax.sgd,
        "adam": goptax.adam,
        "momentum": lambda rate: goptax.sgd(0.5, momentum=rate / 4),
        "from_optimizer": lambda rate: goptax.from_optimizer(optimizers.Adam(rate)),
        "optimizer": optimizers.Adam,
    }[name]
    traces = []

    def step(made: Any, params: Any, state: Any) -> Any:
        traces.append(None)
        if name == "optimizer":
            return made.step(params, params, state)
        return made.update(params, state, params)

    run, params = traced_where_arrays(step), {"w": jnp.ones(2)}
    for rate in (1, 2, 3):
        made = make(jnp.asarray(rate, dtype))
        plain = make(float(rate))
        assert_close(run(made, params, made.init(params)), run(plain, params, plain.init(params)), 1e-5)
    # Numbers are static there: each is traced.
    assert len(traces) == 1 + 3


def test_a_number_that_was_an_array_is_exact_where_the_host_reads_it() -> None:
    """As a constant of a program, eagerly and in comparisons it is the number; only as an argument it is traced."""
    import jax
    import jax.numpy as jnp

    goptax, params = functions(), tree_of_one()
    array, number = jnp.asarray(0.1), float(np.float32(0.1))
    for make in (goptax.adam, lambda rate: goptax.from_optimizer(optimizers.Adam(rate, beta_1=rate, beta_2=rate))):
        ours, plain = make(array), make(number)
        assert ours == plain and hash(ours) == hash(plain) and repr(ours) == repr(plain)
        for run in (lambda update: update, jax.jit):
            found = run(ours.update)(params, ours.init(params), params)
            assert_close(found, run(plain.update)(params, plain.init(params), params), 0.0)
        again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
        assert again == ours and [type(leaf) for leaf in jax.tree.leaves(again)] == [
            type(leaf) for leaf in jax.tree.leaves(ours)
        ]
    core = optimizers.Adam(array)
    assert core.learning_rate == number and type(core.learning_rate) is float
    assert type(jax.tree.leaves(core)[0]) is np.float32
    twice = jax.tree.unflatten(jax.tree.structure(core), jax.tree.leaves(core))
    assert twice == core and type(jax.tree.leaves(twice)[0]) is np.float32
    other = copy.copy(core)
    other.learning_rate = number
    assert type(jax.tree.leaves(other)[0]) is float and type(jax.tree.leaves(core)[0]) is np.float32


def tree_of_one() -> Any:
    import jax.numpy as jnp

    return {"w": jnp.asarray([1.0, -0.5])}
