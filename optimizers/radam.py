"""RAdam, Adam whose early steps are rectified."""

from typing import Any

from .adam import Adam
from .core.algorithm import Array, Flag, Number, Optimizer, Switch, Variable, Variables, ops
from .core.formulas import adaptive_step, moments, rectification, weights_of_direction


class RAdam(Optimizer):
    r"""RAdam (rectified Adam): Adam, whose steps are smaller while few squares are known, and at first not adaptive.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$, threshold $\tau$ and $m_0 = v_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,
      \qquad \hat m_t = \frac{m_t}{1-\beta_1^t},$$
    $$\rho_\infty = \frac{2}{1-\beta_2} - 1, \qquad \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1-\beta_2^t}, \qquad
      r_t = \sqrt{\frac{(\rho_t-4)(\rho_t-2)\rho_\infty}{(\rho_\infty-4)(\rho_\infty-2)\rho_t}},$$
    $$\theta_t = \theta_{t-1} - \eta r_t \sqrt{1-\beta_2^t} \cdot \frac{\hat m_t}{\sqrt{v_t} + \epsilon}
      \quad \text{where } \rho_t > \tau, \qquad \theta_t = \theta_{t-1} - \eta \hat m_t \quad \text{elsewhere}.$$

    $\rho_t$ is below $t$ and grows to $\rho_\infty$: with 0.999, steps are adaptive from the sixth on; with a $\beta_2$
    of 2/3 or less they never are.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1, beta_2: $\beta_1$ and $\beta_2$ in [0, 1). 0.9 and 0.999.
        epsilon: $\epsilon \ge 0$. 1e-8.
        *common, **keywords: see `Optimizer`. Keyword only, and but for the last of convention "optax":
        threshold: $\tau \ge 4$, which is the paper's. None is the convention's: 5, as always in "torch".
        nesterov, eps_root: as in `Adam`.
        decoupled_weight_decay: as in `Adam`.
        convention: "torch" or "optax"; Keras has no RAdam. Default "torch".

    Raises:
        ValueError: see `Optimizer`.

    Conventions: "torch" is the formula above, with coupled weight decay unless `decoupled_weight_decay`. "optax" has
    $\epsilon$ at the corrected root, as the paper's Adam, and multiplies by $\eta$ last; an adaptive step is

    $$\theta_t = \theta_{t-1} - \eta r_t \frac{\hat m_t}{\sqrt{v_t / (1-\beta_2^t) + \epsilon_r} + \epsilon}.$$

    "optax" asks for $\rho_t \ge \tau$, which is the same: no floats $\beta_2$ and $\tau$ make them equal.

    References:
        Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, arXiv:1908.03265.
    """

    conventions = {
        "torch": {"decoupled_weight_decay": False},
        "optax": {
            "threshold": 5.0, "eps_root": 0.0, "nesterov": False, "epsilon_is_corrected": True, "rate_comes_last": True,
        },
    }  # fmt: skip
    weight_decay_forms = Adam.weight_decay_forms
    epsilon_is_corrected, rate_comes_last = Switch(False), Switch(False)
    beta_1, beta_2 = Number("[0, 1)"), Number("[0, 1)")
    epsilon, eps_root = Number("[0, inf)"), Number("[0, inf)")
    threshold = Number("[4, inf)", optional=True)
    decoupled_weight_decay, nesterov = Flag(neutral=True), Flag()
    suggested_rate = 0.004

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        *common: Any, threshold: float | None = None, nesterov: bool | None = None, eps_root: float | None = None,
        decoupled_weight_decay: bool | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, eps_root=eps_root, threshold=threshold)
        self._resolve(decoupled_weight_decay=decoupled_weight_decay, nesterov=nesterov)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        momentum, velocity = moments(self, variable, gradient)
        step = self.step_of(variable)
        square, correction = velocity.value, ops.one_minus_power(self.beta_2, step)
        # The direction is a m + b g: a = 1 / (1 - β₁ᵗ) without a b, or Nadam's; found once for all parameters.
        weights = weights_of_direction(self.beta_1, step, self.nesterov)
        # The step is η r (a m + b g) / (√(v / correction + ε_r) + ε), or η (a m + b g) where it is not rectified.
        rectified = ops.once(rectification, self.beta_2, step, 5.0 if self.threshold is None else self.threshold)
        self.assign_sub(
            variable, adaptive_step(self, learning_rate, momentum, gradient, weights, square, correction, rectified)
        )
