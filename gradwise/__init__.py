"""Optimizers written once, run natively on NumPy, PyTorch, JAX and any Array API library.

Importing gradwise imports none of the frameworks: a backend wakes up when the first array of its library arrives.
"""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout the sub-packages are folders beside this one, not below it. Python finds them there once the
# repository's root is on this package's path, so that a checkout also runs without being installed.
if all((Path(__file__).parents[1] / name).exists() for name in ("pyproject.toml", "backends", "optimizers")):
    __path__.append(str(Path(__file__).parents[1]))

from . import backends, optimizers, schedules
from .backends import PerformanceWarning

__all__ = ["PerformanceWarning", "__version__", "backends", "optimizers", "schedules"]
