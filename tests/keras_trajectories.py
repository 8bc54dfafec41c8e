"""Run in a process of its own: Keras's optimizers on the problems of the table, written as hexadecimal floats.

Reads a list of [algorithm, arguments] from standard input; KERAS_BACKEND is set by the caller, floatx is float64.
"""

from __future__ import annotations

import json
import sys

import numpy as np


def main() -> None:
    import keras
    from algorithm_table import SHAPES, problem

    keras.config.set_floatx("float64")
    start, gradients = problem(np.dtype("float64"))
    results = []
    for algorithm, arguments in json.load(sys.stdin):
        variables = {name: keras.Variable(value, dtype="float64", name=name) for name, value in start.items()}
        optimizer = getattr(keras.optimizers, algorithm)(**arguments)
        trajectory = {name: [] for name in SHAPES}
        for gradient in gradients:
            tensors = [keras.ops.convert_to_tensor(gradient[name], dtype="float64") for name in SHAPES]
            optimizer.apply(tensors, list(variables.values()))
            for name, variable in variables.items():
                values = keras.ops.convert_to_numpy(variable.value).reshape(-1).tolist()
                trajectory[name].append([value.hex() for value in values])
        results.append(trajectory)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
