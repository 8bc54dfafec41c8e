"""optax's functions, each a row: which core class it is, and what its arguments and states are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ... import optimizers
from ...backends.arguments import bound
from ...optimizers.core.synonyms import SYNONYMS
from ..wording import ArgumentsOfCore
from .adapter import RowBehaviour, is_hyperparameter
from .linking import (
    DECAY,
    DECAY_SCHEDULE,
    INFINITY_MOMENTS,
    MAXIMA,
    MEAN_SQUARES,
    MOMENTS,
    NOTHING,
    SCHEDULE,
    SIGNED_MOMENTS,
    SQUARES,
    SQUARES_AND_STEPS,
    TRACE,
    VARIANCES,
    Piece,
)
from .table import HOW, OptaxRow
from .transformation import Transformation, number_of


def _rate(arguments: Mapping[str, Any]) -> Piece:
    return SCHEDULE if callable(arguments["learning_rate"]) else NOTHING


def _decay(arguments: Mapping[str, Any]) -> Piece:
    if not callable(arguments["weight_decay"]):
        return DECAY
    if "count" not in DECAY_SCHEDULE.kind._fields:
        raise ValueError(
            "A schedule of the weight decay needs a count in the state, which optax has from release 0.2.6 on: "
            "install a newer one, or give a number."
        )
    return DECAY_SCHEDULE


def _decayed(arguments: Mapping[str, Any]) -> tuple[Piece, ...]:
    return _decay(arguments), _rate(arguments)


def _rms(arguments: Mapping[str, Any]) -> tuple[Piece, ...]:
    squares = (VARIANCES if arguments["centered"] else MEAN_SQUARES)[bool(arguments["bias_correction"])]
    return squares, _rate(arguments), NOTHING if arguments["momentum"] is None else TRACE


_BETAS = {"b1": "beta_1", "b2": "beta_2", "eps": "epsilon"}
_ADAM = {**_BETAS, "eps_root": "eps_root", "nesterov": "nesterov"}
_DECAYED = {"weight_decay": "weight_decay"}

ROWS = {
    row.name: row
    for row in (
        OptaxRow(
            "sgd",
            optimizers.SGD,
            {"momentum": "momentum", "nesterov": "nesterov"},
            lambda given: (NOTHING if given["momentum"] is None else TRACE, _rate(given)),
        ),
        OptaxRow("adam", optimizers.Adam, _ADAM, lambda given: (MOMENTS, _rate(given))),
        OptaxRow("adamw", optimizers.AdamW, {**_ADAM, **_DECAYED}, lambda given: (MOMENTS, *_decayed(given))),
        OptaxRow("nadam", optimizers.Adam, _ADAM, lambda given: (MOMENTS, _rate(given))),
        OptaxRow("nadamw", optimizers.AdamW, {**_ADAM, **_DECAYED}, lambda given: (MOMENTS, *_decayed(given))),
        OptaxRow(
            "amsgrad",
            optimizers.Adam,
            {
                **_BETAS,
                "eps_root": "eps_root",
                "bias_correction_mu": "bias_correction_mu",
                "bias_correction_nu": "bias_correction_nu",
            },
            lambda given: (MAXIMA, _rate(given)),
            {"amsgrad": True},
        ),
        OptaxRow("radam", optimizers.RAdam, {**_ADAM, "threshold": "threshold"}, lambda given: (MOMENTS, _rate(given))),
        OptaxRow("adamax", optimizers.Adamax, _BETAS, lambda given: (INFINITY_MOMENTS, _rate(given))),
        OptaxRow(
            "adamaxw",
            optimizers.Adamax,
            {**_BETAS, **_DECAYED},
            lambda given: (INFINITY_MOMENTS, *_decayed(given)),
        ),
        OptaxRow(
            "adagrad",
            optimizers.Adagrad,
            {"initial_accumulator_value": "initial_accumulator_value", "eps": "epsilon"},
            lambda given: (SQUARES, _rate(given)),
        ),
        OptaxRow(
            "adadelta",
            optimizers.Adadelta,
            {"rho": "rho", "eps": "epsilon", **_DECAYED},
            lambda given: (_decay(given), SQUARES_AND_STEPS, _rate(given)),
        ),
        OptaxRow(
            "rmsprop",
            optimizers.RMSprop,
            {
                "decay": "rho",
                "eps": "epsilon",
                "initial_scale": "initial_scale",
                "eps_in_sqrt": "eps_in_sqrt",
                "centered": "centered",
                "momentum": "momentum",
                "nesterov": "nesterov",
                "bias_correction": "bias_correction",
            },
            _rms,
        ),
        OptaxRow(
            "lion",
            optimizers.Lion,
            {"b1": "beta_1", "b2": "beta_2", **_DECAYED},
            lambda given: (SIGNED_MOMENTS, *_decayed(given)),
        ),
    )
}
"""By optax's name."""


def function_of(row: OptaxRow) -> Callable[..., Transformation]:
    """optax's function of that name, with its signature and its defaults."""

    def make(*positional: Any, **keywords: Any) -> Transformation:
        remedies = ArgumentsOfCore(row.in_core, HOW)
        found = bound(row.name, row.signature, positional, keywords, SYNONYMS, remedies)
        found.apply_defaults()
        given = found.arguments
        row.check(given)
        numbers = {name: number_of(value) for name, value in given.items() if is_hyperparameter(name, value)}
        behaviour = RowBehaviour(row, numbers, {name: value for name, value in given.items() if name not in numbers})
        # Arguments are checked here rather than at the first update.
        _ = behaviour.core, row.pieces(given)
        return Transformation(behaviour)

    make.__name__ = make.__qualname__ = row.name
    make.__signature__ = row.signature.replace(return_annotation=Transformation)  # type: ignore[attr-defined]  # read by inspect.signature
    names = ", ".join(f"`{theirs}` is `{ours}`" for theirs, ours in row.arguments.items() if theirs != ours)
    make.__doc__ = (
        f'As `optax.{row.name}`: `gradwise.optimizers.{row.algorithm.__name__}` in convention "optax".\n\n'
        f"The arguments and their defaults are optax's; in the core {names or 'they are called the same'}. Slots of "
        "16-bit parameters are float32 unless a dtype is given.\n\n"
        f"Raises:\n    ValueError: as `gradwise.optimizers.{row.algorithm.__name__}`.\n"
    )
    return make
