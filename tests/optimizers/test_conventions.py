"""Conventions: which are the same under which names and values, which never are, and whose steps are counted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from helpers.algorithms import problem
from helpers.backend_table import array, precision, read, same_bits
from rules import Pair, all_facts

from gradwise import optimizers
from gradwise.optimizers import SGD, Adagrad, Adam, Adamax, Nadam, get

EPS = float(np.finfo(np.float64).eps)
HALVED = [2.0**-5 * 0.5 ** (step // 4) for step in range(30)]
STEADY = [2.0**-5] * 30


def trajectory(optimizer, rates, missing=()):
    """The parameters after each step; `missing` are steps in which the kernel has no gradient."""
    start, gradients = problem(np.float64, len(rates))
    parameters = {name: value.copy() for name, value in start.items()}
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of missing gradients
        for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
            optimizer.learning_rate = rate
            given = [None if name == "kernel" and step in missing else gradient[name] for name in start]
            optimizer.apply(given, list(parameters.values()))
            found.append({name: value.copy() for name, value in parameters.items()})
    return found


def apart(one, other, rates, missing=()):
    """The largest relative distance of two optimizers' parameters after any step."""
    runs = zip(trajectory(one, rates, missing), trajectory(other, rates, missing), strict=True)
    pairs = [(a[name], b[name]) for a, b in runs for name in a if a[name].size]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def torch(kind, **arguments):
    return kind(convention="torch", **arguments)


def optax(kind, **arguments):
    return kind(convention="optax", **arguments)


def keras(kind, **arguments):
    return kind(convention="keras", **arguments)


def keras2(kind, **arguments):
    return kind(convention="keras2", **arguments)


MOMENTUM = {"momentum": 0.9}


def pairs_of(kind: str) -> dict[str, tuple[str, Pair]]:
    """The algorithm and two of its conventions, by what they are called."""
    return {
        f"{name.lower()}, {called}": (name, pair)
        for name, facts in all_facts().items()
        for called, pair in getattr(facts, kind).items()
    }


SAME, DIFFERENT = pairs_of("same"), pairs_of("different")


def apart_as(algorithm: str, pair: Pair) -> float:
    def made(convention: str, arguments: Any, name: str = algorithm) -> Any:
        return getattr(optimizers, name)(convention=convention, **arguments)

    return apart(made(*pair.one), made(*pair.other), STEADY if pair.steady else HALVED)


@pytest.mark.parametrize("name", SAME)
def test_conventions_that_are_the_same(name):
    assert apart_as(*SAME[name]) < 40 * EPS


@pytest.mark.parametrize("name", DIFFERENT)
def test_conventions_that_are_not(name):
    assert apart_as(*DIFFERENT[name]) > 1e-6


def test_epsilon_of_keras_is_another_number_in_every_step_of_torch():
    """Keras's Adam with a constant epsilon is torch's with epsilon / sqrt(1 - beta_2**t), which changes with t."""
    _, gradients = problem(np.float64, 5)
    ours, theirs = (np.zeros(5) for _ in range(2))
    keras_adam, torch_adam = keras(Adam, epsilon=1e-3), torch(Adam)
    for step, gradient in enumerate(gradients, 1):
        torch_adam.epsilon = 1e-3 / np.sqrt(1 - 0.999**step)
        keras_adam.apply([gradient["vector"]], [ours])
        torch_adam.apply([gradient["vector"]], [theirs])
        assert np.max(np.abs(ours - theirs)) < 1e-12 * np.max(np.abs(ours))


def test_maximize_climbs():
    down, up = np.ones(3), np.ones(3)
    torch(Adam).apply([np.ones(3)], [down])
    torch(Adam, maximize=True).apply([-np.ones(3)], [up])
    assert np.array_equal(up, down)
    assert np.all(down < 1)
    # Coupled decay is a part of what is descended, not of what is climbed.
    decayed = np.ones(1)
    torch(SGD, learning_rate=1.0, maximize=True, weight_decay=0.25).apply([np.full(1, 0.5)], [decayed])
    assert decayed == 1.0 + 0.5 - 0.25


def test_norms_of_torch_count_a_little_more():
    weights = np.zeros(2)
    torch(SGD, learning_rate=1.0, clipnorm=1.0).apply([np.array([3.0, 4.0])], [weights])
    assert np.array_equal(weights, -np.array([3.0, 4.0]) * (1.0 / (5.0 + 1e-6)))
    together = [np.zeros(1), np.zeros(1)]
    torch(SGD, learning_rate=1.0, global_clipnorm=1.0).apply([np.array([3.0]), np.array([4.0])], together)
    assert np.array_equal(np.concatenate(together), -np.array([3.0, 4.0]) * (1.0 / (5.0 + 1e-6)))


# ---------------------------------------------------------------- whose steps are counted

COUNTING = [
    torch(SGD, dampening=0.5, **MOMENTUM), torch(Adagrad, lr_decay=0.5), torch(Adam), torch(Adamax), torch(Nadam),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", COUNTING, ids=lambda optimizer: optimizer.name)
@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_in_torch_a_parameter_counts_its_own_steps(optimizer):
    """A parameter whose first gradient comes late steps as one that starts then."""
    late, early = np.full(3, 2.0), np.full(3, 2.0)
    gradient = np.array([1.0, -0.5, 0.25])
    for _ in range(4):
        optimizer.apply([None, gradient], [late, early])
    fresh = get(optimizer.name).from_config(optimizer.get_config())
    expected = np.full(3, 2.0)
    for _ in range(3):
        optimizer.apply([gradient, gradient], [late, early])
        fresh.apply([gradient], [expected])
        assert np.array_equal(late, expected)
    assert not np.array_equal(late, early)
    assert [cell.value for cell in optimizer.cells.steps] == [3, 7]


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_elsewhere_all_steps_count():
    for convention in ("keras", "keras2", "optax"):
        optimizer, fresh = (Adam(convention=convention) for _ in range(2))
        late, early, expected = np.ones(1), np.ones(1), np.ones(1)
        for gradients in ([None, np.ones(1)], [np.ones(1), np.ones(1)]):
            optimizer.apply(gradients, [late, early])
        fresh.apply([np.ones(1)], [expected])
        assert late != expected


@pytest.mark.parametrize("make", [lambda **more: torch(Nadam, **more), lambda **more: torch(Adam, **more)])
@pytest.mark.fast
def test_one_pass_over_parameters_that_have_counted_differently(make):
    """Parameters whose counts differ are updated apart, with the same bits as by whole arrays."""
    missing = (0, 3, 4, 9)
    eager = trajectory(make(jit_compile=False), HALVED, missing)
    fused = make()
    assert all(same_bits(a, b) for a, b in zip(trajectory(fused, HALVED, missing), eager, strict=True))
    assert {group.way for group in fused.execution_report()} == {"fused"}


LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_counts_are_functional_state_of_each_parameter(library):
    params = {"a": array(library, np.ones(2, np.float32)), "b": array(library, np.ones((), np.float32))}
    optimizer = torch(Nadam)
    state = optimizer.init(params)
    assert set(state.slots) == {"momentum", "velocity", "step", "u_product"} and not state.scalars
    gradients = {"a": array(library, np.ones(2, np.float32)), "b": None}
    for _ in range(3):
        params, state = optimizer.step(params, gradients, state)
    assert {name: int(count) for name, count in state.slots["step"].items()} == {"a": 3, "b": 0}
    assert read(state.slots["step"]["a"]).dtype.kind == "i"
    assert float(state.slots["u_product"]["b"]) == 1.0
    assert float(state.slots["u_product"]["a"]) < 0.2


@pytest.mark.jax
@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_counts_under_jit():
    import jax

    start, gradients = problem(np.float64, 12)
    with precision("jax", "float64"):
        optimizer = torch(Nadam)
        params = {name: array("jax", value) for name, value in start.items()}
        state, step = optimizer.init(params), jax.jit(optimizer.step)
        for number, gradient in enumerate(gradients):
            given = {name: array("jax", value) for name, value in gradient.items()}
            if number in (0, 5):
                given["kernel"] = None
            params, state = step(params, given, state, learning_rate=2.0**-5)
        found = {name: read(value) for name, value in params.items()}
    expected = trajectory(torch(Nadam), [2.0**-5] * 12, (0, 5))[-1]
    assert all(np.max(np.abs(found[name] - expected[name]), initial=0.0) < 1e-14 for name in found)
