"""What errors say: in the words of torch's users, with the class that was called, and what to do."""

from __future__ import annotations

import copy
import functools
import warnings

import pytest

from gradwise import optimizers, schedules

pytestmark = pytest.mark.torch


def made(name, **keywords):
    import torch

    from gradwise.frontends import torch as optim

    return getattr(optim, name)([torch.nn.Parameter(torch.ones(3)) for _ in range(2)], **keywords)


def stepped(optimizer, steps=1, gradient=None):
    import torch

    for _ in range(steps):
        for group in optimizer.param_groups:
            for each in group["params"]:
                each.grad = torch.ones_like(each) if gradient is None else gradient
        optimizer.step()
    return optimizer


def later(name, key, value, **keywords):
    optimizer = stepped(made(name, **keywords), 4)
    optimizer.param_groups[0][key] = value
    stepped(optimizer)


def in_state(name, key, value):
    optimizer = stepped(made(name))
    entry = optimizer.state[optimizer.param_groups[0]["params"][0]]
    if value is None:
        del entry[key]
    else:
        entry[key] = value
    stepped(optimizer)


def loaded(of, into, **changes):
    state = copy.deepcopy(stepped(made(of)).state_dict())
    state["state"][0].update(changes)
    made(into).load_state_dict(state)


def wrapped(given, **values):
    import torch

    from gradwise.frontends import torch as optim

    return optim.wrap(given, [{"params": [torch.nn.Parameter(torch.ones(3))], **values}])


def set_in_wrapped(optimizer, key, value):
    optimizer.param_groups[0][key] = value
    stepped(optimizer)


def torch_ones(*arguments, **keywords):
    import torch

    return torch.ones(*arguments, **keywords)


def torch_linear():
    import torch

    return torch.nn.Linear(2, 2)


def wrapped_alone(params):
    from gradwise.frontends import torch as optim

    return optim.wrap(optimizers.Lion(0.1), params)


GROUPS = {
    "no parameters": (lambda: {"lr": 0.1}, "a parameter group is a dictionary with 'params', received one with 'lr'."),
    "nothing": (dict, "a parameter group is a dictionary with 'params', received one with none."),
    "None": (lambda: {"params": None}, "as the 'params' of a group, received None", "{'params': model.parameters()"),
    "a number": (lambda: {"params": 3}, "as the 'params' of a group, received 3", "{'params': model.parameters()"),
    "a model": (lambda: {"params": torch_linear()}, "received the model itself", "Give `model.parameters()`"),
}
"""Groups that are none, with what is said."""


def with_group(name, group):
    """A further group, which leaves none behind; and then the first."""
    import torch

    from gradwise.frontends import torch as optim

    def started(params):
        if name != "MultiOptimizer":
            return optim.wrap(optimizers.Lion(0.1), params) if name == "Lion" else optim.Adam(params)
        return optim.wrap(optimizers.MultiOptimizer({}, optimizers.Lion(0.1)), params)

    first = started([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises((TypeError, ValueError)) as caught:
        first.add_param_group(group())
    assert len(first.param_groups) == 1
    try:
        started([group()])
    except (TypeError, ValueError) as error:
        assert str(error) == str(caught.value) and str(error).startswith(name)
        raise


LR = "Invalid learning rate: nan (AdamW: `lr` must be a number in [0, inf))"
MISTAKES = {
    "a beta": (lambda: made("AdamW", betas=(0.9, 2)), "(AdamW: `betas[1]` must be a number in [0, 1))"),
    "epsilon": (lambda: made("NAdam", eps=-1), "Invalid epsilon value: -1 (NAdam: `eps` must be"),
    "alpha": (lambda: made("RMSprop", alpha=2), "Invalid alpha value: 2 (RMSprop: `alpha` must be"),
    "a schedule": (
        lambda: made("AdamW", lr=schedules.CosineDecay(0.1, 3)), "(AdamW: `lr` must be", "torch.optim.lr_scheduler",
    ),
    "in a first step": (lambda: set_in_wrapped(made("AdamW"), "lr", float("nan")), LR),
    "in a later step": (lambda: later("AdamW", "lr", float("nan")), LR),
    "several, later": (lambda: later("AdamW", "betas", (0.9, 2)), "index 1: 2 (AdamW: `betas[1]` must be"),
    "text, later": (lambda: later("SGD", "momentum", "x"), "Invalid momentum value: 'x' (SGD: `momentum` must be"),
    "a key of groups": (
        lambda: made("AdamW").add_param_group({"params": [torch_ones(2)], "beta": (0.9, 0.9)}),
        "AdamW: a parameter group has the key 'beta', which does nothing. Did you mean `betas`?",
    ),
    "a sparse gradient": (
        lambda: stepped(made("AdamW"), gradient=torch_ones(3).to_sparse()), "AdamW does not support sparse gradients",
        "sparse=False",
    ),
    "a piece of state": (lambda: in_state("AdamW", "exp_avg", None), "has no 'exp_avg'", "delete the parameter's"),
    "state of a shape": (lambda: in_state("AdamW", "exp_avg", torch_ones(4)), "has shape (4,)", "delete the"),
    "state of a kind": (lambda: in_state("AdamW", "exp_avg", "x"), "is 'x'", "convert it, or delete"),
    "another's groups": (lambda: loaded("RMSprop", "AdamW"), "class other than AdamW. Load it into the class that"),
    "another's state": (lambda: loaded("Adamax", "AdamW"), "class other than AdamW. Load it into the class that"),
    "another's parameters": (
        lambda: loaded("AdamW", "AdamW", exp_avg=torch_ones(4)), "the loaded 'exp_avg' of parameter 0 has shape (4,)",
        "of the same in another order",
    ),
    "no state": (lambda: made("AdamW").load_state_dict({}), "has no 'param_groups': load_state_dict takes what"),
    "nothing to load": (lambda: made("AdamW").load_state_dict(None), "load_state_dict takes what state_dict() gave"),
    "an attribute": (lambda: setattr(made("AdamW"), "lr", 0.1), "AdamW has no attribute `lr`", "group['lr'] = 0.1"),
    **{
        f"a group with {what} in {name}": (functools.partial(with_group, name, group), *pieces)
        for what, (group, *pieces) in GROUPS.items()
        for name in ("Adam", "MultiOptimizer", "Lion")
    },
    "wrap, a model": (
        lambda: wrapped_alone(torch_linear()), "wrap takes parameters second, received the model itself",
        "model.parameters()",
    ),
    "wrap, a rate": (
        lambda: wrapped_alone(0.1), "wrap takes parameters second, received 0.1",
        "Write `wrap(optimizer, model.named_parameters())`",
    ),
    "wrap, a key": (lambda: wrapped(optimizers.Lion(0.1), learning_rate=1), "Lion: a parameter group", "`lr`?"),
    "wrap, a value": (
        lambda: set_in_wrapped(wrapped(optimizers.Lion(0.1)), "lr", -1),
        "Invalid learning rate: -1 (Lion: `lr` must be",
    ),
}  # fmt: skip
OTHERS_WORDS = ("variables", "Nadam", "learning_rate`", "beta_2", "epsilon`", "cell", "Wrapped", "of the core")
"""What a user of torch has not written, and need not know."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_messages(mistake):
    function, *pieces = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, KeyError, RuntimeError, AttributeError)) as caught:
        function()
    message = str(caught.value)
    assert all(piece.lower() in message.lower() for piece in pieces), message
    assert not [word for word in OTHERS_WORDS if word in message], message


OTHERS = [
    "initial_lr", "base_lr", "max_lr", "min_lr", "swa_lr", "max_momentum", "base_momentum", "lr_scale", "lr_mult",
    "name", "rho", "steps", "_lrr", "weight_decay_scale", "initial_momentum", "d", "k", "scheduler", "grad_scale",
    "found_inf", "lr_scheduler", "layer_decay", "warmup_steps",
]  # fmt: skip
"""What schedulers, frameworks and users keep in groups, and on optimizers, for themselves."""


@pytest.mark.parametrize("own", OTHERS)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_what_others_keep_is_theirs(name, own):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = made(name)
        optimizer.param_groups[0][own] = 0.5
        stepped(optimizer)
        optimizer.param_groups[0][f"{own}_of_mine"] = 0.5
        setattr(optimizer, own, 0.5)
        stepped(optimizer, 3)
        assert getattr(optimizer, own) == 0.5
        stepped(copy.deepcopy(optimizer))


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize(("key", "meant"), [
    ("learning_rate", "`lr`"), ("lrr", "`lr`"), ("beta_1", "`betas`"), ("weight_deacy", "`weight_decay`"),
    ("epsilon", "`eps`"), ("wd", "`weight_decay`"),
])  # fmt: skip
def test_keys_of_groups_that_are_set_later_are_told_once(key, meant, before):
    optimizer = stepped(made("Adam"), before)
    optimizer.param_groups[0][key] = 0.5
    sentence = f"Adam: a parameter group has the key {key!r}, which does nothing. Did you mean {meant}?"
    with pytest.warns(UserWarning) as warned:
        stepped(optimizer, 3)
        optimizer.param_groups[0]["mine"] = 0.5
        stepped(optimizer, 3)
    assert [str(each.message) for each in warned] == [sentence]
    assert warned[0].filename == __file__


def test_keys_of_groups_that_are_set_later_are_told_of_before_anything_changes():
    optimizer = stepped(made("Adam"), 5)
    parameter = optimizer.param_groups[0]["params"][0]
    before = parameter.detach().clone()
    optimizer.param_groups[0]["learning_rate"] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="learning_rate"):
            stepped(optimizer)
        assert bool((parameter == before).all())
        stepped(optimizer)
    assert not bool((parameter == before).all())


def test_attributes_that_are_nearly_keys_of_groups_are_told_and_set():
    optimizer = made("Adam")
    for name, value in (("learning_rte", 0.5), ("weight_decays", [1.0, 2.0])):
        with pytest.warns(UserWarning, match=f"Adam has no attribute `{name}` to set, and what is set so") as warned:
            setattr(optimizer, name, value)
        assert len(warned) == 1 and warned[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            setattr(optimizer, name, value)
        assert getattr(optimizer, name) == value


@pytest.mark.parametrize("wrap", [False, True])
def test_schedulers_of_torch_say_nothing(wrap):
    import torch

    from gradwise.frontends import torch as optim

    of_torch = torch.optim.lr_scheduler
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in (
            lambda optimizer: of_torch.OneCycleLR(optimizer, 0.1, 20, cycle_momentum=not wrap),
            lambda optimizer: of_torch.CyclicLR(optimizer, 0.1, 0.2, cycle_momentum=False),
            lambda optimizer: torch.optim.swa_utils.SWALR(optimizer, 0.1),
            lambda optimizer: of_torch.ReduceLROnPlateau(optimizer),
        ):
            parameters = [torch.nn.Parameter(torch.ones(3))]
            optimizer = optim.wrap(optimizers.Adam(0.1), parameters) if wrap else optim.Adam(parameters)
            scheduler = make(optimizer)
            for _ in range(4):
                stepped(optimizer)
                scheduler.step(*([1.0] if isinstance(scheduler, of_torch.ReduceLROnPlateau) else []))
