"""Mistakes in a rule, told with the line that makes them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any

from .wording import SaidWhenRead, meant

# As frames say it: code may have been moved since it was compiled, and folders be written in several ways.
_PACKAGE = os.path.dirname(os.path.dirname((lambda: None).__code__.co_filename))
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_LIBRARIES = frozenset((
    "array_api_compat", "array_api_strict", "cupy", "dask", "jax", "jaxlib", "keras", "mlx", "numba", "numpy", "optax",
    "optree", "scipy", "sparse", "torch",
))  # fmt: skip
"""Into which a rule's mistake may lead."""
_UNKNOWN = "unknown code"
_ROOMS = tuple(os.path.join(_PACKAGE, name, "") for name in ("backends", "frontends", "optimizers", "schedules"))
_INSIDE = tuple(os.path.join(_PACKAGE, *name, "") for name in (("backends",), ("frontends",), ("optimizers", "core")))


class RuleMistake(TypeError):
    """A rule does something that would mean another thing on another way of running it, or nothing at all."""


class MissingAttribute(SaidWhenRead, RuleMistake):
    """A rule asks for something that does not exist."""


class RuleWarning(UserWarning):
    """A rule does something that is mostly a mistake, and may be meant."""


class WrongValue(RuleMistake, ValueError):
    """A rule assigns what does not fit."""


@functools.lru_cache(1024)
def is_of_a_rule(filename: str) -> bool:
    """Whether a file is none of this library's, or of a library of arrays."""
    return not (filename.startswith(_ROOMS) or is_library(filename))


def called_by_rule() -> bool:
    """Whether the function that asks was called by a rule, or whoever else is outside of this library."""
    return is_of_a_rule(sys._getframe(2).f_code.co_filename)


class DoesNotFit(ValueError):
    """A cell cannot take a value."""


def frame_of_rule() -> Any:
    """The frame that is running of the rule, or of whoever else called: the first one outside of what runs rules."""
    frame: Any = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith(_INSIDE) or is_pythons(frame.f_code.co_filename)):
        frame = frame.f_back
    return frame


def line_of_rule() -> str:
    """The line that is running of the rule, or of whoever else called: the first one outside of what runs rules."""
    frame = frame_of_rule()
    return _UNKNOWN if frame is None else place_of(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def line_of_error(error: BaseException) -> str | None:
    """The innermost line that an error came through outside of what runs rules and of libraries of arrays; or None."""
    found = _summary_of(error)
    return None if found is None else place_of(found.filename, found.lineno, found.name)


def as_written(function: Any) -> Any:
    """What somebody has written of a function, without what functools puts around it."""
    function = inspect.unwrap(function)
    # Under another name in each release.
    held = getattr(function, "__partialmethod__", getattr(function, "_partialmethod", function))
    return as_written(held.func) if isinstance(held, (functools.partial, functools.partialmethod)) else function


def line_of_function(function: Any) -> str:
    """Where a function is written."""
    code = getattr(as_written(function), "__code__", None)
    return _UNKNOWN if code is None else place_of(code.co_filename, code.co_firstlineno, code.co_name)


def line_with(function: Any, pattern: re.Pattern[str]) -> str | None:
    """The first line of a function that a pattern is found in; None if there is none, or no source."""
    function = as_written(function)
    with contextlib.suppress(OSError, TypeError):
        lines, first = inspect.getsourcelines(function)
        for number, line in enumerate(lines, first):
            if pattern.search(line):
                return place_of(function.__code__.co_filename, number, function.__name__)
    return None


def source_of_error(error: BaseException) -> str:
    """The text of the expression in that line, or of the whole line; nothing where it cannot be had."""
    found = _summary_of(error)
    if found is None or found.lineno is None:
        return ""
    line = linecache.getline(found.filename, found.lineno)
    if found.colno is None or found.end_colno is None or found.lineno != found.end_lineno:
        return line.strip()
    return line.encode()[found.colno : found.end_colno].decode(errors="replace")


def _summary_of(error: BaseException) -> Any:
    frames = traceback.extract_tb(error.__traceback__)
    outside = [each for each in frames if not each.filename.startswith(_INSIDE) and not is_library(each.filename)]
    return outside[-1] if outside else None


def place_in_code(error: BaseException) -> tuple[CodeType, int | None, int | None] | None:
    """The function, the line and the column that `line_of_error` tells of; None if there is none."""
    found = _summary_of(error)
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if found is not None and (code.co_filename, code.co_name, line) == (found.filename, found.name, found.lineno):
            return code, line, found.colno
    return None


def is_library(filename: str) -> bool:
    """Whether a file belongs to a library of arrays, or to Python's. Rules, too, may be installed, and an environment
    may lie anywhere.
    """
    folders = Path(filename).parts
    return is_pythons(filename) or any(
        place in _INSTALLED and package in _LIBRARIES for place, package in itertools.pairwise(folders)
    )


def is_pythons(filename: str) -> bool:
    """Whether a file belongs to Python's own library, whose functions rules call, and are called by."""
    return filename.startswith(_PYTHONS) and _INSTALLED.isdisjoint(Path(filename).parts)


_PYTHONS = (os.path.join(os.path.dirname(functools.__file__), ""), "<frozen ")


def place_of(filename: str, line: int | None, function: str) -> str:
    """A line as errors say it."""
    return f"{filename.rpartition(os.sep)[2]}:{line} ({function})"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name among some that was likely meant."""
    return next(iter(meant(name, names) or meant(name.casefold(), names)), None)


def is_of_ufunc(error: Exception) -> bool:
    """Whether NumPy refused to compute with what stands for an array."""
    return type(error) is TypeError and "does not support ufuncs" in str(error)


def library_function(error: Exception) -> str:
    """The function of another library that a line has called which raised an error, as it is written; or nothing."""
    called = _FUNCTION.search(source_of_error(error))
    return called.group(0) if called else ""


MODULES = ("np", "numpy", "torch", "jnp", "jax", "math")
"""As which modules with functions of arrays and numbers are imported."""
_FUNCTION = re.compile(rf"\b(?:{'|'.join(MODULES)})\.(?:\w+\.)*\w+")


def code_of_error(error: BaseException) -> list[str]:
    """Source around an error, from the narrowest: the expression, its line, and the function that it is in."""
    texts = [source_of_error(error)]
    found = _summary_of(error)
    if found is not None and found.lineno is not None:
        texts.append(linecache.getline(found.filename, found.lineno).strip())
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if found is not None and code.co_filename == found.filename and code.co_name == found.name:
            with contextlib.suppress(OSError, TypeError):
                texts.append(inspect.getsource(code))
    return texts
