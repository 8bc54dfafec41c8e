"""Every algorithm of the core in every convention it has, for tests that hold for all."""

from __future__ import annotations

from typing import Any

import pytest
from rules import all_facts

from gradwise.optimizers.registry import ALGORITHMS

EVERY = [(kind, convention) for kind in ALGORITHMS for convention in kind.conventions]


WITH_NAMES = [pytest.param(*each, id=f"{each[0].__name__}-{each[1]}") for each in EVERY]
"""The same for `crossing`s."""


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
