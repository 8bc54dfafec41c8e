"""Learning rates as functions of the step, and plateau control."""

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
