"""Gradient clipping by norms: factors for gradients, from sums of squares.

Three forms, all computed from norms in double precision where the library has it:
one tensor's norm, the norm of all gradients together, and (a matter of `update.py`) the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Array, ops

_MARGIN = {"torch": 1e-6}
"""What a convention adds to a norm before it is compared with the limit."""


_SHOWING_EVERYWHERE = ("keras", "keras2")
"""Where a global norm that is not finite makes NaN of all gradients."""


def norm_factor(norm: Array, limit: float, convention: str) -> Array:
    r"""$c / \max(n, c)$: 1 up to the limit, and what brings the norm down to the limit beyond.

    In convention "torch" $n + 10^{-6}$ stands for $n$. An infinite norm gives 0, which leaves NaN where the gradient
    was infinite and 0 elsewhere, as in Keras, torch and optax.
    """
    return limit / ops.maximum(norm + _MARGIN.get(convention, 0.0), limit)


def global_norm_factor(norm: Array, limit: float, convention: str) -> Array:
    """As `norm_factor`; in the conventions of Keras NaN for a norm that is not finite: one bad gradient shows
    everywhere.
    """
    factor = norm_factor(norm, limit, convention)
    return factor + (norm - norm) if convention in _SHOWING_EVERYWHERE else factor


def global_norm(sums: Iterable[Array], divisor: Any) -> Array:
    """The Euclidean norm of all arrays together, from their sums of squares, after a division of each by `divisor`."""
    return _norm(sums, divisor)


def norms(sums: Iterable[Array], divisor: Any) -> list[Array]:
    """The Euclidean norm of each array, from their sums of squares, after a division by `divisor`."""
    return [_norm([squares], divisor) for squares in sums]


def _norm(sums: Iterable[Array], divisor: Any) -> Array:
    total: Array = 0.0
    for squares in sums:
        total = total + squares
    norm = ops.sqrt(total)
    return norm if divisor is None else norm / divisor
