"""The tests on older and newer releases of the libraries: `python tests/other_releases.py [pytest's arguments]`.

Everything runs on the releases of constraints.txt. Here runs what shows that gradwise works on others: it imports,
every library steps in every way to the same results, and each front end does what it is for. `make floors` and
`make newest` run it in environments of their own. This file is also the plugin of pytest that selects:
`-p other_releases`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from helpers.selection import ALL, keep, places

HERE = Path(__file__).parent

SELECTED = {
    # What is imported, and by what.
    "test_releases.py": ALL, "test_backends.py": 4,
    # Every library beside NumPy, in every way to run it; functional steps; the one pass.
    "test_parity.py": 90, "test_functional.py": ALL, "test_fused.py": 4, "test_user_optimizer.py": ALL,
    "test_jax_functional.py": 2,
    # The front ends beside their originals, their states and files.
    "test_frontend_optax.py": 3, "test_frontend_scipy.py": 4, "test_frontend_torch.py": 4,
    "test_frontend_torch_state.py": 3, "test_frontend_torch_checkpoints.py": 3, "test_frontend_torch_wrap.py": 4,
    # What LLVM is told, and what is asked of torch's inside.
    "test_lowering.py": ALL, "test_frontend_torch_watching.py": 2, "test_memory.py": 2,
}  # fmt: skip
"""The files, and how many parameter sets of each test run at most."""

SELECTED_ON_KERAS = {"test_classes.py": 2, "test_training.py": 2, "test_wrap.py": 3}
"""The same of tests/frontends/keras/each_backend, which run in a process for each backend of Keras."""

LEFT_OUT = {
    "test_donation_of_parameters_and_state": "which memory XLA uses again is its own affair",
    "test_in_a_branch_of_a_loop_that_is_rematerialized": "what JAX computes twice is its own affair",
}
"""Tests of those files that run on the releases of constraints.txt only, and why."""


def pytest_configure(config: Any) -> None:
    # Until torch 2.5, of its own code that unpickles a tensor.
    config.addinivalue_line("filterwarnings", "ignore:You are using `torch.load` with `weights_only=F:FutureWarning")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    keep(config, items, SELECTED | SELECTED_ON_KERAS, LEFT_OUT)


def main(arguments: list[str]) -> None:
    """Run what is selected, on those of torch and JAX that are installed, and on Keras's backends for them."""
    installed = [name for name in ("torch", "jax") if find_spec(name) is not None]
    marks = " and ".join(f"not {name}" for name in ("torch", "jax") if name not in installed)
    command = [sys.executable, "-m", "pytest", "-p", "other_releases", *(["-m", marks] if marks else [])]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    runs = [({}, places(SELECTED))]
    for backend in installed:
        runs.append(({"GRADWISE_KERAS_TESTS": "1", "KERAS_BACKEND": backend}, places(SELECTED_ON_KERAS)))
    failed = [
        subprocess.run([*command, *arguments, *files], env=os.environ | {"PYTHONPATH": path} | settings).returncode != 0
        for settings, files in runs
    ]
    sys.exit(any(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
