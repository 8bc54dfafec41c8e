"""Optimizers: one file for each algorithm, written once for every array library."""

from .adam import Adam
from .base import Optimizer

__all__ = ["Adam", "Optimizer"]
