"""Addresses inside Numba's compiled code: as pointers, as counters that threads share, as memory needed soon."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it has no types
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


def _taken(typing_context: Any, address: Any) -> Any:
    """The integer at an address, which is one more afterwards, whatever other threads do at the same time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.int64), generate


taken: Any = intrinsic(_taken)


def _prefetch(typing_context: Any, address: Any) -> Any:
    """Have the processor fetch the line of memory at an address, which any integer may be."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        prefetching = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # To be read, kept as near as can be, data.
        builder.call(prefetching, [place, *(ir.Constant(number, choice) for choice in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(types.int64), generate


prefetch: Any = intrinsic(_prefetch)
