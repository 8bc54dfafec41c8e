"""What docstrings show, comes out: every example of the package is run, each module's in a process of its own.

And what they point to is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
NEEDS = {
    "frontends.optax": pytest.mark.jax,
    "frontends.keras": pytest.mark.keras,
    "frontends.torch": pytest.mark.torch,
    "backends.kernels": pytest.mark.fast,
}
RUN = """
import doctest, importlib, inspect, sys


class Finder(doctest.DocTestFinder):
    def _from_module(self, module, thing):
        # Methods say that they are of the class that users know; here it counts where they are written.
        code = getattr(inspect.unwrap(thing), "__code__", None) if callable(thing) else None
        return code.co_filename == module.__file__ if code else super()._from_module(module, thing)


module = importlib.import_module(sys.argv[1])
runner = doctest.DocTestRunner()
for each in Finder().find(module, module.__name__):
    runner.run(each)
failed, tried = runner.summarize()
sys.exit(f"{failed} of {tried} failed" if failed or not tried else 0)
"""


def modules():
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                name = f"{package}.{path.stem}".removesuffix(".__init__")
                marks = [marks for start, marks in NEEDS.items() if name.startswith(f"gradwise.{start}")]
                yield pytest.param(name, marks=marks[0] if marks else ())


@pytest.mark.parametrize("module", list(modules()))
def test_examples(module):
    done = subprocess.run(
        [sys.executable, "-c", RUN, module],
        env={**os.environ, "KERAS_BACKEND": "torch"}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_ways_of_a_rule_are_shown():
    """Its record, and the loop that becomes of it."""
    names = {parameter.values[0] for parameter in modules()}
    assert {"gradwise.backends.programs.recorder", "gradwise.backends.kernels.lowering"} <= names


def test_files_that_are_named_are_there():
    """In the package's own text and in what is written for contributors and users."""
    folders = [ROOT, ROOT / "docs", ROOT / "tests", *(ROOT / folder for folder in FOLDERS.values())]
    texts = [path for folder in folders for path in (*folder.glob("*.py"), *folder.glob("*.md")) if path.is_file()]
    rooms = [*FOLDERS.values(), "tests", "examples", "benchmarks"]
    there = {f"/{path.relative_to(ROOT).as_posix()}" for room in rooms for path in (ROOT / room).rglob("*.py")}
    lost = [
        f"{path.relative_to(ROOT)} names {name}"
        for path in texts
        for name in re.findall(r"`((?:\w+/)*\w+\.py)\b", path.read_text(encoding="utf-8"))
        if not any(each.endswith(f"/{name}") for each in there)
    ]
    assert len(texts) > 150 and not lost
