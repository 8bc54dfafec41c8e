"""Judge every mutant of every algorithm in every convention; fail if one survives that is not equivalent.

What is the same in several algorithms, such as what surrounds all rules, is changed once for each convention: these
algorithms take turns, and one to which a change means nothing is followed by one to which it does. With `--only` all
that a formula is made of is changed.
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from evidence.mutation.mutants import Mutant, Place, mutants_of, place_of
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
    wanted = [known[name] for name in arguments.only or known]
    console = Console()
    chosen = by_turns(wanted)
    scores = judged(wanted if arguments.only else chosen, arguments.jobs, console)
    if arguments.only is None:
        scores += judged(elsewhere(chosen, scores), arguments.jobs, console)
    console.print(table_of(scores))
    complaints = survivors(scores) + (never_reached(scores) if arguments.only is None else [])
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


Pair = tuple[str, str]
"""An algorithm and a convention."""


def by_turns(wanted: Sequence[Pair]) -> dict[Pair, list[int]]:
    """For each pair the positions of the mutants that it judges: its share of those that others have, too."""
    chosen: dict[Pair, list[int]] = {pair: [] for pair in wanted}
    for number, having in enumerate(owners_of(wanted).values()):
        pair, position = having[number % len(having)]
        chosen[pair].append(position)
    return chosen


def elsewhere(chosen: Mapping[Pair, Sequence[int]], scores: Sequence[Score]) -> dict[Pair, list[int]]:
    """What was judged where random states do not go to it, for a pair of the same convention in which they do."""
    places = {(score.algorithm, score.convention): score.places for score in scores}
    further: dict[Pair, list[int]] = {}
    for having in owners_of(list(chosen)).values():
        mutant = mutants_of(having[0][0][0])[having[0][1]]
        reached = [each for each in having if place_of(mutant) in places.get(each[0], ())]
        if reached and not any(position in chosen[pair] for pair, position in reached):
            further.setdefault(reached[0][0], []).append(reached[0][1])
    return further


def owners_of(wanted: Sequence[Pair]) -> dict[tuple[str, ...], list[tuple[Pair, int]]]:
    """For each convention and mutant the algorithms that have it, each with its position there."""
    found: defaultdict[tuple[str, ...], list[tuple[Pair, int]]] = defaultdict(list)
    for pair in wanted:
        for position, mutant in enumerate(mutants_of(pair[0])):
            found[pair[1], *_written(mutant)].append((pair, position))
    return found


def _written(mutant: Mutant) -> tuple[str, ...]:
    """What tells a mutant from others, whatever algorithm's it is."""
    return str(mutant.function), mutant.operator, str(mutant.site), ast.unparse(mutant.replacement)


def judged(
    wanted: Sequence[Pair] | Mapping[Pair, Sequence[int]], jobs: int, console: Console, states: int = STATES
) -> list[Score]:
    """The scores, of all mutants or of those at some positions. What takes longest is begun first."""
    counts = {each: len(wanted[each] if isinstance(wanted, Mapping) else mutants_of(each[0])) for each in wanted}
    longest_first = sorted(wanted, key=lambda each: -counts[each])
    scores: dict[tuple[str, str], Score] = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    # Frameworks start threads, which do not survive a fork.
    spawning = multiprocessing.get_context("spawn")
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs, spawning) as pool:
        task = progress.add_task("Mutants", total=sum(counts.values()))
        places = wanted if isinstance(wanted, Mapping) else {}
        for done in as_completed([pool.submit(score_at, each, places.get(each), states) for each in longest_first]):
            score = done.result()
            scores[score.algorithm, score.convention] = score
            progress.advance(task, score.total)
    return [scores[each] for each in wanted]


def score_at(pair: Pair, positions: Sequence[int] | None, states: int) -> Score:
    """The score of the mutants at some positions, or of all; for another process, which makes its own."""
    own = mutants_of(pair[0])
    return score_of(*pair, mutants=None if positions is None else [own[each] for each in positions], states=states)


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
