"""Gradient centralization: gradients of matrices have a mean of zero."""

from typing import Any

from ..core.algorithm import Array, Flag, Optimizer, Variable, Wrapper, ops


class GradientCentralization(Wrapper):
    r"""Gradient centralization: from the gradient of each output its mean is taken off, before the rule.

    With the gradient $G$ of a tensor of two or more axes, whose first one is that of the outputs:

    $$G_i \leftarrow G_i - \operatorname{mean}(G_i),$$

    where the mean is over all other axes. Gradients of one axis or none stay as they are.

    Args:
        optimizer: see `Wrapper`.
        outputs_last: whether the last axis is that of the outputs, as in Keras's and flax's layers; otherwise the
            first is, as in torch's, and as `optax.centralize` takes it. False.
        name: see `Wrapper`.

    Raises:
        TypeError, ValueError: see `Wrapper`.

    It comes after clipping and after weight decay that is coupled. Such parameters are updated by whole arrays, not in
    one pass.

    References:
        Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks, arXiv:2004.01461.
    """

    outputs_last = Flag()

    def __init__(self, optimizer: Optimizer, outputs_last: bool = False, name: str | None = None) -> None:
        super().__init__(optimizer, name)
        self.outputs_last = outputs_last

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        if variable.ndim > 1:
            axes = tuple(range(variable.ndim - 1) if self.outputs_last else range(1, variable.ndim))
            gradient = gradient - ops.mean(gradient, axis=axes, keepdims=True)
        super().update_step(gradient, variable, learning_rate)
