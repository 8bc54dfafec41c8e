"""Lion: steps of one size, in the direction of a sign."""

from __future__ import annotations

from typing import Any

from helpers.exact import sign

from . import (
    ALMOST_ONE,
    DECAY,
    EVERYTHING,
    EXPONENTIAL,
    SHORT,
    VERY_SHORT,
    AlgorithmFacts,
    Example,
    Keras,
    Now,
    Optax,
    Pair,
    Slots,
)

LION = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0}
BETAS = {"beta_1": "beta", "beta_2": "beta"}


def lion(now: Now, s: Slots, g: Any) -> Any:
    h = now.h
    mean = h["beta_1"] * s["momentum"] + (1 - h["beta_1"]) * g
    s["momentum"] = h["beta_2"] * s["momentum"] + (1 - h["beta_2"]) * g
    return now.rate * sign(mean)


FORMULA = """Lion — `momentum` m

c ← beta_1·m + (1 - beta_1)·g; m ← beta_2·m + (1 - beta_2)·g; p ← p - lr·sign(c), where sign(0) is 0. All conventions
have this rule; `optax` has a weight decay by default.
"""

FACTS = AlgorithmFacts(
    name="Lion",
    formula=FORMULA,
    hyperparameters={"keras": LION, "optax": {**LION, "weight_decay": 1e-3}},
    rule=lion,
    slots=lambda h: ("momentum",),
    coupled=lambda convention, h: False,
    rate=2.0**-7,
    descends=0.01,
    settles=False,
    signs=True,
    plain=(
        Example("lion", keras="same"),
        Example("lion-short", SHORT, keras="same"),
    ),
    features=(
        Example("lion-weight-decay", DECAY, keras="same"),
        # Keras overwrites with the average on each of the calls of a window, gradwise once (test_twin.py).
        Example("lion-everything", {**EVERYTHING, "ema_overwrite_frequency": 5}),
    ),
    elsewhere=(
        Example("optax-lion", {}, "optax"),
        Example("optax-lion-schedule", {"learning_rate": EXPONENTIAL, "weight_decay": 0.1}, "optax"),
    ),
    same={"keras and optax": Pair(("keras", DECAY), ("optax", DECAY))},
    different={"default decay": Pair(("keras", {}), ("optax", {}), steady=True)},
    options={
        "short-memory": SHORT,
        "very-short-memory": VERY_SHORT,
        "long-direction": {"beta_1": 0.75, "beta_2": 0.5},
        "weight-decay": DECAY,
        "no-weight-decay": {"weight_decay": 0.0},
    },
    edge=DECAY,
    extremes=({}, VERY_SHORT, DECAY),
    ends=(
        {"beta_1": 0.0}, {"beta_1": 1.0}, {"beta_2": 0.0}, {"beta_2": 1.0}, {"beta_1": ALMOST_ONE},
        {"beta_2": ALMOST_ONE}, {"weight_decay": 1e3},
    ),
    weighed={"beta_2": 1.0},
    refused={"keras": {"beta_1": 0.0}},
    keras=Keras(
        drawn=BETAS,
        cases=({"beta_1": 0.5, "beta_2": 0.75}, {"beta_1": 0.75, "beta_2": 0.5, "weight_decay": 0.1}),
        averages=2,
    ),
    optax={
        "lion": Optax(
            drawn={**BETAS, "weight_decay": "decay"},
            slots={"momentum": "mu"},
            compiled={},
            reads_parameters=True,
            variants=(
                {"b1": 0.5, "b2": 0.75},
                {"weight_decay": lambda count: 0.1 / (count + 1), "mask": {"kernel": True, "bias": False}},
            ),
        ),
    },
)  # fmt: skip
