"""Every algorithm of the core in every convention it has, for tests that hold for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from rules import all_facts

from gradwise.optimizers.core.following import conventions_having
from gradwise.optimizers.core.hyperparameters import hyperparameters
from gradwise.optimizers.registry import ALGORITHMS

EVERY = [(kind, convention) for kind in ALGORITHMS for convention in kind.conventions]


WITH_NAMES = [pytest.param(*each, id=f"{each[0].__name__}-{each[1]}") for each in EVERY]
"""The same for `crossing`s."""


def existing(kind: Any, options: Mapping[str, Any], convention: str | None = None) -> dict[str, Any]:
    """Of options those that exist in a convention of a class, which is its first if none is named: not everywhere do
    weights decay."""
    named = convention or next(iter(kind.conventions))
    having = {name: conventions_having(kind, each) for name, each in hyperparameters(kind).items()}
    return {name: value for name, value in options.items() if named in (having.get(name) or [named])}


def algorithm_of(each: Any) -> Any:
    """Of which algorithm one of these is, or a row of `helpers/algorithms.py`: for `crossing`s, where conventions and
    options take turns."""
    first = getattr(each, "values", (each,))[0]
    return getattr(first, "algorithm", first)


SMOOTH = [each for each in EVERY if not all_facts()[each[0].__name__].signs]
"""Those of which a step is a smooth function of the gradient, where it is 0 too."""


def called(each: Any) -> str:
    """A test's id: the name of a class, or a convention."""
    return each.__name__ if isinstance(each, type) else str(each)
