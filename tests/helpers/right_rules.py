"""Rules of a user's own in which there is no mistake, though they are unlike most: `RIGHT` has what each comes to.

That is after one step from `START` with `GRADIENT`, on every way of running it.
"""

from __future__ import annotations

import functools

import numpy as np

from gradwise.backends import ops
from gradwise.optimizers import SGD

from .mistakes.in_rules import GRADIENT, START, WithSlots


class TwoInside(WithSlots):
    """Two optimizers inside, whose slots have the same names."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.one, self.other = SGD(momentum=0.9), SGD(momentum=0.5)

    def build(self, variables):
        self.one.build(variables)
        self.other.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.one.update_step(gradient, variable, learning_rate * 0.25)
        self.other.update_step(gradient, variable, learning_rate * 0.75)


class CountedUnderTheNameOfTheParameter(WithSlots):
    """A number of the step that is called as the parameter is on half of the ways."""

    def build(self, variables):
        self.counted = self.add_scalar("w", 0.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.counted, self.counted + 1.0)

    def update_step(self, gradient, variable, learning_rate):
        self.assign(self.counted, self.counted + 1.0)
        self.assign_sub(variable, gradient * learning_rate)


class WithoutMemory(WithSlots):
    """A slot that is written where a hyperparameter is not zero, which it is."""

    def __init__(self, **keywords):
        super().__init__(beta=0.0, **keywords)

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self.variable_index(variable)]
        if self.beta > 0:
            self.assign(momentum, momentum * self.beta + gradient)
        self.assign_sub(variable, (gradient + momentum * self.beta) * learning_rate)


class Masked(WithSlots):
    """Slots that a method of the class writes, between steps."""

    def set_mask(self, index, mask):
        self.momentums[index].assign(mask)

    def update_step(self, gradient, variable, learning_rate):
        mask = self.momentums[self.variable_index(variable)]
        self.assign_sub(variable, gradient * (1.0 - mask) * learning_rate)


class WrittenByAFunction(WithSlots):
    """Slots that somebody else writes, who is given them, in some steps."""

    def update_step(self, gradient, variable, learning_rate):
        for each, slot in zip([variable], self.momentums, strict=False):
            if self.count:
                _remember(self, slot, gradient)
            self.assign_sub(each, (slot + gradient) * learning_rate)


def _remember(keeper, slot, gradient):
    keeper.assign(slot, gradient)


class Scaled(WithSlots):
    """Slots that begin as one number, other than zero, and stay."""

    def build(self, variables):
        self.scales = self.add_optimizer_variables(variables, "scale", initializer=0.5)

    def update_step(self, gradient, variable, learning_rate):
        scale = self.scales[self.variable_index(variable)]
        scale = scale * 2.0
        self.assign_sub(variable, gradient * scale * learning_rate)


class FrozenByName(WithSlots):
    """The parameter is frozen, and has another name where it is not."""

    def update_step(self, gradient, variable, learning_rate):
        if variable.name != "nobody's":
            return
        variable, gradient = self.projected(variable, gradient)
        self.assign_sub(variable, gradient * learning_rate)

    def projected(self, variable, gradient):
        return variable, gradient * 2.0


class FrozenUnderAStoredName(WithSlots):
    """The same, where another name is stored and then written by its own method."""

    def update_step(self, gradient, variable, learning_rate):
        target = self.itself(variable)
        if self.count:
            target.assign_sub(gradient * learning_rate)

    def itself(self, variable):
        return variable


class Static(WithSlots):
    """`update_step` without self."""

    @staticmethod
    def update_step(gradient, variable, learning_rate):
        variable.assign_sub(gradient * learning_rate)


class OfTheClass(WithSlots):
    """`update_step` of the class."""

    @classmethod
    def update_step(cls, gradient, variable, learning_rate):
        variable.assign_sub(gradient * learning_rate)


@functools.lru_cache
def _weight(beta, power=2):
    return 1.0 - beta**power


class WithAKeptFunction(WithSlots):
    """Calls a function whose results Python keeps, with hyperparameters and shapes."""

    def update_step(self, gradient, variable, learning_rate):
        same = _weight(self.beta) + len(variable.shape) * 0.0
        self.assign_sub(variable, gradient * (learning_rate * same / _weight(self.beta)))


class ChangingTheRate(WithSlots):
    """The rate is a number, and a number that is changed is another one; so are counts."""

    def update_step(self, gradient, variable, learning_rate):
        learning_rate *= 2.0
        learning_rate /= self.step_of(variable) + 1
        steps = self.step_of(variable)
        steps += 1
        self.assign_sub(variable, gradient * learning_rate * steps / 2)


class KeepingAxes(WithSlots):
    """What is subtracted has the parameter's axes, but the last is of length 1: it is the same along that."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, ops.sum(gradient, axis=-1, keepdims=True) * learning_rate)
        self.assign_add(variable, ops.mean(gradient, axis=-1, keepdims=True) * learning_rate)


class WithConstantsOfNumpy(WithSlots):
    """Numbers from an array of NumPy's."""

    def update_step(self, gradient, variable, learning_rate):
        halves = np.asarray([0.5, 1.5])
        self.assign_sub(variable, gradient * (learning_rate * float(halves[0] + halves[1]) / 2.0))


def _with_a_function_that_is_not_there_yet():
    class Waiting(WithSlots):
        """Calls a function that its module defines later, which is not yet."""

        def update_step(self, gradient, variable, learning_rate):
            if self.count:
                later(variable)

    if WithSlots.__doc__ is None:
        later = print
    return Waiting


STEP = START - 0.5 * GRADIENT
RIGHT = {
    "frozen by its name": (FrozenByName, START),
    "frozen under a stored name": (FrozenUnderAStoredName, START),
    "static": (Static, STEP),
    "of the class": (OfTheClass, STEP),
    "a slot that is off": (WithoutMemory, STEP),
    "a slot that a method writes": (Masked, STEP),
    "a slot that a function writes": (WrittenByAFunction, STEP),
    "a slot that stays one number": (Scaled, STEP),
    "a function whose results are kept": (WithAKeptFunction, STEP),
    "the rate changes": (ChangingTheRate, STEP),
    "an axis of length 1": (KeepingAxes, START - 0.5 * (GRADIENT.sum() - GRADIENT.mean())),
    "numbers of an array of NumPy's": (WithConstantsOfNumpy, STEP),
    "a function that is not there yet": (_with_a_function_that_is_not_there_yet(), START),
    "two inside with slots of one name": (TwoInside, STEP),
    "a number that has the parameter's name": (CountedUnderTheNameOfTheParameter, STEP),
}
