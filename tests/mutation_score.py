"""Judge every mutant of every algorithm in every convention; fail if one survives that is not equivalent."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from evidence.mutation.mutants import Place, mutants_of, place_of
from evidence.mutation.score import Score, score_of
from evidence.mutation.states import STATES
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from gradwise.vectors import available


def main() -> int:
    known = {f"{algorithm.lower()}.{convention}": (algorithm, convention) for algorithm, convention in available()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=known, metavar="NAME", help="such as adam.torch")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    wanted = arguments.only or list(known)
    console = Console()
    scores = judged([known[name] for name in wanted], arguments.jobs, console)
    console.print(table_of(scores))
    complaints = survivors(scores) + (never_reached(scores) if arguments.only is None else [])
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def judged(wanted: list[tuple[str, str]], jobs: int, console: Console, states: int = STATES) -> list[Score]:
    """The scores. What takes longest is begun first."""
    longest_first = sorted(wanted, key=lambda each: -len(mutants_of(each[0])))
    scores: dict[tuple[str, str], Score] = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    # Frameworks start threads, which do not survive a fork.
    spawning = multiprocessing.get_context("spawn")
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs, spawning) as pool:
        task = progress.add_task("Mutants", total=sum(len(mutants_of(algorithm)) for algorithm, _ in wanted))
        for done in as_completed([pool.submit(score_of, *each, states=states) for each in longest_first]):
            score = done.result()
            scores[score.algorithm, score.convention] = score
            progress.advance(task, score.total)
    return [scores[each] for each in wanted]


def table_of(scores: Iterable[Score]) -> Table:
    table = Table("algorithm", "convention", title="Mutants")
    for name in ("killed", "equivalent", "of these unreached", "survived", "total"):
        table.add_column(name, justify="right")
    for score in scores:
        killed = sum(score.killed.values())
        numbers = killed, score.equivalent, score.unreached, len(score.survivors), score.total
        table.add_row(score.algorithm, score.convention, *map(str, numbers))
    return table


def survivors(scores: Iterable[Score]) -> list[str]:
    """A line for each mutant that should have been noticed, and the lines it changed."""
    return [
        f"{score.algorithm}, {score.convention}: no vector notices\n  {mutant}"
        for score in scores
        for mutant in score.survivors
    ]


def never_reached(scores: Sequence[Score]) -> list[str]:
    """What random states reach in no algorithm and convention. Of mutants there, equivalence would say nothing."""
    places: set[Place] = set().union(*(score.places for score in scores))
    return [
        f"{algorithm}: no random state goes where this mutant is\n  {mutant}"
        for algorithm in dict.fromkeys(score.algorithm for score in scores)
        for mutant in mutants_of(algorithm)
        if place_of(mutant) not in places
    ]


if __name__ == "__main__":
    sys.exit(main())
