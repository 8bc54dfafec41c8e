"""Several optimizers as one where it is settled which of them each parameter belongs to: the groups of a front end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .conventions import CONVENTIONS, facts_of
from .multi import OF_ALL, MultiOptimizer
from .optimizer import Optimizer


def of_all(convention: str) -> dict[str, str]:
    """What concerns the whole model: what optimizers of a convention call it, and what it is called of all together."""
    clipnorm = {"clipnorm": "global_clipnorm"} if facts_of(convention).clipnorm_is_global else {}
    return {name: name for name in OF_ALL if name not in clipnorm.values()} | clipnorm


class GroupedOptimizer(MultiOptimizer):
    """Several optimizers as one. What concerns the whole model, which all of them say alike, is done once.

    Args:
        members: the optimizers, unbuilt. They become parts of this one and lose what concerns the whole model.
        owners: for each parameter the number of its optimizer.
        whole: from what the optimizers call that to what it is called here.
        convention: by whose rules gradients are clipped and accumulated.
        **keywords: as of `MultiOptimizer`, but for what the optimizers say.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {name: {} for name in CONVENTIONS}

    def __init__(
        self, members: Sequence[Optimizer], owners: Sequence[int], whole: Mapping[str, str], convention: str = "keras",
        **keywords: Any,
    ) -> None:  # fmt: skip
        # A user's own convention says nothing of these; and all norms together are the global norm here.
        known = convention in CONVENTIONS and not facts_of(convention).clipnorm_is_global
        super().__init__((), convention=convention if known else "keras", **keywords)
        for theirs, name in whole.items():
            setattr(self, name, getattr(members[0], theirs))
            for member in members:
                setattr(member, theirs, OF_ALL[name].without)
        self.optimizers = {str(number): member for number, member in enumerate(members)}
        self._settled = tuple(map(str, owners))

    def decided(self, variables: Sequence[Any], partly: bool = False) -> tuple[str, ...]:
        return self._settled

    def _counts_steps_of_each(self) -> bool:
        # Each of the optimizers has its own convention, and counts as that has it.
        return False

    def members(self) -> list[Optimizer]:
        """The optimizers, in order."""
        return list(self.optimizers.values())

    @staticmethod
    def owner_of(cell: str) -> tuple[int | None, str]:
        """The number of the optimizer that has a cell of a name, None for all together; and the name that it has there.
        """
        room, _, rest = cell.partition("/")
        if room != "optimizers":
            return None, cell
        number, _, own = rest.partition("/")
        return int(number), own
