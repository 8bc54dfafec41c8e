"""Rules of a user's own that are right in odd ways: `RIGHT` has what each comes to, as in `right_rules`.

Closures, decorators, dataclasses, mixtures of classes, slots in other containers, rules that call those of others, what
Python keeps for later.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import enum
import functools
import operator
import threading
import types
import weakref

import numpy as np

from gradwise.backends import ops
from gradwise.optimizers import SGD, Adam, Optimizer

from .mistakes.in_rules import GRADIENT, START, WithSlots


def moved(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * learning_rate)


def made_by_a_function(scale):
    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * scale))

    return type("Made", (WithSlots,), {"update_step": update_step})


def logged(function):
    @functools.wraps(function)
    def wrapper(*arguments, **keywords):
        return function(*arguments, **keywords)

    return wrapper


class Decorated(WithSlots):
    @logged
    @logged
    def update_step(self, gradient, variable, learning_rate):
        moved(self, gradient, variable, learning_rate)


class WithAnyArguments(WithSlots):
    def update_step(self, *arguments):
        moved(self, *arguments)


class Partial(WithSlots):
    update_step = functools.partialmethod(moved)


class WithALambda(WithSlots):
    update_step = lambda self, g, v, r: self.assign_sub(v, g * r)  # noqa: E731


@dataclasses.dataclass(frozen=True)
class Settings:
    beta: float = 0.9
    scale: float = 1.0


class WithSettings(WithSlots):
    """Settings in a dataclass, an enumeration, a namespace."""

    class Kind(enum.Enum):
        PLAIN = 1
        NESTEROV = 2

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.settings, self.kind = Settings(), self.Kind.PLAIN
        self.space = types.SimpleNamespace(half=0.5)

    def update_step(self, gradient, variable, learning_rate):
        if self.kind is self.Kind.PLAIN and self.settings.beta > self.space.half:
            self.assign_sub(variable, gradient * (learning_rate * self.settings.scale))


@dataclasses.dataclass
class Direction:
    value: object
    count: int = 0

    def added(self, other):
        self.count += 1
        self.value = self.value + other
        return self


class WithADataclass(WithSlots):
    """Arrays in objects of the rule's own, which live as long as it runs."""

    def update_step(self, gradient, variable, learning_rate):
        direction = Direction(gradient * 0.5).added(gradient * 0.25).added(gradient * 0.25)
        self.assign_sub(variable, direction.value * (learning_rate * direction.count * 0.5))


class Mixin:
    factor = 1.0

    def scaled(self, gradient):
        return gradient * self.factor


class Another:
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self.scaled(gradient), variable, learning_rate)


class Mixed(Another, Mixin, SGD):
    def __init__(self, learning_rate=0.5, **keywords):
        super().__init__(learning_rate, **keywords)


class InADictionary(WithSlots):
    def build(self, variables):
        means = self.add_optimizer_variables(variables, "mean")
        self.slots = {index: {"mean": mean} for index, mean in enumerate(means)}

    def update_step(self, gradient, variable, learning_rate):
        mean = self.slots[self.variable_index(variable)]["mean"]
        self.assign(mean, mean * self.beta + gradient)
        self.assign_sub(variable, mean * learning_rate)


class InObjects(WithSlots):
    """Slots in tuples and in objects."""

    def build(self, variables):
        self.all = tuple(
            types.SimpleNamespace(mean=self.add_variable_from_reference(each, "mean"), each=weakref.ref(each))
            for each in variables
        )

    def update_step(self, gradient, variable, learning_rate):
        held = self.all[self.variable_index(variable)]
        self.assign(held.mean, gradient)
        self.assign_sub(variable, held.mean * learning_rate)


class ChosenInside(WithSlots):
    """An optimizer inside for each sort of parameters, in a dictionary."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.inner = {"vectors": SGD(), "matrices": Adam()}

    def build(self, variables):
        for inner in self.inner.values():
            inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.inner["matrices" if variable.ndim > 1 else "vectors"].update_step(gradient, variable, learning_rate)


class CallingAnother(WithSlots):
    """The rule of another class, which it is not."""

    def update_step(self, gradient, variable, learning_rate):
        Decorated.update_step(self, gradient * 0.5, variable, learning_rate)
        WithALambda.update_step(self, gradient, variable, learning_rate * 0.5)


class WithNumpysNumbers(WithSlots):
    """Hyperparameters and tables as arrays of NumPy's, of which it takes numbers."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.weights = np.array([0.25, 0.5, 0.25])
        self.start = np.int64(1)

    def update_step(self, gradient, variable, learning_rate):
        for weight in self.weights.tolist():
            self.assign_sub(variable, gradient * (learning_rate * weight * int(self.start)))


class Counting(WithSlots):
    """Numbers of a step in begin_step, one of which makes another."""

    def build(self, variables):
        self.calls, self.power = self.add_scalar("calls", 0.0), self.add_scalar("power", 1.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.calls, self.calls + 1.0)
        self.assign(self.power, self.power * self.beta)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * (1.0 - self.power) / (0.1 * self.calls)))


class KeptProperty(WithSlots):
    """A property that is computed once, from hyperparameters."""

    @functools.cached_property
    def rest(self):
        return 1.0 - self.beta

    @property
    def halves(self):
        return self.rest / 0.2

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.halves / (self.rest * 5.0)))


class KeptMethod(WithSlots):
    """A method whose results Python keeps."""

    @functools.lru_cache  # noqa: B019
    def weight(self, power):
        return 1.0 - self.beta**power

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.weight(1) / 0.1))


class Trying(WithSlots):
    """Catches what may be raised, and closes what it opens."""

    def update_step(self, gradient, variable, learning_rate):
        with contextlib.suppress(KeyError):
            raise KeyError
        try:
            scale = self.table["scale"]
        except KeyError:
            scale = 1.0
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: None)
            self.assign_sub(variable, gradient * (learning_rate * scale))


class Generating(WithSlots):
    """Parts of a direction from a generator, added up by functions of Python's."""

    def parts(self, gradient):
        yield gradient * 0.5
        yield from (gradient * each for each in (0.25, 0.25))

    def update_step(self, gradient, variable, learning_rate):
        direction = functools.reduce(operator.add, self.parts(gradient))
        same = sum(self.parts(gradient))
        self.assign_sub(variable, (direction + same) * (learning_rate * 0.5))


class WithALock(WithSlots):
    """Holds what cannot be copied."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self._lock = threading.RLock()

    def __deepcopy__(self, memo):
        return type(self)()

    def __copy__(self):
        return type(self)()

    def update_step(self, gradient, variable, learning_rate):
        with self._lock:
            moved(self, gradient, variable, learning_rate)


class CopyingItsSettings(WithSlots):
    """Works on a copy of a table, and matches patterns."""

    def update_step(self, gradient, variable, learning_rate):
        table = copy.deepcopy(self.table) | {"scale": 1.0}
        match table, variable.ndim:
            case {"scale": scale}, 1 | 2:
                self.assign_sub(variable, gradient * (learning_rate * scale))
            case _:
                raise AssertionError


class WithOperators(WithSlots):
    """All that operators give."""

    def update_step(self, gradient, variable, learning_rate):
        positive = (gradient >= 0) & (gradient > -1.0) | ~(gradient < 0)
        signed = ops.where(positive, abs(gradient), -abs(gradient))
        same = (+1.0 * signed**2 / ops.where(gradient == 0, 1.0, gradient)) if self.beta else None
        self.assign_sub(variable, 0.5 * (same + signed) * learning_rate)


class WithNamedResults(WithSlots):
    """Names given in expressions, and functions inside of functions."""

    def update_step(self, gradient, variable, learning_rate):
        def inner(scale):
            nonlocal gradient
            gradient = gradient * scale
            return gradient

        if (doubled := inner(2.0)) is not None:
            self.assign_sub(variable, doubled * learning_rate * 0.5)


class Called:
    """A rule as an object that is called."""

    def __call__(self, keeper, gradient, variable, learning_rate):
        moved(keeper, gradient, variable, learning_rate)


class WithAnObject(WithSlots):
    rule = Called()

    def update_step(self, gradient, variable, learning_rate):
        self.rule(self, gradient=gradient, variable=variable, learning_rate=learning_rate)


class WithSlotsOfItsOwn(Optimizer):
    """`__slots__`, a name of its own, and arguments of any names."""

    __slots__ = ("extra",)

    def __init__(self, lr=0.5, *, extra=1.0, **keywords):
        super().__init__(learning_rate=lr, **keywords)
        self.extra = extra

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.extra))


STEP = START - 0.5 * GRADIENT
RIGHT = {
    "made by a function": (made_by_a_function(1.0), STEP),
    **{kind.__name__: (kind, STEP) for kind in (
        Decorated, WithAnyArguments, Partial, WithALambda, WithSettings, WithADataclass, Mixed, InADictionary,
        InObjects, ChosenInside, CallingAnother, WithNumpysNumbers, Counting, KeptProperty, KeptMethod, Trying,
        Generating, WithALock, CopyingItsSettings, WithOperators, WithNamedResults, WithAnObject, WithSlotsOfItsOwn,
    )},
}  # fmt: skip
