"""What rooms know of each other: public names alone, and of an optimizer what `Rule` names."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("backends", "schedules", "optimizers", "frontends", "vectors", "gradwise")
OF_LIBRARIES = {
    ("backends", "_objects"),  # of ctypes' arrays: what they keep
    ("backends/torch", "_indices"),  # of sparse tensors, as they are, in any order
    ("backends/torch", "_values"),
    ("frontends/keras", "_value"),  # of a Variable: the array in it
}
"""Private names of libraries that some room of ours uses for something of its own."""
TYPED = ("rule", "optimizer", "keeper", "template", "backend", "program", "cell", "table")
"""Arguments that are `Any` nowhere."""
OF_NAMED_TUPLES = {"_replace", "_fields", "_asdict", "_make"}

pytestmark = pytest.mark.fast


def modules() -> dict[Path, ast.Module]:
    files = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {file.relative_to(ROOT): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMED_TUPLES


def is_own(value: ast.expr) -> bool:
    """Whether an attribute is read of `self`, the class, or a base."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def defined(tree: ast.Module) -> set[str]:
    """The private names that a module makes: functions, classes, and attributes of classes and their objects."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            # Names in `__slots__`.
            found.add(node.value)
    return set(filter(is_private, found))


def read(tree: ast.Module) -> list[tuple[str, int]]:
    """The private names that a module reads of objects other than its own, with the lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node.value):
            found.append((node.attr, node.lineno))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "attrgetter":
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            found += [(part, node.lineno) for name in names for part in name.split(".") if is_private(part)]
    return found


def test_no_room_reads_what_is_private_to_another() -> None:
    trees = modules()
    made: dict[Path, set[str]] = defaultdict(set)
    for file, tree in trees.items():
        made[file.parent] |= defined(tree)
    everywhere = set().union(*made.values())
    # What no room makes belongs to a library.
    taken = [
        f"{file}:{line} reads {name}"
        for file, tree in trees.items()
        for name, line in read(tree)
        if name in everywhere - made[file.parent] and (str(file.parent), name) not in OF_LIBRARIES
    ]
    assert not taken


def test_what_rooms_hand_to_each_other_is_typed() -> None:
    unnamed = [
        f"{file}:{argument.lineno} takes {argument.arg}: Any"
        for file, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.arg in TYPED and ast.unparse(argument.annotation or ast.Constant("Any")) == "Any"
    ]
    assert not unnamed
