"""What is compared: each algorithm of gradwise, and what the peers call it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradwise.optimizers.registry import ALGORITHMS


@dataclass(frozen=True)
class Algorithm:
    """An algorithm with the options that make every library do the same amount of work.

    Attributes:
        name: the class in gradwise.
        options: keyword arguments, under the same names in every library.
        torch_name, optax_name, keras_name: what the algorithm is called there.
    """

    name: str
    torch_name: str
    optax_name: str
    keras_name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        options = [name if value is True else f"{name} {value:g}" for name, value in self.options.items()]
        return f"{self.name} ({', '.join(options)})" if options else self.name


# Only what changes the work: rates, betas and epsilons stay at each library's own defaults.
_OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "AdamW": {"weight_decay": 0.004},
}
_TORCH_NAMES = {"Nadam": "NAdam"}


def _algorithm(name: str) -> Algorithm:
    return Algorithm(name, _TORCH_NAMES.get(name, name), name.lower(), name, _OPTIONS.get(name, {}))


TABLE = {kind.__name__.lower(): _algorithm(kind.__name__) for kind in ALGORITHMS}
"""Every algorithm of gradwise by its name in lower case; one that has no options here runs with its defaults."""
