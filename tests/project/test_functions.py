"""No function branches so often that nobody can follow it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("backends", "benchmarks", "frontends", "gradwise", "optimizers", "schedules", "vectors")
MOST = 15

pytestmark = pytest.mark.fast


def branches(function: ast.AST) -> int:
    """How often a function, with those inside it, may go one way or another.

    Each condition, loop, handler of errors and comprehension counts, and each operand behind the first of `and`, `or`.
    """
    count = 0
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.IfExp | ast.ExceptHandler):
            count += 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.match_case):
            count += 1
    return count


def functions_of(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(source)
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return a + b", 0),
        ("if a:\n  return 1\nelif b:\n  return 2\nelse:\n  return 3", 2),
        ("for x in a:\n  while b:\n    pass", 2),
        ("return 1 if a else 2 if b else 3", 2),
        ("return a and b and not c or d", 3),
        ("return [x for x in a if x if not x] + list(y for z in b for y in z)", 5),
        ("try:\n  pass\nexcept ValueError:\n  pass\nexcept TypeError:\n  pass", 2),
        ("def inner():\n  if a:\n    pass\nreturn lambda: 1 if b else 2", 2),
        ("match a:\n  case 1:\n    pass\n  case _:\n    pass", 2),
    ],
)
def test_branches_are_counted(body, count):
    lines = "\n".join(f"  {line}" for line in body.split("\n"))
    assert branches(functions_of(f"def f(a, b, c, d):\n{lines}")[0]) == count


@pytest.mark.parametrize("room", ROOMS)
def test_functions_can_be_followed(room):
    found = [
        f"{file.relative_to(ROOT)}:{function.lineno} {function.name} has {branches(function)}"
        for file in sorted((ROOT / room).rglob("*.py"))
        for function in functions_of(file.read_text(encoding="utf-8"))
        if branches(function) > MOST
    ]
    assert not found, f"more than {MOST} branches: split them along subjects that a reader can name"
