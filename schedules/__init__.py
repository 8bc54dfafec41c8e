"""Learning rates as functions of the step, and plateau control."""

from typing import TYPE_CHECKING, Any

from ..backends.wording import name_files, no_such_name
from .base import LearningRateSchedule
from .composition import Join, Warmup, join, warmup
from .cosine import CosineDecay, CosineDecayRestarts
from .exponential import ExponentialDecay
from .inverse_time import InverseTimeDecay
from .piecewise import PiecewiseConstantDecay
from .plateau import ReduceLROnPlateau
from .polynomial import PolynomialDecay
from .registry import deserialize, serialize

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "Join", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "ReduceLROnPlateau", "Warmup", "deserialize", "join", "serialize",
    "warmup",
]  # fmt: skip

# A file's name is one that people type for the class.
name_files(__name__, __all__)

if not TYPE_CHECKING:  # For which no name would be unknown.

    def __getattr__(name: str) -> Any:
        """No more names, but which was meant."""
        raise no_such_name(__name__, name, __all__)
