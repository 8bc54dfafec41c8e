"""The README shows files that run, word for word, and says nothing else in code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = {
    "imperative.py": (),
    "functional.py": (pytest.mark.jax,),
    "own_rule.py": (pytest.mark.torch,),
    "torch_frontend.py": (pytest.mark.torch,),
    "optax_dialect.py": (pytest.mark.jax,),
    "keras_frontend.py": (pytest.mark.keras, pytest.mark.torch),
    "scipy_method.py": (),
}


def code_without_docstring(name):
    text = (ROOT / "examples" / name).read_text()
    return re.sub(r'\A""".*?"""\n+', "", text, flags=re.DOTALL).rstrip("\n")


def test_every_python_block_is_a_file():
    blocks = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks == [code_without_docstring(name) for name in SHOWN]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in SHOWN.items()])
def test_the_files_print_what_they_say(name, tmp_path):
    path = ROOT / "examples" / name
    # A reader's own environment has no settings of Keras.
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], check=True, capture_output=True, text=True, cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(tmp_path)},
    )  # fmt: skip
    promised = path.read_text().rstrip().rpartition("  # ")[2]
    assert done.stdout.strip() == promised


def test_the_readme_names_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
