"""Fuzzing of constructors, settings and configurations: what is drawn works, or is refused in documented words."""

from __future__ import annotations

import contextlib
import decimal
import fractions
import inspect
import math

import ml_dtypes
import numpy as np
import pytest
from helpers.refusals import photograph, refused, unchanged
from helpers.selection import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gradwise import optimizers, schedules
from gradwise.optimizers import Optimizer
from gradwise.optimizers.core.conventions import CONVENTIONS
from gradwise.optimizers.core.hyperparameters import Choice, Convention, Count, Flag, Number, hyperparameters
from gradwise.optimizers.registry import ALGORITHMS

FUZZ = {"suppress_health_check": list(HealthCheck)}

ALIKE = [
    np.float64(0.5), np.float32(math.nan), np.float16(0.5), np.longdouble(0.5), ml_dtypes.bfloat16(0.5), np.int8(1),
    np.uint64(2**63), np.bool_(True), np.str_("auto"), np.datetime64("2026"), np.timedelta64(1), np.void(b"abc"),
    np.array(0.5), np.array(2), np.array(math.inf), np.array([0.5]), np.array([]), np.array([0.5, 0.5]),
    np.array("adam"), np.array(None), np.array(1j), np.array(True), np.array(0.5, ">f8"), np.zeros((), [("a", "f4")]),
    decimal.Decimal("0.5"), fractions.Fraction(1, 2),
]  # fmt: skip
"""What is like a number, or like an array, more or less."""

ODD = [None, True, False, object(), object, int, len, Optimizer, ..., NotImplementedError(), range(3), memoryview(b"a")]

NUMBERS = st.floats() | st.integers(-3, 5) | st.sampled_from([0, 1, -1, 10**400, -(10**400), 2**63]) | st.booleans()
TEXT = st.sampled_from(["", "auto", *CONVENTIONS, "float32", "0.5", "a\nb", "x" * 999])
LEAVES = NUMBERS | TEXT | st.text(max_size=5) | st.binary(max_size=3) | st.complex_numbers() | st.sampled_from(ODD)
JUNK = st.recursive(
    LEAVES | st.integers(0, len(ALIKE) - 1).map(ALIKE.__getitem__),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text("ab_é", max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
CALLABLES = st.sampled_from(
    [lambda: 0.5, lambda step: 0.1, lambda *_: 0.1, lambda one, two: 0.1, lambda *, key: 0.1, dict, str, math.cos]
)
SCHEDULES = st.sampled_from([schedules.ExponentialDecay(0.1, 10, 0.5), schedules.CosineDecay(0.1, 10)])


def allowed(hyperparameter):
    """Values that are in range, its ends among them."""
    if isinstance(hyperparameter, Number):
        low, high = map(float, hyperparameter.interval[1:-1].split(","))
        values = st.floats(low, min(high, 1.7e308)).filter(hyperparameter.contains)
    elif isinstance(hyperparameter, Count):
        values = st.integers(hyperparameter.minimum, 10**30)
    elif isinstance(hyperparameter, Flag):
        values = st.booleans()
    else:
        assert isinstance(hyperparameter, Choice)
        values = st.sampled_from(hyperparameter.choices)
    return values | st.none() if hyperparameter.optional else values


@contextlib.contextmanager
def documented(*kinds, naming=()):
    """It works, or is refused by one of the kinds, in one short line that names one of the words."""
    try:
        yield
    except kinds as error:
        message = str(error)
        assert type(error) in kinds
        assert message and "\n" not in message and len(message) < 1500
        assert not naming or any(word in message for word in naming), message


ALGORITHM = st.sampled_from([Optimizer, *ALGORITHMS])


@st.composite
def constructors(draw):
    """A class and arguments, most of them allowed."""
    algorithm = draw(ALGORITHM)
    known = hyperparameters(algorithm)
    names = draw(st.lists(st.sampled_from([*known, "learning_rate", "lr", "name", "nonsense"]), max_size=4))
    arguments = {"convention": draw(st.sampled_from(list(algorithm.conventions)))}
    for name in names:
        values = JUNK
        if draw(st.booleans()):
            values = allowed(known[name]) if name in known and name != "convention" else NUMBERS | CALLABLES | SCHEDULES
        arguments[name] = draw(values)
    return algorithm, arguments


def named(algorithm, arguments):
    """What an error may call what it is about."""
    words = [*arguments, algorithm.__name__]
    return [*words, "learning_rate", "chedule"] if {"lr", "learning_rate"} & set(arguments) else words


@drawing(800, **FUZZ)
@given(constructors())
def test_constructors(drawn):
    algorithm, arguments = drawn
    with documented(ValueError, TypeError, naming=named(algorithm, arguments)), unchanged(arguments):
        optimizer = algorithm(**arguments)
        assert set(optimizer.get_config()) >= {"name", "learning_rate", *hyperparameters(algorithm)}
        assert repr(optimizer).startswith("<")


# What makes sense in Keras 2's order too is warned of before it is looked at.
@pytest.mark.filterwarnings("ignore:.* in Keras 2. Write")
@drawing(200, **FUZZ)
@given(ALGORITHM, st.lists(JUNK, min_size=1, max_size=4))
def test_positional_arguments(algorithm, arguments):
    names = list(inspect.signature(algorithm).parameters)[: len(arguments)]
    with documented(ValueError, TypeError, naming=[*names, "chedule"]):
        algorithm(*arguments)


@drawing(300, **FUZZ)
@given(st.sampled_from(ALGORITHMS), st.data())
def test_settings_of_a_built_optimizer(algorithm, data):
    """What is refused leaves the optimizer as it was; what is accepted does not break the next step."""
    known = hyperparameters(algorithm)
    optimizer, weights = algorithm(0.1, jit_compile=False), np.ones(2)
    optimizer.build([weights])
    name = data.draw(st.sampled_from([each for each in known if each != "convention"] + ["learning_rate"]))
    value = data.draw(JUNK if name == "learning_rate" or data.draw(st.booleans()) else allowed(known[name]))
    before = photograph((optimizer, weights))
    try:
        setattr(optimizer, name, value)
    except (ValueError, TypeError, RuntimeError):
        assert photograph((optimizer, weights)) == before
        with documented(ValueError, TypeError, RuntimeError, naming=[f"`{name}`", "schedule"]):
            setattr(optimizer, name, value)
    else:
        # Which way a step is run belongs to other tests; what a callable gives is looked at in the step.
        if name != "jit_compile" and not callable(value):
            assert optimizer.apply([np.ones(2)], [weights]) == 1


# ---------------------------------------------------------------- whatever is allowed runs


@st.composite
def in_range(draw):
    """A class and arguments of which each is in its range, far out perhaps."""
    algorithm = draw(st.sampled_from(ALGORITHMS))
    known = hyperparameters(algorithm)
    names = draw(st.lists(st.sampled_from([name for name in known if name != "convention"]), max_size=5, unique=True))
    arguments = {name: draw(allowed(known[name])) for name in names}
    # With an infinite sum of squares, or none, NumPy warns of an overflow when the slot is made.
    arguments = {name: value for name, value in arguments.items() if not name.startswith("initial_") or value < 1e30}
    if arguments.get("bias_correction") and arguments.get("rho") == 1.0:
        # The correction, a division by 1 - rho**t, has no value there.
        del arguments["rho"]
    convention = draw(st.sampled_from(list(algorithm.conventions)))
    rate = draw(st.floats(0, 1.7e308))
    return algorithm, {**arguments, "convention": convention, "learning_rate": rate, "jit_compile": False}


@drawing(200, **FUZZ)
@given(in_range(), st.sampled_from(["float16", "float32", "float64"]))
def test_arguments_in_range_never_fail_in_a_step(drawn, dtype):
    algorithm, arguments = drawn
    optimizer = None
    with documented(ValueError, naming=arguments):
        optimizer = algorithm(**arguments)
    if optimizer is None:
        return
    weights, gradient = np.ones(2, dtype), np.array([1, -2], dtype)
    params = {"w": np.ones(2, dtype)}
    state = optimizer.init(params)
    for count in (1, 2):
        assert optimizer.apply([gradient], [weights]) == count
        params, state = optimizer.step(params, {"w": gradient}, state)
        assert int(state.iterations) == count


# ---------------------------------------------------------------- configurations

NAMES = st.sampled_from(["adam", "Adam", "SGD", "nadam", "LAMB", "", "a\nb", "x" * 999, 3, None, np.str_("adam")])


def configurations(rates):
    """Dictionaries such as `serialize` gives, more or less."""
    entries = st.dictionaries(
        st.sampled_from(["beta_1", "epsilon", "momentum", "convention", "name", "slot_dtype", "a\nb", ""])
        | st.integers(0, 1),
        JUNK,
        max_size=2,
    )
    entries = st.builds(lambda rest, rate: {**rest, **rate}, entries, st.just({}) | rates.map(_as_rate))
    whole = st.fixed_dictionaries({}, optional={"class_name": NAMES, "config": entries | JUNK, "module": JUNK})
    return whole | JUNK


def _as_rate(rate):
    return {"learning_rate": rate}


SCHEDULE_DICTIONARIES = st.fixed_dictionaries(
    {},
    optional={
        "class_name": st.sampled_from(["ExponentialDecay", "CosineDecay", "Unknown", 3]),
        "config": JUNK | st.dictionaries(st.sampled_from(["initial_learning_rate", "decay_steps"]), NUMBERS),
        "module": st.sampled_from([None, "os", 3]),
    },
)


@drawing(300, **FUZZ)
@given(configurations(JUNK | SCHEDULE_DICTIONARIES))
def test_configurations(config):
    for read in (optimizers.get, optimizers.deserialize):
        with documented(ValueError, TypeError), unchanged(config):
            made = read(config)
            assert made is None or isinstance(made, Optimizer)
    entries = config.get("config") if isinstance(config, dict) else config
    for algorithm in (optimizers.Adam, optimizers.SGD):
        with documented(ValueError, TypeError), unchanged(entries):
            assert isinstance(algorithm.from_config(entries), algorithm)


@drawing(150, **FUZZ)
@given(JUNK)
def test_custom_objects(junk):
    own = {"class_name": "Own", "config": {}}
    for custom_objects in (junk, {"Own": junk}):
        with unchanged(custom_objects):
            made = None
            with documented(ValueError, TypeError, naming=["custom_objects", "'Own'"]):
                made = optimizers.deserialize(own, custom_objects)
            assert made is None or junk is Optimizer
    if not isinstance(junk, Optimizer):
        with documented(TypeError, naming=["optimizer"]), pytest.raises(TypeError):
            optimizers.serialize(junk)


@drawing(150, **FUZZ)
@given(constructors())
def test_what_was_made_can_be_made_again(drawn):
    algorithm, arguments = drawn
    try:
        optimizer = algorithm(**arguments)
        config = optimizers.serialize(optimizer)
    except (ValueError, TypeError):
        return
    if algorithm is Optimizer:
        return
    assert optimizers.serialize(optimizers.deserialize(config)) == config


class Unshowable:
    def __repr__(self):
        raise KeyError("repr")


@pytest.mark.parametrize("value", [10**5000, Unshowable(), [Unshowable()]], ids=["digits", "object", "list"])
def test_what_cannot_be_shown_is_still_refused_by_name(value):
    """Hypothesis, too, must show what it draws: so these are no part of the fuzzing."""
    for name in ("beta_1", "clipnorm", "ema_overwrite_frequency", "use_ema", "slot_dtype", "learning_rate", "name"):
        if name != "ema_overwrite_frequency" or not isinstance(value, int):
            with refused(ValueError, "Adam", f"`{name}`", "cannot be shown"):
                optimizers.Adam(**{name: value})
    with refused(ValueError, "Adam", "nonsense"):
        optimizers.Adam(nonsense=value)


def test_what_is_long_is_shown_in_one_short_line():
    for name, value in (("use_ema", [np.zeros((3, 3, 30))]), ("nonsense", np.zeros((3, 3, 30))), ("a\nb", "x" * 10**6)):
        with documented(ValueError, naming=["Adam"]), pytest.raises(ValueError):
            optimizers.Adam(**{name: value})
        with refused(ValueError, "Adam", "..." if name != "nonsense" else "array"):
            optimizers.Adam(**{name: value})


def test_the_convention_is_no_setting():
    """The only hyperparameter that the fuzzing of settings leaves out."""
    assert [name for name, kind in hyperparameters(Optimizer).items() if isinstance(kind, Convention)] == ["convention"]
