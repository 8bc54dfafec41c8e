"""What is taken out of a torch optimizer by hand: it is gone, and all else goes on."""

from __future__ import annotations

import gc
import weakref

import pytest
from helpers.selection import crossing
from helpers.torch_frontend_table import give

from gradwise.optimizers import SGD, Adam, MultiOptimizer

pytestmark = pytest.mark.torch


def optim():
    from gradwise.frontends import torch as found

    return found


OPTIMIZERS = {
    "a class": lambda given: optim().Adam(given, 0.1),
    "a core optimizer": lambda given: optim().wrap(Adam(0.1), given),
    "groups that clip together": lambda given: optim().wrap(Adam(0.1, global_clipnorm=1.0), given),
    "many rules": lambda given: optim().wrap(
        MultiOptimizer({lambda path, each: each.ndim < 2: SGD(0.1, momentum=0.5)}, Adam(0.1)), given
    ),
}


def made(how, seed=0):
    """An optimizer of three groups or more, and its parameters."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3), (3,), (6,), (4,), (2, 2), (5,)]
    given = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    groups = [{"params": given[:3]}, {"params": given[3:4]}, {"params": given[4:]}]
    return OPTIMIZERS[how](groups), given


def train(optimizer, steps, idle=()):
    """Steps on all parameters that are still there, but for some groups that have no gradients."""
    import torch

    for step in range(steps):
        for number, group in enumerate(optimizer.param_groups):
            grads = [None if number in idle else torch.full_like(each, 0.5 + step) for each in group["params"]]
            give(group["params"], grads)
        optimizer.step()


def last_group(optimizer):
    return optimizer.param_groups.pop()["params"]


def first_group(optimizer):
    return optimizer.param_groups.pop(0)["params"]


def one_parameter(optimizer):
    group = next(each for each in optimizer.param_groups if len(each["params"]) > 1)
    group.pop("param_names", None)
    return [group["params"].pop()]


def other_parameters(optimizer):
    import torch

    group = optimizer.param_groups[-1]
    before = group["params"]
    group.pop("param_names", None)
    group["params"] = [torch.ones(7, requires_grad=True)]
    return before


REMOVALS = [last_group, first_group, one_parameter, other_parameters]
IDLE = [(), (0,), (1,), (0, 1, 2, 3, 4)]


@crossing(("how", "remove", "idle"), list(OPTIMIZERS), REMOVALS, IDLE)
def test_what_was_removed_is_kept_by_nobody(how, remove, idle):
    optimizer, given = made(how)
    train(optimizer, 4)
    removed = remove(optimizer)
    kept = [weakref.ref(each) for parameter in removed for each in (parameter, *optimizer.state[parameter].values())]
    for parameter in removed:
        del optimizer.state[parameter]
    del removed, parameter, given
    train(optimizer, 1, idle)
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)
