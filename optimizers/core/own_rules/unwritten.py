"""Slots that a rule reads and that stay as they were made, because none of its methods writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....backends.mistakes import line_of_function
from ....backends.scope import Cell
from ..rule import Rule
from .remedies import slot_to_write
from .source import never_writes
from .trial import Seen
from .values import has_values


def unwritten(rule: Rule, indices: Sequence[int], seen: Seen) -> list[str]:
    """What to say of slots that are read, begin as zeros, as all remembering does, and that the rule's class never
    writes. Whoever makes the steps may do so between them, as control variates are: it is no error.

    That nothing wrote them in this run may depend on numbers. Where the source of all methods is there, and each only
    reads them, none can; functions outside of the class are looked into where a method gives them a slot.
    """
    found = []
    tried = {id(cell) for index in indices for cell in rule.cells.grouped[index][1:]}
    for keeper in rule.all_optimizers():
        cells: dict[str, list[Any]] = {}
        for cell, name, _ in keeper.cells.named:
            if name in keeper.cells.from_zero and id(cell) in tried:
                cells.setdefault(name, []).append(cell)
        for name, made in cells.items():
            read = [cell for cell in made if id(cell) in seen.read and not has_values(cell.value)]
            if not read or not seen.written.isdisjoint(map(id, made)):
                continue
            attribute = _list_with(keeper, read[0])
            if attribute is not None and never_writes(type(keeper), attribute):
                found.append(
                    f"{line_of_function(type(rule).update_step)} reads the slot {name!r} of parameters and never "
                    "writes it, so that it stays zero, unless it is assigned to between steps. Write "
                    f"{slot_to_write(type(rule).update_step, attribute)}."
                )
    return found


def _list_with(keeper: Rule, cell: Cell) -> str | None:
    """The attribute that is a list with a slot in it; None if there is none, or several."""
    held = vars(keeper).items()
    lists = [name for name, value in held if isinstance(value, list) and any(each is cell for each in value)]
    return lists[0] if len(lists) == 1 else None
