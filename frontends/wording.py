"""What the front ends say of names that they have not, and the core or their framework has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .. import optimizers
from ..optimizers import Optimizer
from ..optimizers.core.hyperparameters import hyperparameters


def arguments_of_core(kind: type[Optimizer], how: str) -> dict[str, str]:
    """For each argument of a class of the core what its user can do in a front end that lacks it.

    Args:
        kind: the class.
        how: an optimizer of the core is taken there, with NAME and ARGUMENT for its name and its argument.
    """
    in_place = how.replace("NAME", kind.__name__)
    return {
        name: f"take {in_place.replace('ARGUMENT', name)}"
        for name in ("learning_rate", *hyperparameters(kind))
    }


def classes_of_core(known: Iterable[str], how: str) -> Mapping[str, str]:
    """For each class of the core that a front end lacks what its user can do there.

    Args:
        known: the names of the front end.
        how: as for `arguments_of_core`.
    """
    lowered = {name.lower() for name in known}
    return {
        name: f"take {how.replace('NAME', name)}"
        for name in (each.__name__ for each in (*optimizers.registry.ALGORITHMS, optimizers.MultiOptimizer))
        if name.lower() not in lowered
    }
