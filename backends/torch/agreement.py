"""Whether processes that hold parameters together all make a step: they tell each other with what they exchange anyhow.

What one process refuses the others do not see, and would wait for it for ever. So it does not refuse before the first
exchange of the step: in front of its numbers stands that it does, and which parameters have a gradient here. All then
raise alike, before any of them has written. Where nothing is exchanged nobody waits, and nothing is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from ..dtypes import Array
from ..special_arrays import Disagreement

_BITS = 48
"""How many parameters one number, which is a float, tells of."""


class _Now(threading.local):
    """The agreements of the steps that a thread makes now, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Agreement] = []


_NOW = _Now()


def agreement_now() -> Agreement | None:
    """That of the step which this thread makes, if processes hold its parameters together."""
    return _NOW.stack[-1] if _NOW.stack else None


def spread_along(array: Array) -> tuple[bool, ...]:
    """For each axis of its mesh whether a DTensor's parts along it are of other elements."""
    return tuple(not (placement.is_replicate() or placement.is_partial()) for placement in array.placements)


class Agreement:
    """See `Backend.agreement`.

    Args:
        arrays: the parameters.
        names: of them.
        together: the positions of those that are DTensors.
        present: the positions of those that have a gradient.
        refused: the position of one whose gradient is refused, or None.

    Attributes:
        header: what this process says.
    """

    def __init__(
        self, arrays: Sequence[Array], names: Sequence[str], together: Sequence[int], present: Iterable[int],
        refused: int | None,
    ) -> None:  # fmt: skip
        self._names, self._together = list(names), list(together)
        self._axes: dict[Any, set[int]] = {}
        self._counts: dict[Any, int] = {}
        for position in together:
            mesh = arrays[position].device_mesh
            axes = (axis for axis, spread in enumerate(spread_along(arrays[position])) if spread)
            self._axes.setdefault(mesh, set()).update(axes)
            self._counts[mesh] = self._counts.get(mesh, 0) + 1
        there = set(present)
        words = [
            sum(1 << bit for bit, position in enumerate(self._together[start : start + _BITS]) if position in there)
            for start in range(0, len(self._together), _BITS)
        ]
        self.header = [0.0 if refused is None else 1.0 + refused, *map(float, words)]

    def __enter__(self) -> None:
        _NOW.stack.append(self)

    def __exit__(self, *_: object) -> None:
        _NOW.stack.pop()

    def axes(self, mesh: Any) -> set[int]:
        """Along which axes of a mesh parameters are spread."""
        return self._axes.get(mesh, set())

    def count(self, mesh: Any) -> int:
        """How many of the parameters lie on a mesh."""
        return self._counts.get(mesh, 0)

    def look(self, headers: Sequence[Sequence[float]], ranks: Sequence[Callable[[], int]]) -> None:
        """Raise unless all processes make the step.

        Args:
            headers: what each of them says.
            ranks: give the rank of each.

        Raises:
            Disagreement: if one refuses a gradient, or has none where another has one.
        """
        if all(header == self.header for header in headers) and not self.header[0]:
            return
        if self.header[0]:
            raise Disagreement(f"So says rank {torch.distributed.get_rank()}, and no process makes the step.")
        for (refused, *_), rank in zip(headers, ranks, strict=True):
            if refused:
                name = self._names[int(refused) - 1]
                raise Disagreement(
                    f"No process makes the step: rank {rank()} refuses the gradient of {name!r}, and says why."
                )
        for place, position in enumerate(self._together):
            word, bit = divmod(place, _BITS)
            having = [int(header[1 + word]) >> bit & 1 for header in headers]
            if len(set(having)) > 1:
                one, none = ranks[having.index(1)](), ranks[having.index(0)]()
                raise Disagreement(
                    f"No process makes the step: {self._names[position]!r}, which processes hold together, has a "
                    f"gradient on rank {one} and none on rank {none}: give it one on all of them, or on none."
                )
