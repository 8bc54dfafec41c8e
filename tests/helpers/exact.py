"""Numbers of 50 digits, and how they become numbers of fewer digits: rounding to a dtype, hexadecimal text."""

from __future__ import annotations

from typing import Any

import mpmath

mp = mpmath.MPContext()  # a context of its own: no other user of mpmath changes its precision
mp.dps = 50
number = mp.mpf

DTYPES = {
    "float64": (53, -1074, 1024),
    "float32": (24, -149, 128),
    "bfloat16": (8, -133, 128),
    "float16": (11, -24, 16),
}
"""By the dtype's name: how many bits its numbers have, the exponent of its smallest positive number, and that of the
power of two above all of its numbers."""

DIGITS = 17
"""Hexadecimal digits after the point: 69 bits in all, 16 more than float64 has."""


def one_minus_power(beta: Any, t: int) -> Any:
    """1 - beta**t. Where beta is 0.999 and t is 1, 3 of the 50 digits are lost."""
    return 1 - number(beta) ** t


def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    return mp.sign(x)


def to_bits(x: Any, bits: int, lowest: int | None = None) -> Any:
    """To the nearest number of so many bits, to an even last bit if there are two. `lowest`: of the last bit."""
    sign, mantissa, exponent, length = x._mpf_
    drop = length - bits
    if lowest is not None:
        drop = max(drop, lowest - exponent)
    if drop <= 0:
        return x
    quotient, rest = divmod(int(mantissa), 1 << drop)
    half = 1 << (drop - 1)
    if rest > half or (rest == half and quotient % 2):
        quotient += 1
    return mp.ldexp(number(-quotient if sign else quotient), exponent + drop)


def rounded(x: Any, dtype: str) -> Any:
    """To the nearest number of a dtype, to an even one if there are two."""
    bits, lowest, top = DTYPES[dtype]
    value = to_bits(number(x), bits, lowest)
    if not abs(value) < mp.ldexp(1, top):
        raise OverflowError(f"{mp.nstr(value)} is too large for {dtype}")
    return value


def distance_from_tie(x: Any, dtype: str) -> float:
    """How far a number is from the nearest middle of two numbers of the dtype, in units of their distance."""
    _, mantissa, exponent, length = x._mpf_
    bits, lowest, _ = DTYPES[dtype]
    drop = max(length - bits, lowest - exponent)
    if drop <= 0:
        return 0.5
    return abs(int(mantissa) % (1 << drop) - (1 << (drop - 1))) / (1 << drop)


def hexadecimal(x: Any) -> str:
    """As C's strtod and Python's float.fromhex read it, correctly rounded, without the zeros at the end."""
    sign, mantissa, exponent, length = to_bits(number(x), 1 + 4 * DIGITS)._mpf_
    if not mantissa:
        return "0x0p+0"
    places = -(-(length - 1) // 4)
    fraction = (int(mantissa) - (1 << (length - 1))) << (4 * places - (length - 1))
    digits = f".{fraction:0{places}x}" if places else ""
    return f"{'-' if sign else ''}0x1{digits}p{exponent + length - 1:+d}"
