"""What the look at memory costs that begins every repeated step, as numbers of calls, which no machine changes.

Two microseconds are the limit for the tiny model: twenty calls, of which each takes a tenth of one. And however many
arrays there are, compiled code looks at all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise.backends import backend_of
from gradwise.optimizers import Adam

pytestmark = pytest.mark.fast

SHAPE = (5, 11)
TENSORS = 20
MOST_CALLS = 20
MOST_FOR_EACH = {"a new optimizer": 110, "late gradients": 0, "late gradients between": 0, "a checkpoint": 85}
MOST_FOR_EACH_LATE = 110
LIBRARIES = pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])


def calls(function: Callable[[], Any]) -> int:
    """How many functions are called, of Python and of C, by Python code."""
    # Without the call that ends it.
    return counted_calls(function, lambda event, code: event in ("call", "c_call")) - 1


def arrays(library: str, count: int) -> list[Any]:
    if library == "numpy":
        return [np.ones(SHAPE, np.float32) for _ in range(count)]
    import torch

    return [torch.ones(SHAPE) for _ in range(count)]


def looks(library: str, count: int) -> int:
    held, gradients = arrays(library, 3 * count), arrays(library, count)
    look = backend_of(held[0]).lookout([SHAPE] * count, [None] * count, ["float32"] * 4)
    for _ in range(3):
        assert look(held, gradients) is not None
    return calls(lambda: look(held, gradients))


def steps(library: str, count: int) -> int:
    if library == "front end":
        import torch

        from gradwise.frontends import torch as front

        parameters = list(map(torch.nn.Parameter, arrays("torch", count)))
        for parameter in parameters:
            parameter.grad = torch.ones(SHAPE)
        step = front.Adam(parameters).step
    else:
        optimizer, parameters, gradients = Adam(), arrays(library, count), arrays(library, count)

        def step() -> None:
            optimizer.apply(gradients, parameters)

    for _ in range(5):
        step()
    return calls(step)


@LIBRARIES
def test_a_look(library: str) -> None:
    assert 0 < looks(library, 1) <= looks(library, TENSORS) <= MOST_CALLS


@LIBRARIES
def test_a_look_at_more_arrays_is_no_more_calls(library: str) -> None:
    assert looks(library, 2 * TENSORS) == looks(library, TENSORS)


@pytest.mark.parametrize(
    ("library", "most"),
    [("numpy", 120), pytest.param("torch", 130, marks=pytest.mark.torch),
     pytest.param("front end", 220, marks=pytest.mark.torch)],
)  # fmt: skip
def test_repeated_steps(library: str, most: int) -> None:
    """No array is looked at alone, and what is added to all steps is noticed: 20 calls are two microseconds."""
    assert steps(library, TENSORS) == steps(library, 2 * TENSORS) <= most


def first_steps(event: str, count: int, late: int = TENSORS) -> int:
    """What an event and the step after it call, with so many parameters.

    Args:
        event: what happens.
        count: how many parameters there are.
        late: how many of them have their first gradient late, where that happens.
    """
    import torch

    from gradwise.frontends import torch as front

    parameters = list(map(torch.nn.Parameter, arrays("torch", count)))
    missing = slice(0)
    if event.startswith("late gradients"):
        missing = slice(0, 2 * late, 2) if event.endswith("between") else slice(-late, None)
    for parameter in parameters:
        parameter.grad = torch.ones(SHAPE)
    for parameter in parameters[missing]:
        parameter.grad = None
    optimizer = front.Adam(parameters)
    for _ in range(3):
        optimizer.step()
    for parameter in parameters:
        parameter.grad = torch.ones(SHAPE)

    def happen() -> None:
        step = optimizer.step
        if event == "a new optimizer":
            step = front.Adam(parameters).step
        elif event == "a checkpoint":
            optimizer.load_state_dict(optimizer.state_dict())
        step()

    return calls(happen)


@pytest.mark.torch
@pytest.mark.parametrize(("event", "most"), MOST_FOR_EACH.items(), ids=list(MOST_FOR_EACH))
def test_first_steps_are_so_many_calls_for_each_parameter(event: str, most: int) -> None:
    """However many there are. Where some are new, those that were known are looked at, and nothing is found out."""
    few, some, many = (first_steps(event, count * TENSORS) for count in (2, 4, 12))
    assert some - few <= most * 2 * TENSORS
    assert many - some <= most * 8 * TENSORS


@pytest.mark.torch
@pytest.mark.parametrize("event", ["late gradients", "late gradients between"])
def test_late_gradients_are_so_many_calls_for_each_of_them(event: str) -> None:
    """However many there are, and wherever they stand among those that are known."""
    few, some, many = (first_steps(event, 12 * TENSORS, late * TENSORS) for late in (1, 2, 5))
    assert some - few <= MOST_FOR_EACH_LATE * TENSORS
    assert many - some <= MOST_FOR_EACH_LATE * 3 * TENSORS


def test_an_array_is_seen_that_is_looked_at_alone() -> None:
    """As calls of Python, and of C by Python code."""
    one = np.ones(3)
    assert calls(lambda: [one.min() for _ in range(9)]) >= 9
