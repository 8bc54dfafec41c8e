"""Compares the time of optimizer steps, gradwise's and its peers', side by side on this machine.

    python benchmarks/run.py --model resnet50 --algorithm adam

The README beside this file says what is measured, and how to read it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from bandwidth import processors
from contenders import KINDS
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from session import measure
from settings import TABLE
from shapes import MODELS
from tables import make_console, print_result, print_targets
from targets import targets_of

ROUNDS = {"tiny": 200, "resnet50": 40, "gpt2": 20}
QUICK = 5
PACKAGES = ("gradwise", "numpy", "numba", "torch", "jax", "jaxlib", "optax", "keras")

# Plain messages: an error stays one line that a log can be searched for.
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help=f"{', '.join(MODELS)}, several with commas between, or all.")] = "all",
    algorithm: Annotated[str, typer.Option(help="Names of algorithms with commas between, or all.")] = "adam",
    contender: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}, several, or all.")] = "all",
    rounds: Annotated[int | None, typer.Option(min=1, help=f"Default: {ROUNDS}.")] = None,
    quick: Annotated[bool, typer.Option(help=f"{QUICK} rounds: does it work at all?")] = False,
    compile: Annotated[bool, typer.Option(help="With torch.compile, which takes minutes.")] = False,
    processes: Annotated[bool, typer.Option(help="Also first steps and memory, in fresh processes.")] = True,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a quiet machine, each time.")] = 60,
    new_gradients: Annotated[bool, typer.Option(help="New gradient arrays in every step, as in training.")] = True,
    output: Annotated[Path | None, typer.Option("--json", help="Where to put the results.")] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Where to put a picture of them, a PNG.")] = None,
) -> None:
    """Time optimizer steps side by side, and compare them with the targets."""
    models, algorithms = _several(model, MODELS, "--model"), _several(algorithm, TABLE, "--algorithm")
    names = _several(contender, KINDS, "--contender")
    if contender == "all" and not compile:
        names.remove("torch-compile")
    for option, path in (("--json", output), ("--plot", picture)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise typer.BadParameter(f"{path} is not a file in an existing folder.", param_hint=f"'{option}'")
    console = make_console()
    for name in list(names):
        missing = KINDS[name].missing()
        if missing and contender == "all":
            console.print(f"Without {KINDS[name].label}: {', '.join(missing)} is not installed.")
            names.remove(name)
        elif missing:
            reason = f"{name} needs {' and '.join(missing)}, which is not installed: use `make bench`."
            raise typer.BadParameter(reason, param_hint="'--contender'")

    counts = {name: rounds or (QUICK if quick else ROUNDS[name]) for name in models}
    report: dict[str, Any] = {"machine": _machine(), "results": [], "targets": []}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        runs = [(size, rule) for size in models for rule in algorithms]
        overall = progress.add_task("all", total=len(runs))
        for size, rule in runs:
            task = progress.add_task(f"{rule} on {size}", total=None)
            advance = functools.partial(progress.advance, task)
            result = measure(size, rule, names, counts[size], new_gradients, processes, patience, advance)
            progress.remove_task(task)
            progress.advance(overall)
            report["results"].append(result)
            report["targets"] += targets_of(result)
            print_result(console, result)
            # After each, so that an interrupted run leaves what it has found.
            if output is not None:
                output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print_targets(console, report["targets"], {name: kind.label for name, kind in KINDS.items()})
    if picture is not None:
        from plot import save_plot

        save_plot(report["results"], picture)


def _several(text: str, known: dict[str, Any], option: str) -> list[str]:
    names = list(known) if text == "all" else [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}, all.", param_hint=f"'{option}'")
    return names


def _machine() -> dict[str, Any]:
    """What the numbers depend on, without anything that names the machine."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    system = {"system": sys.platform, "architecture": platform.machine()}
    return {"versions": versions, **system, "processors": processors()}


if __name__ == "__main__":
    app()
