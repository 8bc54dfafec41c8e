"""Any core optimizer as a torch optimizer."""

from __future__ import annotations

from typing import Any

from ... import optimizers as core
from ...backends import shown
from ...optimizers.core.checks import check_no_state
from ...optimizers.core.conventions import facts_of
from .adapter import TorchAdapter
from .keys import name_at
from .linking import real_view, trainable
from .table import TorchRow, WrappedRow


class Wrapped(TorchAdapter):
    """A core optimizer as a torch optimizer; made by `wrap`."""

    def __init__(self, params: Any, row: WrappedRow) -> None:
        self._own_row = row
        self._start(params, row.defaults)

    def _row(self) -> TorchRow:
        return self._own_row

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As `TorchAdapter`, but clipping by a global norm, which is a group's own, allows one group only."""
        template = self._own_row.template
        together = template.clipnorm if facts_of(template.convention).clipnorm_is_global else template.global_clipnorm
        if together is not None and self.param_groups:
            raise ValueError(
                f"{template.name!r} clips by a global norm and would do so in each group apart: use one group, or "
                "torch.nn.utils.clip_grad_norm_."
            )
        schedule = template.learning_rate_schedule
        given: Any = param_group  # What is no dictionary torch refuses.
        rate = given.get("lr") if isinstance(given, dict) else None
        if schedule is not None and rate is not None and rate != self._own_row.defaults["lr"]:
            raise ValueError(
                f"A parameter group has the rate lr={rate!r}, and the rate of {template.name!r} is a schedule, "
                f"{shown(schedule)}, which would do nothing there: wrap an optimizer for each, or leave lr out."
            )
        super().add_param_group(param_group)
        *earlier, group = self.param_groups
        first = sum(len(each["params"]) for each in earlier)
        self._own_row.see({
            name_at(group, first, place): real_view(parameter.detach())
            for place, parameter in enumerate(group["params"])
            if trainable(parameter)
        })

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_own_row": self._own_row}


def wrap(optimizer: core.Optimizer, params: Any) -> Wrapped:
    """Any core optimizer, your own included, as a torch.optim.Optimizer.

    Each parameter group runs a copy of the optimizer. Its number-like attributes are the groups' keys ("lr" for
    `learning_rate`), so that groups and schedulers can change them; its slots and numbers lie in `state` under their
    own names, each with its parameter. What a whole step shares is stored with every parameter. A schedule of the
    optimizer goes on until a group's "lr" is set to something else; groups show its rate. Patterns of names, as
    `MultiOptimizer` has them, find the parameters where `params` is `model.named_parameters()`.

    Args:
        optimizer: it is copied, and does not change.
        params: as in torch.optim.

    Raises:
        TypeError: if `optimizer` is no core optimizer.
        ValueError: as torch.optim does; also for an optimizer that has state, for a group with a rate of its own where
            the optimizer has a schedule, and for clipping by a global norm with several groups, which it would be
            computed in apart.
    """
    if not isinstance(optimizer, core.Optimizer):
        raise TypeError(f"wrap takes an optimizer of gradwise.optimizers, received {type(optimizer).__name__}.")
    check_no_state(optimizer, "wrap")
    return Wrapped(params, WrappedRow(optimizer))
