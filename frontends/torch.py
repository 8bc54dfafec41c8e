"""torch.optim in gradwise: change the import, keep everything else.

`from gradwise.frontends import torch as optim`, then `optim.Adam(model.parameters(), lr=1e-3)`. Each class has torch's
name, arguments, group keys and state keys, and is a row of a table: the formula is the core class's, in convention
"torch".

What all classes have:

- `lr` >= 0, and where torch has them `betas` in [0, 1), two in anything that has items: numbers, or tensors of one
  element, read in every step.
- `weight_decay` >= 0, through the gradient unless the class says otherwise; `maximize` climbs.
- `foreach` and `fused` are hints: on the CPU a step is one compiled pass over memory, elsewhere multi-tensor functions.
- `capturable` keeps step counts beside the parameters, for CUDA graphs; `differentiable` lets autograd follow the step.

A rate that is a tensor and comes from the constructor is the first group's; later groups have copies of it, and a
parameter that stands twice in a group makes one step, not two. A gradient may have another dtype than its parameter.
Values are checked, also those of groups and those that are changed later; torch checks those of the constructor only.
Where torch.optim is at fault, the result is that of the stated mathematics (tests/test_frontend_torch_defects.py). The
step with which torch's distributed checkpoints ask for state before training makes the state and counts for nothing.

The state is the user's: counts and slots are read from it in every step, whoever wrote them and in whatever way, and
keys of others stay beside them. State that lacks a piece raises KeyError; what a hyperparameter needs that was switched
on meanwhile begins then. Loading copies.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import optim
from torch.optim import Optimizer, lr_scheduler, swa_utils

from .. import optimizers as core
from ..optimizers.conventions import facts_of
from ..optimizers.hyperparameter import Number
from .torch_adapter import Adapter
from .torch_table import Names, OwnRow, Row

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RMSprop", "lr_scheduler",
    "swa_utils", "wrap",
]  # fmt: skip

if hasattr(optim, "swap_in_optimizer_params_and_state"):  # which older releases lack
    from torch.optim import swap_in_optimizer_params_and_state

    __all__ += ["swap_in_optimizer_params_and_state"]

_STEP = {"step": "step"}
_MOMENTS = {"momentum": "exp_avg", "velocity": "exp_avg_sq"}
_COMMON: Names = {"lr": "learning_rate", "weight_decay": "weight_decay", "maximize": "maximize"}
_BETAS: Names = {**_COMMON, "betas": ("beta_1", "beta_2"), "eps": "epsilon"}
_ADAM: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
_ADAM_FLAGS = {"foreach": None, "maximize": False, "capturable": False, "differentiable": False, "fused": None}
_ADAM_STATE = {**_MOMENTS, "velocity_hat": "max_exp_avg_sq"}
_ADAM_NAMES: Names = {**_BETAS, "amsgrad": "amsgrad", "decoupled_weight_decay": "decoupled_weight_decay"}


class SGD(Adapter):
    """`gradwise.optimizers.SGD` in convention "torch", as torch.optim.SGD.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.001.
        momentum: in [0, 1]. 0 keeps no buffer. torch allows more than 1.
        dampening: in [0, 1]. 0. torch allows any number.
        weight_decay: 0.
        nesterov: needs a momentum and no dampening. False.
        maximize, foreach, differentiable, fused: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.

    Sparse gradients do what dense ones do; without momentum and weight decay they touch their own rows only. A
    parameter's step count, which torch does not keep, is not stored either.
    """

    row: ClassVar[Row] = Row(
        core.SGD,
        {"lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
        {"maximize": False, "foreach": None, "differentiable": False, "fused": None},
        {**_COMMON, "momentum": "momentum", "dampening": "dampening", "nesterov": "nesterov"},
        slots={"momentum": "momentum_buffer"},
        numbers={},
        sparse=True,
    )

    def _start(self, params: Any, defaults: dict[str, Any]) -> None:
        if defaults["nesterov"] and (not defaults["momentum"] or defaults["dampening"]):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super()._start(params, defaults)


class Adam(Adapter):
    """`gradwise.optimizers.Adam` in convention "torch", as torch.optim.Adam.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.001.
        betas: (0.9, 0.999). torch refuses integers.
        eps: >= 0. 1e-8.
        weight_decay: 0.
        amsgrad: False. It may be switched on later.
        foreach, maximize, capturable, differentiable, fused: see the module.
        decoupled_weight_decay: let the decay act on the parameter, as in `AdamW`. False.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(
        core.Adam,
        _ADAM,
        {**_ADAM_FLAGS, "decoupled_weight_decay": False},
        _ADAM_NAMES,
        slots=_ADAM_STATE,
        tensors_need_capturable=True,
        numbers=_STEP,
    )


class AdamW(Adam):
    """`gradwise.optimizers.AdamW` in convention "torch", as torch.optim.AdamW.

    Args:
        params, lr, betas, eps, amsgrad: as in `Adam`.
        weight_decay: on the parameter, times the rate. 0.01.
        maximize, foreach, capturable, differentiable, fused: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(
        core.Adam,
        {**_ADAM, "weight_decay": 1e-2},
        {"maximize": False, **_ADAM_FLAGS},
        _ADAM_NAMES,
        slots=_ADAM_STATE,
        tensors_need_capturable=True,
        numbers=_STEP,
        fixed={"decoupled_weight_decay": True},
    )


class NAdam(Adapter):
    """`gradwise.optimizers.Nadam` in convention "torch", as torch.optim.NAdam.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.002.
        betas: (0.9, 0.999).
        eps: >= 0. 1e-8.
        weight_decay: 0.
        momentum_decay: >= 0. 0.004.
        decoupled_weight_decay: let the decay act on the parameter. False.
        foreach, maximize, capturable, differentiable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.

    `mu_product` is kept in float64, so that training goes on after loading as if it had not been interrupted.
    """

    row: ClassVar[Row] = Row(
        core.Nadam,
        {
            "lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "momentum_decay": 4e-3,
            "decoupled_weight_decay": False,
        },
        {"foreach": None, "maximize": False, "capturable": False, "differentiable": False},
        {**_BETAS, "momentum_decay": "schedule_decay", "decoupled_weight_decay": "decoupled_weight_decay"},
        slots=_MOMENTS,
        numbers={"step": "step", "u_product": "mu_product"},
    )  # fmt: skip


class Adamax(Adapter):
    """`gradwise.optimizers.Adamax` in convention "torch", as torch.optim.Adamax.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.002.
        betas: (0.9, 0.999).
        eps: >= 0. 1e-8.
        weight_decay: 0.
        foreach, maximize, differentiable, capturable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(
        core.Adamax,
        {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "foreach": None},
        {"maximize": False, "differentiable": False, "capturable": False},
        _BETAS,
        slots={"momentum": "exp_avg", "norm": "exp_inf"},
        numbers=_STEP,
        ranges={"beta_2": Number("[0, 1)")},
    )


class Adagrad(Adapter):
    """`gradwise.optimizers.Adagrad` in convention "torch", as torch.optim.Adagrad.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.01.
        lr_decay: >= 0. 0.
        weight_decay: 0. Not with sparse gradients.
        initial_accumulator_value: >= 0. 0.
        eps: >= 0. 1e-10.
        foreach, maximize, differentiable, fused: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.

    State exists from the start, also that of groups added later. Sparse gradients touch their own rows only.
    """

    row: ClassVar[Row] = Row(
        core.Adagrad,
        {
            "lr": 1e-2, "lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10,
            "foreach": None,
        },
        {"maximize": False, "differentiable": False, "fused": None},
        {
            **_COMMON, "lr_decay": "lr_decay", "initial_accumulator_value": "initial_accumulator_value",
            "eps": "epsilon",
        },
        slots={"accumulator": "sum"},
        numbers=_STEP,
        sparse=True,
        eager=True,
    )  # fmt: skip

    def share_memory(self) -> None:
        """Move the sums into shared memory, for training by several processes."""
        for entry in self.state.values():
            entry["sum"].share_memory_()


class Adadelta(Adapter):
    """`gradwise.optimizers.Adadelta` in convention "torch", as torch.optim.Adadelta.

    Args:
        params: parameters, named ones, or groups.
        lr: 1.
        rho: in [0, 1]. 0.9.
        eps: >= 0. 1e-6.
        weight_decay: 0.
        foreach, capturable, maximize, differentiable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.
    """

    row: ClassVar[Row] = Row(
        core.Adadelta,
        {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0, "foreach": None},
        {"capturable": False, "maximize": False, "differentiable": False},
        {**_COMMON, "rho": "rho", "eps": "epsilon"},
        slots={"accumulated_grad": "square_avg", "accumulated_delta_var": "acc_delta"},
        numbers=_STEP,
    )


class RMSprop(Adapter):
    """`gradwise.optimizers.RMSprop` in convention "torch", as torch.optim.RMSprop.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.01.
        alpha: in [0, 1]. 0.99. torch allows more than 1.
        eps: >= 0. 1e-8.
        weight_decay: 0.
        momentum: in [0, 1]. 0 keeps no buffer. torch allows more than 1.
        centered: divide by the standard deviation. False.
        capturable, foreach, maximize, differentiable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: see `Adapter`.

    A variance that rounding makes negative counts as 0, where torch goes on with NaN.
    """

    row: ClassVar[Row] = Row(
        core.RMSprop,
        {
            "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0, "centered": False,
            "capturable": False, "foreach": None, "maximize": False, "differentiable": False,
        },
        {},
        {**_COMMON, "alpha": "rho", "eps": "epsilon", "momentum": "momentum", "centered": "centered"},
        slots={"velocity": "square_avg", "momentum": "momentum_buffer", "average_gradient": "grad_avg"},
        numbers=_STEP,
        added_later=["momentum"],
    )  # fmt: skip


class Wrapped(Adapter):
    """A core optimizer as a torch optimizer; made by `wrap`."""

    def __init__(self, params: Any, row: OwnRow) -> None:
        self._own_row = row
        self._start(params, row.defaults)

    def _row(self) -> Row:
        return self._own_row

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As `Adapter`, but clipping by a global norm, which is a group's own, allows one group only."""
        template = self._own_row.template
        together = template.clipnorm if facts_of(template.convention).clipnorm_is_global else template.global_clipnorm
        if together is not None and self.param_groups:
            raise ValueError(
                f"{template.name!r} clips by a global norm and would do so in each group apart: use one group, or "
                "torch.nn.utils.clip_grad_norm_."
            )
        super().add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_own_row": self._own_row}


def wrap(optimizer: core.Optimizer, params: Any) -> Wrapped:
    """Any core optimizer, your own included, as a torch.optim.Optimizer.

    Each parameter group runs a copy of the optimizer. Its number-like attributes are the groups' keys ("lr" for
    `learning_rate`), so that groups and schedulers can change them; its slots and numbers lie in `state` under their
    own names. What a whole step shares is stored with every parameter. A schedule of the optimizer goes on until a
    group's "lr" is set to something else; groups show its rate.

    Args:
        optimizer: it is copied, and does not change.
        params: as in torch.optim.

    Raises:
        TypeError: if `optimizer` is no core optimizer.
        ValueError: as torch.optim does; also for clipping by a global norm with several groups, which it would be
            computed in apart.
    """
    if not isinstance(optimizer, core.Optimizer):
        raise TypeError(f"wrap takes an optimizer of gradwise.optimizers, received {type(optimizer).__name__}.")
    return Wrapped(params, OwnRow(optimizer))
