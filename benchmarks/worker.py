"""A contender in a process of its own, told what to do by lines of JSON.

Fresh processes show what the first step costs and how much memory steps take; and Keras, which has one backend in a
process, takes its turns in this way. So do those who hold parameters together with other processes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bandwidth import processors
from conditions import CONDITIONS
from contenders import KINDS
from settings import TABLE
from shapes import MODELS


class Remote:
    """A contestant that lives in another process, or in several that make its steps together.

    Its methods are those of `contestant.Contestant`.
    """

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def ask(self, what: str, **arguments: Any) -> Any:
        """Have something done over there; what came of it, in the first process."""
        return self._ask_all(what, arguments)[0]

    def turn(self, steps: int, renew: bool = False) -> float:
        """The time of the slowest."""
        return float(max(self._ask_all("turn", {"steps": steps, "renew": renew})))

    def _ask_all(self, what: str, arguments: dict[str, Any]) -> list[Any]:
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # It has ended: there is no answer, which is said below.
                process.stdin.write(json.dumps([what, arguments]) + "\n")
                process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"the process for {process.args!r} has ended: see its messages above.")
            answers.append(json.loads(answer))
        return answers


@contextmanager
def remote(
    name: str, algorithm: str, model: str, cache: Path | None = None, condition: str = "constant"
) -> Iterator[Remote]:
    """A contender in fresh processes, one unless the condition has more, filled.

    Args:
        name: of the contender.
        algorithm: a key of `settings.TABLE`.
        model: a key of `shapes.MODELS`.
        cache: where gradwise and torch keep compiled code; None is the user's own place.
        condition: a key of `conditions.CONDITIONS`.
    """
    count = CONDITIONS[condition].processes
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **KINDS[name].environment, "KERAS_HOME": folder}
        if cache is not None:
            environment |= {"GRADWISE_CACHE_DIR": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
        if count > 1:
            # Or each would take all processors for itself.
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(max(processors() // count, 1)))
        pipe = subprocess.PIPE
        processes: list[subprocess.Popen[str]] = []
        try:
            for rank in range(count):
                command = [sys.executable, __file__, name, algorithm, model, condition, str(rank), folder]
                processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment))
            worker = Remote(processes)
            worker.ask("fill")
            yield worker
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                with suppress(BrokenPipeError):
                    process.communicate()


def main(name: str, algorithm: str, model: str, condition: str, rank: str, folder: str) -> None:
    # Libraries that print would spoil the answers: they get standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    meet = _join(CONDITIONS[condition].processes, int(rank), folder)
    shapes, contestant = MODELS[model], KINDS[name].make(TABLE[algorithm], CONDITIONS[condition])
    while line := sys.stdin.readline():
        what, arguments = json.loads(line)
        answer: Any = None
        if what == "fill":
            contestant.fill(shapes)
        elif what == "turn":
            meet()
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


def _join(count: int, rank: int, folder: str) -> Callable[[], Any]:
    """Become one of several processes; what waits until all are there."""
    if count == 1:
        return lambda: None
    import torch.distributed

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    return torch.distributed.barrier


if __name__ == "__main__":
    main(*sys.argv[1:])
