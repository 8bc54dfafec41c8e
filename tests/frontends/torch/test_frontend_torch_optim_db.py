"""torch's own checks of optimizers, on the classes of `gradwise.frontends.torch`.

The inputs come from torch's table `optim_db`, in which our classes take the place of torch's; the checks are those of
torch's test_optim.py (`TestOptimRenewed`) by name, written anew. Not here are the checks that need CUDA, several
devices, 64 GB of memory or torch's private functions (`_multi_tensor_adam`).
"""

from __future__ import annotations

import contextlib
import copy
import io
import re

import pytest
from helpers.selection import WHOLE
from helpers.torch_frontend_table import NAMES, ours

pytestmark = [
    pytest.mark.torch,
    # torch.testing._internal, and the schedulers without arguments that its table makes, warn on their own account.
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
]


@pytest.fixture(params=NAMES)
def info(request):
    """The row of torch's table, with our class."""
    from torch.testing._internal.common_optimizers import optim_db

    row = copy.copy(next(row for row in optim_db if row.optim_cls.__name__ == request.param))
    row.optim_cls = ours(request.param)
    return row


def plain_inputs(info):
    """Torch's inputs without flags that choose an implementation."""
    return [copy.deepcopy(given.kwargs) for given in info.optim_inputs_func("cpu")]


def all_inputs(info, skip=()):
    """Torch's inputs, with each flag that chooses an implementation."""
    import torch
    from torch.testing._internal.common_optimizers import _get_optim_inputs_including_global_cliquey_kwargs

    return [
        copy.deepcopy(given.kwargs)
        for given in _get_optim_inputs_including_global_cliquey_kwargs(torch.device("cpu"), torch.float32, info, skip)
    ]


def layer(dtype=None, contiguous=True):
    """A weight, a bias and an input."""
    import torch

    generator = torch.Generator().manual_seed(0)
    dtype = dtype or torch.float32
    if contiguous:
        weight, bias = torch.randn(10, 5, generator=generator), torch.randn(10, generator=generator)
    else:
        weight, bias = (
            torch.randn(10, 5, 2, generator=generator)[..., 0],
            torch.randn(10, 2, generator=generator)[..., 0],
        )
    given = torch.randn(5, generator=generator, dtype=torch.float32).to(dtype)
    return torch.nn.Parameter(weight.to(dtype)), torch.nn.Parameter(bias.to(dtype)), given


def closure_of(optimizer, weight, bias, given):
    def closure():
        optimizer.zero_grad()
        loss = (weight.mv(given) + bias).pow(2).sum()
        loss.backward()
        return loss

    return closure


def grad_mode(arguments):
    """Differentiable steps change leaves in place, which only works without a graph."""
    import torch

    return torch.no_grad() if arguments.get("differentiable") else contextlib.nullcontext()


def without_differentiable(info):
    return all_inputs(info, skip=("differentiable",))


# -------------------------------------------------------------------- errors


def test_errors(info):
    import torch
    from torch.testing._internal.common_optimizers import OptimizerErrorEnum

    errors = info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    assert errors
    for error in errors:
        given = error.optimizer_error_input
        params = given.params if given.params is not None else [torch.nn.Parameter(torch.randn(2, 3))]
        if issubclass(error.error_type, Warning):
            with pytest.warns(error.error_type, match=error.error_regex):
                info.optim_cls(params, **given.kwargs)
        elif error.error_on == OptimizerErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(error.error_type, match=error.error_regex):
                info.optim_cls(params, **given.kwargs)
        else:
            optimizer = info.optim_cls(params, **given.kwargs)
            with pytest.raises(error.error_type, match=error.error_regex):
                optimizer.step()


# -------------------------------------------------------------------- directions


@pytest.mark.parametrize("contiguous", [True, False], ids=["contiguous", "strided"])
@pytest.mark.parametrize("scheduled", [False, True], ids=["constant", "scheduled"])
def test_forloop_goes_right_direction(info, contiguous, scheduled):
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    for makers in info.scheduler_inputs if scheduled else [[]]:
        for arguments in plain_inputs(info):
            if "foreach" in info.supported_impls:
                arguments["foreach"] = False
            weight, bias, given = layer(contiguous=contiguous)
            optimizer = info.optim_cls([weight, bias], **arguments)
            schedulers = [make(optimizer) for make in makers]
            closure = closure_of(optimizer, weight, bias, given)
            first = closure().item()
            for _ in range(20):
                loss = optimizer.step(closure)
                for scheduler in schedulers:
                    scheduler.step(*([loss.detach()] if isinstance(scheduler, ReduceLROnPlateau) else []))
            last = closure().item()
            assert last > first if arguments.get("maximize") else last < first


def test_param_group_with_lrscheduler_goes_right_direction(info):
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    for makers in info.scheduler_inputs:
        for arguments in plain_inputs(info):
            weight, bias, given = layer()
            groups = [{"params": [weight], "lr": 1e-2}, {"params": [bias]}]
            optimizer = info.optim_cls(groups, **arguments)
            schedulers = [make(optimizer) for make in makers]
            closure = closure_of(optimizer, weight, bias, given)
            first = closure().item()
            for _ in range(20):
                loss = optimizer.step(closure)
                for scheduler in schedulers:
                    scheduler.step(*([loss.detach()] if isinstance(scheduler, ReduceLROnPlateau) else []))
            last = closure().item()
            assert last > first if arguments.get("maximize") else last < first


# -------------------------------------------------------------------- equal ways


@pytest.mark.parametrize("dimensions", [0, 1, 2])
def test_tensor_lr(info, dimensions):
    import torch

    for arguments in all_inputs(info, skip=("differentiable",)):
        if arguments.get("foreach"):
            continue
        weight, bias, given = layer()
        other_weight, other_bias = (torch.nn.Parameter(x.detach().clone()) for x in (weight, bias))
        rate = float(arguments.pop("lr", info.optim_cls([weight]).defaults["lr"]))
        held = torch.tensor(rate, dtype=torch.float64).reshape([1] * dimensions)
        one = info.optim_cls([weight, bias], lr=held, **arguments)
        two = info.optim_cls([other_weight, other_bias], lr=rate, **arguments)
        schedules = [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5) for optimizer in (one, two)]
        for _ in range(5):
            one.step(closure_of(one, weight, bias, given))
            two.step(closure_of(two, other_weight, other_bias, given))
            for schedule in schedules:
                schedule.step()
            torch.testing.assert_close(weight, other_weight)
            torch.testing.assert_close(bias, other_bias)


DTYPES = ["float64", "float32", "float16", "bfloat16"]


@pytest.mark.crossing
@pytest.mark.parametrize("flag", ["foreach", "fused"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_foreach_or_fused_matches_forloop(info, flag, dtype):
    """The flags are hints: the numbers are the same to the last bit. Torch's inputs take turns in the dtypes."""
    import torch

    if flag not in info.supported_impls:
        with pytest.raises(TypeError, match=flag):
            info.optim_cls(layer()[:2], **{flag: True})
        return
    kind, inputs = getattr(torch, dtype), plain_inputs(info)
    assert len(inputs) >= len(DTYPES)
    for arguments in inputs if WHOLE else inputs[DTYPES.index(dtype) :: len(DTYPES)]:
        if isinstance(arguments.get("lr"), torch.Tensor) and flag == "foreach" and info.has_capturable_arg:
            continue
        runs = []
        for value in (False, True):
            generator = torch.Generator().manual_seed(1)
            shapes = [(3, 4), (4,), (), (5, 1)]
            given = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(kind)) for shape in shapes]
            optimizer = info.optim_cls(given, **{**copy.deepcopy(arguments), flag: value})
            for step in range(7):
                for place, parameter in enumerate(given):
                    missing = step == 3 or (place == 1 and step % 2)
                    gradient = torch.randn(parameter.shape, generator=generator).to(kind)
                    parameter.grad = None if missing else gradient
                optimizer.step()
            runs.append((given, optimizer))
        (one, a), (two, b) = runs
        assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
        for x, y in zip(one, two, strict=True):
            assert list(a.state[x]) == list(b.state[y])
            assert all(torch.equal(a.state[x][key], b.state[y][key]) for key in a.state[x])


def test_complex(info):
    import torch

    for arguments in plain_inputs(info):
        generator = torch.Generator().manual_seed(0)
        complex_one = torch.randn(10, 5, dtype=torch.complex64, generator=generator).requires_grad_()
        real = torch.view_as_real(complex_one).detach().clone().requires_grad_()
        if "initial_accumulator_value" in arguments:
            arguments["initial_accumulator_value"] = 0.1
        a, b = info.optim_cls([complex_one], **arguments), info.optim_cls([real], **copy.deepcopy(arguments))
        for _ in range(3):
            complex_one.grad = torch.randn(10, 5, dtype=torch.complex64, generator=generator)
            real.grad = torch.view_as_real(complex_one.grad).clone()
            a.step()
            b.step()
            assert torch.equal(torch.view_as_real(complex_one), real)
            for key, value in a.state[complex_one].items():
                whole = torch.view_as_real(value) if value.is_complex() else value
                assert torch.equal(whole, b.state[real][key])


def test_complex_2d(info):
    import torch

    def rosenbrock(values):
        x, y = values
        return ((1 - x) ** 2 + 100 * (y - x**2) ** 2).abs()

    for arguments in plain_inputs(info):
        start = torch.randn(2, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        whole = start.clone().requires_grad_()
        real, imaginary = start.real.clone().requires_grad_(), start.imag.clone().requires_grad_()
        a, b = info.optim_cls([whole], **arguments), info.optim_cls([real, imaginary], **copy.deepcopy(arguments))
        for _ in range(3):
            a.zero_grad()
            b.zero_grad()
            rosenbrock(whole).backward()
            rosenbrock(torch.complex(real, imaginary)).backward()
            torch.testing.assert_close(whole.grad.real, real.grad)
            a.step()
            b.step()
            torch.testing.assert_close(whole.real, real)
            torch.testing.assert_close(whole.imag, imaginary)


def test_rosenbrock_sparse(info):
    import torch

    if not info.supports_sparse:
        w = torch.nn.Parameter(torch.ones(2))
        w.grad = torch.sparse_coo_tensor([[0]], [1.0], (2,), check_invariants=True)
        with pytest.raises(RuntimeError, match="does not support sparse gradients"):
            info.optim_cls([w]).step()
        return
    arguments, scheduler_makers = info.metadata_for_sparse
    arguments = {**arguments}
    sparse, dense = (torch.tensor([1.5, 1.5], requires_grad=True) for _ in range(2))
    a, b = info.optim_cls([sparse], **arguments), info.optim_cls([dense], **arguments)
    schedulers = [make(optimizer) for optimizer in (a, b) for make in scheduler_makers]

    def slope(values, place):
        x, y = values.detach().tolist()
        return -400 * x * (y - x**2) - 2 * (1 - x) if place == 0 else 200 * (y - x**2)

    start = float((sparse.detach() - 1).norm())
    for step in range(1800):
        place = step % 2
        value = slope(sparse, place)
        entries = torch.tensor([value / 4, value - value / 4])
        sparse.grad = torch.sparse_coo_tensor([[place, place]], entries, (2,), check_invariants=True)
        # `to_dense` wakes all of torch's threads, and waits for them, for these two numbers.
        dense.grad = torch.zeros(2)
        dense.grad[place] = entries[0] + entries[1]
        a.step()
        b.step()
        for scheduler in schedulers:
            x, y = sparse.detach().tolist()
            loss = (1 - x) ** 2 + 100 * (y - x**2) ** 2
            scheduler.step(*([loss] if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
        assert torch.equal(sparse, dense)
    assert float((sparse.detach() - 1).norm()) < start


# -------------------------------------------------------------------- groups


def test_param_groups_weight_decay(info):
    import torch

    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
        optimizer = info.optim_cls(groups, **{**arguments, "weight_decay": 0.1})
        optimizer.step(closure_of(optimizer, weight, bias, given))
        assert float(optimizer.param_groups[0]["weight_decay"]) == 0.1
        assert optimizer.param_groups[1]["weight_decay"] == 0.0
        assert torch.isfinite(weight).all()


def test_param_groups_lr(info):
    import torch

    for arguments in without_differentiable(info):
        arguments.pop("lr", None)
        weight, bias, given = layer()
        groups = [{"params": [weight], "lr": 1e-3}, {"params": [bias], "lr": 1e-28}]
        optimizer = info.optim_cls(groups, **arguments, lr=1e-3)
        before = bias.detach().clone()
        moved = weight.detach().clone()
        for _ in range(5):
            optimizer.step(closure_of(optimizer, weight, bias, given))
        assert torch.equal(bias, before) and not torch.equal(weight, moved)


# -------------------------------------------------------------------- nothing to do


def test_step_is_noop_when_params_have_no_grad(info):
    import torch

    for arguments in all_inputs(info):
        given = [torch.randn(2, 3, requires_grad=False), torch.randn(2, 3, requires_grad=True)]
        before = [parameter.detach().clone() for parameter in given]
        with grad_mode(arguments):
            optimizer = info.optim_cls(given, **arguments)
            optimizer.step()
        assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


def test_step_is_noop_for_zero_grads(info):
    import torch

    for arguments in all_inputs(info):
        parameter = torch.randn(2, 3)
        optimizer = info.optim_cls([parameter], **{**arguments, "weight_decay": 0.0})
        before = parameter.detach().clone()
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert torch.equal(parameter.detach(), before)


def test_optimizer_can_be_printed(info):
    for arguments in all_inputs(info):
        weight, bias, _ = layer()
        text = repr(info.optim_cls([weight, bias], **arguments))
        assert text.startswith(f"{info.optim_cls.__name__} (\nParameter Group 0\n") and re.search(r"lr: \S+", text)


# -------------------------------------------------------------------- state


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("named_later", [False, True])
def test_state_dict_deterministic(info, named, named_later):
    import torch

    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        params = [("weight", weight), ("bias", bias)] if named else [weight, bias]
        optimizer = info.optim_cls(params, **arguments)
        closure = closure_of(optimizer, weight, bias, given)
        for _ in range(3):
            optimizer.step(closure)
        weight_c, bias_c = (torch.nn.Parameter(x.detach().clone()) for x in (weight, bias))
        params_c = [("weight", weight_c), ("bias", bias_c)] if named_later else [weight_c, bias_c]
        other = info.optim_cls(params_c, **copy.deepcopy(arguments))
        closure_c = closure_of(other, weight_c, bias_c, given)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for _ in range(3):
            optimizer.step(closure)
            other.step(closure_c)
            assert torch.equal(weight, weight_c) and torch.equal(bias, bias_c)
        mine, its = optimizer.state_dict(), other.state_dict()
        for group in (*mine["param_groups"], *its["param_groups"]):
            group.pop("param_names", None)
        assert str(mine) == str(its)
        # Repeated groups look alike.
        other.param_groups.extend(other.param_groups)
        assert str(optimizer.state_dict()["param_groups"][-1]) != ""
        groups = other.state_dict()["param_groups"]
        assert str(groups[0]) == str(groups[-1])


def test_can_load_older_state_dict(info):
    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        optimizer = info.optim_cls([weight, bias], **arguments)
        closure = closure_of(optimizer, weight, bias, given)
        for _ in range(3):
            optimizer.step(closure)
        state = copy.deepcopy(optimizer.state_dict())
        for flag in info.not_og_supported_flags:
            if flag in state["param_groups"][0]:
                del state["param_groups"][0][flag]
        optimizer.load_state_dict(state)
        assert set(info.not_og_supported_flags) & set(optimizer.defaults) <= set(optimizer.param_groups[0])
        optimizer.step(closure)


@pytest.mark.parametrize("named_first", [False, True])
@pytest.mark.parametrize("named_then", [False, True])
def test_can_load_from_to_named_state_dict(info, named_first, named_then):
    for arguments in without_differentiable(info):
        weight, bias, given = layer()

        def made(named, arguments=arguments, weight=weight, bias=bias):
            params = [("weight", weight), ("bias", bias)] if named else [weight, bias]
            return info.optim_cls(params, **copy.deepcopy(arguments))

        one, two = made(named_first), made(named_then)
        one.step(closure_of(one, weight, bias, given))
        two.load_state_dict(copy.deepcopy(one.state_dict()))
        two.step(closure_of(two, weight, bias, given))
        if named_first or named_then:
            assert two.param_groups[0]["param_names"] == ["weight", "bias"]


def test_save_load_equality_with_weights_only(info):
    import torch

    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        optimizer = info.optim_cls([weight, bias], **arguments)
        optimizer.step(closure_of(optimizer, weight, bias, given))
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        assert str(torch.load(file, weights_only=True)) == str(optimizer.state_dict())


def test_load_nontensor_step(info):
    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        optimizer = info.optim_cls([weight, bias], **arguments)
        closure = closure_of(optimizer, weight, bias, given)
        for _ in range(3):
            optimizer.step(closure)
        state = copy.deepcopy(optimizer.state_dict())
        for entry in state["state"].values():
            if "step" in entry:
                entry["step"] = entry["step"].item()
        optimizer.load_state_dict(state)
        optimizer.step(closure)
        assert all(float(entry["step"]) == 4 for entry in optimizer.state.values() if "step" in entry)


def test_non_empty_state(info):
    import torch

    for arguments in without_differentiable(info):
        parameter = torch.nn.Parameter(torch.randn(2, 3))
        parameter.grad = torch.rand_like(parameter)
        optimizer = info.optim_cls([parameter], **arguments)
        optimizer.step()
        assert all(len(entry) > 0 for entry in optimizer.state.values())


def test_deepcopy_copies_all_public_attrs(info):
    for arguments in without_differentiable(info):
        weight, bias, given = layer()
        optimizer = info.optim_cls([weight, bias], **arguments)
        optimizer.step(closure_of(optimizer, weight, bias, given))
        public = {name for name in vars(optimizer) if not name.startswith("_")}
        assert public == {name for name in vars(copy.deepcopy(optimizer)) if not name.startswith("_")}


# -------------------------------------------------------------------- other files of torch's


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor")
@pytest.mark.crossing
def test_correctness_of_compiled_steps(info):
    """As CompiledOptimizerParityTests, without Inductor, which has nothing of the step to compile.

    Every third of torch's inputs; in `make crossings` all.
    """
    import torch

    for arguments in without_differentiable(info)[:: 1 if WHOLE else 3]:
        torch._dynamo.reset()
        ends = []
        for compiled in (False, True):
            weight, bias, given = layer()
            optimizer = info.optim_cls([weight, bias], **copy.deepcopy(arguments))
            closure_of(optimizer, weight, bias, given)()
            step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
            for _ in range(3):
                step()
            ends.append((weight, bias))
        assert all(torch.equal(x, y) for x, y in zip(*ends, strict=True))
