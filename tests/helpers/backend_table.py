"""The array libraries that rows run on: making arrays, giving them to an optimizer, reading them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gradwise.backends import Variable
from helpers.algorithms import Row
from helpers.releases import enable_x64

LIBRARIES = (
    pytest.param("numpy"),
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
    pytest.param("array_api_strict"),
)


def numpy_dtype(name: str) -> Any:
    """A NumPy dtype by its name, bfloat16 included."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def array(library: str, value: Any) -> Any:
    """A new array of a library with the values, shape and dtype of a NumPy array."""
    value = np.array(value)
    if library == "numpy":
        return value
    if library in ("torch", "torch-cuda"):
        import torch

        device = "cuda" if library == "torch-cuda" else "cpu"
        if value.dtype.name == "bfloat16":  # torch does not know the dtype of ml_dtypes: pass the bits
            return torch.tensor(value.view(np.int16), device=device).view(torch.bfloat16)
        return torch.tensor(value, device=device)
    if library == "jax":
        import jax.numpy

        made = jax.numpy.array(value)
        assert made.dtype == value.dtype, "JAX narrows float64 outside of x64"
        return made
    import array_api_strict

    return array_api_strict.asarray(value)


def parameter(library: str, value: Any, name: str = "variable") -> Any:
    """What the imperative path can update: an array that changes in place, otherwise a cell around one."""
    made = array(library, value)
    return made if library in ("numpy", "torch", "torch-cuda") else Variable(made, name=name)


def read(given: Any) -> Any:
    """A NumPy array with the values of a library's array or of a cell."""
    if isinstance(given, Variable):
        given = given.value
    if type(given).__module__.startswith("torch"):
        import torch

        given = given.detach().cpu()
        if given.dtype is torch.bfloat16:
            return given.view(torch.int16).numpy().copy().view(numpy_dtype("bfloat16"))
        return given.numpy().copy()
    return np.array(given)


def on_gpu() -> bool:
    """Whether torch is there and has a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def precision(library: str, dtype: str) -> Any:
    """Where this dtype exists: JAX has float64 only in this context, which concerns one thread and leaves no trace."""
    if library == "jax" and dtype == "float64":

        return enable_x64(True)
    return contextlib.nullcontext()


DIGITS = {"float16": 11, "bfloat16": 8}
"""Binary digits of a number, the leading one included."""
SMALLEST = {"float16": -24, "bfloat16": -133}
"""The exponent of the smallest number above zero."""


def unit(values: Any, dtype: str) -> Any:
    """The distance of neighbours of a 16-bit type around float32 values."""
    _, exponent = np.frexp(np.asarray(values, np.float64))
    return np.ldexp(1.0, np.maximum(exponent - DIGITS[dtype], SMALLEST[dtype]))


def wide(value: Any) -> Any:
    """16-bit numbers in float32."""
    return np.asarray(value, np.float32)


def distance(a: Any, b: Any, update: Any) -> float:
    """How far a tensor is from another: max|a - b| / (eps(dtype) * max(max|b|, max|update|)).

    Where a parameter is near zero, the size of its update says what its rounding errors can be: hence the second
    maximum.
    """
    import ml_dtypes

    assert a.dtype == b.dtype and a.shape == b.shape == update.shape
    if not b.size:
        return 0.0
    unit = float(ml_dtypes.finfo(b.dtype).eps)
    a, b, update = (np.asarray(x, np.float64) for x in (a, b, update))
    scale = max(np.max(np.abs(b)), np.max(np.abs(update)))
    assert scale > 0 and np.all(np.isfinite(a)) and np.all(np.isfinite(b))
    return float(np.max(np.abs(a - b)) / (unit * scale))


def largest_distance(a: Mapping[str, Any], b: Mapping[str, Any], start: Mapping[str, Any]) -> float:
    """The largest distance of the parameters of one run from those of another after the same start."""
    return max(distance(a[name], b[name], b[name] - start[name]) for name in b)


def same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs gave the same bits, signs of zeros included."""
    return all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes()
        for name in b
    )


Problem = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]


def imperative(row: Row, library: str, given: Problem, **more: Any) -> dict[str, Any]:
    """The parameters after a call of `apply` for each of the gradients."""
    start, gradients = given
    parameters = {name: parameter(library, value, name) for name, value in start.items()}
    optimizer = row.make(**more)
    for gradient in gradients:
        optimizer.apply([array(library, gradient[name]) for name in start], list(parameters.values()))
    return {name: read(value) for name, value in parameters.items()}


def functional(
    row: Row, library: str, given: Problem, compiler: Callable[[Any], Any] = lambda step: step
) -> dict[str, Any]:
    """The parameters after a call of `step` for each of the gradients."""
    start, gradients = given
    params = {name: array(library, value) for name, value in start.items()}
    optimizer = row.make()
    state = optimizer.init(params)
    step = compiler(optimizer.step)
    for gradient in gradients:
        params, state = step(params, {name: array(library, value) for name, value in gradient.items()}, state)
    return {name: read(value) for name, value in params.items()}
