"""What a step does besides the rule is said in `optimizers/core/step.py` alone: who adds to a step finds one file."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = "optimizers/core"
STEP = f"{CORE}/step.py"
GIVING = {f"{CORE}/imperative.py", f"{CORE}/functional.py", f"{CORE}/stateless.py"}
"""Who gives a step its gradients and cells something to hold."""
SHORT = {f"{CORE}/fused/{name}.py" for name in ("lane", "joint", "apart_again")}
"""Who gives a step that repeats its numbers, and takes what follows."""

PARTS = {
    "_run": GIVING,
    "_update": {STEP},
    "_accumulate": {STEP},
    "counted": {STEP},
    "clip": {STEP},
    "begin": {STEP},
    "prepare": {STEP, f"{CORE}/fused/plan.py"},
    "clip_factors": {STEP},
    "scheduled_rates": SHORT,
    "reckoned": SHORT,
    "factors": {f"{CORE}/fused/lane.py", f"{CORE}/fused/apart_again.py"},
}
"""Methods of which a step is made, and the files of the engine that call them of an object."""

pytestmark = pytest.mark.fast


def callers(names: set[str]) -> dict[str, set[str]]:
    """For each name of a method the files of the engine in which it is called."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / CORE).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in names and ast.unparse(called.value) != "ops":
                found[called.attr].add(str(file.relative_to(ROOT)))
    return found


def test_the_parts_of_a_step_are_put_together_in_one_file():
    assert callers(set(PARTS)) == PARTS


def test_nobody_else_counts_steps():
    """A number that a step changes is written by what `step.py` gives to its cells."""
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for room in (CORE, "frontends")
        for file in sorted((ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("assign", "assign_add")
        and ast.unparse(node.func.value).endswith("cells.iterations") and str(file.relative_to(ROOT)) != STEP
    ]  # fmt: skip
    assert not wrong
