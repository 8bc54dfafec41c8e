"""A second implementation of every algorithm: element by element, in Python floats, slow and obvious.

It was written from descriptions of Keras 3.15 and Keras 2.2.4 and from the papers, not from gradwise. Nothing here is
shared with gradwise, NumPy's arithmetic included.

`like_keras=True` follows Keras 3 where gradwise documents that it does not:

- Nadam's `schedule_decay` is 1, not 0.004, by default.
- The moving average of a parameter is updated before the constraint, and on every call; gradwise does so after the
  constraint, and on the calls that update parameters (with gradient accumulation, on the last one of a window).
- So is overwriting a parameter with its average, which Keras does on every call of a window.
- A parameter whose gradient is None on the last call of a window loses what it had accumulated; in gradwise that
  enters the next window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from algorithms import Schedule

COMMON = {
    "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False,
    "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
    "gradient_accumulation_steps": 1, "decay": 0.0, "epsilon": 1e-7,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "centered": False},
    "Adagrad": {"learning_rate": 0.01},
    "Adadelta": {"learning_rate": 1.0, "rho": 0.95},
    "Adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "amsgrad": False},
    "AdamW": {"learning_rate": 0.001, "weight_decay": 0.004, "beta_1": 0.9, "beta_2": 0.999, "amsgrad": False},
    "Adamax": {"learning_rate": 0.002, "beta_1": 0.9, "beta_2": 0.999},
    "Nadam": {"learning_rate": 0.002, "beta_1": 0.9, "beta_2": 0.999, "schedule_decay": 0.004},
}


def one_minus_power(beta: float, t: int) -> float:
    """1 - beta**t, exactly, then rounded: in floats it would lose three digits where beta is 0.999."""
    return float(1 - Fraction(beta) ** t)


class Element:
    """One number of a parameter, and what an algorithm remembers about it. Everything starts from zero."""

    def __init__(self, value: float, **slots: float) -> None:
        self.w = value
        self.average = self.accumulated = 0.0
        self.m = self.v = self.a = self.d = self.u = self.v_max = 0.0
        for name, initial in slots.items():
            setattr(self, name, initial)


class Twin:
    """An optimizer for parameters given as lists of numbers."""

    def __init__(
        self,
        algorithm: str,
        arguments: Mapping[str, Any],
        convention: str,
        parameters: Mapping[str, Sequence[float]],
        constraint: Callable[[float], float] | None = None,
        like_keras: bool = False,
    ) -> None:
        self.algorithm, self.convention = algorithm, convention
        self.constraint, self.like_keras = constraint, like_keras
        h = {**COMMON, **DEFAULTS[algorithm], **arguments}
        if like_keras and "schedule_decay" in h:
            h["schedule_decay"] = 1.0
        self.h = h
        slots = {}
        if algorithm == "Adagrad":
            slots["a"] = h.get("initial_accumulator_value", 0.1 if convention == "keras" else 0.0)
        self.parameters = {name: [Element(x, **slots) for x in values] for name, values in parameters.items()}
        self.calls = self.updates = 0
        self.product = 1.0  # of Nadam's momenta so far

    def values(self) -> dict[str, list[float]]:
        return {name: [element.w for element in elements] for name, elements in self.parameters.items()}

    # ------------------------------------------------------------ one call

    def apply(self, gradients: Mapping[str, Sequence[float] | None]) -> None:
        """One call with gradients; None leaves a parameter out."""
        window = self.h["gradient_accumulation_steps"]
        given = {name: list(values) for name, values in gradients.items() if values is not None}
        if self.h["loss_scale_factor"] is not None:
            given = {name: [g / self.h["loss_scale_factor"] for g in values] for name, values in given.items()}
        if (self.calls + 1) % window == 0:
            self.update(self.mean_of_window(given, window))
        else:
            for name, values in given.items():
                for element, g in zip(self.parameters[name], values, strict=True):
                    element.accumulated += g
            if self.like_keras:
                self.move_averages()
                self.constrain(given)
        self.calls += 1
        self.updates = self.calls // window

    def mean_of_window(self, given: Mapping[str, Sequence[float]], window: int) -> dict[str, list[float]]:
        means = {}
        for name, values in given.items():
            means[name] = [
                (element.accumulated + g) / window for element, g in zip(self.parameters[name], values, strict=True)
            ]
        for name, elements in self.parameters.items():
            if name in given or self.like_keras:
                for element in elements:
                    element.accumulated = 0.0
        return means

    def update(self, gradients: dict[str, list[float]]) -> None:
        gradients = self.clipped(gradients)
        rate = self.rate()
        t = self.updates + 1
        self.begin(t)
        for name, values in gradients.items():
            for element, g in zip(self.parameters[name], values, strict=True):
                if self.h["weight_decay"] is not None:
                    element.w -= element.w * self.h["weight_decay"] * rate
                getattr(self, self.algorithm)(element, g, rate, t)
        if self.like_keras:
            self.move_averages()
            self.constrain(gradients)
        else:
            self.constrain(gradients)
            self.move_averages()

    def rate(self) -> float:
        rate = self.h["learning_rate"]
        if isinstance(rate, Schedule):
            x = rate.arguments
            past = self.calls / x["decay_steps"]
            if rate.name == "ExponentialDecay":
                rate = x["initial_learning_rate"] * x["decay_rate"] ** past
            else:
                rate = x["initial_learning_rate"] / (1 + x["decay_rate"] * past)
        return rate / (1 + self.h["decay"] * self.calls)

    def clipped(self, gradients: dict[str, list[float]]) -> dict[str, list[float]]:
        every = math.sqrt(math.fsum(g * g for values in gradients.values() for g in values))
        overall, own = self.h["global_clipnorm"], self.h["clipnorm"]
        if self.convention == "keras2":
            overall, own = own, None
        if overall is not None and every > overall:
            gradients = {name: [g * overall / every for g in values] for name, values in gradients.items()}
        if own is not None:
            for name, values in gradients.items():
                norm = math.sqrt(math.fsum(g * g for g in values))
                if norm > own:
                    gradients[name] = [g * own / norm for g in values]
        limit = self.h["clipvalue"]
        if limit is not None:
            gradients = {name: [min(max(g, -limit), limit) for g in values] for name, values in gradients.items()}
        return gradients

    def constrain(self, names: Mapping[str, Any]) -> None:
        if self.constraint is not None:
            for name in names:
                for element in self.parameters[name]:
                    element.w = self.constraint(element.w)

    def move_averages(self) -> None:
        """Of all parameters, those without a gradient too. The first average is the parameter itself."""
        if not self.h["use_ema"]:
            return
        momentum = self.h["ema_momentum"] if self.updates > 0 else 0.0
        every = self.h["ema_overwrite_frequency"]
        for elements in self.parameters.values():
            for element in elements:
                element.average = momentum * element.average + (1 - momentum) * element.w
                if every is not None and (self.updates + 1) % every == 0:
                    element.w = element.average

    # ------------------------------------------------------------ the algorithms

    def begin(self, t: int) -> None:
        if self.algorithm == "Nadam":
            self.momentum_now, self.momentum_next = (
                self.h["beta_1"] * (1 - 0.5 * 0.96 ** (self.h["schedule_decay"] * k)) for k in (t, t + 1)
            )
            self.product *= self.momentum_now

    def SGD(self, x: Element, g: float, rate: float, t: int) -> None:
        mu = self.h["momentum"]
        if mu == 0:
            x.w = x.w - rate * g
            return
        x.v = mu * x.v - rate * g
        if self.h["nesterov"]:
            x.w = x.w + mu * x.v - rate * g
        else:
            x.w = x.w + x.v

    def RMSprop(self, x: Element, g: float, rate: float, t: int) -> None:
        rho, mu, epsilon = self.h["rho"], self.h["momentum"], self.h["epsilon"]
        x.v = rho * x.v + (1 - rho) * g**2
        if self.convention == "keras2":
            x.w = x.w - rate * g / (math.sqrt(x.v) + epsilon)
            return
        spread = x.v
        if self.h["centered"]:
            x.a = rho * x.a + (1 - rho) * g
            spread = x.v - x.a**2
        x.m = mu * x.m + rate * g / math.sqrt(spread + epsilon)
        x.w = x.w - x.m

    def Adagrad(self, x: Element, g: float, rate: float, t: int) -> None:
        x.a = x.a + g**2
        if self.convention == "keras2":
            x.w = x.w - rate * g / (math.sqrt(x.a) + self.h["epsilon"])
        else:
            x.w = x.w - rate * g / math.sqrt(x.a + self.h["epsilon"])

    def Adadelta(self, x: Element, g: float, rate: float, t: int) -> None:
        rho, epsilon = self.h["rho"], self.h["epsilon"]
        x.a = rho * x.a + (1 - rho) * g**2
        step = g * math.sqrt(x.d + epsilon) / math.sqrt(x.a + epsilon)
        x.d = rho * x.d + (1 - rho) * step**2
        x.w = x.w - rate * step

    def moments(self, x: Element, g: float) -> None:
        x.m = self.h["beta_1"] * x.m + (1 - self.h["beta_1"]) * g
        x.v = self.h["beta_2"] * x.v + (1 - self.h["beta_2"]) * g**2

    def Adam(self, x: Element, g: float, rate: float, t: int) -> None:
        self.moments(x, g)
        x.v_max = max(x.v_max, x.v)
        v = x.v_max if self.h["amsgrad"] else x.v
        correction = math.sqrt(one_minus_power(self.h["beta_2"], t)) / one_minus_power(self.h["beta_1"], t)
        x.w = x.w - rate * correction * x.m / (math.sqrt(v) + self.h["epsilon"])

    AdamW = Adam

    def Adamax(self, x: Element, g: float, rate: float, t: int) -> None:
        x.m = self.h["beta_1"] * x.m + (1 - self.h["beta_1"]) * g
        x.u = max(self.h["beta_2"] * x.u, abs(g))
        x.w = x.w - rate / one_minus_power(self.h["beta_1"], t) * x.m / (x.u + self.h["epsilon"])

    def Nadam(self, x: Element, g: float, rate: float, t: int) -> None:
        self.moments(x, g)
        g_corrected = g / (1 - self.product)
        m_corrected = x.m / (1 - self.product * self.momentum_next)
        v_corrected = x.v / one_minus_power(self.h["beta_2"], t)
        m_mean = (1 - self.momentum_now) * g_corrected + self.momentum_next * m_corrected
        x.w = x.w - rate * m_mean / (math.sqrt(v_corrected) + self.h["epsilon"])
