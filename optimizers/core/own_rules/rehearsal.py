"""A user's rule is tried out before its first step, and its mistakes are told with the line that makes them.

What does nothing on one way of running a rule may do something on another. In NumPy and torch `gradient *= 2` changes
an array of the caller's, in JAX it changes none; `self.count += 1` counts parameters here and compilations there. So a
rule runs, for one parameter of each kind, on copies that tell what is done to them; whatever it writes is dropped. Of
large arrays it is given pieces first, and no more if these show a rule that makes no mistake and asks for no lengths.
An error that is none of these mistakes is left to the step itself. Rules of this library are not tried out, nor any
where several processes hold a parameter together. Steps after the first only ask whether there was one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from ....backends import trials
from ....backends.lengths import lengths_watched
from ....backends.losses import warn
from ....backends.mistakes import RuleMistake, RuleWarning, line_of_function
from ..fused.recording import why_not_silent
from ..origin import is_of_library
from ..rule import Rule
from .comparison import check_same
from .explaining import check_signature
from .first_step import not_finite
from .guarding import Attributes, undone
from .pieces import PLAIN, WHOLE, GradientPieces, Pieces, pieces_for
from .remedies import commit_of
from .source import line_of_rebinding, never_commits
from .trial import Given, Gradients, LookedAfter, Outcome, Seen, cells_with_values, tried_out
from .unwritten import unwritten
from .values import LARGE, is_joint, is_traced

TRIAL = threading.RLock()
"""Is held while a rule is tried out: what it is made of has others in its place, which steps of no thread may meet."""


def is_to_be_tried(rule: Rule) -> bool:
    """Whether somebody else than this library wrote what an optimizer, or one inside it, does in a step."""
    if any(["update_step" in vars(keeper) for keeper in rule.all_optimizers()]):
        # Put in its place by a front end, which has objects of its own to look after.
        return False
    functions = [
        getattr(type(keeper), name) for keeper in rule.all_optimizers() for name in ("update_step", "begin_step")
    ]
    return not all([is_of_library(function) for function in functions])


def rehearse(rule: Rule, gradients: Gradients, rate: Any) -> None:
    """Try out a rule, and tell what it does wrong. It is for safety alone: whatever else fails in it fails no step.

    Args:
        rule: an optimizer that is built. All that the rule does to it, and to its cells, is undone.
        gradients: of its first step.
        rate: of that step.

    Raises:
        RuleMistake: for a mistake in the rule. What may be meant is a RuleWarning.
    """
    try:
        with trials.without_warnings():
            said = _rehearse(rule, gradients, rate)
    except RuleMistake:
        raise
    except Exception:
        return
    for sentence in said:
        warn(sentence, RuleWarning)


def _rehearse(rule: Rule, gradients: Gradients, rate: Any) -> list[str]:
    """Raise what a rule does wrong; what is to be said beside."""
    check_signature(rule.update_step)
    indices = _one_of_each_kind(rule, gradients.present)
    if any(is_joint(gradients.arrays[index]) for index in gradients.present):
        return _said_of_plain(rule, gradients, rate, indices)
    # What a rule prints of arrays shall be theirs.
    pieces = None if why_not_silent(rule) is not None else pieces_for(rule, indices, gradients.present)
    said = None if pieces is None else _said_of(pieces, rule, gradients, rate, indices)
    return (_judge(rule, gradients, rate, indices, WHOLE) or []) if said is None else said


def _said_of_plain(rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int]) -> list[str]:
    """What is to be said of a rule for parameters that processes hold together, found out with plain arrays.

    With theirs, a process that tries would wait for ever for one that refuses the step, or has other gradients.
    """
    taken = gradients.present if rule.has_begin_step() else indices
    if sum(rule.cells.parameters[index].size for index in taken) > LARGE:
        return []
    plain = gradients.with_arrays(GradientPieces(gradients.arrays, PLAIN))
    return _judge(rule, plain, rate, indices, PLAIN) or []


def _said_of(
    pieces: Pieces, rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int]
) -> list[str] | None:
    """What is to be said of a rule that makes no mistake with pieces of all arrays, and would do the same with arrays
    of any lengths; None if it does.
    """
    short = gradients.with_arrays(GradientPieces(gradients.arrays, pieces))
    try:
        with lengths_watched() as lengths:
            said = _judge(rule, short, rate, indices, pieces)
            return None if lengths.asked else said
    except Exception:
        # Perhaps with pieces alone.
        return None


def _judge(rule: Rule, gradients: Gradients, rate: Any, indices: Sequence[int], pieces: Pieces) -> list[str] | None:
    """Raise what a rule does wrong for some parameters; what is to be said beside, None if it cannot be looked into."""
    with undone(rule) as attributes:
        seen = Seen(set(), set())
        found = tried_out(rule, gradients, rate, indices, LookedAfter(pieces), seen)
        attributes.check()
        outcomes = found
        if found is None:
            outcomes = tried_out(rule, gradients, rate, indices, Given(pieces), seen)
            attributes.check()
        elif why_not_silent(rule) is None:
            known = dict(zip(indices, found, strict=True))
            _check_again(rule, gradients, rate, known, pieces, seen, attributes)
        if attributes.have_grown:
            # What is kept for later is there now.
            tried_out(rule, gradients, rate, indices, Given(pieces), seen)
            attributes.check(may_grow=False)
    attributes.keep_memos()
    if outcomes and not any(each.changed for each in outcomes):
        _check_commits(type(rule))
    # Of what can be looked into, both branches of a choice were run.
    if found is None:
        return None
    grown = [(gradients.arrays[index], outcome) for index, outcome in zip(indices, found, strict=True)]
    return [*unwritten(rule, indices, seen), *not_finite(rule, grown)]


def _check_again(
    rule: Rule, gradients: Gradients, rate: Any, found: dict[int, Outcome], pieces: Pieces, seen: Seen,
    attributes: Attributes,
) -> None:  # fmt: skip
    """Run a rule once more, and raise RuleMistake if it does not do the same; not with what cannot be compared."""
    arrays = [*(gradients.arrays[index] for index in found), *(cell.value for cell in cells_with_values(rule))]
    # What is being traced says nothing of itself: something else stands for it, and is looked after again.
    traced = any(map(is_traced, arrays))
    parameters = rule.cells.parameters
    indices = [index for index in found if pieces is not WHOLE or traced or parameters[index].size <= LARGE]
    given = LookedAfter(pieces) if traced else Given(pieces)
    again = tried_out(rule, gradients, rate, indices, given, seen) if indices else []
    attributes.check()
    if again is not None:
        check_same(rule, indices, [found[index] for index in indices], again)


def _check_commits(kind: type[Rule]) -> None:
    """Raise RuleMistake if an `update_step`, which did not change its parameter, cannot do so at all."""
    if not never_commits(kind):
        return
    line, name = line_of_rebinding(kind)
    if line:
        raise RuleMistake(
            f"{line} gives the name `{name}` to another value, which leaves the parameter as it is. "
            f"Write {commit_of(kind.update_step, name)}."
        )
    raise RuleMistake(
        f"{line_of_function(kind.update_step)} never changes the parameter that it is given. "
        f"Write {commit_of(kind.update_step)}."
    )


def _one_of_each_kind(rule: Rule, present: Iterable[int]) -> list[int]:
    """Of parameters that have in common how many axes, which dtype and which slots they have, the smallest."""
    smallest: dict[Any, int] = {}
    for index in present:
        cells = rule.cells.grouped[index]
        kind = cells[0].ndim, cells[0].dtype_name, len(cells), len(rule.cells.numbers[index])
        if kind not in smallest or cells[0].size < rule.cells.parameters[smallest[kind]].size:
            smallest[kind] = index
    return list(smallest.values())
