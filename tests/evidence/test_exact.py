"""Rounding and hexadecimal text of 50-digit numbers, compared with what NumPy and Python do to numbers of float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.backend_table import numpy_dtype
from helpers.exact import distance_from_tie, hexadecimal, mp, number, rounded
from hypothesis import given
from hypothesis import strategies as st

from gradwise.vectors.exact import pair

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DTYPES = ("float32", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@given(value=st.floats(-60000, 60000) | st.floats(-1e-4, 1e-4) | st.floats(-1e-37, 1e-37))
def test_rounding_is_that_of_numpy(dtype, value):
    expected = float(np.asarray(np.float32(value) if dtype == "bfloat16" else value).astype(numpy_dtype(dtype)))
    if dtype == "bfloat16":  # ml_dtypes rounds twice, first to float32
        value = float(np.float32(value))
    assert float(rounded(value, dtype)) == expected


def test_ties_go_to_even():
    assert rounded(1 + 2.0**-8, "bfloat16") == 1
    assert rounded(1 + 3 * 2.0**-8, "bfloat16") == 1 + 2.0**-6
    assert rounded(number(1) + number(2) ** -8 + number(2) ** -160, "bfloat16") == 1 + 2.0**-7
    assert distance_from_tie(number(1 + 2.0**-8), "bfloat16") == 0
    assert distance_from_tie(number(1), "bfloat16") == 0.5


def test_too_large_numbers_are_refused():
    assert rounded(65519.0, "float16") == 65504
    with pytest.raises(OverflowError, match="float16"):
        rounded(65520.0, "float16")


@given(FLOATS)
def test_hexadecimal_text_is_read_back(value):
    text = hexadecimal(value)
    assert float.fromhex(text) == value
    assert pair(text) == (value, 0.0)


@given(st.floats(1e-30, 1e30), st.floats(-1, 1))
def test_hexadecimal_text_has_69_bits(value, more):
    wanted = number(value) * (1 + number(more) * number(2) ** -40 + number(more) * number(2) ** -60)
    text = hexadecimal(wanted)
    read = math.fsum(pair(text))
    assert read == float.fromhex(text)
    high, low = map(number, pair(text))
    assert abs(high + low - wanted) <= wanted * number(2) ** -69
    assert float(high) == read and abs(low) <= abs(high) * number(2) ** -53
    assert mp.nstr(wanted, 15) == mp.nstr(high + low, 15)


@pytest.mark.parametrize("text", ["1.5", "0x1.8", "0x1.8p", "0x2p+0", "nan", " 0x1p+0", ""])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="hexadecimal"):
        pair(text)
