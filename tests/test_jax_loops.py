"""How many loops XLA makes of a step on the CPU, by itself and with its flag for fusions with several results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.jax

TESTS = Path(__file__).parent
FLAG = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
SIZE = 96 * 80 * 4


def compiled(flags: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(TESTS / "loops_process.py")],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found() -> Any:
    return {"plain": compiled(""), "flag": compiled(FLAG)}


def test_donated_arrays_are_updated_in_place(found: Any) -> None:
    """At most one more array of the parameter's size is needed, for the direction of Adadelta."""
    for name, each in {**found["plain"], **found["flag"]}.items():
        assert each["besides"] < (SIZE * 1.1 if name.startswith("Adadelta") else SIZE), name


def test_no_more_loops_than_arrays_are_written(found: Any) -> None:
    """A loop gives one result; those of Adadelta are five, since its direction is needed twice."""
    for name, each in found["plain"].items():
        assert each["loops"] <= (5 if name.startswith("Adadelta") else each["arrays"]), name


def test_the_flag_joins_the_loops_over_slots(found: Any) -> None:
    """They read the same arrays. The loop over the parameter reads what they give, and stays one by itself."""
    for name, each in found["flag"].items():
        plain = found["plain"][name]
        assert each["loops"] <= min(plain["loops"], 3 if name.startswith("Adadelta") else 2), name
        assert each["bits"] == plain["bits"], name
