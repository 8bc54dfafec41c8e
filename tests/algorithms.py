"""Every algorithm with its options, in each convention, and what Keras 3 calls the same: rows that drive tests.

Nothing here imports an array library other than NumPy, nor gradwise before a row makes its optimizer, so that the
process of Keras can read the table too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule, by its name in Keras and in gradwise."""

    name: str
    arguments: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Row:
    """An optimizer.

    Attributes:
        name: the test's id.
        algorithm: the class's name in gradwise.
        arguments: of gradwise's class; a `Schedule` stands for a schedule.
        convention: whose formula.
        keras: the class of Keras 3 and its arguments that mean the same, or None where Keras 3 has no such thing.
    """

    name: str
    algorithm: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    convention: str = "keras"
    keras: tuple[str, Mapping[str, Any]] | None = None

    def make(self, **more: Any) -> Any:
        """A new optimizer of gradwise."""
        from gradwise import optimizers, schedules

        given = {
            key: getattr(schedules, value.name)(**value.arguments) if isinstance(value, Schedule) else value
            for key, value in self.arguments.items()
        }
        return getattr(optimizers, self.algorithm)(**{**given, "convention": self.convention, **more})


# Powers of two: exact in every floating-point type, so that nobody's rounding of a rate is compared.
RATES = {
    "SGD": 2.0**-4,
    "RMSprop": 2.0**-7,
    "Adagrad": 2.0**-4,
    "Adadelta": 1.0,
    "Adam": 2.0**-7,
    "AdamW": 2.0**-7,
    "Adamax": 2.0**-6,
    "Nadam": 2.0**-7,
}

# What Keras is always told, whatever its defaults are. Values that a row leaves out are gradwise's documented defaults.
SPELLED_OUT: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.0, "nesterov": False},
    "RMSprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    "Adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
    "Adadelta": {"rho": 0.95, "epsilon": 1e-7},
    "Adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    "AdamW": {"weight_decay": 0.004, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    "Adamax": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "Nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}


def row(
    name: str,
    algorithm: str,
    arguments: Mapping[str, Any] | None = None,
    convention: str = "keras",
    keras: Mapping[str, Any] | str | None = "same",
) -> Row:
    """A row with the table's rate. `keras`: "same" arguments, None for no equivalent, or those that differ."""
    given = {"learning_rate": RATES[algorithm], **(arguments or {})}
    if keras is None:
        return Row(name, algorithm, given, convention)
    theirs = {**SPELLED_OUT[algorithm], **given}
    if not isinstance(keras, str):
        theirs.update(keras)
    # None here takes an argument away; Keras does not know it.
    theirs = {key: value for key, value in theirs.items() if value is not None}
    return Row(name, algorithm, given, convention, (algorithm, theirs))


DECAYED = Schedule("InverseTimeDecay", {"initial_learning_rate": 2.0**-7, "decay_steps": 1, "decay_rate": 0.125})
DECAYED_FAST = Schedule("InverseTimeDecay", {"initial_learning_rate": 2.0**-4, "decay_steps": 1, "decay_rate": 0.125})
EXPONENTIAL = Schedule("ExponentialDecay", {"initial_learning_rate": 2.0**-4, "decay_steps": 10, "decay_rate": 0.5})

PLAIN = (
    row("sgd", "SGD"),
    row("sgd-momentum", "SGD", {"momentum": 0.9}),
    row("sgd-nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
    row("rmsprop", "RMSprop"),
    row("rmsprop-momentum", "RMSprop", {"momentum": 0.5}),
    row("rmsprop-centered", "RMSprop", {"centered": True}),
    row("rmsprop-centered-momentum", "RMSprop", {"rho": 0.95, "centered": True, "momentum": 0.5}),
    row("adagrad", "Adagrad"),
    row("adagrad-from-zero", "Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-5}),
    row("adadelta", "Adadelta"),
    row("adadelta-short", "Adadelta", {"rho": 0.8, "epsilon": 1e-6}),
    row("adam", "Adam"),
    row("adam-amsgrad", "Adam", {"amsgrad": True}),
    row("adam-short", "Adam", {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3}),
    row("adamw", "AdamW", {"weight_decay": 0.01}),
    row("adamw-amsgrad", "AdamW", {"weight_decay": 0.25, "amsgrad": True}),
    row("adamax", "Adamax"),
    row("nadam", "Nadam", {"schedule_decay": 0.004}, keras=None),
    row("nadam-of-keras", "Nadam", {"schedule_decay": 1.0}, keras={"schedule_decay": None}),
)

FEATURES = (
    row("sgd-weight-decay", "SGD", {"weight_decay": 0.1}),
    row("adadelta-weight-decay", "Adadelta", {"weight_decay": 0.01}),
    row("adam-clipnorm", "Adam", {"clipnorm": 0.01}),
    row("sgd-clipnorm", "SGD", {"momentum": 0.9, "clipnorm": 0.01}),
    row("sgd-clipvalue", "SGD", {"momentum": 0.9, "clipvalue": 0.01}),
    row("adagrad-clipvalue", "Adagrad", {"clipvalue": 0.125, "weight_decay": 0.1}),
    row("rmsprop-global-clipnorm", "RMSprop", {"global_clipnorm": 0.01}),
    row("adam-ema", "Adam", {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 7}),
    row("sgd-ema", "SGD", {"momentum": 0.9, "use_ema": True, "ema_overwrite_frequency": 1}),
    row("sgd-accumulation", "SGD", {"momentum": 0.9, "gradient_accumulation_steps": 2}),
    row("adam-accumulation", "Adam", {"gradient_accumulation_steps": 4, "weight_decay": 0.1, "clipvalue": 0.01}),
    row("nadam-accumulation", "Nadam", {"schedule_decay": 1.0, "gradient_accumulation_steps": 3},
        keras={"schedule_decay": None}),
    row("adagrad-loss-scale", "Adagrad", {"loss_scale_factor": 1024.0}),
    row("sgd-loss-scale-clipvalue", "SGD", {"loss_scale_factor": 3.0, "clipvalue": 0.01}),
    row("adam-decay", "Adam", {"decay": 0.125}, keras={"decay": None, "learning_rate": DECAYED}),
    row("sgd-decay-weight-decay", "SGD", {"decay": 0.125, "weight_decay": 0.1},
        keras={"decay": None, "learning_rate": DECAYED_FAST}),
    row("sgd-schedule", "SGD", {"momentum": 0.9, "learning_rate": EXPONENTIAL}),
    # Keras overwrites with the average on each of the calls of a window, gradwise once (test_twin.py).
    row("adamax-everything", "Adamax",
        {"learning_rate": EXPONENTIAL, "weight_decay": 0.1, "global_clipnorm": 0.5, "use_ema": True,
         "ema_momentum": 0.75, "ema_overwrite_frequency": 5, "gradient_accumulation_steps": 3,
         "loss_scale_factor": 2.0**10}, keras=None),
)  # fmt: skip

# Keras 3 has the formulas of Keras 2.2, but for epsilon outside of a root and for `schedule_decay`; its
# `global_clipnorm` is Keras 2.2's `clipnorm`.
KERAS_2 = (
    row("keras2-sgd", "SGD", {}, "keras2"),
    row("keras2-sgd-momentum-decay", "SGD", {"momentum": 0.9, "decay": 0.125}, "keras2",
        {"decay": None, "learning_rate": DECAYED_FAST}),
    row("keras2-sgd-nesterov", "SGD", {"momentum": 0.9, "nesterov": True}, "keras2"),
    row("keras2-sgd-clipnorm", "SGD", {"clipnorm": 0.01}, "keras2", {"clipnorm": None, "global_clipnorm": 0.01}),
    row("keras2-sgd-clipnorm-clipvalue", "SGD", {"momentum": 0.9, "clipnorm": 0.5, "clipvalue": 0.125}, "keras2", None),
    row("keras2-rmsprop", "RMSprop", {}, "keras2", None),
    row("keras2-rmsprop-no-epsilon", "RMSprop", {"epsilon": 0.0, "decay": 0.125}, "keras2",
        {"decay": None, "learning_rate": DECAYED}),
    row("keras2-adagrad", "Adagrad", {"decay": 0.125}, "keras2", None),
    row("keras2-adagrad-no-epsilon", "Adagrad", {"epsilon": 0.0}, "keras2", {"initial_accumulator_value": 0.0}),
    row("keras2-adadelta", "Adadelta", {"decay": 0.125}, "keras2", None),
    row("keras2-adadelta-steady", "Adadelta", {}, "keras2"),
    row("keras2-adam", "Adam", {}, "keras2"),
    row("keras2-adam-amsgrad-decay", "Adam", {"amsgrad": True, "decay": 0.125}, "keras2",
        {"decay": None, "learning_rate": DECAYED}),
    row("keras2-adam-clipnorm-clipvalue", "Adam", {"clipnorm": 0.5, "clipvalue": 0.125}, "keras2", None),
    row("keras2-adamax", "Adamax", {}, "keras2"),
    row("keras2-adamax-decay", "Adamax", {"decay": 0.125}, "keras2", None),
    row("keras2-nadam", "Nadam", {"schedule_decay": 0.004}, "keras2", None),
    row("keras2-nadam-of-keras", "Nadam", {"schedule_decay": 1.0}, "keras2", {"schedule_decay": None}),
)  # fmt: skip

TORCH = (
    row("torch-sgd", "SGD", {"weight_decay": 0.1}, "torch", None),
    row("torch-sgd-dampening", "SGD", {"momentum": 0.9, "dampening": 0.25, "maximize": True}, "torch", None),
    row("torch-sgd-nesterov", "SGD", {"momentum": 0.9, "nesterov": True, "learning_rate": EXPONENTIAL}, "torch", None),
    row("torch-rmsprop", "RMSprop", {"weight_decay": 0.1}, "torch", None),
    row("torch-rmsprop-centered-momentum", "RMSprop",
        {"rho": 0.99, "centered": True, "momentum": 0.5, "learning_rate": DECAYED}, "torch", None),
    row("torch-adagrad", "Adagrad", {}, "torch", None),
    row("torch-adagrad-decay", "Adagrad", {"lr_decay": 0.125, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
        "torch", None),
    row("torch-adadelta", "Adadelta", {"rho": 0.9, "weight_decay": 0.01}, "torch", None),
    row("torch-adam", "Adam", {"maximize": True}, "torch", None),
    row("torch-adam-amsgrad", "Adam", {"amsgrad": True, "weight_decay": 0.1, "epsilon": 1e-3}, "torch", None),
    row("torch-adam-decoupled", "Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, "torch", None),
    row("torch-adam-everything", "Adam",
        {"learning_rate": EXPONENTIAL, "weight_decay": 0.1, "global_clipnorm": 0.5, "use_ema": True,
         "ema_momentum": 0.75, "gradient_accumulation_steps": 3, "loss_scale_factor": 2.0**10}, "torch", None),
    row("torch-adamw", "AdamW", {}, "torch", None),
    row("torch-adamax", "Adamax", {"weight_decay": 0.1, "epsilon": 1e-3}, "torch", None),
    row("torch-nadam", "Nadam", {"weight_decay": 0.1}, "torch", None),
    row("torch-nadam-decoupled", "Nadam",
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "schedule_decay": 0.5}, "torch", None),
)  # fmt: skip

OPTAX = (
    row("optax-sgd", "SGD", {}, "optax", None),
    row("optax-sgd-nesterov", "SGD", {"momentum": 0.9, "nesterov": True, "learning_rate": EXPONENTIAL}, "optax", None),
    row("optax-rmsprop", "RMSprop", {}, "optax", None),
    row("optax-rmsprop-nesterov", "RMSprop",
        {"momentum": 0.5, "nesterov": True, "eps_in_sqrt": False, "initial_scale": 0.5}, "optax", None),
    row("optax-rmsprop-corrected", "RMSprop", {"momentum": 0.5, "bias_correction": True}, "optax", None),
    # After the first step the corrected variance is 0: what stands for it is rounding errors, so epsilon is large.
    row("optax-rmsprop-centered-corrected", "RMSprop",
        {"centered": True, "bias_correction": True, "epsilon": 0.125}, "optax", None),
    row("optax-adagrad", "Adagrad", {}, "optax", None),
    row("optax-adagrad-no-epsilon", "Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 0.0}, "optax", None),
    row("optax-adadelta", "Adadelta", {"weight_decay": 0.01}, "optax", None),
    row("optax-adam", "Adam", {"eps_root": 1e-5}, "optax", None),
    row("optax-adam-nesterov", "Adam", {"nesterov": True, "clipnorm": 0.01}, "optax", None),
    row("optax-amsgrad", "Adam", {"amsgrad": True}, "optax", None),
    row("optax-amsgrad-of-the-paper", "Adam",
        {"amsgrad": True, "bias_correction_mu": False, "bias_correction_nu": False}, "optax", None),
    row("optax-adamw", "AdamW", {}, "optax", None),
    row("optax-adamax", "Adamax", {"weight_decay": 0.1}, "optax", None),
    row("optax-nadam", "Nadam", {"weight_decay": 0.1, "eps_root": 1e-5}, "optax", None),
)  # fmt: skip

ROWS = (*PLAIN, *FEATURES, *KERAS_2, *TORCH, *OPTAX)

# No argument at all: what the documentation says is compared with what happens.
DEFAULTS = (
    *(Row(f"{name.lower()}-defaults", name) for name in RATES),
    *(Row(f"keras2-{name.lower()}-defaults", name, {}, "keras2") for name in RATES if name != "AdamW"),
    *(Row(f"{convention}-{name.lower()}-defaults", name, {}, convention)
      for convention in ("torch", "optax") for name in RATES),
)

# Here `keras` is not the same but what Keras makes of it (twin.py, `like_keras`).
WHERE_KERAS_DIFFERS = (
    row("differs-nadam", "Nadam"),
    row("differs-averages", "Adamax",
        {"learning_rate": EXPONENTIAL, "weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.75,
         "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 3}),
)  # fmt: skip

SHAPES = {"kernel": (4, 6), "bias": (), "empty": (0, 3), "vector": (5,)}
STEPS = 100


def problem(dtype: Any = np.float64, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Starting values and, for each step, gradients; the sizes of these lie between 1e-6 and 1, in each tensor.

    Each element's gradient wanders about a mean of its own. All values fit float32, so that every dtype gets the same.
    """
    generator = np.random.default_rng(20)
    start = {name: np.asarray(generator.normal(size=shape)) for name, shape in SHAPES.items()}
    size = {name: np.asarray(10.0 ** generator.uniform(-6, 0, size=shape)) for name, shape in SHAPES.items()}
    for value in size.values():
        if value.size:
            value[(0,) * value.ndim] = 1.0
    mean = {name: generator.uniform(-0.5, 0.5, size=shape) for name, shape in SHAPES.items()}
    gradients = [
        {name: size[name] * (mean[name] + generator.normal(size=shape)) for name, shape in SHAPES.items()}
        for _ in range(steps)
    ]

    def fitted(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.asarray(np.asarray(value, np.float32), dtype) for name, value in values.items()}

    return fitted(start), [fitted(gradient) for gradient in gradients]


def steady_problem(dtype: Any = np.float64, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """As `problem`, but the gradients hardly change: their variance is a 1e-8th of their square."""
    start, gradients = problem(np.float64, steps)
    generator = np.random.default_rng(22)

    def near_the_first() -> dict[str, Any]:
        values = {name: value * (1 + 1e-4 * generator.normal(size=value.shape)) for name, value in gradients[0].items()}
        return {name: np.asarray(np.asarray(value, np.float32), dtype) for name, value in values.items()}

    return {name: value.astype(dtype) for name, value in start.items()}, [near_the_first() for _ in range(steps)]
