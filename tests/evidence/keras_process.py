"""Trajectories of Keras 3, on torch in float64: a program of its own, as Keras reads its settings when imported.

`KERAS_BACKEND=torch python keras_process.py` prints a JSON object. "keras" is its version; "rows" has, for each row
with an equivalent in Keras, one object for each call: the parameters' values in hexadecimal, by name.
"""

from __future__ import annotations

import json
from typing import Any

import keras
import torch
from helpers.algorithms import ROWS, SHAPES, WHERE_KERAS_DIFFERS, Row, Schedule, problem

STEPS = 100


def translated(value: Any) -> Any:
    if isinstance(value, Schedule):
        return getattr(keras.optimizers.schedules, value.name)(**value.arguments)
    return value


def made(row: Row) -> Any:
    assert row.keras is not None
    name, arguments = row.keras
    return getattr(keras.optimizers, name)(**{key: translated(value) for key, value in arguments.items()})


def trajectory(row: Row) -> list[dict[str, list[str]]]:
    optimizer = made(row)
    start, gradients = problem(steps=STEPS)
    parameters = {name: keras.Variable(value, dtype="float64", name=name) for name, value in start.items()}
    optimizer.build(list(parameters.values()))
    calls = []
    for gradient in gradients:
        optimizer.apply([torch.tensor(gradient[name]) for name in SHAPES], list(parameters.values()))
        found = {name: parameter.value.detach().numpy() for name, parameter in parameters.items()}
        assert all(value.dtype.name == "float64" for value in found.values())
        calls.append({name: [x.hex() for x in value.ravel().tolist()] for name, value in found.items()})
    return calls


def main() -> None:
    keras.config.set_floatx("float64")
    assert keras.config.backend() == "torch"
    rows = {row.name: trajectory(row) for row in (*ROWS, *WHERE_KERAS_DIFFERS) if row.keras is not None}
    print(json.dumps({"keras": keras.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
