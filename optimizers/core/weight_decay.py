"""Weight decay: which parameters decay, and how."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from ...backends import Variable, ops
from .building import CellKeeper
from .conventions import facts_of
from .exclusions import Chosen, Exclusions
from .hyperparameters import in_use
from .naming import check_chosen, check_var_list, listed_choices


class DecaysWeights(CellKeeper):
    """Knows which parameters decay. A base of `Optimizer`."""

    is_part = False
    """Whether others have further parameters of the same model, among which may be what was chosen by name. What front
    ends say that make several of one."""

    weight_decay: float | None

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave parameters out of weight decay. Each call replaces the last; it may come before or after `build`.

        Args:
            var_list: parameters, by identity (imperative path only: functional parameters have no identity).
            var_names: regular expressions, searched in the parameter's name. On the functional path that is its key
                path, such as "layer1/kernel"; imperatively the one with which it was given to `build` or `apply`.

        Raises:
            TypeError: if `var_list` is a single array or has text in it, or `var_names` is no list of strings.
            ValueError: if an expression is not a regular one; once the parameters are known, in the first step at the
                latest, also if one is found in no name, or a parameter is unknown.
        """
        excluded, names = listed_choices(var_list, var_names)
        check_var_list(excluded)
        self._refuse_change("exclusions from weight decay")
        cells = self.cells.parameters
        if not self.is_part:
            known = [*cells, *(cell.array for cell in cells)]
            check_chosen(excluded, names, [cell.name for cell in cells], known, f"optimizer {self.name!r}")
        self._excluded = Chosen(excluded)
        self._excluded_names = tuple(names)
        if self.built:
            self._tell_inside()
            self.forget_plan()

    @property
    def exclusions(self) -> tuple[list[Any], list[str]]:
        """The parameters, and the patterns of names, that `exclude_from_weight_decay` was given last."""
        return list(self._excluded), list(self._excluded_names)

    def check_chosen(self, names: Sequence[str], parameters: Sequence[Any] | None) -> None:
        """Raise ValueError if what was excluded from weight decay does not exist, here or in optimizers inside.

        Args:
            names: of all parameters that there are.
            parameters: they, as arrays and as cells; None if they have no identity.
        """
        for keeper in self.all_optimizers():
            if keeper._excluded or keeper._excluded_names:
                check_chosen(keeper._excluded, keeper._excluded_names, names, parameters, f"optimizer {self.name!r}")

    def _check_chosen_once(self, cells: Sequence[Variable]) -> None:
        """`check_chosen` of all parameters, unless that was done since the exclusions were chosen."""
        chosen = [each for keeper in self.all_optimizers() for each in (keeper._excluded, keeper._excluded_names)]
        known = self.cells.chosen
        if self.is_part or not any(chosen) or (len(known) == len(chosen) and all(map(operator.is_, known, chosen))):
            return
        self.check_chosen([cell.name for cell in cells], [*cells, *(cell.array for cell in cells)])
        self.cells.chosen = chosen

    def _decay_is_coupled(self) -> bool:
        """Whether weight decay goes through the gradient, rather than straight to the parameter."""
        raise NotImplementedError

    def differences(self, variables: Sequence[Variable]) -> list[Any]:
        """For each of some parameters what tells its update from that of others like it: whether it decays."""
        if self.weight_decay is None or not in_use(self.weight_decay):
            return [False] * len(variables)
        return list(map(self._decays, variables))

    def _decays(self, variable: Variable) -> bool:
        if self.weight_decay is None or not in_use(self.weight_decay):
            return False
        chosen = self._exclusions()
        if not self.cells.excluded.are(chosen):
            self.cells.excluded = Exclusions(chosen)
        return not self.cells.excluded.have(variable)

    def _decay(self, variable: Variable, share: Any) -> None:
        """Take a share off a parameter: more than all of it, if rate and decay are so large."""
        if facts_of(self.convention).subtracts_decay or variable.sink is not variable:
            variable.assign_sub(variable * share)
            return
        kept = variable - variable * share
        # Of an infinite parameter, or a share that overflows, a difference is none, or infinite where a product is not.
        product = variable * ops.once(ops.subtract, 1, share)
        variable.assign(ops.where(ops.less(ops.absolute(kept), math.inf), kept, product))
