"""AdamW: Adam with a decay that does not enter the gradient."""

from __future__ import annotations

from . import ALMOST_ONE, MOMENTS, AlgorithmFacts, Example, Keras, Optax, Pair, Torch
from .adam import (
    ADAM,
    ADAM_OPTAX,
    DRAWN_IN_OPTAX,
    LATE,
    OPTIONS,
    STATE_OF_OPTAX,
    STATE_OF_TORCH,
    adam,
    corrections,
    slots,
)

FACTS = AlgorithmFacts(
    name="AdamW",
    hyperparameters={
        "keras": {**ADAM, "epsilon": 1e-7, "weight_decay": 0.004},
        "torch": {**ADAM, "weight_decay": 0.01, "maximize": False},
        "optax": {**ADAM_OPTAX, "weight_decay": 1e-4},
    },
    rule=adam,
    slots=slots,
    coupled=lambda convention, h: False,
    rate=2.0**-7,
    descends=0.1,
    plain=(
        Example("adamw", {"weight_decay": 0.01}, keras="same"),
        Example("adamw-amsgrad", {"weight_decay": 0.25, "amsgrad": True}, keras="same"),
    ),
    elsewhere=(Example("torch-adamw", {}, "torch"), Example("optax-adamw", {}, "optax")),
    same={
        "torch and optax": Pair(("torch", {"weight_decay": 0.1}), ("optax", {"weight_decay": 0.1})),
        "keras and torch without epsilon": Pair(
            ("keras", {"weight_decay": 0.1, "epsilon": 0.0}), ("torch", {"weight_decay": 0.1, "epsilon": 0.0})
        ),
    },
    options={**OPTIONS, "no-weight-decay": {"weight_decay": 0.0}},
    edge={"amsgrad": True},
    late=(LATE,),
    extremes=({}, {"amsgrad": True}),
    ends=({"beta_1": 0.0, "beta_2": 0.0}, {"beta_1": ALMOST_ONE, "beta_2": ALMOST_ONE}, {"weight_decay": 1e3}),
    weighed={"beta_2": 0.0, "weight_decay": 1e3},
    torch=Torch(
        name="AdamW",
        drawn={**MOMENTS, "amsgrad": "flag"},
        slots=STATE_OF_TORCH,
        cases=({}, {"lr": 0.01, "weight_decay": 0.5, "amsgrad": True, "maximize": True}),
        fused=True,
    ),
    keras=Keras(
        drawn={**MOMENTS, "amsgrad": "flag"},
        cases=({"weight_decay": 0.25, "amsgrad": True, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3},),
        averages=2,
        # The decay of an infinite parameter, as Keras's on torch has it.
        choices=4,
    ),
    optax={
        "adamw": Optax(
            drawn={**DRAWN_IN_OPTAX, "weight_decay": "decay", "nesterov": "flag"},
            slots=STATE_OF_OPTAX,
            compiled={"nesterov": True},
            corrections=corrections,
            reads_parameters=True,
            variants=(
                {"weight_decay": 0.1, "mask": {"kernel": True, "bias": False}},
                {"weight_decay": lambda count: 0.1 / (count + 1)},
            ),
        ),
    },
)
