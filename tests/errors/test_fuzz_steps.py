"""Fuzzing of steps: gradients, variables, states and rates that are drawn work, or are refused and change nothing.

A refusal is one of the documented kinds of error, raised by gradwise itself, and says what is wrong in one line.
"""

from __future__ import annotations

import pathlib
import traceback
import warnings

import numpy as np
import pytest
from helpers.every_convention import EVERY
from helpers.hostile import THINGS, things
from helpers.libraries import LIBRARIES, array, parameter
from helpers.refusals import photograph
from helpers.selection import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gradwise import backends, optimizers, schedules
from gradwise.optimizers.core.conventions import facts_of

FUZZ = {"suppress_health_check": list(HealthCheck)}
OWN = [pathlib.Path(module.__file__).parent for module in (backends, optimizers, schedules)]
KINDS = (ValueError, TypeError, RuntimeError)

OPTIMIZERS = st.builds(
    lambda which, options: (which[0], {**options, "convention": which[1]}),
    st.sampled_from([each for each in EVERY if not facts_of(each[1]).clipnorm_is_global]),
    st.sampled_from(
        [{}, {"use_ema": True}, {"gradient_accumulation_steps": 2}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}]
    ),
)


class Case:
    """An optimizer with a kernel of two and a bias of three elements, imperative and functional, about to step."""

    def __init__(self, library, drawn, built=True):
        kind, options = drawn
        self.dtype = "float64" if library == "numpy" else "float32"
        self.library = library
        self.optimizer = kind(0.1, jit_compile=False, **options)
        self.parameters = [parameter(library, [1.0] * n, self.dtype, name) for n, name in ((2, "kernel"), (3, "bias"))]
        self.gradients = [array(library, [1.0] * n, self.dtype) for n in (2, 3)]
        self.arrays = [array(library, [1.0] * n, self.dtype) for n in (2, 3)]
        self.params = dict(zip(("kernel", "bias"), self.arrays, strict=True))
        self.grads = dict(zip(("kernel", "bias"), self.gradients, strict=True))
        self.functional = kind(0.1, **options)
        self.state = self.functional.init(self.params)
        if built:
            self.optimizer.apply(self.gradients, self.parameters)
        self.values = [array(library, cell.numpy().tolist(), self.dtype) if cell.shape else cell.value
                       for cell in self.optimizer.variables]  # fmt: skip
        self.weights = [cell.numpy() for cell in self.optimizer.variables]

    @property
    def watched(self):
        return [value for name, value in vars(self).items() if name not in ("dtype", "library")]

    def stateless(self, *given):
        return self.optimizer.stateless_apply(*given)

    def attempts(self, call, thing=None):
        """Make the call: it works, or is refused and nothing has changed."""
        before = photograph(self.watched), seen(thing)
        try:
            with warnings.catch_warnings():
                # That a gradient is missing is a warning; numbers too large for a dtype become infinite with one.
                warnings.filterwarnings("ignore", "Gradients do not exist", UserWarning)
                warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
                # JAX, which looks at trees once it is imported, does not like iterators in them.
                warnings.filterwarnings("ignore", "Python iterable type", DeprecationWarning)
                call(self, thing)
        except KINDS as error:
            message = str(error)
            assert type(error) in KINDS, f"{error!r} is none of the documented kinds"
            assert message and "\n" not in message and len(message) < 1500
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = any(pathlib.Path(last.filename).is_relative_to(folder) for folder in OWN)
            assert ours and (last.line or "").startswith("raise"), message
            assert (photograph(self.watched), seen(thing)) == before


def seen(thing):
    """As `photograph`, where the thing lets itself be looked at: deleted arrays and random keys do not."""
    try:
        return photograph(thing)
    except (RuntimeError, TypeError):
        return id(thing)


def put(values, position, thing):
    """A list with something else at one place."""
    position %= len(values)
    return [*values[:position], thing, *values[position + 1 :]]


def store(weights):
    """As `save_own_variables` writes them."""
    return {str(position): weight for position, weight in enumerate(weights)}


def lists_of(names):
    """Lists in place of the two gradients or variables: names of things, "own" for what belongs there."""
    return st.lists(st.just("own") | st.sampled_from(names), max_size=3)


def filled(names, own, make):
    return [
        own[position] if name == "own" and position < len(own) else make.get(name, list)()
        for position, name in enumerate(names)
    ]


def each_library(test):
    return pytest.mark.parametrize("library", LIBRARIES)(test)


# ---------------------------------------------------------------- the imperative path


@each_library
@drawing(40, **FUZZ)
@given(data=st.data(), drawn=OPTIMIZERS, built=st.booleans())
def test_gradients_and_variables(library, data, drawn, built):
    make = things(library)
    make_thing, place = make[data.draw(st.sampled_from(sorted(make)))], data.draw(st.integers(0, 1))
    for call in (
        lambda case, thing: case.optimizer.apply(put(case.gradients, place, thing), case.parameters),
        lambda case, thing: case.optimizer.apply(case.gradients, put(case.parameters, place, thing)),
        lambda case, thing: case.optimizer.apply(thing, case.parameters),
        lambda case, thing: case.optimizer.apply(case.gradients, thing),
        lambda case, thing: case.optimizer.apply(put(case.gradients, place, thing), put(case.parameters, place, thing)),
        lambda case, thing: case.optimizer.apply_gradients(thing),
        lambda case, thing: case.optimizer.apply_gradients([(case.gradients[0], case.parameters[0]), thing]),
        lambda case, thing: case.optimizer.build(thing),
        lambda case, thing: case.optimizer.build(put(case.parameters, place, thing)),
        lambda case, thing: case.optimizer.finalize_variable_values(thing),
        lambda case, thing: case.optimizer._get_variable_index(thing),
        lambda case, thing: case.optimizer.exclude_from_weight_decay(var_list=thing),
    ):
        Case(library, drawn, built).attempts(call, make_thing())


@drawing(250, **FUZZ)
@given(lists_of(sorted(THINGS)), lists_of(sorted(THINGS)), OPTIMIZERS, st.booleans())
def test_lists_of_gradients_and_variables(gradients, variables, drawn, built):
    case = Case("numpy", drawn, built)
    given_gradients = filled(gradients, case.gradients, THINGS)
    given_variables = filled(variables, case.parameters, THINGS)
    case.attempts(lambda case, _: case.optimizer.apply(given_gradients, given_variables))


@drawing(150, **FUZZ)
@given(st.data(), OPTIMIZERS, st.booleans())
def test_memory_that_is_shared(data, drawn, built):
    """The same array twice is refused; arrays that overlap, and a gradient that is its parameter, are not."""
    case = Case("numpy", drawn, False)
    base = np.ones(6)
    views = {"first": base[:3], "second": base[1:4], "third": base[3:], "every other": base[::2], "all": base}
    names = data.draw(st.lists(st.sampled_from(sorted(views)), min_size=2, max_size=3))
    chosen = [views[name] for name in names]
    gradients = chosen if data.draw(st.booleans()) else [np.ones_like(view) for view in chosen]
    if built and len(set(names)) == len(names):
        case.optimizer.build(chosen)
    before = photograph((case.optimizer, base))
    if len(set(names)) == len(names):
        assert case.optimizer.apply(gradients, chosen) == 1
    else:
        with pytest.raises(ValueError, match=r"same object"):
            case.optimizer.apply(gradients, chosen)
        assert photograph((case.optimizer, base)) == before


# ---------------------------------------------------------------- values of the state


@each_library
@drawing(40, **FUZZ)
@given(data=st.data(), drawn=OPTIMIZERS)
def test_stateless_steps_and_weights(library, data, drawn):
    make = things(library)
    make_thing, place = make[data.draw(st.sampled_from(sorted(make)))], data.draw(st.integers(0, 9))
    for call in (
        lambda case, thing: case.stateless(thing, case.gradients, case.arrays),
        lambda case, thing: case.stateless(put(case.values, place, thing), case.gradients, case.arrays),
        lambda case, thing: case.stateless(case.values, thing, case.arrays),
        lambda case, thing: case.stateless(case.values, put(case.gradients, place, thing), case.arrays),
        lambda case, thing: case.stateless(case.values, case.gradients, thing),
        lambda case, thing: case.stateless(case.values, case.gradients, put(case.arrays, place, thing)),
        lambda case, thing: case.optimizer.set_weights(thing),
        lambda case, thing: case.optimizer.set_weights(put(case.weights, place, thing)),
        lambda case, thing: case.optimizer.load_own_variables(thing),
        lambda case, thing: case.optimizer.load_own_variables(store(put(case.weights, place, thing))),
    ):
        Case(library, drawn).attempts(call, make_thing())


# ---------------------------------------------------------------- the functional path


@each_library
@drawing(40, **FUZZ)
@given(data=st.data(), drawn=OPTIMIZERS)
def test_trees_and_states(library, data, drawn):
    make = things(library)
    make_thing = make[data.draw(st.sampled_from(sorted(make)))]
    kind, choice = data.draw(st.sampled_from(["field", "slot", "leaf", "scalars"])), data.draw(st.integers(0, 9))
    for call in (
        lambda case, thing: case.functional.init(thing),
        lambda case, thing: case.functional.init({**case.params, "bias": thing}),
        lambda case, thing: case.functional.step(thing, case.grads, case.state),
        lambda case, thing: case.functional.step({**case.params, "bias": thing}, case.grads, case.state),
        lambda case, thing: case.functional.step(case.params, thing, case.state),
        lambda case, thing: case.functional.step(case.params, {**case.grads, "bias": thing}, case.state),
        lambda case, thing: case.functional.step(case.params, case.grads, thing),
        lambda case, thing: case.functional.step(case.params, case.grads, damaged(case.state, kind, choice, thing)),
        lambda case, thing: case.functional.step(case.params, case.grads, case.state, learning_rate=thing),
        lambda case, thing: case.functional.learning_rate_at(damaged(case.state, kind, choice, thing)),
        lambda case, thing: case.functional.averages(damaged(case.state, kind, choice, thing)),
        lambda case, thing: case.functional.with_learning_rate(damaged(case.state, kind, choice, thing), 0.1),
        lambda case, thing: case.functional.with_learning_rate(case.state, thing),
    ):
        Case(library, drawn).attempts(call, make_thing())


def damaged(state, kind, choice, thing):
    """A state with something else in one place."""
    if kind in ("slot", "leaf") and state.slots:
        slot = sorted(state.slots)[choice % len(state.slots)]
        return state._replace(
            slots={**state.slots, slot: thing if kind == "slot" else {**state.slots[slot], "bias": thing}}
        )
    if kind == "scalars" and state.scalars:
        return state._replace(scalars=dict.fromkeys(state.scalars, thing))
    return state._replace(**{state._fields[choice % len(state._fields)]: thing})


# ---------------------------------------------------------------- rates


class Own(Exception):
    """What a user's callable raises."""


def raising(*_):
    raise Own("no rate today")


RATES = {
    **THINGS,
    "raises": lambda: raising,
    "a schedule": lambda: schedules.ExponentialDecay(0.1, 10, 0.5),
    "a constant": lambda: lambda: 0.1,
    "of the step": lambda: lambda step: 0.1 / (1 + step),
    "of two": lambda: lambda one, two: 0.1,
}


@drawing(250, **FUZZ)
@given(st.sampled_from(sorted(RATES)), OPTIMIZERS)
def test_rates(name, drawn):
    """A rate that is set, and a callable that gives it; what a callable raises passes through."""
    case = Case("numpy", drawn)
    rate = RATES[name]()
    case.attempts(lambda case, _: setattr(case.optimizer, "learning_rate", rate))
    result = [0.1]
    for optimizer in (case.optimizer, case.functional):
        optimizer.learning_rate = lambda step: raising() if name == "raises" else result[0]
    state = case.functional.init(case.params)
    result[0] = rate
    before = photograph((case.watched, state))
    for step in (
        lambda case, _: case.optimizer.apply(case.gradients, case.parameters),
        lambda case, _: case.functional.step(case.params, case.grads, state),
        lambda case, _: case.functional.learning_rate_at(state),
    ):
        try:
            case.attempts(step)
        except Own:
            assert name == "raises" and photograph((case.watched, state)) == before
