"""Write anew what follows from the facts in `rules` and from the registry: `make refresh`, `make refresh ONLY=lion`.

These are the reference vectors, their schema and the rules in their README; the README's table of algorithms; how many
mutants each formula has; the bounds, which are measured, with their table; the sentences that mistakes give; and the
list of the wheel's files.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from rules import AlgorithmFacts, all_facts

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "vectors"
NUMBERS = ROOT / "tests" / "evidence" / "mutation" / "numbers.json"
BEGIN, END = "<!-- make refresh: begin -->", "<!-- make refresh: end -->"


def in_order() -> list[AlgorithmFacts]:
    """The facts of the registry's classes, in its order."""
    from gradwise.optimizers.registry import ALGORITHMS

    return [all_facts()[kind.__name__] for kind in ALGORITHMS if kind.__name__ in all_facts()]


# ---------------------------------------------------------------- texts


def between_marks(text: str, new: str, begin: str = BEGIN, end: str = END) -> str:
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    assert found and closed, f"there is no {begin} and {end}"
    return f"{before}{begin}\n{new}\n{end}{after}"


def table() -> str:
    """What there is, and what it is called in each front end."""
    rows = []
    for facts in in_order():
        names = [
            ", ".join(f"`{convention}`" for convention in facts.hyperparameters),
            facts.torch.name if facts.torch else "",
            facts.name if facts.keras else "",
            ", ".join(f"`{name}`" for name in facts.optax),
        ]
        rows.append(f"| {facts.name} | {' | '.join(names)} |".replace("|  |", "| |").replace("|  |", "| |"))
    head = "| algorithm | conventions | in `frontends.torch` | in `frontends.keras` | in `frontends.optax` |"
    return "\n".join([head, "|---" * 5 + "|", *rows])


def formulas() -> str:
    return "\n\n".join(f"### {facts.formula.strip()}" for facts in all_facts().values() if facts.formula)


def all_slots() -> Iterable[str]:
    """Every slot that a case may have."""
    from helpers.vector_cases import cases, files

    names = (facts.slots(case.arguments) for each in files() for case in cases(*each) for facts in [of(each[0])])
    return dict.fromkeys(name for found in names for name in found)


def of(algorithm: str) -> AlgorithmFacts:
    return all_facts()[algorithm]


def schema(text: str) -> str:
    """The schema with the names that the facts have."""
    conventions = dict.fromkeys(each for facts in all_facts().values() for each in facts.hyperparameters)
    scalars = dict.fromkeys(facts.product.name for facts in all_facts().values() if facts.product is not None)
    hyperparameters = dict.fromkeys(
        name for facts in in_order() for known in facts.hyperparameters.values() for name in known
    )
    lists = {
        r'"algorithm": \{"enum": ': [facts.name for facts in in_order()],
        r'"convention": \{"enum": ': list(conventions),
        r'slot\'s name.",\s*"type": "object",\s*"propertyNames": \{\s*"enum": ': sorted(all_slots()),
        r'"propertyNames": \{"enum": ': list(scalars),
        r'"required": \["learning_rate"\],\s*"propertyNames": \{\s*"enum": ': list(hyperparameters),
    }
    for before, names in lists.items():
        written = json.dumps(names)
        text, count = re.subn(rf"({before})\[[^\]]*\]", lambda found, written=written: found[1] + written, text)
        assert count == 1, before
    return text


def texts() -> dict[Path, str]:
    """The files that are written without measuring anything, as they should be."""
    readme, own, description = ROOT / "README.md", VECTORS / "README.md", VECTORS / "schema.json"
    return {
        readme: between_marks(readme.read_text(encoding="utf-8"), table()),
        own: between_marks(own.read_text(encoding="utf-8"), formulas()),
        description: schema(description.read_text(encoding="utf-8")),
    }


# ---------------------------------------------------------------- what takes longer


def write_vectors(names: Iterable[str]) -> None:
    from helpers.vector_cases import files
    from make_vectors import write

    write([each for each in files() if each[0] in names])


def write_numbers_of_mutants() -> list[str]:
    """How many mutants each algorithm has, of all: what several share may have changed, and to count takes no time.

    Returns:
        Those of which the number is another.
    """
    from evidence.mutation.mutants import mutants_of

    before = json.loads(NUMBERS.read_text(encoding="utf-8"))
    numbers = {name: len(mutants_of(name)) for name in sorted(all_facts())}
    NUMBERS.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return [name for name, number in numbers.items() if before.get(name) != number]


def write_bounds(names: Iterable[str]) -> list[str]:
    """Where they are above what is allowed."""
    from parity_table import write

    return write(set(names))


def write_mistakes() -> None:
    from helpers.mistakes import write_all

    write_all()


def write_wheel_files() -> None:
    from project.test_packaging import rewrite

    rewrite()


def main() -> int:
    known = {name.lower(): name for name in all_facts()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(known), metavar="NAME", help="an algorithm: lion")
    names = [known[each] for each in parser.parse_args().only or known]
    print("Reference vectors", flush=True)
    write_vectors(names)
    for path, text in texts().items():
        print(path.relative_to(ROOT), flush=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print("Numbers of mutants", flush=True)
    others = " ".join(name.lower() for name in write_numbers_of_mutants() if name not in names)
    if others:
        print(f"  What others share has changed, too. Where they round otherwise now: make refresh ONLY='{others}'")
    print("Bounds", flush=True)
    problems = write_bounds(names)
    print("What mistakes give", flush=True)
    write_mistakes()
    print("The wheel's files", flush=True)
    write_wheel_files()
    for problem in problems:
        print(f"Above what is allowed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
