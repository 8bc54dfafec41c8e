"""What the words of `placeholders` are to Numba: addresses inside of compiled code, and what is done with them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it has no types
from numba import carray as carray  # type: ignore[attr-defined]  # exported without being listed
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


# Called with the address alone; the context is Numba's.
pointer: Any = intrinsic(_pointer)


def _room(typing_context: Any, size: Any) -> Any:
    if not isinstance(size, types.IntegerLiteral):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.ArrayType(ir.IntType(8), signature.args[0].literal_value)
        with builder.goto_entry_block():
            place = builder.alloca(kind)
            place.align = 64
        return builder.ptrtoint(place, ir.IntType(64))

    return types.int64(size), generate


room: Any = intrinsic(prefer_literal=True)(_room)


def _prefetch(typing_context: Any, address: Any) -> Any:
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


def _asked(typing_context: Any, function: Any, handle: Any, answer: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [place, place])
        called = builder.inttoptr(arguments[0], kind.as_pointer())
        result = builder.call(called, [builder.inttoptr(argument, place) for argument in arguments[1:]])
        return builder.sext(result, ir.IntType(64))

    return types.int64(types.int64, types.int64, types.int64), generate


asked: Any = intrinsic(_asked)
