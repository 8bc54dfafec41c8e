"""Optimizers written once, run natively on NumPy, PyTorch, JAX and any Array API library.

    from gradwise import optimizers, schedules             # help(optimizers) lists them; help(optimizers.Adam)
    from gradwise.frontends import torch as optim          # as torch.optim; pip install 'gradwise[torch]'
    from gradwise.frontends import keras, optax            # as keras.optimizers, and as optax
    from gradwise.frontends.scipy import minimize_method   # for scipy.optimize.minimize

Importing gradwise imports none of the frameworks: a backend wakes up when the first array of its library arrives.
"""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout the sub-packages are folders beside this one, not below it. Python finds them there once the
# repository's root is on this package's path, so that a checkout also runs without being installed.
if all((Path(__file__).parents[1] / name).exists() for name in ("pyproject.toml", "backends", "optimizers")):
    __path__.append(str(Path(__file__).parents[1]))

from typing import Any

from . import backends, optimizers, schedules
from .backends import PerformanceWarning
from .backends.wording import no_such_name
from .front_ends import ways_of_front_ends
from .optimizers.core.own_rules.ways import know_ways

__all__ = ["PerformanceWarning", "__version__", "backends", "optimizers", "schedules"]

_ROOMS = ("frontends", "vectors")
"""What is imported by its own name, because it needs what may not be installed."""
_FRONT_ENDS = ("keras", "optax", "scipy", "torch")
_AS = {"keras": " as optimizers", "optax": " as goptax", "torch": " as optim"}
"""As what front ends are imported, so that they do not hide the library of the same name."""

know_ways(ways_of_front_ends)


def __getattr__(name: str) -> Any:
    """The classes of optimizers, too."""
    kind = getattr(optimizers, name, None) if name in optimizers.__all__ else None
    if isinstance(kind, type):
        return kind
    elsewhere = {each: f"write `from gradwise.frontends import {each}{_AS.get(each, '')}`" for each in _FRONT_ENDS}
    elsewhere |= {each: f"import it by its own name, such as `from gradwise import {each}`" for each in _ROOMS}
    raise no_such_name(__name__, name, [*__all__, *optimizers.__all__, *_ROOMS], elsewhere)
