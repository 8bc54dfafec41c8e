"""Whether there is a compiler for passes over memory. Without one there is another way, so nothing here raises."""

from __future__ import annotations

import importlib
import importlib.util

from .losses import warn_once

_SLOWER = "steps run by NumPy instead of in one compiled pass, which is several times slower"
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
    """Whether Numba works here, as far as importing it tells; it is imported to find out."""
    if not _FOUND:
        _FOUND.append(_imports_numba())
    return _FOUND[0]


def _imports_numba() -> bool:
    if not numba_is_installed():
        return False
    try:
        import numba

        # What else this package takes from it, of which an old or a broken one may lack something.
        from . import numba_pointer  # noqa: F401
    except Exception as error:
        # One that does not fit NumPy raises ImportError or what it met on the way: AttributeError, SystemError.
        warn_once(
            "import",
            f"Numba is installed but cannot be imported ({type(error).__name__}: {error}): {_SLOWER}; install a Numba "
            "that fits this NumPy and this Python, or remove it.",
        )
        return False
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # set while it is imported
        warn_once("disabled", f"Numba is switched off by NUMBA_DISABLE_JIT: {_SLOWER}; unset it, or set it to 0.")
        return False
    return True
