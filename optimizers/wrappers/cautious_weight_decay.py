"""Cautious weight decay: only where the step shrinks the parameter, too."""

from typing import Any

from ..core.algorithm import Array, Flag, Optimizer, Variable, Wrapper, ops


class CautiousWeightDecay(Wrapper):
    r"""Cautious weight decay: a parameter's elements decay only where the step moves them towards zero, too.

    With rate $\eta$, decay $\lambda$, and the step $u$ that the optimizer inside would subtract:

    $$\theta_i \leftarrow \theta_i - \eta \lambda [u_i \theta_i \ge 0] \theta_i - u_i.$$

    Args:
        optimizer: see `Wrapper`; with a `weight_decay` that is decoupled.
        strict: whether an element decays only where $u_i \theta_i > 0$: not where the step is 0. False.
        name: see `Wrapper`.

    Raises:
        TypeError: see `Wrapper`.
        ValueError: see `Wrapper`; also if the optimizer has no weight decay, or one that is coupled.

    The paper and dion have $\ge$, others $>$. Whether signs agree is asked of signs: products may underflow.

    References:
        Chen et al., Cautious Weight Decay, arXiv:2510.12402.
    """

    strict = Flag()

    def __init__(self, optimizer: Optimizer, strict: bool = False, name: str | None = None) -> None:
        super().__init__(optimizer, name)
        self.strict = strict
        self._refuse_if(self.weight_decay is None, "there is no weight decay: give the optimizer one", "weight_decay")
        self._refuse_if(self._decay_is_coupled(), "its weight decay is coupled, so that the rule has it already")

    def descend(self, gradient: Array, variable: Variable, rate: Any) -> None:
        # The decay waits for the step.
        self.update_step(gradient, variable, ops.once(ops.cast, rate, gradient.dtype))

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        delta = self.delta_of(super().update_step, gradient, variable, learning_rate)
        # What was chosen not to decay is the parameter itself, also where a cell stands for it.
        if self._decays(self.cells.parameters[self.variable_index(variable)]):
            # The step is subtracted, so that it shrinks the parameter where the delta has the other sign.
            agreement = -(ops.sign(delta) * ops.sign(variable))
            decays = agreement > 0 if self.strict else agreement >= 0
            share = ops.once(ops.multiply, self.weight_decay, learning_rate)
            self.assign_sub(variable, ops.where(decays, variable * share, ops.zeros_like(delta)))
        self.assign_add(variable, delta)
