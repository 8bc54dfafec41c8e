"""Adamax: the largest gradient so far, forgotten slowly, in the place of the root of a mean of squares."""

from __future__ import annotations

from typing import Any

from helpers.exact import one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
    EVERYTHING,
    KERAS,
    MOMENTS,
    SHORT,
    SLOW,
    VERY_SHORT,
    AlgorithmFacts,
    Example,
    Given,
    Keras,
    Now,
    Optax,
    Pair,
    Slots,
    Torch,
    without,
)

ADAMAX = {"learning_rate": 0.002, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
STATE_OF_OPTAX = {"momentum": "mu", "norm": "nu"}


def adamax(now: Now, s: Slots, g: Any) -> Any:
    h, epsilon = now.h, now.h["epsilon"]
    s["momentum"] = h["beta_1"] * s["momentum"] + (1 - h["beta_1"]) * g
    rate = now.rate / one_minus_power(h["beta_1"], now.t)
    if now.convention in KERAS:
        s["norm"] = max(h["beta_2"] * s["norm"], abs(g))
        return rate * s["momentum"] / (s["norm"] + epsilon)
    s["norm"] = max(h["beta_2"] * s["norm"], abs(g) + epsilon)
    return rate * s["momentum"] / s["norm"]


def corrections(values: Given) -> list[tuple[float, int, float]]:
    return [(values["beta_1"], 0, 1.0)]


FORMULA = """Adamax — `momentum` m, `norm` u

m ← beta_1·m + (1 - beta_1)·g.

- `keras`, `keras2`: u ← max(beta_2·u, |g|); p ← p - lr / (1 - beta_1^t) · m / (u + epsilon).
- `torch`, `optax`: u ← max(beta_2·u, |g| + epsilon); p ← p - lr / (1 - beta_1^t) · m / u.
"""

FACTS = AlgorithmFacts(
    name="Adamax",
    formula=FORMULA,
    hyperparameters={
        "keras": {**ADAMAX, "epsilon": 1e-7},
        "keras2": without("weight_decay", ADAMAX, epsilon=1e-7),
        "torch": {**ADAMAX, "maximize": False},
        "optax": ADAMAX,
    },
    rule=adamax,
    slots=lambda h: ("momentum", "norm"),
    rate=2.0**-6,
    descends=0.2,
    plain=(Example("adamax", keras="same"),),
    features=(
        # Keras overwrites with the average on each of the calls of a window, gradwise once (test_twin.py).
        Example("adamax-everything", {**EVERYTHING, "ema_overwrite_frequency": 5}),
    ),
    elsewhere=(
        Example("keras2-adamax", {}, "keras2", "same"),
        Example("keras2-adamax-decay", {"decay": 0.125}, "keras2"),
        Example("torch-adamax", {"weight_decay": 0.1, "epsilon": 1e-3}, "torch"),
        Example("optax-adamax", {"weight_decay": 0.1}, "optax"),
    ),
    same={
        "torch and optax": Pair(("torch", {"epsilon": 1e-3}), ("optax", {"epsilon": 1e-3})),
        "keras and torch without epsilon": Pair(("keras", {"epsilon": 0.0}), ("torch", {"epsilon": 0.0})),
    },
    different={"keras and torch": Pair(("keras", {"epsilon": 1e-2}), ("torch", {"epsilon": 1e-2}), steady=True)},
    options={
        "short-memory": SHORT,
        "very-short-memory": VERY_SHORT,
        "large-epsilon": {"epsilon": 1e-3},
        "large-epsilon-short-memory": {**SHORT, "epsilon": 0.0625},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
    },
    edge=DECAY,
    late=({"beta_1": SLOW, "beta_2": 0.75},),
    extremes=({}, {"beta_1": 0.25, "beta_2": 0.375}, {"weight_decay": 0.1}),
    ends=(
        {"beta_1": 0.0}, {"beta_2": 0.0}, {"beta_2": 1.0}, {"beta_1": ALMOST_ONE}, {"beta_2": ALMOST_ONE},
        {"epsilon": 1e30}, {"weight_decay": 1e3},
    ),
    weighed={"beta_2": 0.0},
    refused={"torch": {"beta_2": 1.0}},
    torch=Torch(
        name="Adamax",
        drawn=MOMENTS,
        slots={"exp_avg": "momentum", "exp_inf": "norm"},
        cases=({}, {"betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ),
    keras=Keras(drawn=MOMENTS, cases=({"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3},), averages=1),
    optax={
        "adamax": Optax(drawn=MOMENTS, slots=STATE_OF_OPTAX, corrections=corrections),
        "adamaxw": Optax(
            drawn={**MOMENTS, "weight_decay": "decay"},
            slots=STATE_OF_OPTAX,
            compiled={},
            corrections=corrections,
            reads_parameters=True,
            variants=({"weight_decay": lambda count: 0.1 / (count + 1), "mask": True},),
        ),
    },
)  # fmt: skip
