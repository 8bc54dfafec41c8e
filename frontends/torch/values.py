"""The values of a parameter group, which a core optimizer follows: users and schedulers set them at any time."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...optimizers.core.hyperparameters import exchange
from ...optimizers.core.optimizer import Optimizer
from .keys import RULE
from .table import TorchRow

_FLAGS = ("differentiable", "capturable")


@functools.lru_cache(maxsize=256)
def _reader(keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """One for all groups that have the same keys: hundreds of optimizers are out of the processor's reach."""
    return operator.itemgetter(*keys)


class Values:
    """What a group says of its hyperparameters, as it was when it was read last, and the optimizer that follows.

    Args:
        row: how the group's values are called.
        rule: the core's optimizer.
        group: the parameter group.
        core: the optimizer of several groups that the rule is a part of, and that has what concerns the whole model.

    Attributes:
        keys: of the values that count.
        read: gives them of a group.
        held: what they were; None if that is not known.
        live: whether some are in tensors or arrays, which may change at any time, so that all are read in every step.
        changed: whether attributes of the core may have changed since a step of all groups at once; the rate is none.
        renumbered: whether numbers have been exchanged for others, from which nothing follows but scalars.
    """

    def __init__(
        self, row: TorchRow, rule: Optimizer, group: Mapping[str, Any], core: Optimizer | None = None
    ) -> None:
        self._row, self._rule = row, rule
        self._whole: Mapping[str, str] = {} if core is None else row.whole
        self._core = rule if core is None else core
        # Whose values they are is looked at with them.
        others = (*_FLAGS, RULE) if row.is_one_of_several else _FLAGS
        self.keys = [*row.hyperparameters, *(key for key in others if key in group)]
        self._named = group.get(RULE)
        self.read = _reader(tuple(self.keys))
        self.held: tuple[Any, ...] | None = None
        self.live, self.changed, self.renumbered = False, True, False
        # The group's copy of the rate that a schedule of the core gives.
        self.shown: float | None = None if rule.learning_rate_schedule is None else float(rule.learning_rate)

    def hold(self, group: Mapping[str, Any]) -> bool:
        """Whether the core can go on, with the group's values as they are now.

        Args:
            group: the parameter group.

        Raises:
            ValueError: if a hyperparameter is not allowed.
        """
        try:
            values = self.read(group)
        except KeyError:
            # Of a flag that the group has no more.
            return False
        return (not self.live and alike(values, self.held)) or self.follow(group, values)

    def follow(self, group: Mapping[str, Any], now: tuple[Any, ...] | None = None) -> bool:
        """Take over what has changed. False if it needs slots that were not made, or the group has another rule.

        Args:
            group: the parameter group.
            now: its values, if they were read already.

        Raises:
            ValueError: if a hyperparameter is not allowed.
        """
        if self._row.is_one_of_several and group.get(RULE) != self._named:
            return False
        anew = self.held is None or self.live
        changed, values, live = self._changes(self.read(group) if now is None else now)
        more = anew or not changed.keys() <= self._row.hyperparameters.keys()
        self.changed = self.changed or more
        try:
            for name, value in self._row.attributes(changed).items():
                taken = self._take(name, value)
                if taken is None:
                    return False
                more = more or taken
        except ValueError:
            # In the words of whoever set it.
            self._row.check(changed)
            raise
        if more:
            takes_rows = self._row.why_not_sparse(group, type(self._rule).__name__) is None
            if takes_rows is not self._rule.takes_rows:
                self.changed, self._rule.takes_rows = True, takes_rows
        self.live, self.held = live, tuple(values)
        return True

    def _changes(self, now: tuple[Any, ...]) -> tuple[dict[str, Any], list[Any], bool]:
        """What has changed, all values as they will be held, and whether some of them may change at any time."""
        values = [None] * len(now) if self.held is None or self.live else list(self.held)
        # If some of them are refused, all will be taken over that are there then.
        self.held = None
        changed, live = {}, False
        for place, new in enumerate(now):
            old = values[place]
            if new is old and old is not None:
                continue
            if type(new) is float and type(old) is float:
                if new != old:
                    changed[self.keys[place]] = values[place] = new
            elif old is None or not alike(new, old):
                changed[self.keys[place]], values[place] = new, kept(new)
                # What a tensor or an array holds may change at any time: it is read in every step.
                live = live or not _shows_changes(new)
        return changed, values, live

    def _take(self, name: str, value: Any) -> bool | None:
        """Give the core an attribute; whether more than a number is another. None if it lacks slots for it."""
        rule = self._rule
        if name in self._whole:
            rule, name = self._core, self._whole[name]
        if name == "learning_rate":
            if self.shown is None or value != self.shown:
                self._write_rate(value)
            return False
        if vars(rule).get(name) is value:
            return False
        if exchange(rule, name, value):
            self.renumbered = True
            return False
        if rule.lacks_slots_for(name, value):
            return None
        self.changed = True
        setattr(rule, name, value)
        return True

    def _write_rate(self, value: Any) -> None:
        """Set the rate, which ends a schedule."""
        self.shown, before = None, self._rule.cells.rate.array
        self._rule.write_learning_rate(value)
        if self._core is not self._rule:
            # That of an optimizer inside another is one of its numbers.
            alike_used = type(value) is type(before) is float and value and before
            self.renumbered, self.changed = self.renumbered or bool(alike_used), self.changed or not alike_used

    def in_tensors(self, group: Mapping[str, Any]) -> bool:
        """Whether some are in tensors that the host does not read."""
        if group.get("differentiable") or group.get("capturable"):
            return True
        if not self.live:
            return False
        attributes = vars(self._rule) | {"learning_rate": self._rule.cells.rate.array}
        attributes |= {theirs: vars(self._core)[name] for theirs, name in self._whole.items()}
        return any(isinstance(attributes[name], torch.Tensor) for name in self._row.attributes(group))

    # ---------------------------------------------------------------- a rate that a schedule gives

    def showing_next(self, group: dict[str, Any]) -> list[functools.partial[Any]]:
        """The calls that let the group show the rate after a step, where a schedule gives it."""
        cells = self._rule.cells
        try:
            shown = float(self._rule.base_rate_at(cells.iterations.array + 1, cells.rate.array))
        except Exception:
            # A schedule that has ended says so in the step that needs it.
            return []
        return [
            functools.partial(operator.setitem, group, "lr", shown),
            functools.partial(setattr, self, "shown", shown),
            functools.partial(setattr, self, "held", kept(self.read({**group, "lr": shown}))),
        ]


def alike(values: Any, others: Any) -> bool:
    """Whether values of a group are those that were kept."""
    try:
        return bool(values == others)
    except (ArithmeticError, ValueError, RuntimeError):
        # A decimal that signals refuses. An array in place of a number or a tuple says for each element what it is.
        return False


def kept(value: Any) -> Any:
    """Values of a group as they are now: lists may change in place."""
    return type(value)(map(kept, value)) if type(value) in (tuple, list) else value


def _shows_changes(value: Any) -> bool:
    """Whether a value that has changed is unlike the one that was kept."""
    if type(value) in (tuple, list):
        return all(map(_shows_changes, value))
    return value is None or isinstance(value, (bool, int, float, str))
