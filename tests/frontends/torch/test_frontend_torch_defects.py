"""Where torch.optim 2.13 is at fault: what it does, and what `gradwise.frontends.torch` does.

When torch mends one, its test fails here, and the exception goes.
"""

from __future__ import annotations

import copy

import pytest
from helpers.releases import skip_unless_torch
from helpers.torch_frontend_table import WITH_BETAS, ours, parameters, run, theirs

pytestmark = pytest.mark.torch

BOTH = pytest.mark.parametrize("whose", [theirs, ours], ids=["torch", "gradwise"])


@BOTH
def test_nesterov_by_foreach_overwrites_the_gradient(whose):
    import torch

    w = torch.ones(2, requires_grad=True)
    optimizer = whose("SGD")([w], lr=0.1, momentum=0.5, nesterov=True, foreach=True)
    for _ in range(2):
        w.grad = torch.ones(2)
        optimizer.step()
    assert w.grad.tolist() == ([1.75, 1.75] if whose is theirs else [1.0, 1.0])


@BOTH
def test_momentum_by_the_fused_kernel_of_a_parameter_that_comes_later(whose):
    import torch

    w, v = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = whose("SGD")([w, v], lr=0.1, momentum=0.5, fused=True)
    w.grad = torch.ones(2)
    optimizer.step()
    v.grad = torch.ones(2)
    if whose is theirs:
        with pytest.raises(TypeError, match="got NoneType"):
            optimizer.step()
    else:
        optimizer.step()
        assert v.tolist() == [pytest.approx(0.9)] * 2


@BOTH
def test_a_rate_in_a_tensor_that_all_groups_share(whose):
    import torch

    one, two = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = whose("SGD")([{"params": [one]}, {"params": [two]}], lr=torch.tensor(0.1))
    torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5])
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    assert rates == pytest.approx([0.05, 0.05] if whose is theirs else [0.1, 0.05])


@BOTH
def test_a_plain_checkpoint_in_a_fused_optimizer_under_a_grad_scaler(whose):
    import torch

    w = torch.ones(2, requires_grad=True)
    plain, fused = whose("Adam")([w]), whose("Adam")([w], fused=True)
    w.grad = torch.ones(2)
    plain.step()
    fused.load_state_dict(copy.deepcopy(plain.state_dict()))
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale((w * 2).sum()).backward()
    if whose is theirs:
        with pytest.raises(AssertionError, match="Expected grad_scale and found_inf to be None"):
            scaler.step(fused)
    else:
        before = w.detach().clone()
        scaler.step(fused)
        assert not w.equal(before)


@BOTH
def test_hooks_of_a_copy(whose):
    given = parameters()
    optimizer, fired = whose("Adam")(given), []
    optimizer.register_step_post_hook(lambda *_: fired.append("post"))
    optimizer.register_state_dict_post_hook(lambda *_: fired.append("saved"))
    twin = copy.deepcopy(optimizer)
    twin.step()
    twin.state_dict()
    assert fired == ([] if whose is theirs else ["post", "saved"])
    run(optimizer, given, 1)
    assert fired[-1] == "post"


@BOTH
def test_numbers_of_a_loaded_state_of_16_bit_parameters(whose):
    import torch

    def given():
        return [torch.ones(2, dtype=torch.bfloat16, requires_grad=True)]

    one, two = given(), given()
    a, b = whose("NAdam")(one), whose("NAdam")(two)
    one[0].grad = torch.ones(2, dtype=torch.bfloat16)
    a.step()
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    before, after = a.state[one[0]], b.state[two[0]]
    kept = {key: after[key].dtype is before[key].dtype and torch.equal(after[key], before[key]) for key in before}
    assert kept["step"] and kept["mu_product"] is (whose is ours)
    assert after["exp_avg"].dtype is (torch.bfloat16 if whose is theirs else torch.float32)


@BOTH
def test_the_step_count_beyond_2_to_the_24(whose):
    import torch

    w = torch.ones(1, requires_grad=True)
    optimizer = whose("Adam")([w])
    w.grad = torch.ones(1)
    optimizer.step()
    optimizer.state[w]["step"].fill_(2.0**24 - 1)
    for _ in range(9):
        optimizer.step()
    assert float(optimizer.state[w]["step"]) - 2.0**24 == (0.0 if whose is theirs else 8.0)


@BOTH
def test_whole_numbers_as_betas(whose):
    given = parameters()
    if whose is theirs:
        with pytest.raises(ValueError, match="betas must be either both floats or both Tensors"):
            whose("Adam")(given, betas=(0, 0.99))
    else:
        run(whose("Adam")(given, betas=(0, 0.99)), given, 2)


@BOTH
def test_a_groups_own_rate_below_zero(whose):
    import torch

    w = torch.ones(1, requires_grad=True)
    if whose is theirs:
        assert whose("Adam")([{"params": [w], "lr": -1.0}]).param_groups[0]["lr"] == -1.0
    else:
        with pytest.raises(ValueError, match=r"Invalid learning rate: -1\.0"):
            whose("Adam")([{"params": [w], "lr": -1.0}])


@BOTH
def test_a_loaded_state_of_another_shape(whose):
    import torch

    one, two = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    a, b = whose("Adam")([one]), whose("Adam")([two])
    one.grad = torch.ones(2)
    a.step()
    if whose is theirs:
        b.load_state_dict(copy.deepcopy(a.state_dict()))
        two.grad = torch.ones(3)
        with pytest.raises(RuntimeError, match="size of tensor"):
            b.step()
    else:
        with pytest.raises(ValueError, match=r"has shape \(2,\) and the parameter \(3,\)"):
            b.load_state_dict(copy.deepcopy(a.state_dict()))


@BOTH
def test_amsgrad_switched_on_later(whose):
    given = parameters()
    optimizer = whose("Adam")(given)
    run(optimizer, given, 1)
    optimizer.param_groups[0]["amsgrad"] = True
    if whose is theirs:
        with pytest.raises(KeyError, match="max_exp_avg_sq"):
            run(optimizer, given, 1)
    else:
        run(optimizer, given, 1)
        assert "max_exp_avg_sq" in optimizer.state[given[0]]


@BOTH
def test_adam_on_float16_parameters(whose):
    import torch

    w = torch.ones(1, dtype=torch.float16, requires_grad=True)
    optimizer = whose("Adam")([w], lr=0.25)
    w.grad = torch.full((1,), 1e-5, dtype=torch.float16)
    optimizer.step()
    # The true step is lr * 1e-5 / (1e-5 + 1e-8); in float16 the square of the gradient and epsilon are 0.
    assert float(w.detach()) == (float("-inf") if whose is theirs else pytest.approx(0.75, rel=1e-3))


@BOTH
@pytest.mark.parametrize("name", WITH_BETAS)
def test_asking_for_the_state_by_name_before_training(whose, name):
    """torch's distributed checkpoints make the state by a step with a rate and gradients of 0."""
    import torch
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    ends = []
    for asked in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        optimizer = whose(name)(model.parameters(), lr=0.1, weight_decay=0.5)
        if asked:
            state = get_optimizer_state_dict(model, optimizer)
            assert {"step", "exp_avg"} <= set(state["state"]["weight"])
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
            optimizer.step()
        ends.append(model.weight.detach().clone())
    assert torch.equal(*ends) is (whose is ours)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_another_dtype_than_their_parameter(dtype):
    """torch's own classes raise."""
    import torch

    skip_unless_torch(hasattr(torch.Tensor, "grad_dtype"), "gradients of another dtype")
    given, other = getattr(torch, dtype), torch.float32 if dtype == "bfloat16" else torch.bfloat16
    for whose in (theirs, ours):
        w = torch.ones(4, dtype=given, requires_grad=True)
        w.grad_dtype = None
        w.grad = torch.ones(4, dtype=other)
        optimizer = whose("Adam")([w], lr=0.5)
        if whose is theirs:
            with pytest.raises(RuntimeError, match="dtype"):
                optimizer.step()
        else:
            optimizer.step()
            assert w.tolist() == [0.5] * 4
