"""RAdam: Adam whose steps are smaller while few squares are known."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, number, one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
    EVERYTHING,
    MOMENTS,
    SHORT,
    SLOW,
    VERY_SHORT,
    AlgorithmFacts,
    Example,
    Given,
    Now,
    Optax,
    Pair,
    Slots,
    Torch,
)
from .adam import DRAWN_IN_OPTAX, LATE, STATE_OF_OPTAX, STATE_OF_TORCH, corrections, moments

RADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
MEDIUM = {"beta_1": 0.75, "beta_2": 0.9}
"""Adaptive from the sixth step on, or with a threshold of 4 from the fifth."""


def length(beta: Any, t: int) -> Any:
    """That of a simple average with the same centre of mass, as the paper approximates the moving one."""
    return limit(beta) - 2 * t * number(beta) ** t / one_minus_power(beta, t)


def limit(beta: Any) -> Any:
    return 2 / (1 - number(beta)) - 1


def radam(now: Now, s: Slots, g: Any) -> Any:
    h, beta = now.h, now.h["beta_1"]
    moments(h, s, g)
    first, second = one_minus_power(beta, now.t), one_minus_power(h["beta_2"], now.t)
    mean, root = s["momentum"] / first, mp.sqrt(s["velocity"])
    if h.get("nesterov"):
        mean = beta * s["momentum"] / one_minus_power(beta, now.t + 1) + (1 - beta) * g / first
    here, end = length(h["beta_2"], now.t), limit(h["beta_2"])
    if here < h.get("threshold", 5) or (now.convention == "torch" and here == 5):
        return now.rate * mean
    factor = mp.sqrt((here - 4) * (here - 2) * end / ((end - 4) * (end - 2) * here))
    if now.convention == "torch":
        return now.rate * mean * factor * mp.sqrt(second) / (root + h["epsilon"])
    return now.rate * factor * mean / (mp.sqrt(s["velocity"] / second + h["eps_root"]) + h["epsilon"])


def conditioned(values: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Beyond 0.99 the frameworks' differences of large numbers are not as exact as is asked of them."""
    return {**values, "beta_2": min(values["beta_2"], 0.99)}, 1e3


def corrections_of_length(values: Given) -> list[tuple[float, int, float]]:
    """The length makes most of the second correction's error, in the first adaptive step above all: there 2t / (1 -
    beta_2^t) times as much of it is in the length, and of that less than 0.6 in the step."""
    beta = values["beta_2"]
    first = next((t for t in range(1, 200) if length(beta, t) > 5), None)
    share = 0.5 if first is None else 0.5 + 1.2 * first / (1 - beta**first)
    return [*corrections(values)[:-1], (beta, 0, share)]


FORMULA = """RAdam — `momentum` m, `velocity` v

m and v as in Adam; c1 = 1 - beta_1^t; c2 = 1 - beta_2^t; R = 2/(1 - beta_2) - 1; L = R - 2·t·beta_2^t/c2;
r = sqrt((L - 4)·(L - 2)·R / ((R - 4)·(R - 2)·L)); n = m/c1.

- `torch`: where L > 5, p ← p - lr·r·sqrt(c2) · n / (sqrt(v) + epsilon); elsewhere p ← p - lr·n.
- `optax`: with nesterov n is that of Adam's rule of `optax`; where L ≥ threshold,
  p ← p - lr·r · n / (sqrt(v/c2 + eps_root) + epsilon); elsewhere p ← p - lr·n.
"""

FACTS = AlgorithmFacts(
    name="RAdam",
    formula=FORMULA,
    hyperparameters={
        "torch": {**RADAM, "decoupled_weight_decay": False, "maximize": False},
        "optax": {**RADAM, "threshold": 5.0, "eps_root": 0.0, "nesterov": False},
    },
    rule=radam,
    slots=lambda h: ("momentum", "velocity"),
    rate=2.0**-7,
    descends=0.1,
    bounded=False,
    ranges={"threshold": (4.0, 6.0)},
    conditioned=conditioned,
    plain=(
        Example("radam"),
        Example("radam-short", {**SHORT, "epsilon": 1e-3}),
        Example("radam-medium", {**MEDIUM, "epsilon": 1e-3}),
    ),
    features=(
        Example("radam-clipnorm", {"clipnorm": 0.01}),
        Example("radam-accumulation", {"gradient_accumulation_steps": 4, "weight_decay": 0.1}),
    ),
    elsewhere=(
        Example("torch-radam", {"maximize": True, **DECAY}, "torch"),
        Example("torch-radam-decoupled", {**DECAY, "decoupled_weight_decay": True}, "torch"),
        Example("torch-radam-everything", EVERYTHING, "torch"),
        Example("optax-radam", {"eps_root": 1e-5}, "optax"),
        Example("optax-radam-nesterov", {"nesterov": True, "threshold": 4.0, **MEDIUM}, "optax"),
    ),
    same={
        "torch and optax without epsilon": Pair(("torch", {"epsilon": 0.0}), ("optax", {"epsilon": 0.0})),
        "never adaptive, whatever epsilon is": Pair(("torch", VERY_SHORT), ("optax", {**VERY_SHORT, "epsilon": 1e-2})),
    },
    different={
        "torch and optax": Pair(
            ("torch", {**MEDIUM, "epsilon": 1e-3}), ("optax", {**MEDIUM, "epsilon": 1e-3}), steady=True
        ),
        "coupled and decoupled decay": Pair(
            ("torch", DECAY), ("torch", {**DECAY, "decoupled_weight_decay": True}), steady=True
        ),
    },
    options={
        "short-memory": SHORT,
        "medium-memory": MEDIUM,
        "very-short-memory": VERY_SHORT,
        "large-epsilon": {"epsilon": 1e-3},
        "large-epsilon-medium-memory": {**MEDIUM, "epsilon": 1e-2},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
        "weight-decay-decoupled": {**DECAY, "decoupled_weight_decay": True},
        "threshold-of-the-paper": {"threshold": 4.0},
        # In the first adaptive step the length is 5.0015 here, and there 6.9068.
        "barely-adaptive": {"beta_1": 0.75, "beta_2": 0.84},
        "barely-adaptive-high-threshold": {**MEDIUM, "threshold": 6.905},
        "eps-root": {"eps_root": 1e-3, "epsilon": 1e-2, **MEDIUM},
        "nesterov": {"nesterov": True},
        "nesterov-medium-memory": {"nesterov": True, **MEDIUM, **DECAY, "epsilon": 1e-3, "eps_root": 1e-4},
    },
    edge=DECAY,
    late=(LATE,),
    extremes=(
        {}, MEDIUM, {"beta_1": 0.0, "beta_2": 0.0}, VERY_SHORT, {"nesterov": True}, {"eps_root": 1e-8},
        {"epsilon": 2e-38}, {"threshold": 4.0}, DECAY,
    ),
    ends=(
        {"beta_1": 0.0}, {"beta_2": 0.0}, {"beta_1": ALMOST_ONE}, {"beta_2": ALMOST_ONE}, {"beta_2": SLOW},
        {"beta_1": 0.0, "beta_2": 0.0, "nesterov": True}, {"beta_1": ALMOST_ONE, "nesterov": True}, {"beta_2": 0.6},
        {"threshold": 4.0}, {"threshold": 1e30}, {"epsilon": 1e30}, {"weight_decay": 1e3},
        {"beta_1": 1e-30, "beta_2": 1e-30},
    ),
    weighed={"beta_2": 0.0},
    torch=Torch(
        name="RAdam",
        drawn={**MOMENTS, "decoupled_weight_decay": "flag"},
        slots=STATE_OF_TORCH,
        cases=(
            {},
            {"lr": 0.01, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
            {"betas": (0.75, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True},
        ),
    ),
    optax={
        "radam": Optax(
            drawn={**DRAWN_IN_OPTAX, "nesterov": "flag"},
            slots=STATE_OF_OPTAX,
            compiled={"nesterov": False},
            corrections=corrections_of_length,
            variants=({"nesterov": True, "eps_root": 1e-3}, {"threshold": 4.0, "b2": 0.9}),
        ),
    },
)  # fmt: skip
