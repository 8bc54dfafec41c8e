"""Running gradwise over a case of the reference vectors: on any library, in any dtype, in every mode."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from rules import STEPS_OF_EACH

from gradwise import optimizers
from gradwise.vectors import Case, distance
from helpers.backend_table import array, numpy_dtype, parameter, precision, read

Tensors = dict[str, Any]


def optimizer_of(case: Case, **more: Any) -> Any:
    """A new optimizer with the case's hyperparameters."""
    return getattr(optimizers, case.algorithm)(**case.hyperparameters, convention=case.convention, **more)


def run(
    case: Case, optimizer: Any, library: str = "numpy", dtype: str = "float64", mode: str = "functional"
) -> Iterator[Tensors]:
    """The parameters after each step, as NumPy arrays.

    Args:
        case: what to run.
        optimizer: with the case's hyperparameters; new, unless the mode is "functional" or "jit".
        library: one of `backend_table.LIBRARIES`.
        dtype: of parameters and gradients.
        mode: "functional", "jit" (that, under `jax.jit`) or "imperative".
    """
    # A context that holds on one thread is not kept open while the caller works.
    with precision(library, dtype):
        steps = {"functional": functional, "jit": functional, "imperative": imperative}[mode]
        stepping = steps(case, optimizer, library, dtype, mode == "jit")
    for _ in case.steps:
        with precision(library, dtype):
            yield next(stepping)


def distances(case: Case, trajectory: Iterable[Mapping[str, Any]], dtype: str = "float64") -> Iterator[float]:
    """After each step, the largest distance of a parameter from the case."""
    for step, found in zip(case.steps, trajectory, strict=True):
        yield max(
            distance(found[name], expected, dtype, expected.minus(case.parameters[name]))
            for name, expected in step.parameters.items()
        )


def given(library: str, values: Mapping[str, Any], dtype: str) -> Tensors:
    """Arrays of a library; None stays None."""
    kind = numpy_dtype(dtype)
    return {name: None if value is None else array(library, np.asarray(value, kind)) for name, value in values.items()}


# ---------------------------------------------------------------- functional


def functional(case: Case, optimizer: Any, library: str, dtype: str, compiled: bool) -> Iterator[Tensors]:
    params = given(library, case.parameters, dtype)
    state = optimizer.init(params)
    if not case.fresh:
        state = continued(case, state, library, dtype)
    step_of = optimizer.step
    if compiled:
        import jax

        step_of = jax.jit(step_of)
    for step in case.steps:
        state = optimizer.with_learning_rate(state, step.learning_rate)
        params, state = step_of(params, given(library, step.gradients, dtype), state)
        yield {name: read(value) for name, value in params.items()}


def continued(case: Case, state: Any, library: str, dtype: str) -> Any:
    """A state after the steps there were before the case; slots of 16-bit parameters are kept in float32."""
    kept = dtype if dtype == "float64" else "float32"
    slots = {slot: given(library, values, kept) for slot, values in case.slots.items()}
    scalars = {}
    for name, value in numbers_of(case).items():
        if isinstance(value, Mapping):
            slots[name] = {each: like(state.slots[name][each], number, library) for each, number in value.items()}
        else:
            scalars[name] = like(state.scalars[name], value, library)
    assert set(slots) == set(state.slots) and set(scalars) == set(state.scalars)
    return state._replace(iterations=like(state.iterations, case.iterations, library), slots=slots, scalars=scalars)


def numbers_of(case: Case) -> dict[str, Any]:
    """Scalars before the first step, by name; where each parameter counts its steps, these are among them."""
    counts = {"step": dict.fromkeys(case.parameters, case.iterations)} if case.convention in STEPS_OF_EACH else {}
    return {**case.scalars, **counts}


def like(number: Any, value: float, library: str) -> Any:
    """A value as the same kind of number: Python's, or a 0-d array."""
    return value if isinstance(number, (int, float)) else array(library, np.asarray(value, read(number).dtype))


# ---------------------------------------------------------------- imperative


def imperative(case: Case, optimizer: Any, library: str, dtype: str, compiled: bool) -> Iterator[Tensors]:
    assert not compiled
    kind = numpy_dtype(dtype)
    params = {name: parameter(library, np.asarray(value, kind), name) for name, value in case.parameters.items()}
    optimizer.build(list(params.values()))
    if not case.fresh:
        optimizer.set_weights([weight(case, optimizer, cell) for cell in optimizer.variables])
    for step in case.steps:
        optimizer.learning_rate = step.learning_rate
        gradients = given(library, step.gradients, dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")
            optimizer.apply([gradients[name] for name in params], list(params.values()))
        yield {name: read(value) for name, value in params.items()}


def weight(case: Case, optimizer: Any, cell: Any) -> Any:
    """What a cell of a built optimizer holds before the first step."""
    own = {"iteration": case.iterations, "learning_rate": optimizer.learning_rate}
    named = next((named for named in optimizer.named_cells() if named.cell is cell), None)
    if named is None:
        return np.asarray(own[cell.name])
    value = {**case.slots, **numbers_of(case)}[named.name]
    return np.asarray(value if named.position is None else value[list(case.parameters)[named.position]])
