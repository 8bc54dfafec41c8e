"""AdaBelief: Adam that divides by how far gradients are from their mean."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
    EVERYTHING,
    MOMENTS,
    SHORT,
    VERY_SHORT,
    AlgorithmFacts,
    Example,
    Given,
    Now,
    Optax,
    Pair,
    Slots,
)
from .adam import LATE, STATE_OF_OPTAX, corrections
from .radam import MEDIUM, length, limit

ADABELIEF = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-16}
AS_ADAM = {"rectify": False}
LARGE = {"epsilon": 1e-3}


def adabelief(now: Now, s: Slots, g: Any) -> Any:
    h, beta = now.h, now.h["beta_1"]
    s["momentum"] = beta * s["momentum"] + (1 - beta) * g
    added = h["epsilon"] if now.convention == "authors" else h["variance_epsilon"]
    s["velocity"] = h["beta_2"] * s["velocity"] + (1 - h["beta_2"]) * (g - s["momentum"]) ** 2 + added
    first, second = one_minus_power(beta, now.t), one_minus_power(h["beta_2"], now.t)
    mean, velocity = s["momentum"] / first, s["velocity"]
    if h.get("nesterov"):
        mean = beta * s["momentum"] / one_minus_power(beta, now.t + 1) + (1 - beta) * g / first
    if h.get("rectify"):
        here, end = length(h["beta_2"], now.t), limit(h["beta_2"])
        if here < 5:
            return now.rate * mean
        factor = mp.sqrt(second * (here - 4) * (here - 2) * end / ((end - 4) * (end - 2) * here))
        return now.rate * factor * mean / (mp.sqrt(velocity) + h["epsilon"])
    if h.get("amsgrad"):
        velocity = s["velocity_hat"] = max(s["velocity_hat"], velocity)
    return now.rate * mean / (mp.sqrt(velocity / second) + h["epsilon"])


def slots(h: Given) -> tuple[str, ...]:
    return ("momentum", "velocity", *(("velocity_hat",) if h.get("amsgrad") else ()))


def conditioned(values: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Where a mean is next to the gradient itself, their difference is rounding: large beside an epsilon of 0."""
    return {**values, "variance_epsilon": max(values["variance_epsilon"], 1e-6)}, 1.0


FORMULA = """AdaBelief — `momentum` m, `velocity` s, `velocity_hat` h

m ← beta_1·m + (1 - beta_1)·g; c1 = 1 - beta_1^t; c2 = 1 - beta_2^t.

- `optax`: s ← beta_2·s + (1 - beta_2)·(g - m)² + variance_epsilon, with the new m; n = m/c1, or with nesterov that of
  Adam's rule of `optax`; p ← p - lr · n / (sqrt(s/c2) + epsilon).
- `authors`: s as above with epsilon for variance_epsilon. With rectify, L and r as in RAdam: where L ≥ 5,
  p ← p - lr·r·sqrt(c2) · m/c1 / (sqrt(s) + epsilon); elsewhere p ← p - lr·m/c1. Without rectify, with amsgrad
  h ← max(h, s) and w = h, else w = s; p ← p - lr · m/c1 / (sqrt(w/c2) + epsilon).
"""

FACTS = AlgorithmFacts(
    name="AdaBelief",
    formula=FORMULA,
    hyperparameters={
        "optax": {**ADABELIEF, "variance_epsilon": 1e-16, "nesterov": False},
        "authors": {
            **ADABELIEF, "weight_decay": 0.0, "rectify": True, "amsgrad": False, "decoupled_weight_decay": True,
        },
    },
    rule=adabelief,
    slots=slots,
    coupled=lambda convention, h: not h.get("decoupled_weight_decay", True),
    rate=2.0**-7,
    descends=0.1,
    cancels=True,
    # Of g - m. Measured 16 and 26, with a memory so short that nothing but such differences is in s.
    caps_under_xla={"adabelief-short": 64.0},
    bounded=False,
    ranges={"variance_epsilon": (0.001, 0.1)},
    conditioned=conditioned,
    plain=(
        Example("adabelief"),
        Example("adabelief-short", {**SHORT, **LARGE}),
        Example("adabelief-nesterov", {"nesterov": True, "variance_epsilon": 1e-5}),
    ),
    features=(Example("adabelief-clipnorm", {"clipnorm": 0.01}),),
    elsewhere=(
        Example("authors-adabelief", {}, "authors"),
        Example("authors-adabelief-medium", {**MEDIUM, **LARGE}, "authors"),
        Example("authors-adabelief-as-adam", {**AS_ADAM, **DECAY}, "authors"),
        Example("authors-adabelief-amsgrad", {**AS_ADAM, "amsgrad": True, "decoupled_weight_decay": False, **DECAY},
                "authors"),
        Example("authors-adabelief-everything", EVERYTHING, "authors"),
    ),
    same={
        "optax and the authors', not rectified": Pair(
            ("optax", {"epsilon": 1e-3, "variance_epsilon": 1e-3}), ("authors", {**AS_ADAM, "epsilon": 1e-3})
        ),
        "never adaptive, whatever epsilon is": Pair(("authors", VERY_SHORT), ("authors", {**VERY_SHORT, **LARGE})),
    },
    different={
        "optax and the authors'": Pair(("optax", MEDIUM), ("authors", MEDIUM), steady=True),
        "coupled and decoupled decay": Pair(
            ("authors", DECAY), ("authors", {**DECAY, "decoupled_weight_decay": False}), steady=True
        ),
        "belief and Adam": Pair(("optax", {}), ("optax", {}, "Adam"), steady=True),
    },
    options={
        "short-memory": SHORT,
        "medium-memory": MEDIUM,
        "very-short-memory": VERY_SHORT,
        "large-epsilon": LARGE,
        "large-epsilon-medium-memory": {**MEDIUM, "epsilon": 1e-2},
        "large-variance-epsilon": {"variance_epsilon": 1e-3, "epsilon": 1e-2},
        "nesterov": {"nesterov": True},
        "nesterov-short-memory": {"nesterov": True, **SHORT, **LARGE, "variance_epsilon": 1e-4},
        "as-adam": AS_ADAM,
        "as-adam-large-epsilon": {**AS_ADAM, **SHORT, **LARGE},
        "amsgrad": {**AS_ADAM, "amsgrad": True},
        "amsgrad-short-memory": {**AS_ADAM, "amsgrad": True, **SHORT, **LARGE},
        "weight-decay": DECAY,
        "weight-decay-coupled": {**DECAY, "decoupled_weight_decay": False},
        # In the first adaptive step the length is 5.0015 here.
        "barely-adaptive": {"beta_1": 0.75, "beta_2": 0.84},
    },
    edge={**DECAY, **AS_ADAM, "amsgrad": True},
    late=(LATE,),
    extremes=(
        {}, MEDIUM, {"beta_1": 0.25, "beta_2": 0.375}, {"nesterov": True}, {"epsilon": 2e-38}, AS_ADAM,
        {**AS_ADAM, "amsgrad": True}, DECAY,
    ),
    ends=(
        {"beta_1": 0.0}, {"beta_2": 0.0}, {"beta_1": ALMOST_ONE}, {"beta_2": ALMOST_ONE}, {"beta_2": 0.6},
        {"beta_1": 0.0, "beta_2": 0.0, "nesterov": True}, {"epsilon": 1e30}, {"variance_epsilon": 1e30},
        {"weight_decay": 1e3}, {"beta_1": 1e-30, "beta_2": 1e-30},
        {**AS_ADAM, "beta_2": 0.0},
    ),
    weighed={"beta_2": 0.0},
    optax={
        "adabelief": Optax(
            drawn={**MOMENTS, "variance_epsilon": "epsilon", "nesterov": "flag"},
            names={"beta_1": "b1", "beta_2": "b2", "epsilon": "eps", "variance_epsilon": "eps_root"},
            slots=STATE_OF_OPTAX,
            compiled={"nesterov": False},
            corrections=corrections,
            variants=({"nesterov": True, "eps_root": 1e-3}, {"b2": 0.9, "eps": 1e-3}),
        ),
    },
)  # fmt: skip
