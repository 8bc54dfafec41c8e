"""Against Keras 3.15.1 itself, on torch in float64: the same start, the same gradients, 100 calls, after each call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.algorithms import ROWS, SHAPES, WHERE_KERAS_DIFFERS, problem
from helpers.backend_table import largest_distance
from helpers.twin import Twin

pytestmark = pytest.mark.keras

PROGRAM = Path(__file__).with_name("keras_process.py")
TESTS = Path(__file__).parents[1]
EPS = float(np.finfo(np.float64).eps)
PRECISION = 1e-12
"""Relative to the largest value, or update, of a tensor. Measured: 5e-15."""

FLOAT32_NORM = (
    2.0**-23,
    "Whatever floatx is, keras.ops.maximum and minimum of a float64 tensor and a Python float are float32 on torch. "
    "Keras limits a norm (or its reciprocal) by them, so that each gradient is off by roundings to float32. "
    "Measured: 3.4e-9.",
)
EXCEPTIONS = dict.fromkeys(
    ("adam-clipnorm", "sgd-clipnorm", "rmsprop-global-clipnorm", "keras2-sgd-clipnorm"), FLOAT32_NORM
)
"""Rows where Keras's precision is less than float64's, that precision, and why."""


@pytest.fixture(scope="module")
def keras_says(tmp_path_factory):
    """Trajectories of Keras by row: the values of the parameters after each call."""
    settings = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path_factory.mktemp("keras")), "PYTHONPATH": str(TESTS)}
    environment = os.environ | settings
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["keras"] == "3.15.1"
    return {
        name: [
            {key: np.array([float.fromhex(x) for x in call[key]]).reshape(shape) for key, shape in SHAPES.items()}
            for call in calls
        ]
        for name, calls in answer["rows"].items()
    }


def trajectory(row, calls):
    start, gradients = problem(np.float64, calls)
    parameters = {name: value.copy() for name, value in start.items()}
    optimizer = row.make()
    for gradient in gradients:
        optimizer.apply([gradient[name] for name in SHAPES], list(parameters.values()))
        yield parameters


@pytest.mark.parametrize("row", [row for row in ROWS if row.keras is not None], ids=lambda row: row.name)
def test_each_step_is_that_of_keras(row, keras_says):
    start, _ = problem()
    theirs = keras_says[row.name]
    bound = EXCEPTIONS.get(row.name, (PRECISION, ""))[0]
    for ours, expected in zip(trajectory(row, len(theirs)), theirs, strict=True):
        assert largest_distance(ours, expected, start) * EPS <= bound


@pytest.mark.parametrize("row", WHERE_KERAS_DIFFERS, ids=lambda row: row.name)
def test_where_gradwise_documents_a_difference(row, keras_says):
    """The other way is really Keras's, and gradwise's result is another."""
    start, gradients = problem()
    theirs = keras_says[row.name]
    keras_way = Twin(
        row.algorithm, row.arguments, "keras", {name: x.ravel().tolist() for name, x in start.items()}, like_keras=True
    )
    apart = 0.0
    for gradient, expected, ours in zip(gradients, theirs, trajectory(row, len(theirs)), strict=True):
        keras_way.apply({name: value.ravel().tolist() for name, value in gradient.items()})
        values = {name: np.array(x, np.float64).reshape(SHAPES[name]) for name, x in keras_way.values().items()}
        assert largest_distance(values, expected, start) * EPS <= PRECISION
        apart = max(apart, largest_distance(ours, expected, start) * EPS)
    assert apart > 1e-4


def test_exceptions_are_still_needed(keras_says):
    """Once Keras computes these in float64, the exceptions go."""
    start, _ = problem()
    for row in ROWS:
        if row.name in EXCEPTIONS:
            theirs = keras_says[row.name]
            pairs = zip(trajectory(row, len(theirs)), theirs, strict=True)
            assert max(largest_distance(ours, expected, start) for ours, expected in pairs) * EPS > PRECISION
