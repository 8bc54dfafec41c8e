"""Each of optax's optimizers as a row: which core class it is, and where its arguments and states are there."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ... import optimizers
from ...backends import backend_of, describe, is_number, number_of_python, ops
from ...backends.arguments import bound
from ...optimizers.core.configuration import frozen
from ...optimizers.core.hyperparameters import hyperparameters
from ...optimizers.core.rates import check_rate
from ...optimizers.core.state import OptimizerState
from ...optimizers.core.synonyms import SYNONYMS
from ..wording import ArgumentsOfCore, InCore
from .transformation import Behaviour, Transformation, number_of, run
from .trees import Leaves

HOW = "from_optimizer(OPTIMIZER)"
"""How an optimizer of the core is taken."""

_DTYPES = ("mu_dtype", "accumulator_dtype")
"""What optax calls the dtype of the core's slot "momentum"."""
_MASKS = ("mask", "weight_decay_mask")


@dataclass(frozen=True, eq=False)
class Piece:
    """The state of one of the transformations that optax's optimizer is a chain of.

    Attributes:
        like: makes that transformation; only its kind of state is looked at.
        slots: the core's slot for each field but `count`.
    """

    like: Callable[[], optax.GradientTransformation]
    slots: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def kind(self) -> Any:
        """The NamedTuple."""
        return type(jax.eval_shape(self.like().init, ()))


@dataclass(frozen=True)
class OptaxRow:
    """One of optax's optimizers.

    Attributes:
        name: its name in optax, where its signature and its defaults come from.
        algorithm: the core's class.
        arguments: for each of optax's arguments what the core calls it.
        pieces: the parts of its state, for given arguments.
        fixed: what the core is told besides.
    """

    name: str
    algorithm: type[optimizers.Optimizer]
    arguments: Mapping[str, str]
    pieces: Callable[[Mapping[str, Any]], tuple[Piece, ...]]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise ValueError, with optax's names, for an argument that is not allowed."""
        check_rate(given["learning_rate"], self.name) if given["learning_rate"] is not None else None
        rules = hyperparameters(self.algorithm)
        for theirs, ours in self.arguments.items():
            value = given.get(theirs)
            if ours in rules and value is not None and not callable(value):
                rule = copy.copy(rules[ours])
                rule.name = theirs
                rule.checked(value, self.name)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """optax's."""
        signature = inspect.signature(getattr(optax, self.name))
        return signature.replace(return_annotation=Transformation)


    @functools.cached_property
    def in_core(self) -> InCore:
        """What in the core is the same, with what has other defaults there."""
        fixed, core = dict(self.fixed), vars(self.algorithm(convention="optax", **self.fixed))
        for name, parameter in self.signature.parameters.items():
            ours, default = self.arguments.get(name), parameter.default
            if ours in core and default is not None and core[ours] != default:
                fixed[ours] = default
        return InCore(self.algorithm, "optax", fixed)


NOTHING = Piece(optax.identity)
DECAY = Piece(optax.identity)
TRACE = Piece(lambda: optax.trace(0.9), {"trace": "momentum"})
SCHEDULE = Piece(lambda: optax.scale_by_schedule(float))
DECAY_SCHEDULE = Piece(lambda: optax.add_decayed_weights(float))
MOMENTS = Piece(optax.scale_by_adam, {"mu": "momentum", "nu": "velocity"})
MAXIMA = Piece(optax.scale_by_amsgrad, {"mu": "momentum", "nu": "velocity", "nu_max": "velocity_hat"})
INFINITY_MOMENTS = Piece(optax.scale_by_adamax, {"mu": "momentum", "nu": "norm"})
SIGNED_MOMENTS = Piece(optax.scale_by_lion, {"mu": "momentum"})
SQUARES = Piece(optax.scale_by_rss, {"sum_of_squares": "accumulator"})
SQUARES_AND_STEPS = Piece(optax.scale_by_adadelta, {"e_g": "accumulated_grad", "e_x": "accumulated_delta_var"})
MEAN_SQUARES = {
    corrected: Piece(functools.partial(optax.scale_by_rms, bias_correction=corrected), {"nu": "velocity"})
    for corrected in (False, True)
}
VARIANCES = {
    corrected: Piece(
        functools.partial(optax.scale_by_stddev, bias_correction=corrected),
        {"mu": "average_gradient", "nu": "velocity"},
    )
    for corrected in (False, True)
}


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


class RowBehaviour(Behaviour):
    """A row with its arguments.

    Args:
        row: which optimizer of optax it is.
        numbers: those of optax's arguments that JAX may trace, by name.
        others: the other arguments.
    """

    def __init__(self, row: OptaxRow, numbers: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        self.row = row
        self._others = others
        self._arguments = {**others, **numbers}
        super().__init__(numbers, (row.name, frozen(dict(others))))

    def with_numbers(self, values: Iterable[Any]) -> RowBehaviour:
        """The same with other numbers."""
        # JAX and others put anything into a tree: which arguments are numbers is not asked of the new values.
        return RowBehaviour(self.row, dict(zip(self.numbers, values, strict=True)), self._others)

    # ---------------------------------------------------------------- the optimizer

    @functools.cached_property
    def core(self) -> optimizers.Optimizer:
        """The core's optimizer, its weight decay as it is before the first update."""
        decay = self._arguments.get("weight_decay")
        return self._core(0.0 if callable(decay) else decay)

    def _core(self, weight_decay: Any) -> optimizers.Optimizer:
        given = {**self._arguments, "weight_decay": weight_decay}
        # What older releases of optax do not ask for, they do in the convention's own way.
        asked = {theirs: ours for theirs, ours in self.row.arguments.items() if theirs in given}
        named = {ours: ops.convert_to_number(given[theirs]) for theirs, ours in asked.items()}
        if is_number(named.get("momentum")) and named["momentum"] == 0:
            # A momentum of 0 keeps a trace in optax, which counts when a schedule raises it. This is 0 for an array.
            named["momentum"] = math.ulp(0.0)
        dtypes = [given[name] for name in _DTYPES if given.get(name) is not None]
        slots = {slot for piece in self.row.pieces(self._arguments) for slot in piece.slots.values()}
        rate = given["learning_rate"]
        return self.row.algorithm(
            # Without one, optax's adadelta climbs: the minus comes with the rate. The paper's rate is 1.
            1.0 if rate is None else rate,
            **{name: value for name, value in named.items() if value is not None},
            **self.row.fixed,
            convention="optax",
            # Without a momentum optax does not ask for its dtype.
            slot_dtype={"momentum": _dtype_name(dtypes[0])} if dtypes and "momentum" in slots else None,
        )

    def _core_at(self, pieces: list[Any], leaves: Leaves, updates: Any) -> optimizers.Optimizer:
        """The core's optimizer with the weight decay of this update."""
        decay, core = self._arguments.get("weight_decay"), self.core
        if callable(decay):
            [count] = [state.count for piece, state in pieces if piece is DECAY_SCHEDULE]
            core = self._core(decay(count))
        mask = self._mask
        if mask is not None:
            flags = leaves.flags(mask(updates) if _is_function(mask) else mask)
            core = core.unbuilt_copy()
            core.exclude_from_weight_decay(
                var_names=[f"^{re.escape(name)}$" for name, decays in flags.items() if not decays]
            )
        return core

    @property
    def _mask(self) -> Any:
        return next((self._arguments[name] for name in _MASKS if self._arguments.get(name) is not None), None)

    # ---------------------------------------------------------------- states

    def init(self, params: Any) -> Any:
        """A tuple of optax's own states."""
        state = self.core.init(Leaves(params))
        states = []
        for piece in self.row.pieces(self._arguments):
            fields = {}
            for name in piece.kind._fields:
                if name == "count":
                    # A new array each time: no buffer may be in a state twice, or it cannot be donated.
                    fields[name] = jax.numpy.array(state.iterations, jax.numpy.int32)
                else:
                    fields[name] = state.slots[piece.slots[name]]
            states.append(self._wrapped(piece, piece.kind(**fields)))
        return tuple(states)

    def update(self, updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        """As `Optimizer.delta`; arguments that the rule does not know are ignored, as in optax."""
        pieces = self._unwrapped(state)
        trees = [getattr(part, name) for piece, part in pieces for name in piece.slots]
        leaves = Leaves(params if params is not None else next(iter(trees), updates), updates, trees)
        core = self._core_at(pieces, leaves, updates)
        slots, count = {}, 0
        for piece, part in pieces:
            for name, slot in piece.slots.items():
                slots[slot] = getattr(part, name)
                # A tuple has a method of that name.
                count = part.count if "count" in part._fields else count
        schedule, rate = self._arguments["learning_rate"], None
        if callable(schedule):
            [rate] = [schedule(part.count) for piece, part in pieces if piece is SCHEDULE]
        deltas, after = run(core, leaves, updates, OptimizerState(count, None, slots, {}), params, rate)
        states = []
        for piece, part in pieces:
            changed = {"count": optax.safe_increment(part.count)} if "count" in piece.kind._fields else {}
            for name, slot in piece.slots.items():
                changed[name] = after.slots[slot]
            states.append(self._wrapped(piece, part._replace(**changed)))
        return deltas, tuple(states)

    def _wrapped(self, piece: Piece, state: Any) -> Any:
        masked = self._mask is not None and piece in (DECAY, DECAY_SCHEDULE)
        return optax.MaskedState(inner_state=state) if masked else state

    def _unwrapped(self, states: Any) -> list[tuple[Piece, Any]]:
        """The pieces with their states."""
        pieces = self.row.pieces(self._arguments)
        if not isinstance(states, tuple) or len(states) != len(pieces):
            raise ValueError(
                f"The state of {self.row.name} is a tuple of {len(pieces)} states, received {describe(states)}: "
                "write update(grads, state, params), in this order, with the state from init(params)."
            )
        inner = [state.inner_state if isinstance(state, optax.MaskedState) else state for state in states]
        for piece, state in zip(pieces, inner, strict=True):
            if getattr(state, "_fields", None) != piece.kind._fields:
                raise ValueError(
                    f"The state of {self.row.name} has a {piece.kind.__name__} where {describe(state)} was received: "
                    "another transformation made it, or other options; make it with the init(params) of this one."
                )
        return list(zip(pieces, inner, strict=True))

    def __reduce__(self) -> Any:
        return _behaviour_of, (self.row.name, self.numbers, self._others)

    def __repr__(self) -> str:
        shown = {name: ops.convert_to_number(value) for name, value in self._arguments.items()}
        arguments = [f"{name}={shown[name]!r}" for name in self.row.signature.parameters]
        return f"{self.row.name}({', '.join(arguments)})"


def _behaviour_of(name: str, numbers: Mapping[str, Any], others: Mapping[str, Any]) -> RowBehaviour:
    return RowBehaviour(ROWS[name], numbers, others)


def _is_hyperparameter(name: str, value: Any) -> bool:
    """Whether JAX may trace an argument: a number, and not one that stands for a choice."""
    value = number_of_python(value)
    backend = backend_of(value)
    if backend is not None and not backend.is_real(value):
        return False
    return name not in _MASKS and (is_number(value) or getattr(value, "shape", None) == ())


def _is_function(mask: Any) -> bool:
    """Whether a mask is a function of the tree; one that is itself a tree of bools may be callable, as modules are."""
    leaves = jax.tree.leaves(mask)
    return bool(leaves) and all(map(callable, leaves))


def _dtype_name(dtype: Any) -> str:
    """A dtype by its name, as JAX would store it."""
    return str(jax.dtypes.canonicalize_dtype(dtype).name)


def function_of(row: OptaxRow) -> Callable[..., Transformation]:
    """optax's function of that name, with its signature and its defaults."""

    def make(*positional: Any, **keywords: Any) -> Transformation:
        remedies = ArgumentsOfCore(row.in_core, HOW)
        found = bound(row.name, row.signature, positional, keywords, SYNONYMS, remedies)
        found.apply_defaults()
        given = found.arguments
        row.check(given)
        numbers = {name: number_of(value) for name, value in given.items() if _is_hyperparameter(name, value)}
        behaviour = RowBehaviour(row, numbers, {name: value for name, value in given.items() if name not in numbers})
        # Arguments are checked here rather than at the first update.
        _ = behaviour.core, row.pieces(given)
        return Transformation(behaviour)

    make.__name__ = make.__qualname__ = row.name
    make.__signature__ = row.signature  # type: ignore[attr-defined]  # read by inspect.signature
    names = ", ".join(f"`{theirs}` is `{ours}`" for theirs, ours in row.arguments.items() if theirs != ours)
    make.__doc__ = (
        f'As `optax.{row.name}`: `gradwise.optimizers.{row.algorithm.__name__}` in convention "optax".\n\n'
        f"The arguments and their defaults are optax's; in the core {names or 'they are called the same'}. Slots of "
        "16-bit parameters are float32 unless a dtype is given.\n\n"
        f"Raises:\n    ValueError: as `gradwise.optimizers.{row.algorithm.__name__}`.\n"
    )
    return make
