"""Gradient clipping by norms: factors for gradients, from sums of squares.

Three forms, all computed from norms in double precision where the library has it:
one tensor's norm, the norm of all gradients together, and (a matter of `updating.py`) the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...backends import Array, ops
from .conventions import ConventionFacts


def norm_factor(norm: Array, limit: float, facts: ConventionFacts) -> Array:
    r"""$c / \max(n, c)$: 1 up to the limit, and what brings the norm down to the limit beyond.

    Where a convention has a margin, $n$ and the margin stand for $n$. An infinite norm gives 0, which leaves NaN where
    the gradient was infinite and 0 elsewhere, as in Keras, torch and optax.
    """
    return limit / ops.maximum(norm + facts.margin_of_norms, limit)


def global_norm_factor(norm: Array, limit: float, facts: ConventionFacts) -> Array:
    """As `norm_factor`; where a convention has it so, NaN for a norm that is not finite: one bad gradient shows
    everywhere.
    """
    factor = norm_factor(norm, limit, facts)
    return factor + (norm - norm) if facts.bad_norm_spreads else factor


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
