"""How a class of torch.optim maps to a core optimizer: its arguments, and the names of its state."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch

from ...backends import compute_dtype, shown
from ...backends.wording import of_class
from ...optimizers import Optimizer
from ...optimizers.core.hyperparameters import LEARNING_RATE, Flag, Number
from ...optimizers.core.hyperparameters import hyperparameters as hyperparameters_of
from ...optimizers.core.mistaken import instead_of_text, is_model

Names = Mapping[str, "str | tuple[str, ...]"]

FLAGS = {
    "maximize": "climb the gradient. False.",
    "foreach": "a hint: on the CPU a step is one compiled pass over memory, elsewhere multi-tensor functions. None.",
    "fused": "a hint, as `foreach`. None.",
    "capturable": "keep step counts beside the parameters, for CUDA graphs. False.",
    "differentiable": "let autograd follow the step. False.",
}
"""What is said of torch's flags, which all classes have."""

_NAMED_IN_ERRORS = {"lr": "learning rate", "betas": "beta parameter", "eps": "epsilon value"}


class TorchRow:
    """A class of torch.optim as it is made from a core class in convention "torch".

    Args:
        core: the core class.
        positional: torch's arguments after `params`, with their defaults, in torch's order.
        keyword: torch's keyword-only arguments with their defaults.
        hyperparameters: for each group key that changes the formula, the core's attribute, or attributes.
        slots: for each slot of the core, torch's key.
        numbers: for each number the core keeps for a parameter, torch's key. A count of steps that is not named here is
            not stored: a parameter with state has made a step.
        fixed: group keys that are no arguments, with their values.
        sparse: whether sparse gradients are taken, by their rows where the rule leaves the others as they are.
        eager: whether state exists from the start, rather than from a parameter's first gradient.
        ranges: by the core's attributes, where torch allows less than the core.
        added_later: hyperparameters that checkpoints of older versions of torch lack; all lack newer flags.
        tensors_need_capturable: whether torch's multi-tensor functions take tensors for numbers only if capturable.
    """

    every_slot: ClassVar[set[str]] = set()
    """The keys of the slots of all classes; what a user's own optimizer calls its slots is not among them."""

    iterations: str | None = None
    """The key under which the number of calls is stored, or None."""

    own_keys: frozenset[str]
    """The keys of all that the class keeps in the state. There may be others beside them."""

    builds_on_shapes = True
    """Whether `build` needs no more of the parameters than shapes, so that stored slots take no memory twice."""

    slots_have_one_shape = True
    """Whether every slot has its parameter's shape."""

    is_one_of_several = False
    """Whether groups say by name which of several rules they have."""

    shared: frozenset[str] = frozenset()
    """The keys of arrays that a whole step shares, each stored once."""

    whole: Mapping[str, str] = {}
    """The keys of what concerns the whole model, where one optimizer makes the steps of several groups; and what that
    calls it."""

    def __init__(
        self,
        core: type[Optimizer],
        positional: Mapping[str, Any],
        keyword: Mapping[str, Any],
        hyperparameters: Names,
        slots: Mapping[str, str],
        numbers: Mapping[str, str],
        fixed: Mapping[str, Any] | None = None,
        sparse: bool = False,
        eager: bool = False,
        ranges: Mapping[str, Number] | None = None,
        added_later: Sequence[str] = (),
        tensors_need_capturable: bool = False,
    ) -> None:
        self.core = core
        self.tensors_need_capturable = tensors_need_capturable
        self.positional, self.keyword = dict(positional), dict(keyword)
        self.hyperparameters = dict(hyperparameters)
        self.keys = {**numbers, **slots}
        self.slots, self.numbers = frozenset(slots.values()), frozenset(numbers.values())
        self.own_keys = self.slots | self.numbers
        self.fixed = dict(fixed or {})
        self.later = [key for key, value in self.defaults.items() if value is None or isinstance(value, bool)]
        self.later += [*added_later, *self.fixed]
        self.sparse = sparse
        self.eager = eager
        self.ranges = {**hyperparameters_of(core), "learning_rate": LEARNING_RATE, **(ranges or {})}
        for key, names in self.hyperparameters.items():
            # In errors they have the names that their users know.
            several = isinstance(names, tuple)
            for place, name in enumerate(names if several else (names,)):
                if name in self.ranges:
                    self.ranges[name] = copy.copy(self.ranges[name])
                    self.ranges[name].name = f"{key}[{place}]" if several else key
        self.called = core.__name__
        """What errors call the class."""

    def why_not_sparse(self, group: Mapping[str, Any], name: str) -> str | None:
        """Why the gradients of a group must not be sparse, in torch's words for a class; None if they may be."""
        if not self.sparse:
            return (
                f"{name} does not support sparse gradients: make the layer with sparse=False, or take SGD or Adagrad, "
                "which do"
            )
        if group.get("weight_decay") and "sum" in self.slots:
            return "weight_decay option is not compatible with sparse gradients"
        return None

    @property
    def defaults(self) -> dict[str, Any]:
        """What a group holds if nothing else is said."""
        return {**self.positional, **self.keyword, **self.fixed}

    def signature(self) -> inspect.Signature:
        """Torch's own signature of the class."""
        either, only = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature(
            [
                inspect.Parameter("params", either),
                *(inspect.Parameter(name, either, default=value) for name, value in self.positional.items()),
                *(inspect.Parameter(name, only, default=value) for name, value in self.keyword.items()),
            ]
        )

    def state_key(self, name: str) -> str | None:
        """The key under which a cell's content is stored, or None."""
        return self.keys.get(name)

    def slot_dtype(self, key: str, dtype: str) -> str:
        """The name of the dtype in which a slot of a parameter is stored, by the name of the parameter's."""
        return compute_dtype(dtype)

    def slot_shapes(self, key: str, shape: Sequence[int]) -> set[tuple[int, ...]]:
        """The shapes that a slot of a real parameter of some shape may have."""
        return {tuple(shape)}

    def pieces(self, attributes: Mapping[str, Any]) -> set[str]:
        """The keys of all that a core with these attributes keeps in the state."""
        built = self.make(attributes)
        built.build([torch.zeros(1, device="cpu")])
        keys = {self.state_key(named.name) for named in built.named_cells()}
        return {key for key in (*keys, self.iterations) if key is not None}

    def attributes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a group as attributes of the core."""
        found: dict[str, Any] = {}
        for key in values:
            names = self.hyperparameters.get(key)
            if names is None:
                continue
            if isinstance(names, str):
                value = values[key]
                # As most are that change in every step.
                fits = type(value) is float and not isinstance(self.ranges.get(names), Flag)
                found[names] = value if fits else self._fitting(names, value, f"Tensor {key}")
                continue
            items = _as_many(key, names, values[key], self.called)
            for place, (name, value) in enumerate(zip(names, items, strict=True)):
                found[name] = self._fitting(name, value, f"Tensor {key}[{place}]")
        return found

    def _fitting(self, name: str, value: Any, called_tensor: str) -> Any:
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                raise ValueError(f"{called_tensor} must be 1-element")
            # A device is not waited for: there the tensor itself goes into the formula.
            return value.reshape(()) if value.ndim else value
        return bool(value) if isinstance(self.ranges.get(name), Flag) else value

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError, in torch's words, if a hyperparameter is not allowed."""
        for key, names in self.hyperparameters.items():
            if key not in values:
                continue
            value = values[key]
            if not isinstance(names, tuple):
                self._check_one(names, value, _NAMED_IN_ERRORS.get(key, f"{key} value"), f"Tensor {key}")
                continue
            items = _as_many(key, names, value, self.called)
            for index, (name, item) in enumerate(zip(names, items, strict=True)):
                called = f"{_NAMED_IN_ERRORS.get(key, key)} at index {index}"
                self._check_one(name, item, called, f"Tensor {key}[{index}]")
            if len({isinstance(item, torch.Tensor) for item in items}) > 1:
                raise ValueError(f"{key} must be either both floats or both Tensors")

    def _check_one(self, name: str, value: Any, called: str, called_tensor: str) -> None:
        fitting = self._fitting(name, value, called_tensor)
        rule = self.ranges.get(name)
        if rule is None:
            return
        try:
            if value is not None or not rule.optional:
                rule.checked(fitting, self.called)
        except ValueError as error:
            allowed = str(error).partition(", received ")[0]
            remedy = _instead_of_rate(name, value)
            raise ValueError(f"Invalid {called}: {_given(value)} ({allowed}){remedy}.") from None

    def make(self, attributes: Mapping[str, Any]) -> Optimizer:
        """An unbuilt core optimizer."""
        return self.core(convention="torch", **attributes)


def _given(value: Any) -> str:
    """A value as torch shows it; of text that it is text, and of schedules their class."""
    if callable(value) and not isinstance(value, torch.Tensor):
        return of_class(type(value))
    return shown(value, repr if isinstance(value, str) else str)


def _instead_of_rate(name: str, value: Any) -> str:
    """What to do with a schedule, or with rates of several groups, that were given as a rate."""
    if name != "learning_rate":
        return ""
    if isinstance(value, Iterator) or is_model(value):
        return ". Parameters come first, `Adam(model.parameters(), lr=0.001)`"
    if isinstance(value, (Mapping, list, tuple)):
        return ". Groups may have rates of their own, `[{'params': ..., 'lr': ...}, ...]`"
    if isinstance(value, str):
        return f". {instead_of_text(value)}"
    schedule = (
        ". Give a number, and make a scheduler of torch.optim.lr_scheduler for the optimizer, such as "
        "`CosineAnnealingLR(optimizer, T_max=100)`"
    )
    return schedule if callable(value) else ""


def _as_many(key: str, names: Sequence[str], value: Any, owner: str) -> Sequence[Any]:
    """The items of a group's value, as many as there are names."""
    items: Sequence[Any] = value if type(value) is tuple else _items(value)
    if len(items) != len(names):
        example = f"{key}=({', '.join(['0.9', '0.999'][: len(names)])})"
        raise ValueError(f"Invalid {key}: {shown(value)} ({owner}: expected {len(names)} numbers, such as {example}).")
    return items


def _items(values: Any) -> list[Any]:
    """What stands in anything that has a length and places: lists of any kind, arrays, tensors; else nothing."""
    try:
        return [values[place] for place in range(len(values))]
    except (TypeError, LookupError):
        return []
