"""Any core optimizer as a torch optimizer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ... import optimizers as core
from ...backends.arguments import REQUIRED
from ...optimizers.core.mistaken import check_fresh, check_optimizer
from ...optimizers.core.overview import Plan, PlanRow
from .adapter import TorchAdapter
from .groups import Groups
from .keys import RULE, name_at
from .linking import real_view, trainable
from .mistaken import check_group, checked_parameters
from .rules import Rules, rules_of
from .wrapped_row import WrappedRow


class Wrapped(TorchAdapter):
    """A core optimizer as a torch optimizer; made by `wrap`."""

    _chosen_exist: bool | None = None
    """Whether all that was chosen has been there once: groups may be taken out again. None before it was looked for."""

    def __init__(self, params: Any, rules: Rules) -> None:
        self._rules = rules
        self._begin(params, rules.defaults)
        self._look_for_chosen()

    @property
    def _called(self) -> str:
        return type(self._rules.template).__name__

    def _checked_parameters(self, params: Any) -> Any:
        return checked_parameters(params, "wrap", "second", "wrap(optimizer, model.named_parameters())")

    def _row_of(self, group: Mapping[str, Any]) -> WrappedRow:
        return self._rules.row_of(group)

    def _parts(self) -> list[Groups]:
        if not self.param_groups or not self._rules.are_together(self.param_groups):
            return super()._parts()
        return [Groups(self.param_groups, 0, self._rows, 0, self._rules.together)]

    def _first_rate(self, group: Mapping[str, Any]) -> Any:
        return self._row_of(group).defaults["lr"]

    def _add(self, param_group: dict[str, Any]) -> None:
        check_group(param_group, self._called)
        count = sum(len(group["params"]) for group in self.param_groups)
        for group in self._rules.divided(param_group, count):
            row = self._row_of(group)
            self._refuse_found(row, row.left_to_build & group.keys())
            super()._add(group)
            self._see(self.param_groups[-1])
        if self._chosen_exist is False:
            self._look_for_chosen()

    def _see(self, group: Mapping[str, Any]) -> None:
        """Find out what is kept for the parameters of a further group."""
        first, row = sum(len(each["params"]) for each in self.param_groups[:-1]), self._row_of(group)
        given = row.defaults
        found = row.see({
            name_at(group, first, place): real_view(parameter.detach())
            for place, parameter in enumerate(group["params"])
            if trainable(parameter)
        })
        for key in found:
            self.defaults.pop(key, None)
            own = [each for each in self.param_groups if self._row_of(each) is row]
            self._refuse_found(row, [key for each in own if each.pop(key, given[key]) != given[key]])

    @staticmethod
    def _refuse_found(row: WrappedRow, keys: Iterable[str]) -> None:
        for key in keys:
            raise ValueError(
                f"{row.called}.build sets `{key}` itself, so a parameter group cannot: leave `{key}` out of it."
            )

    def _look_for_chosen(self) -> None:
        """Find out whether all that was chosen is there. What is not may come before the first step, which asks."""
        self._chosen_exist = False
        with contextlib.suppress(ValueError):
            self._check_chosen()

    def _check_chosen(self) -> None:
        if self._chosen_exist:
            return
        parts = self._parts()
        names = [name for part in parts for name in part.names_at(range(len(part.parameters)))]
        self._rules.template.check_chosen(names, [parameter for part in parts for parameter in part.parameters])
        self._chosen_exist = bool(names)

    def plan(self) -> Plan:
        """What will happen to each parameter: its rule, rate, decay, slots and their bytes; `print` gives a table."""
        return Plan(row for part in self._parts() for row in self._plan_of(part.made_by(self._rules.together)))

    def _plan_of(self, groups: Groups) -> Iterable[PlanRow]:
        places = [place for place, parameter in enumerate(groups.parameters) if trainable(parameter)]
        if not places:
            return ()
        built: Any = groups.maker()(places)
        built.build([
            (name, torch.empty_like(real_view(groups.parameters[place].detach()), device="meta"))
            for place, name in zip(places, groups.names_at(places), strict=True)
        ])
        names = [group.get(RULE, self._rules.template.name) for group in groups.groups]
        return (row._replace(optimizer=names[int(row.optimizer)]) for row in built.plan_as_built())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_rules": self._rules, "_chosen_exist": self._chosen_exist}


def wrap(optimizer: core.Optimizer, params: Any = REQUIRED) -> Wrapped:
    """Any core optimizer, your own included, as a torch.optim.Optimizer.

    The optimizer's number-like attributes are the groups' keys ("lr" for `learning_rate`), so that groups and
    schedulers can change them, but for those that its `build` sets; its slots and numbers lie in `state` under their
    own names, each with its parameter. A number that a whole step shares is stored with every parameter, an array with
    one of them. A schedule of the optimizer goes on until a group's "lr" is set to something else; groups show its
    rate.

    Of a `MultiOptimizer` each rule has a group of its own, in the order of the rules, that of `default` last: with the
    rule's values, and its name under "rule". Patterns of names find the parameters where `params` is
    `model.named_parameters()`. The rate of a group is that of its rule; the `MultiOptimizer`'s own, which need not be a
    number, goes on to multiply all of them. `add_param_group` divides parameters in the same way; with a rule's name
    under "rule" that one has all of them. `plan()` tells what happens to each parameter.

    What concerns the whole model does so here: clipping by a global norm is by that of all groups; of a
    `MultiOptimizer` also accumulation, averages, the loss scale, and the count of steps. Each group has these values,
    and they must be the same in all of them.

    Args:
        optimizer: it is copied, and does not change.
        params: as in torch.optim.

    Raises:
        TypeError: if `optimizer` is no core optimizer.
        ValueError: as torch.optim does; also for an optimizer that has state, for a group with a rate of its own where
            the optimizer has a schedule, for parameters that no rule claims, or several do, and for an attribute with a
            name that groups use for something else, such as `params`.

    Example:
        >>> import torch
        >>> from gradwise import optimizers
        >>> from gradwise.frontends import torch as gtorch
        >>> model = torch.nn.Linear(2, 2)
        >>> rules = optimizers.MultiOptimizer({"bias$": optimizers.SGD(0.1)}, default=optimizers.AdamW(1e-3))
        >>> optimizer = gtorch.wrap(rules, model.named_parameters())
        >>> [(group["rule"], group["lr"]) for group in optimizer.param_groups]
        [('sgd', 0.1), ('adam_w', 0.001)]
    """
    check_optimizer(optimizer, "wrap", lambda given: isinstance(given, torch.optim.Optimizer))
    check_fresh(optimizer, "wrap")
    if params is REQUIRED:
        raise TypeError("wrap takes the parameters, too: write wrap(optimizer, model.named_parameters()).")
    return Wrapped(params, rules_of(optimizer))
