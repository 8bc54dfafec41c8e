"""How many loops XLA makes of a step on the CPU, by itself and with its flag for fusions with several results."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from helpers.backend_table import distance
from jax_process import answer_of

pytestmark = pytest.mark.jax

UNDER_JIT = 16.0
"""The cap of `test_parity` on distances under jit: XLA rounds products and sums at once where it joins them."""
FLAG = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
SIZE = 96 * 80 * 4


@pytest.fixture(scope="module")
def found() -> Any:
    usual = os.environ.get("XLA_FLAGS", "")
    return {
        name: answer_of("loops_process.py", XLA_FLAGS=f"{usual} {flags}".strip())
        for name, flags in (("plain", ""), ("flag", FLAG))
    }


def test_donated_arrays_are_updated_in_place(found: Any) -> None:
    """At most one more array of the parameter's size is needed, for the direction of Adadelta."""
    for name, each in {**found["plain"], **found["flag"]}.items():
        assert each["besides"] < (SIZE * 1.1 if name.startswith("Adadelta") else SIZE), name


def test_no_more_loops_than_arrays_are_written(found: Any) -> None:
    """A loop gives one result; those of Adadelta are five, since its direction is needed twice."""
    for name, each in found["plain"].items():
        assert each["loops"] <= (5 if name.startswith("Adadelta") else each["arrays"]), name


def test_the_flag_joins_the_loops_over_slots(found: Any) -> None:
    """They read the same arrays. The loop over the parameter reads what they give, and stays one by itself; so does one
    over a slot that reads what another gives."""
    one_more = ("Adadelta", "AdaBelief")
    for name, each in found["flag"].items():
        plain = found["plain"][name]
        assert each["loops"] <= min(plain["loops"], 3 if name.startswith(one_more) else 2), name
        for own, other in zip(each["results"], plain["results"], strict=True):
            assert distance(np.float32(own), np.float32(other), np.float32(own)) <= UNDER_JIT, name
