"""Where one group of a torch optimizer refuses its step, no group makes one: parameters, slots and counts stay."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.torch_frontend_table import NAMES

pytestmark = pytest.mark.torch



def groups_of(shapes: int = 2) -> list[Any]:
    import torch

    return [
        {"params": [torch.nn.Parameter(torch.full((3, 2), 1.0 + place)) for place in range(group, group + shapes)]}
        for group in range(3)
    ]


def give_gradients(optimizer: Any) -> None:
    import torch

    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 0.5)


def all_of(optimizer: Any) -> list[Any]:
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries = [optimizer.state[parameter] for parameter in parameters if optimizer.state[parameter]]
    tensors = [value for entry in entries for value in entry.values() if torch.is_tensor(value)]
    return [tensor.detach().numpy().tobytes() for tensor in (*parameters, *tensors)]


class Refusing:
    """What stands in for a gradient that arithmetic refuses."""

    @staticmethod
    def gradient() -> Any:
        import torch

        class Unit(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
                if function in (torch.Tensor.mul, torch.Tensor.add, torch.Tensor.__mul__, torch.mul, torch.add):
                    raise TypeError("a unit and none")
                return super().__torch_function__(function, types, arguments, keywords or {})

        return torch.full((3, 2), 0.5).as_subclass(Unit)


def sparse(parameter: Any) -> None:
    import torch

    parameter.grad = torch.full((3, 2), 0.5).to_sparse()


def with_unit(parameter: Any) -> None:
    parameter.grad = Refusing.gradient()


def of_another_shape(parameter: Any) -> None:
    import torch

    parameter.grad.data = torch.ones(5)


def without_a_slot(parameter: Any, optimizer: Any) -> None:
    del optimizer.state[parameter][next(iter(optimizer.state[parameter]))]


SPOILED = {"sparse": sparse, "arithmetic": with_unit, "shape": of_another_shape}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_gradient_that_is_refused(name, steps, spoiled, place):
    from gradwise.frontends import torch as ours

    optimizer = getattr(ours, name)(groups_of(), lr=0.1)
    for _ in range(steps):
        give_gradients(optimizer)
        optimizer.step()
    give_gradients(optimizer)
    before = all_of(optimizer)
    SPOILED[spoiled](optimizer.param_groups[place]["params"][1])
    try:
        optimizer.step()
    except (TypeError, ValueError, RuntimeError):
        assert all_of(optimizer) == before
        # Torch's Adagrad has a state from the start.
        assert steps or name == "Adagrad" or not any(optimizer.state.values())
    else:
        assert spoiled != "shape"
        if spoiled == "sparse":
            assert name in ("SGD", "Adagrad")
    # The next is that of an optimizer which has refused nothing, if nothing has been made.
    give_gradients(optimizer)
    optimizer.step()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_state_without_a_piece(name, steps):
    from gradwise.frontends import torch as ours

    keywords = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(ours, name)(groups_of(), lr=0.1, **keywords)
    for _ in range(steps):
        give_gradients(optimizer)
        optimizer.step()
    last = optimizer.param_groups[2]["params"][1]
    if name == "SGD":
        # Torch itself begins anew without a buffer: what does not fit is another shape.
        optimizer.state[last]["momentum_buffer"] = optimizer.state[last]["momentum_buffer"].new_ones(5)
    else:
        without_a_slot(last, optimizer)
    before = all_of(optimizer)
    with pytest.raises((KeyError, TypeError, ValueError, RuntimeError)):
        optimizer.step()
    assert all_of(optimizer) == before


# What was recorded of a rule does not call it.
@pytest.mark.parametrize("fails, jit_compile", [("rule", False), ("schedule", False), ("schedule", "auto")])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_users_own_code_that_fails_in_a_later_group(fails, steps, jit_compile):
    import torch

    from gradwise.frontends import torch as ours
    from gradwise.optimizers import SGD

    failing = []

    class Own(SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if "rule" in failing and variable.shape == (2,):
                raise ValueError("the user's own")
            super().update_step(gradient, variable, learning_rate)

    calls = []

    def schedule(step: Any) -> float:
        calls.append(step)
        if "schedule" in failing and len(calls) % 2 == 0:
            raise ValueError("the user's own")
        return 0.1

    groups = [{"params": [torch.nn.Parameter(torch.ones(size))]} for size in (3, 2)]
    optimizer = ours.wrap(Own(schedule, momentum=0.9, jit_compile=jit_compile), groups)
    for _ in range(steps):
        give_gradients(optimizer)
        optimizer.step()
    give_gradients(optimizer)
    before, counted = all_of(optimizer), [dict(group) for group in optimizer.param_groups]
    calls.clear()
    failing.append(fails)
    with pytest.raises(ValueError, match="the user's own"):
        optimizer.step()
    assert all_of(optimizer) == before
    assert [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in counted]


def test_errors_name_parameters_by_their_numbers_in_the_state():
    import torch

    from gradwise.frontends import torch as ours

    optimizer = ours.Adam(groups_of(), lr=0.1)
    give_gradients(optimizer)
    last = optimizer.param_groups[2]["params"][1]
    last.grad = torch.full((3, 2), 0.5)
    optimizer.step()
    del optimizer.state[last]["exp_avg"]
    with pytest.raises(KeyError, match="'variable_5'"):
        optimizer.step()


def test_a_refused_first_step_leaves_no_buffer_that_torch_would_take_for_a_step():
    import torch

    from gradwise.frontends import torch as ours

    def made(module: Any) -> Any:
        return module.SGD(groups_of(), lr=0.1, momentum=0.9, dampening=0.5)

    refused = made(ours)
    give_gradients(refused)
    refused.param_groups[2]["lr"] = float("nan")
    with pytest.raises(ValueError, match=r"learning rate: nan .*`lr`"):
        refused.step()
    saved = refused.state_dict()
    assert not any(saved["state"].values())
    saved["param_groups"][2]["lr"] = 0.1
    ends = []
    for optimizer in (refused, made(ours), made(torch.optim)):
        optimizer.load_state_dict(saved)
        give_gradients(optimizer)
        optimizer.step()
        ends.append(all_of(optimizer))
    assert ends[0] == ends[1] == ends[2]


def test_a_first_step_that_is_refused_where_no_group_has_made_any():
    from gradwise.frontends import torch as ours

    optimizer = ours.Adam(groups_of(), lr=0.1)
    give_gradients(optimizer)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match=r"learning rate: nan .*`lr`"):
        optimizer.step()
    assert not any(optimizer.state.values())
