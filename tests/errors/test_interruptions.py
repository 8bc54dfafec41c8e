"""Ctrl-C in the middle of a step: an error, no deadlock, and the next step works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.selection import WHOLE

from gradwise.backends import NUMPY
from gradwise.backends.interruptions import Undisturbed
from gradwise.optimizers import SGD, Adam

ROOT = Path(__file__).parents[2]

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
    try:
        # On a busy machine it may end before the step begins.
        signal.setitimer(signal.ITIMER_REAL, max(duration * (attempt % 10 + 1) / 10, 1e-4))
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


# Each array holds one value in all elements, before and after each step, and all of them belong to the same step.
TORN = """
import os, signal, sys, time

# In the background of a shell it is ignored, not Python's.
usual = signal.getsignal(signal.SIGINT)
os.environ["GRADWISE_NUM_THREADS"] = sys.argv[2]
import numpy as np

from gradwise import backends
from gradwise.optimizers import Adam, Nadam

library, way = sys.argv[1], sys.argv[3]
if way == "blocks":
    from gradwise.backends import reductions
    from gradwise.optimizers.core.fused import plan
    plan.has_numba = lambda: False

armed = False

def interrupt(number, frame):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt

for each in (signal.SIGALRM, signal.SIGVTALRM):
    signal.signal(each, interrupt)

def array(size):
    if library == "numpy":
        return np.ones(size, "float16" if way == "copies" else "float32")
    import torch
    return torch.ones(size, dtype=torch.float16 if way == "copies" else torch.float32)

sizes = (300_000, 150_001, 7)
weights, gradients = [array(size) for size in sizes], [array(size) for size in sizes]
optimizer = Nadam(0.01, convention="torch", jit_compile=False if way == "eager" else "auto")

def state():
    arrays = [*weights, *(cell.value for cell in optimizer.variables)]
    found = [np.unique(np.asarray(array)).tolist() for array in arrays]
    assert all(len(each) == 1 for each in found), ("torn", found)
    return found

optimizer.apply(gradients, weights)
optimizer.apply(gradients, weights)
known = {}
twin = [array(size) for size in sizes]
follower = Nadam(0.01, convention="torch", jit_compile=optimizer.jit_compile)
weights, kept, optimizer, other = twin, weights, follower, optimizer
for step in range(int(sys.argv[4])):
    start = time.perf_counter()
    optimizer.apply(gradients, weights)
    duration = time.perf_counter() - start
    known[step + 1] = state()
weights, optimizer = kept, other

generator, interrupted = np.random.default_rng(0), 0
while optimizer.iterations < int(sys.argv[4]) - 1:
    for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_REAL):
        signal.setitimer(timer, max(duration * 1.5 * generator.random(), 1e-6))
    try:
        armed = True
        optimizer.apply(gradients, weights)
        armed = False
    except KeyboardInterrupt:
        interrupted += 1
    for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_REAL):
        signal.setitimer(timer, 0)
    assert state() == known[optimizer.iterations], (optimizer.iterations, "at odds")
assert interrupted > 3, interrupted
for each in (signal.SIGALRM, signal.SIGVTALRM):
    assert signal.getsignal(each) is interrupt
assert signal.getsignal(signal.SIGINT) is usual
print("done")
"""


@pytest.mark.crossing
@pytest.mark.parametrize(
    "library, threads, way, steps",
    [
        ("numpy", 1, "eager", 60),
        ("numpy", 1, "blocks", 60),
        pytest.param("numpy", 1, "one-pass", 300, marks=pytest.mark.fast),
        pytest.param("numpy", 3, "one-pass", 300, marks=pytest.mark.fast),
        pytest.param("numpy", 3, "copies", 60, marks=pytest.mark.fast),
        pytest.param("torch", 2, "one-pass", 300, marks=[pytest.mark.fast, pytest.mark.torch]),
        pytest.param("torch", 1, "eager", 60, marks=pytest.mark.torch),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
def test_interruptions_leave_all_before_or_after_a_step(library, threads, way, steps):
    """In a third of the steps; in `make crossings` in all of them."""
    drawn = steps if WHOLE else steps // 3
    done = subprocess.run(
        [sys.executable, "-c", TORN, library, str(threads), way, str(drawn)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "done\n"


def test_handlers_wait_while_they_are_held_and_come_back():
    seen: list[str] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    signal.signal(signal.SIGUSR1, lambda *given: seen.append("first"))

    def failing(*given: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGUSR2, failing)
    own = signal.getsignal(signal.SIGUSR1)
    try:
        with pytest.raises(KeyboardInterrupt), Undisturbed() as guard:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert seen == ["first"]
            guard.hold()
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)
            seen.append("work")
        assert seen == ["first", "work", "first"]
        assert signal.getsignal(signal.SIGUSR1) is own and signal.getsignal(signal.SIGUSR2) is failing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_users_own_code_can_be_interrupted_and_then_nothing_has_changed():
    class Slow(SGD):
        is_interrupted = False

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate)
            if self.is_interrupted and variable.name == "variable_1":
                raise KeyboardInterrupt

    weights = [np.ones(3), np.ones(3)]
    optimizer = Slow(1.0, jit_compile=False)
    optimizer.apply([np.ones(3)] * 2, weights)
    optimizer.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply([np.ones(3)] * 2, weights)
    assert [weight.tolist() for weight in weights] == [[0.0] * 3] * 2 and optimizer.iterations == 1


@pytest.mark.parametrize("way", ["eager", pytest.param("one-pass", marks=pytest.mark.fast)])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
def test_interrupted_steps(way):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def test_copies_of_compiled_code_are_written_all_or_not_at_all(monkeypatch):
    # In a shell's background nothing would come of the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt_copies(monkeypatch)
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_copies(monkeypatch):
    parameters, gradients = [np.ones(3), np.ones(4)], [np.ones(3), np.ones(4)]
    optimizer = Adam(0.1)
    optimizer.build(parameters)
    copies = [cell.numpy() for cells in optimizer.cells.grouped for cell in cells]
    kind, write = type(NUMPY), NUMPY.write

    def interrupted(backend, *arguments):
        signal.raise_signal(signal.SIGINT)
        write(*arguments)

    monkeypatch.setattr(kind, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step_on(gradients, copies, range(2))
    assert all((array != before).all() for array, before in zip(copies, [1.0, 0.0, 0.0] * 2, strict=True))
    assert optimizer.iterations == 1


def test_signals_that_come_together_are_all_told():
    told = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def handler(number, frame):
        told.append(number)
        raise KeyboardInterrupt(number)

    before = [signal.signal(number, handler) for number in numbers]
    try:
        with pytest.raises(KeyboardInterrupt), Undisturbed() as guard:
            guard.hold()
            for number in numbers:
                signal.raise_signal(number)
            assert not told
    finally:
        for number, own in zip(numbers, before, strict=True):
            signal.signal(number, own)
    assert told == list(numbers)
