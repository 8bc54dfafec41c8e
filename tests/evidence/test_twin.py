"""gradwise in float64 is the second implementation in twin.py, and deviates from Keras 3 where it says so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.algorithms import DEFAULTS, EXPONENTIAL, ROWS, SHAPES, Row, problem
from helpers.backend_table import largest_distance
from helpers.every_convention import algorithm_of
from helpers.selection import crossing
from helpers.twin import Twin

from gradwise.backends import Variable

STEPS = 30
WITH_GAPS = 15
EPS = float(np.finfo(np.float64).eps)
PRECISION = 16.0
"""In units of `distance`. The twin's own numbers are exact: this is rounding in gradwise alone. Measured: 5.6."""


def flat(values):
    return {name: None if value is None else value.ravel().tolist() for name, value in values.items()}


def twin_of(row, start, constraint=None, like_keras=False):
    return Twin(row.algorithm, row.arguments, row.convention, flat(start), constraint, like_keras)


def off(parameters, twin, start):
    """How far parameters are from the twin's: see `distance`."""
    expected = {name: np.array(values, np.float64).reshape(SHAPES[name]) for name, values in twin.values().items()}
    return largest_distance({name: np.asarray(value) for name, value in parameters.items()}, expected, start)


def averages_of(twin):
    return {
        name: np.array([x.average for x in elements], np.float64).reshape(SHAPES[name])
        for name, elements in twin.parameters.items()
    }


def with_gaps(gradients):
    """Gradients with None here and there, on every place of a window, never for all parameters at once."""
    generator = np.random.default_rng(21)
    return [
        {name: None if name != "kernel" and generator.random() < 0.4 else value for name, value in gradient.items()}
        for gradient in gradients
    ]


def steps_of(optimizer, start, gradients, constraint=None):
    """The parameters after each call of `apply`."""
    if constraint is None:
        parameters = {name: value.copy() for name, value in start.items()}
    else:
        parameters = {name: Variable(value, name=name, constraint=constraint) for name, value in start.items()}
    for gradient in gradients:
        optimizer.apply([gradient[name] for name in SHAPES], list(parameters.values()))
        yield {name: np.array(value) for name, value in parameters.items()}


@pytest.mark.parametrize("row", (*ROWS, *DEFAULTS), ids=lambda row: row.name)
def test_each_step_is_the_twins(row):
    start, gradients = problem(np.float64, STEPS)
    twin = twin_of(row, start)
    for gradient, parameters in zip(gradients, steps_of(row.make(), start, gradients), strict=True):
        twin.apply(flat(gradient))
        assert off(parameters, twin, start) <= PRECISION


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # as in Keras
@crossing(("row", "way"), ROWS, ["imperative", "functional"], of=algorithm_of)
def test_parameters_without_gradients(row, way):
    start, gradients = problem(np.float64, WITH_GAPS)
    gradients = with_gaps(gradients)
    twin = twin_of(row, start)
    optimizer, params = row.make(), start
    state = optimizer.init(params)
    imperative = steps_of(optimizer, start, gradients) if way == "imperative" else None
    for gradient in gradients:
        twin.apply(flat(gradient))
        if imperative:
            params = next(imperative)
        else:
            params, state = optimizer.step(params, gradient, state)
        assert off(params, twin, start) <= PRECISION
    if row.arguments.get("use_ema"):
        cells = [np.asarray(cell) for cell in optimizer.variables if cell.name.endswith("_average")]
        averages = dict(zip(SHAPES, cells, strict=True)) if imperative else optimizer.averages(state)
        for name, average in averages.items():
            np.testing.assert_allclose(average, averages_of(twin)[name], rtol=1e-12, atol=1e-15)


AVERAGED = Row("averaged", "Adamax", {
    "learning_rate": EXPONENTIAL, "weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.75,
    "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 3,
})  # fmt: skip
ACCUMULATED = Row("accumulated", "SGD", {"learning_rate": 0.5, "momentum": 0.9, "gradient_accumulation_steps": 2})
ONCE = Row("averaged", "SGD", {"learning_rate": 0.5, "use_ema": True, "ema_momentum": 0.75})


def test_averages_are_of_constrained_parameters():
    """A deviation from Keras, whose averages are of parameters before the constraint."""
    start, gradients = problem(np.float64, STEPS)
    start = {name: np.abs(value) for name, value in start.items()}
    twin, keras = (twin_of(ONCE, start, lambda w: max(w, 0.25), like) for like in (False, True))
    optimizer = ONCE.make()
    for gradient, parameters in zip(
        gradients, steps_of(optimizer, start, gradients, lambda w: np.maximum(w, 0.25)), strict=True
    ):
        for each in (twin, keras):
            each.apply(flat(gradient))
        assert off(parameters, twin, start) <= PRECISION
    averages = {cell.name: np.array(cell) for cell in optimizer.variables}
    for name in SHAPES:
        np.testing.assert_allclose(averages[f"{name}_average"], averages_of(twin)[name], rtol=1e-12)
    assert np.min(averages["kernel_average"]) >= 0.25 > np.min(averages_of(keras)["kernel"])


def test_averages_and_constraints_with_accumulation():
    """Averaging, overwriting and the constraint happen once a window."""
    start, gradients = problem(np.float64, STEPS)
    twin, keras = (twin_of(AVERAGED, start, lambda w: max(w, -0.5), like) for like in (False, True))
    before = None
    for call, (gradient, parameters) in enumerate(
        zip(gradients, steps_of(AVERAGED.make(), start, gradients, lambda w: np.maximum(w, -0.5)), strict=True), 1
    ):
        for each in (twin, keras):
            each.apply(flat(gradient))
        assert off(parameters, twin, start) <= PRECISION
        if call % 3:
            before = start if before is None else before
            assert all(np.array_equal(parameters[name], before[name]) for name in SHAPES)
        before = parameters
    assert off(parameters, keras, start) * EPS > 1e-4


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # as in Keras
def test_what_a_parameter_accumulated_waits_for_its_next_gradient():
    """Keras on torch drops it when the last gradient of the window is None."""
    start, gradients = problem(np.float64, 6)
    for call, gradient in enumerate(gradients, 1):
        if call in (2, 6):  # the last calls of two windows
            gradient["vector"] = None
    twin, keras = (twin_of(ACCUMULATED, start, None, like) for like in (False, True))
    for gradient, parameters in zip(gradients, steps_of(ACCUMULATED.make(), start, gradients), strict=True):
        for each in (twin, keras):
            each.apply(flat(gradient))
        assert off(parameters, twin, start) <= PRECISION
    assert off(parameters, keras, start) * EPS > 1e-4


def test_the_schedule_of_nadam_is_slow_by_default():
    """Keras 3 behaves as with `schedule_decay=1`, Keras 2.2 and torch have 0.004."""
    start, gradients = problem(np.float64, STEPS)
    row = Row("nadam", "Nadam")
    twin, keras = (twin_of(row, start, None, like) for like in (False, True))
    for gradient, parameters in zip(gradients, steps_of(row.make(), start, gradients), strict=True):
        for each in (twin, keras):
            each.apply(flat(gradient))
        assert off(parameters, twin, start) <= PRECISION
    assert off(parameters, keras, start) * EPS > 1e-4


@pytest.mark.parametrize("row", [row for row in ROWS if not row.arguments.get("use_ema")], ids=lambda row: row.name)
def test_a_twin_goes_on_from_the_state_of_another(row):
    """Slots, scalars, iterations and counts are all that it needs, between two windows of accumulation."""
    start, gradients = problem(np.float64, 18)
    gradients[0]["vector"] = gradients[13]["vector"] = None
    first = twin_of(row, start)
    for gradient in gradients[:12]:
        first.apply(flat(gradient))
    second = Twin(row.algorithm, row.arguments, row.convention, first.values(), iterations=first.updates)
    second.set_slots(first.slots())
    second.set_scalars(first.scalars())
    second.counts = dict(first.counts)
    if row.arguments.get("gradient_accumulation_steps", 1) > 1:
        for name, elements in first.parameters.items():
            for mine, theirs in zip(second.parameters[name], elements, strict=True):
                mine.accumulated = theirs.accumulated
    for gradient in gradients[12:]:
        for each in (first, second):
            each.apply(flat(gradient))
    assert second.values() == first.values() and second.scalars() == first.scalars()
