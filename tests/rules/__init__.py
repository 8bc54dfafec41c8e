"""All that tests know of an algorithm: one file each, of its name, with its `FACTS`. What follows from it is nowhere.

A file holds the algorithm's twin (its rule for one element, in numbers of 50 digits, written from papers and from what
frameworks document, never from gradwise) and facts: hyperparameters, cases, drawn numbers, names in frameworks. Nothing
here imports an array library or gradwise, so that processes of other libraries can read the facts too.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

KERAS = ("keras", "keras2")
STEPS_OF_EACH = ("torch", "authors")
"""Conventions in which each parameter counts the steps in which it had a gradient."""

Given = Mapping[str, Any]
"""Hyperparameters, by gradwise's names."""
Slots = dict[str, Any]
"""What is remembered of an element, by the slot's name."""


@dataclass(frozen=True)
class Now:
    """What a rule knows besides the element. `t` counts from 1; `product` is of the factors of the facts' `Product`,
    with this step's."""

    convention: str
    h: dict[str, Any]
    rate: Any
    t: int
    product: Any


@dataclass(frozen=True)
class Product:
    """A number that is multiplied in each step, from 1: one for all parameters, in torch one for each.

    Attributes:
        name: of the scalar.
        factor: of a step, by hyperparameters and the number of the step from 1.
        conventions: that have it.
    """

    name: str
    factor: Callable[[dict[str, Any], int], Any]
    conventions: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule, by its name in Keras and in gradwise."""

    name: str
    arguments: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Example:
    """An optimizer with options, which tests drive for some steps (see `algorithms.Row`).

    Attributes:
        name: the test's id.
        arguments: besides the facts' rate; a `Schedule` stands for a schedule.
        convention: whose formula; None is the algorithm's first.
        keras: by what Keras 3 means the same: "same" arguments, those that differ (None takes one away), or None where
            it has no such thing.
    """

    name: str
    arguments: Given = field(default_factory=dict)
    convention: str | None = None
    keras: Given | str | None = None


@dataclass(frozen=True)
class Pair:
    """Two optimizers that are compared: of a convention, with arguments, and of which class if not of the facts'.

    Attributes:
        steady: whether the learning rate stays the same.
    """

    one: tuple[Any, ...]
    other: tuple[Any, ...]
    steady: bool = False


Drawn = Mapping[str, str]
"""Of what kind the numbers are that are drawn, by the argument's name in gradwise: "beta", "epsilon", "momentum" (may
be off), "decay" (may be off), "part" (between 0 and 1, may be off), "schedule" or "flag"."""


@dataclass(frozen=True, kw_only=True)
class Torch:
    """A class of torch.optim of the same formula.

    Attributes:
        name: of the class.
        drawn: for both.
        names: what torch calls arguments, by gradwise's names. Betas are one argument.
        slots: what gradwise calls the state, by torch's keys.
        cases: arguments in torch's names, with which the front end is run beside the class.
        capturable, fused: whether it has arguments of these names.
    """

    name: str
    drawn: Drawn
    names: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str]
    cases: tuple[Mapping[str, Any], ...]
    capturable: bool = True
    fused: bool = False


@dataclass(frozen=True, kw_only=True)
class Keras:
    """A class of keras.optimizers of the same formula and name.

    Attributes:
        drawn: for both.
        given: what gradwise's class must be told to be Keras's, and Keras's cannot.
        cases: arguments, besides the defaults, with which the front end is run beside the class.
        averages: moving averages of each parameter.
        choices: operations for each element by which an extreme is right where Keras's on JAX is NaN.
        timed: arguments with which steps are compared by time and by what is compiled.
    """

    drawn: Drawn
    given: Given = field(default_factory=dict)
    cases: tuple[Mapping[str, Any], ...]
    averages: int = 0
    choices: int = 0
    timed: Mapping[str, Any] = field(default_factory=dict)


NAMES_IN_OPTAX = {"beta_1": "b1", "beta_2": "b2", "epsilon": "eps"}


@dataclass(frozen=True, kw_only=True)
class Optax:
    """A function of optax of the same formula.

    Attributes:
        drawn: for both.
        fixed: what gradwise's class is told besides.
        names: what optax calls arguments, by gradwise's names.
        slots: what optax calls the state, by gradwise's names.
        compiled: what chooses a formula or fills a slot, in a step that is compiled once for all other numbers; None
            where another function stands for this one.
        zero: whether a zero gradient makes no step even without an epsilon.
        corrections: of which float32 bias corrections a step is made: the beta, by how much the number of the step is
            larger than the step's, and how much of the correction's relative error is in the step.
        reads_parameters: whether a step needs the parameters, with the defaults.
        variants: arguments in optax's names, besides none, with which the front end is run beside the function.
    """

    drawn: Drawn
    fixed: Given = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=lambda: NAMES_IN_OPTAX)
    slots: Mapping[str, str]
    compiled: Given | None = None
    zero: bool = False
    corrections: Callable[[Given], Iterable[tuple[float, int, float]]] = lambda values: ()
    reads_parameters: bool = False
    variants: tuple[Mapping[str, Any], ...] = ()


def coupled_in_torch(convention: str, h: Given) -> bool:
    return convention == "torch" and not h.get("decoupled_weight_decay")


@dataclass(frozen=True, kw_only=True, eq=False)
class AlgorithmFacts:
    """An algorithm.

    Attributes:
        name: of its class.
        hyperparameters: what each convention knows, with its defaults, in the order of the class's arguments. A weight
            decay of 0 is none.
        formula: for `vectors/README.md`: the heading, and the rule in words; none where another's heading names it.
        rule: the twin's: for one element, it changes the slots and returns what is subtracted from the parameter. It is
            made of arithmetic, `abs`, `max`, and what `exact` has (`mp.sqrt`, `sign`, `one_minus_power`), and asks
            nothing of the element's numbers with `if`: `twin_floats` puts arrays of floats in their place.
        slots: what the rule remembers of an element, by hyperparameters.
        starts: where slots start that do not from 0: the hyperparameter's name, by the slot's.
        product: what it keeps besides, if anything.
        coupled: whether decay enters the gradient, by convention and hyperparameters.

        rate: for rows and vectors: a power of two, so that nobody's rounding of a rate is compared.
        descends: a rate at which it comes down a bowl to within 1e-3 in some hundred steps.
        settles: whether it comes to rest there, at a rate that stays.
        cancels: whether there is a difference that nearly cancels where gradients hardly change.
        caps_under_xla: where it cancels, by the row's name, how many units XLA's steps may then be away, which rounds
            two operations at once where others round each; with the cause and what was measured beside it.
        bounded: whether a step is bounded however large the gradient is.
        signs: whether a step takes the sign of a number, however small it is: subnormal ones, which some libraries take
            for 0, are then cases in float64 only.
        ranges: of hyperparameters, for drawn states, that `mutation.states` has none for: smallest and largest.
        conditioned: what is drawn, changed so that a step is no small difference of large numbers, and how large
            gradients may be.

        plain: rows with options of its own.
        features: rows with what every algorithm has.
        elsewhere: rows in conventions other than Keras's.
        same, different: optimizers that are the same, or not, in two conventions.

        options: of the vectors: cases, for each convention that knows all of their hyperparameters.
        edge: so that the edge cases have every slot, and a decay that a missing gradient must stop too.
        late: after 2**24 steps only these make the number of the step visible; the first that a convention knows.
        late_sum: how large the momentum is after many steps where it is a sum: the size of a step, and a factor, by
            convention, the gradient's size and the rate. None where it is a mean.
        more_cases: of the vectors, by convention: name, arguments, kind of gradients.
        rate_of_16_bits: 16-bit numbers do not see steps as small as the others take. None is 8 times the rate.
        decay_of_16_bits: the weight decay there.

        extremes: options, for gradients at the ends of the range.
        ends: hyperparameters at the ends of their ranges: weights of 0, of 1 and near them.
        weighed: of these those at which most overflows before it is weighed by next to nothing.
        refused: by convention, hyperparameters that the original refuses, each alone.

        torch, keras, optax: the same in the frameworks; optax has functions, by name.
    """

    name: str
    formula: str = ""
    hyperparameters: Mapping[str, Given]
    rule: Callable[[Now, Slots, Any], Any]
    slots: Callable[[Given], tuple[str, ...]]
    starts: Mapping[str, str] = field(default_factory=dict)
    product: Product | None = None
    coupled: Callable[[str, Given], bool] = coupled_in_torch

    rate: float
    descends: float
    settles: bool = True
    cancels: bool = False
    caps_under_xla: Mapping[str, float] = field(default_factory=dict)
    bounded: bool = True
    signs: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    conditioned: Callable[[dict[str, Any]], tuple[dict[str, Any], float]] = lambda values: (values, 1e3)

    plain: tuple[Example, ...]
    features: tuple[Example, ...] = ()
    elsewhere: tuple[Example, ...] = ()
    same: Mapping[str, Pair] = field(default_factory=dict)
    different: Mapping[str, Pair] = field(default_factory=dict)

    options: Mapping[str, Given]
    edge: Given = field(default_factory=dict)
    late: tuple[Given, ...] = ()
    late_sum: Callable[[str, float, float], tuple[float, float]] | None = None
    more_cases: Mapping[str, tuple[tuple[str, Given, str], ...]] = field(default_factory=dict)
    rate_of_16_bits: float | None = None
    decay_of_16_bits: float = 0.1

    extremes: tuple[Given, ...]
    ends: tuple[Given, ...]
    weighed: Given | None = None
    refused: Mapping[str, Given] = field(default_factory=dict)

    torch: Torch | None = None
    keras: Keras | None = None
    optax: Mapping[str, Optax] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The convention that it has if none is named."""
        return next(iter(self.hyperparameters))

    @property
    def decays(self) -> bool:
        """Whether parameters decay if nothing else is said."""
        return any(known.get("weight_decay") for known in self.hyperparameters.values())

    @property
    def loses_epsilon(self) -> bool:
        """Whether the epsilon of optax is 0 in float16 if nothing else is said."""
        return 0 < self.hyperparameters.get("optax", {}).get("epsilon", 0.0) < 2.0**-25

    @property
    def names(self) -> set[str]:
        """All that it is called in gradwise and in frameworks."""
        return {self.name, *self.optax, *((self.torch.name,) if self.torch else ())}


def without(names: str, given: Given, **changed: Any) -> dict[str, Any]:
    """Hyperparameters, some with other defaults, without some."""
    return {key: value for key, value in {**given, **changed}.items() if key not in names.split()}


@functools.cache
def modules() -> tuple[ModuleType, ...]:
    """The files, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}") for name in names)


@functools.cache
def all_facts() -> dict[str, AlgorithmFacts]:
    """Every algorithm's, by the name of its class."""
    return {module.FACTS.name: module.FACTS for module in modules()}


DECAY = {"weight_decay": 0.1}
SHORT = {"beta_1": 0.5, "beta_2": 0.75}
VERY_SHORT = {"beta_1": 0.25, "beta_2": 0.375}
SLOW = 1 - 2.0**-25
ALMOST_ONE = 1 - 2.0**-24
MOMENTS = {"beta_1": "beta", "beta_2": "beta", "epsilon": "epsilon"}
"""What is drawn of rules with two means."""

DECAYED = Schedule("InverseTimeDecay", {"initial_learning_rate": 2.0**-7, "decay_steps": 1, "decay_rate": 0.125})
DECAYED_FAST = Schedule("InverseTimeDecay", {"initial_learning_rate": 2.0**-4, "decay_steps": 1, "decay_rate": 0.125})
EXPONENTIAL = Schedule("ExponentialDecay", {"initial_learning_rate": 2.0**-4, "decay_steps": 10, "decay_rate": 0.5})
EVERYTHING = {
    "learning_rate": EXPONENTIAL, "weight_decay": 0.1, "global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.75,
    "gradient_accumulation_steps": 3, "loss_scale_factor": 2.0**10,
}  # fmt: skip
"""Most of what every algorithm has, together."""
