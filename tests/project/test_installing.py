"""What is said where something is not installed, or is looked for under another name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradwise
from gradwise import optimizers

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "jax", "keras", "optax", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
for extra in ("torch", "keras", "optax", "scipy"):
    try:
        __import__(f"gradwise.frontends.{extra}")
    except ModuleNotFoundError as error:
        print(error)
"""


def test_a_front_end_without_its_framework_names_the_extra():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = done.stdout.strip().split("\n")
    assert len(lines) == 4
    for line, extra in zip(lines, ("torch", "keras", "optax", "scipy"), strict=True):
        assert line == (
            f"gradwise.frontends.{extra} needs {extra}, which is not installed here: pip install 'gradwise[{extra}]' "
            f"installs it, or from a clone pip install '.[{extra}]'."
        )
        assert any(each.startswith(f"{extra}>=") for each in extras[extra])


def test_a_backend_that_keras_lacks_is_no_extra_of_ours(tmp_path):
    """Its default is TensorFlow, which no extra brings, and which gradwise has no backend for."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['tensorflow'] = None; import gradwise.frontends.keras"],
        check=False, capture_output=True, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(tmp_path)},
    )  # fmt: skip
    said = done.stderr.strip().split("\n")[-1]
    assert "needs tensorflow, which is not installed here. Keras runs on another library" in said
    assert "KERAS_BACKEND" in said and "'torch' or 'jax'" in said and "gradwise[keras]" not in said


def test_classes_are_found_at_the_top_too():
    from gradwise import Adam, MultiOptimizer

    assert Adam is optimizers.Adam and MultiOptimizer is optimizers.MultiOptimizer
    assert not hasattr(gradwise, "get") and not hasattr(gradwise, "deserialize")


@pytest.mark.parametrize(("module", "name", "words"), [
    (gradwise, "Adamw", "There is no gradwise.Adamw. Did you mean `AdamW`?"),
    (gradwise, "optim", "There is no gradwise.optim. Did you mean `optimizers`?"),
    (gradwise, "vectors", "gradwise has no `vectors`: import it by its own name, such as `from gradwise"),
    (optimizers, "adamw", "There is no gradwise.optimizers.adamw. Did you mean `AdamW`?"),
    (optimizers, "sgd", "Did you mean `SGD`?"),
    (optimizers, "RMSProp", "Did you mean `RMSprop`?"),
    (optimizers, "Banana", "There is no gradwise.optimizers.Banana. Its names are SGD, AdaBelief, Adadelta"),
])  # fmt: skip
def test_other_names_point_to_those_there_are(module, name, words, monkeypatch):
    monkeypatch.delitem(vars(module), name, raising=False)
    with pytest.raises(AttributeError) as raised:
        getattr(module, name)
    assert words in str(raised.value)


def test_files_are_found_by_their_names():
    import importlib

    for algorithm in optimizers.registry.ALGORITHMS:
        assert getattr(importlib.import_module(algorithm.__module__), algorithm.__name__) is algorithm


def test_where_the_path_is_written_in_another_way(tmp_path):
    """Who called is known by the files of code, as frames say them."""
    rooms = ("backends", "frontends", "optimizers", "schedules", "vectors")
    (tmp_path / "gradwise").mkdir()
    for file in (ROOT / "gradwise").iterdir():
        (tmp_path / "gradwise" / file.name).symlink_to(file)
    for name in rooms:
        (tmp_path / "gradwise" / name).symlink_to(ROOT / name)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / '.')!r} + '/.'); import numpy as np; import gradwise;"
        "optimizer, weights = gradwise.optimizers.Adam(0.5), np.ones(3); optimizer.apply([weights.copy()], [weights]);"
        "assert '/./' in gradwise.__file__ and abs(weights[0] - 0.5) < 1e-3, gradwise.__file__"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
