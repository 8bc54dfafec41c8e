"""Learning-rate schedules: values, steps of every library, tracing, composition, serialization, rejected input."""

import copy
import dataclasses
import functools
import inspect
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.releases import enable_x64

from gradwise import schedules
from gradwise.backends import Variable

STEPS = [*range(60), 69, 70, 71, 99, 100, 101, 149, 150, 309, 310, 311, 1000, 9999, 10000, 123456]

# name: class, arguments
CASES = {
    "exponential": ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=7, decay_rate=0.93)),
    "exponential, staircase": (
        "ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=7, decay_rate=0.93, staircase=True),
    ),
    "exponential, rate near 1": ("ExponentialDecay", dict(initial_learning_rate=1.0, decay_steps=1, decay_rate=0.9999)),
    "exponential, rate 0": ("ExponentialDecay", dict(initial_learning_rate=1.0, decay_steps=1, decay_rate=0.0)),
    "exponential, fractional period": (
        "ExponentialDecay", dict(initial_learning_rate=1.0, decay_steps=2.5, decay_rate=0.5),
    ),
    "piecewise": ("PiecewiseConstantDecay", dict(boundaries=[3, 20, 100], values=[1.0, 0.5, 0.1, 0.01])),
    "piecewise, one boundary": ("PiecewiseConstantDecay", dict(boundaries=[10], values=[1.0, 0.0])),
    "polynomial": ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=13)),
    "polynomial, root": (
        "PolynomialDecay", dict(initial_learning_rate=1.0, decay_steps=100, end_learning_rate=0.1, power=0.5),
    ),
    "polynomial, cycle": (
        "PolynomialDecay", dict(initial_learning_rate=1.0, decay_steps=10, end_learning_rate=0.1, cycle=True),
    ),
    "polynomial, square, cycle": (
        "PolynomialDecay", dict(initial_learning_rate=1.0, decay_steps=7, end_learning_rate=0.0, power=2.0, cycle=True),
    ),
    "inverse time": ("InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5)),
    "inverse time, staircase": (
        "InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5, staircase=True),
    ),
    "inverse time, older decay": (
        "InverseTimeDecay", dict(initial_learning_rate=0.01, decay_steps=1.0, decay_rate=1e-6),
    ),
    "cosine": ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=100)),
    "cosine, alpha": ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=100, alpha=0.1)),
    "cosine, warm-up": (
        "CosineDecay", dict(initial_learning_rate=0.2, decay_steps=100, alpha=0.1, warmup_target=1.0, warmup_steps=9),
    ),
    "cosine, downwards": (
        "CosineDecay", dict(initial_learning_rate=2.0, decay_steps=50, warmup_target=1.0, warmup_steps=50),
    ),
    "cosine, no warm-up steps": ("CosineDecay", dict(initial_learning_rate=0.2, decay_steps=100, warmup_target=1.0)),
    "cosine, no target": ("CosineDecay", dict(initial_learning_rate=0.2, decay_steps=100, warmup_steps=9)),
    "restarts": ("CosineDecayRestarts", dict(initial_learning_rate=1.0, first_decay_steps=10)),
    "restarts, equal": (
        "CosineDecayRestarts", dict(initial_learning_rate=1.0, first_decay_steps=7, t_mul=1.0, m_mul=0.9, alpha=0.1),
    ),
    "restarts, 1.5": (
        "CosineDecayRestarts", dict(initial_learning_rate=1.0, first_decay_steps=1000, t_mul=1.5, m_mul=0.5),
    ),
    "restarts, 3": (
        "CosineDecayRestarts", dict(initial_learning_rate=0.3, first_decay_steps=10, t_mul=3.0, m_mul=2.0, alpha=0.2),
    ),
}  # fmt: skip

COMPOSED = {
    "warm-up to a number": lambda: schedules.warmup(0.1, 5),
    "warm-up to a schedule": lambda: schedules.warmup(schedules.CosineDecay(0.5, 20, 0.1), 5, initial=0.3),
    "no warm-up": lambda: schedules.warmup(schedules.ExponentialDecay(1, 10, 0.5), 0),
    "one schedule": lambda: schedules.join([schedules.ExponentialDecay(1, 10, 0.5)], []),
    "three": lambda: schedules.join([0.1, schedules.ExponentialDecay(1, 9, 0.5), schedules.CosineDecay(1, 9)], [5, 30]),
    "warm-up to joined": lambda: schedules.warmup(schedules.join([schedules.PolynomialDecay(1, 9), 0.2], [9]), 4),
    "joined callables": lambda: schedules.join([lambda step: 0.1 / (step + 1), 0.25], [7]),
}


def make(name):
    kind, arguments = CASES[name]
    return getattr(schedules, kind)(**arguments)


def every_schedule():
    return [pytest.param(functools.partial(make, name), id=name) for name in CASES] + [
        pytest.param(schedule, id=name) for name, schedule in COMPOSED.items()
    ]


# ---------------------------------------------------------------- Keras, in a process of its own

KERAS_PROGRAM = """
import inspect, json, sys
import keras
keras.config.set_floatx("float64")
kinds = keras.optimizers.schedules
cases, steps = json.load(sys.stdin)

def attempt(function):
    try:
        return float(function())
    except Exception as error:
        return type(error).__name__

def values(schedule, at):
    return [attempt(lambda: schedule(step)) for step in at]

def late_restart():
    keras.config.set_floatx("float32")
    return values(kinds.CosineDecayRestarts(1.0, 10, alpha=0.2), [81909, 81910, 81911])

made = {name: getattr(kinds, kind)(**arguments) for name, (kind, arguments) in cases.items()}
names = {kind for kind, _ in cases.values()}
print(json.dumps({
    "values": {name: values(schedule, steps) for name, schedule in made.items()},
    "serialized": {name: kinds.serialize(schedule) for name, schedule in made.items()},
    "signatures": {
        name: [(p.name, None if p.default is p.empty else p.default, p.default is p.empty)
               for p in inspect.signature(getattr(kinds, name)).parameters.values()]
        for name in names
    },
    "integer rate": values(kinds.ExponentialDecay(1, 10, 0.5), [0, 5, 10]),
    "integer warm-up": values(kinds.CosineDecay(0, 10, warmup_target=0.1, warmup_steps=4), [0, 2, 4]),
    "unsorted": values(kinds.PiecewiseConstantDecay([4, 2], [1.0, 0.5, 0.1]), [3]),
    "no boundaries": values(kinds.PiecewiseConstantDecay([], [0.5]), [3]),
    "shrinking": values(kinds.CosineDecayRestarts(1.0, 10, t_mul=0.5), [20]),
    "no name": values(kinds.ExponentialDecay(0.1, 10, 0.5, name=None), [0]),
    "late restart": late_restart(),
}))
"""


@pytest.fixture(scope="module")
def keras():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KERAS_PROGRAM],
        input=json.dumps([CASES, STEPS]), capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.keras
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_keras(keras, name):
    schedule = make(name)
    values = [schedule(step) for step in STEPS]
    assert values == pytest.approx(keras["values"][name], rel=1e-12, abs=1e-14)


@pytest.mark.keras
@pytest.mark.parametrize("name", CASES)
def test_dictionaries_are_those_of_keras(keras, name):
    theirs = keras["serialized"][name]
    schedule = schedules.deserialize(theirs)
    assert schedule == make(name)
    assert schedules.serialize(schedule) == {**theirs, "module": "gradwise.schedules"}


@pytest.mark.keras
def test_signatures_are_those_of_keras(keras):
    for name, theirs in keras["signatures"].items():
        parameters = inspect.signature(getattr(schedules, name)).parameters.values()
        ours = [[p.name, None if p.default is p.empty else p.default, p.default is p.empty] for p in parameters]
        assert ours == theirs, name


@pytest.mark.keras
def test_integer_rates_are_floats_where_keras_truncates(keras):
    assert keras["integer rate"] == [1, 0, 0]
    schedule = schedules.ExponentialDecay(1, 10, 0.5)
    assert [schedule(step) for step in (0, 5, 10)] == pytest.approx([1, math.sqrt(0.5), 0.5])
    assert keras["integer warm-up"] == [0, 0, 0]
    schedule = schedules.CosineDecay(0, 10, warmup_target=0.1, warmup_steps=4)
    assert [schedule(step) for step in (0, 2, 4)] == pytest.approx([0, 0.05, 0.1])
    assert type(schedule(0)) is float


@pytest.mark.keras
def test_boundaries_that_keras_takes_wrongly(keras):
    assert keras["unsorted"] == pytest.approx([1.1])
    with pytest.raises(ValueError, match=r"`boundaries` must increase strictly.*\[4, 2\]"):
        schedules.PiecewiseConstantDecay([4, 2], [1.0, 0.5, 0.1])
    assert keras["no boundaries"] == ["IndexError"]
    assert schedules.PiecewiseConstantDecay([], [0.5])(3) == 0.5


@pytest.mark.keras
def test_shrinking_periods_are_refused_where_keras_gives_nan(keras):
    assert math.isnan(keras["shrinking"][0])
    with pytest.raises(ValueError, match=r"`t_mul` must be a finite number >= 1. Received: t_mul=0.5"):
        schedules.CosineDecayRestarts(1.0, 10, t_mul=0.5)


@pytest.mark.keras
def test_restarts_come_on_their_step_where_keras_is_late(keras):
    schedule = schedules.CosineDecayRestarts(1.0, 10, alpha=0.2)
    ours = [schedule(step) for step in (81909, 81910, 81911)]
    assert ours == pytest.approx([0.2, 1.0, 1.0], abs=1e-4)
    assert keras["late restart"] == pytest.approx([0.2, 0.2, 1.0], abs=1e-4)


@pytest.mark.keras
def test_name_may_be_none_where_keras_fails(keras):
    assert isinstance(keras["no name"][0], str)
    assert schedules.ExponentialDecay(0.1, 10, 0.5, name=None).name == "ExponentialDecay"


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (schedules.ExponentialDecay(1, 10, 0.5), (0, 5, 10, 15, 20), (1, 0.707107, 0.5, 0.353553, 0.25)),
        (
            schedules.CosineDecay(0.0, 10, 0.1, warmup_target=1.0, warmup_steps=4),
            (0, 1, 2, 3, 4, 9, 14, 100), (0, 0.25, 0.5, 0.75, 1, 0.55, 0.1, 0.1),
        ),
        (
            schedules.CosineDecayRestarts(1.0, 10),
            (0, 5, 9, 10, 20, 29, 30, 50), (1, 0.5, 0.024472, 1, 0.5, 0.006156, 1, 0.5),
        ),
        (
            schedules.CosineDecayRestarts(1.0, 10, t_mul=1.0, m_mul=0.5, alpha=0.1),
            (0, 5, 9, 10, 15, 20, 25), (1, 0.55, 0.122025, 0.55, 0.325, 0.325, 0.2125),
        ),
        (schedules.PolynomialDecay(1.0, 10, 0.1, cycle=True), (10, 11, 20, 21), (0.1, 0.505, 0.1, 0.37)),
        (schedules.PiecewiseConstantDecay([2.7, 5], [1, 0.5, 0.1]), (2, 2.7, 3, 5, 6), (1, 1, 0.5, 0.5, 0.1)),
        (schedules.ExponentialDecay(1, 0.1, 0.5, staircase=True), (0, 1, 0.25), (1, 0.5**10, 0.25)),
        (schedules.warmup(0.1, 4), (0, 1, 2, 3, 4, 5), (0, 0.025, 0.05, 0.075, 0.1, 0.1)),
        (
            schedules.warmup(schedules.ExponentialDecay(1, 1, 0.5), 2, initial=0.5),
            (0, 1, 2, 3, 4), (0.5, 0.75, 1, 0.5, 0.25),
        ),
        (schedules.warmup(0.1, 0, initial=5), (0, 1), (0.1, 0.1)),
        (schedules.join([1, lambda step: step, 9], [2, 5]), (0, 1, 2, 3, 4, 5, 6), (1, 1, 0, 1, 2, 9, 9)),
    ],
)  # fmt: skip
def test_reference_values(schedule, steps, expected):
    values = [schedule(step) for step in steps]
    assert values == pytest.approx(expected, abs=5e-7)
    assert all(type(value) is float for value in values)


@pytest.mark.parametrize("multiplier", [1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0])
def test_every_restart_comes_on_its_step(multiplier):
    first = 1000
    schedule = schedules.CosineDecayRestarts(1.0, first, t_mul=multiplier)
    beginning, length = 0.0, float(first)
    while beginning < 1e6:
        step = round(beginning)
        if math.isclose(beginning, step, rel_tol=1e-13):
            assert schedule(step) == pytest.approx(1, abs=1e-12)
            assert step == 0 or schedule(step - 1) < 1e-5
        beginning, length = beginning + length, length * multiplier


def test_steps_need_not_fit_32_bits():
    assert schedules.InverseTimeDecay(1, 10**12, 1)(10**12) == 0.5
    assert schedules.PiecewiseConstantDecay([2**40], [1, 0.5])(2**40 + 1) == 0.5


def test_only_the_schedule_in_force_is_asked_and_with_its_own_steps():
    asked = []
    first, second = (lambda step: asked.append(("a", step)) or 1), (lambda step: asked.append(("b", step)) or 2)
    schedule = schedules.warmup(schedules.join([first, second], [3]), 2)
    assert [schedule(step) for step in (2, 4, 5, 6)] == [1, 1, 2, 2]
    assert asked == [("a", 0), ("a", 2), ("b", 0), ("b", 1)]
    asked.clear()
    assert schedule(1) == 0.5
    assert asked == [("a", 0)]


def test_a_callable_must_give_a_number():
    with pytest.raises(TypeError, match=r"must give a number\. Received 'fast' of type str"):
        schedules.warmup(lambda step: "fast", 0)(1)


# ---------------------------------------------------------------- steps the host can read


def numpy_integer(step):
    return np.int32(step)


def numpy_array(step):
    return np.asarray(step)


def numpy_unsigned(step):
    return np.uint8(step)


def strict_array(step):
    return pytest.importorskip("array_api_strict").asarray(step)


def torch_tensor(step):
    return pytest.importorskip("torch").tensor(step)


def jax_array(step):
    return pytest.importorskip("jax").numpy.asarray(step)


def host_cell(step):
    return Variable(step)


def numpy_cell(step):
    return Variable(np.asarray(step))


@pytest.mark.parametrize("schedule", every_schedule())
@pytest.mark.parametrize(
    "convert",
    [
        numpy_integer, numpy_array, numpy_unsigned, strict_array, host_cell, numpy_cell,
        pytest.param(torch_tensor, marks=pytest.mark.torch), pytest.param(jax_array, marks=pytest.mark.jax),
    ],
)  # fmt: skip
def test_a_concrete_step_gives_a_python_float(schedule, convert):
    schedule = schedule()
    for step in (0, 4, 5, 33):
        value = schedule(convert(step))
        assert type(value) is float
        assert value == schedule(step)


@pytest.mark.parametrize("schedule", every_schedule())
@pytest.mark.parametrize(
    "convert",
    [
        np.asarray, np.float32, strict_array, numpy_cell,
        pytest.param(torch_tensor, marks=pytest.mark.torch), pytest.param(jax_array, marks=pytest.mark.jax),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(12,), (3, 4), (0,)])
def test_an_array_of_steps_gives_the_rate_at_each(schedule, convert, shape):
    steps = np.arange(np.prod(shape)).reshape(shape) * 3
    rates = schedule()(convert(steps))
    assert type(rates) is np.ndarray and rates.dtype == np.float64 and rates.shape == shape
    assert rates.ravel().tolist() == [schedule()(step) for step in steps.ravel().tolist()]


@pytest.mark.parametrize("step", [None, "1", True, [1], np.array([True]), np.array(["1"]), np.array([1j])])
def test_a_step_must_be_one_number(step):
    with pytest.raises(TypeError, match="needs one step"):
        schedules.ExponentialDecay(1, 10, 0.5)(step)


# ---------------------------------------------------------------- traced steps


def close_to_host(values, schedule, steps, tolerance):
    expected = np.array([schedule(int(step)) for step in steps])
    assert np.max(np.abs(np.asarray(values, dtype=np.float64) - expected)) <= tolerance * np.max(np.abs(expected))


@pytest.mark.jax
@pytest.mark.parametrize("schedule", every_schedule())
def test_jax_tracing_agrees_with_the_host(schedule):
    jax = pytest.importorskip("jax")
    schedule = schedule()
    steps = np.arange(2000)
    close_to_host(jax.vmap(schedule)(steps), schedule, steps, 1e-6)
    close_to_host(jax.jit(jax.vmap(schedule))(steps), schedule, steps, 1e-6)
    compiled = jax.jit(schedule)
    close_to_host([compiled(step) for step in range(0, 40, 3)], schedule, range(0, 40, 3), 1e-6)


@pytest.mark.jax
@pytest.mark.parametrize("schedule", every_schedule())
@pytest.mark.parametrize("wide", [False, True])
def test_jax_tracing_widens_no_parameter(schedule, wide):
    jax = pytest.importorskip("jax")
    schedule = schedule()
    with enable_x64(wide):
        for width in ("float32", "bfloat16", "float16"):
            parameter = jax.numpy.ones(3, dtype=width)
            for step in (jax.numpy.int32(7), jax.numpy.uint32(7), jax.numpy.asarray(7)):
                traced = jax.eval_shape(lambda step, parameter: schedule(step) * parameter, step, parameter)
                assert traced.dtype == width
        rate = jax.eval_shape(schedule, jax.numpy.asarray(7))
        assert rate.weak_type
        assert rate.dtype == ("float64" if wide else "float32")
        if wide:
            assert float(jax.jit(schedule)(jax.numpy.asarray(7))) == pytest.approx(schedule(7), rel=1e-14)


@pytest.mark.jax
@pytest.mark.parametrize("period", [3, 7, 41, 47, 10.0])
def test_compiled_stairs_are_on_their_step(period):
    # XLA multiplies by a rounded 1 / period; the floor of such a product is one too small at many exact multiples.
    jax = pytest.importorskip("jax")
    steps = np.arange(100) * int(period)
    for schedule in (
        schedules.InverseTimeDecay(1, period, 1, staircase=True),
        schedules.ExponentialDecay(1, period, 0.9, staircase=True),
        schedules.CosineDecayRestarts(1, period, 1.0),
        schedules.PolynomialDecay(1, period, cycle=True),
    ):
        close_to_host(jax.jit(jax.vmap(schedule))(steps), schedule, steps, 1e-6)


@pytest.mark.jax
def test_compiled_steps_are_exact_beyond_single_precision():
    jax = pytest.importorskip("jax")
    step = 2**24
    cases = [
        schedules.PiecewiseConstantDecay([step], [1, 0.5]), schedules.join([1, 0.5], [step + 1]),
        schedules.InverseTimeDecay(1, step + 1, 1, staircase=True),
    ]  # fmt: skip
    for schedule in cases:
        assert [float(jax.jit(schedule)(at)) for at in (step, step + 1)] == [1, 0.5]
        assert float(jax.jit(schedule)(np.int32(2**31 - 1))) <= 0.5
    assert float(jax.jit(schedules.PiecewiseConstantDecay([10**12], [1, 0.5]))(3)) == 1


@pytest.mark.jax
def test_jax_differentiates_hyperparameters():
    jax = pytest.importorskip("jax")

    def slope(function, at=1.5, width=1e-5):
        return (function(at + width) - function(at - width)) / (2 * width)

    for function in (
        lambda x, step: schedules.ExponentialDecay(x, 10, 0.5)(step),
        lambda x, step: schedules.ExponentialDecay(1, 10, x)(step),
        lambda x, step: schedules.PolynomialDecay(1, 10, power=x)(step),
        lambda x, step: schedules.CosineDecay(0.1, 10, warmup_target=x, warmup_steps=4)(step),
        lambda x, step: schedules.CosineDecayRestarts(1, 10, t_mul=x, m_mul=x)(step),
        lambda x, step: schedules.PiecewiseConstantDecay([3], [0.1, x])(step),
        lambda x, step: schedules.warmup(x, 5)(step),
        # The growing schedule overflows at step 200, where it is not in force.
        lambda x, step: schedules.join([schedules.ExponentialDecay(1, 1, x * 2), 0.1], [5])(step),
    ):
        for step in (0, 4, 17, 200):
            expected = pytest.approx(slope(lambda x, f=function, s=step: f(x, s)), rel=1e-4, abs=1e-6)
            assert jax.grad(function)(1.5, step) == expected
            assert jax.jit(jax.grad(function))(1.5, step) == expected


@pytest.mark.torch
@pytest.mark.parametrize("schedule", every_schedule())
def test_torch_vmap_agrees_with_the_host(schedule):
    torch = pytest.importorskip("torch")
    schedule = schedule()
    steps = torch.arange(2000)
    values = torch.func.vmap(schedule)(steps)
    assert values.dtype == torch.float64
    # Torch computes a user's own callable of an integer step in single precision.
    own_callable = "lambda" in repr(schedule)
    close_to_host(values, schedule, range(2000), 1e-7 if own_callable else 1e-12)
    moved = torch.func.vmap(lambda step: schedule(step) * torch.ones(3))(steps)
    assert moved.dtype == torch.float32


@pytest.mark.torch
def test_torch_hyperparameters_are_differentiated():
    torch = pytest.importorskip("torch")
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    schedules.warmup(schedules.ExponentialDecay(rate, 10, 0.5), 5)(15).backward()
    assert rate.grad.item() == 0.5


# ---------------------------------------------------------------- values, equality, serialization


@pytest.mark.parametrize("schedule", every_schedule()[:-1])
def test_serialization_round_trip(schedule):
    first, second = schedule(), schedule()
    assert first == second and hash(first) == hash(second) and first is not second
    text = json.dumps(schedules.serialize(first))
    config = json.loads(text)
    assert set(config) == {"module", "class_name", "config", "registered_name"}
    assert config["module"] == "gradwise.schedules" and config["registered_name"] is None
    restored = schedules.deserialize(config)
    assert restored == first and type(restored) is type(first)
    assert json.dumps(config) == text
    assert type(first).from_config(first.get_config()) == first
    assert copy.deepcopy(first) == first
    assert repr(restored) == repr(first)


def test_equality_is_by_value():
    decay = schedules.ExponentialDecay
    assert decay(1, 10, 0.5) == decay(1.0, np.int64(10), np.float64(0.5))
    assert decay(1, 10, 0.5) != decay(1, 10, 0.6)
    assert decay(1, 10, 0.5) != decay(1, 10, 0.5, name="other")
    assert decay(1, 10, 0.5) != schedules.InverseTimeDecay(1, 10, 0.5)
    assert decay(1, 10, 0.5) != 1
    assert schedules.warmup(max, 3) == schedules.warmup(max, 3) != schedules.warmup(min, 3)


@pytest.mark.torch
def test_tensors_in_schedules_are_compared_by_identity():
    torch = pytest.importorskip("torch")
    a, b = (torch.tensor(0.1, requires_grad=True) for _ in range(2))
    one, same, other = (schedules.ExponentialDecay(rate, 10, 0.5) for rate in (a, a, b))
    assert one == same and hash(one) == hash(same)
    assert one != other
    with pytest.raises(TypeError, match=r"initial_learning_rate=tensor\(.*neither a number"):
        schedules.serialize(one)


class Halving(schedules.LearningRateSchedule):
    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start * 0.5**step

    def get_config(self):
        return {"start": self.start}


def test_a_users_own_schedule():
    schedule = schedules.warmup(Halving(0.5), 2)
    assert [schedule(step) for step in range(5)] == [0, 0.25, 0.5, 0.25, 0.125]
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    assert config["config"]["schedule"]["registered_name"] == "Halving"
    assert schedules.deserialize(config, custom_objects={"Halving": Halving}) == schedule
    with pytest.raises(ValueError, match=r"Unknown schedule 'Halving' of module .*custom_objects=\{'Halving'"):
        schedules.deserialize(config)
    registered = {"class_name": "Halving", "registered_name": "mine>Halving", "config": {"start": 1}}
    assert schedules.deserialize(registered, {"mine>Halving": Halving}) == Halving(1)


def test_a_schedule_without_a_rule_says_so():
    bare = schedules.LearningRateSchedule()
    with pytest.raises(NotImplementedError, match=r"'LearningRateSchedule' must override `rate\(self, step\)`"):
        bare(0)
    with pytest.raises(NotImplementedError, match=r"must override `get_config\(\)`"):
        schedules.serialize(bare)


@pytest.mark.parametrize("plain", [lambda step: 0.1, 0.1, "ExponentialDecay", None, schedules.ExponentialDecay])
def test_only_schedules_are_serialized(plain):
    with pytest.raises(TypeError, match="Only a LearningRateSchedule can be serialized"):
        schedules.serialize(plain)


def test_a_callable_inside_is_not_serialized():
    for schedule in (schedules.warmup(lambda step: 0.1, 3), schedules.join([abs], [])):
        with pytest.raises(TypeError, match="Only a LearningRateSchedule can be serialized"):
            schedules.serialize(schedule)


def test_dictionaries_with_the_class_and_its_arguments_suffice():
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10, "name": None}
    config = {"class_name": "PolynomialDecay", "config": arguments}
    assert schedules.deserialize(config) == schedules.PolynomialDecay(0.1, 10)
    # Keras's dictionary of a 0-d array.
    array = {"class_name": "__numpy__", "config": {"value": 0.1, "dtype": "float64"}}
    arguments["initial_learning_rate"] = array
    assert schedules.deserialize(config) == schedules.PolynomialDecay(0.1, 10)
    assert arguments["initial_learning_rate"] is array


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (None, TypeError, "not None"),
        ("ExponentialDecay", TypeError, '"class_name" and "config"'),
        ({"config": {}}, TypeError, '"class_name" and "config"'),
        ({"class_name": 3, "config": {}}, TypeError, '"class_name" and "config"'),
        ({"class_name": "ExponentialDecay", "config": [1]}, TypeError, "must be a dictionary"),
        ({"class_name": "ExponentialDecay", "config": {}}, TypeError, "initial_learning_rate"),
        ({"class_name": "Nothing", "config": {}}, ValueError, "Unknown schedule 'Nothing'"),
        ({"class_name": "system", "module": "os", "config": {}}, ValueError, "of module 'os'"),
        ({"class_name": "ExponentialDecay", "module": "mine", "config": {}}, ValueError, "of module 'mine'"),
    ],
)
def test_other_dictionaries_are_refused(config, error, message):
    with pytest.raises(error, match=message):
        schedules.deserialize(config)


# ---------------------------------------------------------------- what constructors take


@pytest.mark.parametrize(
    "number",
    [
        np.float32(0.25), np.float64(0.25), np.asarray(0.25),
        pytest.param(lambda: pytest.importorskip("torch").tensor(0.25), marks=pytest.mark.torch),
        pytest.param(lambda: pytest.importorskip("jax").numpy.asarray(0.25), marks=pytest.mark.jax),
    ],
)  # fmt: skip
def test_numbers_of_all_libraries_become_python_floats(number):
    number = number() if callable(number) else number
    schedule = schedules.ExponentialDecay(number, number, number, np.True_)
    config = schedule.get_config()
    assert {type(config[key]) for key in ("initial_learning_rate", "decay_steps", "decay_rate")} == {float}
    assert schedule == schedules.ExponentialDecay(0.25, 0.25, 0.25, True)


def test_counts_stay_integers():
    schedule = schedules.ExponentialDecay(1, np.int64(10), 1)
    assert type(schedule.decay_steps) is int and type(schedule.decay_rate) is float
    assert type(schedules.warmup(1, 4.0).steps) is int
    assert schedules.PiecewiseConstantDecay(np.array([1, 2]), (1, 2, 3)).get_config()["boundaries"] == [1, 2]


REFUSED = [
    (lambda bad: schedules.ExponentialDecay(bad, 10, 0.5), "initial_learning_rate", ">= 0", (-0.1,)),
    (lambda bad: schedules.ExponentialDecay(1, bad, 0.5), "decay_steps", "> 0", (0, -1)),
    (lambda bad: schedules.ExponentialDecay(1, 10, bad), "decay_rate", ">= 0", (-0.5,)),
    (lambda bad: schedules.InverseTimeDecay(bad, 10, 0.5), "initial_learning_rate", ">= 0", (-0.1,)),
    (lambda bad: schedules.InverseTimeDecay(1, bad, 0.5), "decay_steps", "> 0", (0,)),
    (lambda bad: schedules.InverseTimeDecay(1, 10, bad), "decay_rate", ">= 0", (-0.5,)),
    (lambda bad: schedules.PolynomialDecay(bad, 10), "initial_learning_rate", ">= 0", (-1,)),
    (lambda bad: schedules.PolynomialDecay(1, bad), "decay_steps", "> 0", (0,)),
    (lambda bad: schedules.PolynomialDecay(1, 10, bad), "end_learning_rate", ">= 0", (-1,)),
    (lambda bad: schedules.PolynomialDecay(1, 10, power=bad), "power", ">= 0", (-1,)),
    (lambda bad: schedules.CosineDecay(bad, 10), "initial_learning_rate", ">= 0", (-1,)),
    (lambda bad: schedules.CosineDecay(1, bad), "decay_steps", "> 0", (0,)),
    (lambda bad: schedules.CosineDecay(1, 10, bad), "alpha", r"in \[0, 1\]", (-0.1, 1.1)),
    (lambda bad: schedules.CosineDecay(1, 10, warmup_target=1, warmup_steps=bad), "warmup_steps", ">= 0", (-1, None)),
    (lambda bad: schedules.CosineDecay(1, 10, warmup_target=bad), "warmup_target", ">= 0", (-1,)),
    (lambda bad: schedules.CosineDecayRestarts(bad, 10), "initial_learning_rate", ">= 0", (-1,)),
    (lambda bad: schedules.CosineDecayRestarts(1, bad), "first_decay_steps", "> 0", (0,)),
    (lambda bad: schedules.CosineDecayRestarts(1, 10, bad), "t_mul", ">= 1", (0.99,)),
    (lambda bad: schedules.CosineDecayRestarts(1, 10, 1, bad), "m_mul", ">= 0", (-1,)),
    (lambda bad: schedules.CosineDecayRestarts(1, 10, alpha=bad), "alpha", r"in \[0, 1\]", (1.1,)),
    (lambda bad: schedules.PiecewiseConstantDecay([1], [1, bad]), "values", ">= 0", (-1, None)),
    (lambda bad: schedules.PiecewiseConstantDecay([bad], [1, 1]), "boundaries", "", (None,)),
    (lambda bad: schedules.warmup(bad, 4), "schedule", "", (-1, None)),
    (lambda bad: schedules.warmup(1, bad), "steps", ">= 0", (-1, 2.5, None)),
    (lambda bad: schedules.warmup(1, 4, bad), "initial", ">= 0", (-1, None)),
    (lambda bad: schedules.join([1, bad], [3]), "schedules", "", (-1, None)),
    (lambda bad: schedules.join([1, 1], [bad]), "boundaries", "> 0", (0, 2.5, None)),
]


@pytest.mark.parametrize(
    ("construct", "name", "allowed", "bad"),
    [
        pytest.param(construct, name, allowed, bad, id=f"{index}-{name}-{bad}")
        for index, (construct, name, allowed, out_of_range) in enumerate(REFUSED)
        for bad in (*out_of_range, True, np.True_, math.nan, math.inf, -math.inf, "1", [1], 10**400)
    ],
)
def test_bad_numbers_are_refused(construct, name, allowed, bad):
    with pytest.raises(ValueError, match=f"Argument `{name}` must be .*{allowed}.*Received: {name}="):
        construct(bad)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: schedules.ExponentialDecay(1, 10, 0.5, staircase=1), "`staircase` must be True or False"),
        (lambda: schedules.PolynomialDecay(1, 10, cycle="yes"), "`cycle` must be True or False"),
        (lambda: schedules.ExponentialDecay(1, 10, 0.5, name=3), "`name` must be a string"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [1, 2]), "1 less than the length of values"),
        (lambda: schedules.PiecewiseConstantDecay([], []), "1 less than the length of values"),
        (lambda: schedules.PiecewiseConstantDecay([1, 1], [1, 2, 3]), "`boundaries` must increase strictly"),
        (lambda: schedules.PiecewiseConstantDecay(3, [1, 2]), "`boundaries` must be a list or tuple"),
        (lambda: schedules.PiecewiseConstantDecay([3], 1), "`values` must be a list or tuple"),
        (lambda: schedules.join([1, 2], []), "1 less than the length of schedules"),
        (lambda: schedules.join([], []), "1 less than the length of schedules"),
        (lambda: schedules.join([1, 2, 3], [5, 5]), "`boundaries` must increase strictly"),
        (lambda: schedules.join(1, []), "`schedules` must be a list or tuple"),
    ],
)
def test_bad_structures_are_refused(construct, message):
    with pytest.raises(ValueError, match=message):
        construct()


def test_schedules_import_no_framework():
    program = (
        "import sys; from gradwise import schedules; schedules.warmup(0.1, 3)(1); "
        "print([name for name in ('torch', 'jax', 'keras', 'tensorflow', 'array_api_strict') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


class Shrinking(schedules.LearningRateSchedule):
    def __init__(self, start):
        self.start = start

    def rate(self, step):
        return self.start / (step + 1)


def filled(init):
    """A constructor of which whoever configures a program knows the arguments."""

    @functools.wraps(init)
    def made(self, *arguments, start=4.0, kept=None):
        init(self, *(arguments or (start,)))
        self.kept = kept

    return made


class ByDataclass(Shrinking):
    start: float


class FilledLater(Shrinking):
    pass


class FilledInside(Shrinking):
    @filled
    def __init__(self, start):
        self.start = start


class ByNew(Shrinking):
    def __new__(cls, start, more):
        made = super().__new__(cls)
        made.more = more
        return made

    def __init__(self, start, more):
        self.start = start


FilledLater.__init__ = filled(Shrinking.__init__)
dataclasses.dataclass(eq=False)(ByDataclass)


@pytest.mark.parametrize("made", [
    lambda: ByDataclass(4.0), lambda: ByDataclass(start=4.0), lambda: FilledLater(), lambda: FilledLater(4.0, kept=1),
    lambda: FilledInside(), lambda: FilledInside(start=4.0, kept=1), lambda: ByNew(4.0, more=2),
])  # fmt: skip
def test_a_constructor_is_whose_class_it_is(made):
    """What only makes messages better does not look before the constructor itself does."""
    schedule = made()
    assert schedule(1) == 2.0 and schedule(3) == 1.0
    assert list(inspect.signature(type(schedule)).parameters)[:1] == ["start"]


@pytest.mark.parametrize(("construct", "said"), [
    (lambda: schedules.CosineDecay(0.1, decay_step=3), "Argument(s) not recognized by CosineDecay: decay_step=3. Did "),
    (lambda: schedules.LearningRateSchedule(3), "LearningRateSchedule() takes no arguments"),
    (lambda: Shrinking(3, 4), "positional argument"),
    (lambda: FilledLater(3, 4), "positional argument"),
    (lambda: FilledInside(strat=3), "strat"),
])  # fmt: skip
def test_arguments_that_do_not_exist(construct, said):
    with pytest.raises(TypeError) as refused:
        construct()
    assert said in str(refused.value) and "they are ." not in str(refused.value)


def test_a_constructors_own_error_stays():
    class Refusing(schedules.CosineDecay):
        def __init__(self, start):
            super().__init__(start, "many")

    with pytest.raises(ValueError, match="`decay_steps` must be a finite number"):
        Refusing(1.0)
    with pytest.raises(TypeError, match=r"^CosineDecay\(\) missing a required argument: 'decay_steps'"):
        schedules.CosineDecay(0.1)


def test_a_class_of_the_users_own_may_have_other_attributes():
    class Mine(schedules.CosineDecay):
        def __init__(self, rate):
            super().__init__(rate, 100)
            self.warmpu_steps = 3

        def rate(self, step):
            self.seen = step
            return super().rate(step)

    mine = Mine(0.1)
    mine(2)
    mine.note = "mine"
    assert (mine.seen, mine.note, mine.warmpu_steps) == (2, "mine", 3)
    plain = schedules.CosineDecay(0.1, 100)
    plain.decay_steps, plain._note = 50, "private"
    assert plain(50) == pytest.approx(0.0) and copy.deepcopy(plain)._note == "private"
