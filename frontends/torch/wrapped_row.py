"""A row made from an optimizer of the core that a user has: its attributes are group keys, its cells state keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...backends import HOST
from ...optimizers import Optimizer
from ...optimizers.core.conventions import facts_of
from ...optimizers.core.grouped import of_all
from ...optimizers.core.own_rules.configurations import plain_attributes
from .keys import RULE
from .table import TorchRow
from .values import alike

_NOT_IN_GROUPS = ("name", "convention", "slot_dtype", "jit_compile", "built", "learning_rate")
_OF_TORCH = ("params", "param_names", "initial_lr", "capturable", "differentiable", RULE)
"""Keys of groups that mean something else, to torch, its schedulers or these front ends."""



class WrappedRow(TorchRow):
    """A row made from a core optimizer that a user has.

    Args:
        template: the optimizer. It is copied, and does not change.
        iterations: the key of the number of calls. Default: what torch calls "step", where the parameters do not have
            such a number of their own.

    Attributes:
        left_to_build: keys that groups do not have, because the optimizer's own `build` sets what they would stand for.

    Raises:
        ValueError: if an attribute has a name that groups have for something else.
    """

    builds_on_shapes = False
    slots_have_one_shape = False

    def __init__(self, template: Optimizer, iterations: str | None = None) -> None:
        self.template = template.unbuilt_copy()
        public = {
            name: value
            for name, value in plain_attributes(vars(self.template)).items()
            if name not in _NOT_IN_GROUPS
        }
        taken = [name for name in _OF_TORCH if name in public]
        if taken:
            raise ValueError(
                f"{type(template).__name__} has an attribute `{taken[0]}`, a name that torch's parameter groups use "
                f"for something else. Give it another name, such as `own_{taken[0]}`."
            )
        rate = float(self.template.learning_rate)
        hyperparameters = {"lr": "learning_rate", **{name: name for name in public}}
        self.iterations = iterations or calls_key([self.template])
        self.whole = of_all(self.template.convention)
        numbers = {self.iterations: self.iterations}
        super().__init__(type(template), {"lr": rate, **public}, {}, hyperparameters, slots={}, numbers=numbers)
        self.left_to_build: set[str] = set()
        # For each shape of a parameter the shapes of its slots, by their names; and for each dtype the dtypes.
        self._shapes: dict[Any, dict[str, set[Any]]] = {}
        self._dtypes: dict[str, dict[str, str]] = {}
        # A parameter, with its name, of each shape for which the core keeps the same.
        self._examples: dict[Any, tuple[str, torch.Tensor]] = {}

    def see(self, parameters: Mapping[str, torch.Tensor]) -> set[str]:
        """Find out what a core keeps for further parameters: their names and shapes may decide.

        Args:
            parameters: real tensors, by their names.

        Returns:
            Keys that groups have no more: what they stood for the optimizer's own `build` finds out of its parameters,
            such as how many there are.

        Raises:
            What the optimizer's own `build` raises.
        """
        examples = {name: torch.empty_like(parameter, device="meta") for name, parameter in parameters.items()}
        try:
            built = self._built(self.template.unbuilt_copy(), examples)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            # It looks at values.
            values = {name: parameter.clone() for name, parameter in parameters.items()}
            built = self._built(self.template.unbuilt_copy(), values)
        numbers, slots, shared = set(self.numbers), set(self.slots), set()
        kept: list[list[str]] = [[] for _ in parameters]
        shapes = [tuple(parameter.shape) for parameter in parameters.values()]
        for cell, name, place in built.named_cells():
            if place is not None:
                kept[place].append(name)
            if cell.backend is HOST:
                numbers.add(name)
            elif place is None:
                shared.add(name)
            else:
                slots.add(name)
                self._shapes.setdefault(shapes[place], {}).setdefault(name, set()).add(cell.shape)
                self._dtypes.setdefault(built.cells.parameters[place].dtype_name, {})[name] = cell.dtype_name
        self._examples |= dict(zip(zip(shapes, map(tuple, kept), strict=True), examples.items(), strict=True))
        self.numbers, self.slots, self.shared = frozenset(numbers), frozenset(slots), self.shared | shared
        self.own_keys = self.own_keys | self.numbers | self.slots | self.shared
        self.keys = {name: name for name in (*numbers, *slots)}
        return self._left_to_build(built)

    def _left_to_build(self, built: Optimizer) -> set[str]:
        before, after = vars(self.template), vars(built)
        found = {
            key for key in self.hyperparameters.keys() - {"lr", *self.whole}
            if after[key] is not before[key] and not alike(after[key], before[key])
        }  # fmt: skip
        for key in found:
            del self.hyperparameters[key], self.positional[key]
        self.later = [key for key in self.later if key not in found]
        self.left_to_build |= found
        return found

    @staticmethod
    def _built(core: Optimizer, parameters: Mapping[str, torch.Tensor]) -> Optimizer:
        """A core, built for parameters of which there may be more."""
        core.is_part = True
        core.build(list(parameters.items()))
        return core

    def slot_shapes(self, key: str, shape: Sequence[int]) -> set[tuple[int, ...]]:
        """Those that were found."""
        return self._shapes.get(tuple(shape), {}).get(key) or {tuple(shape)}

    def slot_dtype(self, key: str, dtype: str) -> str:
        """That which was found."""
        return self._dtypes.get(dtype, {}).get(key) or super().slot_dtype(key, dtype)

    def pieces(self, attributes: Mapping[str, Any]) -> set[str]:
        """The keys of all that a core with these attributes keeps for parameters like those that were seen."""
        built = self._built(self.make(attributes), dict(self._examples.values()))
        return {named.name for named in built.named_cells()} | {str(self.iterations)}

    def state_key(self, name: str) -> str | None:
        """The cell's own name."""
        return name

    def make(self, attributes: Mapping[str, Any]) -> Optimizer:
        """A copy of the optimizer with these attributes. A schedule stays until the group has another rate."""
        rule: Optimizer = self.template.unbuilt_copy()
        rule.is_part = True
        for name, value in attributes.items():
            if name != "learning_rate" or rule.learning_rate_schedule is None:
                setattr(rule, name, value)
        return rule


def calls_key(templates: Sequence[Optimizer]) -> str:
    """The key of the number of calls in the state of some optimizers."""
    return "iterations" if any(facts_of(each.convention).counts_steps_of_each for each in templates) else "step"
