"""optax's functions, each a row: which core class it is, and what its arguments and states are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ... import optimizers
from ...backends.arguments import bound
from ...backends.mathematics import readable
from ...backends.pages import Page, first_sentences
from ...optimizers.core.synonyms import SYNONYMS
from ..wording import ArgumentsOfCore
from .adapter import RowBehaviour, is_hyperparameter
from .linking import (
    BELIEF,
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
        OptaxRow(
            "adabelief",
            optimizers.AdaBelief,
            {**_BETAS, "eps_root": "variance_epsilon", "nesterov": "nesterov"},
            lambda given: (BELIEF, _rate(given)),
        ),
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
    make.__doc__ = _page_of(row)
    return make


_MOMENTS_IN = "the dtype of the moments. None: the parameter's; for 16 bits float32."
_DECAYING = "a tree of bools, or a function of the parameters: which of them decay."
_TOLD = {
    "learning_rate": "a number >= 0, or a schedule: a function of the number of updates.",
    "mu_dtype": _MOMENTS_IN,
    "accumulator_dtype": _MOMENTS_IN,
    "weight_decay": "how strongly parameters shrink in each update, times the rate; or a schedule.",
    "mask": _DECAYING,
    "weight_decay_mask": _DECAYING,
}
"""Of arguments that the core has not, or has otherwise, what they are."""
_AS_IN = re.compile(r"as in `(\w+)`")


def _told_in_core(kind: type, name: str) -> str:
    """What the page of a class, or of one to which it refers, says of an argument."""
    for each in kind.__mro__:
        page = vars(each).get("__doc__")
        told = first_sentences(page.text).get(name) if isinstance(page, Page) else None
        another = None if told is None else _AS_IN.match(told)
        if another is not None:
            return _told_in_core(getattr(optimizers, another[1]), name)
        if told is not None:
            return readable(told.removeprefix('of convention "optax": '))
    return "as in optax."


def _page_of(row: OptaxRow) -> str:
    """The docstring of a function: its arguments with what the core's class says of them."""
    kind = f"gradwise.optimizers.{row.algorithm.__name__}"
    lines = []
    for name, parameter in row.signature.parameters.items():
        ours = row.arguments.get(name, name)
        told = _TOLD.get(name) or _told_in_core(row.algorithm, ours)
        also = f" In the core `{ours}`." if ours != name else ""
        default = "" if parameter.default is parameter.empty else f" Default {parameter.default!r}."
        lines.append(f"    {name}: {told}{also}{default}")
    return f"""As `optax.{row.name}`: `{kind}` in convention "optax".

Args:
{chr(10).join(lines)}

Returns:
    A transformation: `init(params)` gives a state, `update(grads, state, params)` updates and the next state.

Raises:
    TypeError, ValueError: if an argument is unknown or out of its range.

`help({kind})` has the formula.
"""
