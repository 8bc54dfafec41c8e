"""16-bit parameters in every convention: all move, near their float32 run; decay and step are rounded once."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.backend_table import array, numpy_dtype, parameter, read
from helpers.selection import crossing
from low_precision_table import DTYPES, entry, pairs
from rules import all_facts

from gradwise import optimizers

BOUND = 6.0
"""In eps of the dtype, after each of 100 steps. Measured: at most 4.1 in float16 and 3.7 in bfloat16.

A rounding is an even spread over a unit, which is at most eps times the number, so that 100 have the standard deviation
2.9. The numbers reach their largest value late, and of some hundred of them one is farthest."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("algorithm", "convention"), pairs())
def test_every_algorithm_moves_and_stays_near_its_float32_run(algorithm, convention, dtype):
    found = entry(algorithm, convention, dtype)
    assert found.moves == 1.0
    assert 0.0 < found.distance <= BOUND


# ---------------------------------------------------------------- one rounding of decay and step

HALF = {"float16": 2.0**-12, "bfloat16": 2.0**-9}
"""Half the distance from 1 to the number below."""

DECOUPLED = [
    ("SGD", "keras", {"momentum": 0.9}),
    *(
        (facts.name, convention, options)
        for facts in all_facts().values()
        for convention, known in facts.hyperparameters.items()
        for options in [{"decoupled_weight_decay": True} if "decoupled_weight_decay" in known else {}]
        if "weight_decay" in known and not facts.coupled(convention, options)
    ),
]
# Coupled decay goes through the gradient. Where that is divided by its own size, decay makes no step longer.
COUPLED = [
    ("SGD", "torch", {}),
    ("SGD", "torch", {"momentum": 0.9}),
    ("SGD", "torch", {"momentum": 0.9, "nesterov": True}),
]


def after_one_step(case, dtype, library, rate, decay, gradient):
    algorithm, convention, options = case
    optimizer = getattr(optimizers, algorithm)(rate, weight_decay=decay, convention=convention, **options)
    weight = parameter(library, np.asarray([1.0], numpy_dtype(dtype)), "weight")
    optimizer.apply([array(library, np.asarray([gradient], numpy_dtype(dtype)))], [weight])
    return float(read(weight)[0])


@crossing(
    ("case", "dtype", "library"),
    [pytest.param(case, id="-".join([*case[:2], *case[2]])) for case in (*DECOUPLED, *COUPLED)],
    DTYPES,
    ["numpy", pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)],
)
def test_decay_and_step_that_only_together_exceed_half_a_unit_move_the_weight(case, dtype, library):
    """Each is three quarters of half a unit. That a step is as long as its part is measured in float64."""
    part = 0.75 * HALF[dtype]
    length = 1.0 - after_one_step(case, "float64", "numpy", 2.0**-20, 0.0, 1.0)
    rate = part / (length * 2.0**20)
    decay = part / rate if case in DECOUPLED else part / (rate * length * 2.0**20)
    assert after_one_step(case, dtype, library, rate, decay, 0.0) == 1.0
    assert after_one_step(case, dtype, library, rate, 0.0, 1.0) == 1.0
    assert after_one_step(case, dtype, library, rate, decay, 1.0) == 1.0 - 2 * HALF[dtype]
