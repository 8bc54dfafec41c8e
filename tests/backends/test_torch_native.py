"""Steps on torch tensors are torch: differentiable, mappable, without memory on the meta device."""

from __future__ import annotations

import pytest
from helpers.every_convention import SMOOTH, existing

from gradwise.optimizers import SGD, Adam, Nadam
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_gradcheck_through_two_steps(algorithm):
    import torch

    optimizer = algorithm(0.1, global_clipnorm=0.5, **existing(algorithm, {"weight_decay": 0.1}))
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, dtype=torch.float64, generator=generator)
    gradient = torch.randn(3, dtype=torch.float64, generator=generator)

    def two_steps(w, g, rate):
        params, state = {"w": w}, optimizer.init({"w": w})
        for scale in (1.0, 0.5):
            params, state = optimizer.step(params, {"w": g * scale}, state, learning_rate=rate)
        return params["w"]

    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(two_steps, (start.requires_grad_(), gradient.requires_grad_(), rate))


def test_gradient_to_a_hyperparameter():
    import torch

    beta = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    w, g = torch.ones(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def total(value):
        optimizer = Adam(0.1, beta_1=value)
        params, state = w, optimizer.init(w)
        for scale in (1.0, -2.0):
            params, state = optimizer.step(params, g * scale, state)
        return params.sum()

    total(beta).backward()
    width = 1e-6
    difference = (total(0.8 + width) - total(0.8 - width)) / (2 * width)
    assert float(beta.grad) == pytest.approx(float(difference), rel=1e-6)


def test_gradient_to_the_rate_in_the_state():
    import torch

    optimizer = SGD(0.1)
    w = torch.ones(2, dtype=torch.float64)
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    state = optimizer.init(w)._replace(learning_rate=rate)
    optimizer.step(w, torch.tensor([3.0, 4.0], dtype=torch.float64), state)[0].sum().backward()
    assert float(rate.grad) == -7.0


@pytest.mark.parametrize("algorithm", dict.fromkeys(kind for kind, _ in SMOOTH), ids=lambda kind: kind.__name__)
def test_derivative_where_the_gradient_is_zero(algorithm):
    import torch

    optimizer = algorithm(0.1)

    def moved(gradient):
        params = torch.zeros(2, dtype=torch.float64)
        return optimizer.step(params, gradient, optimizer.init(params))[0].sum()

    gradient = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    moved(gradient).backward()
    narrow = torch.tensor([1e-14, 0.0], dtype=torch.float64)
    difference = (moved(narrow) - moved(-narrow)) / 2e-14
    for slope in (gradient.grad, torch.func.grad(moved)(torch.zeros(2, dtype=torch.float64))):
        torch.testing.assert_close(slope, torch.stack([difference] * 2).detach(), rtol=1e-2, atol=0)


def test_torch_func_grad_and_vmap():
    import torch

    optimizer = Nadam(0.1, clipnorm=1.0)
    batch = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    grads = torch.tensor([[1.0, -1.0], [0.5, 2.0]], dtype=torch.float64)

    def after(w, g):
        params, state = optimizer.step(w, g, optimizer.init(w))
        return optimizer.step(params, g, state)[0]

    mapped = torch.func.vmap(after)(batch, grads)
    for row in range(2):
        torch.testing.assert_close(mapped[row], after(batch[row], grads[row]), rtol=1e-12, atol=0)
    slope = torch.func.grad(lambda w: after(w, w * 2).sum())(batch[0])
    assert slope.shape == (2,) and bool(torch.isfinite(slope).all())
    rate_slope = torch.func.grad(lambda r: SGD(r).step(batch[0], grads[1], SGD(r).init(batch[0]))[0].sum())(
        torch.tensor(0.1, dtype=torch.float64)
    )
    assert float(rate_slope) == -2.5


def test_vmap_over_states():
    import torch

    optimizer = Adam(0.1)
    batch = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    states = torch.func.vmap(optimizer.init)(batch)
    assert states.iterations.shape == (2,) and states.slots["momentum"].shape == (2, 2)
    stepped, states = torch.func.vmap(optimizer.step)(batch, batch, states)
    expected, _ = optimizer.step(batch[1], batch[1], optimizer.init(batch[1]))
    torch.testing.assert_close(stepped[1], expected)
    assert states.iterations.tolist() == [1, 1]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_meta_tensors(algorithm):
    import torch

    optimizer = algorithm(0.1, global_clipnorm=1.0, use_ema=True)
    params = {"w": torch.empty(4, 2, device="meta"), "h": torch.empty(3, device="meta", dtype=torch.bfloat16)}
    state = optimizer.init(params)
    stepped, state = optimizer.step(params, params, state)
    assert stepped["w"].device.type == "meta" and stepped["h"].dtype == torch.bfloat16
    # A convention may count steps of each.
    assert all(slot["h"].dtype == torch.float32 for name, slot in state.slots.items() if name != "step")
    assert int(state.iterations) == 1
    optimizer.apply([params["w"]], [params["w"]])


def test_imperative_steps_build_no_graph_and_change_leaves_in_place():
    import torch

    layer = torch.nn.Linear(3, 2)
    optimizer = Adam(0.1, weight_decay=0.01)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    pointers = [parameter.data_ptr() for parameter in layer.parameters()]
    for _ in range(2):
        layer.zero_grad()
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.apply([parameter.grad for parameter in layer.parameters()], layer.parameters())
    for parameter, old, pointer in zip(layer.parameters(), before, pointers, strict=True):
        assert parameter.is_leaf and parameter.requires_grad and parameter.data_ptr() == pointer
        assert not torch.equal(parameter, old)


def test_a_stale_graph_is_refused():
    import torch

    w = torch.ones(3, requires_grad=True)
    loss = (w**2).sum()
    SGD(0.1).apply([torch.ones(3)], [w])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_channels_last_and_strided_parameters():
    import torch

    w = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    optimizer = Adam(0.1)
    optimizer.apply([torch.ones_like(w)], [w])
    assert w.is_contiguous(memory_format=torch.channels_last)
    assert optimizer.momentums[0].value.is_contiguous(memory_format=torch.channels_last)
    base = torch.zeros(6)
    SGD(1.0).apply([torch.ones(3)], [base[::2]])
    assert base.tolist() == [-1.0, 0.0, -1.0, 0.0, -1.0, 0.0]
