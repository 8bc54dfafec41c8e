"""Calls as they were written for Keras 2, whose arguments had other names, another order and another meaning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...backends import is_number, shown

_SMALLEST = 1e-3
"""Below it a number in the place of Keras 2's epsilon is one."""


def hint_at_convention(owner: str, keywords: Mapping[str, Any], remedy: str, stacklevel: int) -> None:
    """Say once, where two of Keras 2's own arguments are given, that another formula than Keras 2's is followed.

    Args:
        owner: what the warning calls the class.
        keywords: of the call.
        remedy: what to write for the formula of Keras 2.
        stacklevel: how many calls the user's line is away from whoever calls this.
    """
    given = [f"`{name}`" for name in ("lr", "decay") if name in keywords]
    given += ["`epsilon=None`"] if "epsilon" in keywords and keywords["epsilon"] is None else []
    if len(given) > 1 and "convention" not in keywords:
        names = " and ".join([", ".join(given[:-1]), given[-1]])
        keep = ["write `learning_rate` instead of `lr`"] if "lr" in keywords else []
        keep += ["leave `epsilon=None` out"] if "`epsilon=None`" in given else []
        works = "; `decay` lowers the rate in both" if "decay" in keywords else ""
        _warn_once(
            f"{owner} received {names} as in Keras 2, but uses the formula of Keras 3. For the formula of Keras 2 "
            f"{remedy}. For that of Keras 3 {' and '.join(keep)}{works}.", stacklevel + 1,
        )  # fmt: skip


_WARNED: dict[Any, Any] = {}
"""What has been said, as Python's `__warningregistry__` has it: a text, a class and a line."""


def _warn_once(text: str, stacklevel: int) -> None:
    """Warn, where Python would warn once for each line of code, once for all lines.

    Args:
        text: of the warning.
        stacklevel: how many calls the user's line is away from whoever calls this.
    """
    frame = sys._getframe(stacklevel)
    if any(isinstance(said, tuple) and said[:2] == (text, UserWarning) for said in _WARNED):
        _WARNED[text, UserWarning, frame.f_lineno] = True
    # What filters say goes first: with others than before, or with "always", it is said again.
    warnings.warn_explicit(
        text, UserWarning, frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__"), _WARNED,
    )  # fmt: skip


def check_order(
    owner: str, order: Sequence[str], older: Sequence[str], arguments: Sequence[Any], switches: Sequence[str],
    stacklevel: int,
) -> None:  # fmt: skip
    """Refuse arguments that stand where Keras 2 had them, and have another meaning here.

    Args:
        owner: what errors call the class.
        order: the names of its arguments.
        older: the names that Keras 2 had in these places.
        arguments: of a call, by position.
        switches: the names of arguments that are True or False.
        stacklevel: as for `hint_at_convention`.

    Raises:
        ValueError: if an argument makes sense there only.

    One that makes sense in both orders is warned of.
    """
    for place, (here, there, value) in enumerate(zip(order, older, arguments, strict=False)):
        if here == there:
            continue
        text = (
            f"{owner}: argument {place + 1}, which is {shown(value)}, is `{here}` here and was `{there}` in Keras 2. "
            f"Write {here}=... or {there}=..., and pass every later argument by keyword too."
        )
        if here in switches:
            theirs = not isinstance(value, bool)
        else:
            theirs = there == "epsilon" and (value is None or (is_number(value) and 0 < value < _SMALLEST))
        if theirs:
            raise ValueError(text)
        if there != "epsilon" and is_number(value) and not isinstance(value, bool) and value != 0:
            text = text.replace(f"is `{here}` here and was", f"is used as `{here}`, and was", 1)
            warnings.warn(text, stacklevel=stacklevel + 1)
        return
