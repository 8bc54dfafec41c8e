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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from bandwidth import processors
from conditions import CONDITIONS, CONSTANT
from contenders import KINDS, installed, suits
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from session import Case, measure
from settings import TABLE
from shapes import MODELS, PUBLISHED
from tables import make_console, markdown, print_result, print_targets
from targets import targets_of

ROUNDS = {
    "tiny": 200, "resnet50": 40, "gpt2": 20, "narrow": 40, "many": 10, "thousand": 30, "groups": 60, "embedding": 60,
    "scalar": 100, "vector": 40,
}  # fmt: skip
PATIENCE, LITTLE_PATIENCE = 60.0, 5.0
QUICK = 5
PACKAGES = ("gradwise", "numpy", "numba", "torch", "jax", "jaxlib", "optax", "keras")

# Plain messages: an error stays one line that a log can be searched for.
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str | None, typer.Option(help=f"{', '.join(MODELS)}, several with commas between, or all.")
    ] = None,
    algorithm: Annotated[str | None, typer.Option(help="Names of algorithms with commas between, or all.")] = None,
    contender: Annotated[str | None, typer.Option(help=f"{', '.join(KINDS)}, several, or all.")] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(CONDITIONS)}, several, or all; given once or again.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help=f"Default: {ROUNDS}, half in conditions.")] = None,
    quick: Annotated[bool, typer.Option(help=f"{QUICK} rounds: does it work at all?")] = False,
    compile: Annotated[bool, typer.Option(help="With torch.compile, which takes minutes.")] = False,
    processes: Annotated[bool, typer.Option(help="Also first steps and memory, in fresh processes.")] = True,
    patience: Annotated[
        float | None,
        typer.Option(
            min=0,
            help=f"Seconds to wait for a quiet machine, each time. {PATIENCE:g}; {LITTLE_PATIENCE:g} in conditions.",
        ),
    ] = None,
    new_gradients: Annotated[bool, typer.Option(help="New gradient arrays in every step, as in training.")] = True,
    output: Annotated[Path | None, typer.Option("--json", help="Where to put the results.")] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Where to put a picture of them, a PNG.")] = None,
    page: Annotated[Path | None, typer.Option("--markdown", help="Where to put the targets as a table.")] = None,
) -> None:
    """Time optimizer steps side by side, and compare them with the targets.

    Adam on all published models, by all contenders; or with --condition what that condition names.
    """
    cases = _cases(model, algorithm, condition)
    for option, path in (("--json", output), ("--plot", picture), ("--markdown", page)):
        _check_file(option, path)
    console = make_console()
    runs = _runs(cases, _contenders(contender, compile, cases, bool(condition), console), console)
    effort = _Effort(bool(condition), rounds, quick, patience, processes)

    report: dict[str, Any] = {"machine": _machine(), "results": [], "targets": []}
    for result in _measured(runs, effort, new_gradients, console):
        report["results"].append(result)
        report["targets"] += targets_of(result)
        print_result(console, result)
        # After each, so that an interrupted run leaves what it has found.
        if output is not None:
            output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    labels = {name: kind.label for name, kind in KINDS.items()}
    print_targets(console, report["targets"], labels)
    if page is not None:
        page.write_text(markdown(report["targets"], labels), encoding="utf-8")
    if picture is not None:
        from plot import save_conditions, save_plot

        if condition:
            save_conditions(report["targets"], labels, picture)
        else:
            save_plot(report["results"], picture)


@dataclass(frozen=True)
class _Effort:
    """What is spent on a case: what is not said is less where a condition is asked for.

    Attributes:
        conditioned: whether one is.
        rounds, quick, patience, processes: as `main` has them.
    """

    conditioned: bool
    rounds: int | None
    quick: bool
    patience: float | None
    processes: bool

    def count(self, case: Case) -> int:
        return self.rounds or (QUICK if self.quick else ROUNDS[case.model] // (2 if self.conditioned else 1))

    @property
    def wait(self) -> float:
        return self.patience if self.patience is not None else LITTLE_PATIENCE if self.conditioned else PATIENCE

    def fresh(self, case: Case) -> bool:
        """With a condition, only where it is about memory or fresh processes."""
        return self.processes and not (self.conditioned and case.condition == "constant")


def _measured(
    runs: list[tuple[Case, list[str]]], effort: _Effort, new_gradients: bool, console: Console
) -> Iterator[dict[str, Any]]:
    """The results, one after the other, while a terminal shows how far they are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        overall = progress.add_task("all", total=len(runs))
        for case, able in runs:
            task = progress.add_task(_words(case), total=None)
            advance = functools.partial(progress.advance, task)
            result = measure(case, able, effort.count(case), new_gradients, effort.fresh(case), effort.wait, advance)
            progress.remove_task(task)
            progress.advance(overall)
            yield result


def _check_file(option: str, path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{path} is not a file in an existing folder.", param_hint=f"'{option}'")


def _contenders(
    text: str | None, compile: bool, cases: list[Case], conditioned: bool, console: Console
) -> list[str]:
    """Those who are asked for; of all, those who are installed and whom some case takes without being asked."""
    names = _several(text, KINDS, "--contender")
    if text not in (None, "all"):
        for name in names:
            if missing := KINDS[name].missing():
                reason = f"{name} needs {' and '.join(missing)}, which is not installed: use `make bench`."
                raise typer.BadParameter(reason, param_hint="'--contender'")
        return names
    if not compile:
        names.remove("torch-compile")
    for name in list(names):
        if missing := KINDS[name].missing():
            if any(suits(name, case.situation) for case in cases):
                console.print(f"Without {KINDS[name].label}: {', '.join(missing)} is not installed.")
            names.remove(name)
    # Of those in a list of its own, a condition without a list takes only who is asked for.
    usual = {name for case in cases for name in case.situation.contenders}
    return [name for name in names if name in usual] if conditioned else names


def _cases(model: str | None, algorithm: str | None, conditions: list[str] | None) -> list[Case]:
    """All that is asked for. What is not said is the condition's own choice."""
    found = []
    for key in _several(",".join(conditions), CONDITIONS, "--condition") if conditions else ["constant"]:
        own = CONDITIONS[key]
        models = own.models if conditions else PUBLISHED
        if model is not None:
            models = PUBLISHED if model == "all" else _several(model, MODELS, "--model")
        algorithms = own.algorithms if conditions else ("adam",)
        if algorithm is not None:
            algorithms = _several(algorithm, TABLE, "--algorithm")
        found += [Case(size, rule, key) for size in models for rule in algorithms]
    return found


def _runs(cases: list[Case], names: list[str], console: Console) -> list[tuple[Case, list[str]]]:
    """The cases with those who can do them; those that nobody can are left out, with a word."""
    runs = []
    for case in cases:
        needs = case.situation.needs
        wanted = [name for name in names if name in needs and not installed(needs[name])]
        for name in wanted:
            console.print(f"{case.condition} without {KINDS[name].label}: {needs[name]} is not installed.")
        able = case.chosen(name for name in names if name not in wanted)
        if any(name in names for name in able):
            runs.append((case, able))
        else:
            console.print(f"Without {_words(case)}: no contender can do that.")
    if not runs:
        raise typer.BadParameter("no contender can do what is asked.", param_hint="'--contender'")
    return runs


def _words(case: Case) -> str:
    where = "" if case.situation is CONSTANT else f", {case.condition}"
    return f"{case.algorithm} on {case.model}{where}"


def _several(text: str | None, known: dict[str, Any], option: str) -> list[str]:
    names = list(known) if text in (None, "all") else [name.strip().lower() for name in text.split(",")]
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
