"""An address as a pointer inside Numba's compiled code."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _pointer(typing_context: Any, address: Any) -> Any:
    """The integer as a void pointer, for `numba.carray`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


# Called with the address alone; the context is Numba's.
pointer: Any = intrinsic(_pointer)
