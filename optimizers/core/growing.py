"""Go on with further parameters, when what is known of those that an optimizer has shall not be found out again."""

from __future__ import annotations

from collections.abc import Sequence

from ...backends import Variable
from .building import CellKeeper
from .cells import NamedCell
from .configuration import STRUCTURE, has_cells
from .insertion import Insertion
from .slots import with_names

_OF_EACH = ("parameters", "grouped", "numbers", "counts", "steps", "averages", "accumulators")
"""The cells of which there are as many as parameters, or none."""


class Growing(CellKeeper):
    """Takes in the parameters of another optimizer that was made alike. A base of `Optimizer`."""

    def take_in(self, other: CellKeeper, insertion: Insertion) -> None:
        """Go on with the parameters of another optimizer too, which was made alike and built for further ones.

        Args:
            other: the optimizer. It is no more to be used.
            insertion: where its parameters come to stand among the own ones.

        Raises:
            LookupError: if there is more to it than a list of cells for each name, as where parameters share something;
                nothing has changed then.
        """
        pairs = list(zip(self.all_optimizers(), other.all_optimizers(), strict=True))
        lists = [each for own, further in pairs for each in _joined_lists(own, further)]
        for keeper, name, cells, more in lists:
            vars(keeper)[name] = insertion.joined(cells, more)
        for own, further in pairs:
            if not insertion.behind:
                own.cells.named = _moved(own.cells.named, insertion.known)
                own.cells.index = {key: insertion.known[at] for key, at in own.cells.index.items()}
            own.cells.named += _moved(further.cells.named, insertion.further)
            own.cells.index |= {key: insertion.further[at] for key, at in further.cells.index.items()}
            own.cells.stand_ins |= further.cells.stand_ins
            own.cells.taken = {}
            for name in _OF_EACH:
                both = getattr(own.cells, name), getattr(further.cells, name)
                setattr(own.cells, name, insertion.joined(*both) if any(both) else [])
            own._templates, own._remembered = {}, None


def _moved(named_cells: Sequence[NamedCell], places: Sequence[int]) -> list[NamedCell]:
    """Cells that belong to parameters, which stand in other places now."""
    cells, names, positions = zip(*named_cells, strict=True) if named_cells else ((), (), ())
    return with_names(cells, names, map(places.__getitem__, positions))


def _joined_lists(
    own: CellKeeper, further: CellKeeper
) -> list[tuple[CellKeeper, str, list[Variable], list[Variable]]]:
    """The lists of cells that `build` made, each with that of a further optimizer.

    Raises:
        LookupError: if it made something else.
    """
    counts = len(own.cells.parameters), len(further.cells.parameters)
    if own._excluded or own._tree is not None or any(named.position is None for named in further.cells.named):
        raise LookupError("something belongs to no parameter, or to one that was chosen")
    found = []
    for name, value in vars(own).items():
        if name in STRUCTURE or not has_cells(value):
            continue
        more = vars(further).get(name)
        if type(value) is not list or type(more) is not list or (len(value), len(more)) != counts:
            raise LookupError(f"{name} is no list with one cell for each parameter")
        found.append((own, name, value, more))
    return found
