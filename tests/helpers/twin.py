"""A second implementation of every algorithm: element by element, in numbers of 50 digits, slow and obvious.

It was written from descriptions of Keras 3.15, Keras 2.2.4, torch.optim and optax and from the papers, not from
gradwise. Nothing here is shared with gradwise, NumPy's arithmetic included. The rules are in the files of `rules`, one
for each algorithm; here is what is around them.

`like_keras=True` follows Keras 3 where gradwise documents that it does not:

- Nadam's `schedule_decay` is 1, not 0.004, by default.
- The moving average of a parameter is updated before the constraint, and on every call; gradwise does so after the
  constraint, and on the calls that update parameters (with gradient accumulation, on the last one of a window).
- So is overwriting a parameter with its average, which Keras does on every call of a window.
- A parameter whose gradient is None on the last call of a window loses what it had accumulated; in gradwise that
  enters the next window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rules import STEPS_OF_EACH, Now, Schedule, Slots, all_facts

from helpers.exact import distance_from_tie, mp, number, rounded

COMMON = {
    "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False, "ema_momentum": 0.99,
    "ema_overwrite_frequency": None, "loss_scale_factor": None, "gradient_accumulation_steps": 1, "decay": 0.0,
}  # fmt: skip


class Element:
    """One number of a parameter, and what is remembered about it. Slots start from zero, unless given."""

    def __init__(self, value: Any, slots: Slots) -> None:
        self.w = number(value)
        self.slots = {name: number(initial) for name, initial in slots.items()}
        self.average = self.accumulated = number(0)


class Twin:
    """An optimizer for parameters given as lists of numbers.

    Args:
        iterations: how many updates there have been; where each parameter counts its own, these too, unless
            `counts` is set afterwards.
        dtype: parameters are rounded to it, to nearest even, after each update ("bfloat16" or "float16"). Slots are
            not.
    """

    def __init__(
        self,
        algorithm: str,
        arguments: Mapping[str, Any],
        convention: str,
        parameters: Mapping[str, Sequence[Any]],
        constraint: Callable[[Any], Any] | None = None,
        like_keras: bool = False,
        iterations: int = 0,
        dtype: str | None = None,
    ) -> None:
        self.facts, self.convention = all_facts()[algorithm], convention
        self.constraint, self.like_keras, self.dtype = constraint, like_keras, dtype
        given = {**COMMON, **self.facts.hyperparameters[convention]}
        unknown = set(arguments) - set(given)
        if unknown:
            raise ValueError(f"{algorithm} of {convention} has no {', '.join(sorted(unknown))}")
        if like_keras and self.facts.keras is not None:
            arguments = {**arguments, **self.facts.keras.given}
        given.update(arguments)
        # Numbers become exact; flags, counts of calls, schedules and None stay what they are.
        self.h = {name: number(value) if isinstance(value, float) else value for name, value in given.items()}
        slots = dict.fromkeys(self.facts.slots(self.h), 0.0)
        slots.update((slot, given.get(name, 0.0)) for slot, name in self.facts.starts.items())
        self.parameters = {name: [Element(x, slots) for x in values] for name, values in parameters.items()}
        self.calls = iterations * self.h["gradient_accumulation_steps"]
        self.updates = iterations
        self.counts = dict.fromkeys(parameters, iterations)
        # Of the factors so far: one product for all, in torch one for each parameter.
        self.products = dict.fromkeys(parameters if self.per_parameter else (None,), number(1))
        self.from_tie = 0.5
        """How near a parameter has come to the middle of two numbers of `dtype` before it was rounded."""

    @property
    def per_parameter(self) -> bool:
        """Whether each parameter counts its own updates."""
        return self.convention in STEPS_OF_EACH

    # ------------------------------------------------------------ reading and setting

    def values(self) -> dict[str, list[Any]]:
        return {name: [element.w for element in elements] for name, elements in self.parameters.items()}

    def slots(self) -> dict[str, dict[str, list[Any]]]:
        """By the slot's name and the parameter's."""
        return {
            slot: {name: [element.slots[slot] for element in elements] for name, elements in self.parameters.items()}
            for slot in self.facts.slots(self.h)
        }

    def set_slots(self, slots: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        for slot, by_parameter in slots.items():
            assert slot in self.facts.slots(self.h), slot
            for name, values in by_parameter.items():
                for element, value in zip(self.parameters[name], values, strict=True):
                    element.slots[slot] = number(value)

    def scalars(self) -> dict[str, Any]:
        """The product: a number, or in torch one for each parameter, by name."""
        product = self.facts.product
        if product is None or self.convention not in product.conventions:
            return {}
        return {product.name: dict(self.products) if self.per_parameter else self.products[None]}

    def set_scalars(self, scalars: Mapping[str, Any]) -> None:
        for name, value in scalars.items():
            assert name in self.scalars(), name
            products = value if self.per_parameter else {None: value}
            self.products.update((key, number(x)) for key, x in products.items())

    def set_rate(self, rate: float) -> None:
        self.h["learning_rate"] = number(rate)

    # ------------------------------------------------------------ one call

    def apply(self, gradients: Mapping[str, Sequence[Any] | None]) -> None:
        """One call with gradients; None leaves a parameter out."""
        window = self.h["gradient_accumulation_steps"]
        scale = self.h["loss_scale_factor"] or number(1)
        given = {name: [number(g) / scale for g in values] for name, values in gradients.items() if values is not None}
        if (self.calls + 1) % window == 0:
            self.update(self.mean_of_window(given, window))
        else:
            for name, values in given.items():
                for element, g in zip(self.parameters[name], values, strict=True):
                    element.accumulated += g
            if self.like_keras:
                self.move_averages()
                self.constrain(given)
        self.calls += 1
        self.updates = self.calls // window

    def mean_of_window(self, given: Mapping[str, Sequence[Any]], window: int) -> dict[str, list[Any]]:
        means = {}
        for name, values in given.items():
            means[name] = [
                (element.accumulated + g) / window for element, g in zip(self.parameters[name], values, strict=True)
            ]
        for name, elements in self.parameters.items():
            if name in given or self.like_keras:
                for element in elements:
                    element.accumulated = number(0)
        return means

    def update(self, gradients: dict[str, list[Any]]) -> None:
        gradients = self.clipped(gradients)
        rate = self.rate()
        if not self.per_parameter:
            self.multiply_product(None, self.updates + 1)
        for name, values in gradients.items():
            self.counts[name] += 1
            t = self.counts[name] if self.per_parameter else self.updates + 1
            if self.per_parameter:
                self.multiply_product(name, t)
            product = self.products[name if self.per_parameter else None]
            now = Now(self.convention, self.h, rate, t, product)
            for element, g in zip(self.parameters[name], values, strict=True):
                self.update_element(element, g, now)
        if self.like_keras:
            self.move_averages()
            self.constrain(gradients)
        else:
            self.constrain(gradients)
            self.move_averages()

    def multiply_product(self, name: str | None, t: int) -> None:
        if self.facts.product is not None and self.scalars():
            self.products[name] *= self.facts.product.factor(self.h, t)

    def update_element(self, element: Element, g: Any, now: Now) -> None:
        if self.h.get("maximize"):
            g = -g
        decay, decoupled = self.h.get("weight_decay") or number(0), number(0)
        if self.facts.coupled(self.convention, self.h):
            g = g + decay * element.w
        else:
            # Before the rule or with it is the same: no rule reads the parameter.
            decoupled = now.rate * decay * element.w
        element.w = element.w - decoupled - self.facts.rule(now, element.slots, g)
        if self.dtype is not None:
            self.from_tie = min(self.from_tie, distance_from_tie(element.w, self.dtype))
            element.w = rounded(element.w, self.dtype)

    def rate(self) -> Any:
        rate = self.h["learning_rate"]
        if isinstance(rate, Schedule):
            x = {name: number(value) for name, value in rate.arguments.items()}
            past = self.calls / x["decay_steps"]
            if rate.name == "ExponentialDecay":
                rate = x["initial_learning_rate"] * x["decay_rate"] ** past
            else:
                rate = x["initial_learning_rate"] / (1 + x["decay_rate"] * past)
        return rate / (1 + self.h["decay"] * self.calls)

    # ------------------------------------------------------------ before and after the rule

    def factor(self, values: Sequence[Any], limit: Any) -> Any:
        """What a gradient is multiplied with so that its norm is at most the limit."""
        norm = mp.sqrt(sum((g * g for g in values), number(0)))
        if self.convention == "torch":
            return min(number(1), limit / (norm + number(1e-6)))
        return limit / norm if norm > limit else number(1)

    def clipped(self, gradients: dict[str, list[Any]]) -> dict[str, list[Any]]:
        overall, own = self.h["global_clipnorm"], self.h["clipnorm"]
        if self.convention == "keras2":
            overall, own = own, None
        if overall is not None:
            factor = self.factor([g for values in gradients.values() for g in values], overall)
            gradients = {name: [factor * g for g in values] for name, values in gradients.items()}
        if own is not None:
            for name, values in gradients.items():
                factor = self.factor(values, own)
                gradients[name] = [factor * g for g in values]
        limit = self.h["clipvalue"]
        if limit is not None:
            gradients = {name: [min(max(g, -limit), limit) for g in values] for name, values in gradients.items()}
        return gradients

    def constrain(self, names: Mapping[str, Any]) -> None:
        if self.constraint is not None:
            for name in names:
                for element in self.parameters[name]:
                    element.w = number(self.constraint(element.w))

    def move_averages(self) -> None:
        """Of all parameters, those without a gradient too. The first average is the parameter itself."""
        if not self.h["use_ema"]:
            return
        momentum = self.h["ema_momentum"] if self.updates > 0 else number(0)
        every = self.h["ema_overwrite_frequency"]
        for elements in self.parameters.values():
            for element in elements:
                element.average = momentum * element.average + (1 - momentum) * element.w
                if every is not None and (self.updates + 1) % every == 0:
                    element.w = element.average
