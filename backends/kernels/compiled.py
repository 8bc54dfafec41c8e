"""Compiled functions of C: taken from disk or made now, and what is called where that fails.

All compiled code of this package comes from here: that of its own modules, which Numba makes, and that of recorded
rules, which LLVM makes of what `lowering` writes. Each piece is named on disk by what it depends on: its source, the
sources it is compiled with, the releases of everything that makes it, the processor with its features. So another
release or another machine finds nothing under its name. What is read back was written by a safe user into a safe folder
and is whole (see `cache`), or it is compiled again. What is kept is machine code, and to run it needs nothing of Numba
(see `machine_code`), which is only imported when something of its own must be compiled.

Each piece says what is called instead where it cannot be compiled: nothing here raises.

Arrays are given to functions of C as they are, objects of Python, and read as NumPy's headers say.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import pkgutil
import platform
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite  # type: ignore[import-untyped]  # it has no types
import numpy

from ..losses import PerformanceWarning, warn_once
from ..programs.program import Program
from . import placeholders
from .cache import place, read, write
from .compiler import NumbaBroken, numba_compiler
from .machine_code import assembled, loaded, processor
from .waiting import said_if_long

_HEAD = object.__basicsize__ // 8
"""Words of 8 bytes before what is an array's own: where its elements stand, how many axes it has, its lengths."""
TALLY = {"compiled": 0, "found": 0, "kept": 0}
"""How many functions were compiled in this process, how many were found, and how many of the former are kept."""
_TYPES = {"int64": ctypes.c_int64, "boolean": ctypes.c_bool, "void": None}


def _arguments(signature: str) -> tuple[str, list[str]]:
    """The result and the arguments of a signature in Numba's words."""
    result, _, arguments = signature.rstrip(")").partition("(")
    return result, re.split(r", (?![^\[]*\])", arguments)


def with_arrays(name: str, signature: str, names: Sequence[str], body: str) -> str:
    """The source of a function that takes arrays as the identities of objects.

    Args:
        name: of the function.
        signature: in Numba's words.
        names: of its arguments.
        body: its source, in which the arrays have the arguments' names.
    """
    lines = [f"\ndef {name}({', '.join(f'{each}_object' for each in names)}):\n"]
    for each, kind in zip(names, _arguments(signature)[1], strict=True):
        dtype, bracket, axes = kind.partition("[")
        count = axes.count(":") - axes.count("::")
        if not bracket:
            lines.append(f"    {each} = {each}_object\n")
            continue
        lines.append(
            f"    {each}_fields = carray(pointer({each}_object), ({_HEAD + 3},), dtype=numpy.int64)\n"
            f"    {each}_lengths = carray(pointer({each}_fields[{_HEAD + 2}]), ({count},), dtype=numpy.int64)\n"
            f"    {each} = carray(pointer({each}_fields[{_HEAD}]), "
            f"({', '.join(f'{each}_lengths[{axis}]' for axis in range(count))},), dtype=numpy.{dtype})\n"
        )
    return "".join(lines) + body


@functools.cache
def _arrays_are_readable() -> bool:
    """Whether arrays are laid out as NumPy's headers say."""
    array = numpy.zeros((3, 5), dtype=numpy.int64)
    fields = (ctypes.c_int64 * 3).from_address(id(array) + 8 * _HEAD)
    return fields[0] == array.ctypes.data and tuple((ctypes.c_int64 * 2).from_address(fields[2])) == array.shape


def compile_function(source: str, name: str, signature: str, parts: dict[str, Any], with_lock: bool = False) -> Any:
    """A function of C that takes integers and arrays.

    Args:
        source: from `with_arrays`; it tells the function from others.
        name: of the function.
        signature: in Numba's words. It is not looked whether arrays are what it says.
        parts: of which the source is made, beside words.
        with_lock: whether Python's lock is held meanwhile.

    Raises:
        What Numba raises.
    """
    _must_be_readable()
    result, arguments = _arguments(signature)
    plain = f"{result}({', '.join('int64' for _ in arguments)})"
    (address,), kept = _addresses(
        (source, plain), ["entry"], lambda symbols: _by_numba(source, name, plain, parts, symbols)
    )
    kind = (ctypes.PYFUNCTYPE if with_lock else ctypes.CFUNCTYPE)(
        _TYPES[result], *(ctypes.py_object if "[" in each else ctypes.c_int64 for each in arguments)
    )
    function: Any = kind(address)
    function.kept = kept
    return function


def compile_kernel(
    program: Program, dtype: str, stored: tuple[str, ...]
) -> tuple[Callable[[Any, Any, Any, Any], None], int]:
    """The kernel of a program: as a function of Python, and the address of one for a team (see `lowering`).

    Raises:
        What LLVM raises.
    """
    _must_be_readable()

    def make(symbols: Sequence[str]) -> tuple[bytes, None]:
        # Imported only where something must be compiled.
        lowering: Any = importlib.import_module(f"{__package__}.lowering")
        return assembled(lowering.lowered(program, dtype, stored, _HEAD, *symbols), symbols, optimise=True), None

    (plain, team), _ = _addresses((program.structure, dtype, stored), ["plain", "team"], make)
    kernel: Any = ctypes.CFUNCTYPE(None, *[ctypes.py_object] * 4)(plain)
    return kernel, team


def _must_be_readable() -> None:
    if not _arrays_are_readable():
        raise RuntimeError("arrays are not what NumPy's headers say")


def _addresses(
    described: Any, names: Sequence[str], make: Callable[[Sequence[str]], tuple[bytes | None, Any]]
) -> tuple[list[int], Any]:
    """Where functions stand, taken from disk or made now.

    Args:
        described: what tells them from others, beside the sources of this room, the releases and the processor.
        names: of the functions.
        make: gives their code by the names that it is given; or none, and what only this process can run.

    Returns:
        Their addresses, and what must live as long.
    """
    digest = _digest(described)
    symbols, file = [f"gradwise_{digest}_{name}" for name in names], f"{digest}.code"
    code = read(file)
    if code is not None:
        addresses = loaded(code, *symbols)
        TALLY["found"] += 1
        return addresses, None
    with said_if_long(_words):
        code, own = make(symbols)
    TALLY["compiled"] += 1
    if code is None:
        return [own.address], own
    addresses = loaded(code, *symbols)
    TALLY["kept"] += write(file, code)
    return addresses, own


def _by_numba(
    source: str, name: str, signature: str, parts: dict[str, Any], symbols: Sequence[str]
) -> tuple[bytes | None, Any]:
    compilation = _compilation(source, name, signature, parts)
    try:
        code = compilation.code(symbols[0])
        loaded(code, symbols[0])
    except Exception as error:
        # Should another release of Numba write other text, nothing is kept, and all else goes on.
        warn_once(
            "form",
            f"What Numba {_numbas_release()} compiles cannot be kept ({type(error).__name__}: {error}): every "
            "process compiles its update rules again; another release of Numba may help.",
        )
        return None, compilation
    return code, None


def _words() -> str:
    folder = place()
    after = "are not kept for the next time" if folder is None else f"are kept in {folder} for the next time"
    return (
        "gradwise compiles update rules for this processor, which takes seconds. They "
        f"{after}; `python -m gradwise warm-up` compiles all of them ahead."
    )


def _digest(described: Any) -> str:
    """What tells compiled functions apart, on disk and in this process."""
    whole = repr((described, _sources(), _releases(), processor()))
    return hashlib.sha256(whole.encode()).hexdigest()[:40]


def _compilation(source: str, name: str, signature: str, parts: dict[str, Any]) -> Any:
    """Compile it now."""
    compiler = numba_compiler()
    words = {each: value for each, value in vars(placeholders).items() if isinstance(value, placeholders.Word)}
    functions = {"__name__": __name__, "numpy": numpy} | words | parts
    exec(compile(source, f"<gradwise {name}>", "exec"), functions)
    return compiler.Compilation(functions[name], signature)


@functools.cache
def _releases() -> tuple[str, ...]:
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}", platform.python_version()
    return *python, _numbas_release(), llvmlite.__version__, numpy.__version__


def _numbas_release() -> str:
    """What Numba says of its release, if need be by importing it, which takes a sixth of a second."""
    found = importlib.util.find_spec("numba") if "numba" not in sys.modules else None
    for folder in (found and found.submodule_search_locations) or ():
        try:
            with open(f"{folder}/_version.py", encoding="utf-8") as file:
                said = re.search(r'"version": "([^"]+)"', file.read())
        except OSError:
            continue
        if said:
            return said[1]
    numba_compiler()
    return str(sys.modules["numba"].__version__)


@functools.cache
def _sources() -> tuple[str, ...]:
    """Digests of the modules whose functions or numbers are compiled; of their code where there is no source."""
    digests = []
    room = importlib.import_module(__package__ or "")
    names = [f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)]
    above = room.__name__.rpartition(".")[0]
    beside = ("dtypes", "programs.program", "sums", "torch.addresses")
    for name in sorted([*names, *(f"{above}.{each}" for each in beside)]):
        specification = importlib.util.find_spec(name)
        assert specification is not None and specification.origin is not None
        loader: Any = specification.loader
        digests.append(hashlib.sha256(loader.get_data(specification.origin)).hexdigest())
    return tuple(digests)


def compiled_or(make: Callable[[], Any], what: str, otherwise: Any) -> Any:
    """What `make` compiles, or `otherwise` where that fails, with a warning."""
    try:
        return make()
    except PerformanceWarning:
        # One that the user has made an error.
        raise
    except NumbaBroken:
        return otherwise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        warn_once(
            ("compile", type(error)),
            f"{what[0].upper()}{what[1:]} cannot be compiled ({type(error).__name__}: {reason}): it runs by NumPy, "
            "several times slower; another release of Numba may help, and jit_compile=False does without it.",
        )
        return otherwise


FUNCTIONS: list[Compiled] = []
"""All of them, in the modules that are imported."""


class Compiled:
    """A function of this package that is compiled when it is first called.

    Args:
        function: of Python.
        signature: in Numba's words.
        otherwise: is called where it cannot be compiled.
        with_lock: whether Python's lock is held meanwhile.
    """

    def __init__(self, function: Any, signature: str, otherwise: Any, with_lock: bool = False) -> None:
        self._function, self._signature, self._otherwise = function, signature, otherwise
        self._with_lock = with_lock
        FUNCTIONS.append(self)

    @functools.cached_property
    def run(self) -> Any:
        """The compiled function, or what is called instead."""
        return compiled_or(self._compiled, self._function.__qualname__, self._otherwise)

    def _compiled(self) -> Any:
        function = self._function
        name = f"{function.__module__}.{function.__qualname__}"
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        body = f"    return function({', '.join(names)})  # {name}\n"
        source = with_arrays("entry", self._signature, names, body)
        part = placeholders.Subroutine(function)
        return compile_function(source, "entry", self._signature, {"function": part}, self._with_lock)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self.run(*arguments)


def compiled(signature: str, otherwise: Any = None, with_lock: bool = False) -> Callable[[Any], Compiled]:
    """Decorates a function that is to be compiled.

    Args:
        signature: in Numba's words.
        otherwise: is called where it cannot be compiled. The function itself, as Python.
        with_lock: whether Python's lock is held meanwhile.
    """
    return lambda function: Compiled(function, signature, otherwise or function, with_lock)
