"""Arguments that mean nothing: the message names the argument, the value and what is allowed; nothing has changed."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from helpers.libraries import array
from helpers.refusals import refused, unchanged

from gradwise import schedules
from gradwise.optimizers import SGD, Adagrad, Adam, AdamW, Nadam, Optimizer, RMSprop
from gradwise.optimizers.core.following import may_be_lacked
from gradwise.optimizers.core.hyperparameters import Choice, Convention, Count, Flag, Number, hyperparameters
from gradwise.optimizers.registry import ALGORITHMS

NO_NUMBERS = [True, False, "0.5", "", [0.5], (), {}, 1j, object, Adam, lambda: 0.5]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32(math.nan), np.float64(math.inf)]
NO_SCALARS = [np.array([0.5]), np.array([[0.5]]), np.array([]), np.array("0.5"), np.complex64(1), np.True_]
TOO_LARGE = 10**400

HYPERPARAMETERS = [
    pytest.param(algorithm, name, id=f"{algorithm.__name__}-{name}")
    for algorithm in (Optimizer, *ALGORITHMS)
    for name in hyperparameters(algorithm)
    if name != "rate_range"
]


def word_for(value):
    """What a message says of a value; of a function its name, because an address says nothing."""
    return value.__qualname__ if inspect.isfunction(value) else repr(value)


def beyond(interval):
    """Values just outside of an interval such as "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    yield low if interval[0] == "(" else math.nextafter(low, -math.inf)
    yield low - 1
    if math.isfinite(high):
        yield high if interval[-1] == ")" else math.nextafter(high, math.inf)
        yield high + 1


def wrong_values(algorithm, hyperparameter):
    """Values that are refused, each with words the message must have: the value, and what is allowed."""
    nothing = [] if hyperparameter.optional else [None]
    if isinstance(hyperparameter, Number):
        interval = hyperparameter.interval
        plain = [*nothing, *NO_NUMBERS, *NOT_FINITE[:3], *beyond(interval)]
        named = [(value, (word_for(value), interval)) for value in plain]
        return named + [(value, (interval,)) for value in NO_SCALARS]
    if isinstance(hyperparameter, Count):
        least = hyperparameter.minimum
        plain = [*nothing, *NO_NUMBERS, *NOT_FINITE[:3], 2.5, 0, -1, least - 1, 3.0]
        return [(value, (word_for(value), f"integer >= {least}")) for value in plain]
    if isinstance(hyperparameter, Flag):
        return [(value, (repr(value), "True", "False")) for value in (*nothing, 0, 1, 2.5, "yes", "True", [True])]
    assert isinstance(hyperparameter, Choice)
    known = algorithm.conventions if isinstance(hyperparameter, Convention) else hyperparameter.choices
    names = tuple(map(repr, known))
    return [(value, (repr(value), *names)) for value in (*nothing, "nope", "", 2, 2.5, ["float32"], np.float32)]


@pytest.fixture(scope="module")
def built():
    """One optimizer of each kind in the middle of its work."""

    def make(algorithm):
        optimizer, weights = algorithm(0.1), np.ones(3)
        optimizer.build([weights])
        return optimizer, weights

    return {algorithm: make(algorithm) for algorithm in (Optimizer, *ALGORITHMS)}


@pytest.mark.parametrize(("algorithm", "name"), HYPERPARAMETERS)
def test_hyperparameters_set_later(algorithm, name, built):
    optimizer, weights = built[algorithm]
    for value, words in wrong_values(algorithm, hyperparameters(algorithm)[name]):
        with refused(ValueError, algorithm.__name__, f"`{name}`", *words, keeps=(optimizer, weights)):
            setattr(optimizer, name, value)


@pytest.mark.parametrize(("algorithm", "name"), HYPERPARAMETERS)
def test_hyperparameters_of_the_constructor(algorithm, name):
    hyperparameter = hyperparameters(algorithm)[name]
    resolved = may_be_lacked(algorithm, hyperparameter) or any(name in row for row in algorithm.conventions.values())
    for value, words in wrong_values(algorithm, hyperparameter):
        if value is None and (name in ("decay", "convention") or resolved):
            assert getattr(algorithm(**{name: None}), name) is not None
            continue
        named = "convention" if name == "convention" else f"`{name}`"
        if name == "convention":
            words = (repr(value), *map(repr, algorithm.conventions))
        with refused(ValueError, algorithm.__name__, named, *words):
            algorithm(**{name: value})


@pytest.mark.parametrize("algorithm", (Optimizer, *ALGORITHMS), ids=lambda kind: kind.__name__)
def test_scalars_of_numpy_are_checked_and_named(algorithm):
    for name, hyperparameter in hyperparameters(algorithm).items():
        if isinstance(hyperparameter, Number) and name != "rate_range":
            for value in (np.float32(-3.5), np.array(-3.5), np.int64(-3), np.float64(math.nan)):
                with refused(ValueError, algorithm.__name__, f"`{name}`", str(value), hyperparameter.interval):
                    algorithm(**{name: value})


@pytest.mark.parametrize("library", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("torch", "jax")])
def test_scalars_of_libraries_are_checked_and_named(library):
    for value in (-3.5, 1.0, math.nan):
        with refused(ValueError, "Adam", "`beta_1`", "[0, 1)", str(value)):
            Adam(beta_1=array(library, value))
    for wrong in (array(library, [0.5]), array(library, 1, "bool"), array(library, 1, "complex64")):
        with refused(ValueError, "Adam", "`beta_1`", "[0, 1)", library):
            Adam(beta_1=wrong)


@pytest.mark.parametrize(("algorithm", "name"), [(SGD, "momentum"), (Adam, "beta_1"), (Adam, "clipnorm")])
def test_integers_that_no_float_can_hold(algorithm, name):
    with refused(ValueError, algorithm.__name__, f"`{name}`"):
        algorithm(**{name: TOO_LARGE})


def test_every_number_is_converted():
    for value in (0.5, np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5)):
        assert type(Adam(beta_1=value).beta_1) is float
    for value in (1, np.int8(1), np.array(1)):
        assert SGD(momentum=value).momentum == 1.0 and type(SGD(momentum=value).momentum) is float
    accumulating = Adam(gradient_accumulation_steps=np.int64(3))
    assert type(accumulating.gradient_accumulation_steps) is int


# ---------------------------------------------------------------- the learning rate

# A dictionary is read as a schedule, which test_errors_state.py has, and a function or class is called.
BAD_RATES = [
    *(value for value in NO_NUMBERS if value != {} and not callable(value)),
    *NOT_FINITE,
    *NO_SCALARS,
    -1,
    -1e-300,
    np.float32(-1),
    object(),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_learning_rates(algorithm, built):
    optimizer, weights = built[algorithm]
    functional, params = algorithm(0.1), {"w": np.ones(2)}
    state = functional.init(params)
    for rate in BAD_RATES:
        things = (functional, params, state)
        with refused(ValueError, algorithm.__name__, "[0, inf)"):
            algorithm(rate)
        with refused(ValueError, algorithm.__name__, "[0, inf)"):
            algorithm(lr=rate)
        with refused(ValueError, algorithm.__name__, "[0, inf)", keeps=(optimizer, weights)):
            optimizer.learning_rate = rate
        with refused(ValueError, algorithm.__name__, "[0, inf)", keeps=things):
            functional.step(params, params, state, learning_rate=rate)
        with refused(ValueError, algorithm.__name__, "[0, inf)", keeps=things):
            functional.with_learning_rate(state, rate)
    with refused(ValueError, algorithm.__name__, "`learning_rate`", "None", keeps=(optimizer, weights)):
        optimizer.learning_rate = None


def test_errors_of_learning_rates_name_it():
    optimizer, params = Adam(0.1), {"w": np.ones(2)}
    state = optimizer.init(params)
    for attempt in (
        lambda: Adam(-1.5),
        lambda: Adam(lr=-1.5),
        lambda: setattr(optimizer, "learning_rate", -1.5),
        lambda: optimizer.step(params, params, state, learning_rate=-1.5),
        lambda: optimizer.with_learning_rate(state, -1.5),
    ):
        with refused(ValueError, "Adam", "`learning_rate`", "-1.5", "[0, inf)", keeps=(optimizer, params, state)):
            attempt()


def test_rates_that_no_float_can_hold():
    with refused(ValueError, "Adam", "`learning_rate`"):
        Adam(TOO_LARGE)


# ---------------------------------------------------------------- arguments that are not there


@pytest.mark.parametrize("algorithm", (Optimizer, *ALGORITHMS), ids=lambda kind: kind.__name__)
def test_unknown_arguments(algorithm):
    for unknown in ({"learning_rte": 0.1}, {"betas": (0.9, 0.999)}, {"global_clip": 1.0, "moment": 2}):
        with refused(ValueError, algorithm.__name__, *unknown):
            algorithm(**unknown)
    count = len(inspect.signature(algorithm).parameters)
    with pytest.raises(TypeError, match="positional arguments"):
        algorithm(*[None] * (count + 1))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_a_rate_under_both_names(algorithm):
    for rate in (0.25, schedules.ExponentialDecay(0.1, 10, 0.5), lambda step: 0.1):
        with refused(ValueError, algorithm.__name__, "`learning_rate`", "`lr`", "both"):
            algorithm(learning_rate=rate, lr=0.5)
        with refused(ValueError, algorithm.__name__, "`learning_rate`", "`lr`", "both"):
            algorithm(rate, lr=0.5)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_the_default_rate_under_both_names(algorithm):
    default = inspect.signature(algorithm).parameters["learning_rate"].default
    with refused(ValueError, algorithm.__name__, "`learning_rate`", "`lr`", "both"):
        algorithm(learning_rate=default, lr=0.5)


def test_arguments_that_exclude_each_other():
    clips = {"clipnorm": 1.0, "clipvalue": 2.0, "global_clipnorm": 3.0}
    for left_out in (None, *clips):
        given = {name: limit for name, limit in clips.items() if name != left_out}
        with refused(ValueError, "Adam", "only one", *given):
            Adam(**given)
    with refused(ValueError, "SGD", "`nesterov`", '"torch"', "momentum=0.0"):
        SGD(nesterov=True, convention="torch")
    with refused(ValueError, "SGD", "`nesterov`", '"torch"', "dampening=0.5"):
        SGD(momentum=0.9, nesterov=True, dampening=0.5, convention="torch")
    with refused(ValueError, "Adam", "`nesterov`", "`amsgrad`"):
        Adam(nesterov=True, amsgrad=True, convention="optax")
    for name in ("bias_correction_mu", "bias_correction_nu"):
        with refused(ValueError, "Adam", f"`{name}`", "`amsgrad`"):
            Adam(convention="optax", **{name: False})


# ---------------------------------------------------------------- conventions


@pytest.mark.parametrize("algorithm", (Optimizer, *ALGORITHMS), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("convention", ["pytorch", "", "Keras", 3])
def test_unknown_conventions(algorithm, convention):
    with refused(ValueError, algorithm.__name__, repr(convention), "convention", *map(repr, algorithm.conventions)):
        algorithm(convention=convention)


def test_a_convention_that_only_others_have():
    with refused(ValueError, "AdamW", "'keras2'", "'keras'"):
        AdamW(convention="keras2")
    optimizer = AdamW(0.1)
    with refused(ValueError, "AdamW", "'keras2'", "'keras'", keeps=[optimizer]):
        optimizer.convention = "keras2"


LACKING = [
    (RMSprop, "keras2", "keras", {"momentum": 0.9}),
    (RMSprop, "keras2", "optax", {"centered": True}),
    (RMSprop, "keras", "optax", {"nesterov": True}),
    (RMSprop, "torch", "optax", {"initial_scale": 1.0}),
    (RMSprop, "keras", "optax", {"eps_in_sqrt": False}),
    (RMSprop, "keras2", "optax", {"eps_in_sqrt": True}),
    (RMSprop, "torch", "optax", {"bias_correction": True}),
    (Adagrad, "keras2", "torch", {"initial_accumulator_value": 0.1}),
    (Adagrad, "optax", "torch", {"lr_decay": 0.1}),
    (Nadam, "keras2", "keras", {"decay": 0.1}),
    (Nadam, "optax", "torch", {"schedule_decay": 0.1}),
    (Nadam, "torch", "optax", {"eps_root": 0.1}),
    (Adam, "keras2", "keras", {"weight_decay": 0.1}),
    (Adam, "keras", "torch", {"decoupled_weight_decay": False}),
    (Adam, "keras", "optax", {"nesterov": True}),
    (Adam, "torch", "optax", {"bias_correction_mu": False, "amsgrad": True}),
    (Adam, "keras2", "optax", {"bias_correction_nu": False, "amsgrad": True}),
    (Adam, "optax", "torch", {"maximize": True}),
    (SGD, "keras", "torch", {"maximize": True}),
    (SGD, "keras", "torch", {"dampening": 0.5}),
    (SGD, "keras2", "keras", {"global_clipnorm": 0.1}),
    *((algorithm, "optax", "torch", {"weight_decay": 0.1}) for algorithm in (SGD, RMSprop, Adagrad)),
]


@pytest.mark.parametrize(("algorithm", "lacking", "having", "argument"), LACKING)
def test_arguments_that_a_convention_lacks(algorithm, lacking, having, argument):
    name, value = next(iter(argument.items()))
    with refused(ValueError, algorithm.__name__, f"`{name}`", lacking):
        algorithm(convention=lacking, **argument)
    assert getattr(algorithm(convention=having, **argument), name) == value
    if name not in ("global_clipnorm", "decay"):
        built = algorithm(convention=lacking)
        built.build([np.ones(3)])
        with refused(ValueError, algorithm.__name__, f"`{name}`", lacking, repr(having), keeps=[built]):
            setattr(built, name, value)


def test_what_no_convention_of_an_algorithm_lets_change():
    for convention in AdamW.conventions:
        with refused(ValueError, "AdamW", "`decoupled_weight_decay`", "always True"):
            AdamW(convention=convention, decoupled_weight_decay=False)
        AdamW(convention=convention, decoupled_weight_decay=True)


# ---------------------------------------------------------------- what is asked for but not kept


def test_a_rate_for_a_state_without_one():
    params = {"w": np.ones(2)}
    for rate in (schedules.ExponentialDecay(0.1, 10, 0.5), lambda step: 0.1):
        optimizer = Adam(rate)
        state = optimizer.init(params)
        with refused(ValueError, "'adam'", "schedule", "learning_rate=", "step", keeps=(optimizer, params, state)):
            optimizer.with_learning_rate(state, 0.1)


def test_averages_that_are_not_kept():
    optimizer, params = Adam(0.1), {"w": np.ones(2)}
    state = optimizer.init(params)
    with refused(ValueError, "'adam'", "averages", "use_ema=True", keeps=(optimizer, params, state)):
        optimizer.averages(state)
    weights = np.ones(2)
    with unchanged(optimizer, weights):
        optimizer.finalize_variable_values([weights])


@pytest.mark.torch
def test_zero_stays_out_where_the_processor_flushes_what_is_nearly_zero():
    import torch

    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot be told to flush subnormal numbers")
    try:
        for name in ("clipnorm", "global_clipnorm", "clipvalue", "loss_scale_factor"):
            for value in (0.0, -0.0):
                with refused(ValueError, "SGD", f"`{name}`", "(0, inf)"):
                    SGD(0.1, **{name: value})
    finally:
        torch.set_flush_denormal(False)
