"""Ctrl-C at any line of a step in a front end: arrays, slots and counts are all as before, or all as after it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from helpers.interrupted import interrupted_at_each_line

from gradwise.optimizers import Nadam

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR1")

CASES = {
    "Adam": ("Adam", 1, {}, 1),
    "Adam, groups": ("Adam", 3, {}, 1),
    "NAdam": ("NAdam", 1, {}, 1),
    "NAdam, groups": ("NAdam", 2, {}, 2),
    "Adam, numbers in tensors": ("Adam", 2, {"differentiable": True}, 97),
    "SGD of the user, with a schedule": ("wrapped", 2, {}, 7),
    "rules": ("rules", 1, {}, 2),
    "rules, with a schedule and a global norm": ("rules", 1, {"global_clipnorm": 0.5}, 2),
}
"""A class, the number of its groups, its arguments, and how many lines lie between those of interruptions."""


def torch_optimizer(name: str, count: int, keywords: dict[str, Any], parameters: list[Any]) -> Any:
    from gradwise.frontends import torch as ours
    from gradwise.optimizers import SGD, MultiOptimizer

    groups = [{"params": parameters[place::count]} for place in range(count)]
    if name == "rules":
        rate: Any = (lambda step: 0.1 / (1 + step)) if keywords else 0.1
        rules = {(lambda path, each: each.name < "variable_3"): SGD(rate, momentum=0.9)}
        return ours.wrap(MultiOptimizer(rules, Nadam(0.01, convention="torch"), **keywords), groups)
    if name == "wrapped":

        class Own(SGD):
            def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
                super().update_step(gradient, variable, learning_rate)

        return ours.wrap(Own(lambda step: 0.1 / (1 + step), momentum=0.9), groups)
    return getattr(ours, name)(groups, lr=0.01, **keywords)


@pytest.mark.parametrize("jit_compile, stride", [("auto", 2), (False, 23)])
def test_numpy(jit_compile, stride):
    def made() -> tuple[Any, Any]:
        weights = [np.full(3, 1.0 + place) for place in range(4)]
        optimizer = Nadam(0.01, jit_compile=jit_compile)
        errors = np.geterr()

        def state() -> Any:
            assert np.geterr() == errors
            return [np.asarray(array).tobytes() for array in (*weights, *(cell.value for cell in optimizer.variables))]

        return lambda: optimizer.apply([np.full(3, 0.5) for _ in weights], weights), state

    assert interrupted_at_each_line(made, stride=stride) > 30


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_torch(case):
    import torch

    name, count, keywords, stride = CASES[case]

    def made() -> tuple[Any, Any]:
        differentiable = keywords.get("differentiable", False)
        parameters = [torch.full((3,), 1.0 + place, requires_grad=not differentiable) for place in range(6)]
        optimizer = torch_optimizer(name, count, keywords, parameters)

        def step() -> None:
            for parameter in parameters:
                parameter.grad = torch.full((3,), 0.5)
            optimizer.step()

        def state() -> Any:
            assert torch.is_grad_enabled()
            found = optimizer.state_dict()
            values = [value for entry in found["state"].values() for value in entry.values()]
            rates = [group["lr"] for group in found["param_groups"]]
            arrays = [value.detach() for value in (*parameters, *values) if torch.is_tensor(value)]
            return tuple(bytes(array.numpy().tobytes()) for array in arrays), tuple(rates)

        return step, state

    assert interrupted_at_each_line(made, stride=stride) > 50
