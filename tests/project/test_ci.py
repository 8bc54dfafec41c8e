"""`.ci/run` on a disk that is not large: which environments lie there when, and what is left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OF_ITS_OWN = ("floors", "jax-frameworks", "newest-3.11", "newest-3.12", "newest-3.13")
LARGE = {"floors", "newest-3.11"}
"""Of 6 GB, where torch comes with CUDA."""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash, which runs .ci/run, is not installed")

MAKE = """#!/bin/sh
[ "$1" = test ] && sleep 0.2
case "$1" in environment-*)
    name=${1#environment-}
    mkdir -p ".venv-ci/$name/lib" "$TMPDIR/pip-unpack" && touch ".venv-ci/$name/lib/$name"
    [ "$name" != "$FAILS" ] || [ "$(ls .venv-ci)" = "$name" ] && [ "$name" != "$ALWAYS_FAILS" ] ||
        { echo "No space left on device"; exit 1; } ;;
esac
mkdir -p "$TMPDIR"
touch "$TMPDIR/left-behind"
echo "make $1: $(ls .venv-ci 2>/dev/null | tr '\\n' ' ')" >>"$SEEN"
[ "$1" != "$STEP_FAILS" ]
"""
"""Pretends to install by putting a folder there; with `FAILS`, one that needs the disk for itself."""

DF = """#!/bin/sh
printf 'Filesystem 1024-blocks Used Available Capacity Mounted\\nhere %s %s %s 1%% /\\n' 0 0 "$((FREE * 1048576))"
"""


class Run:
    def __init__(self, folder: Path, **settings: str) -> None:
        programs = {"bin/make": MAKE, "bin/df": DF, "bin/python": "#!/bin/sh\n", ".ci/run": None}
        for name, text in programs.items():
            path = folder / "checkout" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((ROOT / name).read_text() if text is None else text)
            path.chmod(0o755)
        self.checkout, self.temporary, seen = folder / "checkout", folder / "temporary", folder / "seen"
        self.temporary.mkdir()
        (self.checkout / ".venv-floors").mkdir()
        path = os.pathsep.join([str(self.checkout / "bin"), os.environ["PATH"]])
        own = {"PATH": path, "PYTHON": "python", "VENV": ".", "TMPDIR": str(self.temporary), "SEEN": str(seen)}
        usual = {"FREE": "60", "FAILS": "", "ALWAYS_FAILS": "", "STEP_FAILS": ""}
        done = subprocess.run(
            [self.checkout / ".ci/run"], env=os.environ | own | usual | settings, text=True, capture_output=True
        )
        self.code, self.said = done.returncode, done.stdout + done.stderr
        lines = [line.split(":") for line in seen.read_text().splitlines()]
        self.there = [(target.removeprefix("make "), set(names.split())) for target, names in lines]
        self.made = [target for target, _ in self.there]

    def check(self) -> None:
        """Every step had its environment, never two of the large ones were there, and nothing is left."""
        for target, names in self.there:
            assert len(names & LARGE) <= 1, self.there
            assert target not in OF_ITS_OWN or target in names, self.there
        assert not list(self.temporary.iterdir())
        assert sorted(path.name for path in self.checkout.iterdir()) == [".ci", ".venv-floors", "bin"]


def test_environments_are_there_while_they_are_needed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.code == 0, run.said
    run.check()
    assert [target for target in run.made if target in OF_ITS_OWN] == list(OF_ITS_OWN)
    for name in OF_ITS_OWN:
        assert f"-- make environment-{name} (60 GB free)" in run.said
        assert f"== make {name} (0 min" in run.said
    assert run.there[-1] == ("demo", set())


def test_what_has_no_room_ahead_is_installed_by_its_step(tmp_path: Path) -> None:
    run = Run(tmp_path, FREE="11")
    assert run.code == 0, run.said
    run.check()
    for name in OF_ITS_OWN:
        assert run.made.count(f"environment-{name}") == (1 if name in LARGE else 2)
        assert (f"-- make environment-{name} (11 GB free)\nLeft to its step" in run.said) == (name in LARGE)


@pytest.mark.parametrize("name", OF_ITS_OWN)
def test_what_does_not_fit_beside_others_is_installed_without_them(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path, FAILS=name)
    assert run.code == 0, run.said
    run.check()
    assert [target for target in run.made if target in OF_ITS_OWN] == list(OF_ITS_OWN)


@pytest.mark.parametrize(
    ("settings", "after"),
    [({"ALWAYS_FAILS": "newest-3.11"}, "parity"), ({"STEP_FAILS": "newest-3.11"}, "newest-3.11")],
)
def test_a_failure_is_one_and_leaves_nothing(settings: dict[str, str], after: str, tmp_path: Path) -> None:
    run = Run(tmp_path, **settings)
    assert run.code != 0 and "== done" not in run.said
    run.check()
    assert [target for target in run.made if not target.startswith("environment-")][-1] == after


def test_every_python_that_is_looked_at_is_run() -> None:
    makefile = (ROOT / "Makefile").read_text()
    pythons = re.findall(r"^PYTHONS \?= (.*)", makefile, flags=re.MULTILINE)[0].split()
    assert [name for name in OF_ITS_OWN if name.startswith("newest-")] == [f"newest-{python}" for python in pythons]
    for name in OF_ITS_OWN:
        assert re.search(rf"^environment-{name.partition('3.')[0]}[%:]", makefile, flags=re.MULTILINE), name
