"""What is known of moving averages themselves."""

from __future__ import annotations

from typing import Any

from ...backends import ops
from ...schedules.base import as_float


def effective_length(beta: Any, step: Any) -> Any:
    r"""Of how many equal weights a moving average of $t$ numbers is worth the same:
    $\rho_t = \frac{2}{1-\beta} - 1 - \frac{2 t \beta^t}{1-\beta^t}$, which is below $t$.

    The terms nearly cancel where $t (1-\beta)$ is small: in float32, $\beta = 0.999$ and $t = 6$ lose four digits of
    seven. There it is computed as $t - t L(t a) + L(a)$, with $a = -\log\beta$ and $L(x) = \coth(x/2) - 2/x$.

    Args:
        beta: in [0, 1); a number or a traced scalar.
        step: the count $t \ge 1$; a number or a traced scalar.
    """
    count, total, rate = as_float(step), ops.one_minus_power(beta, step), -ops.log(beta)
    early = count - count * _excess(count * rate) + _excess(rate)
    late = 2 / (1 - beta) - 1 - 2 * count * (1 - total) / total
    return ops.where(count * rate < 1.0, early, late)


def _excess(x: Any) -> Any:
    r"""$\coth(x/2) - 2/x$ for x below 1, by its continued fraction; beyond, it is that of 1."""
    half = ops.minimum(x, 1.0) / 2
    fraction = 15.0
    for odd in (13.0, 11.0, 9.0, 7.0, 5.0, 3.0):
        fraction = odd + half * half / fraction
    return half / fraction
