"""Arrays that an optimizer has as attributes, beside its slots: a rule that changes one in place uses it as state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ....backends import HOST, Variable, backend_of
from ....backends.mistakes import RuleMistake
from ..rule import Rule
from .remedies import change_of
from .values import LARGE, copy_of, is_joint


class KeptArrays:
    """What these arrays hold at first. Of many or large ones, such as data or a model's, nothing is kept.

    Args:
        keepers: the optimizers.
    """

    def __init__(self, keepers: Iterable[Rule]) -> None:
        found = [
            (keeper, name, array)
            for keeper in keepers
            for name, value in vars(keeper).items()
            for array in _arrays_in(value)
        ]
        few = sum(_size(array) for _, _, array in found) <= LARGE
        self._known = [(*each, copy_of(each[-1])) for each in found] if few else []

    def check(self) -> None:
        """Raise RuleMistake if one holds something else now."""
        for keeper, name, array, before in self._known:
            if not _same(array, before):
                line, remedy = change_of(type(keeper).update_step, name, [array])
                raise RuleMistake(
                    f"{line} changes an array in `self.{name}` in place, which is not saved, and which other libraries "
                    f"do not. {remedy}"
                )

    def put_back(self) -> None:
        """Write into arrays what they held at first."""
        for _, _, array, before in self._known:
            if not _same(array, before):
                array[...] = before


def _same(array: Any, before: Any) -> bool:
    backend: Any = backend_of(array)
    return bool(backend.same_values(array, before))


def _size(array: Any) -> int:
    backend: Any = backend_of(array)
    return math.prod(backend.shape(array))


def _arrays_in(value: Any) -> Iterator[Any]:
    """An attribute, or what is in it, as far as these are arrays that can change."""
    held = value.values() if type(value) is dict else value if type(value) in (list, tuple) else (value,)
    for each in held:
        backend = None if isinstance(each, Variable) else backend_of(each)
        if backend is None or backend is HOST or not backend.writable or not backend.shape(each):
            continue
        if backend.why_no_values(each) is None and not is_joint(each):
            yield each
