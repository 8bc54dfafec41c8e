"""RMSprop: gradients divided by the root of the mean of their squares."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, number, one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
    DECAYED,
    SLOW,
    AlgorithmFacts,
    Example,
    Given,
    Keras,
    Now,
    Optax,
    Pair,
    Slots,
    Torch,
)

MOMENTUM = {"momentum": 0.9}
CORRECTED = {"centered": True, "bias_correction": True, "epsilon": 0.125}
NO_VARIANCE = {**CORRECTED, "rho": 0.95, "eps_in_sqrt": False}


def rmsprop(now: Now, s: Slots, g: Any) -> Any:
    h, rate, rho, epsilon, momentum = now.h, now.rate, now.h["rho"], now.h["epsilon"], now.h.get("momentum")
    correction = one_minus_power(rho, now.t) if h.get("bias_correction") else number(1)
    s["velocity"] = rho * s["velocity"] + (1 - rho) * g**2
    spread = s["velocity"] / correction
    if h.get("centered"):
        s["average_gradient"] = rho * s["average_gradient"] + (1 - rho) * g
        # Never below 0; where it is 0, a rounding error of the 50th digit may be.
        spread = max(spread - (s["average_gradient"] / correction) ** 2, number(0))
    inside = {"keras": True, "keras2": False, "torch": False}.get(now.convention, h.get("eps_in_sqrt"))
    direction = g / mp.sqrt(spread + epsilon) if inside else g / (mp.sqrt(spread) + epsilon)
    if not momentum:
        return rate * direction
    if now.convention == "torch":
        s["momentum"] = momentum * s["momentum"] + direction
        return rate * s["momentum"]
    if now.convention == "optax":
        # What is added to the parameters.
        s["momentum"] = momentum * s["momentum"] - rate * direction
        return rate * direction - momentum * s["momentum"] if h["nesterov"] else -s["momentum"]
    s["momentum"] = momentum * s["momentum"] + rate * direction
    return s["momentum"]


def slots(h: Given) -> tuple[str, ...]:
    momentum = ("momentum",) if h.get("momentum") else ()
    return ("velocity", *momentum, *(("average_gradient",) if h.get("centered") else ()))


def conditioned(values: dict[str, Any]) -> tuple[dict[str, Any], float]:
    largest = 1e3
    if values.get("centered"):
        # After the first step v - a^2 is rho (1 - rho) g^2, the difference of (1 - rho) g^2 and (1 - rho)^2 g^2: its
        # condition is 1 / rho.
        values["rho"] = max(values["rho"], 0.5)
        if values.get("bias_correction"):
            # Corrected it is 0, and what stands for it are rounding errors of g^2: epsilon has to be larger than these.
            values.update(eps_in_sqrt=True, epsilon=max(values["epsilon"], 0.125))
            largest = 1e-4
    return values, largest


FORMULA = """RMSprop — `velocity` v, `momentum` b, `average_gradient` a

v ← rho·v + (1 - rho)·g²; if centered a ← rho·a + (1 - rho)·g and s = v - a², else s = v.

- `keras`: d = g / sqrt(s + epsilon); b ← momentum·b + lr·d; p ← p - b.
- `keras2`: d = g / (sqrt(s) + epsilon); p ← p - lr·d.
- `torch`: d = g / (sqrt(s) + epsilon); b ← momentum·b + d; p ← p - lr·b.
- `optax`: v starts at `initial_scale`. With `bias_correction`, s is of v / (1 - rho^t) and a / (1 - rho^t); the slots
  keep v and a. d = g / sqrt(s + epsilon) with `eps_in_sqrt`, else g / (sqrt(s) + epsilon);
  b ← lr·d + momentum·b; p ← p - b, or with nesterov p ← p - (lr·d + momentum·b).
- all, without momentum: p ← p - lr·d.
"""

FACTS = AlgorithmFacts(
    name="RMSprop",
    formula=FORMULA,
    hyperparameters={
        "keras": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False,
                  "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-7},
        "torch": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False,
                  "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False,
                  "initial_scale": 0.0, "eps_in_sqrt": True, "nesterov": False, "bias_correction": False},
    },
    rule=rmsprop,
    slots=slots,
    starts={"velocity": "initial_scale"},
    rate=2.0**-7,
    descends=0.02,
    settles=False,
    cancels=True,
    # Of v - a**2, whose condition number v / (v - a**2 + epsilon) reaches 37462 and 169. Measured 22225 and 95.
    caps_under_xla={"rmsprop-centered": 37_000.0, "rmsprop-centered-momentum": 168.0},
    conditioned=conditioned,
    plain=(
        Example("rmsprop", keras="same"),
        Example("rmsprop-momentum", {"momentum": 0.5}, keras="same"),
        Example("rmsprop-centered", {"centered": True}, keras="same"),
        Example("rmsprop-centered-momentum", {"rho": 0.95, "centered": True, "momentum": 0.5}, keras="same"),
    ),
    features=(Example("rmsprop-global-clipnorm", {"global_clipnorm": 0.01}, keras="same"),),
    elsewhere=(
        # Keras 3 has the formula of Keras 2.2, but for epsilon outside of the root.
        Example("keras2-rmsprop", {}, "keras2"),
        Example("keras2-rmsprop-no-epsilon", {"epsilon": 0.0, "decay": 0.125}, "keras2",
                {"decay": None, "learning_rate": DECAYED}),
        Example("torch-rmsprop", DECAY, "torch"),
        Example("torch-rmsprop-centered-momentum",
                {"rho": 0.99, "centered": True, "momentum": 0.5, "learning_rate": DECAYED}, "torch"),
        Example("optax-rmsprop", {}, "optax"),
        Example("optax-rmsprop-nesterov",
                {"momentum": 0.5, "nesterov": True, "eps_in_sqrt": False, "initial_scale": 0.5}, "optax"),
        Example("optax-rmsprop-corrected", {"momentum": 0.5, "bias_correction": True}, "optax"),
        # After the first step the corrected variance is 0: what stands for it is rounding errors, so epsilon is large.
        Example("optax-rmsprop-centered-corrected", CORRECTED, "optax"),
    ),
    same={
        "torch and keras2": Pair(("torch", {"epsilon": 1e-3}), ("keras2", {"epsilon": 1e-3})),
        "keras and optax": Pair(
            ("keras", {"epsilon": 1e-3, "centered": True, **MOMENTUM}),
            ("optax", {"epsilon": 1e-3, "centered": True, **MOMENTUM}),
        ),
        "torch and optax with epsilon outside, steady rate": Pair(
            ("torch", {"epsilon": 1e-3, **MOMENTUM}),
            ("optax", {"epsilon": 1e-3, "eps_in_sqrt": False, **MOMENTUM}),
            steady=True,
        ),
        "keras and torch without epsilon": Pair(("keras", {"epsilon": 0.0}), ("torch", {"epsilon": 0.0})),
        "corrected is adam without momentum": Pair(
            ("optax", {"rho": 0.999, "eps_in_sqrt": False, "bias_correction": True}),
            ("optax", {"beta_1": 0.0}, "Adam"),
        ),
    },
    different={
        "momentum, keras and torch, changing rate": Pair(
            ("keras", {"epsilon": 0.0, **MOMENTUM}), ("torch", {"epsilon": 0.0, **MOMENTUM})
        ),
        "keras and torch": Pair(("keras", {"epsilon": 1e-3}), ("torch", {"epsilon": 1e-3}), steady=True),
    },
    options={
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
    edge={"momentum": 0.5, "centered": True, **DECAY},
    late=({"rho": SLOW, "bias_correction": True},),
    late_sum=lambda convention, size, rate: (1.0, 1.0 if convention == "torch" else rate),
    more_cases={
        "optax": (
            # Rounding errors of the first step's variance, which is 0, are below epsilon, but no root may be taken of
            # them.
            ("bias-correction-centered-epsilon-outside", NO_VARIANCE, "tiny"),
            ("bias-correction-centered-epsilon-outside-longer", {**NO_VARIANCE, "rho": 0.96}, "tiny"),
        ),
    },
    extremes=(
        {}, {"momentum": 0.5}, {"centered": True}, {"rho": 0.25}, {"rho": 0.0}, {"bias_correction": True},
        {"momentum": 0.5, "centered": True, "nesterov": True}, {"eps_in_sqrt": False},
    ),
    ends=(
        {"rho": 1.0}, {"rho": 1.0, "momentum": 1.0}, {"rho": 0.0, "momentum": 1.0}, {"rho": 1.0, "centered": True},
        {"rho": 0.0, "centered": True}, {"rho": 1.0, "epsilon": 1e30}, {"rho": ALMOST_ONE, "epsilon": 1e-30},
        {"rho": 1.0, "momentum": 1.0, "nesterov": True}, {"rho": 1.0, "eps_in_sqrt": False},
        {"rho": 0.0, "bias_correction": True}, {"initial_scale": 3e38}, {"weight_decay": 1e3},
    ),
    weighed={"rho": 1.0},
    torch=Torch(
        name="RMSprop",
        drawn={"rho": "beta", "momentum": "momentum", "epsilon": "epsilon", "centered": "flag"},
        names={"rho": "alpha"},
        slots={"square_avg": "velocity", "grad_avg": "average_gradient", "momentum_buffer": "momentum"},
        cases=(
            {},
            {"momentum": 0.9, "weight_decay": 0.1},
            {"alpha": 0.5, "centered": True, "momentum": 0.5, "eps": 1e-3, "maximize": True},
        ),
    ),
    keras=Keras(
        drawn={"rho": "beta", "momentum": "momentum", "epsilon": "epsilon", "centered": "flag"},
        cases=(
            {"rho": 0.5, "epsilon": 1e-3}, {"momentum": 0.5}, {"centered": True}, {"momentum": 0.5, "centered": True},
        ),
        averages=1,
    ),
    optax={
        "rmsprop": Optax(
            drawn={"rho": "beta", "epsilon": "epsilon", "initial_scale": "decay", "eps_in_sqrt": "flag",
                   "centered": "flag", "momentum": "momentum", "nesterov": "flag", "bias_correction": "flag"},
            names={"rho": "decay", "epsilon": "eps"},
            slots={"velocity": "nu", "average_gradient": "mu", "momentum": "trace"},
            compiled={"eps_in_sqrt": True, "centered": False, "nesterov": True, "bias_correction": True,
                      "initial_scale": 0.5},
            corrections=lambda values: (
                [(values["rho"], 0, 1.5 if values["centered"] else 0.5)] if values["bias_correction"] else []
            ),
            variants=(
                {"momentum": 0.9, "nesterov": True},
                {"centered": True, "eps": 1e-3, "initial_scale": 0.5, "eps_in_sqrt": False},
                {"bias_correction": True, "momentum": 0.5},
            ),
        ),
    },
)  # fmt: skip
