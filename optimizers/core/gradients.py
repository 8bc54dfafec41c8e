"""The gradients of an update: read where they lie, unscaled, clipped and summed up one at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, overload

from ...backends import Array, Rows, compute_dtype, ops
from .clipping import global_norm, global_norm_factor, norm_factor, norms
from .conventions import facts_of
from .rule import Rule, StepGradients


class Divisors(NamedTuple):
    """What gradients are divided by, or None where they are not.

    Attributes:
        incoming: each as it comes.
        share: it is divided by this too before it is added to those of its window.
        update: those of an update.
    """

    incoming: float | None
    share: float | None
    update: float | None


def divisors_of(rule: Rule) -> Divisors:
    """What an optimizer's gradients are divided by: the loss scale, and what makes the mean of a window."""
    scale, every = rule.loss_scale_factor, rule.gradient_accumulation_steps
    if every is None:
        return Divisors(scale, None, scale)
    shares = facts_of(rule.convention).gathers_shares
    return Divisors(scale, float(every), None) if shares else Divisors(scale, None, float(every))


class Gradients(StepGradients):
    """The gradients of one update. They are read where they lie, and unscaled and clipped one at a time.

    Args:
        rule: whose gradients they are.
        arrays: one for each parameter, or None.
    """

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        self._rule = rule
        self.arrays = list(arrays)
        self.divisor = rule.gradient_divisor
        self.clipped = rule.clips_norms
        self._factors: dict[int, Any] = {}
        self.present = {index: None for index, array in enumerate(arrays) if array is not None}

    def clip(self, squares: Sequence[Any] | None = None, built: Rule | None = None) -> None:
        """Find the factors that norms give, in one read of all gradients.

        Args:
            squares: of each gradient the sum of its squares, where that is known.
            built: an optimizer like the rule that was built for the parameters, if that was not.
        """
        rule = self._rule
        if not self.clipped:
            return
        facts = facts_of(rule.convention)
        limit = rule.clipnorm if facts.clipnorm_is_global else rule.global_clipnorm
        sums = list(ops.sums_of_squares(map(self.array, self.present)) if squares is None else squares)
        together = None if limit is None else global_norm_factor(global_norm(sums, self.divisor), limit, facts)
        self._factors = dict.fromkeys(self.present, 1.0 if together is None else together)
        limits = rule.own_norm_limits(list(self.present), built or rule)
        if any(limits):
            for index, norm, own in zip(self.present, norms(sums, self.divisor), limits, strict=True):
                if own is not None:
                    factor = norm_factor(norm if together is None else norm * together, *own)
                    self._factors[index] = factor if together is None else together * factor

    def with_arrays(self, arrays: list[Any]) -> Self:
        """The same with others in the place of the arrays that came."""
        other = copy.copy(self)
        other.arrays = arrays
        return other

    def array(self, index: int) -> Array:
        """The gradient as it came; whole, if it came as some rows."""
        if type(self.arrays[index]) is Rows:
            self.arrays[index] = self.arrays[index].whole()
        return self.arrays[index]

    def rows(self, index: int) -> Rows | None:
        """The rows of which the gradient came, until it is needed whole; None if it is whole."""
        gradient = self.arrays[index]
        return gradient if type(gradient) is Rows else None

    def factor(self, index: int) -> Any:
        """What the gradient is multiplied by so that its norm keeps to the limits, or None."""
        return self._factors.get(index)

    def wide(self, index: int) -> Array:
        """The gradient as it came, in the dtype that is computed in."""
        parameter = self._rule.cells.parameters[index]
        return parameter.backend.cast(self.array(index), compute_dtype(parameter.dtype_name))

    def unscaled(self, index: int) -> Array:
        """The gradient in the dtype that is computed in, divided by the divisor."""
        gradient = self.wide(index)
        return gradient if self.divisor is None else ops.divide(gradient, self.divisor)

    def prepared(self, index: int) -> Array:
        """The gradient as `update_step` receives it."""
        return self._rule.prepared_gradient(index, self.wide(index), self.divisor, self.factor(index))

    @overload
    def __getitem__(self, position: int) -> Array: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Array]: ...
    def __getitem__(self, position: int | slice) -> Any:
        indices = list(self.present)[position]
        return [self.prepared(i) for i in indices] if isinstance(indices, list) else self.prepared(indices)

    def __len__(self) -> int:
        return len(self.present)


class Incoming(Gradients):
    """The gradients of one call of a window, as each adds to what is accumulated."""

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        super().__init__(rule, arrays)
        self.divisor, self._share, _ = divisors_of(rule)

    def share(self, index: int) -> Array:
        """The share in the mean of the window or the whole gradient, of which the update takes the mean."""
        gradient = self.unscaled(index)
        return gradient if self._share is None else gradient / self._share


class WindowSums(Gradients):
    """The gradients of a window, as the mean of what was accumulated and what came last."""

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        super().__init__(rule, arrays)
        self._last = Incoming(rule, arrays)

    def with_arrays(self, arrays: list[Any]) -> Self:
        """As `Gradients`."""
        other = copy.copy(self)
        other.arrays, other._last = arrays, self._last.with_arrays(arrays)
        return other

    def array(self, index: int) -> Array:
        """The sum over the window, of shares or of whole gradients."""
        parameter = self._rule.cells.parameters[index]
        accumulator = self._rule.cells.accumulators[index].value
        gradient = self._last.share(index)
        return parameter.backend.cast(accumulator, parameter.backend.dtype_name(gradient)) + gradient

    def rows(self, index: int) -> None:
        """Sums are whole."""
