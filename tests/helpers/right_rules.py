"""Rules of a user's own in which there is no mistake, though they are unlike most: `RIGHT` has what each comes to.

That is after one step from `START` with `GRADIENT`, on every way of running it.
"""

from __future__ import annotations

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
    "a function that is not there yet": (_with_a_function_that_is_not_there_yet(), START),
    "two inside with slots of one name": (TwoInside, STEP),
    "a number that has the parameter's name": (CountedUnderTheNameOfTheParameter, STEP),
}
