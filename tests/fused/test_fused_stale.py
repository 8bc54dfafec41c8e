"""What a rule reads and its user changes in place is seen by the next step, however deep it lies."""

from __future__ import annotations

import collections
import dataclasses
import logging
import types

import numpy as np
import pytest

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
