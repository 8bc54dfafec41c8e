"""Nadam: Adam whose mean looks one step ahead."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp, number, one_minus_power

from . import (
    ALMOST_ONE,
    DECAY,
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
    Product,
    Slots,
    Torch,
    without,
)
from .adam import DRAWN_IN_OPTAX, LATE, STATE_OF_OPTAX, STATE_OF_TORCH, adam_of_optax, corrections, moments

NADAM = {
    "learning_rate": 0.002, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0,
    "schedule_decay": 0.004,
}  # fmt: skip


def momentum_of_nadam(h: dict[str, Any], k: int) -> Any:
    """0.96 is the float64 next to it, as in every implementation."""
    return h["beta_1"] * (1 - number(0.5) * number(0.96) ** (k * h["schedule_decay"]))


def nadam(now: Now, s: Slots, g: Any) -> Any:
    h = now.h
    if now.convention == "optax":
        as_adam = {**h, "nesterov": True, "amsgrad": False, "bias_correction_nu": True}
        return adam_of_optax(Now(now.convention, as_adam, now.rate, now.t, None), s, g)
    moments(h, s, g)
    here, following = momentum_of_nadam(h, now.t), momentum_of_nadam(h, now.t + 1)
    mean = following * s["momentum"] / (1 - now.product * following) + (1 - here) * g / (1 - now.product)
    return now.rate * mean / (mp.sqrt(s["velocity"] / one_minus_power(h["beta_2"], now.t)) + h["epsilon"])


def corrections_with_nesterov(values: Given) -> list[tuple[float, int, float]]:
    return corrections({**values, "nesterov": True})


FORMULA = """Nadam — `momentum` m, `velocity` v, scalar `u_product` P, which starts at 1

m and v as in Adam; c2 = 1 - beta_2^t.

- `keras`, `keras2`, `torch`: u(k) = beta_1·(1 - 0.5·0.96^(k·schedule_decay)), 0.96 being the float64 next to it;
  P ← P·u(t); n = u(t+1)·m / (1 - P·u(t+1)) + (1 - u(t))·g / (1 - P); p ← p - lr · n / (sqrt(v/c2) + epsilon).
  In `torch` P is one for each parameter, and stays where the gradient is missing. In the others it is one for all, and
  goes on with t.
- `optax`: Adam's rule of `optax` with nesterov, without amsgrad; there is no P.
"""

FACTS = AlgorithmFacts(
    name="Nadam",
    formula=FORMULA,
    hyperparameters={
        "keras": {**NADAM, "epsilon": 1e-7},
        "keras2": without("weight_decay", NADAM, epsilon=1e-7),
        "torch": {**NADAM, "decoupled_weight_decay": False, "maximize": False},
        "optax": without("schedule_decay", NADAM, eps_root=0.0),
    },
    rule=nadam,
    slots=lambda h: ("momentum", "velocity"),
    product=Product("u_product", momentum_of_nadam, ("keras", "keras2", "torch")),
    rate=2.0**-7,
    descends=0.1,
    cancels=True,
    plain=(
        Example("nadam", {"schedule_decay": 0.004}),
        Example("nadam-of-keras", {"schedule_decay": 1.0}, keras={"schedule_decay": None}),
    ),
    features=(
        Example("nadam-accumulation", {"schedule_decay": 1.0, "gradient_accumulation_steps": 3},
                keras={"schedule_decay": None}),
    ),
    elsewhere=(
        # Keras 3 has the formula of Keras 2.2, but for `schedule_decay`.
        Example("keras2-nadam", {"schedule_decay": 0.004}, "keras2"),
        Example("keras2-nadam-of-keras", {"schedule_decay": 1.0}, "keras2", {"schedule_decay": None}),
        Example("torch-nadam", DECAY, "torch"),
        Example("torch-nadam-decoupled", {**DECAY, "decoupled_weight_decay": True, "schedule_decay": 0.5}, "torch"),
        Example("optax-nadam", {"weight_decay": 0.1, "eps_root": 1e-5}, "optax"),
    ),
    same={
        "keras and torch": Pair(("keras", {"epsilon": 1e-3}), ("torch", {"epsilon": 1e-3})),
        "of optax is adam": Pair(
            ("optax", {"eps_root": 1e-3}), ("optax", {"eps_root": 1e-3, "nesterov": True}, "Adam")
        ),
    },
    different={"torch and optax": Pair(("torch", {}), ("optax", {}), steady=True)},
    options={
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
    edge=DECAY,
    late=({"beta_1": 0.9, "beta_2": SLOW, "schedule_decay": 2.0**-21}, LATE),
    extremes=({}, {"beta_1": 0.25, "beta_2": 0.375}, {"weight_decay": 0.1}),
    ends=(
        {"beta_1": 0.0}, {"beta_2": 0.0}, {"beta_1": ALMOST_ONE}, {"beta_2": ALMOST_ONE}, {"schedule_decay": 1e30},
        {"schedule_decay": 0.0}, {"epsilon": 1e30}, {"weight_decay": 1e3},
    ),
    weighed={"beta_2": 0.0},
    torch=Torch(
        name="NAdam",
        drawn={**MOMENTS, "schedule_decay": "schedule", "decoupled_weight_decay": "flag"},
        names={"schedule_decay": "momentum_decay"},
        slots=STATE_OF_TORCH,
        cases=(
            {},
            {"momentum_decay": 0.5, "weight_decay": 0.1, "maximize": True},
            {"weight_decay": 0.1, "decoupled_weight_decay": True},
        ),
    ),
    keras=Keras(
        drawn=MOMENTS,
        # Keras 3 has no schedule_decay: its Nadam is that of 1.
        given={"schedule_decay": 1.0},
        cases=({"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3},),
        averages=2,
    ),
    optax={
        "nadam": Optax(
            drawn=DRAWN_IN_OPTAX, slots=STATE_OF_OPTAX, compiled={}, corrections=corrections_with_nesterov
        ),
        "nadamw": Optax(
            drawn={**DRAWN_IN_OPTAX, "weight_decay": "decay"},
            slots=STATE_OF_OPTAX,
            corrections=corrections_with_nesterov,
            reads_parameters=True,
        ),
    },
)  # fmt: skip
