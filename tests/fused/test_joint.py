"""Steps of many parameter groups as one: the results of each alone, and each alone where anything is not as before."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from helpers.torch_frontend_table import NAMES

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """How many steps were made together, and how many were refused."""
    from gradwise.optimizers.core.fused.joint import Joint

    made: list[bool] = []
    original = Joint.prepared

    def prepared(self, *arguments):
        result = original(self, *arguments)
        # An optimizer for each parameter makes such steps too, each of them alone.
        if len(self._lanes) > 1:
            made.append(result is not None)
        return result

    monkeypatch.setattr(Joint, "prepared", prepared)
    return made


def optimizer_of(name, together, dtype=None, **keywords) -> tuple[Any, list[Any]]:
    """Groups with other rates and decays, of one, two and no parameters; or an optimizer for each of them."""
    import torch

    from gradwise.frontends import torch as ours

    torch.manual_seed(0)
    shapes = [[(3,)], [(2, 5), ()], [(4, 1)], [(300, 7)]]
    parameters = [[torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in group] for group in shapes]
    groups = [
        {"params": group, "lr": 0.1 / (number + 1), "weight_decay": 0.01 * (number % 2)}
        for number, group in enumerate(parameters)
    ]
    kind = getattr(ours, name)
    if together:
        return [kind(groups, **keywords)], parameters
    return [kind([group], **keywords) for group in groups], parameters


def give_gradients(parameters, seed):
    import torch

    chance = torch.Generator().manual_seed(seed)
    for parameter in itertools.chain(*parameters):
        parameter.grad = torch.randn(parameter.shape, generator=chance, dtype=torch.float64).to(parameter.dtype)


def states(optimizers, parameters):
    found = []
    for optimizer, group in zip(itertools.cycle(optimizers), parameters, strict=False):
        for parameter in group:
            held = optimizer.state[parameter].values()
            found.append([parameter.detach().clone(), *(value.clone() for value in held if value is not None)])
    return found


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert x.dtype == y.dtype and x.numpy().tobytes() == y.numpy().tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_groups_step_as_each_alone(name, dtype, counted):
    import torch

    results = []
    for together in (True, False):
        optimizers, parameters = optimizer_of(name, together, getattr(torch, dtype))
        for step in range(6):
            give_gradients(parameters, step)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] *= 0.9
                optimizer.step()
        results.append(states(optimizers, parameters))
    assert_same(*results)
    # The first step records, the second is each group's own, the third is seen to be like it. NAdam's has a beginning.
    assert counted == ([] if name == "NAdam" else [True] * 4)


def interfere(number, optimizers, parameters):
    """Things that happen between steps; what each does is done to groups together and to each alone."""
    import torch

    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    state = {key: value for optimizer in optimizers for key, value in optimizer.state.items()}
    first, second = parameters[0][0], parameters[1][0]
    if number == 0:
        first.grad = None
    elif number == 1:
        second.data = second.data.clone()
    elif number == 2:
        state[first]["exp_avg"].mul_(2)
    elif number == 3:
        state[first]["step"] += 3
    elif number == 4:
        groups[1]["betas"] = (0.5, 0.75)
        groups[2]["amsgrad"] = True
    elif number == 5:
        second.grad = second.grad.t().contiguous().t()
    elif number == 6:
        groups[0]["maximize"] = True
    elif number == 7:
        state[second]["exp_avg_sq"].set_(state[second]["exp_avg_sq"].clone())
    elif number == 8:
        groups[3]["lr"] = torch.tensor(0.25)
    elif number == 9:
        first.grad = first.detach()
    elif number == 10:
        # In memory that another group writes, later in the same step.
        first.grad = parameters[3][0].detach()[0, :3]
    elif number == 11:
        parameters[3][0].grad[0, :3] = float("inf")


@pytest.mark.parametrize("number", range(12))
def test_what_happens_between_steps(number, counted):
    results = []
    for together in (True, False):
        optimizers, parameters = optimizer_of("Adam", together)
        for step in range(9):
            give_gradients(parameters, step)
            if step == 5:
                interfere(number, optimizers, parameters)
            for optimizer in optimizers:
                optimizer.step()
        results.append(states(optimizers, parameters))
    assert_same(*results)
    assert counted.count(True) >= 3


def test_groups_that_share_memory_step_one_after_another(counted):
    import torch

    from gradwise.frontends import torch as ours

    results = []
    for together in (True, False):
        whole = torch.arange(6.0)
        parts = [torch.nn.Parameter(whole[:4]), torch.nn.Parameter(whole[2:])]
        optimizers = [ours.SGD([{"params": [part]} for part in parts], lr=0.5)]
        if not together:
            optimizers = [ours.SGD([part], lr=0.5) for part in parts]
        for step in range(5):
            for part in parts:
                part.grad = torch.full((4,), step + 1.0)
            for optimizer in optimizers:
                optimizer.step()
        results.append(whole)
    assert results[0].tolist() == results[1].tolist() and not counted


def test_versions_and_copies(counted):
    """Autograd sees what was written, and neither copies nor pickles have what is remembered."""
    optimizers, parameters = optimizer_of("AdamW", True)
    for step in range(4):
        give_gradients(parameters, step)
        optimizers[0].step()
    before = [parameter._version for parameter in itertools.chain(*parameters)]
    optimizers[0].step()
    assert [parameter._version for parameter in itertools.chain(*parameters)] == [version + 1 for version in before]
    twin, twins = copy.deepcopy((optimizers[0], parameters))
    give_gradients(parameters, 7)
    give_gradients(twins, 7)
    optimizers[0].step()
    twin.step()
    assert_same(states([twin], twins), states(optimizers, parameters))
    assert counted.count(True) == 4


def test_parameters_of_two_dtypes_with_other_counts(counted):
    """Each is a pass of one parameter, with a count of its own: one began later."""
    import torch

    from gradwise.frontends import torch as ours

    results = []
    for together in (True, False):
        parameters = [torch.nn.Parameter(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.float64)]
        groups = [parameters] if together else [[parameter] for parameter in parameters]
        optimizers = [ours.Adam(group, lr=0.1) for group in groups]
        for step in range(7):
            for number, parameter in enumerate(parameters):
                late = number == 0 and step < 3
                parameter.grad = None if late else torch.full_like(parameter, step + 1.0)
            for optimizer in optimizers:
                optimizer.step()
        results.append(states(optimizers if not together else optimizers * 2, [[each] for each in parameters]))
    assert_same(*results)
