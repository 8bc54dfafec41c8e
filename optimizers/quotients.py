"""Quotients whose factors may be multiplied in another order, which is the same but where something overflows."""

from __future__ import annotations

from typing import Any

from ..backends import Array


def scaled_quotient(numerator: Array, denominator: Array, factor: Any, factor_first: bool) -> Array:
    """The quotient times a factor.

    Args:
        numerator: the numerator.
        denominator: the denominator.
        factor: a scalar.
        factor_first: whether the quotient may overflow where the product does not, so that the factor comes first.
    """
    return numerator * factor / denominator if factor_first else numerator / denominator * factor
