"""A contender in a process of its own, told what to do by lines of JSON.

Fresh processes show what the first step costs and how much memory steps take; and Keras, which has one backend in a
process, takes its turns in this way.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from contenders import KINDS
from settings import TABLE
from shapes import MODELS


class Remote:
    """A contestant that lives in another process. Its methods are those of `contestant.Contestant`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, **arguments: Any) -> Any:
        """Have something done over there; what came of it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # It has ended: there is no answer, which is said below.
            self._process.stdin.write(json.dumps([what, arguments]) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process for {self._process.args!r} has ended: see its messages above.")
        return json.loads(answer)

    def turn(self, steps: int, renew: bool = False) -> float:
        return float(self.ask("turn", steps=steps, renew=renew))


@contextmanager
def remote(name: str, algorithm: str, model: str, cache: Path | None = None) -> Iterator[Remote]:
    """A contender in a fresh process, filled.

    Args:
        name: of the contender.
        algorithm: a key of `settings.TABLE`.
        model: a key of `shapes.MODELS`.
        cache: where gradwise and torch keep compiled code; None is the user's own place.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **KINDS[name].environment, "KERAS_HOME": folder}
        if cache is not None:
            environment |= {"GRADWISE_CACHE_DIR": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
        command = [sys.executable, __file__, name, algorithm, model]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        try:
            worker = Remote(process)
            worker.ask("fill")
            yield worker
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()


def main(name: str, algorithm: str, model: str) -> None:
    # Libraries that print would spoil the answers: they get standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    shapes, contestant = MODELS[model], KINDS[name].make(TABLE[algorithm])
    while line := sys.stdin.readline():
        what, arguments = json.loads(line)
        answer: Any = None
        if what == "fill":
            contestant.fill(shapes)
        elif what == "turn":
            answer = contestant.turn(**arguments)
        elif what == "first_step":
            # Or it comes in the middle of the step of one and not of the other.
            gc.collect()
            start = time.perf_counter()
            contestant.step()
            answer = time.perf_counter() - start
        elif what == "memory":
            from memory import peak_of_steps

            answer = {"peak_bytes": peak_of_steps(contestant, shapes), "held_bytes": contestant.bytes_held()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
