"""Every algorithm and convention in 16 bits against its float32 run: whether it moves, and how far it gets away.

`python tests/low_precision_table.py` prints the table.

The problem is the one of `test_low_precision.py`: parameters from 2**-6 to 2**-5 and gradients from 2**-3 to 1 whose
signs change now and then, the same numbers in each dtype; the rates are those of the facts. A step is then larger
than what rounding does to a parameter. (In 16 bits alone, nothing moves a weight by less than half a unit.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from helpers.backend_table import numpy_dtype
from rules import all_facts

DTYPES = ("float16", "bfloat16")
STEPS = 100
SHAPES = {"kernel": (16, 16), "vector": (50,), "bias": ()}


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        algorithm: the class's name.
        convention: whose formula.
        dtype: of the parameters and gradients.
        moves: the share of numbers that the first step moves.
        distance: the largest of a tensor from the float32 run, over all steps, in eps of the dtype times the largest
            value or change that the tensor has had: what rounding did to large numbers stays when they are small again.
    """

    algorithm: str
    convention: str
    dtype: str
    moves: float
    distance: float


def problem(dtype: str, steps: int = STEPS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Start and gradients in a 16-bit dtype; both have the same numbers, which have 8 binary digits."""
    generator = np.random.default_rng(29)

    def drawn(low: float, high: float, shape: tuple[int, ...]) -> Any:
        return np.asarray(np.exp2(generator.uniform(low, high, size=shape)), ml_dtypes.bfloat16)

    def signs(shape: tuple[int, ...]) -> Any:
        return np.asarray(generator.choice([-1, 1], size=shape), ml_dtypes.bfloat16)

    kind = numpy_dtype(dtype)
    start = {name: np.asarray(drawn(-6, -5, shape) * signs(shape), kind) for name, shape in SHAPES.items()}
    gradients = []
    for step in range(steps):
        if step % 7 == 0:
            sign = {name: signs(shape) for name, shape in SHAPES.items()}
        gradients.append({name: np.asarray(drawn(-3, 0, shape) * sign[name], kind) for name, shape in SHAPES.items()})
    return start, gradients


def entry(algorithm: str, convention: str, dtype: str) -> Entry:
    """One row, measured on NumPy by whole arrays."""
    from gradwise import optimizers

    def make() -> Any:
        return getattr(optimizers, algorithm)(all_facts()[algorithm].rate, convention=convention, jit_compile=False)

    start, gradients = problem(dtype)
    narrow, exact = make(), make()
    found = {name: value.copy() for name, value in start.items()}
    target = {name: np.array(value, np.float32) for name, value in start.items()}
    moved, farthest, largest = [], 0.0, dict.fromkeys(start, 0.0)
    eps = float(ml_dtypes.finfo(numpy_dtype(dtype)).eps)
    for step, gradient in enumerate(gradients):
        narrow.apply(list(gradient.values()), list(found.values()))
        exact.apply([np.asarray(value, np.float32) for value in gradient.values()], list(target.values()))
        for name, value in found.items():
            if step == 0:
                moved.append(np.ravel(value != start[name]))
            # Everything here is exact in float64.
            value, goal, begin = (np.asarray(each, np.float64) for each in (value, target[name], start[name]))
            sizes = (np.abs(begin), np.abs(goal), np.abs(goal - begin))
            largest[name] = max(largest[name], *(float(np.max(size)) for size in sizes))
            farthest = max(farthest, float(np.max(np.abs(value - goal))) / (eps * largest[name]))
    return Entry(algorithm, convention, dtype, float(np.mean(np.concatenate(moved))), farthest)


def pairs() -> list[tuple[str, str]]:
    """Every algorithm in every convention it has."""
    from gradwise.optimizers.registry import ALGORITHMS

    return [(kind.__name__, convention) for kind in ALGORITHMS for convention in kind.conventions]


def markdown() -> Iterator[str]:
    """The table, a line at a time."""
    yield "| algorithm | convention | float16 moves | distance | bfloat16 moves | distance |"
    yield "|---|---|---|---|---|---|"
    for algorithm, convention in pairs():
        entries = [entry(algorithm, convention, dtype) for dtype in DTYPES]
        cells = [f"{each.moves:.0%} | {each.distance:.1f}" for each in entries]
        yield f"| {algorithm} | {convention} | {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in markdown():
        print(line)
