"""Write the reference vectors, `vectors/*.json`, by the twin; or check that those there are what it would write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from helpers.vector_cases import file_name, files
from helpers.vector_files import written
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, track

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def write(pairs: Sequence[tuple[str, str]]) -> None:
    """The files of these algorithms and conventions."""
    with ProcessPoolExecutor(2) as pool:
        texts = track(pool.map(written, *zip(*pairs, strict=True)), "Writing", len(pairs))
        for pair, text in zip(pairs, texts, strict=True):
            (FOLDER / file_name(*pair)).write_text(text, encoding="utf-8", newline="\n")


def main() -> int:
    known = {file_name(*each).removesuffix(".json"): each for each in files()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    parser.add_argument("--only", action="append", choices=sorted(known), metavar="NAME", help="such as adam.torch")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    wanted = arguments.only or sorted(known)

    differing = []
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, ProcessPoolExecutor(arguments.jobs) as pool:
        task = progress.add_task("Checking" if arguments.check else "Writing", total=len(wanted))
        running = {pool.submit(written, *known[name]): name for name in wanted}
        for done in as_completed(running):
            path = FOLDER / f"{running[done]}.json"
            text = done.result()
            if not arguments.check:
                path.write_text(text, encoding="utf-8", newline="\n")
            elif not path.exists() or path.read_text(encoding="utf-8") != text:
                differing.append(path.name)
            progress.advance(task)
        left_over = sorted({path.name for path in FOLDER.glob("*.*.json")} - {f"{name}.json" for name in known})
    for name in sorted(differing):
        print(f"{name} is not what the twin says", file=sys.stderr)
    for name in left_over:
        print(f"{name} stands for no algorithm and convention", file=sys.stderr)
    return 1 if differing or left_over else 0


if __name__ == "__main__":
    sys.exit(main())
