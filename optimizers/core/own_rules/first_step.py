"""A rule that takes the steps before for the number of the step: in the first one there are none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..rule import Rule
from .remedies import zero_at_first
from .trial import Outcome
from .values import read


def not_finite(rule: Rule, outcomes: Iterable[tuple[Any, Outcome]]) -> list[str]:
    """What to say of a first step that makes something infinite, or no number, of what is finite.

    Args:
        rule: the optimizer.
        outcomes: a gradient, and what came of it.
    """
    sentence = zero_at_first(type(rule).update_step)
    if sentence is None or read(rule.cells.iterations.value) != 0:
        return []
    for gradient, outcome in outcomes:
        for _, before, after in outcome.values.values():
            if _is_finite(gradient) and _is_finite(before) and not _is_finite(after):
                return [sentence]
    return []


def _is_finite(value: Any) -> bool:
    held = read(value)
    return held is None or bool((abs(held) < math.inf).all())
