"""Every algorithm with its options, in each convention, and what Keras 3 calls the same: rows that drive tests.

Nothing here imports an array library other than NumPy, nor gradwise before a row makes its optimizer, so that the
process of Keras can read the table too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rules import EXPONENTIAL, AlgorithmFacts, Example, Schedule, all_facts


@dataclass(frozen=True, eq=False)
class Row:
    """An optimizer.

    Attributes:
        name: the test's id.
        algorithm: the class's name in gradwise.
        arguments: of gradwise's class; a `Schedule` stands for a schedule.
        convention: whose formula.
        keras: the class of Keras 3 and its arguments that mean the same, or None where Keras 3 has no such thing.
    """

    name: str
    algorithm: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    convention: str = "keras"
    keras: tuple[str, Mapping[str, Any]] | None = None

    def make(self, **more: Any) -> Any:
        """A new optimizer of gradwise."""
        from gradwise import optimizers, schedules

        given = {
            key: getattr(schedules, value.name)(**value.arguments) if isinstance(value, Schedule) else value
            for key, value in self.arguments.items()
        }
        return getattr(optimizers, self.algorithm)(**{**given, "convention": self.convention, **more})


def spelled_out(facts: AlgorithmFacts) -> dict[str, Any]:
    """What Keras is always told, whatever its defaults are: the facts', which are gradwise's documented ones."""
    own = facts.keras.given if facts.keras else {}
    return {
        name: value
        for name, value in facts.hyperparameters["keras"].items()
        if name not in own and (name != "weight_decay" or value)
    }


def row_of(facts: AlgorithmFacts, example: Example) -> Row:
    """A row with the facts' rate."""
    given, convention = {"learning_rate": facts.rate, **example.arguments}, example.convention or facts.first
    if example.keras is None:
        return Row(example.name, facts.name, given, convention)
    theirs = {**spelled_out(facts), **given, **(example.keras if not isinstance(example.keras, str) else {})}
    # None here takes an argument away; Keras does not know it.
    theirs = {key: value for key, value in theirs.items() if value is not None}
    return Row(example.name, facts.name, given, convention, (facts.name, theirs))


def rows_of(examples: str) -> tuple[Row, ...]:
    """Of all algorithms what they have under a name."""
    return tuple(row_of(facts, each) for facts in all_facts().values() for each in getattr(facts, examples))


PLAIN = rows_of("plain")
FEATURES = rows_of("features")
ELSEWHERE = rows_of("elsewhere")
ROWS = (*PLAIN, *FEATURES, *ELSEWHERE)

# No argument at all: what the documentation says is compared with what happens.
DEFAULTS = tuple(
    Row(f"{'' if convention == facts.first else f'{convention}-'}{name.lower()}-defaults", name, {}, convention)
    for name, facts in all_facts().items()
    for convention in facts.hyperparameters
)


def differing(several: Iterable[AlgorithmFacts]) -> tuple[Row, ...]:
    """Classes of which Keras's own is another unless gradwise's is told so."""
    found = (facts for facts in several if facts.keras is not None and facts.keras.given)
    return tuple(row_of(facts, Example(f"differs-{facts.name.lower()}", keras="same")) for facts in found)


# Here `keras` is not the same but what Keras makes of it (twin.py, `like_keras`).
WHERE_KERAS_DIFFERS = (
    *differing(all_facts().values()),
    row_of(all_facts()["Adamax"], Example(
        "differs-averages",
        {"learning_rate": EXPONENTIAL, "weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.75,
         "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 3},
        keras="same",
    )),
)  # fmt: skip

SHAPES = {"kernel": (4, 6), "bias": (), "empty": (0, 3), "vector": (5,)}
STEPS = 100


def problem(dtype: Any = np.float64, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Starting values and, for each step, gradients; the sizes of these lie between 1e-6 and 1, in each tensor.

    Each element's gradient wanders about a mean of its own. All values fit float32, so that every dtype gets the same.
    """
    generator = np.random.default_rng(20)
    start = {name: np.asarray(generator.normal(size=shape)) for name, shape in SHAPES.items()}
    size = {name: np.asarray(10.0 ** generator.uniform(-6, 0, size=shape)) for name, shape in SHAPES.items()}
    for value in size.values():
        if value.size:
            value[(0,) * value.ndim] = 1.0
    mean = {name: generator.uniform(-0.5, 0.5, size=shape) for name, shape in SHAPES.items()}
    gradients = [
        {name: size[name] * (mean[name] + generator.normal(size=shape)) for name, shape in SHAPES.items()}
        for _ in range(steps)
    ]

    def fitted(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.asarray(np.asarray(value, np.float32), dtype) for name, value in values.items()}

    return fitted(start), [fitted(gradient) for gradient in gradients]


def steady_problem(dtype: Any = np.float64, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """As `problem`, but the gradients hardly change: their variance is a 1e-8th of their square."""
    start, gradients = problem(np.float64, steps)
    generator = np.random.default_rng(22)

    def near_the_first() -> dict[str, Any]:
        values = {name: value * (1 + 1e-4 * generator.normal(size=value.shape)) for name, value in gradients[0].items()}
        return {name: np.asarray(np.asarray(value, np.float32), dtype) for name, value in values.items()}

    return {name: value.astype(dtype) for name, value in start.items()}, [near_the_first() for _ in range(steps)]
