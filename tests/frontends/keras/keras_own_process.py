"""Run Keras's own tests of optimizers and schedules on gradwise's classes: `python keras_own_process.py FILE...`.

KERAS_BACKEND names the backend. The last line printed is a dictionary: the outcome of each test, with the reason if it
was skipped or failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from keras.src import optimizers as original
from keras.src.optimizers import schedules as host_schedules
from rules import all_facts

from gradwise.frontends import keras as gkeras

ALGORITHMS = tuple(name for name, facts in all_facts().items() if facts.keras)
SCHEDULES = (
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PiecewiseConstantDecay",
    "PolynomialDecay",
)  # fmt: skip
OWN = {name: getattr(gkeras, name) for name in ALGORITHMS}
OWN |= {name: getattr(gkeras.schedules, name) for name in SCHEDULES}


def replace_classes() -> None:
    """Let every name under which Keras's tests find its classes mean ours."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("keras.")]
    theirs = {id(getattr(original, name)): name for name in ALGORITHMS}
    theirs |= {id(getattr(host_schedules, name)): name for name in SCHEDULES}
    for module in modules:
        for attribute, value in list(vars(module).items()):
            if id(value) in theirs and "keras.src.backend" not in module.__name__:
                setattr(module, attribute, OWN[theirs[id(value)]])
    if keras.backend.backend() == "torch":
        # It exchanges the classes that Keras's names mean for its own fast ones.
        from keras.src.backend.torch.optimizers.torch_optimizer import TorchOptimizer

        TorchOptimizer.__new__ = lambda cls, *arguments, **keywords: object.__new__(cls)
    for name in ALGORITHMS:
        original.ALL_OBJECTS_DICT[name.lower()] = OWN[name]


class Outcomes:
    """A plugin that notes what became of each test."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        # As Keras's own conftest does, which is not in its wheel.
        for item in items:
            if keras.backend.backend() == "numpy" and item.get_closest_marker("requires_trainable_backend"):
                item.add_marker(pytest.mark.skip(reason="Trainer not implemented for NumPy backend."))

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("/")[2]
        if report.skipped:
            self.found[name] = ["skipped", str(report.longrepr[2]).removeprefix("Skipped: ")]
        elif report.failed:
            self.found[name] = ["failed", str(report.longrepr)[-3000:]]
        elif report.when == "call":
            self.found[name] = ["passed", ""]


def main(names: list[str]) -> None:
    replace_classes()
    outcomes = Outcomes()
    folder = Path(keras.__file__).parent / "src"
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", "/dev/null", "--tb=short"]
    options += ["-W", "ignore::pytest.PytestUnknownMarkWarning"]
    pytest.main([*options, *(str(folder / name) for name in names)], plugins=[outcomes])
    print(json.dumps(outcomes.found))


if __name__ == "__main__":
    main(sys.argv[1:])
