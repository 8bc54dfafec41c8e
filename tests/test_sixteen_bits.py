"""float16 and bfloat16 parameters: updated in float32, rounded once a step, and they move."""

from __future__ import annotations

import math

import numpy as np
import pytest
from algorithm_table import ALGORITHMS, LIBRARIES, back, convert

from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, Optimizer

TYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
ROW = pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
PRECISION = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Half the distance between neighbours, relative."""


def sixteen(dtype):
    if dtype == "float16":
        return np.dtype(np.float16)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def gradients_of(count, dtype):
    rng = np.random.default_rng(3)
    return [rng.uniform(0.5, 1.0, size=40).astype(sixteen(dtype)) * (-1) ** (n // 5) for n in range(count)]


def start_of(dtype):
    return np.random.default_rng(4).uniform(0.25, 0.5, size=40).astype(sixteen(dtype))


@TYPES
@ROW
@pytest.mark.parametrize("library", LIBRARIES[:3])
def test_each_step_is_the_float32_step_rounded_once(row, dtype, library):
    """Slots are float32, so a float32 run that starts each step from the 16-bit parameter differs by one rounding."""
    narrow = convert(library, start_of(dtype))
    narrow = Variable(narrow) if library == "jax" else narrow
    optimizer, reference = row.make(jit_compile=False), row.make(jit_compile=False)
    exact = np.array(start_of(dtype), np.float32)
    moved = False
    for gradient in gradients_of(20, dtype):
        before = exact.copy()
        optimizer.apply([convert(library, gradient)], [narrow])
        reference.apply([gradient.astype(np.float32)], [exact])
        result = back(narrow).astype(np.float32)
        error = np.abs(result - exact)
        assert np.all(error <= np.abs(exact) * PRECISION[dtype] * (1 + 1e-3))
        moved |= bool(np.any(result != before))
        exact[...] = result
    assert moved


@TYPES
@ROW
def test_a_run_stays_within_the_roundings_of_its_steps(row, dtype):
    """Rounding to nearest errs by at most half a unit a step; over a run the errors add up, at worst one way."""
    steps = 20
    # Adadelta's first steps are of the size of the root of epsilon.
    rate = 20.0 if row.algorithm == "Adadelta" else 0.05
    narrow, exact = start_of(dtype), start_of(dtype).astype(np.float32)
    optimizer, reference = row.make(learning_rate=rate), row.make(learning_rate=rate)
    largest = np.abs(exact)
    for gradient in gradients_of(steps, dtype):
        optimizer.apply([gradient], [narrow])
        reference.apply([gradient.astype(np.float32)], [exact])
        largest = np.maximum(largest, np.maximum(np.abs(exact), np.abs(narrow.astype(np.float32))))
    assert np.all(np.abs(narrow.astype(np.float32) - exact) <= steps * largest * PRECISION[dtype] * 1.01)
    assert np.any(narrow != start_of(dtype))


@TYPES
@pytest.mark.parametrize("library", LIBRARIES[:3])
def test_slots_and_what_a_rule_sees_are_float32(dtype, library):
    seen = []

    class Watching(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.slots = self.add_optimizer_variables(variables, "slot")

        def update_step(self, gradient, variable, learning_rate):
            slot = self.slots[self._get_variable_index(variable)]
            seen.extend(str(x.dtype).rpartition(".")[2] for x in (gradient, variable, variable.value, slot))
            self.assign_sub(variable, gradient * learning_rate)

    params = {"w": convert(library, start_of(dtype))}
    optimizer = Watching(learning_rate=0.5)
    state = optimizer.init(params)
    params, state = optimizer.step(params, params, state)
    assert set(seen) == {"float32"}
    assert str(state.slots["slot"]["w"].dtype).endswith("float32") and str(params["w"].dtype).endswith(dtype)


@pytest.mark.parametrize("library", LIBRARIES[:3])
def test_slots_in_another_dtype(library):
    params = {"w": convert(library, np.ones(3, np.float32))}
    optimizer = Adam(0.1, slot_dtype="bfloat16")
    state = optimizer.init(params)
    _, state = optimizer.step(params, params, state)
    assert str(state.slots["velocity"]["w"].dtype).endswith("bfloat16")


def test_scalars_are_never_rounded_to_sixteen_bits():
    assert ops.cast(0.999, sixteen("bfloat16")) == 0.999
    w = np.full(3, 0.5, sixteen("bfloat16"))
    Adam(0.01).apply([np.ones(3, w.dtype)], [w])
    assert np.all(w.astype(float) < 0.5)


def test_small_decay_and_small_step_move_together():
    """Each alone is below half a unit of bfloat16 at 1, so that rounding it alone would undo it."""
    unit = 2.0**-8  # The distance from 1 to the next bfloat16 below is half of that above: 2**-8.
    decay, step = 0.3 * unit, 0.3 * unit
    for alone in ({"weight_decay": 0.0}, {"weight_decay": decay}):
        w = np.ones(1, sixteen("bfloat16"))
        gradient = step if alone["weight_decay"] == 0.0 else 0.0
        SGD(1.0, **alone).apply([np.full(1, gradient, np.float32)], [w])
        assert float(w[0]) == 1.0
    w = np.ones(1, sixteen("bfloat16"))
    SGD(1.0, weight_decay=decay).apply([np.full(1, step, np.float32)], [w])
    assert float(w[0]) == 1.0 - unit


def test_zero_gradients_and_tiny_ones_give_no_nan():
    for row in ALGORITHMS:
        for dtype in ("float16", "bfloat16"):
            w = start_of(dtype)
            optimizer = row.make()
            for gradient in (np.zeros(40, w.dtype), np.full(40, 1e-7).astype(w.dtype)):
                optimizer.apply([gradient], [w])
            assert not any(map(math.isnan, w.astype(float)))
