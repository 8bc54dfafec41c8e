"""The functional path: pure, cached by structure, and at home in JAX's transformations."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import optree
import pytest

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, Nadam, OptimizerState
from gradwise.optimizers.registry import ALGORITHMS


class Layer(NamedTuple):
    kernel: object
    bias: object


def small_tree():
    return {"dense": Layer(np.ones((2, 3), np.float32), np.zeros(3, np.float32)), "scale": np.array(2.0, np.float64)}


def filled(tree, value):
    return optree.tree_map(lambda leaf: np.full_like(leaf, value), tree)


def snapshot(tree):
    return optree.tree_map(lambda leaf: np.array(leaf, copy=True), tree)


def equal(a, b):
    return optree.tree_all(optree.tree_map(lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b))


def test_state_has_the_documented_shape():
    params = small_tree()
    state = Nadam(0.5).init(params)
    assert isinstance(state, OptimizerState)
    assert state.iterations.shape == () and state.iterations.dtype == np.int64
    assert float(state.learning_rate) == 0.5
    assert set(state.slots) == {"momentum", "velocity"} and set(state.scalars) == {"u_product"}
    assert optree.tree_structure(state.slots["momentum"]) == optree.tree_structure(params)
    leaves, definition = optree.tree_flatten(state)
    assert isinstance(optree.tree_unflatten(definition, leaves), OptimizerState)


def test_a_schedule_leaves_no_learning_rate_in_the_state():
    optimizer = Adam(schedules.ExponentialDecay(0.1, 10, 0.5))
    state = optimizer.init(small_tree())
    assert state.learning_rate is None
    assert optimizer.learning_rate_at(state) == 0.1
    _, state = optimizer.step(small_tree(), filled(small_tree(), 1.0), state)
    assert optimizer.learning_rate_at(state) == pytest.approx(0.1 * 0.5**0.1)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_step_never_changes_its_inputs(algorithm):
    optimizer = algorithm(0.1, use_ema=True, clipvalue=0.5)
    params = small_tree()
    grads = filled(params, 0.25)
    state = optimizer.init(params)
    for tree in (params, grads, state):
        for leaf in optree.tree_leaves(tree):
            leaf.setflags(write=False)
    before = snapshot((params, grads, state))
    new_params, new_state = optimizer.step(params, grads, state)
    assert equal(before, (params, grads, state))
    assert not equal(new_params, params)
    assert int(new_state.iterations) == 1
    own = {id(leaf) for leaf in optree.tree_leaves((params, grads, state))}
    assert not any(id(leaf) in own for leaf in optree.tree_leaves(new_state.slots))
    assert not optimizer.built


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_dtypes_and_shapes_never_change(algorithm):
    optimizer = algorithm(0.1, use_ema=True, gradient_accumulation_steps=2)
    params = small_tree()
    state = optimizer.init(params)
    kinds = [(leaf.shape, leaf.dtype) for leaf in optree.tree_leaves((params, state))]
    for _ in range(3):
        params, state = optimizer.step(params, filled(params, 1.0), state)
        assert [(leaf.shape, leaf.dtype) for leaf in optree.tree_leaves((params, state))] == kinds


def test_one_instance_serves_two_trees_interleaved():
    first, second = {"a": np.ones(3)}, [np.full((2, 2), 2.0, np.float32), np.array(1.0, np.float32)]
    together, apart = Adam(0.1), [Adam(0.1), Adam(0.1)]
    trees = [first, second]
    states = [together.init(tree) for tree in trees]
    expected, expected_states = list(trees), [opt.init(tree) for opt, tree in zip(apart, trees, strict=True)]
    for step in range(6):
        for which in (0, 1):
            grads = optree.tree_map(lambda leaf, step=step: np.full_like(leaf, 0.5 + step), trees[which])
            trees[which], states[which] = together.step(trees[which], grads, states[which])
            expected[which], expected_states[which] = apart[which].step(expected[which], grads, expected_states[which])
    assert equal(trees, expected) and equal(states, expected_states)


def test_imperative_and_functional_use_of_one_instance_do_not_meet():
    optimizer = Adam(0.1)
    w = np.ones(3)
    optimizer.apply([np.ones(3)], [w])
    params = {"w": np.ones(3)}
    state = optimizer.init(params)
    assert int(state.iterations) == 0
    stepped, state = optimizer.step(params, {"w": np.ones(3)}, state)
    assert optimizer.iterations == 1
    np.testing.assert_array_equal(stepped["w"], w)


def test_threads_share_one_instance():
    optimizer = Nadam(0.01, global_clipnorm=1.0)
    results, errors = {}, []

    def work(seed):
        try:
            rng = np.random.default_rng(seed % 2)
            params = {"w": np.ones(5), "b": np.zeros((2, seed % 2 + 1))}
            state = optimizer.init(params)
            for _ in range(30):
                grads = {name: rng.normal(size=value.shape) for name, value in params.items()}
                params, state = optimizer.step(params, grads, state)
            results[seed] = params
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for seed in range(2, 6):
        assert equal(results[seed], results[seed % 2])
    assert not np.array_equal(results[0]["w"], results[1]["w"])


def test_threads_with_imperative_optimizers_of_their_own():
    results = {}

    def work(seed):
        w, optimizer = np.ones(50), Adam(0.1)
        for _ in range(50):
            optimizer.apply([w * (1 + seed % 2)], [w])
        results[seed] = w

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


def test_missing_gradients_leave_parameters_and_slots_alone():
    optimizer = Adam(0.1)
    params = {"a": np.ones(2), "b": np.ones(3)}
    state = optimizer.init(params)
    new_params, new_state = optimizer.step(params, {"a": np.ones(2), "b": None}, state)
    assert np.array_equal(new_params["b"], params["b"]) and not np.array_equal(new_params["a"], params["a"])
    assert np.array_equal(new_state.slots["momentum"]["b"], np.zeros(3))
    assert int(new_state.iterations) == 1


def test_exclusions_search_the_key_path():
    optimizer = SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["layer1/bias", "norm"])
    params = {"layer1": {"kernel": np.ones(1), "bias": np.ones(1)}, "norm": [np.ones(1)], "bias": np.ones(1)}
    stepped, _ = optimizer.step(params, filled(params, 0.0), optimizer.init(params))
    assert stepped["layer1"]["kernel"][0] == 0.95 and stepped["bias"][0] == 0.95
    assert stepped["layer1"]["bias"][0] == 1.0 and stepped["norm"][0][0] == 1.0


def test_changed_hyperparameters_are_seen():
    optimizer = Adam(0.1)
    params, grads = {"w": np.ones(2)}, {"w": np.array([1.0, -2.0])}
    first, _ = optimizer.step(params, grads, optimizer.init(params))
    optimizer.epsilon = 10.0
    second, _ = optimizer.step(params, grads, optimizer.init(params))
    expected, _ = Adam(0.1, epsilon=10.0).step(params, grads, Adam(0.1).init(params))
    assert not np.array_equal(first["w"], second["w"]) and np.array_equal(second["w"], expected["w"])
    optimizer.amsgrad = True
    assert set(optimizer.init(params).slots) == {"momentum", "velocity", "velocity_hat"}


def test_a_nested_list_of_hyperparameters_changed_in_place_is_seen():
    class Weighted(optimizers.Optimizer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.weights = {"rates": [1.0, [2.0]]}

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * (learning_rate * self.weights["rates"][1][0]))

    optimizer = Weighted(learning_rate=1.0)
    params = {"w": np.ones(1)}
    state = optimizer.init(params)
    assert optimizer.step(params, params, state)[0]["w"][0] == -1.0
    optimizer.weights["rates"][1][0] = 3.0
    assert optimizer.step(params, params, state)[0]["w"][0] == -2.0


def test_learning_rates_of_the_state():
    optimizer = SGD(0.5)
    params, grads = {"w": np.ones(1)}, {"w": np.ones(1)}
    state = optimizer.init(params)
    assert optimizer.step(params, grads, state, learning_rate=0.25)[0]["w"][0] == 0.75
    optimizer.learning_rate = 123.0
    assert optimizer.step(params, grads, state)[0]["w"][0] == 0.5
    changed = optimizer.with_learning_rate(state, 0.125)
    assert changed.learning_rate.dtype == state.learning_rate.dtype and float(state.learning_rate) == 0.5
    assert optimizer.step(params, grads, changed)[0]["w"][0] == 0.875
    assert optimizer.learning_rate_at(changed) == 0.125


def test_decay_divides_the_rate():
    optimizer = SGD(learning_rate=1.0, decay=1.0)
    params = {"w": np.zeros(1)}
    state = optimizer.init(params)
    for expected in (-1.0, -1.5, -1.5 - 1 / 3):
        params, state = optimizer.step(params, {"w": np.ones(1)}, state)
        assert params["w"][0] == pytest.approx(expected)
    assert optimizer.learning_rate_at(state) == 0.25


def test_averages():
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5)
    params = {"w": np.zeros(1)}
    state = optimizer.init(params)
    for expected in (1.0, 1.5, 2.25):
        params, state = optimizer.step(params, {"w": -np.ones(1)}, state)
        assert optimizer.averages(state)["w"][0] == expected


def test_empty_trees_and_empty_arrays():
    optimizer = Adam(0.1)
    params, state = optimizer.step({}, {}, optimizer.init({}))
    assert params == {} and int(state.iterations) == 1
    assert state.slots == {"momentum": {}, "velocity": {}}
    empty = {"w": np.zeros((0, 3), np.float32)}
    params, state = optimizer.step(empty, empty, optimizer.init(empty))
    assert params["w"].shape == (0, 3)


def test_few_templates_are_kept():
    optimizer = SGD(0.1)
    for length in range(1, 40):
        params = {"w": np.ones(length)}
        optimizer.step(params, params, optimizer.init(params))
    assert len(optimizer._templates) <= 16
