"""Convention "keras2" against a slow reference written from Keras 2.2's update rules."""

from __future__ import annotations

import keras2_reference
import numpy as np
import pytest
from algorithm_table import KERAS_2, RATES, SHAPES, imperative, problem


@pytest.mark.parametrize("row", KERAS_2, ids=lambda row: row.name)
def test_float64_follows_the_reference(row):
    start, gradients = problem(np.dtype("float64"))
    arguments = {name: value for name, value in row.arguments.items() if name != "convention"}
    expected = keras2_reference.train(
        getattr(keras2_reference, row.algorithm.lower()),
        [start[name].reshape(-1).tolist() for name in SHAPES],
        [[gradient[name].reshape(-1).tolist() for name in SHAPES] for gradient in gradients],
        lr=RATES[row.algorithm],
        **arguments,
    )
    result = imperative(row, "numpy", np.dtype("float64"), jit_compile=False)
    for name, values in zip(SHAPES, expected, strict=True):
        scale = np.max(np.abs(values), initial=0.0)
        np.testing.assert_allclose(result[name].reshape(-1), values, rtol=1e-12, atol=1e-13 * scale)


def test_every_older_algorithm_is_there():
    names = {"SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"}
    assert {row.algorithm for row in KERAS_2} == names
