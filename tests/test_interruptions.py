"""Ctrl-C in the middle of a step: an error, no deadlock, and the next step works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A signal handler runs between two bytecodes of the main thread, which waits for the other threads of a pass.
PROGRAM = """
import signal, sys, time

import numpy as np

from gradwise.optimizers import Adam

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
weights = [np.ones(2_000_000, np.float32) for _ in range(4)]
gradients = [np.full(2_000_000, 0.5, np.float32) for _ in weights]
optimizer = Adam(0.001, jit_compile=sys.argv[1] == "one-pass" or "auto")
if sys.argv[1] == "eager":
    optimizer.jit_compile = False
optimizer.apply(gradients, weights)
start = time.perf_counter()
optimizer.apply(gradients, weights)
duration = time.perf_counter() - start

interrupted = finished = 0
for attempt in range(40):
    before = optimizer.iterations
    signal.setitimer(signal.ITIMER_REAL, max(duration * (attempt % 10 + 1) / 10, 1e-4))
    try:
        optimizer.apply(gradients, weights)
        finished += 1
        assert optimizer.iterations == before + 1
    except KeyboardInterrupt:
        interrupted += 1
        assert optimizer.iterations in (before, before + 1)
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1

before = weights[0].copy()
optimizer.apply(gradients, weights)
assert all(np.all(np.isfinite(weight)) and np.all(weight < 1) for weight in weights)
assert np.all(weights[0] < before)
assert interrupted >= 5, (interrupted, finished)
print("done")
"""


@pytest.mark.parametrize("way", ["eager", pytest.param("one-pass", marks=pytest.mark.fast)])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
def test_interrupted_steps(way):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
