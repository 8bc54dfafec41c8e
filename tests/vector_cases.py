"""What the reference vectors hold: for each algorithm and convention, the cases with their hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from algorithms import RATES
from twin_rules import CONVENTIONS, HYPERPARAMETERS

WIDE = ("float32", "float64")
LATE = 2**24 + 3  # float32 cannot count that far


@dataclass(frozen=True)
class Case:
    """A run of an optimizer.

    Attributes:
        arguments: all hyperparameters of the convention.
        gradients: what kind they are; see `vector_inputs`.
        rates: by the number of a step, from 1, the learning rate from there on.
        missing: by the number of a step, the parameters that have no gradient there.
        late: whether it starts after so many iterations, with slots of its own.
    """

    algorithm: str
    convention: str
    name: str
    arguments: Mapping[str, Any]
    steps: int = 10
    dtypes: tuple[str, ...] = WIDE
    gradients: str = "ordinary"
    rates: Mapping[int, float] = field(default_factory=dict)
    missing: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    late: bool = False

    @property
    def narrow(self) -> str | None:
        """The 16-bit type of its parameters."""
        return None if self.dtypes[-1] == "float64" else self.dtypes[0]


DECAY = {"weight_decay": 0.1}
SHORT = {"beta_1": 0.5, "beta_2": 0.75}
VERY_SHORT = {"beta_1": 0.25, "beta_2": 0.375}
WITH_MAXIMUM = {"amsgrad": True}
CORRECTED = {"centered": True, "bias_correction": True, "epsilon": 0.125}

# Each for the conventions that know all of its hyperparameters. The large values of epsilon show where it stands.
ADAM: dict[str, dict[str, Any]] = {
    "short-memory": SHORT,
    "very-short-memory": VERY_SHORT,
    "large-epsilon": {"epsilon": 1e-3},
    "amsgrad": WITH_MAXIMUM,
    "amsgrad-short-memory": {**WITH_MAXIMUM, **SHORT, "epsilon": 1e-3},
    "weight-decay": DECAY,
    "weight-decay-maximize": {**DECAY, "maximize": True},
    "weight-decay-decoupled": {**DECAY, "decoupled_weight_decay": True},
    "weight-decay-decoupled-maximize": {**DECAY, "decoupled_weight_decay": True, "maximize": True, **WITH_MAXIMUM},
    "eps-root": {"eps_root": 1e-3, "epsilon": 1e-2},
    "nesterov": {"nesterov": True},
    "nesterov-short-memory": {"nesterov": True, **SHORT, **DECAY, "epsilon": 1e-3, "eps_root": 1e-4},
    "amsgrad-eps-root": {**WITH_MAXIMUM, "eps_root": 1e-3},
    "amsgrad-uncorrected-momentum": {**WITH_MAXIMUM, "bias_correction_mu": False},
    "amsgrad-uncorrected-velocity": {**WITH_MAXIMUM, "bias_correction_nu": False, **SHORT},
    "amsgrad-uncorrected": {**WITH_MAXIMUM, "bias_correction_mu": False, "bias_correction_nu": False},
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "momentum": {"momentum": 0.9},
        "nesterov": {"momentum": 0.9, "nesterov": True},
        "dampening": {"momentum": 0.9, "dampening": 0.25},
        "weight-decay": DECAY,
        "weight-decay-nesterov": {"momentum": 0.75, "nesterov": True, **DECAY},
        "maximize": {"maximize": True},
        "maximize-weight-decay-dampening": {"momentum": 0.9, "dampening": 0.5, "maximize": True, **DECAY},
    },
    "RMSprop": {
        "short-memory": {"rho": 0.5},
        "very-short-memory": {"rho": 0.25},
        "large-epsilon": {"epsilon": 1e-3},
        "momentum": {"momentum": 0.5},
        "centered": {"centered": True},
        "centered-momentum": {"centered": True, "momentum": 0.75, "rho": 0.75, "epsilon": 1e-3},
        "weight-decay": DECAY,
        "weight-decay-momentum-maximize": {**DECAY, "momentum": 0.5, "maximize": True},
        "initial-scale": {"initial_scale": 0.25},
        "epsilon-outside": {"eps_in_sqrt": False, "epsilon": 1e-3},
        "epsilon-outside-centered-momentum": {"eps_in_sqrt": False, "epsilon": 1e-2, "centered": True, "momentum": 0.5},
        "nesterov": {"momentum": 0.5, "nesterov": True},
        "bias-correction": {"bias_correction": True, "momentum": 0.5},
        "bias-correction-epsilon-outside": {"bias_correction": True, "eps_in_sqrt": False, "epsilon": 1e-3},
        # In the first step the corrected variance is 0: with a small epsilon only rounding errors would be divided by.
        "bias-correction-centered-nesterov": {**CORRECTED, "momentum": 0.5, "nesterov": True},
    },
    "Adagrad": {
        "large-epsilon": {"epsilon": 1e-3},
        "initial-accumulator": {"initial_accumulator_value": 0.5, "epsilon": 1e-2},
        "initial-accumulator-zero": {"initial_accumulator_value": 0.0, "epsilon": 1e-3},
        "weight-decay": {"weight_decay": 0.15},  # another number than the initial accumulator
        "weight-decay-maximize": {**DECAY, "maximize": True},
        "rate-decay": {"lr_decay": 0.125},
        "rate-decay-large-epsilon": {"lr_decay": 1.5, "epsilon": 1e-3, "initial_accumulator_value": 0.25},
    },
    "Adadelta": {
        "short-memory": {"rho": 0.5},
        "very-short-memory": {"rho": 0.25},
        "large-epsilon": {"epsilon": 1e-3},
        "large-epsilon-short-memory": {"epsilon": 0.125, "rho": 0.75},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
    },
    "Adam": ADAM,
    "AdamW": {**ADAM, "no-weight-decay": {"weight_decay": 0.0}},
    "Adamax": {
        "short-memory": SHORT,
        "very-short-memory": VERY_SHORT,
        "large-epsilon": {"epsilon": 1e-3},
        "large-epsilon-short-memory": {**SHORT, "epsilon": 0.0625},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
    },
    "Nadam": {
        "short-memory": SHORT,
        "very-short-memory": VERY_SHORT,
        "large-epsilon": {"epsilon": 1e-3},
        "fast-schedule": {"schedule_decay": 1.0},
        "fast-schedule-short-memory": {"schedule_decay": 0.25, **SHORT, "epsilon": 1e-2},
        "eps-root": {"eps_root": 1e-3, "epsilon": 1e-2},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
        "weight-decay-decoupled": {**DECAY, "decoupled_weight_decay": True},
    },
}

# So that the edge cases have every slot, and a decay that a missing gradient must stop too.
AT_EDGES: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "dampening": 0.25, **DECAY},
    "RMSprop": {"momentum": 0.5, "centered": True, **DECAY},
    "Adagrad": {"lr_decay": 0.125, **DECAY},
    "Adadelta": DECAY,
    "Adam": {"amsgrad": True, **DECAY},
    "AdamW": {"amsgrad": True},
    "Adamax": DECAY,
    "Nadam": DECAY,
}

# After so many steps only these make the number of the step visible, and only in float64.
SLOW = 1 - 2.0**-25
AT_LATE_STEPS: dict[str, dict[str, Any]] = {
    "RMSprop": {"rho": SLOW, "bias_correction": True},
    "Adagrad": {"lr_decay": 2.0**-22},
    "Adam": {"beta_1": 1 - 2.0**-22, "beta_2": SLOW},
    "AdamW": {"beta_1": 1 - 2.0**-22, "beta_2": SLOW},
    "Adamax": {"beta_1": SLOW, "beta_2": 0.75},
    "Nadam": {"beta_1": 0.9, "beta_2": SLOW, "schedule_decay": 2.0**-21},
}

NO_VARIANCE = {**CORRECTED, "rho": 0.95, "eps_in_sqrt": False}
NO_EPSILON = {"initial_accumulator_value": 0.0, "epsilon": 0.0}
MISSING = {
    1: ("scalar",),
    2: ("scalar", "empty"),
    4: ("vector",),
    6: ("scalar",),
    7: ("scalar", "empty"),
    9: ("vector",),
}


def files() -> list[tuple[str, str]]:
    """Every algorithm with every convention that it has."""
    return [(name, each) for name in HYPERPARAMETERS for each in CONVENTIONS if each in HYPERPARAMETERS[name]]


def file_name(algorithm: str, convention: str) -> str:
    return f"{algorithm.lower()}.{convention}.json"


def cases(algorithm: str, convention: str) -> Iterator[Case]:
    known = {**HYPERPARAMETERS[algorithm][convention], "learning_rate": RATES[algorithm]}

    def case(name: str, arguments: Mapping[str, Any], *given: Any, **more: Any) -> Case:
        return Case(algorithm, convention, name, {**known, **arguments}, *given, **more)

    yield case("plain", {}, 100)
    for name, arguments in OPTIONS[algorithm].items():
        if set(arguments) <= set(known):
            yield case(name, arguments)

    edge = {key: value for key, value in AT_EDGES[algorithm].items() if key in known}
    # Where decay enters the gradient, it would hide a small one.
    undecayed = {key: value for key, value in edge.items() if key != "weight_decay"}
    yield case("zero-gradients", undecayed, gradients="zero")
    if (algorithm, convention) == ("Adagrad", "optax"):
        yield case("zero-gradients-no-epsilon", NO_EPSILON, gradients="zero")
    if (algorithm, convention) == ("RMSprop", "optax"):
        # Rounding errors of the first step's variance, which is 0, are below epsilon, but no root may be taken of them.
        yield case("bias-correction-centered-epsilon-outside", NO_VARIANCE, gradients="tiny")
        yield case("bias-correction-centered-epsilon-outside-longer", {**NO_VARIANCE, "rho": 0.96}, gradients="tiny")
    yield case("tiny-gradients", undecayed, gradients="tiny")
    yield case("huge-gradients", edge, gradients="huge")
    yield case("subnormal-gradients", undecayed, gradients="subnormal")
    rate = known["learning_rate"]
    yield case("changing-rate", edge, 12, rates={3: 2 * rate, 5: rate / 4, 6: 3 * rate, 9: rate / 8, 11: 1.25 * rate})
    yield case("missing-gradient", edge, 12, missing=MISSING)
    yield case("late", edge, 6, late=True)
    late = AT_LATE_STEPS.get(algorithm, {})
    if late and set(late) <= set(known) and not (algorithm == "RMSprop" and convention != "optax"):
        yield case("late-slow-memory", late, 6, dtypes=("float64",), late=True)
    elif algorithm == "Nadam" and convention == "optax":
        yield case("late-slow-memory", AT_LATE_STEPS["Adam"], 6, dtypes=("float64",), late=True)

    # 16-bit numbers do not see steps as small as the others take.
    faster = {"learning_rate": 64.0 if algorithm == "Adadelta" else min(8 * rate, 0.125)}
    for dtype in ("bfloat16", "float16"):
        yield case(f"plain-{dtype}", faster, 20, dtypes=(dtype,))
        if "weight_decay" in known:
            # Of Adadelta less: its rate times 0.1 would be more than 1.
            decay = {"weight_decay": 2.0**-9} if algorithm == "Adadelta" else DECAY
            yield case(f"weight-decay-{dtype}", {**faster, **decay}, 20, dtypes=(dtype,))
