"""What stands around an optimizer in torch: schedulers, AMP, clipping, averaging, compilation, differentiation."""

from __future__ import annotations

import warnings

import pytest
from helpers.selection import WHOLE, crossing, taking_turns
from helpers.torch_frontend_table import (
    MOMENTUM,
    NAMES,
    PEERS,
    distance,
    each_case,
    each_class,
    give,
    gradients,
    ours,
    parameters,
    theirs,
    twins,
)

pytestmark = pytest.mark.torch


# -------------------------------------------------------------------- schedulers

SCHEDULERS = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 0.9),
    "StepLR": lambda s, o: s.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5], 0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.25, 1.0, 5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.5)], [3]),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.5)], o),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.001, 0.1, 3, cycle_momentum=has_momentum(o)),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=has_momentum(o)),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=1, factor=0.5),
}


def has_momentum(optimizer):
    return "momentum" in optimizer.defaults or "betas" in optimizer.defaults


def test_every_scheduler_of_torch_is_in_the_table():
    from torch.optim import lr_scheduler

    missing = set(lr_scheduler.__all__) - set(SCHEDULERS) - {"LRScheduler"}
    assert not missing


@each_class
@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_schedulers(name, kind):
    from torch.optim import lr_scheduler

    other = parameters()
    mine = twins(other)
    arguments = MOMENTUM.get(name, {})
    pairs = []
    for optimizer, given in ((ours(name), mine), (theirs(name), other)):
        optimizer = optimizer([{"params": given[:2], "lr": 0.05}, {"params": given[2:]}], lr=0.02, **arguments)
        pairs.append((optimizer, SCHEDULERS[kind](lr_scheduler, optimizer), given))
    for grads in gradients(other, 12):
        seen = []
        for optimizer, scheduler, given in pairs:
            give(given, grads)
            optimizer.step()
            scheduler.step(*([1.0] if kind == "ReduceLROnPlateau" else []))
            keys = [key for key in ("lr", "betas", "momentum") if key in optimizer.param_groups[0]]
            seen.append([[group[key] for key in keys] for group in optimizer.param_groups])
        assert seen[0] == seen[1]
    for one, two in zip(mine, other, strict=True):
        assert distance(one, two, two) <= 48


def test_swalr_and_averaged_model():
    import torch
    from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = ours("SGD")(model.parameters(), lr=0.1, momentum=0.9)
    averages = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    scheduler = SWALR(optimizer, swa_lr=0.05, anneal_epochs=3)
    inputs, losses = torch.randn(8, 3), []
    for _ in range(10):
        optimizer.zero_grad()
        loss = ((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        optimizer.step()
        averages.update_parameters(model)
        scheduler.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2 and optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert not torch.equal(averages.module[0].weight, model[0].weight)


# -------------------------------------------------------------------- mixed precision, clipping


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=["plain", "fused"])
def test_grad_scaler_and_autocast(flags):
    import torch

    def train(kind):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 1)
        optimizer = kind(model.parameters(), lr=0.125, **flags)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        inputs = torch.randn(16, 4)
        for step in range(6):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = (model(inputs) - 1).float().square().mean()
            scaler.scale(loss).backward()
            if step == 3:
                model.weight.grad[0, 0] = float("inf")
            if step == 4:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        return model, optimizer, scaler.get_scale()

    (a, one, scale), (b, two, expected) = train(ours("Adam")), train(theirs("Adam"))
    assert scale == expected
    assert distance(a.weight, b.weight, b.weight) <= 24
    # The step with the infinite gradient was left out.
    assert float(one.state[a.weight]["step"]) == float(two.state[b.weight]["step"]) == 5
    # Only then does Lightning allow clipping: torch's fused classes take the unscaling upon themselves.
    assert not getattr(one, "_step_supports_amp_scaling", False)


@pytest.mark.parametrize("clip", ["clip_grad_norm_", "clip_grad_value_"])
def test_clipping(clip):
    import torch

    other = parameters()
    mine = twins(other)
    a, b = ours("AdamW")(mine), theirs("AdamW")(other)
    for grads in gradients(other, 6):
        for optimizer, given in ((a, mine), (b, other)):
            give(given, grads)
            getattr(torch.nn.utils, clip)(given, 0.25)
            optimizer.step()
    for one, two in zip(mine, other, strict=True):
        assert distance(one, two, two) <= 24


# -------------------------------------------------------------------- functional calls, hooks in backward


def test_gradients_of_functional_calls():
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = ours("Adam")(model.parameters(), lr=0.1)
    inputs, targets = torch.randn(8, 3), torch.randn(8, 1)

    def loss(values):
        return ((torch.func.functional_call(model, values, (inputs,)) - targets) ** 2).mean()

    losses = []
    for _ in range(30):
        values = {name: parameter.detach() for name, parameter in model.named_parameters()}
        grads, value = torch.func.grad_and_value(loss)(values)
        losses.append(float(value))
        for name, parameter in model.named_parameters():
            parameter.grad = grads[name]
        optimizer.step()
    assert losses[-1] < losses[0] / 2


def test_an_optimizer_for_each_parameter_in_the_backward_pass():
    import torch

    model = torch.nn.Linear(3, 1)
    optimizers = {parameter: ours("Adam")([parameter]) for parameter in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    before = model.weight.detach().clone()
    model(torch.ones(2, 3)).sum().backward()
    assert not model.weight.equal(before) and model.weight.grad is None


# -------------------------------------------------------------------- compilation


# Dynamo itself looks at the loss's gradient where the graph breaks for the backward pass.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor")
@crossing(("name", "scheduled"), NAMES, [False, True], of=taking_turns)
def test_a_compiled_training_step(name, scheduled):
    """The model is compiled; the optimizer's own pass over memory, compiled already, is called as it is."""
    import torch

    def train(kind, compiled):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        optimizer = kind(model.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        inputs = torch.randn(8, 3)

        def step():
            optimizer.zero_grad()
            loss = (model(inputs) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = torch.compile(step, backend="eager") if compiled else step
        losses = []
        for _ in range(5):
            losses.append(float(run()))
            if scheduled:
                scheduler.step()
        return model, losses

    torch._dynamo.reset()
    (a, losses), (b, expected) = train(ours(name), True), train(ours(name), False)
    assert losses == expected
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.crossing
@pytest.mark.parametrize("name", ["NAdam", "RMSprop"] if WHOLE else ["SGD", "Adam", "Adagrad"])
def test_a_step_that_torch_compiles_itself(name, monkeypatch):
    """As on devices, or without Numba: the core's rule goes into the graph, and a new rate compiles nothing."""
    import torch

    from gradwise.frontends.torch import adapter

    monkeypatch.setattr(adapter, "runs_compiled", lambda groups: False)
    torch._dynamo.reset()
    arguments = MOMENTUM.get(name, {})
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    one, two, compiled = parameters()[:2], parameters()[:2], 0  # Each is traced: more of them say the same.
    a, b = ours(name)(one, **arguments), ours(name)(two, **arguments)
    step = torch.compile(a.step, backend=backend)
    for count in range(5):
        generator = torch.Generator().manual_seed(count)
        for x, y in zip(one, two, strict=True):
            x.grad = torch.randn(x.shape, generator=generator)
            y.grad = x.grad.clone()
        step()
        b.step()
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] *= 0.9
        compiled = len(graphs) if count == 2 else compiled if count > 2 else 0
    assert len(graphs) == compiled <= 3
    assert sum(len(graph.graph.nodes) for graph in graphs) > 20
    for x, y in zip(one, two, strict=True):
        assert distance(x, y, y) <= 16
        assert list(a.state[x]) == list(b.state[y])
        assert "step" not in a.state[x] or float(a.state[x]["step"]) == 5


def test_functions_of_torch_read_cells():
    """So does its compiler, which knows no other way to what an operator gets beside a tensor."""
    import torch

    from gradwise.backends import Variable

    cell, other = Variable(torch.tensor([1.0, 2.0])), torch.tensor([3.0, 4.0])
    assert torch.add(other, cell, alpha=2).tolist() == [5.0, 8.0]
    assert (other * cell).tolist() == (cell * other).tolist() == [3.0, 8.0]
    assert torch.where(other > 3, other, cell).tolist() == [1.0, 4.0]
    compiled = torch.compile(lambda tensor: cell * tensor - tensor / cell, backend="eager", fullgraph=True)
    assert compiled(other).tolist() == [0.0, 6.0]


# -------------------------------------------------------------------- differentiation


@each_case
def test_gradcheck_through_a_differentiable_step(case):
    import torch

    name, arguments = case
    generator = torch.Generator().manual_seed(0)
    start, gradient = (torch.rand(5, generator=generator, dtype=torch.float64) + 0.25 for _ in range(2))
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def two_steps(values, grad, rate):
        w = values.clone()
        optimizer = ours(name)([w], **{**arguments, "lr": rate, "differentiable": True})
        for scale in (1.0, 0.5):
            w.grad = grad * scale
            optimizer.step()
        return w, *(v for k, v in optimizer.state[w].items() if k != "step" and v.requires_grad)

    inputs = (start.requires_grad_(), gradient.requires_grad_(), rate)
    assert torch.autograd.gradcheck(two_steps, inputs)
    w, *_ = two_steps(*inputs)
    plain = start.detach().clone().requires_grad_()
    optimizer = ours(name)([plain], **{**arguments, "lr": 0.1})
    for scale in (1.0, 0.5):
        plain.grad = gradient.detach() * scale
        optimizer.step()
    assert distance(w, plain, plain) <= 16


def test_gradient_to_betas():
    import torch

    betas = tuple(torch.tensor(beta, dtype=torch.float64, requires_grad=True) for beta in (0.9, 0.99))
    value = torch.ones(3, dtype=torch.float64, requires_grad=True).clone()
    optimizer = ours("Adam")([value], betas=betas, differentiable=True)
    for scale in (1.0, -0.5):
        value.grad = torch.ones(3, dtype=torch.float64) * scale
        optimizer.step()
    value.sum().backward()
    assert all(beta.grad is not None and float(beta.grad) != 0 for beta in betas)


@pytest.mark.crossing
@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("Adam", "betas", [(0.9 - 0.01 * i, 0.999) for i in range(8)]),
        ("Adadelta", "rho", [0.9 - 0.01 * i for i in range(8)]),
    ]
    if WHOLE
    else [
        ("NAdam", "betas", [(0.9 - 0.01 * i, 0.999) for i in range(8)]),
        ("RMSprop", "alpha", [0.9 - 0.01 * i for i in range(8)]),
    ],
)
def test_numbers_that_a_scheduler_writes_compile_nothing_anew(name, key, values, monkeypatch):
    """Where the step is part of the graph, as on devices, cyclic betas would be compiled at every step."""
    import torch
    from torch._dynamo.testing import CompileCounter

    from gradwise.frontends import torch as gtorch
    from gradwise.frontends.torch import adapter

    monkeypatch.setattr(adapter, "runs_compiled", lambda groups: False)
    ends = []
    for compiled in (False, True):
        torch._dynamo.reset()
        parameter = torch.nn.Parameter(torch.ones(3))
        optimizer = getattr(gtorch, name)([parameter], lr=0.1)
        counter = CompileCounter()
        step = torch.compile(optimizer.step, backend=counter) if compiled else optimizer.step
        for value in values:
            parameter.grad = torch.ones(3)
            optimizer.param_groups[0][key] = value
            step()
        ends.append(parameter.detach())
    assert counter.frame_count <= 4
    torch.testing.assert_close(*ends, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.capturable and not peer.fused])
def test_rates_that_are_tensors_with_foreach(name):
    """Only Adam's multi-tensor functions need capturable for them."""
    import torch

    from gradwise.frontends import torch as gtorch

    for module in (torch.optim, gtorch):
        parameter = torch.nn.Parameter(torch.ones(3))
        optimizer = getattr(module, name)([parameter], lr=torch.tensor(0.1), foreach=True)
        parameter.grad = torch.ones(3)
        optimizer.step()
        assert (parameter < 1).all()


def test_gradients_that_are_conjugates():
    """As they come from a matrix product; of torch's classes only SGD takes them."""
    import torch

    from gradwise.frontends import torch as gtorch

    for name in ("SGD", "Adam"):
        ends = []
        for conjugate in (True, False):
            parameter = torch.nn.Parameter(torch.full((2, 2), 1 + 1j))
            optimizer = getattr(gtorch, name)([parameter], lr=0.1)
            (torch.ones(2, 2, dtype=torch.complex64) @ parameter.mH).abs().sum().backward()
            assert parameter.grad.is_conj()
            if not conjugate:
                parameter.grad = parameter.grad.resolve_conj()
            optimizer.step()
            ends.append(parameter.detach())
        assert torch.equal(*ends)


def made_in_inference_mode():
    import torch

    with torch.inference_mode():
        return torch.nn.Parameter(torch.ones(2, 3))


def expanded():
    import torch

    return torch.nn.Parameter(torch.ones(1, 3).expand(2, 3))


def sparse():
    import torch

    return torch.nn.Parameter(torch.eye(3).to_sparse_csr())


def sparse_by_coordinates():
    import torch

    with torch.sparse.check_sparse_tensor_invariants():
        return torch.nn.Parameter(torch.eye(3).to_sparse_coo())


def nested():
    import torch

    return torch.nn.Parameter(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged))


def in_another_layout():
    import torch

    return torch.nn.Parameter(torch.ones(3, 3).to_mkldnn())


UNWRITABLE = {
    made_in_inference_mode: "made in inference mode. Pass a clone",
    expanded: "its elements share memory. Pass a clone",
    sparse: "sparse; only dense arrays are supported",
    sparse_by_coordinates: "sparse; only dense arrays are supported",
    nested: "nested; only dense arrays are supported",
    in_another_layout: "layout torch._mkldnn; only dense arrays are supported",
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("make", UNWRITABLE, ids=lambda make: make.__name__)
@each_class
def test_parameters_that_no_step_can_change_are_refused_and_no_state_is_made(name, make):
    import torch

    good, bad = torch.nn.Parameter(torch.ones(2)), make()
    good.grad, bad.grad = torch.ones(2), bad.detach()
    for _ in range(2):
        with pytest.raises((TypeError, RuntimeError), match=UNWRITABLE[make] if not bad.is_sparse else "sparse"):
            # Adagrad makes its state at once.
            optimizer = ours(name)([good, bad])
            optimizer.step()
        assert name == "Adagrad" or not optimizer.state
        assert good.tolist() == [1.0, 1.0]


def apart(start):
    """In a memory with gaps, which no compiled pass takes."""
    import torch

    return torch.stack([start, start], dim=-1)[..., 0]


@pytest.mark.parametrize("memory", [lambda start: start, apart], ids=["one-pass", "arrays"])
@each_class
@pytest.mark.parametrize("dtype", ["complex32", "complex64", "complex128"])
def test_complex_parameters_are_trained_on_every_way(name, dtype, memory):
    """Also where they are changed between the steps, as when they are normalized or loaded."""
    import torch

    steps = []
    for module in (theirs, ours):
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's: complex32 is experimental
            start = torch.full((3,), 1 + 2j, dtype=torch.complex64).to(getattr(torch, dtype))
            parameter = torch.nn.Parameter(memory(start))
            optimizer = module(name)([parameter], lr=0.125)
            for _ in range(4):
                parameter.grad = (parameter.detach().to(torch.complex128) * 0.5).to(parameter.dtype)
                optimizer.step()
                with torch.no_grad():
                    parameter.copy_(parameter.to(torch.complex128).mul(0.5).to(parameter.dtype))
        steps.append(torch.view_as_real(parameter.detach()).double())
    assert torch.allclose(*steps, rtol=5e-3 if dtype == "complex32" else 1e-5)


@pytest.mark.parametrize("arguments", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_without_momentum_is_refused_in_torchs_words(arguments):
    import torch

    from gradwise.frontends import torch as gtorch

    for module in (torch.optim, gtorch):
        with pytest.raises(ValueError, match="Nesterov momentum requires a momentum and zero dampening"):
            module.SGD([torch.nn.Parameter(torch.ones(1))], nesterov=True, **arguments)
