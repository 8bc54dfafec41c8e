"""Adagrad: gradients divided by the root of the sum of their squares."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, number

from . import DECAY, AlgorithmFacts, Example, Keras, Now, Optax, Pair, Slots, Torch

NO_EPSILON = {"initial_accumulator_value": 0.0, "epsilon": 0.0}


def adagrad(now: Now, s: Slots, g: Any) -> Any:
    h, epsilon = now.h, now.h["epsilon"]
    s["accumulator"] = s["accumulator"] + g**2
    if now.convention == "optax" and not s["accumulator"]:
        return number(0)
    if now.convention in ("keras", "optax"):
        return now.rate * g / mp.sqrt(s["accumulator"] + epsilon)
    rate = now.rate / (1 + (now.t - 1) * h["lr_decay"]) if now.convention == "torch" else now.rate
    return rate * g / (mp.sqrt(s["accumulator"]) + epsilon)


FORMULA = """Adagrad — `accumulator` s, which starts at `initial_accumulator_value` (`keras2`: 0)

s ← s + g².

- `keras`: p ← p - lr·g / sqrt(s + epsilon).
- `keras2`: p ← p - lr·g / (sqrt(s) + epsilon).
- `torch`: p ← p - lr / (1 + (t - 1)·lr_decay) · g / (sqrt(s) + epsilon).
- `optax`: as `keras`, but p stays where s is 0.
"""

FACTS = AlgorithmFacts(
    name="Adagrad",
    formula=FORMULA,
    hyperparameters={
        "keras": {"learning_rate": 0.01, "initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.01, "epsilon": 1e-7},
        "torch": {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-10, "lr_decay": 0.0,
                  "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 0.01, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    },
    rule=adagrad,
    slots=lambda h: ("accumulator",),
    starts={"accumulator": "initial_accumulator_value"},
    rate=2.0**-4,
    descends=0.5,
    plain=(
        Example("adagrad", keras="same"),
        Example("adagrad-from-zero", {"initial_accumulator_value": 0.0, "epsilon": 1e-5}, keras="same"),
    ),
    features=(
        Example("adagrad-clipvalue", {"clipvalue": 0.125, "weight_decay": 0.1}, keras="same"),
        Example("adagrad-loss-scale", {"loss_scale_factor": 1024.0}, keras="same"),
    ),
    elsewhere=(
        Example("keras2-adagrad", {"decay": 0.125}, "keras2"),
        Example("keras2-adagrad-no-epsilon", {"epsilon": 0.0}, "keras2", {"initial_accumulator_value": 0.0}),
        Example("torch-adagrad", {}, "torch"),
        Example("torch-adagrad-decay", {"lr_decay": 0.125, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
                "torch"),
        Example("optax-adagrad", {}, "optax"),
        Example("optax-adagrad-no-epsilon", NO_EPSILON, "optax"),
    ),
    same={
        "keras and optax": Pair(("keras", {}), ("optax", {})),
        "keras2 and torch": Pair(("keras2", {"epsilon": 1e-3}), ("torch", {"epsilon": 1e-3})),
        "decay of keras2 and lr_decay of torch": Pair(
            ("keras2", {"decay": 0.125}), ("torch", {"epsilon": 1e-7, "lr_decay": 0.125})
        ),
        "keras and torch without epsilon": Pair(
            ("keras", {"epsilon": 0.0}), ("torch", {"epsilon": 0.0, "initial_accumulator_value": 0.1})
        ),
    },
    different={
        "keras and torch": Pair(
            ("keras", {"epsilon": 1e-3}), ("torch", {"epsilon": 1e-3, "initial_accumulator_value": 0.1}), steady=True
        ),
    },
    options={
        "large-epsilon": {"epsilon": 1e-3},
        "initial-accumulator": {"initial_accumulator_value": 0.5, "epsilon": 1e-2},
        "initial-accumulator-zero": {"initial_accumulator_value": 0.0, "epsilon": 1e-3},
        "weight-decay": {"weight_decay": 0.15},  # another number than the initial accumulator
        "weight-decay-maximize": {**DECAY, "maximize": True},
        "rate-decay": {"lr_decay": 0.125},
        "rate-decay-large-epsilon": {"lr_decay": 1.5, "epsilon": 1e-3, "initial_accumulator_value": 0.25},
    },
    edge={"lr_decay": 0.125, **DECAY},
    late=({"lr_decay": 2.0**-22},),
    more_cases={"optax": (("zero-gradients-no-epsilon", NO_EPSILON, "zero"),)},
    extremes=({}, {"lr_decay": 0.5}, {"initial_accumulator_value": 0.0}),
    ends=({"lr_decay": 1e30}, {"initial_accumulator_value": 1e38}, {"epsilon": 1e30}, {"weight_decay": 1e3}),
    torch=Torch(
        name="Adagrad",
        drawn={"lr_decay": "decay", "initial_accumulator_value": "decay", "epsilon": "epsilon"},
        slots={"sum": "accumulator"},
        cases=({}, {"lr_decay": 0.125, "initial_accumulator_value": 0.5, "weight_decay": 0.1, "maximize": True}),
        capturable=False,
        fused=True,
    ),
    keras=Keras(
        drawn={"initial_accumulator_value": "decay", "epsilon": "epsilon"},
        cases=({"initial_accumulator_value": 0.5, "epsilon": 1e-3},),
    ),
    optax={
        "adagrad": Optax(
            drawn={"initial_accumulator_value": "decay", "epsilon": "epsilon"},
            slots={"accumulator": "sum_of_squares"},
            compiled={"initial_accumulator_value": 0.5},
            zero=True,
        ),
    },
)  # fmt: skip
