"""The tutorial run: Keras's own Adam and gradwise's learn alike."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = [pytest.mark.keras, pytest.mark.torch]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "examples" / "fit_keras.py"), *arguments]
    settings = {"KERAS_HOME": str(folder / "keras"), "PYTHONPATH": path, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)


def idx_file(path: Path, array: numpy.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(numpy.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def clothes(tmp_path: Path) -> Path:
    """A few noisy patterns in files like those of Fashion-MNIST, images compressed and labels not."""
    draw = numpy.random.default_rng(0)
    patterns = draw.uniform(0, 255, (10, 28, 28))
    for part, count in (("train", 320), ("t10k", 64)):
        labels = draw.integers(0, 10, count)
        images = 0.3 * patterns[labels] + 0.7 * draw.uniform(0, 255, (count, 28, 28))
        idx_file(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        idx_file(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


def rows(output: str) -> list[list[float]]:
    return [[float(cell) for cell in line.split()] for line in output.splitlines() if re.match(r" +\d+ +\d\.\d", line)]


def test_digits(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    assert [row[0] for row in found] == [1, 2, 3, 4, 5]
    assert found[-1][3] > 85
    assert all(row[-1] <= 1e-3 for row in found)
    assert "the same curve: losses differ by at most" in done.stdout
    assert (tmp_path / "fit_keras.png").read_bytes().startswith(PNG)


@pytest.mark.jax
def test_fashion_mnist_on_jax(clothes: Path) -> None:
    options = ["--data", "fashion-mnist", "--path", str(clothes), "--backend", "jax", "--epochs", "2"]
    done = run(clothes, *options, "--output", "curves.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows(done.stdout)) == 2
    assert "Keras 3.15.1 on jax" in done.stdout
    assert (clothes / "curves.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "fashion-mnist"], "fashion-mnist needs a folder"),
        (["--data", "fashion-mnist", "--path", "nowhere"], "nowhere is not a folder"),
        (["--output", "nowhere/picture.png"], "is not a file in an existing folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_other_curves_fail(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import fit_keras; fit_keras.BOUND = 0.0; "
        "fit_keras.app(['--epochs', '1'])"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(ROOT / "examples")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "NOT the same curve" in done.stdout
