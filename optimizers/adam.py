"""Adam, with AMSGrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..backends import Array, Variable, ops
from .hyperparameter import Flag
from .moments import AdaptiveMoments


class Adam(AdaptiveMoments):
    r"""Adam: steps by the ratio of a moving mean of gradients to the root of a moving mean of their squares.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = v_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\theta_t = \theta_{t-1} - \eta \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \cdot \frac{m_t}{\sqrt{v_t} + \epsilon}.$$

    With `amsgrad`, $\hat v_t = \max(\hat v_{t-1}, v_t)$ stands in place of $v_t$ in the denominator.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1: $\beta_1$ in [0, 1). 0.9.
        beta_2: $\beta_2$ in [0, 1). 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        amsgrad: keep the maximum of $v$.
        *common: see `Optimizer`.
        decoupled_weight_decay: in convention "torch", whether `weight_decay` acts on the parameter rather than through
            the gradient. None is the convention's: False. Elsewhere it always does. This and the following are keyword
            only.
        eps_root: of convention "optax": $\epsilon_r \ge 0$, added inside the root. Default 0.
        nesterov: of convention "optax": Nadam's direction; see there. Not with `amsgrad`. Default False.
        bias_correction_mu: of convention "optax", with `amsgrad`: divide $m_t$ by $1-\beta_1^t$. Default True.
        bias_correction_nu: of convention "optax", with `amsgrad`: divide $v_t$ by $1-\beta_2^t$. Default True.
        **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`; also for `nesterov` with `amsgrad`, and for no bias correction without `amsgrad`.

    Conventions: "keras" and "keras2" are the formula above. $\epsilon$ is not bias-corrected in it: the effective value
    is $\epsilon / \sqrt{1-\beta_2^t}$, so that no constant maps it to "torch" and "optax", which have

    $$\theta_t = \theta_{t-1} - \eta \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t) + \epsilon_r} + \epsilon},$$

    $\epsilon_r$ being 0 in "torch". With `amsgrad` "optax" keeps the maximum of the corrected $v_t / (1-\beta_2^t)$,
    the others that of $v_t$, corrected where it is used. Weight decay is coupled in "torch" unless
    `decoupled_weight_decay`.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980 (Keras has the form before its
        section 2.1); Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, ICLR 2018.
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {
        "keras": {"epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7},
        "torch": {"epsilon": 1e-8, "decoupled_weight_decay": False},
        "optax": {
            "epsilon": 1e-8,
            "eps_root": 0.0,
            "nesterov": False,
            "bias_correction_mu": True,
            "bias_correction_nu": True,
        },
    }
    neutral: ClassVar[dict[str, Any]] = {
        **AdaptiveMoments.neutral,
        "nesterov": False,
        "bias_correction_mu": True,
        "bias_correction_nu": True,
    }
    raw_epsilon: ClassVar[tuple[str, ...]] = ("keras", "keras2")

    amsgrad = Flag()
    nesterov = Flag()
    bias_correction_mu = Flag()
    bias_correction_nu = Flag()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        amsgrad: bool = False,
        *common: Any,
        nesterov: bool | None = None,
        bias_correction_mu: bool | None = None,
        bias_correction_nu: bool | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **keywords)
        self.amsgrad = amsgrad
        self._resolve(nesterov=nesterov, bias_correction_mu=bias_correction_mu, bias_correction_nu=bias_correction_nu)
        owner = type(self).__name__
        if self.nesterov and self.amsgrad:
            raise ValueError(f"{owner}: `nesterov` and `amsgrad` exclude each other.")
        if not (self.amsgrad or (self.bias_correction_mu and self.bias_correction_nu)):
            raise ValueError(
                f"{owner}: `bias_correction_mu` and `bias_correction_nu` can be False with `amsgrad` only."
            )

    def build(self, variables: Sequence[Any]) -> None:
        """Create the moments, and with `amsgrad` the largest second moments."""
        super().build(variables)
        if self.amsgrad:
            self.velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def _weights(self, variable: Variable) -> tuple[Any, Any]:
        step = self.step_of(variable)
        return ops.once(self._weights_looking_ahead if self.nesterov else self._weights_here, step)

    def _weights_here(self, step: Any) -> tuple[Any, Any]:
        return 1 / ops.one_minus_power(self.beta_1, step) if self.bias_correction_mu else 1.0, None

    def _spread(self, index: int, correction: Any) -> tuple[Array, Any]:
        velocity = self.velocities[index].value
        if not self.amsgrad:
            return velocity, correction
        largest = self.velocity_hats[index]
        if self.convention == "optax":
            # Its maximum is of corrected values.
            velocity = velocity / correction if self.bias_correction_nu else velocity
            correction = 1.0
        self.assign(largest, ops.maximum(largest, velocity))
        return largest.value, correction
