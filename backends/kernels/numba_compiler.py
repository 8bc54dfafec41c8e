"""What Numba is asked to compile. It is imported here, when there is something to compile: see `compiled`."""

from __future__ import annotations

import re
import types
from typing import Any

import numba
from llvmlite import binding  # type: ignore[import-untyped]  # it has no types

from . import intrinsics
from .machine_code import assembled
from .placeholders import Subroutine, Word

_OPTIONS: dict[str, Any] = {"error_model": "numpy"}
_CALLED = """
define i64 @{name}({typed}) {{
  %result = alloca i64
  %error = alloca ptr
  store i64 0, ptr %result
  %status = call i32 @"{native}"(ptr %result, ptr %error{passed})
  %value = load i64, ptr %result
  ret i64 %value
}}
"""
"""A function of C around one of Numba's, which gives its result and its error into memory. There are no errors: nothing
that is compiled here raises."""

_LET_GO = re.compile(r"^declare void @NRT_MemInfo_call_dtor\(ptr.*", re.MULTILINE)
_KEPT = "define internal void @NRT_MemInfo_call_dtor(ptr %0) { ret void }"
"""What Numba's own memory would be let go by. Here no array is of such memory, which nothing allocates."""


class Compilation:
    """A function of C, compiled.

    Args:
        function: of Python, whose arguments are integers of 64 bits, as is its result, or it is a truth or nothing.
        signature: in Numba's words.
    """

    def __init__(self, function: Any, signature: str) -> None:
        self._callback: Any = numba.cfunc(signature, **_OPTIONS)(_in_numbas_words(function))

    @property
    def address(self) -> int:
        """Where it stands in this process, as Numba has loaded it."""
        return int(self._callback.address)

    def code(self, name: str) -> bytes:
        """Its machine code.

        Args:
            name: by which it is to be found.

        Raises:
            RuntimeError: if only this process could run it, or this release of LLVM cannot make it.
        """
        text = _LET_GO.sub(_KEPT, self._callback.inspect_llvm())
        caller = binding.parse_assembly(text).get_function(self._callback.native_name)
        called = next(
            each for block in caller.blocks for each in block.instructions if each.opcode == "call"
        )
        *operands, native = called.operands
        if str(operands[0].type) != "ptr":
            raise RuntimeError("in its LLVM a pointer's type still says what it points at")
        # After where the result goes, and where an error.
        count = len(operands) - 2
        typed = ", ".join(f"i64 %a{number}" for number in range(count))
        passed = "".join(f", i64 %a{number}" for number in range(count))
        return assembled(text + _CALLED.format(name=name, native=native.name, typed=typed, passed=passed), [name])


def _in_numbas_words(function: Any) -> Any:
    """A function whose words and parts are those that Numba knows."""
    used = set(function.__code__.co_names) & set(function.__globals__)
    known = {"__name__": function.__module__} | {name: _known(function.__globals__[name]) for name in used}
    return types.FunctionType(function.__code__, known, function.__name__, function.__defaults__)


def _known(value: Any) -> Any:
    if isinstance(value, Word):
        return getattr(intrinsics, value.name)
    if isinstance(value, Subroutine):
        if value.compiled is None:
            options = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            value.compiled = numba.njit(**options)(_in_numbas_words(value.function))
        return value.compiled
    return value
