"""AdaBelief, Adam that divides by how far gradients are from their mean."""

from typing import Any

from .core.algorithm import Array, Flag, Number, Optimizer, Switch, Variable, Variables, ops
from .core.formulas import adaptive_step, rectification, weights_of_direction


class AdaBelief(Optimizer):
    r"""AdaBelief: Adam whose steps are large where gradients are as their mean foretells, and small where they are not.

    With gradient $g_t$, rate $\eta$, decay rates $\beta_1, \beta_2$ and $m_0 = s_0 = 0$:

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad s_t = \beta_2 s_{t-1} + (1-\beta_2) (g_t - m_t)^2 + \epsilon_s,$$
    $$\theta_t = \theta_{t-1} - \eta \frac{m_t / (1-\beta_1^t)}{\sqrt{s_t / (1-\beta_2^t)} + \epsilon}.$$

    $\epsilon_s$ is added to what $s$ keeps, in every step.

    Args:
        learning_rate: $\eta \ge 0$, a schedule or a callable. 0.001.
        beta_1, beta_2: $\beta_1$ and $\beta_2$ in [0, 1). 0.9 and 0.999.
        epsilon: $\epsilon \ge 0$. 1e-16; the paper has 1e-8.
        *common, **keywords: see `Optimizer`. Keyword only:
        variance_epsilon: $\epsilon_s \ge 0$, in convention "optax", where None is 1e-16. In "authors" it is $\epsilon$.
        nesterov: in convention "optax", Nadam's direction; see there. Default False.
        rectify: in convention "authors", RAdam's steps: no denominator while few squares are known. Default True.
        amsgrad: in convention "authors" and without `rectify`, divide by the maximum of $s$. Default False.
        decoupled_weight_decay: in convention "authors": whether `weight_decay` acts on the parameter, rather than
            through the gradient. Default True.
        convention: "optax" or "authors"; neither Keras nor torch has AdaBelief. Default "optax".

    Raises:
        ValueError: see `Optimizer`; also for `amsgrad` with `rectify`, which divides by $s$ itself.

    Conventions: "optax" is the formula above, and has no weight decay. "authors" (adabelief-pytorch 0.2) has $\epsilon$
    in $\epsilon_s$'s place and is rectified: with $\rho_t$ and $r_t$ as in `RAdam` and its threshold of 5, it is

    $$\theta_t = \theta_{t-1} - \eta r_t \sqrt{1-\beta_2^t} \cdot \frac{m_t / (1-\beta_1^t)}{\sqrt{s_t} + \epsilon}
      \quad \text{where } \rho_t \ge 5, \qquad \theta_t = \theta_{t-1} - \eta \frac{m_t}{1-\beta_1^t}
      \quad \text{elsewhere}.$$

    Without `rectify` it is the formula above. A decay that no rate multiplies, and steps that are left out, of which
    the authors' class has switches too, are not there.

    References:
        Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients, arXiv:2010.07468.
    """

    conventions = {
        "optax": {"variance_epsilon": 1e-16, "nesterov": False, "rate_comes_last": True},
        "authors": {"rectify": True, "amsgrad": False, "decoupled_weight_decay": True},
    }
    weight_decay_forms = {"authors": "coupled"}
    rate_comes_last = Switch(False)
    beta_1, beta_2 = Number("[0, 1)"), Number("[0, 1)")
    epsilon, variance_epsilon = Number("[0, inf)"), Number("[0, inf)", optional=True)
    nesterov, rectify, amsgrad, decoupled_weight_decay = Flag(), Flag(), Flag(), Flag(neutral=True)
    eps_root = 0.0

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-16,
        *common: Any, variance_epsilon: float | None = None, nesterov: bool | None = None, rectify: bool | None = None,
        amsgrad: bool | None = None, decoupled_weight_decay: bool | None = None, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, variance_epsilon=variance_epsilon)
        self._resolve(nesterov=nesterov, rectify=rectify, amsgrad=amsgrad)
        self._resolve(decoupled_weight_decay=decoupled_weight_decay)
        self._refuse_if(self.amsgrad and self.rectify, "`amsgrad` has no effect with `rectify`: give rectify=False")

    @property
    def epsilon_is_corrected(self) -> bool:
        """Whether it is added to the corrected root; a rectified step corrects none."""
        return not self.rectify

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self.velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        index = self.variable_index(variable)
        momentum, velocity = self.momentums[index], self.velocities[index]
        self.assign(momentum, ops.moving_average(momentum, gradient, self.beta_1))
        surprise = ops.moving_average_of_squares(velocity, gradient - momentum.value, self.beta_2)
        self.assign(velocity, surprise + (self.epsilon if self.variance_epsilon is None else self.variance_epsilon))

        step = self.step_of(variable)
        square, correction = velocity.value, ops.one_minus_power(self.beta_2, step)
        if self.amsgrad:
            largest = self.velocity_hats[index]
            self.assign(largest, ops.maximum(largest, square))
            square = largest.value
        # The direction is a m + b g: a = 1 / (1 - β₁ᵗ) without a b, or Nadam's; found once for all parameters.
        weights = weights_of_direction(self.beta_1, step, self.nesterov)
        # The step is η (a m + b g) / (√(square / correction) + ε), rectified η r √correction (a m) / (√square + ε).
        rectified = ops.once(rectification, self.beta_2, step, 5.0) if self.rectify else None
        self.assign_sub(
            variable, adaptive_step(self, learning_rate, momentum, gradient, weights, square, correction, rectified)
        )
