"""State dicts of torch.optim and of `gradwise.frontends.torch` load into each other, and training goes on alike."""

from __future__ import annotations

import copy
import io

import pytest
from helpers.releases import skip_unless_torch, skip_what_torch_lacks, torch_names_parameters
from helpers.torch_frontend_table import (
    MOMENTUM,
    distance,
    each_case,
    each_class,
    give,
    gradients,
    ours,
    parameters,
    run,
    saved,
    theirs,
    twins,
)

pytestmark = pytest.mark.torch


def through_a_file(state):
    import torch

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@each_case
@pytest.mark.parametrize("origin", ["torch", "gradwise"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_training_goes_on_on_the_same_trajectory(case, origin, dtype):
    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    first, second = (theirs, ours) if origin == "torch" else (ours, theirs)
    one = parameters(dtype)
    a = first(name)(one, **arguments)
    run(a, one, 5)
    two = twins(one)
    # Other values than the saved ones, which loading replaces.
    b = second(name)(two, lr=0.5)
    b.load_state_dict(through_a_file(a.state_dict()))
    keys = {"params"} ^ set(a.param_groups[0])
    assert {key: a.param_groups[0][key] for key in keys} == {key: b.param_groups[0][key] for key in keys}
    run(a, one, 6, seed=2)
    run(b, two, 6, seed=2)
    for x, y in zip(one, two, strict=True):
        assert distance(x, y, y) <= 16
    for x, y in zip(one, two, strict=True):
        assert list(a.state[x]) == list(b.state[y])
        assert all(a.state[x][key].shape == b.state[y][key].shape for key in a.state[x])


@each_case
def test_our_own_state_goes_on_to_the_last_bit(case):
    import torch

    name, arguments = case
    one = parameters()
    a = ours(name)(one, **arguments)
    run(a, one, 5)
    two = twins(one)
    b = ours(name)(two, **arguments)
    b.load_state_dict(through_a_file(a.state_dict()))
    run(a, one, 6, seed=2)
    run(b, two, 6, seed=2)
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
    assert str(a.state_dict()) == str(b.state_dict())


@each_class
def test_slots_of_16_bit_parameters_keep_all_their_digits(name):
    import torch

    def given():
        return [torch.ones(4, dtype=torch.bfloat16, requires_grad=True)]

    one, two = given(), given()
    arguments = MOMENTUM.get(name, {})
    a, b = ours(name)(one, **arguments), ours(name)(two, **arguments)
    run_on_16_bits(a, one, 3)
    b.load_state_dict(saved(a))
    for key, value in a.state[one[0]].items():
        loaded = b.state[two[0]][key]
        assert loaded.dtype == value.dtype and loaded.dtype in (torch.float32, torch.float64)
        assert torch.equal(loaded, value)
    # torch's own state has 16 bits, and goes on in 32.
    three, four = given(), given()
    c, d = theirs(name)(three, **arguments), ours(name)(four, **arguments)
    run_on_16_bits(c, three, 3)
    d.load_state_dict(saved(c))
    run_on_16_bits(d, four, 1)
    assert all(value.dtype != torch.bfloat16 for value in d.state[four[0]].values())
    # And back: torch makes of ours what it always makes.
    c.load_state_dict(saved(a))
    run_on_16_bits(c, three, 1)


def run_on_16_bits(optimizer, given, steps):
    import torch

    for step in range(steps):
        given[0].grad = torch.full((4,), 0.3 + step, dtype=torch.bfloat16)
        optimizer.step()


@each_class
def test_a_state_of_other_shapes_is_refused_and_nothing_changes(name):
    import torch

    arguments = MOMENTUM.get(name, {})
    one = [torch.ones(2, 3, requires_grad=True)]
    two = [torch.ones(3, 2, requires_grad=True)]
    a, b = ours(name)(one, **arguments), ours(name)(two, **arguments)
    for given, optimizer in ((one, a), (two, b)):
        give(given, next(gradients(given, 1)))
        optimizer.step()
    before = str(b.state_dict())
    with pytest.raises(ValueError, match=r"has shape \(2, 3\) and the parameter \(3, 2\)"):
        b.load_state_dict(a.state_dict())
    assert str(b.state_dict()) == before
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        b.load_state_dict(ours(name)(parameters()).state_dict())
    assert str(b.state_dict()) == before
    b.step()


@each_class
def test_state_dicts_of_older_versions(name):
    """Without the flags that came later, and with step counts that are numbers."""
    import torch

    one, two = parameters(), parameters()
    a, b = ours(name)(one), ours(name)(two)
    run(a, one, 3)
    run(b, two, 3)
    old = saved(a)
    for group in old["param_groups"]:
        for key in ("foreach", "fused", "maximize", "capturable", "differentiable", "decoupled_weight_decay"):
            group.pop(key, None)
    for entry in old["state"].values():
        for key in ("step", "mu_product"):
            if key in entry:
                entry[key] = entry[key].item()
        if name == "SGD":
            entry["momentum_buffer"] = None
    b.load_state_dict(old)
    assert all(torch.is_tensor(value) for entry in b.state.values() for value in entry.values() if value is not None)
    run(a, one, 3, seed=4)
    run(b, two, 3, seed=4)
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_python_numbers_as_steps_in_the_live_state():
    one, two = parameters(), parameters()
    a, b = ours("Adam")(one), ours("Adam")(two)
    run(a, one, 3)
    run(b, two, 3)
    for entry in b.state.values():
        entry["step"] = int(entry["step"])
    run(a, one, 2)
    run(b, two, 2)
    assert all(x.equal(y) for x, y in zip(one, two, strict=True))


def test_a_held_state_dict_is_live_and_a_loaded_one_maps_by_order():
    one = parameters()
    a = ours("Adam")(one)
    run(a, one, 1)
    held = a.state_dict()
    tensor, count = held["state"][0]["exp_avg"], held["state"][0]["step"]
    before = tensor.clone()
    run(a, one, 1, seed=9)
    assert not tensor.equal(before) and float(count) == 2
    two = twins(one)
    b = ours("Adam")([{"params": two[:1]}, {"params": two[1:]}])
    run(b, two, 1)
    state = saved(a)
    state["param_groups"] = [
        {**state["param_groups"][0], "params": [3]},
        {**state["param_groups"][0], "params": [0, 1, 2]},
    ]
    state["state"] = {(index - 1) % 4: entry for index, entry in state["state"].items()}
    b.load_state_dict(state)
    assert b.state[two[0]]["exp_avg"].equal(a.state[one[0]]["exp_avg"])
    assert b.state[two[1]]["exp_avg"].equal(a.state[one[1]]["exp_avg"])


def test_names_survive():
    import torch

    skip_unless_torch(torch_names_parameters(), "optimizers of named parameters")
    layer = torch.nn.Linear(2, 2)
    named, plain = ours("SGD")(layer.named_parameters(), momentum=0.5), ours("SGD")(layer.parameters(), momentum=0.5)
    layer(torch.ones(1, 2)).sum().backward()
    named.step()
    state = saved(named)
    plain.load_state_dict(state)
    assert plain.param_groups[0]["param_names"] == ["weight", "bias"]
    del state["param_groups"][0]["param_names"]
    named.load_state_dict(state)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]


def test_hooks_of_saving_and_loading():
    one = parameters()
    a = ours("Adam")(one)
    run(a, one, 1)
    fired = []
    a.register_state_dict_pre_hook(lambda optimizer: fired.append("save pre"))
    a.register_state_dict_post_hook(lambda optimizer, state: fired.append("save post"))

    def halved(optimizer, state):
        fired.append("load pre")
        state["param_groups"] = copy.deepcopy(state["param_groups"])
        state["param_groups"][0]["lr"] /= 2
        return state

    a.register_load_state_dict_pre_hook(halved)
    a.register_load_state_dict_pre_hook(lambda *_: fired.append("load pre first"), prepend=True)
    a.register_load_state_dict_post_hook(lambda optimizer: fired.append(optimizer.param_groups[0]["lr"]))
    a.load_state_dict(a.state_dict())
    assert fired == ["save pre", "save post", "load pre first", "load pre", 0.0005]
    assert len(a._optimizer_load_state_dict_pre_hooks) == 2


def test_the_state_of_another_device_context_is_moved():
    """Loading moves slots to where their parameters are; here from the meta device, which has no values."""
    import torch

    one = [torch.ones(2, requires_grad=True)]
    a = ours("Adam")(one)
    one[0].grad = torch.ones(2)
    a.step()
    two = [torch.empty(2, device="meta", requires_grad=True)]
    b = ours("Adam")(two)
    b.load_state_dict(saved(a))
    entry = b.state[two[0]]
    assert entry["exp_avg"].device.type == "meta" and entry["step"].device.type == "cpu"


def test_swap_in_params_and_state():
    """torch 2.13's context manager that lends an optimizer other tensors."""
    import torch
    skip_unless_torch(hasattr(torch.optim, "swap_in_optimizer_params_and_state"), "context manager that lends tensors")
    from torch.optim import swap_in_optimizer_params_and_state

    layer, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    a = ours("Adam")(layer.named_parameters())
    layer(torch.ones(1, 2)).sum().backward()
    a.step()
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    state = saved(a)
    lent = {name: p.detach().clone().requires_grad_() for name, p in other.named_parameters()}
    for parameter in lent.values():
        parameter.grad = torch.ones_like(parameter)
    with swap_in_optimizer_params_and_state(a, lent, state):
        a.step()
    assert float(state["state"][0]["step"]) == 2
    assert float(a.state[layer.weight]["step"]) == 1
    assert all(p.equal(before[name]) for name, p in layer.named_parameters())


@pytest.mark.parametrize(
    ("saved_by", "loaded_by", "words"),
    [
        ("Adam", "SGD", "group 0 has no 'momentum', 'dampening'"),
        ("SGD", "Adam", "group 0 has no 'betas', 'eps'"),
        ("Adamax", "Adam", "state of parameter 0 has 'exp_inf'"),
        ("Adadelta", "RMSprop", "group 0 has no 'alpha'"),
    ],
)
def test_the_state_of_another_class_is_refused(saved_by, loaded_by, words):
    one = parameters("float32")
    a = theirs(saved_by)(one, lr=0.1)
    run(a, one, 2)
    two = twins(one)
    b = ours(loaded_by)(two, lr=0.1)
    run(b, two, 1)
    before = copy.deepcopy(b.state_dict())
    with pytest.raises(ValueError, match=words):
        b.load_state_dict(a.state_dict())
    assert str(b.state_dict()) == str(before)


def test_what_users_call_their_slots_is_no_other_class():
    """State that a user keeps beside the class's own loads, whatever was wrapped before."""
    import torch

    from gradwise import optimizers
    from gradwise.frontends import torch as gtorch

    gtorch.wrap(optimizers.SGD(0.1, momentum=0.9), parameters("float32"))
    one = parameters("float32")
    a = ours("Adam")(one, lr=0.1)
    run(a, one, 1)
    a.state[one[0]]["momentum"] = torch.ones_like(one[0])
    two = twins(one)
    b = ours("Adam")(two, lr=0.1)
    b.load_state_dict(a.state_dict())
    assert torch.equal(b.state[two[0]]["momentum"], torch.ones_like(one[0]))


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"capturable": True}], ids=["plain", "fused", "capturable"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_what_users_keep_beside_the_class_is_loaded_as_torch_loads_it(options, dtype):
    """Tensors become the parameter's in dtype, wherever they stand, but for steps; nothing is shared with the saved."""
    import torch

    def kept():
        whole, shared = torch.arange(3), torch.ones(2, dtype=torch.float64)
        beside = {
            "whole": whole, "deep": {"list": [shared, 1], "step": torch.tensor(3), "tuple": (shared, 2)},
            "same": shared, "number": 2.5, "none": None,
        }  # fmt: skip
        return beside, {"of nobody": [shared, {"step": whole}]}

    loaded = []
    for classes in (theirs, ours):
        parameter = torch.ones(3, dtype=getattr(torch, dtype), requires_grad=True)
        optimizer = classes("Adam")([parameter])
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        state = optimizer.state_dict()
        state["param_groups"][0] |= options
        beside, other = kept()
        state["state"][0] = {**state["state"][0], **beside}
        state["state"]["other"] = other
        optimizer.load_state_dict(state)
        loaded.append((optimizer.state[parameter], optimizer.state["other"]))
        before = str(beside), str(other)
    (torchs, torchs_other), (entry, nobodys) = loaded
    own = {"whole", "deep", "same", "number", "none"}
    assert str({key: entry[key] for key in sorted(own)}) == str({key: torchs[key] for key in sorted(own)})
    assert str(nobodys) == str(torchs_other)
    tensors = entry["whole"], entry["same"], entry["deep"]["step"], entry["deep"]["list"][0], nobodys["of nobody"][0]
    for tensor in tensors:
        tensor.fill_(7)
    assert (str(beside), str(other)) == before


def test_no_group_is_looked_through_for_each_entry():
    """Loading is linear in the number of parameters: the groups are gone through once."""
    import torch

    class Indices(list):
        def __contains__(self, index):
            raise AssertionError("a group is looked through for one index")

    given = [torch.ones(2, requires_grad=True) for _ in range(3)]
    optimizer = ours("Adam")(given)
    for parameter in given:
        parameter.grad = torch.ones(2)
    optimizer.step()
    state = saved(optimizer)
    state["param_groups"][0]["params"] = Indices(state["param_groups"][0]["params"])
    optimizer.load_state_dict(state)
    optimizer.step()
    assert [float(optimizer.state[parameter]["step"]) for parameter in given] == [2.0] * 3


def test_texts_beside_the_class_stay_what_they_are():
    """torch takes their letters apart and puts the name of a generator in their place."""
    import torch

    parameter = torch.ones(2, requires_grad=True)
    parameter.grad = torch.ones(2)
    optimizer = ours("Adam")([parameter])
    optimizer.step()
    optimizer.state[parameter]["note"] = "kept"
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[parameter]["note"] == "kept"
