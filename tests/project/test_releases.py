"""Other releases of the libraries than the installed ones: nothing is imported that comes and goes with them."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import pytest
from helpers.selection import covering, places, taking_turns
from other_releases import LEFT_OUT, SELECTED, SELECTED_ON_KERAS
from requirements import requirements

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("backends", "frontends", "gradwise", "optimizers", "schedules", "vectors")
LIBRARIES = ("jax", "keras", "numba", "numpy", "optax", "torch")


def imported(source: str) -> set[str]:
    """The modules and names that a file imports, in full."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_experimental_is_imported(room: str) -> None:
    """JAX 0.12 has no `jax.experimental.shard_alike` any more: what is experimental or inner goes without notice."""
    for file in (ROOT / room).rglob("*.py"):
        for name in imported(file.read_text()):
            library, *path = name.split(".")
            assert library not in LIBRARIES or not {"experimental", "_src"} & set(path), f"{file}: {name}"


NEEDED = {
    "array_api_strict", "cloudpickle", "expecttest", "hypothesis", "jax", "jsonschema", "keras", "ml_dtypes", "mpmath",
    "numba", "numpy", "optax", "optree", "pytest", "rich", "scipy", "torch", "typer",
}  # fmt: skip
"""What the extras of `make test` install: a test that imports anything else fails where nobody put that by hand."""


def test_the_tests_import_what_their_extras_install() -> None:
    tests = ROOT / "tests"
    folders = [ROOT.glob("*"), (ROOT / "benchmarks").glob("*"), (ROOT / "examples").glob("*"), tests.rglob("*")]
    own = {path.stem for paths in folders for path in paths}
    own_environments = [tests / "frontends" / "jax_frameworks", *places(["test_frontend_torch_frameworks.py"])]
    for file in tests.rglob("*.py"):
        if not any(file.is_relative_to(path) for path in own_environments):
            modules = {name.partition(".")[0] for name in imported(file.read_text())}
            assert modules <= NEEDED | own | sys.stdlib_module_names, file


@pytest.mark.torch
def test_a_torch_that_lacks_what_is_passed_on() -> None:
    """The front end has what torch.optim has, and no more."""
    code = (
        "import torch.optim as theirs\n"
        "vars(theirs).pop('swap_in_optimizer_params_and_state', None)\n"
        "from gradwise.frontends import torch as ours\n"
        "from gradwise.frontends.torch import *\n"
        "assert not hasattr(ours, 'swap_in_optimizer_params_and_state')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "tests")


def test_the_selection_names_what_exists() -> None:
    files = places([*SELECTED, *SELECTED_ON_KERAS])
    defined = {
        node.name for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert defined >= LEFT_OUT.keys()


def test_what_extras_need_is_what_they_ask_for_in_turn() -> None:
    found = requirements(["all", "test"])
    assert {line.partition(">")[0] for line in found} >= {"numpy", "optree", "torch", "jax", "numba", "pytest"}
    assert len(set(found)) == len(found) and not any("gradwise" in line for line in found)


def test_what_covers_a_crossing_has_every_pair() -> None:
    axes = (range(8), "abcd", range(5))
    all_of_them = covering(*axes, whole=True)
    found = covering(*axes, whole=False)
    assert all_of_them == list(product(*axes)) and set(found) < set(all_of_them) and len(found) <= 48
    for first, second in combinations(range(3), 2):
        assert {(one[first], one[second]) for one in found} == set(product(axes[first], axes[second]))


def test_what_covers_a_crossing_is_spread_evenly() -> None:
    rows, ways, dtypes = range(93), range(10), "ab"
    found = covering(rows, ways, dtypes, whole=False)
    assert len(found) == 930
    for way, dtype in product(ways, dtypes):
        assert sum(one[1:] == (way, dtype) for one in found) in (46, 47)


def test_options_of_one_thing_take_turns() -> None:
    """Each thing meets all pairs of the other axes, and each of its options occurs, as often as another."""
    options, ways, dtypes = ["a1", "a2", "a3", *(f"b{place}" for place in range(9)), "c"], "wxy", "pq"
    found = covering(options, ways, dtypes, whole=False, of=lambda option: option[0])
    for thing, count in (("a", 6), ("b", 9), ("c", 6)):
        own = [one for one in found if one[0][0] == thing]
        assert {one[0] for one in own} == {option for option in options if option[0] == thing}
        assert {one[1:] for one in own} == set(product(ways, dtypes)) and len(own) == len(set(own)) == count
    turns = covering(options, ways, dtypes, whole=False, of=taking_turns)
    assert {one[0] for one in turns} == set(options) and {one[1:] for one in turns} == set(product(ways, dtypes))
    assert len(turns) == len(options)
    for option in ("a1", "a2", "a3"):
        assert {dtype for own, _, dtype in found if own == option} == set(dtypes)
    assert covering(options, ways, dtypes, whole=True, of=None) == list(product(options, ways, dtypes))
    assert covering(options, ways, dtypes, whole=True, of=len) == list(product(options, ways, dtypes))


def test_every_crossing_is_run_whole_somewhere() -> None:
    """`make crossings` asks for the mark, which `crossing` gives."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        assert not {"helpers.selection.covering", "helpers.selection.WHOLE"} & imported(text) or any(
            each in text for each in ("@pytest.mark.crossing", "@crossing(", "covering(*axes")
        ), file
