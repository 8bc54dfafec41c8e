"""Adadelta: steps as large as the steps before, whatever the gradients' unit."""

from __future__ import annotations

from typing import Any

from helpers.exact import mp

from . import ALMOST_ONE, DECAY, AlgorithmFacts, Example, Keras, Now, Optax, Pair, Slots, Torch


def adadelta(now: Now, s: Slots, g: Any) -> Any:
    rho, epsilon = now.h["rho"], now.h["epsilon"]
    s["accumulated_grad"] = rho * s["accumulated_grad"] + (1 - rho) * g**2
    delta = mp.sqrt(s["accumulated_delta_var"] + epsilon) / mp.sqrt(s["accumulated_grad"] + epsilon) * g
    s["accumulated_delta_var"] = rho * s["accumulated_delta_var"] + (1 - rho) * delta**2
    return now.rate * delta


FORMULA = """Adadelta — `accumulated_grad` a, `accumulated_delta_var` x

a ← rho·a + (1 - rho)·g²; d = sqrt(x + epsilon) / sqrt(a + epsilon) · g; x ← rho·x + (1 - rho)·d²; p ← p - lr·d.
All conventions have this rule, with other defaults.
"""

FACTS = AlgorithmFacts(
    name="Adadelta",
    formula=FORMULA,
    hyperparameters={
        "keras": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7, "weight_decay": 0.0},
        "keras2": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7},
        "torch": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6, "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6, "weight_decay": 0.0},
    },
    rule=adadelta,
    slots=lambda h: ("accumulated_grad", "accumulated_delta_var"),
    coupled=lambda convention, h: convention in ("torch", "optax"),
    rate=1.0,
    descends=100.0,
    plain=(
        Example("adadelta", keras="same"),
        Example("adadelta-short", {"rho": 0.8, "epsilon": 1e-6}, keras="same"),
    ),
    features=(Example("adadelta-weight-decay", {"weight_decay": 0.01}, keras="same"),),
    elsewhere=(
        Example("keras2-adadelta", {"decay": 0.125}, "keras2"),
        Example("keras2-adadelta-steady", {}, "keras2", "same"),
        Example("torch-adadelta", {"rho": 0.9, "weight_decay": 0.01}, "torch"),
        Example("optax-adadelta", {"weight_decay": 0.01}, "optax"),
    ),
    same={
        "keras and torch": Pair(("keras", {"epsilon": 1e-6}), ("torch", {})),
        "torch and optax": Pair(("torch", DECAY), ("optax", DECAY)),
    },
    options={
        "short-memory": {"rho": 0.5},
        "very-short-memory": {"rho": 0.25},
        "large-epsilon": {"epsilon": 1e-3},
        "large-epsilon-short-memory": {"epsilon": 0.125, "rho": 0.75},
        "weight-decay": DECAY,
        "weight-decay-maximize": {**DECAY, "maximize": True},
    },
    edge=DECAY,
    rate_of_16_bits=64.0,
    decay_of_16_bits=2.0**-9,  # The rate times 0.1 would be more than 1.
    extremes=({}, {"rho": 0.25}, {"weight_decay": 0.1}),
    ends=(
        {"rho": 0.0}, {"rho": 1.0}, {"rho": ALMOST_ONE}, {"rho": ALMOST_ONE, "epsilon": 1e30}, {"rho": 1e-30},
        {"rho": 1.0, "epsilon": 1e30}, {"rho": 0.0, "epsilon": 1e30}, {"rho": 1.0, "weight_decay": 1.0},
    ),
    weighed={"rho": 1.0},
    torch=Torch(
        name="Adadelta",
        drawn={"rho": "beta", "epsilon": "epsilon"},
        slots={"square_avg": "accumulated_grad", "acc_delta": "accumulated_delta_var"},
        cases=({}, {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ),
    keras=Keras(
        drawn={"rho": "beta", "epsilon": "epsilon"},
        cases=({"learning_rate": 1.0, "rho": 0.5, "epsilon": 1e-3},),
        averages=2,
        # A square that overflows before it is weighed, which is weighed on the way.
        choices=5,
    ),
    optax={
        "adadelta": Optax(
            drawn={"rho": "beta", "epsilon": "epsilon", "weight_decay": "decay"},
            slots={"accumulated_grad": "e_g", "accumulated_delta_var": "e_x"},
            compiled={},
            variants=(
                {"weight_decay": 0.1,
                 "weight_decay_mask": lambda tree: {name: name == "kernel" for name in tree}},
            ),
        ),
    },
)  # fmt: skip
