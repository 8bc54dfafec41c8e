"""An optimizer's numbers are scalars of the recorded programs: other numbers in the next step record nothing anew."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from helpers.every_convention import EVERY, called
from helpers.python_calls import counted_calls
from helpers.torch_frontend_table import NAMES

from gradwise.optimizers import Adam, MultiOptimizer, Nadam, Optimizer
from gradwise.optimizers.core.fused import recording
from gradwise.optimizers.core.fused.attributes import numbers_of
from gradwise.optimizers.core.hyperparameters import hyperparameters

STEPS = 6


@pytest.fixture
def recorded(monkeypatch):
    """A list that grows with each recording."""
    counted: list[Any] = []
    # Of optimizers that are alike all but the first know what was recorded.
    monkeypatch.setattr(recording, "_RECORDED", {})
    for name in ("record", "_record_begin"):
        original = getattr(recording, name)

        @functools.wraps(original)
        def counting(*arguments, original=original):
            counted.append(arguments)
            return original(*arguments)

        monkeypatch.setattr(recording, name, counting)
    return counted


def stepped(optimizer, change, steps=STEPS):
    """The parameters after steps, before each of which something is changed."""
    chance = np.random.default_rng(3)
    parameters = [chance.normal(size=shape).astype(np.float32) for shape in ((3,), (2, 5), ())]
    for step in range(steps):
        change(optimizer, step)
        optimizer.apply([chance.normal(size=p.shape).astype(np.float32) for p in parameters], parameters)
    return parameters


def moved(optimizer, step, only=None):
    """Every number that is in use, a little away from where it was."""
    for number in numbers_of(optimizer):
        kind = hyperparameters(type(optimizer)).get(number.attribute)
        if kind is not None and (only is None or number.attribute in only):
            value = number.read() * (1 - 0.01 * (step + 1))
            setattr(optimizer, number.attribute, value)


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_numbers_that_change_in_every_step(kind, convention, recorded):
    settings = {"weight_decay": 0.01, "use_ema": True, "clipvalue": 0.5, "loss_scale_factor": 2.0}
    made = {}
    for way in ("auto", False):
        try:
            optimizer = kind(0.1, convention=convention, jit_compile=way, **settings)
        except ValueError:
            optimizer = kind(0.1, convention=convention, jit_compile=way)
        made[way] = stepped(optimizer, moved)
        if way == "auto":
            assert {group.way for group in optimizer.execution_report()} <= {"fused"}
            # Four for the one kind of parameter, and four for what begins a step.
            assert len(recorded) == 4 * (1 + optimizer.has_begin_step())
    for fused, eager in zip(made["auto"], made[False], strict=True):
        assert fused.tobytes() == eager.tobytes()


@pytest.mark.parametrize(("kind", "convention"), EVERY, ids=called)
def test_parameters_that_differ_in_shape_have_one_recording(kind, convention, recorded):
    """What is shared is what each would have had by itself."""
    optimizer = kind(0.1, convention=convention)
    parameters = stepped(optimizer, lambda *_: None, steps=1)
    assert len(recorded) <= 4 * (1 + optimizer.has_begin_step())
    for parameter in parameters:
        recording._RECORDED.clear()
        alone = kind(0.1, convention=convention)
        alone.apply([np.ones_like(parameter)], [parameter])
        assert optimizer.program_of(parameter)
        assert optimizer.program_of(parameter) == alone.program_of(parameter)


@pytest.mark.parametrize("kind", [Adam, Nadam])
def test_what_is_recorded_of_several_rules_grows_with_their_number(kind, recorded):
    """Nadam has a number of its own that its `begin_step` changes: one for each rule."""
    def made(count):
        """How many functions of Python's the recording of so many rules calls."""
        recording._RECORDED.clear()
        rules = [(f"variable_{index}$", kind(0.1, beta_1=0.5 + index / 100)) for index in range(count)]
        optimizer = MultiOptimizer([(f"^{pattern}", rule) for pattern, rule in rules])
        parameters = [np.ones(2) for _ in rules]
        optimizer.build(parameters)
        calls = counted_calls(lambda: optimizer.apply(parameters, parameters), lambda event, code: event == "call")
        return calls, {len(optimizer.program_of(each).scalar_inputs) for each in parameters}

    made(2)
    few, inputs = made(4)
    more, _ = made(12)
    many, of_many = made(20)
    assert many - more <= 1.05 * (more - few)
    # A program has the numbers of its own rule for inputs, and no others.
    assert inputs == of_many


def test_what_is_switched_on_or_off_is_recorded_anew(recorded):
    def change(optimizer, step):
        optimizer.clipvalue = [0.5, None, 0.25, 0.25, None, 1.0][step]
        optimizer.weight_decay = [0.5, 0.25, 0.0, 0.0, 0.125, 0.25][step]

    results = [stepped(Adam(0.1, weight_decay=0.5, clipvalue=0.5, jit_compile=way), change) for way in ("auto", False)]
    for fused, eager in zip(*results, strict=True):
        assert fused.tobytes() == eager.tobytes()
    # Once for each of: both, one of them, the other; what was recorded before is known.
    assert len(recorded) == 4 * 3


class Own(Optimizer):
    """A rule that reads numbers of every kind."""

    table = (0.5, 0.25)

    def __init__(self, learning_rate=0.1, **keywords):
        super().__init__(learning_rate, **keywords)
        self.factor = 0.5
        self.power = 2
        self.pair = (0.5, 0.25)
        self.switch = 0.0

    def build(self, variables):
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self._get_variable_index(variable)]
        self.assign(momentum, momentum * self.factor + gradient * self.pair[0] * self.power)
        self.assign_sub(variable, momentum * learning_rate * self.table[1] + self.switch)


def changed(name, values):
    def change(optimizer, step):
        setattr(optimizer, name, values[step % len(values)])

    return change


@pytest.mark.parametrize(
    ("change", "once"),
    [
        (changed("factor", [0.5, 0.25, 0.75]), True),
        (changed("factor", [0.5, 0.0, 0.75]), False),
        (changed("power", [2, 3]), False),
        (changed("pair", [(0.5, 0.25), (0.25, 0.5)]), False),
        (changed("switch", [0.0, 1.0]), False),
        (changed("factor", [0.5, np.float32(0.25)]), False),
    ],
    ids=["a float", "zero", "an integer", "a tuple", "zero at first", "another type"],
)
def test_attributes_of_a_rule_of_ones_own(change, once, recorded):
    results = [stepped(Own(jit_compile=way), change) for way in ("auto", False)]
    for fused, eager in zip(*results, strict=True):
        assert fused.tobytes() == eager.tobytes()
    # Each of three parameters is recorded once where the program is known.
    assert (len(recorded) == 6) == once


class Branching(Own):
    """A rule that does something else for other numbers."""

    def __init__(self, form="compare", **keywords):
        super().__init__(0.1, **keywords)
        self.form = form

    def update_step(self, gradient, variable, learning_rate):
        if self.form == "compare":
            weight = 2.0 if self.factor > 0.3 else 1.0
        elif self.form == "type":
            weight = 2.0 * self.factor if isinstance(self.factor, float) else 1.0
        elif self.form == "set":
            weight = 2.0 if self.factor in {0.5} else 1.0
        elif self.form == "table":
            weight = {0.5: 2.0}.get(self.factor, 1.0)
        elif self.form == "math":
            weight = float(np.exp(self.factor))
        else:
            weight = 1.0 if self.factor == 0.5 else 0.5
        self.assign_sub(variable, gradient * learning_rate * weight)


@pytest.mark.parametrize("form", ["compare", "type", "set", "table", "math", "equal"])
def test_rules_that_look_at_numbers(form):
    change = changed("factor", [0.5, 0.25, 0.125])
    results = []
    for way in ("auto", False):
        optimizer = Branching(form, jit_compile=way)
        results.append(stepped(optimizer, change))
        assert {group.way for group in optimizer.execution_report()} == {"fused" if way else "eager"}
    for fused, eager in zip(*results, strict=True):
        assert fused.tobytes() == eager.tobytes()


class Outer(Optimizer):
    """A rule that has another inside."""

    def __init__(self, inner, **keywords):
        super().__init__(0.1, **keywords)
        self.inner = inner
        self.share = 0.5

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.inner.update_step(gradient * self.share, variable, learning_rate * self.inner.learning_rate)


def test_numbers_of_an_optimizer_inside_another(recorded):
    def change(optimizer, step):
        optimizer.inner.learning_rate = 0.1 * (step + 1)
        optimizer.inner.beta_1 = 0.9 - 0.1 * step
        optimizer.share = 1 / (step + 1)

    results = [stepped(Outer(Adam(0.5, jit_compile=way), jit_compile=way), change) for way in ("auto", False)]
    for fused, eager in zip(*results, strict=True):
        assert fused.tobytes() == eager.tobytes()
    assert len(recorded) == 6


def test_a_rule_that_changes_a_number_is_refused():
    class Fading(Own):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate * self.factor)
            self.factor = self.factor * 0.5

    for way in ("auto", False):
        optimizer = Fading(jit_compile=way)
        with pytest.raises(TypeError, match=r"sets `self\.factor`, which is not saved"):
            stepped(optimizer, lambda *_: None)
        assert optimizer.factor == 0.5


def test_programs_name_the_numbers():
    optimizer = Adam(0.1)
    parameters = stepped(optimizer, lambda *_: None, steps=1)
    assert "self.beta_1" in str(optimizer.program_of(parameters[0]))


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_schedulers_that_change_more_than_the_rate(name, recorded):
    """OneCycleLR changes momentum or the first beta in each step, others the weight decay."""
    import torch

    from gradwise.frontends import torch as ours

    parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = getattr(ours, name)(parameters, lr=0.1, weight_decay=0.01)
    group = optimizer.param_groups[0]
    for step in range(STEPS):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, step + 1.0)
        optimizer.step()
        group["lr"], group["weight_decay"] = 0.1 / (step + 2), 0.01 * (step + 2)
        for key in ("momentum", "alpha", "rho", "eps", "momentum_decay"):
            if group.get(key):
                group[key] *= 0.99
        if "betas" in group:
            group["betas"] = (group["betas"][0] * 0.99, group["betas"][1] * 0.99)
    assert len(recorded) <= 8


def test_what_counts_as_a_number():
    """Also what takes part outside of programs, which may change as freely."""
    names = {number.attribute for number in numbers_of(Adam(0.1, weight_decay=0.1, clipnorm=1.0))}
    assert {"beta_1", "beta_2", "epsilon", "weight_decay", "clipnorm"} <= names
