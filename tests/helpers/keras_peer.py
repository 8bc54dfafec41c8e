"""Asking Keras, which runs in a process of its own (keras_live_process.py)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers.drawn_runs import Run, Tensors

PROGRAM = Path(__file__).with_name("keras_live_process.py")

Ask = Callable[..., list[Tensors]]


@contextlib.contextmanager
def running_keras(folder: Path) -> Iterator[Ask]:
    """A function of an optimizer's name, its arguments and a run that gives the parameters after each step.

    Args:
        folder: for Keras's settings and what it says beside its answers.
    """
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)}
    said = folder / "stderr.txt"
    with said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None and process.stdout is not None

    def ask(optimizer: str, arguments: Mapping[str, Any], run: Run, dtype: str = "float64") -> list[Tensors]:
        def plain(value: Any) -> Any:
            return None if value is None else np.asarray(value, np.float64).ravel().tolist()

        question = {
            "optimizer": optimizer,
            "arguments": dict(arguments),
            "dtype": dtype,
            "start": {name: (value.shape, plain(value)) for name, value in run.start.items()},
            "steps": [
                {"rate": rate, "gradients": {name: plain(value) for name, value in gradient.items()}}
                for rate, gradient in zip(run.rates, run.gradients, strict=True)
            ],
        }
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, said.read_text()
        answer = json.loads(line)
        assert not isinstance(answer, dict), answer["error"]
        shapes = {name: value.shape for name, value in run.start.items()}
        return [{name: np.array(step[name]).reshape(shape) for name, shape in shapes.items()} for step in answer]

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()
