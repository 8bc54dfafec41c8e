"""Reading the reference vectors, and measuring how far a trajectory is from one.

Any implementation can be judged: begin with a case's parameters, slots, scalars and number of iterations, give it each
step's learning rate and gradients, collect the parameters after each step, and ask `largest_distance`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..optimizers.registry import ALGORITHMS
from .exact import Array, Exact, exact

FORMAT = "gradwise-vectors/1"
FOLDER = Path(__file__).parent
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

Slots = Mapping[str, Mapping[str, Exact]]
Scalars = Mapping[str, Exact | Mapping[str, Exact]]


@dataclass(frozen=True)
class Step:
    """What goes into a step and what is there after it.

    Attributes:
        learning_rate: the step's.
        gradients: by parameter; None where it has no gradient.
        parameters: after the step.
        slots: after the step, by the slot's name and the parameter's; None where the file does not say.
        scalars: after the step, by name: a number, or one for each parameter; None where the file does not say.
    """

    learning_rate: float
    gradients: Mapping[str, Array | None]
    parameters: Mapping[str, Exact]
    slots: Slots | None
    scalars: Scalars | None


@dataclass(frozen=True)
class Case:
    """A run of an optimizer.

    Attributes:
        dtypes: of the parameters: each in which the run is to be repeated.
        hyperparameters: all that the convention has, the first learning rate among them.
        iterations: how many steps there have been before, for each parameter too.
        parameters: before the first step. They and the gradients are exact in all of `dtypes`.
        slots: before the first step, by the slot's name and the parameter's.
        scalars: before the first step, by name: a number, or one for each parameter.
        condition: how sensitive the case is.
    """

    algorithm: str
    convention: str
    name: str
    dtypes: tuple[str, ...]
    hyperparameters: Mapping[str, float | bool]
    shapes: Mapping[str, tuple[int, ...]]
    iterations: int
    parameters: Mapping[str, Array]
    slots: Mapping[str, Mapping[str, Array]]
    scalars: Mapping[str, float | Mapping[str, float]]
    steps: tuple[Step, ...]
    condition: float

    @property
    def fresh(self) -> bool:
        """Whether it begins as a new optimizer does, so that slots and scalars need not be set."""
        return self.iterations == 0


def available() -> tuple[tuple[str, str], ...]:
    """Each algorithm and convention that there are vectors for."""
    pairs = ((kind.__name__, convention) for kind in ALGORITHMS for convention in kind.conventions)
    return tuple(pair for pair in pairs if file_of(*pair).exists())


def file_of(algorithm: str, convention: str) -> Path:
    """Where their vectors are."""
    return FOLDER / f"{algorithm.lower()}.{convention}.json"


def load(algorithm: str, convention: str) -> tuple[Case, ...]:
    """The cases of an algorithm in a convention."""
    content = json.loads(file_of(algorithm, convention).read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"vectors of the format {content['format']}, not {FORMAT}")
    return tuple(read_case(content["algorithm"], content["convention"], case) for case in content["cases"])


def read_case(algorithm: str, convention: str, content: Mapping[str, Any]) -> Case:
    """A case from its JSON."""
    shapes = {name: tuple(shape) for name, shape in content["shapes"].items()}
    start = content["start"]
    hyperparameters = {
        name: value if isinstance(value, bool) else float.fromhex(value)
        for name, value in content["hyperparameters"].items()
    }
    return Case(
        algorithm,
        convention,
        content["name"],
        tuple(content["dtypes"]),
        hyperparameters,
        shapes,
        start["iterations"],
        {name: exact(texts, shapes[name]).high for name, texts in start["parameters"].items()},
        {
            slot: {name: each.high for name, each in tensors.items()}
            for slot, tensors in read_slots(start["slots"], shapes).items()
        },
        {
            name: {key: float.fromhex(text) for key, text in value.items()}
            if isinstance(value, Mapping)
            else float.fromhex(value)
            for name, value in start["scalars"].items()
        },
        tuple(read_steps(content["steps"], hyperparameters["learning_rate"], shapes)),
        float.fromhex(content["condition"]),
    )


def read_steps(
    content: Iterable[Mapping[str, Any]], rate: float, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Step]:
    """Steps from their JSON. The rate is the first one's, and that of each until a step has another."""
    for step in content:
        rate = float.fromhex(step["learning_rate"]) if "learning_rate" in step else rate
        yield Step(
            rate,
            {
                name: None if texts is None else exact(texts, shapes[name]).high
                for name, texts in step["gradients"].items()
            },
            {name: exact(texts, shapes[name]) for name, texts in step["parameters"].items()},
            read_slots(step["slots"], shapes) if "slots" in step else None,
            read_scalars(step["scalars"]) if "scalars" in step else None,
        )


def read_slots(content: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Exact]]:
    """Slots from their JSON."""
    return {
        slot: {name: exact(texts, shapes[name]) for name, texts in tensors.items()} for slot, tensors in content.items()
    }


def read_scalars(content: Mapping[str, Any]) -> dict[str, Exact | Mapping[str, Exact]]:
    """Scalars from their JSON."""
    return {
        name: {key: exact([text], ()) for key, text in value.items()}
        if isinstance(value, Mapping)
        else exact([value], ())
        for name, value in content.items()
    }


def distance(found: Any, expected: Exact, dtype: str, update: Array | None = None) -> float:
    """How far a tensor is from the exact one: max|difference| / (eps(dtype) * max(max|expected|, max|update|)).

    For a parameter, `update` is how far it has moved from its start: where it is near zero, that says what its rounding
    errors can be. A slot has none. What is not finite is infinitely far away.
    """
    values = np.asarray(found)
    if values.shape != expected.high.shape:
        raise ValueError(f"the shape is {values.shape}, not {expected.high.shape}")
    if not values.size:
        return 0.0
    off = float(np.max(np.abs(expected.minus(values))))
    scale = float(np.max(np.abs(expected.high)))
    if update is not None:
        scale = max(scale, float(np.max(np.abs(update))))
    if not np.isfinite(off):
        return float("inf")
    if scale == 0:
        return 0.0 if off == 0 else float("inf")
    return off / (EPS[dtype] * scale)


def largest_distance(case: Case, trajectory: Iterable[Mapping[str, Any]], dtype: str) -> float:
    """The largest distance from the case of a run: its parameters after each step, by name, as NumPy reads them."""
    found: Sequence[Mapping[str, Any]] = list(trajectory)
    if len(found) != len(case.steps):
        raise ValueError(f"{len(found)} steps, not {len(case.steps)}")
    return max(
        distance(values[name], expected, dtype, expected.minus(case.parameters[name]))
        for values, step in zip(found, case.steps, strict=True)
        for name, expected in step.parameters.items()
    )
