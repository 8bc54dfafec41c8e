"""Against Keras 3.15 itself, in float64, every step of a hundred."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from algorithm_table import RATES, ROWS, SHAPES, problem

pytestmark = pytest.mark.keras
COMPARED = [row for row in ROWS if row.keras is not None]
EXACT = 1e-12
THROUGH_FLOAT32 = 3e-7
"""Keras computes the norms it clips by, and the factor, in float32, whatever floatx is."""


@functools.cache
def keras_results():
    requests = []
    for row in COMPARED:
        epsilon = {} if row.algorithm == "SGD" else {"epsilon": 1e-7}
        requests.append([row.algorithm, {"learning_rate": RATES[row.algorithm], **epsilon, **row.keras}])
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(here / "keras_trajectories.py")], input=json.dumps(requests),
        capture_output=True, text=True, check=True,
        env={**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"},
    )  # fmt: skip
    names = [row.name for row in COMPARED]
    return dict(zip(names, json.loads(done.stdout[done.stdout.index("[") :]), strict=True))


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.name)
def test_every_step_is_kerass(row):
    theirs = keras_results()[row.name]
    start, gradients = problem(np.dtype("float64"))
    parameters = {name: value.copy() for name, value in start.items()}
    optimizer = row.make(jit_compile=False)
    bound = EXACT if row.exact else THROUGH_FLOAT32
    for step, gradient in enumerate(gradients):
        optimizer.apply([gradient[name] for name in SHAPES], list(parameters.values()))
        for name, value in parameters.items():
            expected = np.array([float.fromhex(text) for text in theirs[name][step]]).reshape(value.shape)
            np.testing.assert_allclose(value, expected, rtol=bound, atol=bound * np.max(np.abs(expected), initial=0.0))


def test_the_rates_are_exact_in_float32():
    assert all(float(np.float32(rate)) == rate for rate in RATES.values())
