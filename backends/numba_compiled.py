"""Functions compiled by Numba: taken from disk or made now, and what is called where that fails.

All compiled code of this package comes from here, that of its own modules and that generated for recorded rules. Each
piece has its types given and is named on disk by what it depends on: its source, the sources it is compiled with, the
releases of everything that makes it, the processor with its features. So another release or another machine finds
nothing under its name, and the index that Numba would keep, which is a pickle, is not needed. What is read back was
written by a safe user into a safe folder and is whole (see `kept_code`), or it is compiled again.

Each piece says what is called instead where it cannot be compiled: nothing here raises.

The two ends are apart, so that either can change: `kept_code` keeps bytes under a name and knows nothing of Numba;
`_Kept` below alone knows that these bytes are Numba's own form of compiled code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import pickle
import pkgutil
import platform
import sys
from collections.abc import Callable
from typing import Any

import llvmlite  # type: ignore[import-untyped]  # it has no types
import numba
import numpy

from .kept_code import read, write
from .losses import PerformanceWarning, warn_once

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


class _Kept:
    """What Numba asks for a compiled function and gives it to, in place of its own files.

    These are its inner ways: should another release have others, nothing is kept, and all else goes on.

    Args:
        parts: what tells the function from others: its source, or its name and that of its module.
    """

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    cache_path = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None."""
        try:
            from numba.core.compiler import CompileResult

            target_context.refresh()
            data = read(self._name(sig, target_context.codegen()))
            rebuild: Any = CompileResult._rebuild
            return None if data is None else rebuild(target_context, *pickle.loads(data))
        except Exception:
            # Made by something that calls itself the same release: it is made anew, and replaced.
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function."""
        try:
            from numba.core import serialize

            dumps: Any = serialize.dumps
            name = self._name(sig, data.codegen)
            content = None if data.library.has_dynamic_globals else dumps(data._reduce())
        except Exception as error:
            warn_once(
                "form",
                f"What Numba {numba.__version__} compiles cannot be kept ({type(error).__name__}: {error}): every "
                "process compiles its update rules again; another release of Numba may help.",
            )
            return
        if content is not None:
            write(name, content)

    def _name(self, sig: Any, codegen: Any) -> str:
        described = repr((self._parts, _sources(), _releases(), codegen.magic_tuple(), str(sig)))
        return f"{hashlib.sha256(described.encode()).hexdigest()[:40]}.code"


@functools.cache
def _releases() -> tuple[str, ...]:
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}", platform.python_version()
    return *python, numba.__version__, llvmlite.__version__, numpy.__version__


@functools.cache
def _sources() -> tuple[str, ...]:
    """Digests of the modules whose functions or numbers are compiled; of their code where there is no source."""
    digests = []
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module(__package__ or "").__path__)]
    for name in sorted(names):
        if not name.startswith(("numba_", "reductions")):
            continue
        specification = importlib.util.find_spec(f"{__package__}.{name}")
        assert specification is not None and specification.origin is not None
        loader: Any = specification.loader
        digests.append(hashlib.sha256(loader.get_data(specification.origin)).hexdigest())
    return tuple(digests)


def compile_function(function: Any, signature: Any, *parts: str) -> Any:
    """A function for Python, compiled for one signature.

    Args:
        function: of Python, or from `numba.njit` and not compiled yet.
        signature: in Numba's words.
        parts: what tells the function from others, beside the signature.

    Raises:
        What Numba raises.
    """
    dispatcher = function if hasattr(function, "py_func") else numba.njit(**_OPTIONS)(function)
    dispatcher._cache = _Kept(*parts)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def compile_callback(function: Any, signature: Any, *parts: str) -> Any:
    """A function for C, with its `address`; arguments as for `compile_function`."""
    from numba.core import sigutils
    from numba.core.ccallback import CFunc

    normalized: Any = sigutils.normalize_signature
    callback: Any = CFunc(function, normalized(signature), locals={}, options=_OPTIONS)
    callback._cache = _Kept(*parts)
    callback.compile()
    return callback


def compiled_or(make: Callable[[], Any], what: str, otherwise: Any) -> Any:
    """What `make` compiles, or `otherwise` where that fails, with a warning."""
    try:
        return make()
    except PerformanceWarning:
        # One that the user has made an error.
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        warn_once(
            ("compile", type(error)),
            f"Numba cannot compile {what} ({type(error).__name__}: {reason}): it runs by NumPy, several times slower; "
            "another release of Numba may help, and jit_compile=False does without it.",
        )
        return otherwise


class Compiled:
    """A function of this package that is compiled when it is first called.

    Args:
        function: of Python.
        signature: in Numba's words.
        otherwise: is called where it cannot be compiled.
    """

    def __init__(self, function: Any, signature: Any, otherwise: Any) -> None:
        self._function, self._signature, self._otherwise = function, signature, otherwise

    @functools.cached_property
    def run(self) -> Any:
        """The compiled function, or what is called instead."""
        name = self._function.__qualname__
        return compiled_or(
            lambda: compile_function(self._function, self._signature, self._function.__module__, name),
            name, self._otherwise,
        )  # fmt: skip

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self.run(*arguments)


def compiled(signature: Any, otherwise: Any = None) -> Callable[[Any], Compiled]:
    """Decorates a function that is to be compiled.

    Args:
        signature: in Numba's words.
        otherwise: is called where it cannot be compiled. The function itself, as Python.
    """
    return lambda function: Compiled(function, signature, otherwise or function)
