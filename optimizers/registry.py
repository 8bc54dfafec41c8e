"""Optimizers by name and as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import describe, shown
from ..backends.pages import Page
from ..backends.wording import did_you_mean
from .adabelief import AdaBelief
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .core.multi import MultiOptimizer
from .core.optimizer import Optimizer
from .core.wrapper import Wrapper
from .lion import Lion
from .nadam import Nadam
from .radam import RAdam
from .rmsprop import RMSprop
from .sgd import SGD
from .wrappers.cautious import Cautious
from .wrappers.cautious_weight_decay import CautiousWeightDecay
from .wrappers.gradient_centralization import GradientCentralization
from .wrappers.lookahead import Lookahead
from .wrappers.mars import MARS
from .wrappers.schedule_free import ScheduleFree

__all__ = [
    "SGD", "AdaBelief", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "RAdam", "RMSprop",
    "deserialize", "get", "serialize",
]  # fmt: skip
__all__ += ["MARS", "Cautious", "CautiousWeightDecay", "GradientCentralization", "Lookahead", "ScheduleFree"]

ALGORITHMS: tuple[type[Optimizer], ...] = (
    SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Adamax, Nadam, RAdam, AdaBelief, Lion,
)  # fmt: skip
"""Every algorithm. Adding one is a file, and here its import, its name and its place."""

WRAPPERS: tuple[type[Wrapper], ...] = (
    Lookahead, Cautious, CautiousWeightDecay, GradientCentralization, MARS, ScheduleFree,
)  # fmt: skip
"""Every wrapper. Adding one is a file, and here its import, its name and its place."""

_OWN: tuple[type[Optimizer], ...] = (*ALGORITHMS, *WRAPPERS, MultiOptimizer)
_BY_NAME = {kind.__name__.lower(): kind for kind in _OWN}


def summary_of(kind: type[Optimizer]) -> str:
    """A line that tells of a class."""
    page = vars(kind)["__doc__"]
    return f"    {kind.__name__:23}{page.summary if isinstance(page, Page) else ''}"


def get(identifier: Any) -> Any:
    """An optimizer from whatever names one.

    Args:
        identifier: a name in any case such as "adam", a dictionary from `serialize`, an optimizer, or None.

    Returns:
        A new optimizer; the same one if it is one already; None for None.

    Raises:
        ValueError: if it names no optimizer.
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return _class_named(identifier, {})()
    if isinstance(identifier, type):
        given, remedy = f"the class {identifier.__name__}", f"Call it, `{identifier.__name__}(...)`"
    else:
        given, remedy = shown(identifier), "Give one, such as Adam(1e-3), or a name, such as 'adam'"
    raise ValueError(f"Expected an optimizer, its name or its configuration, received {given}. {remedy}.")


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer as a dictionary of plain values, without its state.

    Raises:
        TypeError: if it is no optimizer, or its learning rate is a plain function.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"Expected an optimizer, received {describe(optimizer)}.")
    kind = type(optimizer).wrapper if isinstance(optimizer, Wrapper) else type(optimizer)
    own = kind in _OWN
    return {
        "module": "gradwise.optimizers" if own else kind.__module__,
        "class_name": kind.__name__,
        "config": {name: _described(value) for name, value in optimizer.get_config().items()},
        "registered_name": None if own else kind.__name__,
    }


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Optimizer:
    """An optimizer from what `serialize` gave, which does not change. No code in it is run.

    Args:
        config: a dictionary with "class_name" and "config".
        custom_objects: classes by name, for optimizers and schedules that are not gradwise's own.

    Raises:
        ValueError: if the class is unknown, or the configuration does not fit it.
        TypeError: if `custom_objects` is no dictionary of classes by name.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ValueError(f"Expected a dictionary with a 'class_name' and a 'config', received {shown(config)}.")
    if not isinstance(config.get("config", {}), dict):
        name = shown(config["class_name"])
        raise ValueError(f"The 'config' of {name} must be a dictionary, received {shown(config['config'])}.")
    kind = _class_named(config["class_name"], {} if custom_objects is None else custom_objects)
    own = {} if custom_objects is None else custom_objects
    arguments = {name: _read(value, own) for name, value in config.get("config", {}).items()}
    return kind.from_config(arguments, custom_objects)  # type: ignore[no-any-return]  # of this class


def _described(value: Any) -> Any:
    """A value of a configuration, with the optimizers in it as dictionaries."""
    if isinstance(value, Optimizer):
        return serialize(value)
    return [_described(item) for item in value] if isinstance(value, list) else value


def _read(value: Any, custom_objects: Mapping[str, Any]) -> Any:
    """A value of a configuration, with optimizers in the place of their dictionaries; schedules have such too."""
    if isinstance(value, list):
        return [_read(item, custom_objects) for item in value]
    name = value.get("class_name") if isinstance(value, dict) and "config" in value else None
    if not isinstance(name, str) or not (name in custom_objects or name.lower() in _BY_NAME):
        return value
    kind = custom_objects.get(name)
    ours = kind is None or (isinstance(kind, type) and issubclass(kind, Optimizer))
    return deserialize(value, dict(custom_objects)) if ours else value


_LONG = 40
"""Longer names are not repeated as code."""


def _class_named(name: str, custom_objects: dict[str, Any]) -> type[Optimizer]:
    if not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects must be a dictionary of classes by name, received {describe(custom_objects)}.")
    if name in custom_objects:
        kind = custom_objects[name]
        if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
            raise TypeError(f"custom_objects[{name!r}] must be a class of optimizers, received {describe(kind)}.")
        return kind
    try:
        return _BY_NAME[name.lower()]
    except KeyError:
        instead = did_you_mean([name], _BY_NAME)
        kind = name if name.isidentifier() and len(name) < _LONG else "Mine"
        own = f"deserialize(config, custom_objects={{{kind!r}: {kind}}})"
        instead = instead or f" Known are {', '.join(_BY_NAME)}; for a class of your own write `{own}`."
        raise ValueError(f"Unknown optimizer {shown(name)}.{instead}") from None
