"""Torch's distributed packages, with one process: FSDP2, distributed checkpoints, ZeroRedundancyOptimizer."""

from __future__ import annotations

import copy

import pytest
from helpers.torch_frontend_table import MOMENTUM, distance, each_class, ours, theirs

pytestmark = [
    pytest.mark.torch,
    # torch.distributed's own.
    pytest.mark.filterwarnings("ignore:.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*will be deprecated"),
]


@pytest.fixture
def group(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def network(seed=0):
    import torch

    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def train(model, optimizer, steps):
    import torch

    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs) ** 2).mean().backward()
        optimizer.step()


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()


@each_class
def test_fsdp2(name, group):
    from torch.distributed.fsdp import fully_shard

    ends = []
    arguments = MOMENTUM.get(name, {})
    for sharded in (True, False):
        model = network()
        if sharded:
            fully_shard(model)
        optimizer = ours(name)(model.parameters(), lr=0.05, **arguments)
        train(model, optimizer, 4)
        if sharded:
            kept = {k: type(v).__name__ for k, v in optimizer.state[next(model.parameters())].items()}
            assert all(kind == "DTensor" for key, kind in kept.items() if key not in ("step", "mu_product"))
        ends.append([whole(parameter) for parameter in model.parameters()])
    for one, two, start in zip(*ends, network().parameters(), strict=True):
        assert distance(one, two, start) <= 16


@each_class
@pytest.mark.parametrize("flat", [False, True])
def test_state_dicts_by_name(name, flat):
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    arguments = MOMENTUM.get(name, {})
    one, two = network(), network()
    a, b = ours(name)(one.parameters(), **arguments), ours(name)(two.parameters(), **arguments)
    train(one, a, 3)
    state = copy.deepcopy(get_optimizer_state_dict(one, a, options=options))
    assert any("0.weight" in str(key) for key in (state if flat else state["state"]))
    two.load_state_dict(one.state_dict())
    set_optimizer_state_dict(two, b, state, options=options)
    train(one, a, 3)
    train(two, b, 3)
    assert all(x.equal(y) for x, y in zip(one.parameters(), two.parameters(), strict=True))


@each_class
def test_zero_redundancy(name, group):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    ends = []
    for whose in (ours, theirs):
        model = network()
        optimizer = ZeroRedundancyOptimizer(model.parameters(), whose(name), lr=0.05)
        train(model, optimizer, 4)
        optimizer.consolidate_state_dict()
        assert len(optimizer.state_dict()["param_groups"]) == 1
        ends.append([parameter.detach() for parameter in model.parameters()])
    for one, two, start in zip(*ends, network().parameters(), strict=True):
        assert distance(one, two, start) <= 16
