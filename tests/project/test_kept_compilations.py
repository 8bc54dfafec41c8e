"""What XLA compiles for `make test` and `make crossings` is kept, unless a file of it may be half written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
ls -A "$JAX_COMPILATION_CACHE_DIR" | tr '\\n' '.' >>"$SEEN" && echo >>"$SEEN"
touch "$JAX_COMPILATION_CACHE_DIR/code"
exit "$CODE"
"""
"""In the place of the tests: what it found there, beside what it leaves."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make, which runs the tests, is not installed")


@pytest.mark.parametrize(("codes", "found"), [([0, 0, 0], ["", "code.", "code."]), ([0, 2, 0], ["", "code.", ""])])
def test_it_is_kept_where_all_went_well(codes: list[int], found: list[str], tmp_path: Path) -> None:
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(PYTHON)
    (programs / "python").chmod(0o755)
    for stamp in (".created", ".installed-all+examples", ".installed-all+bench+dev+examples+test"):
        (tmp_path / "venv" / stamp).touch()
    for code, expected in zip(codes, found, strict=True):
        seen = tmp_path / "seen"
        seen.unlink(missing_ok=True)
        given = os.environ | {"SEEN": str(seen), "CODE": str(code)}
        given.pop("MAKEFLAGS", None)
        command = ["make", "crossings", f"VENV={tmp_path / 'venv'}", f"XLA={tmp_path / 'xla'}"]
        done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (code == 0), done.stderr
        assert seen.read_text().splitlines()[0] == expected
