"""The update rules of the twin: each for one element, in numbers of 50 digits, each convention spelled out.

A rule changes the element's slots and returns what is subtracted from the parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exact import mp, number, one_minus_power

KERAS = ("keras", "keras2")
CONVENTIONS = ("keras", "keras2", "torch", "optax")

ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "amsgrad": False}
ADAM_OPTAX = {**ADAM, "eps_root": 0.0, "nesterov": False, "bias_correction_mu": True, "bias_correction_nu": True}
ADAMAX = {"learning_rate": 0.002, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
NADAM = {**ADAMAX, "schedule_decay": 0.004}


def without(names: str, given: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {key: value for key, value in {**given, **changed}.items() if key not in names.split()}


HYPERPARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "keras": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        "torch": {"learning_rate": 0.01, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0,
                  "maximize": False},
        "optax": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    },
    "RMSprop": {
        "keras": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False,
                  "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-7},
        "torch": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False,
                  "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False,
                  "initial_scale": 0.0, "eps_in_sqrt": True, "nesterov": False, "bias_correction": False},
    },
    "Adagrad": {
        "keras": {"learning_rate": 0.01, "initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0.0},
        "keras2": {"learning_rate": 0.01, "epsilon": 1e-7},
        "torch": {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-10, "lr_decay": 0.0,
                  "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 0.01, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    },
    "Adadelta": {
        "keras": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7, "weight_decay": 0.0},
        "keras2": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7},
        "torch": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6, "weight_decay": 0.0, "maximize": False},
        "optax": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6, "weight_decay": 0.0},
    },
    "Adam": {
        "keras": {**ADAM, "epsilon": 1e-7},
        "keras2": without("weight_decay", ADAM, epsilon=1e-7),
        "torch": {**ADAM, "decoupled_weight_decay": False, "maximize": False},
        "optax": ADAM_OPTAX,
    },
    "AdamW": {
        "keras": {**ADAM, "epsilon": 1e-7, "weight_decay": 0.004},
        "torch": {**ADAM, "weight_decay": 0.01, "maximize": False},
        "optax": {**ADAM_OPTAX, "weight_decay": 1e-4},
    },
    "Adamax": {
        "keras": {**ADAMAX, "epsilon": 1e-7},
        "keras2": without("weight_decay", ADAMAX, epsilon=1e-7),
        "torch": {**ADAMAX, "maximize": False},
        "optax": ADAMAX,
    },
    "Nadam": {
        "keras": {**NADAM, "epsilon": 1e-7},
        "keras2": without("weight_decay", NADAM, epsilon=1e-7),
        "torch": {**NADAM, "decoupled_weight_decay": False, "maximize": False},
        "optax": without("schedule_decay", NADAM, eps_root=0.0),
    },
}  # fmt: skip
"""What a convention knows, with its defaults. A weight decay of 0 is none."""


@dataclass(frozen=True)
class Now:
    """What a rule knows besides the element. `t` counts from 1; `product` is of Nadam's momenta, with this step's."""

    convention: str
    h: dict[str, Any]
    rate: Any
    t: int
    product: Any


Slots = dict[str, Any]


def slot_names(algorithm: str, h: dict[str, Any]) -> tuple[str, ...]:
    """What a rule remembers of an element."""
    if algorithm == "SGD":
        return ("momentum",) if h["momentum"] else ()
    if algorithm == "RMSprop":
        momentum = ("momentum",) if h.get("momentum") else ()
        return ("velocity", *momentum, *(("average_gradient",) if h.get("centered") else ()))
    if algorithm in ("Adam", "AdamW"):
        return ("momentum", "velocity", *(("velocity_hat",) if h["amsgrad"] else ()))
    return {
        "Adagrad": ("accumulator",),
        "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
        "Adamax": ("momentum", "norm"),
        "Nadam": ("momentum", "velocity"),
    }[algorithm]


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


def adagrad(now: Now, s: Slots, g: Any) -> Any:
    h, epsilon = now.h, now.h["epsilon"]
    s["accumulator"] = s["accumulator"] + g**2
    if now.convention == "optax" and not s["accumulator"]:
        return number(0)
    if now.convention in ("keras", "optax"):
        return now.rate * g / mp.sqrt(s["accumulator"] + epsilon)
    rate = now.rate / (1 + (now.t - 1) * h["lr_decay"]) if now.convention == "torch" else now.rate
    return rate * g / (mp.sqrt(s["accumulator"]) + epsilon)


def adadelta(now: Now, s: Slots, g: Any) -> Any:
    rho, epsilon = now.h["rho"], now.h["epsilon"]
    s["accumulated_grad"] = rho * s["accumulated_grad"] + (1 - rho) * g**2
    delta = mp.sqrt(s["accumulated_delta_var"] + epsilon) / mp.sqrt(s["accumulated_grad"] + epsilon) * g
    s["accumulated_delta_var"] = rho * s["accumulated_delta_var"] + (1 - rho) * delta**2
    return now.rate * delta


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


def adamax(now: Now, s: Slots, g: Any) -> Any:
    h, epsilon = now.h, now.h["epsilon"]
    s["momentum"] = h["beta_1"] * s["momentum"] + (1 - h["beta_1"]) * g
    rate = now.rate / one_minus_power(h["beta_1"], now.t)
    if now.convention in KERAS:
        s["norm"] = max(h["beta_2"] * s["norm"], abs(g))
        return rate * s["momentum"] / (s["norm"] + epsilon)
    s["norm"] = max(h["beta_2"] * s["norm"], abs(g) + epsilon)
    return rate * s["momentum"] / s["norm"]


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


RULES: dict[str, Callable[[Now, Slots, Any], Any]] = {
    "SGD": sgd, "RMSprop": rmsprop, "Adagrad": adagrad, "Adadelta": adadelta, "Adam": adam, "AdamW": adam,
    "Adamax": adamax, "Nadam": nadam,
}  # fmt: skip
