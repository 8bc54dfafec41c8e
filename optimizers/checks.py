"""What parameters and gradients must be, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import FLOATING, HOST, Backend, Variable, backend_of, describe


def check_parameter(array: Any, name: str) -> Backend:
    """The backend of a parameter.

    Raises:
        TypeError: if it is no array of an array library.
        ValueError: if its dtype is not one of float16, bfloat16, float32 and float64.
    """
    backend = array.backend if isinstance(array, Variable) else backend_of(array)
    if backend is None or backend is HOST:
        raise TypeError(f"Parameter {name!r} must be an array, received {describe(array)}.")
    if not isinstance(array, Variable) and backend.sparse(array):
        raise TypeError(f"Parameter {name!r} is sparse; only dense arrays are supported.")
    dtype = array.dtype_name if isinstance(array, Variable) else backend.dtype_name(array)
    if dtype not in FLOATING:
        hint = " split complex parameters into real and imaginary parts" if "complex" in dtype else " cast it"
        raise ValueError(f"Parameter {name!r} has dtype {dtype}; supported are {', '.join(FLOATING)}:{hint}.")
    return backend


def check_one_backend(backends: Sequence[Backend], names: Sequence[str]) -> None:
    """Raise TypeError if parameters of several libraries are mixed."""
    for backend, name in zip(backends, names, strict=True):
        if backend is not backends[0]:
            raise TypeError(
                f"Parameter {names[0]!r} is a {backends[0].name} array and {name!r} a {backend.name} array: "
                "use one optimizer for each library."
            )


def check_gradient(gradient: Any, backend: Backend, shape: tuple[int, ...], name: str) -> None:
    """Raise if a gradient does not fit its parameter.

    Raises:
        TypeError: if it is sparse, complex, boolean, of another library, or no array at all.
        ValueError: if the shapes differ.
    """
    own = backend_of(gradient)
    if own is not backend:
        raise TypeError(
            f"The gradient of {name!r} must be a {backend.name} array like its parameter, "
            f"received {describe(gradient)}."
        )
    if own.sparse(gradient):
        raise TypeError(f"The gradient of {name!r} is sparse; only dense gradients are supported: densify it first.")
    dtype = own.dtype_name(gradient)
    if "complex" in dtype or "bool" in dtype or dtype == "float0":
        raise TypeError(f"The gradient of {name!r} has dtype {dtype}; it must be real.")
    if own.shape(gradient) != shape:
        raise ValueError(f"The gradient of {name!r} has shape {own.shape(gradient)}, its parameter has shape {shape}.")


def check_some_gradient(gradients: Sequence[Any], names: Sequence[str]) -> None:
    """Raise ValueError if there are parameters but no gradient for any of them."""
    if names and all(gradient is None for gradient in gradients):
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(f"No gradients provided for any variable: all {len(names)} are None ({shown}).")
