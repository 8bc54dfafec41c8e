"""A small model and its data, the same on every backend, and what the tests read from optimizers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from rules import all_facts

BACKEND = keras.backend.backend()
PEERS = {name: facts.keras for name, facts in all_facts().items() if facts.keras is not None}
TRAINS = BACKEND != "numpy"

_DRAW = np.random.default_rng(0)
X = _DRAW.normal(size=(32, 6)).astype("float32")
Y = np.tanh(X @ _DRAW.normal(size=(6, 3))).astype("float32")
LABELS = np.eye(3, dtype="float32")[Y.argmax(axis=1)]
WEIGHTS = [(_DRAW.normal(size=shape) / 2).astype("float32") for shape in ((6, 4), (4,), (4, 3), (3,))]
SHAPES = [weight.shape for weight in WEIGHTS]


def model(optimizer: Any, loss: str = "mean_squared_error", last: str = "linear", **keywords: Any) -> Any:
    made = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, activation="tanh", name="first"),
            keras.layers.Dense(3, activation=last, name="second"),
        ],
        name="model",
    )
    made.set_weights(WEIGHTS)
    made.compile(optimizer=optimizer, loss=loss, **keywords)
    return made


def losses(trained: Any, epochs: int = 2, target: Any = Y, **keywords: Any) -> np.ndarray:
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **keywords}
    return np.array(trained.fit(X, target, epochs=epochs, **options).history["loss"])


def variables() -> list[Any]:
    made = []
    for layer, names in (("first", WEIGHTS[:2]), ("second", WEIGHTS[2:])):
        with keras.name_scope(layer):
            made += [
                keras.Variable(value, name=name) for name, value in zip(("kernel", "bias"), names, strict=True)
            ]
    return made


def gradients(steps: int, missing: bool = False) -> list[list[Any]]:
    """Gradients of every step, on the backend; with `missing` one of the first step's is None."""
    draw = np.random.default_rng(1)
    rows = [[draw.normal(size=shape).astype("float32") for shape in SHAPES] for _ in range(steps)]
    tensors: list[list[Any]] = [[keras.ops.convert_to_tensor(value) for value in row] for row in rows]
    if missing:
        tensors[0][1] = None
    return tensors


def values(of: Any) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(variable.value), dtype="float64") for variable in of]


def distance(ours: Any, theirs: Any) -> float:
    """The largest difference of two lists of arrays."""
    return max(
        (float(np.max(np.abs(own - other), initial=0.0)) for own, other in zip(ours, theirs, strict=True)), default=0.0
    )
