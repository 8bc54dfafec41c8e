"""What a rule reads and its user changes in place is seen by the next step, however deep it lies."""

from __future__ import annotations

import collections
import dataclasses
import logging
import types

import numpy as np
import pytest

from gradwise.backends import Variable
from gradwise.optimizers import Optimizer

pytestmark = pytest.mark.fast


@dataclasses.dataclass
class Data:
    items: list


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 1.0


def tensor():
    import torch

    return torch.ones(1)


def halve_first(container):
    container[0] = 0.5


CASES = {
    "array": (lambda: np.ones(1), lambda c: c[0], halve_first),
    "array in a list": (lambda: [np.ones(1)], lambda c: c[0][0], lambda c: halve_first(c[0])),
    "deque": (lambda: collections.deque([1.0]), lambda c: c[0], halve_first),
    "user's dictionary": (lambda: collections.UserDict({0: 1.0}), lambda c: c[0], halve_first),
    "list in an object": (lambda: Data([1.0]), lambda c: c.items[0], lambda c: halve_first(c.items)),
    "slots": (Slotted, lambda c: c.value, lambda c: setattr(c, "value", 0.5)),
    "object in an object": (
        lambda: types.SimpleNamespace(inner=types.SimpleNamespace(value=1.0)),
        lambda c: c.inner.value,
        lambda c: setattr(c.inner, "value", 0.5),
    ),
}


def stepped(make, read, change, jit_compile):
    class Reading(Optimizer):
        def __init__(self, **keywords):
            super().__init__(0.1, **keywords)
            self.held = make()

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * (learning_rate * float(read(self.held))))

    optimizer, weights = Reading(jit_compile=jit_compile), np.ones(2)
    for step in range(4):
        if step == 2:
            change(optimizer.held)
        optimizer.apply([np.ones(2)], [weights])
    return weights[0]


@pytest.mark.parametrize(
    "case", [*CASES, pytest.param("tensor", marks=pytest.mark.torch)]
)  # fmt: skip
def test_changes_in_place(case):
    make, read, change = CASES.get(case, (tensor, lambda c: c[0], halve_first))
    assert stepped(make, read, change, True) == stepped(make, read, change, False) == pytest.approx(0.7)


def test_class_attributes_and_methods():
    class Reading(Optimizer):
        scale = 0.5

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * (learning_rate * self.scale))

    optimizer, weights = Reading(1.0, jit_compile=True), np.zeros(2)
    for _ in range(3):
        optimizer.apply([np.ones(2)], [weights])
    Reading.scale = 0.25
    optimizer.apply([np.ones(2)], [weights])
    assert weights.tolist() == [-1.75] * 2
    Reading.update_step = lambda self, gradient, variable, learning_rate: self.assign_add(variable, gradient)
    optimizer.apply([np.ones(2)], [weights])
    assert weights.tolist() == [-0.75] * 2


def test_objects_that_know_all_others_cost_little():
    class Logging(Optimizer):
        def __init__(self):
            super().__init__(0.1, jit_compile=True)
            self.logger = logging.getLogger("gradwise test")
            self.itself = [self.logger]
            self.itself.append(self.itself)

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    optimizer, weights = Logging(), np.zeros(2)
    for _ in range(3):
        optimizer.apply([np.ones(2)], [weights])
    assert optimizer.fusion.lane is not None and optimizer.iterations == 3


# -------------------------------------------------------------------- what begin_step changes


def made_by_hand(self):
    self.extra = [Variable(np.full(cell.shape, 2.0)) for cell in self.cells.parameters]


def added(self):
    self.extra = self.add_optimizer_variables(self.cells.parameters, "extra", 2.0)


def setting(**values):
    return lambda self: vars(self).update(values)


def halved(self):
    self.damping /= 2.0


def configured(name, value):
    return lambda self: setattr(self, name, value)


CHANGES = {
    "a switch": {2: setting(nesterov=True), 4: setting(nesterov=False)},
    "a number": {2: halved, 3: halved, 5: halved},
    "a number off and on": {2: setting(damping=None), 4: setting(damping=0.25)},
    "a number to zero": {2: setting(damping=0.0), 4: setting(damping=0.25)},
    "a list": {2: lambda self: self.weights.append(0.5), 4: lambda self: self.weights.clear()},
    "update_step": {2: setting(update_step=lambda gradient, variable, rate: variable.assign_sub(gradient))},
    "arrays": {2: made_by_hand, 4: lambda self: self.extra[0].assign(np.full(3, 4.0))},
    "a slot": {2: added},
    "weight_decay": {2: configured("weight_decay", 0.125), 4: configured("weight_decay", None)},
    "clipvalue": {2: configured("clipvalue", 0.5), 4: configured("clipvalue", None)},
    "loss_scale_factor": {2: configured("loss_scale_factor", 2.0), 4: configured("loss_scale_factor", None)},
    "global_clipnorm": {2: configured("global_clipnorm", 0.5), 4: configured("global_clipnorm", None)},
    "jit_compile": {2: configured("jit_compile", False), 4: configured("jit_compile", "auto")},
}


class Changing(Optimizer):
    """Whose `begin_step` does something in some steps, of which its user tells the number."""

    def __init__(self, changes, **keywords):
        super().__init__(0.5, **keywords)
        self.changes, self.at = changes, 0
        self.nesterov, self.damping, self.weights, self.extra = False, 0.5, [1.0], None

    def build(self, variables):
        super().build(variables)
        self.momenta = self.add_optimizer_variables(variables, "momentum")

    def begin_step(self, gradients, variables, learning_rate):
        if self.at in self.changes:
            self.changes[self.at](self)

    def update_step(self, gradient, variable, learning_rate):
        index = self.variable_index(variable)
        momentum = self.momenta[index]
        self.assign(momentum, momentum * 0.5 + gradient)
        delta = gradient + momentum * 0.5 if self.nesterov else momentum.value
        for factor in [*self.weights, *([self.damping] if self.damping else [])]:
            delta = delta * factor
        if self.extra is not None:
            delta = delta * self.extra[index]
        self.assign_sub(variable, delta * learning_rate)


@pytest.mark.parametrize("name", CHANGES)
def test_what_begin_step_changes_holds_from_the_same_step_on(name):
    """As by whole arrays; but for what concerns gradients, which were looked at before it."""
    found = []
    for jit_compile in ("auto", False):
        parameters = [np.ones(3), np.full((2, 2), 2.0)]
        optimizer, steps = Changing(dict(CHANGES[name]), jit_compile=jit_compile), []
        for step in range(7):
            optimizer.at = step
            try:
                optimizer.apply([np.full(3, 1.0 + step), np.full((2, 2), -1.0 - 0.5 * step)], parameters)
            except RuntimeError as refused:
                steps.append(str(refused))
            steps += [[each.tolist() for each in parameters], [each.numpy().tolist() for each in optimizer.variables]]
            if jit_compile == "auto" and step in (0, 1):
                assert all(group.reason is None for group in optimizer.execution_report())
        found.append(steps)
    assert found[0] == found[1]
    # Something was changed, or refused.
    unchanged = Changing({}, jit_compile=False)
    parameters = [np.ones(3), np.full((2, 2), 2.0)]
    for step in range(7):
        unchanged.apply([np.full(3, 1.0 + step), np.full((2, 2), -1.0 - 0.5 * step)], parameters)
    assert name == "jit_compile" or found[0][-2] != [each.tolist() for each in parameters]
