"""What parameters share is stored once, in the state of one of them: it goes wherever torch takes that."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
from helpers.torch_frontend_table import give, run

from gradwise.optimizers import Optimizer

pytestmark = pytest.mark.torch


class Sharing(Optimizer):
    """A user's rule that keeps an array for each parameter as what a whole step shares, one of counts, and a number."""

    def build(self, variables):
        super().build(variables)
        self.totals = [self.add_variable(variable.shape, name="total") for variable in variables]
        self.visits = self.add_variable((2,), dtype="int64", name="visits")
        self.calls = self.add_scalar("calls", 0)
        self.halves = {
            self.variable_index(each): self.add_scalar("half", 1.0, each) for each in variables if len(each.shape) == 2
        }

    def begin_step(self, gradients, variables, learning_rate):
        self.assign_add(self.calls, 1)
        for index in {self.variable_index(each) for each in variables} & self.halves.keys():
            self.assign(self.halves[index], self.halves[index] * 0.5)

    def update_step(self, gradient, variable, learning_rate):
        total = self.totals[self.variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, learning_rate * total / (1.0 + self.calls))


def given(count=4, dtype="float32"):
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (2, 3)] * (count // 2)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(getattr(torch, dtype))) for s in shapes]


def wrap(params, rate=0.1):
    from gradwise.frontends import torch as optim

    return optim.wrap(Sharing(rate), params)


def twins(params):
    import torch

    return [torch.nn.Parameter(each.detach().clone()) for each in params]


def shared_in(state):
    """How often each key of what is shared is there."""
    keys = [key for entry in state.values() for key in entry if key.startswith(("total", "visits"))]
    return {key: keys.count(key) for key in keys}


def test_state_grows_in_proportion():
    import torch

    sizes = []
    for count in (32, 64, 128):
        params = given(count)
        optimizer = wrap(params)
        run(optimizer, params, 1)
        held = shared_in(optimizer.state)
        assert set(held.values()) == {1} and len(held) == len(optimizer.state) + 1
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        sizes.append(file.tell())
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def model_of(params):
    import torch

    model = torch.nn.Module()
    for place, each in enumerate(params):
        model.register_parameter(f"p{place}", each)
    return model


def carried(optimizer, params, how, path):
    """A second optimizer with the state of the first, and its parameters."""
    import torch

    if how == "deepcopy":
        return copy.deepcopy((optimizer, params))
    if how == "pickle":
        return pickle.loads(pickle.dumps((optimizer, params)))
    others = twins(params)
    other = wrap(others)
    if how in ("nested names", "flat names"):
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

        options = StateDictOptions(flatten_optimizer_state_dict=how == "flat names")
        weights, state = get_state_dict(model_of(params), optimizer, options=options)
        set_state_dict(model_of(others), other, model_state_dict=weights, optim_state_dict=state, options=options)
        return other, others
    state = optimizer.state_dict()
    if how == "file":
        torch.save(state, path / "state.pt")
        state = torch.load(path / "state.pt", weights_only=True)
    if how == "of an older release":
        everything = {key: value for entry in state["state"].values() for key, value in entry.items()}
        shared = {key: value for key, value in everything.items() if key.startswith(("total", "visits"))}
        state = {**state, "state": {index: {**entry, **shared} for index, entry in state["state"].items()}}
    other.load_state_dict(state)
    return other, others


WAYS = ["state_dict", "file", "deepcopy", "pickle", "nested names", "flat names", "of an older release"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", WAYS)
def test_training_goes_on_to_the_last_bit(how, dtype, tmp_path):
    import torch

    params = given(dtype=dtype)
    optimizer = wrap(params)
    run(optimizer, params, 3)
    before = {
        key: value.clone() for entry in optimizer.state.values() for key, value in entry.items() if key == "total"
    }
    other, others = carried(optimizer, params, how, tmp_path)
    kinds = {key: value.dtype for entry in other.state.values() for key, value in entry.items()}
    assert kinds["total"] is torch.float32 and kinds["visits"] is torch.int64 and before
    run(optimizer, params, 3, seed=2)
    run(other, others, 3, seed=2)
    assert all(bool((one == two).all()) for one, two in zip(params, others, strict=True))
    assert set(shared_in(other.state).values()) == {1}
    copies = {id(value) for entry in optimizer.state.values() for value in entry.values()}
    assert copies.isdisjoint(id(value) for entry in other.state.values() for value in entry.values())


def test_a_number_that_some_parameters_have_is_theirs_where_gradients_are_missing():
    import torch

    params = given()
    optimizer = wrap(params)
    for present in ([0, 1, 2, 3], [1, 2], [3], [0]):
        give(params, [torch.ones_like(each) if place in present else None for place, each in enumerate(params)])
        optimizer.step()
    assert [float(optimizer.state[each]["half"]) for each in params[1::2]] == [0.25, 0.25]
    assert not any("half" in optimizer.state[each] for each in params[::2])


def test_what_was_deleted_with_the_state_that_had_it_is_missed():
    params = given()
    optimizer = wrap(params)
    run(optimizer, params, 1)
    del optimizer.state[params[0]]
    with pytest.raises(KeyError, match=r"No parameter has 'total' in its state, .* clear optimizer\.state"):
        run(optimizer, params, 1)
    optimizer.state.clear()
    run(optimizer, params, 2)
    assert set(shared_in(optimizer.state).values()) == {1}


def test_a_first_step_that_is_refused_leaves_nothing():
    params = given()
    optimizer = wrap(params)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="learning rate: nan"):
        run(optimizer, params, 1)
    assert not any(optimizer.state.values())
    optimizer.param_groups[0]["lr"] = 0.1
    run(optimizer, params, 1)
    assert set(shared_in(optimizer.state).values()) == {1}
