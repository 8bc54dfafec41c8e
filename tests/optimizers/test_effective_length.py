"""How many equal weights a moving average is worth: against numbers of many digits, on the host and under jit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.exact import number, one_minus_power

from gradwise.optimizers.core.averages import effective_length

BETAS = (0.0, 1e-30, 0.1, 0.5, 0.6, 0.84, 0.9, 0.99, 0.999, 0.9999, 1 - 2.0**-24)
STEPS = (1, 2, 3, 5, 6, 10, 50, 100, 999, 1001, 3000, 10**5, 2**24)


def expected(beta: float, step: int) -> float:
    limit = 2 / (1 - number(beta)) - 1
    return float(limit - 2 * step * number(beta) ** step / one_minus_power(beta, step))


@pytest.mark.parametrize("beta", BETAS)
def test_nothing_cancels(beta: float) -> None:
    for step in STEPS:
        assert effective_length(beta, step) == pytest.approx(expected(beta, step), rel=2e-15)


@pytest.mark.jax
@pytest.mark.parametrize("traced", [False, True], ids=["beta known", "beta traced"])
def test_nothing_cancels_in_float32_under_jit(traced: bool) -> None:
    import jax

    of_both: Any = jax.jit(effective_length)
    for beta in map(float, np.float32(BETAS)):
        # Like optax's inject_hyperparams, which traces no 0.
        if traced and beta < 0.1:
            continue
        of_step = (lambda step, beta=beta: of_both(beta, step)) if traced else jax.jit(
            lambda step, beta=beta: effective_length(beta, step)
        )  # fmt: skip
        for step in STEPS:
            assert float(of_step(step)) == pytest.approx(expected(beta, step), rel=2e-6), (beta, step)
