"""Pieces of mathematics that several algorithms share, with what keeps them cheap and free of overflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ...backends import Array, Variable, ops
from .averages import effective_length
from .hyperparameters import in_use


class Moments(Protocol):
    """What an algorithm has that keeps means of gradients and of their squares; see `moments`."""

    beta_1: Any
    beta_2: Any

    @property
    def momentums(self) -> Sequence[Variable]:
        """The means of gradients."""

    @property
    def velocities(self) -> Sequence[Variable]:
        """The means of squares."""

    def variable_index(self, variable: Any) -> int:
        """Where a parameter's are."""

    def assign(self, variable: Variable, value: Any) -> None:
        """Set one."""


class Denominators(Protocol):
    """What an algorithm says of the denominator of its step; see `adaptive_step`."""

    beta_2: Any
    epsilon: Any
    eps_root: Any

    @property
    def epsilon_is_corrected(self) -> Any:
        """Whether epsilon is added to the corrected root."""

    @property
    def rate_comes_last(self) -> Any:
        """Whether the rate multiplies what was divided, even where the quotient overflows."""


def moments(rule: Moments, variable: Variable, gradient: Array) -> tuple[Variable, Variable]:
    r"""A parameter's $m$ and $v$, moved on by a gradient $g$: $m \leftarrow \beta_1 m + (1-\beta_1) g$ and
    $v \leftarrow \beta_2 v + (1-\beta_2) g^2$."""
    index = rule.variable_index(variable)
    momentum, velocity = rule.momentums[index], rule.velocities[index]
    rule.assign(momentum, ops.moving_average(momentum, gradient, rule.beta_1))
    rule.assign(velocity, ops.moving_average_of_squares(velocity, gradient, rule.beta_2))
    return momentum, velocity


def weights_of_direction(beta: Any, step: Any, nesterov: bool) -> tuple[Any, Any]:
    """The weights $a$ and $b$ of momentum and gradient in the direction $a m + b g$; None for a $b$ of 0."""
    weights: tuple[Any, Any] = ops.once(nesterov_weights if nesterov else unbiased_weights, beta, step)
    return weights


def unbiased_weights(beta: Any, step: Any) -> tuple[Any, Any]:
    r"""The weights of momentum and gradient in a direction that is the momentum without the bias that it has because it
    began at 0: $1 / (1-\beta^t)$ and none."""
    return 1 / ops.one_minus_power(beta, step), None


def nesterov_weights(beta: Any, step: Any) -> tuple[Any, Any]:
    r"""The weights of momentum and gradient with which the next step's momentum is foreseen:
    $\beta / (1-\beta^{t+1})$ and $(1-\beta) / (1-\beta^t)$."""
    following = ops.one_minus_power(beta, step + 1)
    return beta / following, (1 - beta) / ops.one_minus_power(beta, step)


def adaptive_step(
    rule: Denominators, learning_rate: Any, momentum: Variable, gradient: Array, weights: tuple[Any, Any],
    square: Array, correction: Any, rectified: tuple[Any, Any] | None = None,
) -> Array:  # fmt: skip
    r"""$\eta (a m + b g) / (\sqrt{v / c + \epsilon_r} + \epsilon)$, without a correction for each element.

    Numerator and denominator are multiplied by $\sqrt c$, so that it is
    $\eta \sqrt c (a m + b g) / (\sqrt{v + c \epsilon_r} + \epsilon \sqrt c)$; an epsilon that is not corrected is added
    as it is. What is the same for all elements is multiplied last: first, it might make a large momentum overflow.

    Args:
        rule: has $\epsilon$, as `epsilon`, and $\epsilon_r$, as `eps_root`.
        learning_rate: $\eta$.
        momentum: $m$.
        gradient: $g$.
        weights: $a$ and $b$; None for a $b$ of 0.
        square: $v$.
        correction: $c$.
        rectified: whether a step is adaptive, and its factor, scalars; a step that is not is $\eta (a m + b g)$.
    """
    if in_use(rule.eps_root):
        square = square + ops.once(ops.multiply, rule.eps_root, correction)
    floor, corrected = ops.smallest_normal(gradient), rule.epsilon_is_corrected
    scalars = learning_rate, correction, *weights, rule.epsilon, corrected, floor
    size, of_momentum, of_gradient, epsilon = ops.once(_size_shares_and_epsilon, *scalars)
    direction = momentum.value if of_gradient is None else momentum * of_momentum + gradient * of_gradient
    denominator = ops.sqrt(square) + epsilon
    if rectified is not None:
        adaptive, factor = rectified
        size = ops.once(_rectified_size, size, correction, adaptive, factor)
        denominator = ops.where(adaptive, denominator, 1.0)
    # Without a memory, the denominator may be epsilon beside a large momentum.
    size_first = not (rule.rate_comes_last or in_use(rule.beta_2))
    return scaled_quotient(direction, denominator, size, size_first)


def _size_shares_and_epsilon(
    learning_rate: Any, correction: Any, of_momentum: Any, of_gradient: Any, epsilon: Any, corrected: bool, floor: float
) -> tuple[Any, Any, Any, Any]:
    """The size of a step, the shares of momentum and gradient in its direction, the epsilon of its denominator.

    The shares are 1 together, so that a direction never overflows, whatever the rate is. And an epsilon that is in use
    stays one: beside any root but that of 0, the `floor` is too small to be seen.
    """
    root = ops.sqrt(correction)
    added = epsilon * root if corrected else epsilon
    if in_use(epsilon):
        added = ops.maximum(added, floor)
    if of_gradient is None:
        return learning_rate * root * of_momentum, None, None, added
    total = of_momentum + of_gradient
    return learning_rate * root * total, of_momentum / total, of_gradient / total, added


def _rectified_size(size: Any, correction: Any, adaptive: Any, factor: Any) -> Any:
    """The size of a step with a factor, or that of one without a denominator."""
    return ops.where(adaptive, size * factor, size / ops.sqrt(correction))


def rectification(beta: Any, step: Any, threshold: Any) -> tuple[Any, Any]:
    r"""Whether a step is adaptive, so many squares being known that $\rho_t > \tau$; and then its factor
    $\sqrt{\frac{(\rho_t-4)(\rho_t-2)\rho_\infty}{(\rho_\infty-4)(\rho_\infty-2)\rho_t}}$, else 1.

    Args:
        beta: the decay rate of the mean of squares, whose effective length is $\rho_t$ and in the end $\rho_\infty$.
        step: $t$.
        threshold: $\tau$.
    """
    length = effective_length(beta, step)
    adaptive = length > threshold
    # Elsewhere nobody asks for the factor, which need not have a value: here it is 1.
    length, limit = ops.where(adaptive, length, 5.0), ops.where(adaptive, 2 / (1 - beta) - 1, 5.0)
    return adaptive, ops.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))


def scaled_quotient(numerator: Array, denominator: Array, factor: Any, factor_first: bool) -> Array:
    """The quotient times a factor.

    Args:
        numerator: the numerator.
        denominator: the denominator.
        factor: a scalar.
        factor_first: whether the quotient may overflow where the product does not, so that the factor comes first. It
            is the same but where something overflows.
    """
    return numerator * factor / denominator if factor_first else numerator / denominator * factor
