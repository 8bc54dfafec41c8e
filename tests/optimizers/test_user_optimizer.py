"""A user's own rule gets every backend, imperatively, functionally and under jit."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from helpers.backend_table import array as to
from helpers.python_calls import counted_calls
from helpers.user_optimizers import Alternating, HalfAdam, MomentumSGD

from gradwise.backends import Variable, ops
from gradwise.optimizers import Adam, Optimizer

LIBRARIES = [
    "numpy",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
    "array_api_strict",
]
START = np.array([[1.0, -2.0], [0.5, 3.0]], dtype=np.float32)
GRADIENTS = [np.full((2, 2), value, dtype=np.float32) for value in (1.0, -0.5, 0.25, 2.0)]


def imperative(library, optimizer):
    array = to(library, START)
    parameter = Variable(array) if library in ("jax", "array_api_strict") else array
    for gradient in GRADIENTS:
        optimizer.apply_gradients([(to(library, gradient), parameter)])
    return np.asarray(parameter)


def functional(library, optimizer, compile_step=None):
    params = {"w": to(library, START)}
    state = optimizer.init(params)
    step = optimizer.step if compile_step is None else compile_step(optimizer.step)
    for gradient in GRADIENTS:
        params, state = step(params, {"w": to(library, gradient)}, state)
    return np.asarray(Variable(params["w"])), state


def expected_momentum(rate):
    w, m = START.astype(np.float64), 0.0
    for gradient in GRADIENTS:
        m = 0.9 * m - rate * gradient
        w = w + m
    return w


@pytest.mark.parametrize("library", LIBRARIES)
def test_users_momentum_sgd_everywhere(library):
    expected = expected_momentum(0.1)
    np.testing.assert_allclose(imperative(library, MomentumSGD(learning_rate=0.1)), expected, rtol=1e-6)
    np.testing.assert_allclose(functional(library, MomentumSGD(learning_rate=0.1))[0], expected, rtol=1e-6)


@pytest.mark.jax
def test_users_momentum_sgd_under_jit():
    import jax

    result, state = functional("jax", MomentumSGD(learning_rate=0.1), jax.jit)
    np.testing.assert_allclose(result, expected_momentum(0.1), rtol=1e-6)
    assert set(state.slots) == {"momentum"}


def test_without_get_config_the_base_configuration_is_kept():
    config = MomentumSGD(learning_rate=0.1, clipnorm=2.0).get_config()
    assert config["learning_rate"] == 0.1 and config["clipnorm"] == 2.0
    assert MomentumSGD.from_config(config).clipnorm == 2.0


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_optimizer_inside_another(library):
    expected = imperative("numpy", Adam(0.005, amsgrad=True))
    np.testing.assert_allclose(imperative(library, HalfAdam(0.01)), expected, rtol=1e-6)
    result, state = functional(library, HalfAdam(0.01))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert set(state.slots) == {"inner/momentum", "inner/velocity", "inner/velocity_hat"}


def test_the_inner_optimizers_slots_are_saved():
    optimizer = HalfAdam(0.01)
    optimizer.build([START.copy()])
    assert [cell.name for cell in optimizer.variables] == [
        "iteration",
        "learning_rate",
        "variable_0_momentum",
        "variable_0_velocity",
        "variable_0_velocity_hat",
    ]


@pytest.mark.parametrize("library", LIBRARIES)
def test_branches_and_scalars(library):
    w = START.astype(np.float64)
    for count, gradient in enumerate(GRADIENTS, 1):
        w = w - 0.1 * (np.sign(gradient) if count % 2 == 0 else gradient)
    np.testing.assert_allclose(imperative(library, Alternating(0.1)), w, rtol=1e-6)
    result, state = functional(library, Alternating(0.1))
    np.testing.assert_allclose(result, w, rtol=1e-6)
    assert float(state.scalars["even"]) == 2.0


@pytest.mark.jax
def test_branches_and_scalars_under_jit():
    import jax

    eager, _ = functional("jax", Alternating(0.1))
    jitted, state = functional("jax", Alternating(0.1), jax.jit)
    np.testing.assert_allclose(jitted, eager, rtol=1e-6)
    assert float(state.scalars["even"]) == 2.0


def test_one_optimizers_step_inside_another():
    """A whole functional step of one optimizer runs inside the update_step of another."""

    class Outer(Optimizer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.helper = None

        def update_step(self, gradient, variable, learning_rate):
            inner = Adam(0.1)
            params = {"w": variable.value}
            stepped, _ = inner.step(params, {"w": gradient}, inner.init(params))
            self.assign(variable, stepped["w"])

    w = np.array([1.0, 2.0])
    Outer(learning_rate=0.5).apply([np.array([3.0, -3.0])], [w])
    np.testing.assert_allclose(w, [0.9, 2.1], rtol=1e-6)


def test_slots_that_take_initial_values_and_shared_arrays():
    class Anchored(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.anchors = [self.add_variable_from_reference(v, "anchor", initializer=v) for v in variables]
            self.shared = self.add_variable((3,), initializer="ones", name="shared")

        def update_step(self, gradient, variable, learning_rate):
            anchor = self.anchors[self._get_variable_index(variable)]
            self.assign_add(self.shared, 1.0)
            self.assign_sub(variable, (variable - anchor.value) * 0.5 + gradient * learning_rate)

    params = {"w": np.array([1.0, 2.0])}
    optimizer = Anchored(learning_rate=0.5)
    state = optimizer.init(params)
    assert state.slots["anchor"]["w"] is not params["w"]
    for _ in range(2):
        params, state = optimizer.step(params, {"w": np.ones(2)}, state)
    np.testing.assert_allclose(params["w"], [0.25, 1.25])
    np.testing.assert_allclose(state.slots["anchor"]["w"], [1.0, 2.0])
    np.testing.assert_allclose(state.scalars["shared"], [3.0, 3.0, 3.0])


def test_a_rule_that_puts_the_parameter_itself_into_a_slot_is_safe():
    """In place, the slot must get the old value, not the array that is about to change."""

    class Remembering(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.previous = self.add_optimizer_variables(variables, "previous")

        def update_step(self, gradient, variable, learning_rate):
            self.assign(self.previous[self._get_variable_index(variable)], variable.value)
            self.assign_sub(variable, gradient * learning_rate)

    w = np.array([1.0, 2.0])
    optimizer = Remembering(learning_rate=0.5)
    optimizer.apply([np.ones(2)], [w])
    np.testing.assert_array_equal(w, [0.5, 1.5])
    np.testing.assert_array_equal(np.asarray(optimizer.previous[0]), [1.0, 2.0])


def test_update_step_is_required():
    with pytest.raises(NotImplementedError, match="Optimizer must define update_step"):
        Optimizer(0.1).apply([np.ones(2)], [np.ones(2)])


def test_ops_cast_of_a_number_changes_nothing():
    assert ops.cast(0.999, "bfloat16") == 0.999


def test_what_the_whole_optimizer_shares_is_made_in_build():
    """Without parameters it is of its initializer's library."""

    class Sharing(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.total = self.add_variable((2,), np.ones(2, np.float32), name="total")

    optimizer = Sharing(0.1)
    with pytest.raises(RuntimeError, match=r"add_variable works inside build\(variables\)"):
        optimizer.add_variable((2,))
    total = optimizer.init({}).scalars["total"]
    assert isinstance(total, np.ndarray) and total.tolist() == [1.0, 1.0]


class Around(Optimizer):
    """Another optimizer's steps."""

    def __init__(self, inner, **keywords):
        super().__init__(inner.learning_rate, **keywords)
        self.inner = inner

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.inner.update_step(gradient, variable, learning_rate)


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_what_is_inside_counts_the_updates_of_what_is_around(jit_compile):
    options = {"gradient_accumulation_steps": 2, "jit_compile": jit_compile}
    alone, around = Adam(0.1, **options), Around(Adam(0.1), **options)
    weights = np.ones(3), np.ones(3)
    for step in range(6):
        for optimizer, held in zip((alone, around), weights, strict=True):
            optimizer.apply([np.array([1.0, 2.0, -3.0]) * (step + 1)], [held])
    np.testing.assert_array_equal(*weights)
    assert around.inner.iterations == alone.iterations == 3
    functional = Around(Adam(0.1), **options)
    params = np.ones(3)
    state = functional.init(params)
    for step in range(6):
        params, state = functional.step(params, np.array([1.0, 2.0, -3.0]) * (step + 1), state)
    np.testing.assert_array_equal(params, weights[0])


class Several(Optimizer):
    """A rule whose numbers for the whole step have one name."""

    def __init__(self, count):
        super().__init__(0.5)
        self.count = count

    def build(self, variables):
        super().build(variables)
        for _ in range(self.count):
            self.add_scalar("number", 1.0)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * learning_rate)


def test_what_a_whole_step_shares_under_one_name_is_numbered():
    def calls(count):
        return counted_calls(lambda: Several(count).build([np.ones(1)]), lambda event, code: event == "call")

    optimizer = Several(40)
    optimizer.build([np.ones(1)])
    names = [named.name for named in optimizer.named_cells()]
    assert names == ["number", *(f"number_{number}" for number in range(1, 40))]
    calls(10)
    assert calls(800) - calls(600) <= 1.1 * (calls(400) - calls(200))


class OfOthers(Optimizer):
    """What `begin_step` does to numbers of parameters that have no gradient, or takes from them."""

    def __init__(self, what, **keywords):
        super().__init__(0.5, **keywords)
        self.what = what

    def build(self, variables):
        super().build(variables)
        self.visits = [self.add_scalar("visits", 1.0, variable) for variable in variables]
        self.all = self.add_scalar("all", 0.0)

    def begin_step(self, gradients, variables, learning_rate):
        own = {self.variable_index(variable) for variable in variables}
        for index, cell in enumerate(self.visits):
            if self.what == "writes" or index in own:
                self.assign(cell, cell * 2.0)
        if self.what == "reads":
            self.assign(self.all, sum(cell.value for cell in self.visits))
        elif self.what == "reads one":
            self.assign(self.all, self.visits[0].value)

    def update_step(self, gradient, variable, learning_rate):
        visits = self.visits[self.variable_index(variable)]
        self.assign_sub(variable, gradient * (learning_rate * (visits + self.all)))


def by(factor):
    """A rule whose updates are this much larger: a function of it, and of the number of the parameter."""
    return lambda self, own: self.assign_sub(self.params[own], self.gradient * (self.rate * factor(self, own)))


def writes_number(self, own):
    self.assign_sub(self.params[own], self.gradient * (self.rate * self.visits[own]))
    self.assign(self.visits[-1], self.visits[-1] + 1.0)


def writes_shared(self, own):
    self.assign_sub(self.params[own], self.gradient * (self.rate * self.all))
    if own == 0:
        self.assign(self.all, self.all + 1.0)


def writes_slot(self, own):
    self.assign_sub(self.params[own], self.gradient * (self.rate * self.slots[own]))
    if own == 0:
        self.assign(self.slots[-1], self.slots[-1] + 1.0)


UPDATES = {
    "reads one": by(lambda self, own: self.visits[0]),
    "reads the own of all": by(lambda self, own: [cell + 1.0 for cell in self.visits][own]),
    "chooses by one": by(lambda self, own: ops.where(self.visits[0] > 3.0, 1.0, 2.0)),
    "adds one": lambda self, own: self.assign_sub(self.params[own], self.gradient * self.rate + self.visits[0]),
    "step_of another": by(lambda self, own: self.step_of(self.params[0])),
    "reads the last slot": by(lambda self, own: self.slots[-1]),
    "reads the last slot's norm": by(lambda self, own: ops.norm(self.slots[-1])),
    "reads the first parameter's norm": by(lambda self, own: ops.norm(self.params[0])),
    "takes the first parameter": lambda self, own: self.assign(self.params[own], self.params[0] - self.gradient),
    "reads the norm of an array of all": by(lambda self, own: ops.norm(self.array)),
    "reads an array's norm": by(lambda self, own: ops.norm(self.counted[own])),
    "writes the last number": writes_number,
    "writes the number of all": writes_shared,
    "writes the last slot": writes_slot,
}


class WithOthers(OfOthers):
    """What an update does with what is another parameter's, which changes in each step."""

    conventions: ClassVar = {"torch": {}}

    def build(self, variables):
        super().build(variables)
        self.params = list(variables)
        self.slots = self.add_optimizer_variables(variables, "slot", "ones")
        self.counted = [self.add_array(np.ones(2, dtype=np.int64), "counted", variable) for variable in variables]
        self.array = self.add_variable((2,), "ones", name="array")

    def begin_step(self, gradients, variables, learning_rate):
        super().begin_step(gradients, variables, learning_rate)
        for cell in (self.array, *self.counted) if "array" in self.what else ():
            self.assign(cell, cell.value * 2)

    def update_step(self, gradient, variable, learning_rate):
        own = self.variable_index(variable)
        self.assign(self.slots[own], self.slots[own] * 2.0)
        UPDATES[self.what](_Now(self, gradient, learning_rate), own)


class _Now:
    """A rule, and what its update is given."""

    def __init__(self, rule, gradient, rate):
        self.rule, self.gradient, self.rate = rule, gradient, rate

    def __getattr__(self, name):
        return getattr(self.rule, name)


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("what", UPDATES)
def test_updates_with_what_is_of_other_parameters(what):
    found = []
    for jit_compile in ("auto", False):
        arrays = [np.ones(2), np.ones(2), np.ones(2)]
        optimizer = WithOthers(what, convention="torch", jit_compile=jit_compile)
        optimizer.build(arrays)
        for present in ([0, 1, 2], [0, 1, 2], [1, 2], [0, 1]):
            grads = [np.ones_like(each) if place in present else None for place, each in enumerate(arrays)]
            optimizer.apply(grads, arrays)
        cells = [*arrays, *(cell.value for cell in optimizer.variables)]
        found.append([np.asarray(each).tolist() for each in cells])
        # What nothing comes of is no reason to refuse.
        assert bool(optimizer.program_of(arrays[1])) == (jit_compile == "auto" and what == "reads the own of all")
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("what", ["writes", "reads", "reads one"])
def test_numbers_of_parameters_without_a_gradient(what):
    found = []
    for jit_compile in ("auto", False):
        arrays, optimizer = [np.ones(2), np.ones(3), np.ones(4)], OfOthers(what, jit_compile=jit_compile)
        optimizer.build(arrays)
        for present in ([0, 1, 2], [1], [0, 2], [1], [1], [0], [1]):
            grads = [np.ones_like(each) if place in present else None for place, each in enumerate(arrays)]
            optimizer.apply(grads, arrays)
        found.append([*(each.tolist() for each in arrays), *(cell.value for cell in optimizer.visits)])
    assert found[0] == found[1]
