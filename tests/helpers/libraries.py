"""Arrays and parameters of each library, for tests that run on several."""

from __future__ import annotations

import numpy as np
import pytest

from gradwise.backends import Variable

LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)]
EVERY_LIBRARY = [*LIBRARIES, "array_api_strict"]


def array(library, value, dtype="float32"):
    """A new array of a library."""
    if library == "torch":
        import torch

        return torch.tensor(value, dtype=getattr(torch, dtype))
    if library == "jax":
        import jax.numpy

        return jax.numpy.asarray(value, dtype=dtype)
    if library == "array_api_strict":
        import array_api_strict

        return array_api_strict.asarray(value, dtype=getattr(array_api_strict, dtype))
    if dtype == "bfloat16":
        import ml_dtypes

        return np.array(value, ml_dtypes.bfloat16)
    return np.array(value, dtype)


def ones(library, *shape, dtype="float32"):
    """An array of ones."""
    return array(library, np.ones(shape).tolist(), dtype)


def parameter(library, value, dtype="float32", name="variable"):
    """What the imperative path can update: an array that changes in place, otherwise a cell."""
    given = array(library, value, dtype)
    return given if library in ("numpy", "torch") else Variable(given, name=name)


def values(given):
    """What an array or a cell holds, as lists of floats."""
    return Variable(given).numpy().astype(np.float64).tolist()


def label(value):
    """A name for a parametrized test, the same in every process."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text
