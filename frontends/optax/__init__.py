"""optax's functions, with gradwise's arithmetic: `goptax.adam(1e-3, b1=0.9)` is a transformation like any of optax's.

    >>> from gradwise.frontends import optax as goptax
    >>> goptax.adam(1e-3)
    adam(learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, mu_dtype=None, nesterov=False)

Signatures, defaults and states are optax's, so that everything which takes an optax transformation takes these: chains,
masks, `inject_hyperparams`, training loops, checkpoints. The formulas are the core's in convention "optax"; where optax
has a defect, they are not optax's (tests/frontends/optax/test_frontend_optax_defects.py shows each). Complex parameters
and negative rates, which optax takes, are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...backends.wording import no_such_name
from ..needed import needed
from ..wording import classes_of_core

with needed("optax"):
    import optax  # type: ignore[import-untyped]  # it shows mypy no types

from .functions import ROWS, function_of
from .optimizer import TransformationOptimizer, to_optimizer
from .table import HOW as _HOW
from .transformation import Transformation
from .wrapping import CoreState, from_optimizer

globals().update({name: function_of(row) for name, row in ROWS.items()})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Transformation]: ...

else:

    def __getattr__(name: str) -> object:
        """No more names, but which was meant."""
        theirs = [each for each in dir(optax) if each[0] != "_" and each not in ROWS]
        elsewhere = {each: f"take optax.{each} itself" for each in theirs}
        elsewhere |= classes_of_core(__all__, _HOW)
        raise no_such_name(__name__, name, __all__, elsewhere)


__all__ = [
    *ROWS, "CoreState", "Transformation", "TransformationOptimizer", "from_optimizer", "to_optimizer",
]  # fmt: skip
