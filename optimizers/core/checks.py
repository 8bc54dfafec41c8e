"""What parameters, gradients and state must be, checked before anything is written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...backends import FLOATING, HOST, Backend, Rows, Variable, backend_of, describe, is_number, ops
from ...backends.detect import path_in_keras
from ...backends.trees import ALONE
from .mistaken import check_no_model, instead_of_array

_AS_LIST = "Put it into a list"
_AS_LISTS = dict.fromkeys(("gradients", "variables"), f"{_AS_LIST}: a step is `apply([gradient], [variable])`")
"""What to do about a single array, by what a list of them is called."""


def remedy(dtype: str) -> str:
    """What to do about an array whose dtype is not a real one of the machine's."""
    swapped = dtype[:1] in "<>" and dtype[1:2] in ("f", "i", "u")
    return "its byte order is not the machine's: convert it with astype" if swapped else "it must be real"


def as_list(values: Iterable[Any], what: str) -> list[Any]:
    """A collection of arrays as a list.

    Raises:
        TypeError: if it is a single array, whose rows would be taken for arrays, a model, or cannot be iterated over.
        ValueError: if it is an iterator that has nothing left.
    """
    check_no_model(values, f"a list of {what}")
    if isinstance(values, Variable) or backend_of(values) is not None:
        given = f"Variable {values.name!r}" if isinstance(values, Variable) else describe(values)
        raise TypeError(f"Expected a list of {what}, received {given}. {_AS_LISTS.get(what, _AS_LIST)}.")
    try:
        listed = list(values)
    except TypeError:
        raise TypeError(f"Expected a list of {what}, received {describe(values)}.") from None
    if not listed and isinstance(values, Iterator):
        raise ValueError(
            f"Expected a list of {what}, received a {type(values).__name__} that has nothing left. Generators and zip "
            "can be read once: make a list of it first."
        )
    return listed


def check_parameter(array: Any, name: str) -> Backend:
    """The backend of a parameter.

    Raises:
        TypeError: if it is no array of an array library.
        ValueError: if its class is not for parameters, or its dtype none of float16, bfloat16, float32 and float64.
    """
    backend = array.backend if isinstance(array, Variable) else backend_of(array)
    if backend is None or backend is HOST:
        check_no_model(array, f"an array as parameter {name!r}" if name != ALONE else "a tree of arrays", tree=True)
        raise TypeError(f"Parameter {name!r} must be an array, received {describe(array)}{instead_of_array(array)}.")
    held = array.array if isinstance(array, Variable) else array
    if held is not None and backend.not_dense(held) is not None:
        check_dense(held, backend, f"Parameter {name!r}")
    reason = None if isinstance(array, Variable) else backend.why_not_parameter(array)
    if reason is not None:
        raise ValueError(f"Parameter {name!r} is a {type(array).__name__}: {reason}.")
    dtype = array.dtype_name if isinstance(array, Variable) else backend.dtype_name(array)
    if dtype not in FLOATING:
        remedy = "split it into real and imaginary parts of"
        if "complex" not in dtype:
            remedy = "leave it out if it is no parameter, or cast it to"
        raise ValueError(
            f"Parameter {name!r} has dtype {dtype}, which cannot be optimized: {remedy} {', '.join(FLOATING[:-1])} or "
            f"{FLOATING[-1]}."
        )
    return backend


def check_one_backend(backends: Sequence[Backend], names: Sequence[str]) -> None:
    """Raise TypeError if parameters of several libraries are mixed."""
    for backend, name in zip(backends, names, strict=True):
        if backend is not backends[0]:
            raise TypeError(
                f"Parameter {names[0]!r} is a {backends[0].name} array and {name!r} a {backend.name} array: "
                "use one optimizer for each library."
            )


def check_dense(array: Any, backend: Backend, what: str) -> None:
    """Raise TypeError if an array is not stored densely, as sparse and nested ones."""
    kind = backend.not_dense(array)
    if kind is not None:
        raise TypeError(f"{what} is {kind}; only dense arrays are supported: make it dense first.")


def check_array(array: Any, backend: Backend, shape: tuple[int, ...], what: str) -> None:
    """Raise if an array is not a dense real one of that library and shape.

    Args:
        array: what to check.
        backend: the library it must be of, or one whose arrays that library takes for its own.
        shape: the shape it must have.
        what: what errors call it, such as "The gradient of 'kernel'".

    Raises:
        TypeError: if it is sparse, not real, of another library, without values, or no array at all.
        ValueError: if the shapes differ.
    """
    own = backend_of(array)
    if own is None or (own is not backend and not backend.takes(array)):
        converted = None if own is None else backend.conversions.get(own.name)
        converted = converted if path_in_keras(array) is None else "its `value`"
        raise TypeError(
            f"{what} must be a {backend.name} array like its parameter, received {describe(array)}. Convert it first"
            f"{f', by {converted}' if converted else ''}."
        )
    reason = own.why_no_values(array)
    if reason is not None:
        raise TypeError(f"{what} cannot be computed with: {reason}.")
    check_dense(array, own, what)
    if not own.is_real(array):
        raise TypeError(f"{what} has dtype {own.dtype_name(array)}; {remedy(own.dtype_name(array))}.")
    if own.shape(array) != shape:
        raise ValueError(f"{what} has shape {own.shape(array)}, and must have that of its parameter, {shape}.")
    reason = own.why_no_operand(array)
    if reason is not None:
        raise TypeError(f"{what} cannot be computed with: {reason}.")


def check_no_pair(gradient: Any, what: str) -> None:
    """Raise TypeError if a pair of a gradient and its parameter stands in the place of the gradient."""
    if isinstance(gradient, tuple) and len(gradient) == 2:
        raise TypeError(f"{what} is a pair: pairs of a gradient and its variable go to `apply_gradients(pairs)`.")


def check_gradient(gradient: Any, parameter: Any, backend: Backend, shape: tuple[int, ...], name: str) -> None:
    """Raise as `check_array` if a gradient does not fit its parameter, and ValueError if they lie on two devices."""
    what = f"The gradient of {name!r}"
    check_no_pair(gradient, what)
    check_array(gradient, backend, shape, what)
    apart = backend.why_apart(gradient, parameter)
    if apart is not None:
        raise ValueError(f"{what} {apart}: move it first.")


def check_rows(rows: Rows, parameter: Any, backend: Backend, shape: tuple[int, ...], name: str) -> None:
    """Raise as `check_gradient`, for a gradient that came as some rows."""
    if rows.shape != shape:
        raise ValueError(
            f"The gradient of {name!r} has shape {rows.shape}, and must have that of its parameter, {shape}."
        )
    check_gradient(rows.values, parameter, backend, backend.shape(rows.values), name)


def check_held(cell: Variable, what: str, parameter: Any) -> None:
    """Raise if a cell's own array is not any more what the optimizer made or was built for.

    Args:
        cell: of a parameter or a slot.
        what: what errors call it.
        parameter: the array of the parameter that it belongs to.

    Raises:
        ValueError: if it has another shape, dtype or place.
        TypeError: if it cannot be changed in place, or its memory was given back.
    """
    array, backend = cell.array, cell.backend
    if backend.address(array, cell.dtype_name, cell.shape, backend.order(array), write=True) is not None:
        return
    if backend.shape(array) != cell.shape:
        raise ValueError(
            f"{what} had shape {cell.shape} when the optimizer was built and has {backend.shape(array)} now: "
            "make a new optimizer."
        )
    if backend.dtype_name(array) != cell.dtype_name:
        raise ValueError(
            f"{what} had dtype {cell.dtype_name} when the optimizer was built and has {backend.dtype_name(array)} now: "
            "make a new optimizer."
        )
    reason = backend.why_no_values(array) or (backend.why_not_variable(array) if backend.writable else None)
    if reason is not None:
        raise TypeError(f"{what} cannot be updated any more, because {reason}.")
    apart = backend.why_apart(array, parameter)
    if apart is not None:
        raise ValueError(f"{what} {apart}: move it first.")


def check_not_exchanged(gradients: Sequence[Any], cells: Sequence[Variable]) -> None:
    """Raise ValueError where all gradients say that they are trained, and no parameter does."""
    given = [(gradient, cell) for gradient, cell in zip(gradients, cells, strict=True) if type(gradient) is not Rows]
    trained = [
        backend is cell.backend and backend.is_trained(gradient) and not backend.is_trained(cell.array)
        for gradient, cell in given
        if gradient is not None and (backend := backend_of(gradient)) is not None
    ]
    if trained and all(trained):
        raise ValueError(
            f"What was given as gradients are parameters, which require gradients, and {cells[0].name!r} does not. Did "
            "you exchange the arguments? The order is apply(grads, variables)."
        )


def check_some_gradient(gradients: Sequence[Any], names: Sequence[str], backend: Backend) -> None:
    """Raise ValueError if there are parameters, of that library, but no gradient for any of them."""
    if names and all(gradient is None for gradient in gradients):
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"No gradients provided for any variable: all {len(names)} are None ({shown}). "
            f"{backend.how_gradients_come}."
        )


def checked_scalar(value: Any, what: str) -> Any:
    """A 0-d real array or number of the state, as a Python number if the host can read it.

    Raises:
        TypeError: if it is not a single real number.
        ValueError: if it is an integer that no float can hold.
    """
    backend = backend_of(value)
    if backend is None or backend.shape(value) != () or not backend.is_real(value) or backend.not_dense(value):
        raise TypeError(f"{what} must be a 0-d array or a number, received {describe(value)}.")
    reason = backend.why_no_values(value)
    if reason is not None:
        raise TypeError(f"{what} cannot be computed with: {reason}.")
    number = ops.convert_to_number(value)
    if isinstance(number, int) and abs(number) > sys.float_info.max:
        raise ValueError(f"{what} is too large: {describe(value)}.")
    return number


def checked_count(value: Any, what: str) -> Any:
    """As `checked_scalar`, for a number of steps made.

    Raises:
        TypeError: if it is not a single real number.
        ValueError: if it is negative or not whole.
    """
    number = checked_scalar(value, what)
    if is_number(number) and not (number >= 0 and float(number).is_integer()):
        raise ValueError(f"{what} counts steps and cannot be {describe(value)}.")
    return number
