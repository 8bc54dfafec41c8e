"""Memory that changes at random between steps; `.ci/run` makes all of the 100,000 steps in a step of its own."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESS = Path(__file__).with_name("memory_process.py")
PART = float(os.environ.get("GRADWISE_FUZZ_PART", "0.02"))
"""Which part of the steps is made."""
SEEDS = math.ceil(5 * PART)
"""In how many processes, which take longer to start than to make a few steps."""


@pytest.mark.parametrize(
    ("library", "steps"),
    [
        ("numpy", 50_000),
        pytest.param("torch", 25_000, marks=pytest.mark.torch),
        pytest.param("frontend", 25_000, marks=pytest.mark.torch),
    ],
)
def test_changing_memory_between_steps(library, steps):
    surroundings = {**os.environ, "MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "1"}
    for seed in range(SEEDS):
        ended = subprocess.run(
            [sys.executable, PROCESS, library, str(int(PART * steps / SEEDS)), str(seed)],
            env=surroundings,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, f"seed {seed}: exit status {ended.returncode}\n{ended.stderr[-3000:]}"
