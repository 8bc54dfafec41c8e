"""Adam, with AMSGrad."""

from typing import Any

from .core.algorithm import Array, Flag, Number, Optimizer, Switch, Variable, Variables, ops
from .core.formulas import adaptive_step, moments, weights_of_direction


class Adam(Optimizer):
    r"""Adam: steps by the ratio of a moving mean of gradients to the root of a moving mean of their squares.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = v_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2,$$
    $$\theta_t = \theta_{t-1} - \eta \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \cdot \frac{m_t}{\sqrt{v_t} + \epsilon}.$$

    With `amsgrad`, $\hat v_t = \max(\hat v_{t-1}, v_t)$ stands in place of $v_t$ in the denominator.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1, beta_2: $\beta_1$ and $\beta_2$ in [0, 1). 0.9 and 0.999.
        epsilon: $\epsilon \ge 0$. None is the convention's: 1e-7, in "torch" and "optax" 1e-8.
        amsgrad: keep the maximum of $v$.
        *common, **keywords: see `Optimizer`. Keyword only, and but for the last of convention "optax":
        nesterov: Nadam's direction; see there. Not with `amsgrad`. Default False.
        bias_correction_mu, bias_correction_nu: with `amsgrad`, whether $m_t$ and $v_t$ are corrected. Default True.
        eps_root: $\epsilon_r \ge 0$, added inside the root. Default 0.
        decoupled_weight_decay: in convention "torch", where the default is False: `weight_decay` acts on the parameter
            rather than through the gradient, as it does everywhere else.

    Raises:
        ValueError: see `Optimizer`; also for `nesterov` with `amsgrad`, and for no bias correction without `amsgrad`.

    Conventions: "keras" and "keras2" are the formula above. $\epsilon$ is not bias-corrected in it: the effective value
    is $\epsilon / \sqrt{1-\beta_2^t}$, so that no constant maps it to "torch" and "optax", which have

    $$\theta_t = \theta_{t-1} - \eta \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t) + \epsilon_r} + \epsilon},$$

    $\epsilon_r$ being 0 in "torch"; "optax" multiplies by $\eta$ last. With `amsgrad` "optax" keeps the maximum of the
    corrected $v_t / (1-\beta_2^t)$, the others that of $v_t$, corrected where it is used.

    References: Kingma and Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980 (Keras has the form before
    section 2.1); Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, ICLR 2018.
    """

    conventions = {
        "keras": {"epsilon": 1e-7},
        "keras2": {"epsilon": 1e-7},
        "torch": {"epsilon": 1e-8, "epsilon_is_corrected": True, "decoupled_weight_decay": False},
        "optax": {
            "epsilon": 1e-8, "eps_root": 0.0, "nesterov": False, "bias_correction_mu": True, "bias_correction_nu": True,
            "epsilon_is_corrected": True, "rate_comes_last": True, "maximum_is_corrected": True,
        },
    }  # fmt: skip
    older_order = ("learning_rate", "beta_1", "beta_2", "epsilon", "decay", "amsgrad")
    weight_decay_forms = {**Optimizer.weight_decay_forms, "optax": "decoupled"}
    epsilon_is_corrected, rate_comes_last, maximum_is_corrected = Switch(False), Switch(False), Switch(False)
    beta_1, beta_2 = Number("[0, 1)"), Number("[0, 1)")
    epsilon, eps_root = Number("[0, inf)"), Number("[0, inf)")
    decoupled_weight_decay, amsgrad, nesterov = Flag(neutral=True), Flag(), Flag()
    bias_correction_mu, bias_correction_nu = Flag(neutral=True), Flag(neutral=True)

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float | None = None,
        amsgrad: bool = False, *common: Any, nesterov: bool | None = None, bias_correction_mu: bool | None = None,
        bias_correction_nu: bool | None = None, eps_root: float | None = None,
        decoupled_weight_decay: bool | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, eps_root=eps_root)
        self._resolve(decoupled_weight_decay=decoupled_weight_decay, amsgrad=amsgrad, nesterov=nesterov)
        self._resolve(bias_correction_mu=bias_correction_mu, bias_correction_nu=bias_correction_nu)
        self._refuse_if(self.nesterov and self.amsgrad, "`nesterov` and `amsgrad` exclude each other")
        biased = not ((self.bias_correction_mu and self.bias_correction_nu) or self.amsgrad)
        self._refuse_if(biased, "`bias_correction_mu` and `bias_correction_nu` can be False with `amsgrad` only")

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self.velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        momentum, velocity = moments(self, variable, gradient)
        step = self.step_of(variable)
        square, correction = velocity.value, ops.one_minus_power(self.beta_2, step)
        if self.amsgrad:
            largest = self.velocity_hats[self.variable_index(variable)]
            if self.maximum_is_corrected:
                square, correction = square / correction if self.bias_correction_nu else square, 1.0
            self.assign(largest, ops.maximum(largest, square))
            square = largest.value
        # The direction is a m + b g: a = 1 / (1 - β₁ᵗ) without a b, or Nadam's; found once for all parameters.
        weights: Any = (1.0, None)
        if self.bias_correction_mu:
            weights = weights_of_direction(self.beta_1, step, self.nesterov)
        # The step is η (a m + b g) / (√(square / correction + ε_r) + ε), without a division more for each element.
        self.assign_sub(variable, adaptive_step(self, learning_rate, momentum, gradient, weights, square, correction))
