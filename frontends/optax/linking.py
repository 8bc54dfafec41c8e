"""The states of optax's optimizers, which are chains: what in them stands for which slot of the core."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import optax  # type: ignore[import-untyped]  # it shows mypy no types

from ...backends import describe
from ...optimizers.core.state import OptimizerState


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


Pairs: TypeAlias = "Sequence[tuple[Piece, Any]]"
"""The pieces of an optimizer with their states."""

NOTHING = Piece(optax.identity)
DECAY = Piece(optax.identity)
TRACE = Piece(lambda: optax.trace(0.9), {"trace": "momentum"})
SCHEDULE = Piece(lambda: optax.scale_by_schedule(float))
DECAY_SCHEDULE = Piece(lambda: optax.add_decayed_weights(float))
MOMENTS = Piece(optax.scale_by_adam, {"mu": "momentum", "nu": "velocity"})
MAXIMA = Piece(optax.scale_by_amsgrad, {"mu": "momentum", "nu": "velocity", "nu_max": "velocity_hat"})
INFINITY_MOMENTS = Piece(optax.scale_by_adamax, {"mu": "momentum", "nu": "norm"})
BELIEF = Piece(optax.scale_by_belief, {"mu": "momentum", "nu": "velocity"})
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


def new_states(pieces: Iterable[Piece], state: OptimizerState, masked: bool) -> tuple[Any, ...]:
    """optax's states of an optimizer that has made no update.

    Args:
        pieces: of the optimizer.
        state: the core's.
        masked: whether some parameters do not decay.
    """
    states = []
    for piece in pieces:
        fields = {}
        for name in piece.kind._fields:
            if name == "count":
                # A new array each time: no buffer may be in a state twice, or it cannot be donated.
                fields[name] = jax.numpy.array(state.iterations, jax.numpy.int32)
            else:
                fields[name] = state.slots[piece.slots[name]]
        states.append(_wrapped(piece, piece.kind(**fields), masked))
    return tuple(states)


def pairs_of(pieces: Sequence[Piece], states: Any, owner: str) -> Pairs:
    """The pieces of an optimizer with the states that a user gave.

    Args:
        pieces: of the optimizer.
        states: what was given.
        owner: the optimizer's name, for errors.

    Raises:
        ValueError: if they are not those of the pieces.
    """
    if not isinstance(states, tuple) or len(states) != len(pieces):
        raise ValueError(
            f"The state of {owner} is a tuple of {len(pieces)} states, received {describe(states)}: "
            "write update(grads, state, params), in this order, with the state from init(params)."
        )
    inner = [state.inner_state if isinstance(state, optax.MaskedState) else state for state in states]
    for piece, state in zip(pieces, inner, strict=True):
        if getattr(state, "_fields", None) != piece.kind._fields:
            raise ValueError(
                f"The state of {owner} must have a {piece.kind.__name__}, received {_kind_of(state)}: it belongs to "
                "another transformation. Make it with `transformation.init(params)` of this one."
            )
    return list(zip(pieces, inner, strict=True))


def _kind_of(state: Any) -> str:
    return type(state).__name__ if hasattr(state, "_fields") else describe(state)


def core_state(pairs: Pairs) -> OptimizerState:
    """The core's state, of which optax has no more than the count and the slots."""
    slots: dict[str, Any] = {}
    count: Any = 0
    for piece, state in pairs:
        for name, slot in piece.slots.items():
            slots[slot] = getattr(state, name)
            # A tuple has a method of that name.
            count = state.count if "count" in state._fields else count
    return OptimizerState(count, None, slots, {})


def next_states(pairs: Pairs, after: OptimizerState, masked: bool) -> tuple[Any, ...]:
    """optax's states after an update.

    Args:
        pairs: the pieces with their states before it.
        after: the core's state.
        masked: whether some parameters do not decay.
    """
    states = []
    for piece, state in pairs:
        changed = {"count": optax.safe_increment(state.count)} if "count" in piece.kind._fields else {}
        for name, slot in piece.slots.items():
            changed[name] = after.slots[slot]
        states.append(_wrapped(piece, state._replace(**changed), masked))
    return tuple(states)


def count_of(pairs: Pairs, kind: Piece) -> Any:
    """How many updates a piece has counted that is there once."""
    [count] = [state.count for piece, state in pairs if piece is kind]
    return count


def _wrapped(piece: Piece, state: Any, masked: bool) -> Any:
    return optax.MaskedState(inner_state=state) if masked and piece in (DECAY, DECAY_SCHEDULE) else state
