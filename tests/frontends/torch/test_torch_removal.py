"""What is taken out of a torch optimizer by hand: it is gone, and all else goes on."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
from helpers.selection import crossing
from helpers.torch_frontend_table import give

from gradwise.optimizers import SGD, Adam, AdamW, MultiOptimizer

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


def all_groups(optimizer):
    before = [each for group in optimizer.param_groups for each in group["params"]]
    optimizer.param_groups.clear()
    return before


def several_groups(optimizer):
    before = [each for group in optimizer.param_groups[1:] for each in group["params"]]
    del optimizer.param_groups[1:]
    return before


def other_groups(optimizer):
    """All of them in a list of their own, but one."""
    *kept, last = optimizer.param_groups
    optimizer.param_groups = kept
    return last["params"]


REMOVALS = [
    last_group, first_group, one_parameter, other_parameters, all_groups, several_groups, other_groups,
]  # fmt: skip
IDLE = [(), (0,), (1,), (0, 1, 2, 3, 4)]


@crossing(("how", "remove", "idle"), list(OPTIMIZERS), REMOVALS, IDLE)
@pytest.mark.usefixtures("quick_collection")
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


def excluding(**chosen):
    optimizer = AdamW(0.1)
    optimizer.exclude_from_weight_decay(**chosen)
    return optimizer


CHOOSING = {
    "by name": lambda last: excluding(var_names=["^variable_1$"]),
    "themselves": lambda last: excluding(var_list=[last]),
    "a rule's pattern": lambda last: MultiOptimizer({"^variable_1$": SGD(0.1)}, AdamW(0.1)),
    "a rule's path": lambda last: MultiOptimizer({("variable_1",): SGD(0.1)}, AdamW(0.1)),
}
AFTERWARDS = {
    "it goes on": lambda optimizer: optimizer,
    "a deep copy": copy.deepcopy,
    "a copy": copy.copy,
    "a pickle": lambda optimizer: pickle.loads(pickle.dumps(optimizer)),
    "a copy of a copy": lambda optimizer: copy.deepcopy(pickle.loads(pickle.dumps(optimizer))),
}


def two_groups(choosing, later=False):
    """An optimizer of which something was chosen that is in its last group."""
    import torch

    first, second = (torch.ones(size, requires_grad=True) for size in (2, 3))
    groups = [{"params": [first]}, {"params": [second]}]
    optimizer = optim().wrap(CHOOSING[choosing](second), groups[:1] if later else groups)
    if later:
        optimizer.add_param_group(groups[1])
    return optimizer


@crossing(
    ("choosing", "afterwards", "steps", "later"), list(CHOOSING), list(AFTERWARDS), [0, 1, 4], [False, True]
)
def test_training_goes_on_without_the_group_that_something_was_chosen_in(choosing, afterwards, steps, later):
    optimizer = two_groups(choosing, later)
    train(optimizer, steps)
    optimizer.param_groups.pop()
    optimizer = AFTERWARDS[afterwards](optimizer)
    train(optimizer, 2)
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert float(state["step"]) == steps + 2


@pytest.mark.parametrize("chosen", ["^variable_1$", "^variable_2$"])
@pytest.mark.parametrize("afterwards", ["it goes on", "a deep copy"])
def test_what_is_chosen_may_come_later_and_must_be_there_in_the_first_step(chosen, afterwards):
    import torch

    optimizer = optim().wrap(excluding(var_names=[chosen]), [torch.ones(2, requires_grad=True)])
    optimizer.add_param_group({"params": [torch.ones(2, requires_grad=True)]})
    optimizer = AFTERWARDS[afterwards](optimizer)
    if chosen == "^variable_1$":
        train(optimizer, 1)
        return
    for _ in range(2):
        with pytest.raises(ValueError, match="matches no parameter's name"):
            train(optimizer, 1)
    optimizer.add_param_group({"params": [torch.ones(2, requires_grad=True)]})
    train(optimizer, 1)


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_switched_on_in_a_group_after_one_before_it_was_taken_out(wrapped):
    """What a group was used with is known by the group, wherever it stands."""
    import torch

    from gradwise import optimizers
    from gradwise.frontends import torch as optim

    one, two = (torch.ones(2, requires_grad=True) for _ in range(2))
    groups = [{"params": [one], "amsgrad": True}, {"params": [two], "amsgrad": False}]
    optimizer = optim.wrap(optimizers.Adam(0.1), groups) if wrapped else optim.Adam(groups)
    for each in (one, two):
        each.grad = torch.ones(2)
    optimizer.step()
    del optimizer.param_groups[0]
    optimizer.param_groups[0]["amsgrad"] = True
    optimizer.step()
    assert two.grad is not None and two[0] < 1
