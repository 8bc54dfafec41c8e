"""Cautious: no step against the gradient that is there now."""

from typing import Any

from ..core.algorithm import Array, Choice, Optimizer, Variable, Wrapper, ops


class Cautious(Wrapper):
    r"""Cautious: elements that the optimizer inside would move against their gradient stay, the others move further.

    With gradient $g$, the step $u$ that the optimizer inside would subtract, and $n$ elements in the tensor:

    $$k_i = [u_i g_i > 0], \qquad \theta_i \leftarrow \theta_i - \frac{u_i k_i}{\max(\sum_j k_j / n, 10^{-3})}.$$

    Args:
        optimizer: see `Wrapper`.
        mask_form: whose definition of what is kept, and of what makes up for the rest: "paper", the formula above, as
            timm has it too; "pytorch_optimizer", $u_i k_i n / (\sum_j k_j + 1)$; "heavyball", where $k_i$ is 1 unless
            $u_i g_i < 0$, zeros count as agreeing, and $u_i k_i n / \max(\sum_j k_j, 1)$. "paper".
        name: see `Wrapper`.

    Raises:
        TypeError, ValueError: see `Wrapper`.

    Whether signs agree is asked of signs: products may underflow. The mean is over a whole tensor, so that parameters
    are updated by whole arrays, not in one pass. Weight decay that is decoupled is no part of $u$.

    References:
        Liang et al., Cautious Optimizers: Improving Training with One Line of Code, arXiv:2411.16085.
    """

    mask_form = Choice(("paper", "pytorch_optimizer", "heavyball"))

    def __init__(self, optimizer: Optimizer, mask_form: str = "paper", name: str | None = None) -> None:
        super().__init__(optimizer, name)
        self.mask_form = mask_form

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        delta = self.delta_of(super().update_step, gradient, variable, learning_rate)
        # The step is subtracted, so that it agrees with the gradient where the delta has the other sign.
        agreement = -(ops.sign(delta) * ops.sign(gradient))
        agrees = agreement >= 0 if self.mask_form == "heavyball" else agreement > 0
        kept = ops.cast(agrees, gradient.dtype)
        if self.mask_form == "paper":
            further = 1 / ops.maximum(ops.mean(kept), 1e-3)
        else:
            count = ops.sum(kept)
            further = variable.size / (count + 1 if self.mask_form == "pytorch_optimizer" else ops.maximum(count, 1.0))
        self.assign_add(variable, delta * kept * further)
