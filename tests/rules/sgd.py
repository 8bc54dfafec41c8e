"""SGD, with momentum."""

from __future__ import annotations

from typing import Any

from . import (
    DECAY,
    DECAYED_FAST,
    EXPONENTIAL,
    KERAS,
    AlgorithmFacts,
    Example,
    Keras,
    Now,
    Optax,
    Pair,
    Slots,
    Torch,
)

MOMENTUM = {"momentum": 0.9}


def sgd(now: Now, s: Slots, g: Any) -> Any:
    h, rate, momentum = now.h, now.rate, now.h["momentum"]
    if not momentum:
        return rate * g
    if now.convention in KERAS:
        s["momentum"] = momentum * s["momentum"] - rate * g
        return rate * g - momentum * s["momentum"] if h["nesterov"] else -s["momentum"]
    if now.convention == "torch":
        s["momentum"] = g if now.t == 1 else momentum * s["momentum"] + (1 - h["dampening"]) * g
    else:
        s["momentum"] = g + momentum * s["momentum"]
    return rate * (g + momentum * s["momentum"] if h["nesterov"] else s["momentum"])


FORMULA = """SGD — `momentum` b

- `keras`, `keras2`: b ← momentum·b - lr·g; p ← p + b, or with nesterov p ← p + momentum·b - lr·g.
- `torch`: if t is 1, b ← g, else b ← momentum·b + (1 - dampening)·g; p ← p - lr·b, or with nesterov
  p ← p - lr·(g + momentum·b).
- `optax`: b ← g + momentum·b; p ← p - lr·b, or with nesterov p ← p - lr·(g + momentum·b).
- all, without momentum: p ← p - lr·g.
"""

FACTS = AlgorithmFacts(
    name="SGD",
    formula=FORMULA,
    hyperparameters={
        "keras": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        "torch": {"learning_rate": 0.01, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0,
                  "maximize": False},
        "optax": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    },
    rule=sgd,
    slots=lambda h: ("momentum",) if h["momentum"] else (),
    rate=2.0**-4,
    descends=0.1,
    bounded=False,
    plain=(
        Example("sgd", keras="same"),
        Example("sgd-momentum", MOMENTUM, keras="same"),
        Example("sgd-nesterov", {**MOMENTUM, "nesterov": True}, keras="same"),
    ),
    features=(
        Example("sgd-weight-decay", DECAY, keras="same"),
        Example("sgd-clipnorm", {**MOMENTUM, "clipnorm": 0.01}, keras="same"),
        Example("sgd-clipvalue", {**MOMENTUM, "clipvalue": 0.01}, keras="same"),
        Example("sgd-ema", {**MOMENTUM, "use_ema": True, "ema_overwrite_frequency": 1}, keras="same"),
        Example("sgd-accumulation", {**MOMENTUM, "gradient_accumulation_steps": 2}, keras="same"),
        Example("sgd-loss-scale-clipvalue", {"loss_scale_factor": 3.0, "clipvalue": 0.01}, keras="same"),
        Example("sgd-decay-weight-decay", {"decay": 0.125, "weight_decay": 0.1},
                keras={"decay": None, "learning_rate": DECAYED_FAST}),
        Example("sgd-schedule", {**MOMENTUM, "learning_rate": EXPONENTIAL}, keras="same"),
    ),
    elsewhere=(
        Example("keras2-sgd", {}, "keras2", "same"),
        Example("keras2-sgd-momentum-decay", {**MOMENTUM, "decay": 0.125}, "keras2",
                {"decay": None, "learning_rate": DECAYED_FAST}),
        Example("keras2-sgd-nesterov", {**MOMENTUM, "nesterov": True}, "keras2", "same"),
        # Keras 3's `global_clipnorm` is Keras 2.2's `clipnorm`.
        Example("keras2-sgd-clipnorm", {"clipnorm": 0.01}, "keras2", {"clipnorm": None, "global_clipnorm": 0.01}),
        Example("keras2-sgd-clipnorm-clipvalue", {**MOMENTUM, "clipnorm": 0.5, "clipvalue": 0.125}, "keras2"),
        Example("torch-sgd", DECAY, "torch"),
        Example("torch-sgd-dampening", {**MOMENTUM, "dampening": 0.25, "maximize": True}, "torch"),
        Example("torch-sgd-nesterov", {**MOMENTUM, "nesterov": True, "learning_rate": EXPONENTIAL}, "torch"),
        Example("optax-sgd", {}, "optax"),
        Example("optax-sgd-nesterov", {**MOMENTUM, "nesterov": True, "learning_rate": EXPONENTIAL}, "optax"),
    ),
    same={
        # The rate inside or outside of the velocity: the same while it does not change.
        "keras and torch, steady rate": Pair(("keras", MOMENTUM), ("torch", MOMENTUM), steady=True),
        "nesterov, keras and optax, steady rate": Pair(
            ("keras", {**MOMENTUM, "nesterov": True}), ("optax", {**MOMENTUM, "nesterov": True}), steady=True
        ),
        "torch and optax": Pair(("torch", MOMENTUM), ("optax", MOMENTUM)),
        "keras and keras2": Pair(("keras", MOMENTUM), ("keras2", MOMENTUM)),
    },
    different={
        "keras and torch, changing rate": Pair(("keras", MOMENTUM), ("torch", MOMENTUM)),
        "dampening": Pair(("torch", {**MOMENTUM, "dampening": 0.5}), ("torch", MOMENTUM), steady=True),
    },
    options={
        "momentum": {"momentum": 0.9},
        "nesterov": {"momentum": 0.9, "nesterov": True},
        "dampening": {"momentum": 0.9, "dampening": 0.25},
        "weight-decay": DECAY,
        "weight-decay-nesterov": {"momentum": 0.75, "nesterov": True, **DECAY},
        "maximize": {"maximize": True},
        "maximize-weight-decay-dampening": {"momentum": 0.9, "dampening": 0.5, "maximize": True, **DECAY},
    },
    edge={"momentum": 0.9, "dampening": 0.25, **DECAY},
    late_sum=lambda convention, size, rate: (size, rate if convention in KERAS else 1.0),
    extremes=({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.25}),
    ends=(
        {"momentum": 1.0}, {"momentum": 1.0, "nesterov": True}, {"momentum": 0.9, "dampening": 1.0},
        {"momentum": 1.0, "dampening": 1.0}, {"weight_decay": 1e3},
    ),
    weighed={"momentum": 1.0},
    torch=Torch(
        name="SGD",
        drawn={"momentum": "momentum", "dampening": "part", "nesterov": "flag"},
        slots={"momentum_buffer": "momentum"},
        cases=(
            {},
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1, "maximize": True},
            {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
        ),
        capturable=False,
        fused=True,
    ),
    keras=Keras(
        drawn={"momentum": "momentum", "nesterov": "flag"},
        cases=({"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}),
        timed={"momentum": 0.5},
        # A velocity which is stored and added is held between infinities, without which XLA on the CPU takes longer
        # (`kept_elsewhere`).
        choices=1,
    ),
    optax={
        "sgd": Optax(
            drawn={"momentum": "momentum", "nesterov": "flag"},
            slots={"momentum": "trace"},
            compiled={"nesterov": True},
            zero=True,
            variants=({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}),
        ),
    },
)  # fmt: skip
