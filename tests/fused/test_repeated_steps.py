"""Repeated steps through torch's front end: what they cost in calls of Python, and that nothing in them is remembered.

Calls are counted rather than timed: only those of gradwise's own functions, of which each takes a tenth of a
microsecond or more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.python_calls import counted_calls

import gradwise
from gradwise import backends, frontends, optimizers, schedules

pytestmark = [pytest.mark.torch, pytest.mark.fast]

# Not the folder above them, which may have an environment with all libraries in it.
OURS = tuple(
    f"{Path(room.__file__).parent}{os.sep}" for room in (gradwise, backends, frontends, optimizers, schedules)
)  # fmt: skip
MOST, MOST_CHANGED = 30, 80
"""Calls in a step, and in one before which a rate and a beta have changed."""


def calls(function: Callable[[], Any]) -> int:
    """How many of gradwise's functions are called."""
    return counted_calls(function, lambda event, code: event == "call" and _is_ours(code.co_filename))


def _is_ours(file: str) -> bool:
    return file.startswith(OURS) or file == "<scalars of a program>"


def parameters_of(count, size=3):
    import torch

    parameters = [torch.nn.Parameter(torch.full((size,), 0.5 + number)) for number in range(count)]
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.full((size,), 0.1 * (number + 1))
    return parameters


def ready(optimizer):
    for _ in range(5):
        optimizer.step()
    return optimizer


def change(optimizer):
    for group in optimizer.param_groups:
        group["lr"] *= 0.99
        if "betas" in group:
            group["betas"] = (group["betas"][0] * 0.99, group["betas"][1])
        else:
            group["momentum"] *= 0.99


def made(name, groups):
    from gradwise.frontends import torch as ours

    return getattr(ours, name)(groups, **({"momentum": 0.9} if name == "SGD" else {}), lr=0.01)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_calls_do_not_grow_with_parameters(name):
    one, many = (ready(made(name, parameters_of(count))) for count in (1, 40))
    assert calls(one.step) == calls(many.step) <= MOST


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_calls_where_a_rate_and_a_beta_change(name):
    found = []
    for count in (1, 40):
        optimizer = ready(made(name, parameters_of(count)))
        # Not to the numbers of the other one: what follows from these is known then.
        for _ in range(count):
            change(optimizer)
        optimizer.step()
        change(optimizer)
        found.append(calls(optimizer.step))
    assert found[0] == found[1] <= MOST_CHANGED


def test_calls_for_each_group():
    few, many = (
        calls(ready(made("Adam", [{"params": [each]} for each in parameters_of(count)])).step) for count in (20, 60)
    )
    assert many <= few + 40


def test_calls_where_some_parameters_have_no_gradient():
    parameters = parameters_of(10)
    for parameter in parameters[3:6]:
        parameter.grad = None
    assert calls(ready(made("Adam", parameters)).step) <= MOST


def test_calls_where_gradients_are_clipped():
    """For each parameter at most as many as it has scalars to be told."""
    from gradwise.frontends import torch as ours

    found = []
    for count in (10, 60):
        core = optimizers.Adam(0.01, convention="torch", global_clipnorm=0.1)
        found.append(calls(ready(ours.wrap(core, parameters_of(count))).step))
    assert (found[1] - found[0]) / 50 <= 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm"])
def test_norms_that_are_read_together_are_those_of_each(option, dtype):
    import numpy as np

    shapes = [(), (0,), (7,), (64, 3), (16384,), (16385,), (3, 20000)]
    results = []
    for together in (True, False):
        chance = np.random.default_rng(3)
        weights = [np.asarray(chance.normal(size=shape), dtype) for shape in shapes]
        optimizer = optimizers.SGD(0.1, **{option: 0.5}, jit_compile="auto" if together else False)
        for _ in range(4):
            optimizer.apply([np.asarray(chance.normal(size=shape), dtype) for shape in shapes], weights)
        results.append([weight.tobytes() for weight in weights])
    assert results[0] == results[1]


def test_a_refused_value_leaves_no_other_one_behind():
    results = []
    for disturbed in (True, False):
        (parameter,) = parameters = parameters_of(1)
        optimizer = ready(made("Adam", parameters))
        (group,) = optimizer.param_groups
        before = dict(group)
        if disturbed:
            group["lr"], group["betas"] = 0.5, (2.0, 0.999)
            with pytest.raises(ValueError, match="beta"):
                optimizer.step()
            group.update(before)
        optimizer.step()
        results.append(parameter.detach().numpy().tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("flag", ["differentiable", "capturable"])
def test_a_flag_that_a_group_has_no_more(flag):
    results = []
    for without in (True, False):
        (parameter,) = parameters = parameters_of(1)
        optimizer = ready(made("Adam", parameters))
        if without:
            del optimizer.param_groups[0][flag]
        ready(optimizer)
        results.append(parameter.detach().numpy().tobytes())
    assert results[0] == results[1]


def test_what_is_put_between_steps_is_seen():
    """Parameters that move from one group to another, and state that is another parameter's now."""
    results = []
    for repeated in (True, False):
        parameters = parameters_of(4)
        optimizer = made("SGD", [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.5}])
        for step in range(9):
            if step == 5:
                first, second = optimizer.param_groups
                second["params"].insert(0, first["params"].pop())
            if step == 7:
                one, two = (optimizer.state[each] for each in parameters[:2])
                one["momentum_buffer"], two["momentum_buffer"] = two["momentum_buffer"], one["momentum_buffer"]
            if not repeated:
                # A copy remembers nothing.
                optimizer.__setstate__(optimizer.__getstate__())
            optimizer.step()
        results.append([parameter.detach().numpy().tobytes() for parameter in parameters])
    assert results[0] == results[1]
