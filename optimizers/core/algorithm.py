"""What the file of an algorithm is written with, so that one line imports it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ...backends import Array, Variable, ops
from .hyperparameters import Choice, Count, Fixed, Flag, Number, Switch, in_use
from .optimizer import Optimizer
from .wrapper import Wrapper

__all__ = [
    "Array", "Choice", "Count", "Fixed", "Flag", "Gradients", "Number", "Optimizer", "Switch", "Variable", "Variables",
    "Wrapper", "in_use", "ops",
]  # fmt: skip

Gradients: TypeAlias = Sequence[Array]
"""Those of a step, as `begin_step` is given them."""
Variables: TypeAlias = Sequence[Any]
"""The parameters, as `build` and `begin_step` are given them."""
