"""Names that mean something to Numba's compiler alone, such as a pointer, without Numba.

Functions that are to be compiled name them. So such functions can be written, and those that were compiled before can
run, without importing Numba, which takes long: it is told what the names stand for when there is something to compile.
"""

from __future__ import annotations

from typing import Any


class Word:
    """A name that means something only in a compiled function.

    Args:
        name: of what it stands for, in `intrinsics`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Always raises: it is no function of Python."""
        raise RuntimeError(f"{self.name} is for compiled functions only.")


class Subroutine:
    """A function that compiled functions call, and that is compiled with them.

    Args:
        function: of Python.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.compiled: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Call it as Python."""
        return self.function(*arguments)


carray: Any = Word("carray")
"""An array that stands at a pointer, of a shape and a dtype."""
pointer: Any = Word("pointer")
"""The integer as a pointer."""
room: Any = Word("room")
"""Where so many bytes stand that are the function's own, as an integer; how many is written as a number."""
prefetch: Any = Word("prefetch")
"""Have the processor fetch the line of memory at an address, which any integer may be."""
asked: Any = Word("asked")
"""Call a function of C by its address with a handle and the place of the answer; not 0 if there is none."""
