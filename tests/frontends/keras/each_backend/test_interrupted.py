"""Ctrl-C at any line of a step in Keras: variables and the optimizer's own are all as before, or all as after it."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import pytest
from helpers.interrupted import interrupted_at_each_line
from helpers.selection import WHOLE
from small import BACKEND

from gradwise.frontends import keras as gkeras

LINES = 1 if BACKEND == "torch" else 23 if WHOLE else 71
"""How many lines lie between those of interruptions. On JAX each operation takes long."""


@pytest.mark.crossing
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR1")
@pytest.mark.skipif(BACKEND == "numpy", reason="steps are the core's, which are interrupted without Keras")
@pytest.mark.parametrize("name", ["Adam", "Nadam"] if BACKEND == "torch" else ["Nadam"])
def test_all_is_as_before_or_as_after_a_step(name: str) -> None:
    def made() -> tuple[Any, Any]:
        variables = [keras.Variable(np.full(3, 1.0 + place, "float32"), name=f"v{place}") for place in range(4)]
        optimizer = getattr(gkeras, name)(0.01)

        def step() -> None:
            optimizer.apply([keras.ops.full((3,), 0.5) for _ in variables], variables)

        def state() -> Any:
            held = [*variables, *optimizer.variables]
            return tuple(np.asarray(keras.ops.convert_to_numpy(variable)).tobytes() for variable in held)

        return step, state

    assert interrupted_at_each_line(made, stride=LINES) > 50
