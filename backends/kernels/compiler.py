"""Whether there is a compiler for passes over memory. Without one there is another way, so nothing here raises."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from ..losses import warn_once

_SLOWER = "steps run by NumPy instead of in one compiled pass, which is several times slower"
_FIRST_RELEASE = 0, 45
"""Of llvmlite, the first that Numba 0.62 works with: before, a pointer said what it points at."""
_FOUND: list[bool] = []


def numba_is_installed() -> bool:
    """Whether Numba is there to be imported, which it is not by asking: in a subinterpreter it would wait for ever."""
    try:
        return _in_main_interpreter() and importlib.util.find_spec("numba") is not None
    except (ImportError, ValueError):
        # Something else stands under its name in `sys.modules`.
        return False


def _in_main_interpreter() -> bool:
    # Python 3.14 is the first to have a public name for it.
    for name in ("_interpreters", "_xxsubinterpreters"):
        if importlib.util.find_spec(name) is not None:
            interpreters = importlib.import_module(name)
            return bool(interpreters.get_current() == interpreters.get_main())
    return True


def has_numba() -> bool:
    """Whether Numba can be used here, as far as can be told without importing it, which takes a sixth of a second.

    It is only imported to compile something. If that fails, there is none from then on.
    """
    if not _FOUND:
        _FOUND.append(_is_usable())
    return _FOUND[0]


class NumbaBroken(Exception):
    """Numba is installed but cannot be used; this was said by a warning."""


def numba_compiler() -> Any:
    """What compiles by Numba, which is imported.

    Raises:
        NumbaBroken: if it cannot be.
    """
    try:
        compiler = importlib.import_module(f"{__package__}.numba_compiler")
    except Exception as error:
        _FOUND[:] = [False]
        _say_broken(error)
        raise NumbaBroken from error
    if sys.modules["numba"].config.DISABLE_JIT:
        # Said by a file of Numba's rather than by the environment.
        _FOUND[:] = [False]
        _say_switched_off()
        raise NumbaBroken
    return compiler


def _is_usable() -> bool:
    if not numba_is_installed():
        return False
    config: Any = getattr(sys.modules.get("numba"), "config", None)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" if config is None else config.DISABLE_JIT:
        _say_switched_off()
        return False
    try:
        # What runs compiled code, which is LLVM's.
        machine_code = importlib.import_module(f"{__package__}.machine_code")
        machine_code.processor()
    except Exception as error:
        _say_broken(error)
        return False
    if machine_code.RELEASE < _FIRST_RELEASE:
        warn_once("old", f"Numba is older than 0.62: {_SLOWER}; install a newer Numba, or remove it.")
        return False
    return True


def _say_broken(error: Exception) -> None:
    # One that does not fit NumPy raises ImportError or what it met on the way: AttributeError, SystemError.
    warn_once(
        "import",
        f"Numba is installed but cannot be imported ({type(error).__name__}: {error}): {_SLOWER}; install a Numba "
        "that fits this NumPy and this Python, or remove it.",
    )


def _say_switched_off() -> None:
    warn_once("disabled", f"Numba is switched off by NUMBA_DISABLE_JIT: {_SLOWER}; unset it, or set it to 0.")
