"""Keras 3, on torch, as a program that answers questions: Keras reads its settings when imported, so not in a test.

`KERAS_BACKEND=torch python keras_live_process.py` reads a JSON object from each line and answers with one in a line.

Question: "optimizer", the class; "arguments"; "dtype", of everything; "start", for each parameter its shape and its
values in a list; "steps", each with "rate" and, for each parameter, "gradients": a list of values, or null for none.
Answer: after each step the values of each parameter. An exception is answered as {"error": its traceback}.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from typing import Any

import keras
import torch


def trajectory(question: dict[str, Any]) -> list[dict[str, list[float]]]:
    keras.config.set_floatx(question["dtype"])
    dtype = getattr(torch, question["dtype"])
    shapes = {name: shape for name, (shape, _) in question["start"].items()}

    def tensor(name: str, values: list[float]) -> Any:
        return torch.tensor(values, dtype=dtype).reshape(shapes[name])

    optimizer = getattr(keras.optimizers, question["optimizer"])(**question["arguments"])
    parameters = {
        name: keras.Variable(tensor(name, values), dtype=question["dtype"], name=name)
        for name, (_, values) in question["start"].items()
    }
    optimizer.build(list(parameters.values()))
    answer = []
    for step in question["steps"]:
        optimizer.learning_rate = step["rate"]
        gradients = step["gradients"]
        given = [None if gradients[name] is None else tensor(name, gradients[name]) for name in parameters]
        optimizer.apply(given, list(parameters.values()))
        found = {name: parameter.value.detach() for name, parameter in parameters.items()}
        assert all(value.dtype is dtype for value in found.values())
        answer.append({name: value.double().ravel().tolist() for name, value in found.items()})
    return answer


def main() -> None:
    assert keras.config.backend() == "torch"
    for line in sys.stdin:
        try:
            answer: Any = trajectory(json.loads(line))
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of missing gradients, which are meant to be missing
    main()
