"""One table that drives tests: every algorithm with its options, in each convention, and what Keras calls the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gradwise import optimizers
from gradwise.backends import Variable


@dataclass(frozen=True)
class Row:
    """An algorithm with arguments.

    Attributes:
        name: the test's id.
        algorithm: the class's name, in gradwise and in Keras.
        arguments: of gradwise.
        keras: the arguments of Keras 3 that mean the same, if it has such; None for convention "keras2".
        exact: whether Keras computes it in float64 throughout.
    """

    name: str
    algorithm: str
    arguments: dict[str, Any] = field(default_factory=dict)
    keras: dict[str, Any] | None = field(default_factory=dict)
    exact: bool = True

    def make(self, **more: Any) -> Any:
        """A new optimizer, with the learning rate of the table unless another is given."""
        rate = RATES[self.algorithm]
        return getattr(optimizers, self.algorithm)(**{"learning_rate": rate, **self.arguments, **more})


# Exactly representable in float32, in which Keras keeps its learning rate.
RATES = {
    "SGD": 0.0625, "RMSprop": 0.0078125, "Adagrad": 0.0625, "Adadelta": 1.0, "Adam": 0.0078125, "AdamW": 0.0078125,
    "Adamax": 0.015625, "Nadam": 0.0078125,
}  # fmt: skip
ALGORITHMS = (
    Row("sgd", "SGD"),
    Row("sgd-momentum", "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    Row("sgd-nesterov", "SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    Row("rmsprop", "RMSprop", {}, {"rho": 0.9}),
    Row("rmsprop-momentum", "RMSprop", {"momentum": 0.5}, {"rho": 0.9, "momentum": 0.5}),
    Row("rmsprop-centered", "RMSprop", {"centered": True}, {"rho": 0.9, "centered": True}),
    Row("rmsprop-both", "RMSprop", {"centered": True, "momentum": 0.5}, {"centered": True, "momentum": 0.5}),
    Row("adagrad", "Adagrad"),
    Row("adadelta", "Adadelta", {}, {"rho": 0.95}),
    Row("adam", "Adam"),
    Row("adam-amsgrad", "Adam", {"amsgrad": True}, {"amsgrad": True}),
    Row("adamw", "AdamW", {"weight_decay": 0.01}, {"weight_decay": 0.01}),
    Row("adamw-amsgrad", "AdamW", {"amsgrad": True}, {"amsgrad": True, "weight_decay": 0.004}),
    Row("adamax", "Adamax"),
    Row("nadam", "Nadam", {"schedule_decay": 1.0}, {}),
    Row("nadam-slow", "Nadam", {}, None),
)
FEATURES = (
    Row("decay", "SGD", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    Row("clipvalue", "Adam", {"clipvalue": 0.01}, {"clipvalue": 0.01}),
    Row("clipnorm", "Adam", {"clipnorm": 0.01}, {"clipnorm": 0.01}, exact=False),
    Row("global-clipnorm", "RMSprop", {"global_clipnorm": 0.01}, {"global_clipnorm": 0.01}, exact=False),
    Row("ema", "Adam", {"use_ema": True, "ema_momentum": 0.875, "ema_overwrite_frequency": 7},
        {"use_ema": True, "ema_momentum": 0.875, "ema_overwrite_frequency": 7}),
    Row("accumulation", "Adam", {"gradient_accumulation_steps": 4, "weight_decay": 0.1},
        {"gradient_accumulation_steps": 4, "weight_decay": 0.1}),
    Row("loss-scale", "Adagrad", {"loss_scale_factor": 1024.0}, {"loss_scale_factor": 1024.0}),
)  # fmt: skip
KERAS_2 = tuple(
    Row(f"keras2-{row.name}", row.algorithm, {**row.arguments, "convention": "keras2", **more}, None)
    for row, more in (
        (ALGORITHMS[0], {}), (ALGORITHMS[1], {"decay": 0.01}), (ALGORITHMS[2], {}), (ALGORITHMS[3], {"decay": 0.01}),
        (ALGORITHMS[7], {}), (ALGORITHMS[8], {}), (ALGORITHMS[9], {"clipnorm": 0.5, "clipvalue": 0.1}),
        (ALGORITHMS[10], {"decay": 0.01}), (ALGORITHMS[13], {}), (ALGORITHMS[15], {}),
    )
)  # fmt: skip
ROWS = (*ALGORITHMS, *FEATURES, *KERAS_2)

LIBRARIES = (
    "numpy",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
    "array_api_strict",
)

SHAPES = {"kernel": (5, 7), "bias": (), "empty": (0, 3)}
STEPS = 100


def problem(dtype: Any, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Starting values, and gradients spread over 1e-6 to 1, the same for everyone."""
    rng = np.random.default_rng(7)
    start = {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}
    scale = {name: 10.0 ** rng.uniform(-6, 0, size=shape) for name, shape in SHAPES.items()}
    gradients = [
        {name: np.asarray(rng.normal(size=shape) * scale[name], dtype) for name, shape in SHAPES.items()}
        for _ in range(steps)
    ]
    return start, gradients


def convert(library: str, array: Any) -> Any:
    """A NumPy array, copied, as an array of a library."""
    if library == "torch":
        import torch

        if array.dtype.name == "bfloat16":
            return torch.tensor(array.astype(np.float32)).to(torch.bfloat16)
        return torch.tensor(array)
    if library == "jax":
        import jax.numpy

        return jax.numpy.array(array)
    if library == "array_api_strict":
        import array_api_strict

        return array_api_strict.asarray(array.copy())
    return array.copy()


def back(array: Any) -> Any:
    """An array of any library as a NumPy array."""
    return np.asarray(Variable(array))


def imperative(row: Row, library: str, dtype: Any, steps: int = STEPS, **more: Any) -> dict[str, Any]:
    """The parameters after imperative steps."""
    start, gradients = problem(dtype, steps)
    parameters = {name: convert(library, value) for name, value in start.items()}
    if library in ("jax", "array_api_strict"):
        parameters = {name: Variable(value, name=name) for name, value in parameters.items()}
    optimizer = row.make(**more)
    for gradient in gradients:
        optimizer.apply([convert(library, gradient[name]) for name in SHAPES], parameters.values())
    return {name: back(value) for name, value in parameters.items()}


def functional(
    row: Row, library: str, dtype: Any, steps: int = STEPS, compile_step: Any = lambda step: step
) -> dict[str, Any]:
    """The parameters after functional steps."""
    start, gradients = problem(dtype, steps)
    params = {name: convert(library, value) for name, value in start.items()}
    optimizer = row.make()
    state = optimizer.init(params)
    step = compile_step(optimizer.step)
    for gradient in gradients:
        params, state = step(params, {name: convert(library, value) for name, value in gradient.items()}, state)
    return {name: back(value) for name, value in params.items()}


def distance(a: dict[str, Any], b: dict[str, Any], start: dict[str, Any]) -> float:
    """Per tensor max|difference| / (eps * max(max|parameter|, max|update|)), the largest of them."""
    largest = 0.0
    for name, value in b.items():
        if value.size:
            assert a[name].dtype == value.dtype and a[name].shape == value.shape
            size = max(np.max(np.abs(value)), np.max(np.abs(value - start[name])))
            largest = max(largest, float(np.max(np.abs(a[name] - value)) / (np.finfo(value.dtype).eps * size)))
    assert not math.isnan(largest)
    return largest
