"""What XLA compiles for `make test` and `make crossings` is kept, unless a file of it may be half written.

Tests that run at the same time do not meet.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
ls -A "$JAX_COMPILATION_CACHE_DIR" | tr '\\n' '.' >>"$SEEN" && echo >>"$SEEN"
touch "$JAX_COMPILATION_CACHE_DIR/${NAME:-code}"
eval "$MEANWHILE"
exit "$CODE"
"""
"""In the place of the tests: what it found there, beside what it leaves."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make, which runs the tests, is not installed")


@pytest.fixture
def make(tmp_path: Path):
    """`make crossings` with that in the place of Python; it is given a code to end with, and what to do before."""
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(PYTHON)
    (programs / "python").chmod(0o755)
    for stamp in (".created", ".installed-all+examples", ".installed-all+bench+dev+examples+test"):
        (tmp_path / "venv" / stamp).touch()
    runs = itertools.count()

    def started(code: int, meanwhile: str = ":", name: str = "") -> tuple[subprocess.Popen[str], Path]:
        seen = tmp_path / f"seen{next(runs)}"
        given = os.environ | {"SEEN": str(seen), "CODE": str(code), "MEANWHILE": meanwhile, "NAME": name}
        given.pop("MAKEFLAGS", None)
        command = ["make", "crossings", f"VENV={tmp_path / 'venv'}", f"XLA={tmp_path / 'kept' / 'xla'}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=given, text=True, start_new_session=True, **pipes), seen

    return started


@pytest.mark.parametrize(
    "codes, found",
    [
        ([0, 0, 0], ["", "code.", "code."]),
        ([1, 1, 0], ["", "code.", "code."]),
        ([2, 0, 2, 0], ["", "", "code.", "code."]),
    ],
    ids=["passed", "failed", "cut off"],
)
def test_it_is_kept_where_all_came_to_an_end(codes, found, make, tmp_path):
    for code, expected in zip(codes, found, strict=True):
        process, seen = make(code)
        _, said = process.communicate(timeout=60)
        assert (process.returncode == 0) == (code == 0), said
        assert seen.read_text().splitlines()[0] == expected
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["xla"]


def test_two_runs_do_not_meet(make, tmp_path):
    make(0)[0].communicate(timeout=60)
    gate = tmp_path / "gate"
    slow, seen = make(0, f'while [ ! -e "{gate}" ]; do sleep 0.05; done', "slow")
    while not seen.exists():
        assert slow.poll() is None
    process, others = make(0, name="fast")
    process.communicate(timeout=60)
    gate.touch()
    slow.communicate(timeout=60)
    assert slow.returncode == process.returncode == 0
    assert seen.read_text().splitlines()[0] == others.read_text().splitlines()[0] == "code."
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["xla"]
    # What both have compiled is kept, whoever ends last.
    assert {path.name for path in (tmp_path / "kept" / "xla").iterdir()} == {"code", "slow", "fast"}


def test_runs_that_end_at_the_same_moment(make, tmp_path):
    gate = tmp_path / "gate"
    started = [make(0, f'while [ ! -e "{gate}" ]; do sleep 0.01; done', str(number)) for number in range(4)]
    for process, seen in started:
        while not seen.exists():
            assert process.poll() is None
    gate.touch()
    for process, _ in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["xla"]
    assert {path.name for path in (tmp_path / "kept" / "xla").iterdir()} == {"0", "1", "2", "3"}


def test_a_run_that_lost_a_process_is_not_one_that_came_to_an_end(tmp_path):
    """Pytest itself would end with 1, as if tests had failed."""
    pytest.importorskip("xdist")
    for name in ("conftest.py", "helpers"):
        (tmp_path / name).symlink_to(ROOT / "tests" / name)
    (tmp_path / "test_lost.py").write_text("import os\n\ndef test_lost():\n    os.kill(os.getpid(), 9)\n")
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", "--max-worker-restart=0"]
    done = subprocess.run([*command, "test_lost.py"], env=given, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stdout


def test_a_run_that_is_stopped_leaves_nothing(make, tmp_path):
    process, seen = make(0, "sleep 60")
    while not seen.exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)  # The other may be switched off for what runs behind.
    process.communicate(timeout=60)
    assert process.returncode != 0 and not list((tmp_path / "kept").iterdir())
