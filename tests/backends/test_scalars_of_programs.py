"""The scalars of programs, which are compiled, are those of Python's own numbers, to the last bit."""

from __future__ import annotations

import math
import struct

import pytest

from gradwise.backends.programs.program import Program
from gradwise.backends.programs.scalars import scalar_evaluator
from gradwise.backends.python import HOST

NUMBERS = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 5e-324, -5e-324, 1e-9, 1.0000000000000002, 3.0, 709.0, 710.0, -745.0, 1e308,
    -1e308, math.inf, -math.inf, math.nan, 0, 1, 2, -3, 10**18,
]  # fmt: skip

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", ["sqrt", "exp", "expm1", "log", "log1p", "square", "ceil", "floor", "abs", "sign"])
def test_functions_of_one_number(name):
    evaluate = scalar_evaluator(Program(0, (), (), (1,), ("x",), (), ((name, (0,)),)))
    expected = [float(getattr(HOST.namespace, name)(number)) for number in NUMBERS]
    found = [evaluate({"x": number})[0] for number in NUMBERS]
    assert [struct.pack("d", each) for each in found] == [struct.pack("d", each) for each in expected]


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("sqrt", math.inf, math.nan), ("exp", math.inf, 0.0), ("expm1", math.inf, -1.0),
        ("log", math.log(2**1024), math.nan),
    ],
)  # fmt: skip
def test_integers_that_no_float_holds(name, above, below):
    evaluate = scalar_evaluator(Program(0, (), (), (1,), ("x",), (), ((name, (0,)),)))
    for number, expected in ((2**1024, above), (-(2**1024), below)):
        for found in (evaluate({"x": number})[0], getattr(HOST.namespace, name)(number)):
            assert found == expected or (math.isnan(found) and math.isnan(expected))
