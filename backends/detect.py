"""Which library an array belongs to, found without importing any.

Only a framework that is already in `sys.modules` can have made an array, so nothing is imported on the user's behalf,
and a type is looked at once.
"""

from __future__ import annotations

import importlib
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any

import numpy

from .base import Backend
from .numpy import NumpyBackend
from .python import HostBackend

HOST = HostBackend()
NUMPY = NumpyBackend()

_BACKEND_OF_TYPE: dict[type, Backend | None] = {
    bool: HOST,
    int: HOST,
    float: HOST,
    numpy.ndarray: NUMPY,
}
_BACKENDS: dict[str, Backend] = {}
_GENERIC: dict[int, Backend] = {}

_LONGEST_SHOWN = 300


def compiler_graph() -> Any:
    """If torch's compiler is reading the code that calls, what puts whole steps into its graph; else None."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.compiler.is_dynamo_compiling():
        return None
    from .torch import graph

    return graph


def _torch() -> Backend:
    if "torch" not in _BACKENDS:
        from .torch.backend import TorchBackend

        _BACKENDS["torch"] = TorchBackend()
    return _BACKENDS["torch"]


def _jax() -> Backend:
    if "jax" not in _BACKENDS:
        from .jax import JaxBackend

        _BACKENDS["jax"] = JaxBackend()
    return _BACKENDS["jax"]


def _generic(namespace: Any) -> Backend:
    if id(namespace) not in _GENERIC:
        from .array_api import GenericBackend

        _GENERIC[id(namespace)] = GenericBackend(namespace)
    return _GENERIC[id(namespace)]


def _find(value: Any) -> Backend | None:
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return NUMPY
    if isinstance(value, (int, float)):
        return HOST
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return _torch()
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, (getattr(jax, "Array", ()), getattr(jax, "ShapeDtypeStruct", ()))):
        return _jax()
    if not isinstance(value, type) and all(hasattr(value, each) for each in ("__array_namespace__", "dtype", "shape")):
        return _generic(value.__array_namespace__())
    return None


def backend_of(value: Any) -> Backend | None:
    """The backend whose arrays the value is one of, or None."""
    kind = type(value)
    try:
        return _BACKEND_OF_TYPE[kind]
    except KeyError:
        found = _find(value)
        # A type unknown today may be known once its framework is imported, so only what was found is kept; and only
        # for concrete libraries, because two namespaces may share one array class.
        if found is not None and found in (NUMPY, HOST, *_BACKENDS.values()):
            _BACKEND_OF_TYPE[kind] = found
        return found


def backend_named(name: str) -> Backend:
    """The backend of a library that is installed, by the name errors call it."""
    if name in ("numpy", "python"):
        return NUMPY if name == "numpy" else HOST
    if name in ("torch", "jax"):
        return _torch() if name == "torch" else _jax()
    return _generic(importlib.import_module(name))


def register_type(kind: type, backend: Backend) -> None:
    """Make values of one type known as arrays of a backend."""
    _BACKEND_OF_TYPE[kind] = backend


def backend_for(*values: Any) -> Backend:
    """The backend of the first array among the values; Python numbers only if there is no array.

    Raises:
        TypeError: if a value is neither an array nor a number.
    """
    chosen: Backend = HOST
    for value in values:
        backend = backend_of(value)
        if backend is None:
            raise TypeError(f"Expected an array or a number, received {describe(value)}.")
        if backend is not HOST:
            return backend
        chosen = backend
    return chosen


def shown(value: Any, as_text: Callable[[Any], str] = repr) -> str:
    """A value in one short line, for an error message, whatever it is."""
    try:
        text = as_text(value)
    except Exception:
        # It is described because something is wrong with it already: the first error counts.
        return "something that cannot be shown"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def describe(value: Any) -> str:
    """What a value is, for an error message: library, dtype and shape of an array, the type of anything else."""
    backend = backend_of(value)
    if backend is None or backend is HOST:
        return f"{shown(value)} of type {type(value).__name__}"
    kind = f"a {backend.name} array of dtype {backend.dtype_name(value)} and shape {backend.shape(value)}"
    readable = backend.shape(value) == () and not backend.traced(value) and backend.concrete(value)
    return f"{shown(value, format)}, {kind}" if readable else kind


def number_of_python(value: Any) -> Any:
    """A number of another of Python's classes, such as Fraction and Decimal, as an int or a float; all else as it is.

    Fractions too large for a float are infinite, and what Decimal calls signalling is NaN.
    """
    if isinstance(value, (int, float, numpy.generic)):
        return value
    if backend_of(value) is not None:
        # A library's numbers may call themselves real ones of Python's.
        return value
    # The only one that is not registered as real; its module need not be imported to say that it is none.
    decimal = getattr(sys.modules.get("decimal"), "Decimal", ())
    if not isinstance(value, (numbers.Real, decimal)):
        return value
    try:
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:
        too_large: Any = value
        return math.inf if too_large > 0 else -math.inf
    except ValueError:
        return math.nan
