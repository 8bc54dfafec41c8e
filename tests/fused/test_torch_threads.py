"""Compiled passes over tensors in torch's own threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradwise.backends.kernels import table
from gradwise.optimizers import Adam

pytestmark = [pytest.mark.torch, pytest.mark.fast]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def team(monkeypatch):
    """Torch's threads, used from the first element on; what they were given to do is listed."""
    import torch

    from gradwise.backends.torch import threads as torch_threads

    if torch_threads.torch_threads() is None:
        assert sys.platform != "linux", "torch's wheels for Linux have GNU's OpenMP"
        pytest.skip("torch has no threads of GNU's OpenMP here")
    monkeypatch.setattr(table, "_THREADED_FROM", 1)
    before, done = torch.get_num_threads(), []
    original = torch_threads.TorchThreads.ready

    def ready(self, *arguments):
        done.append(arguments[-1])
        return original(self, *arguments)

    monkeypatch.setattr(torch_threads.TorchThreads, "ready", ready)
    yield done
    torch.set_num_threads(before)


def trained(convert, shapes=((3,), (0,), (40_000,), (7, 11)), steps=3, **options):
    generator = np.random.default_rng(0)
    weights, optimizer = [convert(generator.normal(size=shape)) for shape in shapes], Adam(0.01, **options)
    for _ in range(steps):
        optimizer.apply([convert(generator.normal(size=shape)) for shape in shapes], weights)
    return [np.asarray(weight).tobytes() for weight in weights]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_of_numpy_arrays(team, threads, dtype):
    import torch

    torch.set_num_threads(threads)
    expected = trained(lambda array: np.asarray(array, dtype), jit_compile=False)
    assert trained(lambda array: torch.tensor(array, dtype=getattr(torch, dtype)), jit_compile=True) == expected
    assert team == ([] if threads == 1 else [threads] * 3)


def test_the_variable_that_sets_the_number_of_threads(team, monkeypatch):
    import torch

    monkeypatch.setenv("GRADWISE_NUM_THREADS", "3")
    trained(torch.tensor)
    assert team == [3] * 3


def test_arrays_of_numpy_stay_in_threads_of_their_own(team):
    trained(np.array)
    assert team == []


def test_without_openmp_the_own_threads_are_used(team, monkeypatch):
    import torch

    from gradwise.backends.torch import backend as backend

    monkeypatch.setattr(backend, "torch_threads", lambda: None)
    monkeypatch.setenv("GRADWISE_NUM_THREADS", "2")
    assert trained(torch.tensor) == trained(np.array, jit_compile=False)
    assert team == []


_FORK = """
import os
import torch
from gradwise.optimizers import Adam

# Made before: torch's own work on large tensors waits for ever in a forked child.
gradient, weights, others = (torch.ones(300_000) for _ in range(3))
optimizer = Adam(0.1, jit_compile=True)
for _ in range(2):
    optimizer.apply([gradient], [weights])
other = Adam(0.1, jit_compile=True)
other.build([others])
child = os.fork()
if child == 0:
    optimizer.apply([gradient], [weights])
    for _ in range(3):
        other.apply([gradient], [others])
    os._exit(0 if float(weights[-1]) == float(others[0]) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_steps():
    """OpenMP would wait for threads that the child does not have."""
    environment = {**os.environ, "GRADWISE_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", _FORK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "0"


def test_threads_of_python_step_at_the_same_time(team):
    import threading

    import torch

    results = {}
    threads = [
        threading.Thread(target=lambda number=number: results.update({number: trained(torch.tensor, steps=5)}))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 4 and len({tuple(result) for result in results.values()}) == 1
