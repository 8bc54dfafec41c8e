"""Adam: the mean of gradients, divided by the root of the mean of their squares."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
    DECAYED,
    EVERYTHING,
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

ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "amsgrad": False}
ADAM_OPTAX = {**ADAM, "eps_root": 0.0, "nesterov": False, "bias_correction_mu": True, "bias_correction_nu": True}
WITH_MAXIMUM = {"amsgrad": True}
LATE = {"beta_1": 1 - 2.0**-22, "beta_2": SLOW}
STATE_OF_TORCH = {"exp_avg": "momentum", "exp_avg_sq": "velocity", "max_exp_avg_sq": "velocity_hat"}
STATE_OF_OPTAX = {"momentum": "mu", "velocity": "nu"}
DRAWN_IN_OPTAX = {**MOMENTS, "eps_root": "epsilon"}


def moments(h: dict[str, Any], s: Slots, g: Any) -> None:
    s["momentum"] = h["beta_1"] * s["momentum"] + (1 - h["beta_1"]) * g
    s["velocity"] = h["beta_2"] * s["velocity"] + (1 - h["beta_2"]) * g**2


def adam(now: Now, s: Slots, g: Any) -> Any:
    if now.convention == "optax":
        return adam_of_optax(now, s, g)
    h, epsilon = now.h, now.h["epsilon"]
    moments(h, s, g)
    velocity = s["velocity"]
    if h["amsgrad"]:
        velocity = s["velocity_hat"] = max(s["velocity_hat"], velocity)
    first, second = one_minus_power(h["beta_1"], now.t), one_minus_power(h["beta_2"], now.t)
    if now.convention == "torch":
        return now.rate / first * s["momentum"] / (mp.sqrt(velocity) / mp.sqrt(second) + epsilon)
    return now.rate * mp.sqrt(second) / first * s["momentum"] / (mp.sqrt(velocity) + epsilon)


def adam_of_optax(now: Now, s: Slots, g: Any) -> Any:
    """Adam, AdamW and, with `nesterov`, Nadam."""
    h, beta = now.h, now.h["beta_1"]
    moments(h, s, g)
    first, second = one_minus_power(beta, now.t), one_minus_power(h["beta_2"], now.t)
    if h["nesterov"]:
        mean = beta * s["momentum"] / one_minus_power(beta, now.t + 1) + (1 - beta) * g / first
    else:
        mean = s["momentum"] / first if h["bias_correction_mu"] else s["momentum"]
    velocity = s["velocity"] / second if h["bias_correction_nu"] else s["velocity"]
    if h["amsgrad"]:
        velocity = s["velocity_hat"] = max(s["velocity_hat"], velocity)
    return now.rate * mean / (mp.sqrt(velocity + h["eps_root"]) + h["epsilon"])


def slots(h: Given) -> tuple[str, ...]:
    return ("momentum", "velocity", *(("velocity_hat",) if h["amsgrad"] else ()))


def corrections(values: Given) -> list[tuple[float, int, float]]:
    """Of the functions of optax with two means."""
    first = [(values["beta_1"], 0, 1.0)] if values.get("bias_correction_mu", True) else []
    following = [(values["beta_1"], 1, 1.0)] if values.get("nesterov") else []
    return [*first, *following, (values["beta_2"], 0, 0.5)]


# The large values of epsilon show where it stands.
OPTIONS: dict[str, Given] = {
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

FORMULA = """Adam, AdamW — `momentum` m, `velocity` v, `velocity_hat` h

m ← beta_1·m + (1 - beta_1)·g; v ← beta_2·v + (1 - beta_2)·g²; c1 = 1 - beta_1^t; c2 = 1 - beta_2^t.

- `keras`, `keras2`: with amsgrad h ← max(h, v) and w = h, else w = v;
  p ← p - lr·sqrt(c2)/c1 · m / (sqrt(w) + epsilon).
- `torch`: w as above; p ← p - lr/c1 · m / (sqrt(w)/sqrt(c2) + epsilon).
- `optax`: n = m/c1 (m without `bias_correction_mu`), or with nesterov
  n = beta_1·m / (1 - beta_1^(t+1)) + (1 - beta_1)·g / c1; q = v/c2 (v without `bias_correction_nu`); with amsgrad
  h ← max(h, q) and q = h; p ← p - lr · n / (sqrt(q + eps_root) + epsilon).
"""

FACTS = AlgorithmFacts(
    name="Adam",
    formula=FORMULA,
    hyperparameters={
        "keras": {**ADAM, "epsilon": 1e-7},
        "keras2": without("weight_decay", ADAM, epsilon=1e-7),
        "torch": {**ADAM, "decoupled_weight_decay": False, "maximize": False},
        "optax": ADAM_OPTAX,
    },
    rule=adam,
    slots=slots,
    rate=2.0**-7,
    descends=0.1,
    plain=(
        Example("adam", keras="same"),
        Example("adam-amsgrad", {"amsgrad": True}, keras="same"),
        Example("adam-short", {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3}, keras="same"),
    ),
    features=(
        Example("adam-clipnorm", {"clipnorm": 0.01}, keras="same"),
        Example("adam-ema", {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 7}, keras="same"),
        Example("adam-accumulation", {"gradient_accumulation_steps": 4, "weight_decay": 0.1, "clipvalue": 0.01},
                keras="same"),
        Example("adam-decay", {"decay": 0.125}, keras={"decay": None, "learning_rate": DECAYED}),
    ),
    elsewhere=(
        Example("keras2-adam", {}, "keras2", "same"),
        Example("keras2-adam-amsgrad-decay", {"amsgrad": True, "decay": 0.125}, "keras2",
                {"decay": None, "learning_rate": DECAYED}),
        Example("keras2-adam-clipnorm-clipvalue", {"clipnorm": 0.5, "clipvalue": 0.125}, "keras2"),
        Example("torch-adam", {"maximize": True}, "torch"),
        Example("torch-adam-amsgrad", {"amsgrad": True, "weight_decay": 0.1, "epsilon": 1e-3}, "torch"),
        Example("torch-adam-decoupled", {"weight_decay": 0.1, "decoupled_weight_decay": True}, "torch"),
        Example("torch-adam-everything", EVERYTHING, "torch"),
        Example("optax-adam", {"eps_root": 1e-5}, "optax"),
        Example("optax-adam-nesterov", {"nesterov": True, "clipnorm": 0.01}, "optax"),
        Example("optax-amsgrad", {"amsgrad": True}, "optax"),
        Example("optax-amsgrad-of-the-paper",
                {"amsgrad": True, "bias_correction_mu": False, "bias_correction_nu": False}, "optax"),
    ),
    same={
        "torch and optax": Pair(("torch", {"epsilon": 1e-3}), ("optax", {"epsilon": 1e-3})),
        "keras and torch without epsilon": Pair(
            ("keras", {"epsilon": 0.0, "amsgrad": True}), ("torch", {"epsilon": 0.0, "amsgrad": True})
        ),
        "keras and keras2": Pair(("keras", {}), ("keras2", {})),
        "decoupled is adamw": Pair(
            ("torch", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
            ("torch", {"weight_decay": 0.1}, "AdamW"),
        ),
    },
    different={
        "keras and torch": Pair(("keras", {"epsilon": 1e-3}), ("torch", {"epsilon": 1e-3}), steady=True),
        "amsgrad, torch and optax": Pair(
            ("torch", {"amsgrad": True, "epsilon": 0.0}), ("optax", {"amsgrad": True, "epsilon": 0.0}), steady=True
        ),
        "amsgrad of the paper and torch's": Pair(
            ("optax", {"amsgrad": True, "bias_correction_mu": False, "bias_correction_nu": False}),
            ("torch", {"amsgrad": True}),
            steady=True,
        ),
        "coupled and decoupled decay": Pair(("torch", DECAY), ("torch", DECAY, "AdamW"), steady=True),
    },
    options=OPTIONS,
    edge={"amsgrad": True, **DECAY},
    late=(LATE,),
    extremes=(
        {}, {"amsgrad": True}, {"beta_1": 0.0, "beta_2": 0.0}, {"beta_1": 0.25, "beta_2": 0.375}, {"nesterov": True},
        {"eps_root": 1e-8}, {"epsilon": 2e-38}, {"weight_decay": 0.1},
    ),
    ends=(
        {"beta_1": 0.0}, {"beta_2": 0.0}, {"beta_2": 0.0, "epsilon": 1e-30}, {"beta_1": ALMOST_ONE},
        {"beta_2": ALMOST_ONE}, {"beta_1": ALMOST_ONE, "beta_2": ALMOST_ONE, "amsgrad": True},
        {"beta_1": 0.0, "beta_2": 0.0, "nesterov": True}, {"beta_1": ALMOST_ONE, "nesterov": True},
        {"epsilon": 1e30}, {"weight_decay": 1e3}, {"beta_1": 1e-30, "beta_2": 1e-30},
    ),
    weighed={"beta_2": 0.0},
    torch=Torch(
        name="Adam",
        drawn={**MOMENTS, "amsgrad": "flag", "decoupled_weight_decay": "flag"},
        slots=STATE_OF_TORCH,
        cases=(
            {},
            {"lr": 0.01, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
            {"amsgrad": True, "weight_decay": 0.1},
            {"weight_decay": 0.1, "decoupled_weight_decay": True},
        ),
        fused=True,
    ),
    keras=Keras(
        drawn={**MOMENTS, "amsgrad": "flag"},
        cases=({"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3}, {"amsgrad": True}),
        averages=2,
    ),
    optax={
        "adam": Optax(
            drawn={**DRAWN_IN_OPTAX, "nesterov": "flag"},
            slots=STATE_OF_OPTAX,
            corrections=corrections,
            variants=({"nesterov": True, "eps_root": 1e-3}, {"mu_dtype": "bfloat16"}),
        ),
        "amsgrad": Optax(
            drawn={**DRAWN_IN_OPTAX, "bias_correction_mu": "flag", "bias_correction_nu": "flag"},
            fixed=WITH_MAXIMUM,
            slots={**STATE_OF_OPTAX, "velocity_hat": "nu_max"},
            compiled={"bias_correction_mu": True, "bias_correction_nu": True},
            corrections=corrections,
            variants=({"bias_correction_nu": False},),
        ),
    },
)  # fmt: skip
