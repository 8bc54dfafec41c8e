"""AdamW, Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any, ClassVar

from .adam import Adam
from .hyperparameter import Number


class AdamW(Adam):
    r"""Adam with decoupled weight decay: before each Adam step, $\theta \leftarrow \theta - \eta \lambda \theta$.

    The decay is the one that `weight_decay` means in every optimizer here; only its default differs from Adam's.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        weight_decay: $\lambda \ge 0$; it must be a number. 0.004.
        beta_1: as in `Adam`. 0.9.
        beta_2: as in `Adam`. 0.999.
        epsilon: as in `Adam`. None is the convention's: 1e-7.
        amsgrad: as in `Adam`.
        *common, **keywords: see `Optimizer`, from `clipnorm` on.

    Raises:
        ValueError: if `weight_decay` is None; otherwise see `Optimizer`.

    Conventions: "keras". Keras 2.2 had no AdamW.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {"keras": {"epsilon": 1e-7}}

    weight_decay = Number("[0, inf)")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        amsgrad: bool = False,
        *common: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *common, **keywords)
