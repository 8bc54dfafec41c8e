"""optax's own tests, which come in its wheel, run with gradwise's functions in place of optax's."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from helpers.selection import WHOLE

pytestmark = pytest.mark.jax
HERE = Path(__file__).parent
ROOT = HERE.parents[2]

FILES = {
    "aliases": ["_src/alias_test.py"],
    "what is around them": [
        "_src/sharding_test.py",
        "_src/float64_test.py",
        "schedules/_inject_test.py",
        "transforms/_combining_test.py",
        "transforms/_conditionality_test.py",
        "transforms/_layouts_test.py",
        "transforms/_masking_test.py",
        "tree_utils/_state_utils_test.py",
        "_src/lookahead_test.py",
        "_src/update_test.py",
    ],
}
COMPLEX = "gradwise: parameters and slots are real; complex ones are refused"
SIXTEEN_BIT = "gradwise: slots of 16-bit parameters are float32 where no dtype is asked for"
EXPECTED = {
    "aliases": {
        "passed": 190,
        COMPLEX: 69,
        SIXTEEN_BIT: 3,
        "adadelta does not support complex parameters.": 8,
        # The steps run; only their result is not looked at.
        "adadelta needs a non-None learning rate for numerically stable optimization in practice.": 2,
    },
    "what is around them": {"passed": 134},
}
"""How many pass, and how many are skipped for each reason, at least: an algorithm more brings its own."""


def run(files: list[str], report: Path) -> tuple[collections.Counter[str], str]:
    """How many passed, failed, and were skipped for each reason; and what pytest printed."""
    import optax

    arguments = ["-q", "-p", "optax_swap", "-p", "no:cacheprovider", "-c", "/dev/null", "--junitxml", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *(str(Path(optax.__file__).parent / file) for file in files)],
        env={**_environment(), "PYTHONPATH": f"{HERE}:{ROOT}"},
        cwd=report.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    counts: collections.Counter[str] = collections.Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        failed = case.find("failure") is not None or case.find("error") is not None
        counts["failed" if failed else "passed" if skipped is None else skipped.get("message", "")] += 1
    return counts, done.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")}


@pytest.mark.crossing
@pytest.mark.parametrize("group", ["aliases"] if WHOLE else ["what is around them"])
def test_optax_own_tests(group: str, tmp_path: Path) -> None:
    """In `make crossings` those of the functions themselves, which test_frontend_optax.py compares with optax's."""
    counts, printed = run(FILES[group], tmp_path / "report.xml")
    assert counts.keys() == EXPECTED[group].keys(), printed[-3000:]
    assert all(counts[what] >= least for what, least in EXPECTED[group].items()), printed[-3000:]
