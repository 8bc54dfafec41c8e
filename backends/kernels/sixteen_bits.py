"""Numbers of 16 bits in compiled code: read as float32, which holds each of them, and rounded back to the nearest one.

As integers, without a branch, so that loops over them take several numbers at once on every processor: a bfloat16 is
the upper half of a float32. Half precision has instructions of its own on processors that say so; elsewhere LLVM would
call a function of a library that need not be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it has no types

from .machine_code import processor

_SHORT, _WORD, _HALF, _FLOAT = ir.IntType(16), ir.IntType(32), ir.HalfType(), ir.FloatType()
_SIGN, _INFINITY = 0x80000000, 0x7F800000
_LEAST_NORMAL = 113 << 23
"""The bits of 2**-14, the least half that is not subnormal, as float32."""
_SHIFT = (127 - 15) << 23
"""By how much the exponents of a half and a float32 differ."""
_STEP = 126 << 23
"""The bits of 0.5: beside it, float32 numbers are as far apart as subnormal halves, so that adding it rounds to one."""


def _word(number: int) -> Any:
    return ir.Constant(_WORD, number)


def _knows_halves() -> bool:
    triple, _, features = processor()
    return triple.startswith(("aarch64", "arm64")) or "+f16c" in features.split(",")


def _from_bfloat16(builder: Any, short: Any) -> Any:
    return builder.bitcast(builder.shl(builder.zext(short, _WORD), _word(16)), _FLOAT)


def _to_bfloat16(builder: Any, number: Any) -> Any:
    word = builder.bitcast(number, _WORD)
    odd = builder.and_(builder.lshr(word, _word(16)), _word(1))
    rounded = builder.add(word, builder.add(odd, _word(0x7FFF)))
    # Of what is no number only the sign is kept: the rest might be rounded to infinity.
    no_number = builder.or_(builder.and_(word, _word(_SIGN)), _word(0x7FC00000))
    rounded = builder.select(builder.fcmp_unordered("uno", number, number), no_number, rounded)
    return builder.trunc(builder.lshr(rounded, _word(16)), _SHORT)


def _from_float16(builder: Any, short: Any) -> Any:
    if _knows_halves():
        return builder.fpext(builder.bitcast(short, _HALF), _FLOAT)
    wide = builder.zext(short, _WORD)
    size = builder.shl(builder.and_(wide, _word(0x7FFF)), _word(13))
    exponent = builder.and_(size, _word(0x7C00 << 13))
    normal = builder.add(size, _word(_SHIFT))
    # Infinity and what is no number have the largest exponent, and keep it.
    normal = builder.select(
        builder.icmp_unsigned("==", exponent, _word(0x7C00 << 13)), builder.add(normal, _word(_SHIFT)), normal
    )
    least = builder.bitcast(_word(_LEAST_NORMAL), _FLOAT)
    beside = builder.bitcast(builder.add(size, _word(_LEAST_NORMAL)), _FLOAT)
    subnormal = builder.bitcast(builder.fsub(beside, least), _WORD)
    size = builder.select(builder.icmp_unsigned("==", exponent, _word(0)), subnormal, normal)
    sign = builder.shl(builder.and_(wide, _word(0x8000)), _word(16))
    return builder.bitcast(builder.or_(size, sign), _FLOAT)


def _to_float16(builder: Any, number: Any) -> Any:
    if _knows_halves():
        return builder.bitcast(builder.fptrunc(number, _HALF), _SHORT)
    word = builder.bitcast(number, _WORD)
    sign = builder.and_(word, _word(_SIGN))
    size = builder.xor(word, sign)
    odd = builder.and_(builder.lshr(size, _word(13)), _word(1))
    normal = builder.sub(builder.add(size, builder.add(odd, _word(0xFFF))), _word(_SHIFT))
    normal = builder.lshr(normal, _word(13))
    step = builder.bitcast(_word(_STEP), _FLOAT)
    beside = builder.bitcast(builder.fadd(builder.bitcast(size, _FLOAT), step), _WORD)
    subnormal = builder.sub(beside, _word(_STEP))
    half = builder.select(builder.icmp_unsigned("<", size, _word(_LEAST_NORMAL)), subnormal, normal)
    # From 2**16 on; what is a little less is rounded to infinity above.
    half = builder.select(builder.icmp_unsigned(">=", size, _word(143 << 23)), _word(0x7C00), half)
    no_number = builder.or_(builder.and_(builder.lshr(size, _word(13)), _word(0x3FF)), _word(0x7E00))
    half = builder.select(builder.icmp_unsigned(">", size, _word(_INFINITY)), no_number, half)
    return builder.trunc(builder.or_(half, builder.lshr(sign, _word(16))), _SHORT)


WIDENING: dict[str, Callable[[Any, Any], Any]] = {"bfloat16": _from_bfloat16, "float16": _from_float16}
"""What writes down, of an integer of 16 bits, the number that it stands for as float32."""
NARROWING: dict[str, Callable[[Any, Any], Any]] = {"bfloat16": _to_bfloat16, "float16": _to_float16}
"""What writes down, of a float32, the integer of 16 bits that stands for the nearest number."""
