"""How far every algorithm is from the reference vectors, in every way to run it: measured, kept, printed, checked.

`make parity` measures everything and writes `benchmarks/parity.json` and the table in the README. Distances are those
of `vectors/README.md`, in eps of the dtype: the largest over parameters, over cases and over the first 1, 10 and 100
steps. The bounds are for cases of a condition number up to `WELL_CONDITIONED`; from the others, a run may be as many
times farther as their condition number is larger.

Torch's own arithmetic and JAX need not round alike on every processor: what holds for them is the larger of what is
measured here and of what `other_machine.py` makes of this processor.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer
from helpers.backend_table import on_gpu
from helpers.vector_runs import distances, optimizer_of, run
from other_machine import TOO_LARGE, TOO_SMALL, change_torch, older_processor
from rich.console import Console
from rich.progress import Progress

from gradwise.vectors import Case, available, load

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "parity.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- make parity: begin -->", "<!-- make parity: end -->"

STEPS = (1, 10, 100)
WELL_CONDITIONED = 8.0
CAPS = {
    "float64": (4.0, 8.0, 16.0),
    "float32": (4.0, 8.0, 16.0),
    "bfloat16": (0.0, 0.0, 0.0),
    "float16": (0.0, 0.0, 0.0),
}
"""What the table may say at most, after each of STEPS. 16-bit parameters are the vectors' bit for bit."""


@dataclass(frozen=True)
class Mode:
    """A way to run an optimizer: a row of the table.

    Attributes:
        name: as the table has it.
        library: as `backend_table` has it.
        kind: as `vector_runs.run` has it.
        eager: whether it runs by whole arrays though it could run in one pass.
        dtypes: what the library has; the standard has no 16-bit numbers.
    """

    name: str
    library: str
    kind: str
    eager: bool = False
    dtypes: tuple[str, ...] = tuple(CAPS)


MODES = (
    Mode("NumPy, one pass", "numpy", "imperative"),
    Mode("NumPy, whole arrays", "numpy", "imperative", eager=True),
    Mode("NumPy, functional", "numpy", "functional"),
    Mode("array-api-strict, functional", "array_api_strict", "functional", dtypes=("float64", "float32")),
    Mode("torch, one pass", "torch", "imperative"),
    Mode("torch, whole arrays", "torch", "imperative", eager=True),
    Mode("torch, functional", "torch", "functional"),
    Mode("JAX, imperative", "jax", "imperative"),
    Mode("JAX, functional", "jax", "functional"),
    Mode("JAX, functional under jit", "jax", "jit"),
)
GPU_MODES = (
    Mode("torch on CUDA, multi-tensor", "torch-cuda", "imperative"),
    Mode("torch on CUDA, whole arrays", "torch-cuda", "imperative", eager=True),
    Mode("torch on CUDA, functional", "torch-cuda", "functional"),
)
BY_NAME = {mode.name: mode for mode in (*MODES, *GPU_MODES)}

OWN_ROUNDING = tuple(mode for mode in MODES if mode.library == "jax" or mode.name == "torch, whole arrays")
"""Ways whose bits are not promised."""

ELSEWHERE = (
    (TOO_LARGE, OWN_ROUNDING),
    (TOO_SMALL, tuple(mode for mode in OWN_ROUNDING if mode.library == "torch")),
)
"""Other machines: what wrong roots of torch are nearer to, and the ways that are measured there. A processor is wrong
in its own places, so a bound that one of these gives says nothing of the next."""

Bounds = dict[str, dict[str, dict[str, list[float]]]]
"""By the mode's name, the dtype, and algorithm and convention: a bound after each of STEPS."""


def modes_at_hand() -> tuple[Mode, ...]:
    """All modes, and those of a GPU where there is one."""
    return (*MODES, *GPU_MODES) if on_gpu() else MODES


# ---------------------------------------------------------------- measuring


def allowed(case: Case, bound: float) -> float:
    """How far a run may be from a case, by the bound for well-conditioned ones."""
    return bound * max(1.0, case.condition / WELL_CONDITIONED)


def measure(mode: Mode, cases: Iterable[Case]) -> Iterator[tuple[Case, str, list[float]]]:
    """For each case and dtype: the largest distance in the first 1, 10 and 100 steps, or as many as there are."""
    for case in cases:
        for dtype in set(case.dtypes) & set(mode.dtypes):
            optimizer = optimizer_of(case, **({"jit_compile": False} if mode.eager else {}))
            found = list(distances(case, run(case, optimizer, mode.library, dtype, mode.kind), dtype))
            yield case, dtype, [max(found[:count]) for count in STEPS]


def bounds_of(mode: Mode, algorithm: str, convention: str) -> dict[str, list[float]]:
    """By dtype, what holds for all cases, after each of STEPS."""
    bounds: dict[str, list[float]] = {}
    for case, dtype, largest in measure(mode, load(algorithm, convention)):
        own = bounds.setdefault(dtype, [0.0] * len(STEPS))
        for position, distance in enumerate(largest):
            own[position] = max(own[position], rounded_up(distance / allowed(case, 1.0)))
    return bounds


def rounded_up(distance: float) -> float:
    """To a half, so that it still holds where a library rounds a little differently."""
    assert math.isfinite(distance)
    return math.ceil(distance * 2) / 2


def measured(task: tuple[str, str, str]) -> tuple[tuple[str, str, str], dict[str, list[float]]]:
    name, algorithm, convention = task
    return task, bounds_of(BY_NAME[name], algorithm, convention)


def measure_all(
    modes: Iterable[Mode], console: Console, elsewhere: float | None = None, algorithms: Collection[str] | None = None
) -> Bounds:
    """Everything, in as many processes as there are processors; or as it might be on another machine.

    Args:
        modes: ways to run.
        console: for the progress.
        elsewhere: as on another machine, where wrong roots are nearer to this.
        algorithms: only these.
    """
    pairs = [pair for pair in available() if algorithms is None or pair[0] in algorithms]
    tasks = [(mode.name, *pair) for mode in modes for pair in pairs]
    bounds: Bounds = {mode.name: {dtype: {} for dtype in mode.dtypes} for mode in modes}
    # Frameworks start threads, which do not survive a fork; and they read their settings when they start.
    context = multiprocessing.get_context("spawn")
    settings = {} if elsewhere is None else older_processor()
    with (
        mock.patch.dict(os.environ, settings),
        Progress(console=console) as progress,
        (context.Pool() if elsewhere is None else context.Pool(None, change_torch, (elsewhere,))) as pool,
    ):
        bar = progress.add_task("vectors" if elsewhere is None else "vectors, elsewhere", total=len(tasks))
        for (name, algorithm, convention), found in pool.imap_unordered(measured, tasks):
            for dtype, own in found.items():
                bounds[name][dtype][f"{algorithm.lower()}.{convention}"] = own
            progress.advance(bar)
    return {
        name: {dtype: dict(sorted(own.items())) for dtype, own in by_dtype.items()} for name, by_dtype in bounds.items()
    }


def larger(bounds: Bounds, others: Bounds) -> Bounds:
    """What holds for both; the others may name fewer ways."""
    both = copy.deepcopy(bounds)
    for name, by_dtype in others.items():
        for dtype, own in by_dtype.items():
            for key, row in own.items():
                both[name][dtype][key] = list(map(max, both[name][dtype][key], row))
    return both


# ---------------------------------------------------------------- keeping and printing


@functools.cache
def kept() -> Bounds:
    """The published bounds."""
    content: Bounds = json.loads(KEPT.read_text(encoding="utf-8"))["bounds"]
    return content


def keep(bounds: Bounds) -> None:
    """Write the bounds, a line for each algorithm and convention."""
    rows = []
    for name, by_dtype in bounds.items():
        inner = []
        for dtype, own in by_dtype.items():
            lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in own.items())
            inner.append(f"   {json.dumps(dtype)}: {{\n{lines}}}")
        rows.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(inner) + "}")
    head = f'{{"unit": "eps of the dtype", "steps": {json.dumps(STEPS)}, "condition_up_to": {WELL_CONDITIONED},\n'
    KEPT.write_text(head + ' "bounds": {\n' + ",\n".join(rows) + "}}\n", encoding="utf-8")


def table(bounds: Bounds) -> str:
    """The README's table: for each algorithm, the largest of its conventions. Ways that say the same share a row."""
    algorithms = list(dict.fromkeys(name for name, _ in available()))
    lines = ["| dtype | ways | " + " | ".join(algorithms) + " |", "|---" * (len(algorithms) + 2) + "|"]
    for dtypes in (("float64",), ("float32",), ("bfloat16", "float16")):
        ways: dict[tuple[str, ...], list[str]] = {}
        for name, by_dtype in bounds.items():
            if set(dtypes) <= set(by_dtype):
                cells = tuple(_cell(by_dtype, dtypes, algorithm.lower()) for algorithm in algorithms)
                ways.setdefault(cells, []).append(name)
        for cells, names in ways.items():
            shown = "all" if len(ways) == 1 else "; ".join(names)
            lines.append(f"| {', '.join(dtypes)} | {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(by_dtype: Mapping[str, Mapping[str, list[float]]], dtypes: Iterable[str], algorithm: str) -> str:
    rows = [row for dtype in dtypes for key, row in by_dtype[dtype].items() if key.partition(".")[0] == algorithm]
    return " ".join(f"{max(column):g}" for column in zip(*rows, strict=True))


def readme_with(text: str, bounds: Bounds) -> str:
    """The README with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"the README has no {BEGIN} and {END}"
    return f"{before}{BEGIN}\n{table(bounds)}\n{END}{after}"


def worse(found: Bounds, published: Bounds) -> list[str]:
    """Where reality is worse than what is published."""
    return [
        f"{name}, {dtype}, {key}: {row} instead of {published[name][dtype][key]}"
        for name, by_dtype in found.items()
        for dtype, own in by_dtype.items()
        for key, row in own.items()
        if name in published and np.any(np.asarray(row) > np.asarray(published[name][dtype][key]))
    ]


def above_caps(bounds: Mapping[str, Any]) -> list[str]:
    """Where the bounds are above the caps."""
    return [
        f"{name}, {dtype}, {key}: {row}"
        for name, by_dtype in bounds.items()
        for dtype, own in by_dtype.items()
        for key, row in own.items()
        if np.any(np.asarray(row) > np.asarray(CAPS[dtype]))
    ]


def write(algorithms: Collection[str] | None = None) -> list[str]:
    """Measure, here and as it might be elsewhere, keep that and write the README's table.

    Args:
        algorithms: only these; what is kept of others stays.

    Returns:
        What is above the caps.
    """
    console, modes = Console(), modes_at_hand()
    found = measure_all(modes, console, algorithms=algorithms)
    for toward, ways in ELSEWHERE:
        found = larger(found, measure_all(ways, console, elsewhere=toward, algorithms=algorithms))
    problems = above_caps(found)
    # A machine without a GPU keeps what was measured on one.
    before = kept() if KEPT.exists() else {}
    if algorithms is not None:
        found = {name: {dtype: dict(sorted({**before[name][dtype], **own}.items())) for dtype, own in by_dtype.items()}
                 for name, by_dtype in found.items()}  # fmt: skip
    keep({**before, **found})
    kept.cache_clear()
    README.write_text(readme_with(README.read_text(encoding="utf-8"), kept()), encoding="utf-8")
    return problems


def main(
    check: Annotated[bool, typer.Option(help="Write nothing; fail where reality is worse than what is kept.")] = False,
) -> None:
    """Measure how far every way to run every algorithm is from the reference vectors."""
    console = Console()
    if check:
        found = measure_all(modes_at_hand(), console)
        problems = above_caps(found) + worse(found, kept())
    else:
        problems = write()
        found = kept()
    console.print(table(found), soft_wrap=True, markup=False, highlight=False)
    for problem in problems:
        console.print(f"[red]Worse than published or allowed:[/red] {problem}", soft_wrap=True)
    sys.exit(bool(problems))


if __name__ == "__main__":
    typer.run(main)
