"""How many functions a piece of Python code calls: what it costs, without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any


def counted_calls(function: Callable[[], Any], is_counted: Callable[[str, CodeType], bool]) -> int:
    """Call a function, and count.

    Args:
        function: to be called.
        is_counted: whether an event of `sys.setprofile` counts, in some code. Lists made in place are calls in old
            releases of Python only, and never count.
    """
    events: list[str] = []

    def seen(frame: Any, event: str, argument: Any) -> None:
        if not frame.f_code.co_name.endswith("comp>") and is_counted(event, frame.f_code):
            events.append(event)

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        function()
    finally:
        sys.setprofile(before)
    return len(events)
