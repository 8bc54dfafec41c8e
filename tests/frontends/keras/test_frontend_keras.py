"""gradwise.frontends.keras: its tests on each backend of Keras, which a process can have only one of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.selection import WHOLE, names_of
from rules import all_facts

pytestmark = [pytest.mark.keras, pytest.mark.torch, pytest.mark.jax]

HERE = Path(__file__).parent
TESTS, ROOT = HERE.parents[1], HERE.parents[2]
BOUND = 2e-5


def run(backend: str, home: Path, *arguments: str, **environment: str) -> str:
    """The output of a program, with Keras's settings in a folder, or a failure that shows it."""
    path = os.pathsep.join([str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")])
    # Two of these run at a time.
    settings = {"KERAS_BACKEND": backend, "KERAS_HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    settings.update(environment)
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **settings}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(arguments)} on {backend}:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
@pytest.mark.every_algorithm
def test_on(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    asked = request.config.getoption("--algorithm")
    if asked and not any(facts.keras for name, facts in all_facts().items() if name.lower() in names_of(asked)):
        pytest.skip("Keras has none of these algorithms")
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", str(HERE / "each_backend")]
    options += [f"--algorithm={name}" for name in asked]
    output = run(backend, tmp_path, *options, GRADWISE_KERAS_TESTS="1")
    summary = output.strip().splitlines()[-1]
    assert " passed" in summary
    assert "failed" not in summary


# -------------------------------------------------------------------- files

JOURNEYS = [
    ("torch", [("save", "from torch")]),
    ("jax", [("load", "from torch"), ("save", "from jax")]),
    ("torch", [("keras", "from torch"), ("load", "from jax")]),
]
"""One process after the other: its backend, and what it does with the files of which folder."""


def test_training_goes_on_on_another_backend(tmp_path: Path) -> None:
    expected: dict[str, Any] = {}
    for backend, actions in JOURNEYS:
        arguments = []
        for action, folder in actions:
            (tmp_path / folder).mkdir(exist_ok=True)
            arguments += [action, str(tmp_path / folder)]
        printed = run(backend, tmp_path, str(HERE / "keras_file_process.py"), *arguments).splitlines()
        for (action, folder), line in zip(actions, printed[-len(actions) :], strict=True):
            if action == "save":
                (expected[folder],) = json.loads(line)
                continue
            for found in json.loads(line):
                np.testing.assert_allclose(found, expected[folder], atol=BOUND, err_msg=f"{action} {folder}")


# -------------------------------------------------------------------- Keras's own tests

ALGORITHM_FILES = [f"optimizers/{name.lower()}_test.py" for name, facts in all_facts().items() if facts.keras]
AROUND_FILES = [
    "optimizers/optimizer_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "optimizers/schedules/learning_rate_schedule_test.py",
    "callbacks/reduce_lr_on_plateau_test.py",
    "callbacks/learning_rate_scheduler_test.py",
    "callbacks/early_stopping_test.py",
    "callbacks/model_checkpoint_test.py",
]
SPARSE_FILE = "optimizers/optimizer_sparse_test.py"

NEEDS_TENSORFLOW = {
    "adam_test.py::AdamTest::test_clipnorm_indexed_slices",
    "optimizer_test.py::OptimizerTest::test_mixed_with_tf_variables",
    "optimizer_test.py::OptimizerTest::test_tf_checkpointing",
    # It fails for Keras's own classes too.
    "multi_optimizer_test.py::MultiOptimizerTest::test_tensorboard_logging_with_multi_optimizer",
}
STATEFUL = {
    f"loss_scale_optimizer_test.py::LossScaleOptimizerTest::test_{name}"
    for name in (
        "apply_with_no_vars", "downscaling_stateful", "finite_step_stateful",
        "finite_step_with_inner_loss_scale_stateful", "finite_step_with_overwrite_stateful", "infinite_step_stateful",
        "iterations_update_stateful", "upscaling_stateful",
    )
} | {"multi_optimizer_test.py::MultiOptimizerTest::test_stateful_apply"}  # fmt: skip

NOT_AS_KERAS = {
    "sgd_test.py::SGDTest::test_invalid_momentum": "the message is gradwise's: `momentum` must be a number in [0, 1]",
    "nadam_test.py::NadamTest::test_build_with_empty_var_list": "it reads a private attribute, _u_product",
    "lion_test.py::LionTest::test_invalid_beta_1": "the message is gradwise's: `beta_1` must be a number in [0, 1]",
    "optimizer_test.py::OptimizerTest::test_clip_args": "the message is gradwise's: only one of `clipnorm`, ...",
}
SPARSE = "optimizer_sparse_test.py::OptimizerSparseTest::test_sparse_gradients_"


def of_sparse_gradients(names: Collection[str]) -> dict[str, str]:
    """The tests of sparse gradients that run gradwise's classes. Each is named for one, and its options."""
    own = tuple(name.lower() for name, facts in all_facts().items() if facts.keras)
    kinds = {name: name.removeprefix(SPARSE).removeprefix("loss_scale_optimizer_") for name in names if SPARSE in name}
    why = "sparse gradients are taken as dense ones: results are the same, but updates do not stay sparse"
    return {name: why for name, kind in kinds.items() if kind.partition("_")[0] in own}


PASSED = {"torch": 189, "jax": 203}
"""How many of Keras's own tests pass, at least; the others are those named above, and on torch those that need sparse
tensors."""


@pytest.mark.crossing
@pytest.mark.parametrize("backend", ["jax"] if WHOLE else ["torch"])
def test_kerass_own_tests(backend: str, tmp_path: Path) -> None:
    """On torch; in `make crossings` on JAX, which compiles each operation and takes three times as long."""
    files = [*ALGORITHM_FILES, *AROUND_FILES, SPARSE_FILE]
    output = run(backend, tmp_path, str(HERE / "keras_own_process.py"), *files)
    found = json.loads(output.splitlines()[-1])
    failed = {name: text for name, (outcome, text) in found.items() if outcome == "failed"}
    skipped = {name: text for name, (outcome, text) in found.items() if outcome == "skipped"}
    not_as_keras = {**NOT_AS_KERAS, **(of_sparse_gradients(found) if backend == "jax" else {})}
    assert backend != "jax" or len(not_as_keras) >= len(NOT_AS_KERAS) + 15
    unexpected = {name: text for name, text in failed.items() if name not in {*not_as_keras, *NEEDS_TENSORFLOW}}
    assert not unexpected, "\n\n".join(f"{name}\n{text}" for name, text in unexpected.items())
    assert not_as_keras.keys() <= failed.keys()
    sparse = {name for name in skipped if name.startswith("optimizer_sparse_test.py") and backend == "torch"}
    assert len(sparse) >= (38 if backend == "torch" else 0)
    assert skipped.keys() - sparse - NEEDS_TENSORFLOW == (STATEFUL if backend == "jax" else set())
    assert {*failed, *skipped} >= NEEDS_TENSORFLOW
    assert Counter(outcome for outcome, _ in found.values())["passed"] >= PASSED[backend]
