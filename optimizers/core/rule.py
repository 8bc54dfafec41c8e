"""What the engine asks of an optimizer: all that it may read or call of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...backends import Array, Rows, Scope, Variable
from .cells import NamedCell
from .configuration import Configured
from .conventions import ConventionFacts
from .prepared import Run


class StepGradients(Sequence[Array]):
    """The gradients of a step, as `update_step` receives them; of the parameters that have one.

    Attributes:
        divisor: what all of them are divided by, or None.
        clipped: whether each is multiplied by a number, so that norms keep to limits.
        present: the positions of the parameters that have one, as keys.
    """

    divisor: float | None
    clipped: bool
    present: dict[int, None]

    def factor(self, index: int) -> Any:
        """What a parameter's is multiplied by so that norms keep to their limits, or None."""
        raise NotImplementedError

    def array(self, index: int) -> Array:
        """A parameter's as it came; whole, if it came as some rows."""
        raise NotImplementedError

    def rows(self, index: int) -> Rows | None:
        """The rows of which a parameter's came, until it is needed whole; None if it is whole."""
        raise NotImplementedError


class OnePass(Protocol):
    """How the steps of an optimizer run in one pass over memory: see `fused/plan.py`.

    Attributes:
        rehearsed: whether the rule, if it is a user's, was tried out.
    """

    rehearsed: bool

    @property
    def lane(self) -> object | None:
        """The short way of the last step, or None."""

    @property
    def free(self) -> bool:
        """Whether what was recorded holds for other numbers of the optimizer."""

    def begin(self, rule: Rule, gradients: StepGradients, rate: Any) -> str | None:
        """Begin a step; why no parameter can be updated in one pass, or None."""

    def prepare(
        self, rule: Rule, gradients: StepGradients, rate: Any, reason: str | None
    ) -> tuple[set[int], Run]:
        """The positions of the parameters that can be updated in one pass, and what updates them."""


class Rule(Configured):
    """An optimizer, as the engine sees it; what these mean is said in `Optimizer`."""

    name: str
    built: bool
    fusion: OnePass
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
    def gradient_divisor(self) -> float | None:
        """What the gradients of an update are divided by, or None."""
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
