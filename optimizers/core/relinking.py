"""Go on with other arrays in place of the parameters that an optimizer was built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backends import Variable, backend_of, describe, value_of
from .building import CellKeeper
from .exclusions import Chosen
from .naming import named


class Relinked(CellKeeper):
    """Links an optimizer to its parameters again. A base of `Optimizer`."""

    def relink(self, variables: Sequence[Any]) -> None:
        """Go on with other arrays in place of the parameters that the optimizer was built for.

        Parameters are known by identity, which some formats do not keep: after joblib an estimator's arrays and its
        optimizer's are apart. (If they are still equal when the first step after loading is made, that step links them
        by itself.) State and step count stay as they are; the arrays are not changed.

        Args:
            variables: one for each parameter, in the order of `build`, of the same library, shapes and dtypes.

        Raises:
            TypeError, ValueError: if the optimizer is not built, or an array cannot take the place of its parameter;
                nothing has changed then.
        """
        if not self.cells.parameters:
            raise ValueError(f"Optimizer {self.name!r} is not built: call build(variables) first.")
        variables, _ = named(variables, "variables")
        reason = self._why_not_linked(variables)
        if reason is not None:
            raise ValueError(f"Optimizer {self.name!r} cannot be linked to these variables: {reason}.")
        self._link_to(variables, self._cells_for(variables))

    def _why_not_linked(self, variables: Sequence[Any]) -> str | None:
        """Why variables cannot take the places of the parameters, or None."""
        if len(variables) != len(self.cells.parameters):
            return f"they are {len(variables)}, and it was built for {len(self.cells.parameters)}"
        for cell, array in zip(self.cells.parameters, variables, strict=True):
            held = value_of(array)
            alike = backend_of(held) is cell.backend and cell.backend.shape(held) == cell.shape
            if not alike or cell.backend.dtype_name(held) != cell.dtype_name:
                kind = f"a {cell.backend.name} array of dtype {cell.dtype_name} and shape {cell.shape}"
                return f"{describe(held)} cannot stand for {cell.name!r}, which is {kind}"
        return None

    def _link_to(self, variables: Sequence[Any], cells: list[Variable]) -> None:
        before = list(self.cells.parameters)
        excluded = {id(known): cell for cell in before for known in (cell, cell.array)}
        now: list[Variable] = []
        for old, new, variable in zip(before, cells, variables, strict=True):
            if new is not variable:
                new.name, new.constraint = old.name, old.constraint
            now.append(new)
        places = {id(old): new for old, new in zip(before, now, strict=True)}
        given = {id(new): variable for new, variable in zip(now, variables, strict=True)}
        for keeper in self.all_optimizers():
            keeper._excluded = Chosen(
                places[id(excluded[id(each)])] if id(each) in excluded else each for each in keeper._excluded
            )
            keeper.cells.parameters = [places.get(id(cell), cell) for cell in keeper.cells.parameters]
            keeper.cells.grouped = [[places.get(id(cell), cell) for cell in cells] for cells in keeper.cells.grouped]
            keeper.cells.index = {id(cell): position for position, cell in enumerate(keeper.cells.parameters)}
            keeper.cells.index |= {id(given[key]): position for key, position in keeper.cells.index.items()}
            keeper.cells.stand_ins = {}
            keeper.forget_plan()
        self.cells.loaded = False

    def _link_if_loaded(self, variables: Sequence[Any]) -> None:
        """After loading, take variables that equal the parameters for these, if identity was not kept."""
        if not self.cells.loaded or any(id(variable) in self.cells.index for variable in variables):
            self.cells.loaded = False
            return
        if self._why_not_linked(variables) is None and all(
            cell.backend.same_values(value_of(array), cell.array)
            for cell, array in zip(self.cells.parameters, variables, strict=True)
        ):
            self._link_to(variables, self._cells_for(variables))
