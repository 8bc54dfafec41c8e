"""What the wrappers are, slow and obvious, in NumPy's float64, around two optimizers as slow.

Written from the papers and from what hosts document. A base is a function that is given the gradient and the parameter
and returns by how much it would change that. A wrapper makes a class that walks over one parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class SlowMomentum:
    """Gradient descent with momentum, as Keras has it."""

    def __init__(self, rate: float = 0.1, momentum: float = 0.9) -> None:
        self.rate, self.momentum, self.velocity = rate, momentum, 0.0

    def change(self, gradient: Any) -> Any:
        self.velocity = self.momentum * self.velocity - self.rate * gradient
        return self.velocity


class SlowAdam:
    """Adam, as Keras has it."""

    def __init__(self, rate: float = 0.01, beta_1: float = 0.9) -> None:
        self.rate, self.beta_1, self.m, self.v, self.t = rate, beta_1, 0.0, 0.0, 0

    def change(self, gradient: Any) -> Any:
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        rate = self.rate * np.sqrt(1 - 0.999**self.t) / (1 - self.beta_1**self.t)
        return -rate * self.m / (np.sqrt(self.v) + 1e-7)


Walk = Callable[[Any, Any, Iterable[Any]], tuple[Any, Any]]
"""Of a base, a start and gradients: the parameter in the end, and what it is in evaluation."""


def lookahead(base: Any, start: Any, gradients: Iterable[Any], period: int = 6, share: float = 0.5) -> tuple[Any, Any]:
    fast, slow = start, start
    for number, gradient in enumerate(gradients, 1):
        fast = fast + base.change(gradient)
        if number % period == 0:
            slow = slow + share * (fast - slow)
            fast = slow
    return fast, slow


def cautious(base: Any, start: Any, gradients: Iterable[Any], form: str = "paper") -> tuple[Any, Any]:
    parameter = start
    for gradient in gradients:
        step = -base.change(gradient)
        product = step * gradient
        mask = (product >= 0 if form == "heavyball" else product > 0).astype(float)
        total = mask.sum()
        scale = {
            "paper": 1 / max(mask.mean(), 0.001),
            "pytorch_optimizer": mask.size / (total + 1),
            "heavyball": mask.size / max(total, 1),
        }[form]
        parameter = parameter - step * mask * scale
    return parameter, parameter


def cautious_weight_decay(
    base: Any, start: Any, gradients: Iterable[Any], decay: float = 0.1, strict: bool = False
) -> tuple[Any, Any]:
    parameter = start
    for gradient in gradients:
        step = -base.change(gradient)
        product = step * parameter
        decays = product > 0 if strict else product >= 0
        parameter = parameter - base.rate * decay * decays * parameter - step
    return parameter, parameter


def gradient_centralization(base: Any, start: Any, gradients: Iterable[Any], last: bool = False) -> tuple[Any, Any]:
    parameter = start
    for gradient in gradients:
        if gradient.ndim > 1:
            rows = np.moveaxis(gradient, -1, 0) if last else gradient
            rows = np.stack([row - row.mean() for row in rows])
            gradient = np.moveaxis(rows, 0, -1) if last else rows
        parameter = parameter + base.change(gradient)
    return parameter, parameter


def mars(
    base: Any, start: Any, gradients: Iterable[Any], gamma: float = 0.025, beta: float = 0.9, every: bool = False
) -> tuple[Any, Any]:
    parameter, before = start, np.zeros_like(start)
    for gradient in gradients:
        corrected = gradient
        if gradient.ndim >= 2 or every:
            corrected = gradient + gamma * beta / (1 - beta) * (gradient - before)
            norm = np.sqrt((corrected**2).sum())
            corrected = corrected / norm if norm > 1 else corrected
            before = gradient
        parameter = parameter + base.change(corrected)
    return parameter, parameter


def schedule_free(
    base: Any, start: Any, gradients: Iterable[Any], beta: float = 0.9, power: float = 2.0
) -> tuple[Any, Any]:
    x, y, z, total, largest = start, start, start, 0.0, 0.0
    for gradient in gradients:
        z = z + base.change(gradient)
        largest = max(largest, base.rate)
        total += largest**power
        c = largest**power / total if total else 0.0
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
    return y, x
