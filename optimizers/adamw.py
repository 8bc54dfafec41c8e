"""AdamW, Adam with decoupled weight decay."""

from typing import Any

from .adam import Adam


class AdamW(Adam):
    r"""Adam with decoupled weight decay: before each Adam step, $\theta \leftarrow \theta - \eta \lambda \theta$.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        weight_decay: $\lambda \ge 0$. None is the convention's: 0.004, in "torch" 0.01, in "optax" 0.0001.
        beta_1, beta_2: as in `Adam`. 0.9 and 0.999.
        epsilon, amsgrad: as in `Adam`.
        *common, **keywords: see `Adam` and, from `clipnorm` on, `Optimizer`.

    Raises:
        ValueError: see `Adam`.

    Conventions: as `Adam`, with other defaults; the decay is decoupled in all. Keras 2.2 had no AdamW.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    conventions = {
        "keras": {**Adam.conventions["keras"], "weight_decay": 0.004},
        "torch": {"epsilon": 1e-8, "weight_decay": 0.01},
        "optax": {**Adam.conventions["optax"], "weight_decay": 1e-4},
    }

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float | None = None, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float | None = None, amsgrad: bool = False, *common: Any, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *common, **keywords)
        self._resolve(weight_decay=weight_decay)
