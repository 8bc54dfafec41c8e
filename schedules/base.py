"""What all schedules share, and the arithmetic of steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from inspect import BoundArguments, Signature
from typing import Any, ClassVar

from ..backends import HOST, NUMPY, Array, backend_of, describe, ops, value_of
from ..backends.arguments import bound, named_in, signature_of_init
from ..backends.pages import show_as_page
from ..backends.wording import Synonyms, same, which_instead

_LARGEST_INDEX = 2**31 - 1
SYNONYMS: Synonyms = same(
    ("initial_learning_rate", "learning_rate", "lr", "base_lr", "init_value"),
    ("decay_steps", "T_max", "transition_steps", "step_size", "max_decay_steps"),
    ("decay_rate", "gamma"),
    ("end_learning_rate", "end_value", "eta_min", "min_lr"),
    ("first_decay_steps", "T_0"),
    ("t_mul", "T_mult"),
    ("warmup_target", "peak_value"),
)
"""What arguments of schedules are called in Keras, torch and optax."""


class KnowsItsAttributes:
    """What refuses attributes that are none of it: they would do nothing. A user's own class may have others."""

    _settable: ClassVar[tuple[str, ...]]
    """What users set, where a class of this library says it."""

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        known = vars(kind).get("_settable")
        if known is not None and name[0] != "_" and name not in known and not hasattr(kind, name):
            remedy = vars(kind).get("_elsewhere", {}).get(name)
            instead = f": {remedy}." if remedy else f".{which_instead([name], known, 'Its attributes', SYNONYMS)}"
            raise AttributeError(f"{kind.__name__} has no attribute `{name}` to set{instead}")
        super().__setattr__(name, value)


class LearningRateSchedule(KnowsItsAttributes):
    r"""A learning rate $\eta(s)$ as a function of the step $s = 0, 1, 2, \dots$

    A subclass implements `rate(step)` with `gradwise.backends.ops` and operators (or overrides `__call__`, as in
    Keras), and `get_config()` if it is to be saved. Two schedules of one class with the same attributes are equal.

    On a step the host can read, the rate is a Python float computed in double precision. On a traced step it is a
    traced scalar, in the widest floating point that does not widen the parameters: single precision on JAX unless its
    64-bit mode is on, double precision on torch.

    Optimizers ask with the number of calls of `apply` or `step` that were made before. Under
    `gradient_accumulation_steps=n` these are n for each update; a rate by updates is that of the function
    `lambda calls: schedule(calls // n)`.

    Where hosts differ: Keras computes in the dtype of the initial rate, so that an integer rate makes an integer
    schedule (1, 0, 0, ...); here an integer rate is a float.

    Example:
        >>> from gradwise import schedules
        >>> class Halving(schedules.LearningRateSchedule):
        ...     def rate(self, step):
        ...         return 0.5 / (step + 1)
        >>> Halving()(4)
        0.1
    """

    def __call__(self, step: Any) -> Array:
        """The learning rate at a step.

        Args:
            step: the number of calls made so far, >= 0, which with gradient accumulation are more than the updates: a
                number, a 0-d array of any library, a cell, or a traced scalar. An array of steps that the host can
                read, as for a plot, gives the rate at each.

        Returns:
            A rate; for an array of steps a NumPy array of its shape, in double precision.

        Raises:
            TypeError: if the step is no number and no array of them.
        """
        several = _several(step)
        if several is None:
            return scalar(self.rate(step_number(step)))
        rates = [float(self(each)) for each in several.reshape(-1).tolist()]
        return NUMPY.namespace.array(rates, dtype="float64").reshape(several.shape)

    def rate(self, step: Any) -> Array:
        """The rule itself.

        Args:
            step: a Python number, or a traced scalar, on which no Python branch may depend.
        """
        raise NotImplementedError(f"Learning rate schedule '{type(self).__name__}' must override `rate(self, step)`.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dictionary that JSON can hold."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `get_config()` in order to be serializable."
        )

    def _held(self, *names: str) -> dict[str, Any]:
        """The attributes that hold the constructor's arguments."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """A schedule from what `get_config()` gave, which is left unchanged."""
        made: LearningRateSchedule = cls(**config)
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LearningRateSchedule):
            return NotImplemented
        return type(self) is type(other) and _by_value(vars(self)) == _by_value(vars(other))

    def __hash__(self) -> int:
        return hash((type(self), _by_value(vars(self))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


show_as_page(LearningRateSchedule)


def bound_arguments(
    kind: type[KnowsItsAttributes], signature: Signature, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> BoundArguments:
    """The arguments of a class by name.

    Args:
        kind: the class.
        signature: of its constructor, or of another host's.
        arguments, keywords: of a call.

    Raises:
        TypeError: if one does not exist, is missing or given twice, with those that were meant.
    """
    return bound(kind.__name__, signature, arguments, keywords, SYNONYMS, vars(kind).get("_elsewhere"))


def tell_arguments(kind: type[KnowsItsAttributes], *others: str) -> None:
    """Let a class name itself in errors about its arguments, and say which were meant by such as it does not take, and
    by attributes that it has not.

    Args:
        kind: a class with a constructor of its own, whose arguments are its attributes.
        others: further attributes that it has.
    """
    init: Callable[..., None] = kind.__init__
    kind._settable = (*named_in(signature_of_init(kind)), *others)

    @functools.wraps(init)
    def made(self: Any, *arguments: Any, **keywords: Any) -> None:
        try:
            init(self, *arguments, **keywords)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                # It was not even entered.
                bound_arguments(kind, signature_of_init(kind), arguments, keywords)
            raise
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    kind.__init__ = made  # type: ignore[method-assign]  # of the class itself


def _by_value(value: Any) -> Hashable:
    """Something hashable that is equal exactly for equal values; an array, which may be traced, equals only itself."""
    if isinstance(value, (list, tuple)):
        return tuple(_by_value(item) for item in value)
    if isinstance(value, dict):
        return frozenset((key, _by_value(item)) for key, item in value.items())
    if backend_of(value) in (None, HOST) and isinstance(value, Hashable):
        return value
    return ("identity", id(value))


# ---------------------------------------------------------------- steps and rates


def _several(step: Any) -> Any:
    """An array of several steps as one of NumPy, if it is one and the host can read it."""
    value = value_of(step)
    backend = backend_of(value)
    if backend is None or backend is HOST or backend.shape(value) == () or not backend.concrete(value):
        return None
    return backend.to_numpy(value) if backend.dtype_name(value).startswith(("float", "bfloat", "int", "uint")) else None


def step_number(step: Any) -> Any:
    """A step as a Python number where the host can read it, else as the traced scalar it is."""
    value = ops.convert_to_number(step)
    backend = backend_of(value)
    if backend is None or isinstance(value, bool) or backend.shape(value) != ():
        raise TypeError(
            f"A schedule needs one step, a number or a 0-d array, or an array of steps. Received: step={describe(step)}"
        )
    return value


def scalar(value: Any) -> Array:
    """A rate as a Python float where the host can read it."""
    value = ops.convert_to_number(value)
    return float(value) if isinstance(value, int) else value


def as_float(value: Any) -> Array:
    """A number or traced scalar as floating point, as wide as it can be without widening what it will meet."""
    backend = backend_of(value)
    return value if backend is None else backend.widest_float(value)


def exact(count: Any) -> Any:
    """A count of steps as an integer if it is one that an integer step can meet, so that no float rounds the step."""
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    return float(count) if isinstance(count, int) and count > _LARGEST_INDEX else count


def ratio(step: Any, period: Any) -> Array:
    """step / period in floating point."""
    return ops.divide(as_float(step), period)


def whole_periods(step: Any, period: Any) -> Array:
    """floor(step / period).

    Integers divide as integers: compiled code may multiply by a rounded 1 / period instead of dividing, and then the
    floor of an exact multiple is one too small.
    """
    period = exact(period)
    return step // period if isinstance(period, int) else ops.floor(ratio(step, period))


def steps_since(step: Any, begin: Any) -> Array:
    """max(step - begin, 0), written so that unsigned steps do not wrap around."""
    begin = exact(begin)
    if not isinstance(begin, int):
        step = as_float(step)
    return ops.maximum(step, begin) - begin


def power_of(base: Any, exponent: Any) -> Array:
    """base ** exponent for a base >= 0.

    Under tracing through the logarithm, taken on the host: a base near 1 that is rounded to single precision before a
    large power is taken is wrong by the exponent times 3e-8.
    """
    exponent = as_float(exponent)
    if isinstance(exponent, float) or not isinstance(base, float) or base <= 0.0:
        return ops.power(base, exponent)
    return ops.exp(ops.multiply(exponent, ops.log(base)))


def choose(condition: Any, true: Callable[[], Any], false: Callable[[], Any]) -> Array:
    """As `ops.where`, but where the host can read the condition only the branch in force is computed."""
    if isinstance(condition, bool):
        return true() if condition else false()
    return ops.where(condition, true(), false())
