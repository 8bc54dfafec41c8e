"""The classes of torch.optim, each a row: how torch calls what the core has."""

from __future__ import annotations

from typing import Any, ClassVar

from ... import optimizers as core
from ...optimizers.core.hyperparameters import Number
from .adapter import TorchAdapter
from .table import Names, TorchRow

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]

_STEP = {"step": "step"}
_MOMENTS = {"momentum": "exp_avg", "velocity": "exp_avg_sq"}
_COMMON: Names = {"lr": "learning_rate", "weight_decay": "weight_decay", "maximize": "maximize"}
_BETAS: Names = {**_COMMON, "betas": ("beta_1", "beta_2"), "eps": "epsilon"}
_ADAM: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
_ADAM_FLAGS = {"foreach": None, "maximize": False, "capturable": False, "differentiable": False, "fused": None}
_ADAM_STATE = {**_MOMENTS, "velocity_hat": "max_exp_avg_sq"}
_ADAM_NAMES: Names = {**_BETAS, "amsgrad": "amsgrad", "decoupled_weight_decay": "decoupled_weight_decay"}


class SGD(TorchAdapter):
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.

    Sparse gradients do what dense ones do; without momentum and weight decay they touch their own rows only. A
    parameter's step count, which torch does not keep, is not stored either.
    """

    row: ClassVar[TorchRow] = TorchRow(
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
            given = f"momentum={defaults['momentum']!r} and dampening={defaults['dampening']!r}"
            raise ValueError(
                f"{type(self).__name__}: Nesterov momentum requires a momentum and zero dampening, received {given}."
            )
        super()._start(params, defaults)


class Adam(TorchAdapter):
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.
    """

    row: ClassVar[TorchRow] = TorchRow(
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.
    """

    row: ClassVar[TorchRow] = TorchRow(
        core.Adam,
        {**_ADAM, "weight_decay": 1e-2},
        {"maximize": False, **_ADAM_FLAGS},
        _ADAM_NAMES,
        slots=_ADAM_STATE,
        tensors_need_capturable=True,
        numbers=_STEP,
        fixed={"decoupled_weight_decay": True},
    )


class NAdam(TorchAdapter):
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.

    `mu_product` is kept in float64, so that training goes on after loading as if it had not been interrupted.
    """

    row: ClassVar[TorchRow] = TorchRow(
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


class RAdam(TorchAdapter):
    """`gradwise.optimizers.RAdam` in convention "torch", as torch.optim.RAdam.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.001.
        betas: (0.9, 0.999).
        eps: >= 0. 1e-8.
        weight_decay: 0.
        decoupled_weight_decay: let the decay act on the parameter. False.
        foreach, maximize, capturable, differentiable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.
    """

    row: ClassVar[TorchRow] = TorchRow(
        core.RAdam,
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "decoupled_weight_decay": False},
        {"foreach": None, "maximize": False, "capturable": False, "differentiable": False},
        {**_BETAS, "decoupled_weight_decay": "decoupled_weight_decay"},
        slots=_MOMENTS,
        numbers=_STEP,
    )


class Adamax(TorchAdapter):
    """`gradwise.optimizers.Adamax` in convention "torch", as torch.optim.Adamax.

    Args:
        params: parameters, named ones, or groups.
        lr: 0.002.
        betas: (0.9, 0.999).
        eps: >= 0. 1e-8.
        weight_decay: 0.
        foreach, maximize, differentiable, capturable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.
    """

    row: ClassVar[TorchRow] = TorchRow(
        core.Adamax,
        {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "foreach": None},
        {"maximize": False, "differentiable": False, "capturable": False},
        _BETAS,
        slots={"momentum": "exp_avg", "norm": "exp_inf"},
        numbers=_STEP,
        ranges={"beta_2": Number("[0, 1)")},
    )


class Adagrad(TorchAdapter):
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.

    State exists from the start, also that of groups added later. Sparse gradients touch their own rows only.
    """

    row: ClassVar[TorchRow] = TorchRow(
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


class Adadelta(TorchAdapter):
    """`gradwise.optimizers.Adadelta` in convention "torch", as torch.optim.Adadelta.

    Args:
        params: parameters, named ones, or groups.
        lr: 1.
        rho: in [0, 1]. 0.9.
        eps: >= 0. 1e-6.
        weight_decay: 0.
        foreach, capturable, maximize, differentiable: see the module.

    Raises:
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.
    """

    row: ClassVar[TorchRow] = TorchRow(
        core.Adadelta,
        {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0, "foreach": None},
        {"capturable": False, "maximize": False, "differentiable": False},
        {**_COMMON, "rho": "rho", "eps": "epsilon"},
        slots={"accumulated_grad": "square_avg", "accumulated_delta_var": "acc_delta"},
        numbers=_STEP,
    )


class RMSprop(TorchAdapter):
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
        TypeError, ValueError, RuntimeError: as torch.optim; also for values out of range.

    A variance that rounding makes negative counts as 0, where torch goes on with NaN.
    """

    row: ClassVar[TorchRow] = TorchRow(
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
