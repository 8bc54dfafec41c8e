"""`gradwise.frontends.torch` beside torch.optim: signatures, groups, numbers, hooks, errors, copies."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from helpers.releases import skip_unless_torch, skip_what_torch_lacks, torch_names_parameters
from helpers.torch_frontend_table import (
    NAMES,
    PEERS,
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


# -------------------------------------------------------------------- the class


@each_class
def test_signature_defaults_and_groups_are_those_of_torch(name):
    import torch

    mine, other = inspect.signature(ours(name)), inspect.signature(theirs(name))
    decouples = "decoupled_weight_decay" in inspect.signature(torch.optim.Adam).parameters
    skip_unless_torch(decouples or name not in ("Adam", "AdamW"), "decoupled Adam")
    assert [(p.name, p.kind, p.default) for p in mine.parameters.values()] == [
        (p.name, p.kind, p.default) for p in other.parameters.values()
    ]
    a, b = ours(name)(parameters()), theirs(name)(parameters())
    assert isinstance(a, torch.optim.Optimizer)
    assert a.defaults == b.defaults
    assert saved(a)["param_groups"] == saved(b)["param_groups"]
    assert repr(a) == repr(b)


def test_the_module_stands_for_torch_optim():
    import torch

    from gradwise.frontends import torch as optim

    assert optim.lr_scheduler is torch.optim.lr_scheduler
    assert optim.swa_utils is torch.optim.swa_utils
    assert optim.Optimizer is torch.optim.Optimizer
    assert set(NAMES) <= set(optim.__all__)
    assert issubclass(optim.AdamW, optim.Adam)


def test_pickles_name_the_classes_where_users_import_them():
    """Whatever file they stand in: what was pickled is found when that changes."""
    from gradwise.frontends import torch as module

    kinds = [vars(module)[name] for name in module.__all__]
    ours = [kind for kind in kinds if isinstance(kind, type) and kind.__module__.startswith("gradwise.")]
    assert len(ours) >= 8
    assert {kind.__module__ for kind in ours} == {module.__name__}


def test_arguments_by_position():
    adam = ours("Adam")(parameters(), 0.1, (0.5, 0.6), 1e-3, 0.2, True)
    assert adam.defaults["betas"] == (0.5, 0.6) and adam.defaults["weight_decay"] == 0.2 and adam.defaults["amsgrad"]
    with pytest.raises(TypeError):
        ours("Adam")(parameters(), 0.1, (0.5, 0.6), 1e-3, 0.2, True, True)
    with pytest.raises(TypeError, match="alpha"):
        ours("Adam")(parameters(), alpha=0.9)


# -------------------------------------------------------------------- numbers


@each_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_each_step_from_the_state_of_torch_is_within_4_eps(case, dtype):
    """Measured over 30 steps of four seeds: at most 2.0 (NAdam), otherwise 1.3."""
    import torch

    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    if name == "NAdam" and dtype in ("float64", "complex128"):
        # torch rounds mu_product to the default dtype: only so are the numbers those of the formula.
        torch.set_default_dtype(torch.float64)
    try:
        other = parameters(dtype)
        mine = twins(other)
        a, b = ours(name)(mine, **arguments), theirs(name)(other, **arguments)
        for grads in gradients(other, 12):
            before = [parameter.detach().clone() for parameter in other]
            for parameter, same in zip(mine, before, strict=True):
                parameter.data.copy_(same)
            state = saved(b)
            a.load_state_dict(copy.deepcopy(state))
            give(mine, grads)
            give(other, grads)
            a.step()
            b.step()
            for one, two, start in zip(mine, other, before, strict=True):
                assert distance(one, two, start) <= 4
            for place, (one, two) in enumerate(zip(mine, other, strict=True)):
                _states_agree(a.state[one], b.state[two], state["state"].get(place, {}))
    finally:
        torch.set_default_dtype(torch.float32)


def _states_agree(mine, other, before):
    import torch

    assert list(mine) == list(other)
    for key, value in other.items():
        assert mine[key].shape == value.shape
        assert mine[key].dtype == value.dtype or key == "mu_product"
        start = before.get(key, torch.zeros_like(value))
        if bool(value.any()) or bool(start.any()):
            assert distance(mine[key].to(value.dtype), value, start) <= 4, key


@each_case
def test_p_grad_is_never_written(case):
    name, arguments = case
    given = parameters()
    optimizer = ours(name)(given, **arguments)
    for grads in gradients(given, 3):
        give(given, grads)
        kept = [None if p.grad is None else (p.grad, p.grad._version, p.grad.clone()) for p in given]
        optimizer.step()
        for parameter, known in zip(given, kept, strict=True):
            if known is None:
                assert parameter.grad is None
            else:
                assert parameter.grad is known[0] and parameter.grad._version == known[1]
                assert parameter.grad.equal(known[2])


@each_class
def test_low_precision_parameters_have_float32_slots_and_exact_scalars(name):
    import torch

    given = [torch.ones(4, dtype=torch.bfloat16, requires_grad=True)]
    wide = [torch.ones(4, requires_grad=True)]
    a, b = ours(name)(given), ours(name)(wide)
    for _ in range(20):
        given[0].grad = torch.full((4,), 0.5, dtype=torch.bfloat16)
        wide[0].grad = torch.full((4,), 0.5)
        a.step()
        b.step()
        with torch.no_grad():
            # One rounding in each step, from the same start.
            wide[0].copy_(wide[0].to(torch.bfloat16))
        assert torch.equal(given[0], wide[0].to(torch.bfloat16))
    assert all(value.dtype != torch.bfloat16 for value in a.state[given[0]].values())


@each_class
def test_meta_tensors(name):
    import torch

    given = [torch.empty(3, 2, device="meta", requires_grad=True)]
    given[0].grad = torch.empty(3, 2, device="meta")
    optimizer = ours(name)(given)
    optimizer.step()
    optimizer.step()
    assert all(v.device.type == "meta" for k, v in optimizer.state[given[0]].items() if k not in ("step", "mu_product"))


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.capturable])
def test_no_value_on_a_device_is_read(name):
    """Tensors on the meta device have no values: reading one, as waiting for a device would, raises."""
    import torch

    given = [torch.empty(3, 2, device="meta", requires_grad=True)]
    given[0].grad = torch.empty(3, 2, device="meta")
    more = {"betas": (torch.tensor(0.9, device="meta"), torch.tensor(0.99, device="meta"))} if name == "Adam" else {}
    rate = torch.tensor(0.1, device="meta")
    for arguments in ({"capturable": True}, {"capturable": True, "weight_decay": 0.1, "maximize": True}):
        optimizer = ours(name)(given, **arguments)
        optimizer.param_groups[0].update(lr=rate, **more)
        for _ in range(3):
            optimizer.step()
        assert all(value.device.type == "meta" for value in optimizer.state[given[0]].values())
    optimizer = ours(name)(given)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    assert optimizer.state[given[0]]["step"].device.type == "cpu"


# -------------------------------------------------------------------- groups and hyperparameters


@each_class
def test_groups_have_their_own_hyperparameters_and_may_change_them(name):
    other = parameters()
    mine = twins(other)

    def made(kind, given):
        return kind([{"params": given[:2], "lr": 0.5}, {"params": given[2:], "weight_decay": 0.25}], lr=0.125)

    a, b = made(ours(name), mine), made(theirs(name), other)
    for step, grads in enumerate(gradients(other, 10)):
        give(mine, grads)
        give(other, grads)
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] *= 0.75
            optimizer.param_groups[1]["maximize"] = step % 2 == 1
            if "betas" in optimizer.defaults:
                optimizer.param_groups[1]["betas"] = (0.9 - 0.05 * step, 0.95)
            if "momentum" in optimizer.defaults and name == "RMSprop":
                optimizer.param_groups[0]["momentum"] = 0.0
            optimizer.step()
    for one, two in zip(mine, other, strict=True):
        assert distance(one, two, two) <= 40


def test_momentum_switched_on_and_off_later():
    other = parameters()
    mine = twins(other)
    a, b = ours("SGD")(mine, lr=0.1, dampening=0.5), theirs("SGD")(other, lr=0.1, dampening=0.5)
    for step, grads in enumerate(gradients(other, 12)):
        for optimizer, given in ((a, mine), (b, other)):
            optimizer.param_groups[0]["momentum"] = 0.0 if step in (0, 1, 6) else 0.9
            give(given, grads)
            optimizer.step()
    for one, two in zip(mine, other, strict=True):
        assert distance(one, two, two) <= 20


@each_class
def test_add_param_group_in_the_middle(name):
    other = parameters()
    mine = twins(other)
    a, b = ours(name)(mine[:2]), theirs(name)(other[:2])
    for step, grads in enumerate(gradients(other, 8)):
        if step == 3 and name != "Adagrad":
            a.add_param_group({"params": mine[2:], "lr": 0.01})
            b.add_param_group({"params": other[2:], "lr": 0.01})
        give(mine, grads)
        give(other, grads)
        a.step()
        b.step()
    for one, two in zip(mine, other, strict=True):
        assert distance(one, two, two) <= 40


def test_a_parameter_without_gradients_has_no_state_until_it_gets_one():
    given = parameters()
    optimizer = ours("Adam")(given)
    give(given, next(gradients(given, 1)))
    given[1].grad = None
    optimizer.step()
    assert given[1] not in optimizer.state and given[0] in optimizer.state
    kept = optimizer.state[given[0]]["exp_avg"]
    give(given, next(gradients(given, 1)))
    optimizer.step()
    assert optimizer.state[given[0]]["exp_avg"] is kept
    assert float(optimizer.state[given[0]]["step"]) == 2 and float(optimizer.state[given[1]]["step"]) == 1


def test_named_parameters():
    import torch

    skip_unless_torch(torch_names_parameters(), "optimizers of named parameters")
    layer = torch.nn.Linear(2, 2)
    optimizer = ours("Adam")(layer.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters")
def test_a_parameter_given_twice_in_a_group_makes_one_step():
    import torch

    w, v = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = ours("SGD")([w, v, w], lr=0.5, momentum=0.5)
    for _ in range(2):
        w.grad, v.grad = torch.ones(2), torch.ones(3)
        optimizer.step()
    assert w.tolist() == [-0.25] * 2 and v.tolist() == [-0.25] * 3


@each_class
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_rate_in_a_tensor_is_read_in_every_step(name, shape):
    import torch

    one, two = parameters(), parameters()
    rate = torch.full(shape, 0.5, dtype=torch.float64)
    a, b = ours(name)(one, lr=rate), ours(name)(two, lr=0.5)
    for grads in gradients(one, 4):
        give(one, grads)
        give(two, grads)
        a.step()
        b.step()
        rate.mul_(0.5)
        b.param_groups[0]["lr"] *= 0.5
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
    assert a.param_groups[0]["lr"] is rate


# -------------------------------------------------------------------- step


def test_closure():
    import torch

    w = torch.tensor([1.0], requires_grad=True)
    optimizer = ours("SGD")([w], lr=0.25)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert float(optimizer.step(closure)) == 1.0
        assert float(optimizer.step(closure=closure)) == 0.25
    assert optimizer.step(None) is None
    assert calls == [True, True] and w.tolist() == [0.0]


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none):
    given = parameters()
    optimizer = ours("Adam")(given, foreach=True)
    give(given, next(gradients(given, 1)))
    optimizer.zero_grad(set_to_none=to_none)
    assert all(p.grad is None if to_none else not p.grad.any() for p in given)
    optimizer.step()
    assert bool(optimizer.state) is not to_none


@each_class
@pytest.mark.parametrize("subclassed", [False, True])
def test_hooks_fire_once_in_order(name, subclassed):
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    kind = type("Mine", (ours(name),), {}) if subclassed else ours(name)
    given, fired = parameters(), []
    optimizer = kind(given)
    handles = [
        register_optimizer_step_pre_hook(lambda *_: fired.append("global pre")),
        optimizer.register_step_pre_hook(lambda *_: fired.append("pre")),
        optimizer.register_step_post_hook(lambda *_: fired.append("post")),
        register_optimizer_step_post_hook(lambda *_: fired.append("global post")),
    ]
    run(optimizer, given, 1)
    for handle in handles:
        handle.remove()
    run(optimizer, given, 1)
    assert fired == ["global pre", "pre", "post", "global post"]


def test_nothing_happens_without_gradients():
    given = parameters()
    optimizer = ours("Adam")(given)
    before = [parameter.detach().clone() for parameter in given]
    optimizer.step()
    assert not optimizer.state
    assert all(a.equal(b) for a, b in zip(given, before, strict=True))


def test_a_stale_graph_is_refused():
    import torch

    w = torch.ones(3, requires_grad=True)
    loss = (w**2).sum()
    w.grad = torch.ones(3)
    ours("Adam")([w]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# -------------------------------------------------------------------- state that others change


def test_state_replaced_or_written_by_the_user_counts():
    import torch

    one, two = parameters(), parameters()
    a, b = ours("Adam")(one), ours("Adam")(two)
    run(a, one, 5)
    run(b, two, 5)
    for optimizer, given in ((a, one), (b, two)):
        entry = optimizer.state[given[0]]
        entry["step"].fill_(17)
        if optimizer is a:
            entry["exp_avg"].mul_(2)
        else:
            entry["exp_avg"] = entry["exp_avg"] * 2
            optimizer.state[given[0]] = dict(entry)
        run(optimizer, given, 2, seed=5)
        assert float(optimizer.state[given[0]]["step"]) == 19
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_parameters_whose_data_or_place_in_the_group_is_replaced():
    import torch

    given = parameters()
    optimizer = ours("Adam")(given)
    run(optimizer, given, 2)
    given[0].data = given[0].data.clone()
    run(optimizer, given, 1)
    assert float(optimizer.state[given[0]]["step"]) == 3
    new = torch.ones(3, requires_grad=True)
    optimizer.param_groups[0]["params"][0] = new
    new.grad = torch.ones(3)
    optimizer.step()
    assert float(optimizer.state[new]["step"]) == 1 and new.tolist() != [1.0] * 3


@each_case
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_go_on_alike(case, how):
    import torch

    name, arguments = case
    given = parameters()
    optimizer = ours(name)(given, **arguments)
    run(optimizer, given, 4)
    # The parameters must be copied with the optimizer, which knows them by identity.
    pair = (optimizer, given)
    twin, own = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
    run(optimizer, given, 4, seed=3)
    run(twin, own, 4, seed=3)
    assert all(torch.equal(x, y) for x, y in zip(given, own, strict=True))
    assert {k for k in vars(twin) if not k.startswith("_")} == {k for k in vars(optimizer) if not k.startswith("_")}


# -------------------------------------------------------------------- errors


def test_errors_are_those_of_torch():
    import torch

    given = parameters()
    for name, arguments, kind, message in [
        ("Adam", {"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ("Adam", {"eps": -1.0}, ValueError, "Invalid epsilon value: -1.0"),
        ("Adam", {"betas": (0.9, 1.0)}, ValueError, "Invalid beta parameter at index 1: 1.0"),
        ("Adam", {"betas": 0.9}, ValueError, "Invalid betas: 0.9"),
        ("Adam", {"betas": (0.9, torch.tensor(0.9))}, ValueError, "betas must be either both floats or both Tensors"),
        ("Adam", {"lr": torch.ones(2)}, ValueError, "Tensor lr must be 1-element"),
        ("Adam", {"lr": torch.tensor(0.1), "foreach": True}, ValueError, "lr as a Tensor is not supported"),
        (
            "SGD",
            {"momentum": 0.0, "nesterov": True},
            ValueError,
            "Nesterov momentum requires a momentum and zero dampening",
        ),
        ("SGD", {"fused": True, "foreach": True}, RuntimeError, "`fused` and `foreach` cannot be `True` together"),
        ("Adagrad", {"fused": True, "differentiable": True}, RuntimeError, "`fused` does not support `differentiable`"),
        ("RMSprop", {"weight_decay": -0.5}, ValueError, "Invalid weight_decay value: -0.5"),
        ("Adam", {"lr": float("nan")}, ValueError, "Invalid learning rate: nan"),
    ]:
        with pytest.raises(kind, match=message):
            ours(name)(given, **arguments)


def test_a_groups_own_values_are_checked_and_nothing_changes():
    given = parameters()
    optimizer = ours("Adam")(given[:1])
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optimizer.add_param_group({"params": given[1:], "lr": -1})
    assert len(optimizer.param_groups) == 1
    give(given, next(gradients(given, 1)))
    before, state = given[0].detach().clone(), saved(optimizer)
    optimizer.param_groups[0]["betas"] = (0.9, 2.0)
    with pytest.raises(ValueError, match=r"Invalid beta parameter at index 1: 2\.0 \(Adam: `betas\[1\]` must be"):
        optimizer.step()
    assert given[0].equal(before) and saved(optimizer)["state"] == state["state"]
    optimizer.param_groups[0]["betas"] = (0.9, 0.99)
    optimizer.step()


def test_capturable_on_the_cpu_is_refused():
    given = parameters()
    optimizer = ours("Adam")(given, capturable=True)
    give(given, next(gradients(given, 1)))
    with pytest.raises(AssertionError, match="If capturable=True, params and state_steps must be on supported devices"):
        optimizer.step()


def test_sparse_gradients():
    import torch

    for name in NAMES:
        w = torch.ones(3, 2, requires_grad=True)
        w.grad = torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 2), (3, 2), check_invariants=True)
        optimizer = ours(name)([w])
        if name in ("SGD", "Adagrad"):
            optimizer.step()
            assert w.grad.is_sparse and w[1].tolist() == [1.0, 1.0] and w[0].tolist() != [1.0, 1.0]
        else:
            with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients"):
                optimizer.step()
            assert not optimizer.state
    optimizer = ours("Adagrad")([w], weight_decay=0.1)
    with pytest.raises(RuntimeError, match="weight_decay option is not compatible with sparse gradients"):
        optimizer.step()
