"""Which library an array belongs to, found without importing any.

Only a framework that is already in `sys.modules` can have made an array, so nothing is imported on the user's behalf,
and a type is looked at once.
"""

from __future__ import annotations

import copyreg
import importlib
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from .array_api import GenericBackend
from .base import Backend
from .numpy import NUMPY
from .python import HOST


class Library(NamedTuple):
    """An array library that has a file here.

    Attributes:
        name: of its module, and of its backend.
        arrays: the names of its classes of arrays in that module.
        file: with the backend, from this folder.
        backend: the class in it.
    """

    name: str
    arrays: tuple[str, ...]
    file: str
    backend: str


LIBRARIES = (
    Library("torch", ("Tensor",), ".torch.backend", "TorchBackend"),
    Library("jax", ("Array", "ShapeDtypeStruct"), ".jax", "JaxBackend"),
)
"""All but NumPy, which is always there, and those that follow the Array API standard, which need no line."""

_BACKENDS: dict[str, Backend] = {}
_BACKEND_OF_TYPE: dict[type, Backend | None] = {}
_GENERIC: dict[int, Backend] = {}

_LONGEST_SHOWN = 300


def backend_named(name: str) -> Backend:
    """The backend of a library that is installed, by the name errors call it."""
    found = _BACKENDS.get(name)
    if found is not None:
        return found
    library = next((library for library in LIBRARIES if library.name == name), None)
    return _generic(importlib.import_module(name)) if library is None else _backend_of_library(library)


def imported_libraries() -> list[Backend]:
    """The backends of libraries that somebody has imported, but for those that have no file here."""
    return [_backend_of_library(library) for library in LIBRARIES if library.name in sys.modules]


def _leads_back(backend: Backend) -> Any:
    """There is one backend for each library: copies and pickles lead back to it."""
    return backend_named, (backend.name,)


def register_type(kind: type, backend: Backend) -> None:
    """Make values of one type known as arrays of a backend."""
    copyreg.pickle(type(backend), _leads_back)
    _BACKENDS[backend.name] = backend
    _BACKEND_OF_TYPE[kind] = backend


copyreg.pickle(GenericBackend, _leads_back)
for _kind, _backend in ((bool, HOST), (int, HOST), (float, HOST), (numpy.ndarray, NUMPY)):
    register_type(_kind, _backend)


def _backend_of_library(library: Library) -> Backend:
    found = _BACKENDS.get(library.name)
    if found is None:
        kind: type[Backend] = getattr(importlib.import_module(library.file, __package__), library.backend)
        copyreg.pickle(kind, _leads_back)
        # The first one, should two threads have made one each.
        found = _BACKENDS.setdefault(library.name, kind())
    return found


def _generic(namespace: Any) -> Backend:
    # By identity: two namespaces of one library may share a name.
    found = _GENERIC.get(id(namespace))
    return _GENERIC.setdefault(id(namespace), GenericBackend(namespace)) if found is None else found


def compiler_graph() -> Any:
    """If torch's compiler is reading the code that calls, what puts whole steps into its graph; else None."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.compiler.is_dynamo_compiling():
        return None
    from .torch import graph

    return graph


def _find(value: Any) -> Backend | None:
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return NUMPY
    if isinstance(value, (int, float)):
        return HOST
    for library in LIBRARIES:
        module = sys.modules.get(library.name)
        # One that is only being imported may lack some of its classes.
        if module is not None and isinstance(value, tuple(getattr(module, each, ()) for each in library.arrays)):
            return _backend_of_library(library)
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
        if found is not None and found in _BACKENDS.values():
            _BACKEND_OF_TYPE[kind] = found
        return found


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


def path_in_keras(value: Any) -> str | None:
    """The path of one of Keras's variables, which are no arrays; None of anything else."""
    for kind in type(value).__mro__:
        if kind.__name__ in ("Variable", "KerasVariable") and kind.__module__.partition(".")[0] == "keras":
            return str(getattr(value, "path", ""))
    return None


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
    path = path_in_keras(value) if backend is None else None
    if path is not None:
        return f"{path!r}, a Variable of Keras"
    if backend is None or backend is HOST:
        text = shown(value)
        if " at 0x" not in text:
            return f"{text} of type {type(value).__name__}"
        # An address says nothing.
        name = getattr(value, "__qualname__", None)
        return f"an object of class {type(value).__name__}" if name is None else f"the function {name}"
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
