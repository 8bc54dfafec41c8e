"""Where the arrays of a step lie, and that nothing is written that something else reads.

One look at all arrays in each step tells where they lie. What lies where it did need not be asked again whether it lies
apart from all else; only gradients come anew, and must not meet what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ....backends.kernels.intervals import Intervals, written_apart, written_beside

if TYPE_CHECKING:  # Numba is imported when there is a first table.
    from ....backends.kernels.table import Table


class Looked(Protocol):
    """What one kernel runs over.

    Attributes:
        table: the work.
        before: where all arrays lay in the step before.
        look: tells where they lie, if they are what they should be.
        stored: the dtypes in which the arrays of each parameter and its gradient are stored.
    """

    @property
    def table(self) -> Table: ...
    @property
    def before(self) -> Any: ...
    @property
    def look(self) -> Callable[..., Any]: ...
    @property
    def stored(self) -> tuple[str, ...]: ...


class Memory:
    """The memory of some kernels' parameters and slots.

    Args:
        parts: what each kernel runs over.
        seen: what is written, if that is known.

    Attributes:
        seen: as given, or as it was in the last step; None before the first.
    """

    __slots__ = ("_parts", "seen")

    def __init__(self, parts: Sequence[Looked], seen: Intervals | None) -> None:
        self._parts = parts
        self.seen = seen

    def look(
        self, kept: list[tuple[Any, Any]], bring: Callable[[int, Any, Any], Any] | None = None
    ) -> list[Any] | None:
        """For each kernel where all arrays lie; None if one is not what it should be, or meets another.

        Args:
            kept: for each kernel what parameters and slots hold, and the gradients.
            bring: given the number of a kernel and these, gradients that lie as kernels read them. They are kept.
        """
        seen = self.seen
        found: list[Any] = []
        moved: list[int] = []
        for number, part in enumerate(self._parts):
            held, given = kept[number]
            addresses = part.look(held, given, seen is None)
            if addresses is None and bring is not None:
                kept[number] = held, given = held, bring(number, held, given)
                addresses = part.look(held, given, seen is None)
            if addresses is None:
                return None
            if seen is None or not part.table.still_apart(addresses, part.before, seen):
                moved.append(number)
            found.append(addresses)
        if moved and not self._see_anew(kept, found, () if seen is None else moved):
            return None
        return found

    def _see_anew(self, kept: Sequence[tuple[Any, Any]], found: Sequence[Any], again: Sequence[int]) -> bool:
        """Look at arrays of which some do not lie where they did; whether that is all. It is remembered.

        Args:
            kept: as of `look`.
            found: where all lie.
            again: for which kernels it was only looked at as is enough for what lies where it did, and does not.
        """
        before, self.seen = self.seen, None
        parts = self._parts
        if any(parts[number].look(*kept[number], True) is None for number in again):
            return False
        lying = [
            (*part.table.lying(addresses), part.stored, not part.table.partial)
            for part, addresses in zip(parts, found, strict=True)
        ]
        if before is not None and all(_never_seen(parts[number]) for number in again):
            # They come beside the others, which are where they were.
            known = [each for number, each in enumerate(lying) if number not in again]
            self.seen = written_beside(before, known, [lying[number] for number in again])
        else:
            self.seen = written_apart(lying)
        if self.seen is None:
            return False
        for part, addresses in zip(parts, found, strict=True):
            part.before[...] = part.table.lying(addresses)[0]
        return True


def _never_seen(part: Looked) -> bool:
    """Whether it is not known where the arrays lie that a kernel runs over."""
    return bool((part.before == part.table.nowhere(part.before.shape[1])).all())
