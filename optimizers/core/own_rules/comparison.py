"""Whether a rule does the same twice with the same arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ....backends import ops
from ....backends.mistakes import RuleMistake, line_of_function, line_with
from ..rule import Rule
from .remedies import outside_change
from .trial import Outcome
from .values import read

_RANDOM = re.compile(r"^[^#]*(\brandom\.|\brand(n|int)?\()")
"""How random numbers are drawn, as libraries call it."""
_ASKING = re.compile(r"^[^#]*\b(isinstance|type|hasattr)\(")
"""How the class of an array is asked for."""
_OF_A_CHANGE, _OF_A_VALUE = 2.0**-10, 2.0**-20
"""Which parts of a change, and of a value, two computations of it may be apart: some machines add up in any order."""


def check_same(rule: Rule, indices: Sequence[int], found: Sequence[Outcome], plain: Sequence[Outcome]) -> None:
    """Raise if a rule does not do the same twice with the same arrays, of which it cannot look into those of one time.

    Raises:
        RuleMistake: then.
    """
    for index, one, other in zip(indices, found, plain, strict=True):
        parameter = rule.cells.parameters[index]
        for key, (name, before, value) in one.values.items():
            # A choice may have written it in the branch that is not taken.
            again = other.values[key][2] if key in other.values else before
            if not _alike(before, value, again):
                drawn = line_with(type(rule).update_step, _RANDOM)
                if drawn is not None:
                    raise RuleMistake(
                        f"{drawn} draws random numbers, which under jit are drawn once, when it is compiled. Rules "
                        "have no random numbers yet: add noise to the gradients, before the step."
                    )
                what = f"parameter {name!r}"
                if key != id(parameter.sink):
                    what = f"{name!r}, which belongs to parameter {parameter.name!r},"
                raise RuleMistake(_why_not_same(type(rule).update_step, what))


def _why_not_same(function: Any, what: str) -> str:
    """The words for a rule that gives something two values, by the cause that its source shows."""
    outside = outside_change(function)
    if outside is not None:
        line, name, remedy = outside
        return (
            f"{line} changes `{name}`, which is outside of the optimizer, so that the same step gives {what} another "
            f"value the second time. {remedy}"
        )
    asking = line_with(function, _ASKING)
    if asking is not None:
        return (
            f"{asking} asks for the class of an array, so that the rule gives {what} another value where arrays are of "
            "another library. Write one formula for all, with operators and functions of ops."
        )
    return (
        f"{line_of_function(function)} gives {what} another value the second time, from the same arrays and numbers, "
        "so it depends on something outside of the optimizer: a count, a cache, a file, or an array that is changed "
        "under another name. Keep what lasts in slots, or in numbers by `self.add_scalar` in build."
    )


def _alike(before: Any, one: Any, other: Any) -> bool:
    """Whether two values computed for a cell are the same but for rounding, as far as Python can read them."""
    start, first, second = map(read, (before, one, other))
    if first is None or second is None:
        return True
    if first.shape != second.shape:
        return False
    if not first.size:
        return True
    apart = ops.where(ops.equal(first, second), 0.0, ops.abs(first - second))
    change = second if start is None or start.shape != second.shape else second - start
    allowed = ops.max(ops.abs(change)) * _OF_A_CHANGE + ops.max(ops.abs(second)) * _OF_A_VALUE
    # Where something is infinite or no number, there is no distance.
    return not ops.max(apart) > allowed
