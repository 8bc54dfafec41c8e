"""How one of optax's functions maps to a core optimizer: its arguments, and the parts of its state."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ... import optimizers
from ...optimizers.core.hyperparameters import LEARNING_RATE, hyperparameters
from ...optimizers.core.rates import called_with_step, check_rate
from ..wording import InCore
from .linking import Piece

HOW = "from_optimizer(OPTIMIZER)"
"""How an optimizer of the core is taken."""
_PARAMETERS = "Parameters go to `state = transformation.init(params)`"
_SEVERAL = "optax.partition({'bias': adam(0.01), 'rest': adam(0.001)}, labels)"


def _are_parameters(value: Any) -> bool:
    """Whether something is a dictionary of arrays, or of such."""
    return isinstance(value, Mapping) and any(getattr(leaf, "shape", ()) for leaf in jax.tree.leaves(dict(value)))


@dataclass(frozen=True)
class OptaxRow:
    """One of optax's optimizers.

    Attributes:
        name: its name in optax, where its signature and its defaults come from.
        algorithm: the core's class.
        arguments: for each of optax's arguments what the core calls it.
        pieces: the parts of its state, for given arguments.
        fixed: what the core is told besides.
    """

    name: str
    algorithm: type[optimizers.Optimizer]
    arguments: Mapping[str, str]
    pieces: Callable[[Mapping[str, Any]], tuple[Piece, ...]]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    named: ClassVar[dict[str, OptaxRow]] = {}
    """All that there are, by their names."""

    def __post_init__(self) -> None:
        self.named[self.name] = self

    def __reduce__(self) -> Any:
        return _row_named, (self.name,)

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise ValueError, with optax's names, for an argument that is not allowed."""
        rate, known = given["learning_rate"], self.signature.parameters
        if _are_parameters(rate):
            raise ValueError(f"{self.name}: `learning_rate` comes first, received a tree of arrays. {_PARAMETERS}.")
        if rate is not None or known["learning_rate"].default is not None:
            check_rate(rate, self.name, _PARAMETERS, _SEVERAL)
            if callable(rate):
                called_with_step(rate, self.name)
            else:
                LEARNING_RATE.checked(rate, self.name)
        rules = hyperparameters(self.algorithm)
        for theirs, ours in self.arguments.items():
            # What older releases of optax do not ask for has no default.
            off = theirs not in known or known[theirs].default is None
            value = given.get(theirs)
            if ours in rules and not callable(value) and not (value is None and off):
                rule = copy.copy(rules[ours])
                rule.name = theirs
                rule.checked(value, self.name)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """optax's."""
        return inspect.signature(getattr(optax, self.name))

    @functools.cached_property
    def in_core(self) -> InCore:
        """What in the core is the same, with what has other defaults there."""
        fixed, core = dict(self.fixed), vars(self.algorithm(convention="optax", **self.fixed))
        for name, parameter in self.signature.parameters.items():
            ours, default = self.arguments.get(name), parameter.default
            if ours in core and default is not None and core[ours] != default:
                fixed[ours] = default
        return InCore(self.algorithm, "optax", fixed)


def _row_named(name: str) -> OptaxRow:
    return OptaxRow.named[name]
