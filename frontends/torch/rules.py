"""What is wrapped as a torch optimizer, and which of its rules a group has: the only one, or one of several."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from ...backends import Variable
from ...optimizers import MultiOptimizer, Optimizer, Wrapper
from ...optimizers.core.grouped import GroupedOptimizer, of_all
from ...optimizers.core.naming import unnamed
from .groups import Group
from .keys import RULE
from .linking import real_view, trainable
from .wrapped_row import WrappedRow, calls_key


def _called(schedule: Any) -> str:
    """A schedule, in short."""
    return getattr(schedule, "__name__", None) or type(schedule).__name__


class Rules(Protocol):
    """What a user has wrapped.

    Attributes:
        template: the optimizer, unbuilt.
        defaults: what every group holds if nothing else is said.
    """

    @property
    def template(self) -> Optimizer:
        """As above."""

    @property
    def defaults(self) -> dict[str, Any]:
        """As above."""

    def row_of(self, group: Mapping[str, Any]) -> WrappedRow:
        """How a group's values and its state are called.

        Raises:
            ValueError: if the group has a rule that does not exist.
        """

    def divided(self, group: Group, count: int) -> list[Group]:
        """A group that a user gave, as one for each rule.

        Args:
            group: with parameters, or pairs of names and parameters.
            count: how many parameters the groups before have.
        """

    def are_together(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """Whether one optimizer makes the steps of these groups, which have something in common."""

    def together(self, members: Sequence[Optimizer], owners: Sequence[int]) -> GroupedOptimizer:
        """One optimizer of those of the groups. See `GroupedOptimizer`."""


class OneRule:
    """An optimizer whose rule all groups have. See `Rules`."""

    def __init__(self, template: Optimizer) -> None:
        self.row = WrappedRow(template)
        self.template, self.defaults = self.row.template, self.row.defaults
        self._clips = [key for key, name in self.row.whole.items() if name == "global_clipnorm"]

    def row_of(self, group: Mapping[str, Any]) -> WrappedRow:
        """See `Rules`."""
        return self.row

    def divided(self, group: Group, count: int) -> list[Group]:
        """See `Rules`."""
        schedule = self.template.learning_rate_schedule
        given: Any = group  # What is no dictionary torch refuses.
        rate = given.get("lr") if isinstance(given, dict) else None
        if schedule is not None and rate is not None and rate != self.defaults["lr"]:
            raise ValueError(
                f"The lr={rate!r} of a parameter group would replace {_called(schedule)}, the schedule of "
                f"{self.template.name!r}. Remove lr from the group, or wrap a second optimizer for its parameters."
            )
        return [group]

    def are_together(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """Those that clip by a global norm."""
        return len(groups) > 1 and any([group.get(key) is not None for group in groups for key in self._clips])

    def together(self, members: Sequence[Optimizer], owners: Sequence[int]) -> GroupedOptimizer:
        """See `Rules`."""
        template = self.template
        whole = GroupedOptimizer(
            members, owners, self.row.whole, template.convention, jit_compile=template.jit_compile, name=template.name
        )
        whole.is_part = True
        return whole


class ManyRules:
    """Several optimizers, of which each group has one. See `Rules`."""

    def __init__(self, template: MultiOptimizer) -> None:
        self.template: MultiOptimizer = template.unbuilt_copy()
        self._whole = of_all("keras")
        own = of_all(template.convention)
        made = {name: self._with_whole(optimizer, own) for name, optimizer in self.template.optimizers.items()}
        calls = calls_key(list(made.values()))
        self.rows = {name: WrappedRow(optimizer, calls) for name, optimizer in made.items()}
        for row in self.rows.values():
            row.whole, row.is_one_of_several = self._whole, True
        # In which they were written, the default last.
        self._order = list(dict.fromkeys([*(name for _, name in self.template.claims), *self.rows]))
        first = next(iter(self.rows.values()))
        common = set.intersection(*(set(row.defaults) for row in self.rows.values()))
        self.defaults = {key: value for key, value in first.defaults.items() if key in common}

    def _with_whole(self, optimizer: Optimizer, own: Mapping[str, str]) -> Optimizer:
        """A rule that says itself what concerns the whole model."""
        made: Optimizer = copy.copy(optimizer.unbuilt_copy())
        for theirs, name in own.items():
            setattr(made, name, getattr(self.template, theirs))
        return made

    def row_of(self, group: Mapping[str, Any]) -> WrappedRow:
        """See `Rules`."""
        name = group.get(RULE)
        if not isinstance(name, str) or name not in self.rows:
            raise ValueError(
                f"{self.template.__class__.__name__}: a parameter group has {RULE}={name!r}; its rules are "
                f"{', '.join(map(repr, self._order))}."
            )
        return self.rows[name]

    def divided(self, group: Group, count: int) -> list[Group]:
        """See `Rules`. A group that says its rule has that one."""
        own: Any = group  # What is no dictionary torch refuses.
        if not isinstance(own, dict):
            return [group]
        if RULE in group:
            return [{**self.row_of(group).defaults, **group}]
        given = group["params"]
        # And what is in no order.
        if isinstance(given, set):
            return [{**group, RULE: self._order[0]}]
        params = [given] if isinstance(given, torch.Tensor) else list(given)
        of_each: dict[str, list[Any]] = {name: [] for name in self._order}
        for parameter, owner in zip(params, self._owners(params, count), strict=True):
            of_each[owner].append(parameter)
        # A group without parameters, which may come later, is the last rule's, as what no other claims.
        names = [name for name, own in of_each.items() if own] or self._order[-1:]
        return [{**self.rows[name].defaults, **group, "params": of_each[name], RULE: name} for name in names]

    def _owners(self, params: Sequence[Any], count: int) -> list[str]:
        """The rule of each parameter, which patterns find by its name."""
        pairs = [
            (str(each[0]), each[1]) if isinstance(each, tuple) and len(each) == 2 else (unnamed(count + place), each)
            for place, each in enumerate(params)
        ]
        trained = [(name, each) for name, each in pairs if isinstance(each, torch.Tensor) and trainable(each)]
        arrays = [torch.empty_like(real_view(each.detach()), device="meta") for _, each in trained]
        cells = Variable.all_over(arrays, [name for name, _ in trained])
        owners = iter(self.template.decided(cells, partly=True))
        # What is never trained goes along with some rule; torch refuses what is no tensor.
        return [
            next(owners) if isinstance(each, torch.Tensor) and trainable(each) else self._order[-1] for _, each in pairs
        ]

    def are_together(self, groups: Sequence[Mapping[str, Any]]) -> bool:
        """All of them are."""
        return True

    def together(self, members: Sequence[Optimizer], owners: Sequence[int]) -> GroupedOptimizer:
        """See `Rules`."""
        template = self.template
        schedule = template.learning_rate_schedule
        same = ("clipvalue", "decay", "jit_compile", "slot_dtype", "name")
        settings = {name: getattr(template, name) for name in same}
        if "clipnorm" not in of_all(template.convention):
            settings["clipnorm"] = template.clipnorm
        rate = template.learning_rate if schedule is None else schedule
        whole = GroupedOptimizer(members, owners, self._whole, template.convention, learning_rate=rate, **settings)
        whole.is_part = True
        excluded, names = template.exclusions
        whole.exclude_from_weight_decay(excluded, names)
        return whole


def rules_of(optimizer: Optimizer) -> Rules:
    """The rules of an optimizer that is wrapped."""
    if not isinstance(optimizer, MultiOptimizer):
        return OneRule(optimizer)
    if type(optimizer).update_step is not MultiOptimizer.update_step:
        # Groups have the rules, and what stands around all of these would be lost.
        kind = type(optimizer)
        name = kind.wrapper.__name__ if issubclass(kind, Wrapper) else kind.__name__
        raise TypeError(
            f"{kind.__name__} does something around the rules of a MultiOptimizer, which torch's groups have no place "
            f"for. Put {name} around each rule, such as MultiOptimizer({{'bias$': {name}(SGD(0.1))}}, default=...)."
        )
    return ManyRules(optimizer)


