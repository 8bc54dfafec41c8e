"""optax's functions, with gradwise's arithmetic: `goptax.adam(1e-3, b1=0.9)` is a transformation like any of optax's.

    >>> from gradwise.frontends import optax as goptax
    >>> goptax.adam(1e-3)
    adam(learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, mu_dtype=None, nesterov=False)

Signatures, defaults and states are optax's, so that everything which takes an optax transformation takes these: chains,
masks, `inject_hyperparams`, training loops, checkpoints. The formulas are the core's in convention "optax"; where optax
has a defect, they are not optax's (tests/test_frontend_optax_defects.py shows each). Complex parameters and negative
rates, which optax takes, are refused.
"""

from __future__ import annotations

from collections.abc import Callable

from .optimizer import TransformationOptimizer, to_optimizer
from .table import ROWS, function_of
from .transformation import CoreState, Transformation, from_optimizer

_Function = Callable[..., Transformation]

adadelta: _Function = function_of(ROWS["adadelta"])
adagrad: _Function = function_of(ROWS["adagrad"])
adam: _Function = function_of(ROWS["adam"])
adamax: _Function = function_of(ROWS["adamax"])
adamaxw: _Function = function_of(ROWS["adamaxw"])
adamw: _Function = function_of(ROWS["adamw"])
amsgrad: _Function = function_of(ROWS["amsgrad"])
nadam: _Function = function_of(ROWS["nadam"])
nadamw: _Function = function_of(ROWS["nadamw"])
rmsprop: _Function = function_of(ROWS["rmsprop"])
sgd: _Function = function_of(ROWS["sgd"])

__all__ = [
    *ROWS, "CoreState", "Transformation", "TransformationOptimizer", "from_optimizer", "to_optimizer",
]  # fmt: skip
