"""Which of several optimizers each parameter belongs to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ...backends import Variable, describe, shown
from ...backends.wording import listed, of_class
from .configuration import Configured
from .naming import check_pattern, known_by, known_paths

Pattern: TypeAlias = str | tuple[str, ...] | Callable[[str, Variable], Any]
"""Which parameters: a regular expression, their paths, or a function of path and parameter."""
_FEW = 4
"""Fewer names than these are put into a pattern."""


# Python itself keeps 512 of them compiled, and all are searched for in every group of parameters.
@functools.lru_cache(maxsize=65536)
def _searching(pattern: str) -> Callable[[str], Any]:
    """The search for a regular expression in a text."""
    return re.compile(pattern).search


def pairs_of(rules: Any, owner: str) -> list[tuple[Pattern, Any]]:
    """Patterns, checked, with what they lead to.

    Args:
        rules: a mapping, or pairs.
        owner: what errors name.

    Raises:
        TypeError: if it is neither, or a pattern is no pattern.
        ValueError: if an expression is not a regular one.
    """
    pairs = list(rules.items()) if isinstance(rules, Mapping) else list(rules) if isinstance(rules, Iterable) else None
    if pairs is None or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        given, remedy = describe(rules), ""
        if isinstance(rules, Configured):
            name = type(rules).__name__
            given, remedy = of_class(type(rules)), f". Write `{owner}({{...}}, default={name}(...))`, or take it alone"
        elif isinstance(rules, (list, tuple)):
            given, remedy = f"a {type(rules).__name__}", ": give each optimizer the pattern of its parameters"
        raise TypeError(
            f"{owner}: `rules` must be a dictionary from patterns to optimizers, such as {{'bias$': SGD(0.1)}}, "
            f"received {given}{remedy}."
        )
    return [(_pattern(pattern, owner), rule) for pattern, rule in pairs]


def _pattern(pattern: Any, owner: str) -> Pattern:
    if isinstance(pattern, str):
        check_pattern(pattern, f"{owner}: the pattern {shown(pattern)}")
        return pattern
    if isinstance(pattern, (list, tuple)) and all(isinstance(path, str) for path in pattern):
        return tuple(pattern)
    if callable(pattern) and not isinstance(pattern, type):
        return pattern  # type: ignore[no-any-return]  # whatever it is, it can be called
    raise TypeError(
        f"{owner}: a pattern is a regular expression, a list of paths, or a function of a path and a parameter, "
        f"received {describe(pattern)}."
    )


def owners_of(
    claims: Sequence[tuple[Pattern, str]], default: str | None, parameters: Sequence[Variable], owner: str,
    partly: bool,
) -> tuple[str, ...]:  # fmt: skip
    """For each parameter the name of what it belongs to.

    Args:
        claims: patterns, each with a name.
        default: the name for parameters that no pattern claims, if there is one.
        parameters: the cells, under their paths.
        owner: what errors name.
        partly: whether there are further parameters elsewhere, which patterns may claim.

    Raises:
        ValueError: if several patterns claim a parameter, none does and there is no default, or a pattern claims none.
    """
    names = [parameter.name for parameter in parameters]
    found: list[str | None] = [None] * len(parameters)
    by: list[Pattern | None] = [None] * len(parameters)
    if not partly:
        check_claims(claims, names, owner, parameters)
    # Of many patterns that are paths none looks at all names.
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        places.setdefault(name, []).append(position)
    for pattern, name in claims:
        claimed = _claimed(pattern, places, names, parameters)
        if not (claimed or partly):
            raise ValueError(f"{owner}: {_shown(pattern)} chooses no parameter; the parameters are {listed(names)}.")
        for position in claimed:
            before = by[position]
            if before is not None:
                raise ValueError(
                    f"{owner}: parameter {names[position]!r} is claimed by {_shown(before)} and by {_shown(pattern)}. "
                    f"Only one rule may claim it: {_narrowed(before, pattern, names)}."
                )
            found[position], by[position] = name, pattern
    undecided = [name for name, one in zip(names, found, strict=True) if one is None]
    if undecided and default is None:
        raise ValueError(
            f"{owner}: no rule claims {listed(undecided)}: give a rule for it, or a `default`. So far there "
            f"are rules for {', '.join(_shown(pattern) for pattern, _ in claims)}."
        )
    return tuple(str(default) if one is None else one for one in found)


def check_claims(
    claims: Sequence[tuple[Pattern, str]], names: Sequence[str], owner: str, known: Sequence[Any] | None
) -> None:
    """Raise ValueError if an expression is found in no name, or a path is none.

    Args:
        claims: patterns, each with a name.
        names: of all parameters that there are.
        owner: what errors name.
        known: these parameters, or their cells; None if they have no identity.
    """
    there = set(names)
    for pattern, _ in claims:
        if isinstance(pattern, str) and not any(map(_searching(pattern), names)):
            raise ValueError(
                f"{owner}: {_shown(pattern)} matches no parameter's name; {known_by(names, pattern, known)}"
            )
        missing = [path for path in pattern if path not in there] if isinstance(pattern, tuple) else []
        if missing:
            raise ValueError(
                f"{owner}: its rules name the parameter {listed(missing)}, which does not exist; "
                f"{known_paths(names, missing[0])}"
            )


def _narrowed(first: Pattern, second: Pattern, names: Sequence[str]) -> str:
    """What to do about two patterns that claim the same: the first is narrowed to what it alone claims."""
    if isinstance(first, str) and isinstance(second, str):
        search, other = map(_searching, (first, second))
        alone = [re.escape(name) for name in names if search(name) and not other(name)]
        if 0 < len(alone) < _FEW:
            only = alone[0] if len(alone) == 1 else f"({'|'.join(alone)})"
            return f"narrow one of the patterns, such as {first!r} to {shown(f'^{only}$')}"
    return "narrow one of the patterns"


def _claimed(
    pattern: Pattern, places: Mapping[str, list[int]], names: Sequence[str], parameters: Sequence[Variable]
) -> list[int]:
    """The positions of the parameters that a pattern claims. `places` has those of each name."""
    if isinstance(pattern, str):
        search = _searching(pattern)
        return [position for position, name in enumerate(names) if search(name)]
    if isinstance(pattern, tuple):
        return [position for path in dict.fromkeys(pattern) for position in places.get(path, ())]
    return [
        position
        for position, (name, parameter) in enumerate(zip(names, parameters, strict=True))
        if pattern(name, parameter)
    ]


def _shown(pattern: Pattern) -> str:
    if callable(pattern):
        return f"the function {getattr(pattern, '__qualname__', pattern)}"
    return f"the pattern {pattern!r}" if isinstance(pattern, str) else f"the paths {list(pattern)}"
