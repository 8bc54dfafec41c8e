"""A step with its numbers in tensors: autograd and torch's compiler follow it, and no value of a device is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ...backends.scope import Mode
from ...optimizers.core.optimizer import Optimizer
from ..pairing import Numbers
from .linking import real_view
from .number_tensors import NumberTensors


class Inputs(NamedTuple):
    """What a step on tensors reads and writes.

    Attributes:
        parameters: real tensors.
        gradients: one for each parameter, or None.
        state: for each of the core's variables what holds it: a number, or a tensor, or several if parameters share it.
    """

    parameters: list[torch.Tensor]
    gradients: list[Any]
    state: list[list[Any]]


def inputs_of(
    rule: Optimizer, numbers: Sequence[Numbers[NumberTensors]], parameters: Sequence[torch.Tensor],
    gradients: list[Any], counts_calls: bool, compiling: bool,
) -> Inputs:  # fmt: skip
    """What a step reads and writes.

    Args:
        rule: the core's optimizer.
        numbers: those that stand in the state.
        parameters: of the optimizer.
        gradients: one for each parameter, or None.
        counts_calls: whether the number of calls is stored.
        compiling: whether a number that differs in the next step means to be compiled again.
    """
    cells = rule.variables
    stored: dict[int, list[torch.Tensor]] = {}
    for each in numbers:
        for cell, tensor in zip(each.cells, each.containers.tensors, strict=True):
            stored.setdefault(id(cell), []).append(tensor)
    held = [stored.get(id(cell), [cell.array]) for cell in cells]
    if not counts_calls:
        # Nothing depends on the number of calls where it is not stored.
        held[cells.index(rule.cells.iterations)] = [0]
    if compiling:
        # A count that is not stored only tells whether there was a step.
        held = [[min(values[0], 1)] if type(values[0]) is int else values for values in held]
        if rule.cells.rate in cells:
            held[cells.index(rule.cells.rate)] = [torch.as_tensor(rule.cells.rate.array, dtype=torch.float64)]
    return Inputs([real_view(parameter) for parameter in parameters], gradients, held)


def run(rule: Optimizer, inputs: Inputs) -> None:
    """Make the step. `torch.compile` follows."""
    _write(rule, inputs, *_changed(rule, inputs))


def prepared(rule: Optimizer, inputs: Inputs) -> Callable[[], None]:
    """The step, but for what it writes: what does that."""
    changes = _changed(rule, inputs)
    following = torch.is_grad_enabled()

    def write() -> None:
        with Mode(torch.is_grad_enabled, torch.set_grad_enabled, following):
            _write(rule, inputs, *changes)

    return write


def _changed(rule: Optimizer, inputs: Inputs) -> tuple[list[Any], list[Any]]:
    """The parameters and the state after the step."""
    parameters, state = inputs.parameters, [tensors[0] for tensors in inputs.state]
    if torch.is_grad_enabled():
        # What a graph remembers must not be what is written to below.
        parameters = [parameter.clone() for parameter in parameters]
        state = [value.clone() if isinstance(value, torch.Tensor) else value for value in state]
    return rule.stateless_apply(state, inputs.gradients, parameters)


def _write(rule: Optimizer, inputs: Inputs, changed: list[Any], after: list[Any]) -> None:
    for old, gradient, new in zip(inputs.parameters, inputs.gradients, changed, strict=True):
        if gradient is not None:
            old.copy_(new)
    for cell, held, new in zip(rule.variables, inputs.state, after, strict=True):
        if cell is rule.cells.rate:
            continue
        if isinstance(held[0], torch.Tensor):
            for old in held:
                old.copy_(new)
        elif cell is not rule.cells.iterations:
            cell.array = new
