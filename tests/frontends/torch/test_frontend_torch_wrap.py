"""`gradwise.frontends.torch.wrap`: any core optimizer as a torch.optim.Optimizer."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers.releases import skip_unless_torch, torch_names_parameters
from helpers.torch_frontend_table import give, gradients, parameters, run, saved, twins
from helpers.user_optimizers import Alternating, HalfAdam

from gradwise import optimizers, schedules
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")]


def wrap(optimizer, params):
    from gradwise.frontends import torch as optim

    return optim.wrap(optimizer, params)


class Paced(optimizers.Optimizer):
    """A user's rule: a slot, a number and an array that a whole step shares, a number of each parameter."""

    def __init__(self, learning_rate=0.1, strength=0.5, **keywords):
        super().__init__(learning_rate, **keywords)
        self.strength = strength

    def build(self, variables):
        super().build(variables)
        self.starts = [self.add_variable_from_reference(v, "start", initializer=v) for v in variables]
        self.pace = self.add_scalar("pace", 1.0)
        self.total = self.add_variable((2,), name="total")
        self.visits = [self.add_scalar("visits", 0, v) for v in variables]

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.pace, self.pace * 0.75)
        self.assign_add(self.total, 1.0)
        for variable in variables:
            visits = self.visits[self._get_variable_index(variable)]
            self.assign_add(visits, 1)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        back = (self.starts[index].value - variable) * self.strength
        self.assign_sub(variable, (gradient - back) * (learning_rate * self.pace) / (1 + self.visits[index]))


MAKERS = {
    **{kind.__name__: kind for kind in ALGORITHMS},
    "keras2-Nadam": lambda rate: optimizers.Nadam(rate, convention="keras2"),
    "optax-RMSprop": lambda rate: optimizers.RMSprop(rate, momentum=0.5, convention="optax"),
    "torch-Nadam": lambda rate: optimizers.Nadam(rate, convention="torch"),
    "everything": lambda rate: optimizers.Adam(
        rate, weight_decay=0.1, global_clipnorm=0.5, use_ema=True, gradient_accumulation_steps=2, loss_scale_factor=4.0
    ),
    "schedule": lambda rate: optimizers.SGD(schedules.ExponentialDecay(rate, 2, 0.5), momentum=0.5),
    "own": Paced,
    "own-with-another-inside": HalfAdam,
    "own-with-branches": Alternating,
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@each_maker
def test_steps_are_those_of_the_core(make):
    import torch

    one, two = parameters(), parameters()
    core, wrapped = make(0.1), wrap(make(0.1), two)
    core.build(one)
    for grads in gradients(one, 7):
        core.apply(grads, one)
        give(two, grads)
        wrapped.step()
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


@each_maker
@pytest.mark.parametrize("how", ["state_dict", "file", "deepcopy", "pickle"])
def test_training_goes_on_to_the_last_bit(make, how, tmp_path):
    import torch

    one = parameters()
    a = wrap(make(0.1), one)
    run(a, one, 5)
    if how in ("state_dict", "file"):
        two = twins(one)
        b, state = wrap(make(0.1), two), a.state_dict()
        if how == "file":
            torch.save(state, tmp_path / "state.pt")
            state = torch.load(tmp_path / "state.pt", weights_only=True)
        b.load_state_dict(copy.deepcopy(state))
    else:
        b, two = copy.deepcopy((a, one)) if how == "deepcopy" else pickle.loads(pickle.dumps((a, one)))
    run(a, one, 5, seed=2)
    run(b, two, 5, seed=2)
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_a_number_that_a_step_shares_is_stored_with_every_parameter_and_an_array_with_one():
    import torch

    given = parameters()
    optimizer = wrap(Paced(), given)
    give(given, next(gradients(given, 1)))
    given[1].grad = None
    optimizer.step()
    optimizer.step()
    assert given[1] not in optimizer.state
    give(given, next(gradients(given, 1)))
    optimizer.step()
    for index, parameter in enumerate(given):
        entry = optimizer.state[parameter]
        assert float(entry["pace"]) == 0.75**3 and ("total" in entry) is (index == 0)
        assert float(entry["visits"]) == (1 if index == 1 else 3) and float(entry["step"]) == 3
        assert all(isinstance(value, torch.Tensor) for value in entry.values())
    assert optimizer.state[given[0]]["total"].tolist() == [3.0, 3.0]
    optimizer.state[given[0]]["total"].fill_(7)
    optimizer.step()
    assert optimizer.state[given[0]]["total"].tolist() == [8.0, 8.0]


def test_groups_have_the_attributes_and_schedulers_change_them():
    import torch

    one, two = parameters(), parameters()
    wrapped = wrap(Paced(0.5), [{"params": one[:2], "strength": 0.25}, {"params": one[2:], "lr": 0.125}])
    assert wrapped.defaults["strength"] == 0.5 and wrapped.defaults["lr"] == 0.5
    assert {"weight_decay", "clipnorm", "use_ema"} <= set(wrapped.param_groups[0])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(wrapped, 0.5)
    cores = [Paced(0.5, 0.25), Paced(0.125, 0.5)]
    for core, given in zip(cores, (two[:2], two[2:]), strict=True):
        core.build(given)
    for grads in gradients(one, 3):
        give(one, grads)
        wrapped.step()
        scheduler.step()
        for core, given, part in zip(cores, (two[:2], two[2:]), (grads[:2], grads[2:]), strict=True):
            core.apply(part, given)
            core.learning_rate *= 0.5
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_a_schedule_goes_on_until_a_group_has_another_rate():
    given = parameters()
    optimizer = wrap(MAKERS["schedule"](0.5), given)
    shown = []
    for _ in range(4):
        run(optimizer, given, 1)
        shown.append(optimizer.param_groups[0]["lr"])
    assert shown == [0.5 * 0.5 ** (step / 2) for step in (1, 2, 3, 4)]
    optimizer.param_groups[0]["lr"] = 0.25
    run(optimizer, given, 2)
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_the_optimizer_that_was_given_does_not_change():
    given = parameters()
    core = Paced()
    optimizer = wrap(core, given)
    run(optimizer, given, 2)
    assert not core.built and core.iterations == 0
    built = Paced()
    built.apply(next(gradients(given, 1)), given)
    kept = float(built.pace)
    with pytest.raises(ValueError, match=r"would be lost\. Pass `optimizer\.unbuilt_copy\(\)"):
        wrap(built, twins(given))
    run(wrap(built.unbuilt_copy(), twins(given)), given, 1)
    assert float(built.pace) == kept


def test_slot_dtype_and_names():
    import torch

    skip_unless_torch(torch_names_parameters(), "optimizers of named parameters")
    layer = torch.nn.Linear(2, 2)
    core = optimizers.Adam(0.1, weight_decay=0.5, slot_dtype="bfloat16")
    core.exclude_from_weight_decay(var_names=["bias"])
    optimizer = wrap(core, layer.named_parameters())
    bias, weight = layer.bias.detach().clone(), layer.weight.detach().clone()
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(layer.bias, bias) and not torch.equal(layer.weight, weight)
    assert optimizer.state[layer.bias]["momentum"].dtype is torch.bfloat16
    state = saved(optimizer)
    optimizer.load_state_dict(state)
    assert optimizer.state[layer.bias]["momentum"].dtype is torch.bfloat16


@pytest.mark.parametrize("followed", [False, True])
def test_inside_torch_compile(followed, monkeypatch):
    import torch

    from gradwise.frontends.torch import adapter

    if followed:
        monkeypatch.setattr(adapter, "runs_compiled", lambda groups: False)
    torch._dynamo.reset()
    one, two = parameters()[:2], parameters()[:2]  # Each is traced: more of them say the same.
    a, b = wrap(MAKERS["everything"](0.1), one), wrap(MAKERS["everything"](0.1), two)
    step = torch.compile(a.step, backend="eager")
    for grads in gradients(one, 4):
        for given in (one, two):
            give(given, [torch.zeros_like(p) if g is None else g for p, g in zip(given, grads, strict=True)])
        step()
        b.step()
    for x, y in zip(one, two, strict=True):
        torch.testing.assert_close(x, y)


def test_errors():
    given = parameters()
    with pytest.raises(TypeError, match=r"takes an optimizer of gradwise.optimizers, received an object of class SGD"):
        from gradwise.frontends import torch as optim

        optim.wrap(optim.SGD(given), given)
    with pytest.raises(ValueError, match="Invalid weight_decay value: -1"):
        wrap(optimizers.Adam(), [{"params": given, "weight_decay": -1}])
    clipped = wrap(
        optimizers.Adam(global_clipnorm=1.0), [{"params": given[:1]}, {"params": given[1:], "global_clipnorm": 2.0}]
    )
    with pytest.raises(ValueError, match=r"have global_clipnorm=1\.0 and global_clipnorm=2\.0, and it concerns"):
        run(clipped, given, 1)


def rules_by_name():
    return optimizers.MultiOptimizer(
        {"bias$": optimizers.SGD(0.1, momentum=0.5)}, optimizers.AdamW(0.25, weight_decay=0.5)
    )


def equal(one, other):
    return bool((one == other).all())


def named_model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 3))


def trained(model, step, steps=3):
    import torch

    for number in range(steps):
        model.zero_grad()
        (model(torch.linspace(0.0, 1.0 + number, 6).reshape(2, 3)) ** 2).sum().backward()
        step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_rules_of_several_find_parameters_by_their_names():
    skip_unless_torch(torch_names_parameters(), "named parameters")
    ours, theirs = named_model(), named_model()
    wrapped, core = wrap(rules_by_name(), ours.named_parameters()), rules_by_name()
    core.build(theirs.named_parameters())
    found = trained(ours, wrapped.step)
    expected = trained(theirs, lambda: core.apply([one.grad for one in theirs.parameters()]))
    assert all(map(equal, found, expected))
    kept = [set(wrapped.state[one]) for one in ours.parameters()]
    assert kept[0] == {"step", "momentum", "velocity"} and kept[1] == {"step", "momentum"}
    # And on from a checkpoint.
    third = named_model()
    third.load_state_dict(ours.state_dict())
    loaded = wrap(rules_by_name(), third.named_parameters())
    loaded.load_state_dict(copy.deepcopy(wrapped.state_dict()))
    assert all(map(equal, trained(ours, wrapped.step), trained(third, loaded.step)))


def test_rules_of_several_are_looked_for_in_all_groups():
    skip_unless_torch(torch_names_parameters(), "named parameters")
    model = named_model()
    kernels, others = (
        [pair for pair in model.named_parameters() if pair[0].endswith("bias") is bias] for bias in (False, True)
    )
    wrapped = wrap(rules_by_name(), [{"params": kernels}, {"params": others, "lr": 0.5}])
    before = [one.detach().clone() for one in model.parameters()]
    after = trained(model, wrapped.step)
    assert not any(map(equal, before, after))
    wrong = optimizers.MultiOptimizer({"gamma": optimizers.SGD(0.1)}, optimizers.AdamW(0.25))
    words = r"the pattern 'gamma' matches no parameter's name; the names are '0\.bias'"
    with pytest.raises(ValueError, match=words):
        trained(model, wrap(wrong, [{"params": kernels}, {"params": others}]).step)


class Counting(optimizers.Optimizer):
    """A user's rule with numbers that it finds out of its parameters, one of another of its own, and one given."""

    def __init__(self, learning_rate=0.1, factor=2.0, share=1.0, **keywords):
        super().__init__(learning_rate, **keywords)
        self.many, self.factor, self.share = 0, factor, share

    def build(self, variables):
        super().build(variables)
        self.many = np.int64(len(variables))
        self.share *= len(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.factor / float(self.many * self.share)))


@pytest.mark.parametrize("several", [False, True], ids=["alone", "one of several"])
def test_what_build_finds_out_is_no_value_of_a_group(several):
    """It follows from the parameters, whatever comes between: copies, files, a gradient that is late."""
    import torch

    named = [(name, torch.zeros(2, requires_grad=True)) for name in ("a", "b", "c")]
    core = Counting(0.5)
    if several:
        skip_unless_torch(torch_names_parameters(), "named parameters")
        core = optimizers.MultiOptimizer({"c": optimizers.SGD(0.5)}, default=core)

    def made():
        return wrap(core, named if several else [parameter for _, parameter in named])

    def stepped(optimizer, factor=2.0):
        before = named[0][1].detach().clone()
        for name, parameter in named:
            parameter.grad = None if name in late else torch.ones(2)
        optimizer.step()
        group = next(each for each in optimizer.param_groups if "factor" in each)
        assert group["factor"] == factor and not {"many", "share"} & group.keys()
        many = len([each for each in group["params"] if each.grad is not None])
        assert (before - named[0][1]).tolist() == pytest.approx([0.5 * factor / many**2] * 2)

    late = {"b"}
    optimizer = made()
    stepped(optimizer)
    late.clear()
    stepped(optimizer)
    other = made()
    other.load_state_dict(saved(optimizer))
    stepped(other)
    stepped(other)
    next(each for each in other.param_groups if "factor" in each)["factor"] = 4.0
    stepped(other, 4.0)


def test_a_group_cannot_say_what_build_finds_out():
    import torch

    group = {"params": [torch.zeros(2, requires_grad=True)], "many": 5}
    with pytest.raises(ValueError, match=r"^Counting\.build sets `many` itself, .* leave `many` out of it\.$"):
        wrap(Counting(0.5), [group])
    optimizer = wrap(Counting(0.5), [torch.zeros(2, requires_grad=True)])
    with pytest.raises(ValueError, match="many"):
        optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)], "many": 5})


@pytest.mark.parametrize("name", ["params", "param_names", "initial_lr", "capturable", "differentiable", "rule"])
def test_attributes_with_a_name_that_groups_have_are_refused(name):
    import torch

    class Own(optimizers.Optimizer):
        def __init__(self, learning_rate=0.1, **keywords):
            super().__init__(learning_rate, **keywords)
            setattr(self, name, 1.0)

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    with pytest.raises(ValueError, match=f"^Own has an attribute `{name}`, .* such as `own_{name}`[.]$"):
        wrap(Own(), [torch.zeros(2, requires_grad=True)])
