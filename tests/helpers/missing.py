"""What an algorithm of the registry lacks to be on a par with the others, as a list of things to do."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from parity_table import MODES, kept
from refresh import NUMBERS, ROOT, formulas
from rules import AlgorithmFacts, all_facts

from gradwise.optimizers import Optimizer
from gradwise.optimizers.registry import ALGORITHMS
from helpers.vector_cases import file_name

FRONT_ENDS = {
    "torch": "frontends/torch/classes.py", "keras": "frontends/keras/classes.py",
    "optax": "frontends/optax/functions.py",
}  # fmt: skip
FRAMEWORKS = {"torch": "optim/{}.py", "keras": "src/optimizers/{}.py", "optax": "_src/alias.py"}
"""Where, in a framework that is installed, an algorithm would be: nothing is imported to see whether it is."""


@functools.cache
def names_at(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """What a file defines, and what it names in strings; in lower case."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    defined = {node.name.lower() for node in nodes if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return frozenset(defined), frozenset(value.lower() for value in constants if isinstance(value, str))


def framework_has(framework: str, name: str) -> bool:
    """Whether the framework has an algorithm of this name; not, if it is not installed."""
    spec = importlib.util.find_spec(framework)
    if spec is None or not spec.submodule_search_locations:
        return False
    path = Path(spec.submodule_search_locations[0]) / FRAMEWORKS[framework].format(name.lower())
    return path.exists() and name.lower() in names_at(path)[0]


def names_in(framework: str, facts: AlgorithmFacts | None, name: str) -> list[str]:
    """What the facts say that the framework calls it, or else its own name."""
    if facts is None:
        return [name]
    named = {
        "torch": [facts.torch.name] if facts.torch else [],
        "keras": [facts.name] if facts.keras else [],
        "optax": list(facts.optax),
    }
    return named[framework] or [name]


def files_of(name: str) -> list[str]:
    """The files that are written by hand for an algorithm alone."""
    return [f"optimizers/{name.lower()}.py", f"tests/rules/{name.lower()}.py"]


def left_open(name: str) -> Iterator[str]:
    """Where a file of an algorithm still says that something is to be done."""
    for path in files_of(name):
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines() if (ROOT / path).exists() else ()
        if found := [str(number) for number, line in enumerate(lines, 1) if "TODO" in line]:
            yield f"TODO in {path}, line {', '.join(found)}"


def missing(kind: type[Optimizer]) -> Iterator[str]:
    """What a class lacks, in words; nothing, if it is on a par."""
    name, facts = kind.__name__, all_facts().get(kind.__name__)
    yield from left_open(name)
    if facts is None:
        yield f"no twin: make tests/rules/{name.lower()}.py"
    else:
        for convention in kind.conventions:
            if convention not in facts.hyperparameters:
                yield f"no twin in convention {convention!r}"
        if f"{name}," not in (text := formulas()) and f"{name} " not in text:
            yield "no rule in words (`formula`)"
    vectors = [file_name(name, each) for each in kind.conventions]
    if lacking := [each for each in vectors if not (ROOT / "vectors" / each).exists()]:
        yield f"no vectors ({', '.join(lacking)}): make refresh ONLY={name.lower()}"
    elif lacking := [mode.name for mode in MODES for own in kept()[mode.name].values() if not any(
        key.partition(".")[0] == name.lower() for key in own)]:  # fmt: skip
        yield f"no bounds for {lacking[0]}: make refresh ONLY={name.lower()}"
    if f'"{name}"' not in NUMBERS.read_text(encoding="utf-8"):
        yield f"no number of mutants: make refresh ONLY={name.lower()}"
    for framework, path in FRONT_ENDS.items():
        defined, named = names_at(ROOT / path)
        claimed = facts is not None and bool(getattr(facts, framework))
        for each in names_in(framework, facts, name):
            # A row of optax has the name; elsewhere it is in a class, which `__all__` names.
            there = each.lower() in named if framework == "optax" else each.lower() in defined
            if not there and (claimed or framework_has(framework, each)):
                yield f"no row in {path}, for {framework}'s {each}"
            elif there and facts is not None and not claimed:
                yield f"no `{framework}` in tests/rules/{name.lower()}.py, though {path} has it"
            elif there and each.lower() not in named:
                yield f"not in `__all__` of {path}"


def to_do(kinds: tuple[type[Optimizer], ...]) -> list[str]:
    """A line for each class that lacks something: "Lion: no twin; no vectors", and for facts of which there is none."""
    found = {kind.__name__: list(missing(kind)) for kind in kinds}
    for name in all_facts().keys() - {kind.__name__ for kind in ALGORITHMS}:
        found[name] = [*left_open(name), f"facts without a class: list {name} in optimizers/registry.py"]
    return [f"{name}: {'; '.join(things)}" for name, things in found.items() if things]
