"""Names that every optimizer has, and that a user's own class may not take: told where they are taken."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from helpers.mistakes.in_rules import WithSlots

from gradwise.backends.mistakes import RuleMistake
from gradwise.optimizers import SGD, Adam, Optimizer

WEIGHTS = np.ones(3, np.float32)


def in_init(name, value):
    class Mine(Optimizer):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            setattr(self, name, value)

    return Mine


def in_build(name, value):
    class Mine(Optimizer):
        def build(self, variables):
            super().build(variables)
            setattr(self, name, value)

    return lambda: Mine().build([WEIGHTS.copy()])


def outside(name, value):
    return lambda: setattr(Adam(), name, value)


@pytest.mark.parametrize("take", [in_init, in_build, outside])
@pytest.mark.parametrize(("name", "value", "what"), [
    ("fusion", [], "a name that optimizers work with"), ("cells", [], "where optimizers keep their state"),
    ("step", 1.0, "a method of every optimizer"), ("delta", 0.5, "a method of every optimizer"),
    ("check", True, "a method of every optimizer"), ("memory", {}, "a method of every optimizer"),
    ("_templates", {}, "a name that optimizers work with"), ("_schedule", None, "a name that optimizers work with"),
    ("_update", None, "a method that optimizers work with"), ("calls_made", 0, "a property of every optimizer"),
])  # fmt: skip
def test_attributes(take, name, value, what):
    said = rf"test_reserved_names.py:\d+ .* `{name}` of (Mine|Adam) is {what}: choose another name"
    error = AttributeError if take is not outside or name != "calls_made" else (AttributeError, TypeError)
    with pytest.raises(error, match=None if isinstance(error, tuple) else said):
        take(name, value)()


@pytest.mark.parametrize("name", ["variables", "iterations"])
def test_properties_while_it_is_made(name):
    for take in (in_init, in_build):
        with pytest.raises(AttributeError, match=f"`{name}` of Mine is a property of every optimizer: choose another"):
            take(name, [])()


def test_decay_of_ones_own():
    for take in (in_init, in_build):
        with pytest.raises(AttributeError, match=r"`decay` of Mine as Keras's older argument divides .*decay_rate"):
            take("decay", 0.8)()
    # It is what it was where it is meant.
    optimizer = in_init("rate_of_decay", 0.8)(decay=0.5)
    optimizer.decay = 0.25
    assert optimizer.decay == 0.25


def a_method(self, gradient, variable, learning_rate):
    pass


@pytest.mark.parametrize(("name", "value", "said"), [
    ("step", a_method, r"test_reserved_names.py:\d+ \(a_method\) is the rule for one parameter, .* it `update_step"),
    ("init", a_method, r"test_reserved_names.py:\d+ \(a_method\): `init` of Mine is a method of every optimizer"),
    ("delta", lambda self, old, new: new - old, "`delta` of Mine is a method of every optimizer: choose another name"),
    ("memory", 0.9, "class Mine: `memory` of Mine is a method of every optimizer"),
    ("variables", [], "`variables` of Mine is a property of every optimizer"),
    ("_run", a_method, "`_run` of Mine is a method that optimizers work with"),
])  # fmt: skip
@pytest.mark.parametrize("base", [Optimizer, SGD, WithSlots])
def test_what_a_class_defines(base, name, value, said):
    with pytest.raises(RuleMistake, match=said):
        type("Mine", (base,), {name: value})


def test_what_may_be_overridden():
    class Mine(SGD):
        conventions: ClassVar = {"keras": {}}

        def build(self, parameters):
            super().build(parameters)
            self.built = True

        def update_step(self, g, v, r):
            super().update_step(g, v, r)

        def apply(self, grads, trainable_variables=None):
            return super().apply(grads, trainable_variables)

        def step(self, *arguments, **keywords):
            return super().step(*arguments, **keywords)

        @property
        def variables(self):
            return super().variables

        def get_config(self):
            return super().get_config()

        @classmethod
        def from_config(cls, config, custom_objects=None):
            return super().from_config(config, custom_objects)

    optimizer, weights = Mine(1.0), WEIGHTS.copy()
    optimizer.scale_loss = lambda loss: loss
    optimizer.apply([WEIGHTS], [weights])
    assert weights.tolist() == [0.0] * 3 and Mine.from_config(optimizer.get_config()) is not None


MADE = {
    "add_variable_from_reference": lambda self, variable, name: self.add_variable_from_reference(variable, name),
    "add_optimizer_variables": lambda self, variable, name: self.add_optimizer_variables([variable], name),
    "several": lambda self, variable, name: self.add_optimizer_variables([variable], ["own", name]),
    "add_array": lambda self, variable, name: self.add_array(np.ones(2), name, variable),
    "add_scalar": lambda self, variable, name: self.add_scalar(name, 0.0, variable),
    "add_variable": lambda self, variable, name: self.add_variable((2,), name=name),
}


def making(make, *names):
    class Mine(Optimizer):
        def build(self, variables):
            for name in names:
                make(self, variables[0], name)

    return Mine()


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("name", ["step", "iterations", "average", "gradient_accumulator"])
def test_slots(make, name):
    with pytest.raises(RuleMistake, match=rf"makes a slot '{name}', but .* under it: choose another name"):
        making(make, name).build([WEIGHTS.copy()])


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_two_slots_of_one_name(make):
    if make is MADE["add_variable"]:
        # What all share belongs to nobody: it is told apart by numbers.
        assert list(making(make, "row", "row", "row").init({"w": WEIGHTS.copy()}).scalars) == ["row", "row_1", "row_2"]
        return
    for run in ("build", "init"):
        with pytest.raises(ValueError, match=r"parameter 'w' has a slot '(row|own)' already: give each slot a name of"):
            getattr(making(make, "row", "row"), run)({"w": WEIGHTS.copy()})
    making(make, "row").build({"w": WEIGHTS.copy()})
