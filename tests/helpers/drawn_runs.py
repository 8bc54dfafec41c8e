"""What the tests against live peers draw: runs of an optimizer, hyperparameters; and how far two runs are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from helpers.backend_table import array, distance, read

Tensors = dict[str, Any]

FLAG = st.booleans()
STEPS = st.integers(1, 8)
SHAPES = st.lists(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), min_size=1, max_size=3)
EPS = float(np.finfo(np.float64).eps)
PRECISION = 1e-12
"""In float64, relative to the largest value, or update, of a tensor: where both compute in float64 throughout."""
CAP = 4.0
"""In float32 for a step, as `backend_table.distance` measures, times the step's `condition` if that is above 1."""
SMALLEST = 1e-9
"""What no gradient is smaller than unless it is zero: its square is a normal number in float32."""


@dataclass(frozen=True)
class Run:
    """Start, and for each step the learning rate and the gradients; None where a parameter has no gradient."""

    start: Tensors
    gradients: Sequence[Mapping[str, Any]]
    rates: Sequence[float]


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers whose magnitude is drawn."""
    return st.floats(np.log10(low), np.log10(high)).map(lambda exponent: min(max(10.0**exponent, low), high))


def or_off(strategy: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """What is drawn, or 0."""
    return st.just(0.0) | strategy


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "flag": FLAG,
    "momentum": or_off(st.floats(0.01, 1)),
    "part": or_off(st.floats(0, 1)),
    "decay": or_off(powers(1e-6, 1.0)),
    "schedule": st.just(0.004) | st.floats(0, 2),
}
"""What is drawn of the kinds that facts name; of which betas and epsilons, the peer decides."""


def of_kinds(
    drawn: Mapping[str, str], kinds: Mapping[str, st.SearchStrategy[Any]], refused: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Strategies by the argument's name; a value that the peer refuses is not drawn."""
    found = {name: kinds[kind] for name, kind in drawn.items()}
    for name in set(found) & set(refused or {}):
        found[name] = found[name].filter(lambda value, name=name: value != refused[name])
    return found


@st.composite
def runs(draw: Any, *, shapes: Any = SHAPES, zeros: bool = True, missing: bool = True, largest: float = 1e3) -> Run:
    """A run in float64 whose values all fit float32.

    The size of gradients is drawn for each tensor and, within a tensor, for each element; it changes a little from
    step to step. Some elements are zero in a step, some tensors are zero or have no gradient at all in a step.

    Args:
        shapes: a strategy for the parameters' shapes.
        zeros: whether gradients may be exactly zero. Without epsilon a zero may be divided by zero.
        missing: whether gradients may be missing. One is there in each step, or it is an error in gradwise.
        largest: about how large the gradients of a tensor may be; some of its elements may be 1000 times larger.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = {f"parameter_{position}": shape for position, shape in enumerate(draw(shapes))}
    steps = draw(STEPS)
    # About one rate for the whole run, or another one in each step.
    first = draw(powers(1e-5, 10.0))
    rates = draw(st.lists(st.just(first) | powers(1e-5, 10.0) | st.just(0.0), min_size=steps, max_size=steps))
    sizes, start = {}, {}
    for name, shape in names.items():
        spread = generator.uniform(-3, 3) if draw(st.booleans()) else 0.0
        sizes[name] = 10.0 ** (draw(st.floats(-6, np.log10(largest))) + spread * generator.uniform(-1, 1, size=shape))
        start[name] = single(10.0 ** draw(st.floats(-3, 3)) * generator.normal(size=shape))
    gradients = []
    for _ in range(steps):
        present = [not missing or generator.random() < 0.8 for _ in names]
        present[generator.integers(len(present))] = True
        gradient: dict[str, Any] = {}
        for there, (name, size) in zip(present, sizes.items(), strict=True):
            value = size * generator.normal(size=size.shape)
            value = np.where(np.abs(value) < SMALLEST, SMALLEST, value)
            if zeros:
                value = np.where(generator.random(size=size.shape) < generator.choice([0.0, 0.2, 1.0]), 0.0, value)
            gradient[name] = single(value) if there else None
        gradients.append(gradient)
    return Run(start, gradients, rates)


def single(value: Any) -> Any:
    """Rounded to float32, as a float64 array."""
    return np.asarray(np.asarray(value, np.float32), np.float64)


def given_in(run: Run, dtype: Any) -> Run:
    """The same run in another dtype."""

    def fitted(values: Mapping[str, Any]) -> Tensors:
        return {name: value if value is None else np.asarray(value, dtype) for name, value in values.items()}

    return Run(fitted(run.start), [fitted(gradient) for gradient in run.gradients], run.rates)


def distances(start: Tensors, ours: Iterator[Tensors], theirs: Iterator[Tensors]) -> Iterator[float]:
    """After each step, the largest distance (`backend_table.distance`) of a tensor from the peer's.

    What a step's rounding does to a parameter stays when the parameter and its updates become small again. The unit is
    therefore that of the largest values that the tensor has had in this run.
    """
    largest = {name: np.abs(value) for name, value in start.items()}
    for our, their in zip(ours, theirs, strict=True):
        found = 0.0
        for name, value in their.items():
            largest[name] = np.maximum(largest[name], np.maximum(np.abs(value), np.abs(value - start[name])))
            if np.any(largest[name]):
                found = max(found, distance(our[name], value, largest[name]))
            else:  # there is no unit: nothing but zeros, if anything
                assert not np.any(our[name])
        yield found


def arrays_of(library: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a library with these values; None stays."""
    return {name: None if value is None else array(library, value) for name, value in values.items()}


def values_of(arrays: Mapping[str, Any]) -> Tensors:
    """As NumPy arrays."""
    return {name: read(value) for name, value in arrays.items()}


def condition(optimizer: Any, parameters: Tensors, gradient: Any, state: Any, rate: float) -> float:
    """The distance, in float32's unit, that roundings to float32 of all that a step starts from can make.

    It is above 1 where a step is the small difference of large numbers: of a gradient and coupled decay, of a gradient
    and momentum, of a mean of squares and the square of a mean.
    """
    generator = np.random.default_rng(0)
    # The same bits without compiling for every drawn formula.
    optimizer = type(optimizer).from_config({**optimizer.get_config(), "jit_compile": False})

    def rounded(value: Any, rounding: float) -> Any:
        if value is None:
            return value
        value = read(value)
        if value.dtype != np.float32:  # a count, or another number in double precision
            return value
        return np.asarray(value * (1.0 + rounding * generator.choice([-1.0, 1.0], size=value.shape)))

    def after(rounding: float) -> Tensors:
        trees = [
            {name: rounded(value, rounding) for name, value in tree.items()}
            for tree in (parameters, gradient, *state.slots.values())
        ]
        numbers = {"iterations": np.asarray(int(state.iterations)), "learning_rate": np.asarray(rate)}
        slots = dict(zip(state.slots, trees[2:], strict=True))
        with np.errstate(all="ignore"):
            moved, _ = optimizer.step(*trees[:2], state._replace(**numbers, slots=slots), learning_rate=rate)
        return moved

    start, exact = given_in(Run(parameters, [], []), np.float64).start, after(0.0)
    found = [next(distances(start, iter([after(2.0**-24)]), iter([exact]))) for _ in range(6)]
    return max(found) * 2.0**-29  # from the unit of float64 to that of float32
