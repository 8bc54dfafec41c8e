"""What the engine asks of an optimizer: all that it may read or call of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...backends import Scope, Variable
from .cells import NamedCell
from .configuration import Configured
from .conventions import ConventionFacts


class Rule(Configured):
    """An optimizer, as the engine sees it; what these mean is said in `Optimizer`."""

    name: str
    built: bool
    fusion: Any
    jit_compile: Any
    use_ema: bool
    decay: float
    convention: str
    clipnorm: float | None
    global_clipnorm: float | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None

    @property
    def learning_rate_schedule(self) -> Callable[..., Any] | None:
        """What gives the rate, or None if it is a number."""
        raise NotImplementedError

    @property
    def clips_norms(self) -> bool:
        """Whether gradients are multiplied by a number, so that norms keep to limits."""
        raise NotImplementedError

    @property
    def rate_follows_steps(self) -> bool:
        """Whether the rate depends on how many steps were made, or is what a user's code gives."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """An optimizer of the class, as a configuration says."""
        raise NotImplementedError

    def named_cells(self) -> list[NamedCell]:
        """All that it and those inside it made."""
        raise NotImplementedError

    def step_counters(self) -> set[Variable]:
        """The cells that count steps."""
        raise NotImplementedError

    def rate_at(self, count: Any, rate: Any) -> Any:
        """The rate of the step after so many, where the cell of the rate holds a number."""
        raise NotImplementedError

    def variable_index(self, variable: Any) -> int:
        """The position of a parameter."""
        raise NotImplementedError

    def has_begin_step(self) -> bool:
        """Whether it does anything before a step."""
        raise NotImplementedError

    def begin_step(self, gradients: Sequence[Any], variables: Sequence[Variable], learning_rate: Any) -> None:
        """What a whole step needs once."""
        raise NotImplementedError

    def prepared_gradient(self, index: int, gradient: Any, divisor: Any, factor: Any) -> Any:
        """A parameter's gradient as its update receives it."""
        raise NotImplementedError

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The update rule for one parameter."""
        raise NotImplementedError

    def update_parameter(self, index: int, gradient: Any, rate: Any) -> None:
        """All that happens to one parameter."""
        raise NotImplementedError

    def parameter_scope(self, index: int) -> Scope:
        """A scope in which a parameter and its slots are of the dtype that is computed in."""
        raise NotImplementedError

    def differences(self, variables: Sequence[Variable]) -> list[Any]:
        """For each of some parameters what tells its update from that of others like it: whether it decays."""
        raise NotImplementedError

    def own_norm_limits(self, indices: Sequence[int], built: Rule) -> list[tuple[float, ConventionFacts] | None]:
        """For each of some parameters the limit of its gradient's own norm, and whose facts hold for it; or None."""
        raise NotImplementedError

    def clip_factors(
        self, arrays: Sequence[Any], squares: Sequence[Any] | None = None, built: Rule | None = None
    ) -> dict[int, Any]:
        """What gradients are multiplied by so that their norms keep to the limits."""
        raise NotImplementedError
