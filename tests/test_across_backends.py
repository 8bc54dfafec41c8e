"""Every algorithm, option and convention, on every backend: 100 steps from one start with the same gradients."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
from algorithm_table import LIBRARIES, ROWS, STEPS, distance, functional, imperative, problem

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

CAPS = {"numpy": 0.0, "array_api_strict": 0.0, "torch": 4.0, "jax": 2.0}
"""In units of the dtype's eps, after 100 steps, for eager arithmetic; 0 is bit for bit."""
JIT_CAP = 16.0

EXCEPTIONS: dict[tuple[str, str, str], tuple[float, str]] = {}
"""(row, library, dtype): a larger cap, and why."""


def cap_of(row, library, dtype, usual):
    return EXCEPTIONS.get((row.name, library, dtype), (usual, ""))[0]


def wide(library, dtype):
    if library == "jax" and dtype == "float64":
        import jax

        return jax.enable_x64(True)
    return contextlib.nullcontext()


@functools.cache
def expected(row_name, dtype):
    row = next(row for row in ROWS if row.name == row_name)
    return imperative(row, "numpy", np.dtype(dtype), jit_compile=False)


@ROW
@DTYPES
@pytest.mark.parametrize("library", LIBRARIES)
def test_functional_steps(row, dtype, library):
    with wide(library, dtype):
        result = functional(row, library, np.dtype(dtype))
    measured = distance(result, expected(row.name, dtype), problem(np.dtype(dtype))[0])
    assert measured <= cap_of(row, library, dtype, CAPS[library])


@ROW
@DTYPES
@pytest.mark.parametrize("library", LIBRARIES[1:])
def test_imperative_steps_of_whole_arrays(row, dtype, library):
    with wide(library, dtype):
        result = imperative(row, library, np.dtype(dtype), jit_compile=False)
    measured = distance(result, expected(row.name, dtype), problem(np.dtype(dtype))[0])
    assert measured <= cap_of(row, library, dtype, CAPS[library])


@pytest.mark.torch
@pytest.mark.fast
@ROW
@DTYPES
def test_torch_tensors_in_one_pass_have_the_bits_of_numpy_arrays(row, dtype):
    result = imperative(row, "torch", np.dtype(dtype))
    assert all(result[name].tobytes() == value.tobytes() for name, value in expected(row.name, dtype).items())


@pytest.mark.jax
@ROW
@DTYPES
def test_functional_steps_under_jit(row, dtype):
    import jax

    with wide("jax", dtype):
        result = functional(row, "jax", np.dtype(dtype), compile_step=jax.jit)
    measured = distance(result, expected(row.name, dtype), problem(np.dtype(dtype))[0])
    assert measured <= cap_of(row, "jax jit", dtype, JIT_CAP)


@ROW
def test_float32_stays_near_float64(row):
    """The table's numbers are no accident of one precision."""
    narrow, exact = expected(row.name, "float32"), expected(row.name, "float64")
    start = problem(np.dtype("float32"))[0]
    rounded = {name: value.astype(np.float32) for name, value in exact.items()}
    assert distance(narrow, rounded, start) <= STEPS
