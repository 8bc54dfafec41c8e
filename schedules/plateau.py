"""Lowering the learning rate when a metric has stopped improving."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from ..backends import backend_of
from ..backends.pages import show_as_page
from . import arguments
from .base import KnowsItsAttributes, tell_arguments

_HIGHER_IS_BETTER = {
    "acc", "accuracy", "auc", "auroc", "bleu", "dice", "f1", "f1score", "fbeta", "iou", "map", "ndcg", "precision",
    "psnr", "r2", "recall", "sensitivity", "specificity", "ssim",
}  # fmt: skip
_LOWER_IS_BETTER = {
    "bce", "crossentropy", "divergence", "err", "error", "hinge", "loss", "mae", "mape", "mse", "msle", "nll",
    "perplexity", "poisson", "rmse",
}  # fmt: skip
_STATE = ("best", "wait", "cooldown_counter")


class HasRate(Protocol):
    """Whatever has a learning rate: an optimizer of gradwise or of a framework."""

    learning_rate: Any
    """Reads as a number, and can be set to one."""


class ReduceLROnPlateau(KnowsItsAttributes):
    r"""Multiplies an optimizer's learning rate by a factor when a metric has stopped improving.

    A value $x$ improves on the best so far, $x^*$, if $x + \delta < x^*$ (mode "min") or $x - \delta > x^*$ (mode
    "max"). After `patience` epochs without improvement

    $$\eta \leftarrow \max(\eta \cdot \text{factor},\; \eta_{\min})$$

    and for the next `cooldown` epochs no epoch counts as one without improvement, although the best value is still
    followed. A value of NaN never improves and never becomes the best.

    Call `step(value)` once an epoch, or `on_epoch_end(epoch, logs)` as Keras does. All arguments are attributes of the
    same name, and so are `best` (None at first), `wait` and `cooldown_counter`.

    Args:
        optimizer: anything whose `learning_rate` reads as a number and can be set to one.
        monitor: the metric's key in `logs`. Default "val_loss".
        factor: in [0, 1). Default 0.1.
        patience: in whole epochs, >= 0. The first epoch without improvement cannot be foreseen, so 0 acts as 1.
            Default 10.
        mode: "min", "max", or "auto": from the words in the name of the metric. Default "auto".
        min_delta: $\delta$, in the unit of the metric; its sign is ignored. Default 1e-4.
        cooldown: in whole epochs, >= 0. Default 0.
        min_lr: $\eta_{\min}$, >= 0. Default 0.
        verbose: 1 prints a line for each reduction. Default 0.

    Raises:
        TypeError: if the optimizer has no learning rate, or a schedule or callable sets it.
        ValueError: if an argument is out of range, or "auto" finds no direction in the metric's name.

    Where hosts differ: in Keras a cooldown of $c$ epochs lasts $c - 1$, a NaN in the first epoch blocks every later
    improvement, "auto" asks the compiled metrics, and a schedule is noticed at the first reduction. torch reduces after
    `patience + 1` epochs without improvement, and its threshold is relative by default.

    Example:
        >>> from types import SimpleNamespace
        >>> from gradwise.schedules import ReduceLROnPlateau
        >>> optimizer = SimpleNamespace(learning_rate=0.5)
        >>> plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
        >>> [plateau.step(loss) for loss in (1.0, 0.9, 0.9, 0.9)], optimizer.learning_rate
        ([False, False, False, True], 0.25)
    """

    def __init__(
        self, optimizer: HasRate, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
        mode: str = "auto", min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0, verbose: int = 0,
    ) -> None:  # fmt: skip
        self.optimizer = optimizer
        self.monitor = arguments.text("monitor", monitor, "val_loss")
        self.factor: float = arguments.number("factor", factor, arguments.BELOW_ONE)
        self.patience: int = arguments.whole_steps("patience", patience)
        self.mode = mode
        self.min_delta: float = abs(arguments.number("min_delta", min_delta))
        self.cooldown: int = arguments.whole_steps("cooldown", cooldown)
        self.min_lr: float = arguments.number("min_lr", min_lr, arguments.NOT_NEGATIVE)
        self.verbose = verbose
        self.direction = _direction(self.monitor, mode)
        self.best: float | None = None
        self.wait = 0
        self.cooldown_counter = 0
        self._current_rate()

    def step(self, value: Any) -> bool:
        """Take note of the metric after an epoch, and lower the rate if it is time.

        Args:
            value: a number, or a 0-d array of any library.

        Returns:
            Whether the rate was lowered.

        Raises:
            ValueError: if the value is not a number.
            TypeError: if the optimizer's rate has become a schedule's.
        """
        return self._noted(_metric(self.monitor, value), "")

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the best value and all counts; Keras's hook."""
        self.best = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> bool:
        """Write the rate of this epoch into `logs["learning_rate"]`, then `step` on the monitored metric; Keras's hook.

        Args:
            epoch: 0-based.
            logs: metrics by name. A metric that is missing is a warning, and the epoch does not count.

        Returns:
            Whether the rate was lowered.
        """
        logs = {} if logs is None else logs
        logs["learning_rate"] = self._current_rate()
        value = logs.get(self.monitor)
        if value is None:
            warnings.warn(
                f"Learning rate reduction is conditioned on metric `{self.monitor}`, which is not available. Available "
                f"metrics are: {', '.join(map(str, logs))}.",
                stacklevel=2,
            )
            return False
        return self._noted(_metric(self.monitor, value), f"Epoch {epoch + 1}: ")

    def in_cooldown(self) -> bool:
        """Whether the next epoch belongs to the cooldown."""
        return self.cooldown_counter > 0

    def state_dict(self) -> dict[str, Any]:
        """What changes from epoch to epoch, for `load_state_dict`: "best", "wait" and "cooldown_counter"."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: if an entry is missing, unknown or no such number; nothing has changed then.
        """
        if set(state) != set(_STATE):
            raise ValueError(f"The state of ReduceLROnPlateau has the entries {list(_STATE)}. Received: {list(state)}")
        best = None if state["best"] is None else _metric("best", state["best"])
        wait = arguments.whole_steps("wait", state["wait"])
        self.cooldown_counter = arguments.whole_steps("cooldown_counter", state["cooldown_counter"])
        self.best, self.wait = best, wait

    def _noted(self, value: float, prefix: str) -> bool:
        cooling = self.in_cooldown()
        if cooling:
            self.cooldown_counter -= 1
        if self._improves(value):
            self.best = value
            self.wait = 0
        elif cooling:
            self.wait = 0
        else:
            self.wait += 1
            return self.wait >= self.patience and self._reduced(prefix)
        return False

    def _improves(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        if self.direction == "min":
            return value + self.min_delta < self.best
        return value - self.min_delta > self.best

    def _reduced(self, prefix: str) -> bool:
        old = self._current_rate()
        if old <= self.min_lr:
            return False
        self.optimizer.learning_rate = max(old * self.factor, self.min_lr)
        # Read back, because an optimizer that keeps its rate in single precision may hold a rounded `min_lr` already.
        new = self._current_rate()
        if not new < old:
            return False
        if self.verbose:
            print(
                f"{prefix}`{self.monitor}` has not improved for {self.wait} epoch{'s' if self.wait > 1 else ''}, "
                f"reducing the learning rate from {old:.6g} to {new:.6g}."
            )
        self.cooldown_counter = self.cooldown
        self.wait = 0
        return True

    def _current_rate(self) -> float:
        optimizer = self.optimizer
        # Asked first: a rate that comes from a callable might not be readable outside of a step.
        schedule = getattr(optimizer, "learning_rate_schedule", None)
        rate = getattr(optimizer, "learning_rate", None) if schedule is None else None
        if schedule is None and callable(rate):
            schedule = rate
        if schedule is not None:
            raise TypeError(
                f"ReduceLROnPlateau lowers a rate that is a number, but the optimizer's rate is set by {schedule!r}: "
                "set optimizer.learning_rate to a number first."
            )
        if rate is None:
            raise TypeError(f"ReduceLROnPlateau needs an optimizer with a learning_rate. Received: {optimizer!r}")
        return float(rate)


def _metric(name: str, value: Any) -> float:
    """The value as a Python float, infinite or NaN if it is."""
    backend = backend_of(value)
    if backend is None or backend.shape(value) != () or isinstance(value, bool):
        raise ValueError(f"The metric {name!r} must be a number. Received: {value!r} of type {type(value).__name__}")
    # By way of NumPy, because float() of a tensor that is being differentiated warns.
    return float(backend.to_numpy(value))


def _direction(monitor: str, mode: str) -> str:
    """ "min" or "max"."""
    if mode in ("min", "max"):
        return mode
    if mode != "auto":
        raise ValueError(f"Argument `mode` must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
    words = set(re.split(r"[^a-z0-9]+", monitor.lower()))
    lower, higher = bool(words & _LOWER_IS_BETTER), bool(words & _HIGHER_IS_BETTER)
    if lower == higher:
        raise ValueError(
            f"The name of the metric {monitor!r} does not tell whether lower or higher is better: pass mode='min' or "
            "mode='max'."
        )
    return "min" if lower else "max"


show_as_page(ReduceLROnPlateau)
tell_arguments(ReduceLROnPlateau, "direction", *_STATE)
