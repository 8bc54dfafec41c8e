"""Random states of an optimizer, in numbers of many digits: every step of random runs with random hyperparameters.

States that a run leads to are those the formulas are for: a mean of squares is never below the square of the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from rules import all_facts

from gradwise import optimizers
from gradwise.backends import Scope, Variable
from gradwise.vectors import load

from .digits import as_numbers, mp, number

STATES = 1000
"""On how many a mutant must agree with the original to be equivalent."""

LENGTH = 8
"""Of a run, in steps."""

UNIT = number(10) ** -40
"""How near, relatively, numbers are that are the same."""

MANY_MORE = 100
"""Digits, for what a step gives that is free of rounding errors."""

RANGES = {
    "beta_1": (0.05, 0.95), "beta_2": (0.05, 0.95), "rho": (0.05, 0.95), "momentum": (0.05, 0.95),
    "dampening": (0.05, 0.95), "weight_decay": (0.01, 0.5), "schedule_decay": (0.01, 1.0), "lr_decay": (0.01, 1.0),
    "initial_accumulator_value": (0.01, 1.0), "initial_scale": (0.01, 1.0), "epsilon": (0.001, 0.1),
    "eps_root": (0.001, 0.1),
}  # fmt: skip
MAY_BE_OFF = {"momentum", "dampening", "weight_decay", "lr_decay", "initial_accumulator_value", "initial_scale",
              "epsilon", "eps_root"}  # fmt: skip


@dataclass(frozen=True)
class State:
    """What goes into a step and what comes out of it.

    Attributes:
        optimizer: built, with hyperparameters.
        before: of each cell, parameters first.
        after: of each cell.
    """

    optimizer: Any
    before: list[Any]
    gradients: list[Any]
    after: list[Any]

    def still(self) -> list[Any]:
        """What comes out of the same step now."""
        return step(self.optimizer, self.before, self.gradients)


def cells_of(optimizer: Any) -> list[Variable]:
    """The parameters and all state: step counts, learning rate, slots and scalars."""
    return [*optimizer.cells.parameters, *optimizer.variables]


def step(optimizer: Any, before: list[Any], gradients: list[Any]) -> list[Any]:
    """What the cells hold after one step on given values; the optimizer does not change."""
    cells = cells_of(optimizer)
    with as_numbers(), Scope(zip(cells, before, strict=True)):
        optimizer._run(gradients)
        return [cell.value for cell in cells]


def same(a: list[Any], b: list[Any]) -> bool:
    """Whether all values agree in 40 digits."""
    return all(x == y or abs(x - y) <= UNIT * max(abs(x), abs(y)) for x, y in zip(a, b, strict=True))


def states_of(algorithm: str, convention: str, count: int) -> list[State]:
    """So many states, always the same ones."""
    random = Random(f"{algorithm} {convention}")
    states: list[State] = []
    while len(states) < count:
        states += run_of(algorithm, convention, random)
    return states[:count]


def run_of(algorithm: str, convention: str, random: Random) -> Iterator[State]:
    """The steps of a run that can be judged by their digits: where 60 are not enough for 40, more change them."""
    optimizer = drawn_optimizer(algorithm, convention, random)
    optimizer.build([Variable(number(random.uniform(-1, 1)), name) for name in ("a", "b")])
    before = [cell.value for cell in cells_of(optimizer)]
    for _ in range(LENGTH):
        before[cells_of(optimizer).index(optimizer.cells.rate)] = between(0.001, 1.0, random)
        gradients = [gradient(random), gradient(random) if random.random() < 0.6 else None]
        try:
            after = step(optimizer, before, gradients)
        except ZeroDivisionError:  # without epsilon, a variance of 0
            return
        with mp.workdps(MANY_MORE):
            precise = step(optimizer, before, gradients)
        if same(after, precise):
            yield State(optimizer, list(before), gradients, after)
        before = list(after)


def drawn_optimizer(algorithm: str, convention: str, random: Random) -> Any:
    """An optimizer with hyperparameters drawn until they are ones that go together."""
    names = load(algorithm, convention)[0].hyperparameters
    while True:
        drawn = {name: drawn_value(algorithm, name, value, random) for name, value in names.items()}
        try:
            return getattr(optimizers, algorithm)(**drawn, convention=convention)
        except ValueError:
            continue


def drawn_value(algorithm: str, name: str, like: Any, random: Random) -> Any:
    """A flag, a number, or 0 where that turns something off."""
    if isinstance(like, bool):
        return random.random() < 0.5
    if name == "learning_rate" or (name in MAY_BE_OFF and random.random() < 0.4):
        return 0.0
    return between(*(RANGES | all_facts()[algorithm].ranges)[name], random)


def between(low: float, high: float, random: Random) -> Any:
    """A number whose magnitude is drawn."""
    return number(low) * (number(high) / number(low)) ** number(random.random())


def gradient(random: Random) -> Any:
    """Of either sign, between a thousandth and ten."""
    return between(0.001, 10.0, random) * (1 if random.random() < 0.5 else -1)
