"""How a class of keras.optimizers is made from a core class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ...backends.arguments import bound, named_in, not_recognized
from ...optimizers import Optimizer
from ...optimizers.core.older import check_order, hint_at_convention
from ...optimizers.core.rates import check_rate
from ...optimizers.core.synonyms import NO_ARGUMENTS, SYNONYMS
from ..wording import ArgumentsOfCore, InCore
from .schedules import rate_of

COMMON = (
    "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum", "ema_overwrite_frequency",
    "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip
"""The arguments that all of Keras's optimizers have, beside the rate and the name."""

_OLDER = ("lr", "decay")
HOW = "gradwise.frontends.keras.wrap(OPTIMIZER)"
"""How an optimizer of the core is taken."""

_SEVERAL = HOW.replace(
    "OPTIMIZER",
    "gradwise.optimizers.MultiOptimizer({'bias$': {'learning_rate': 0.01}}, default=gradwise.optimizers.Adam(0.001))",
)
_PARAMETERS = "Give the optimizer to the model instead, `model.compile(optimizer=...)`"


class KerasRow:
    """A class of keras.optimizers as it is made from a core class in convention "keras".

    Arguments, their order and their defaults are read from Keras's class; the core calls them the same.

    Args:
        core: the core class.
        original: Keras's class.
        **fixed: arguments of the core that Keras 3 does not have, with the values at which it behaves as Keras 3. They
            can be given, as in Keras 2.
    """

    def __init__(self, core: type[Optimizer], original: type[keras.optimizers.Optimizer], **fixed: Any) -> None:
        self.core, self.fixed = core, fixed
        parameters = list(inspect.signature(original.__init__).parameters.values())[1:]
        self.signature = inspect.Signature(parameters)
        taken = ("learning_rate", "name", *COMMON)
        named = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self.fields = tuple(name for name in named if name not in taken)

    def bound(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, with Keras's defaults.

        Raises:
            TypeError: if there are too many, or one is given twice.
            ValueError: if the rate is given under both of its names, or a number is None.
        """
        name = self.core.__name__
        given = bound(name, self.signature, arguments, keywords, SYNONYMS)
        switches = [field for field in self.fields if isinstance(self.signature.parameters[field].default, bool)]
        order = vars(self.core).get("older_order", ())
        check_order(name, list(self.signature.parameters), order, arguments, switches, stacklevel=4)
        older = f'gradwise.optimizers.{name}(..., convention="keras2")'
        remedy = f"take {HOW.replace('OPTIMIZER', older)}"
        hint_at_convention(name, keywords, remedy, stacklevel=4)
        if "lr" in keywords and "learning_rate" in given.arguments:
            raise ValueError(f"{self.core.__name__}: give `learning_rate` or its older name `lr`, not both.")
        given.apply_defaults()
        found = dict(given.arguments)
        rest = found.pop("kwargs", {})
        for name, value in found.items():
            # In Keras's words. None would be the default, or off, depending on the argument.
            if value is None and name != "epsilon" and isinstance(self.signature.parameters[name].default, float):
                raise ValueError(f"Argument `{name}` must be a float. Received: {name}=None")
        if rest.get("lr") is not None:
            found["learning_rate"] = rest["lr"]
        found["decay"] = rest.get("decay")
        found.update({name: rest.get(name, value) for name, value in self.fixed.items()})
        unknown = {name: value for name, value in rest.items() if name not in (*_OLDER, *self.fixed)}
        if unknown:
            known = [*named_in(self.signature), *_OLDER, *self.fixed]
            remedies = ArgumentsOfCore(InCore(self.core, "keras"), HOW, NO_ARGUMENTS)
            raise ValueError(not_recognized(self.core.__name__, unknown, known, SYNONYMS, remedies))
        return found

    def make(self, values: Mapping[str, Any]) -> Optimizer:
        """An unbuilt core optimizer."""
        check_rate(values["learning_rate"], self.core.__name__, _PARAMETERS, _SEVERAL)
        named = {name: value for name, value in values.items() if name != "learning_rate"}
        return self.core(rate_of(values["learning_rate"]), convention="keras", **named)
