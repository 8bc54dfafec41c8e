"""`wrap` of a `MultiOptimizer`: a group for each rule, and one step of the whole model."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from helpers.releases import skip_unless_torch, torch_names_parameters
from helpers.selection import crossing
from helpers.torch_frontend_table import give, gradients, parameters

from gradwise import schedules
from gradwise.optimizers import SGD, Adam, AdamW, Lion, MultiOptimizer, Nadam, Optimizer, RMSprop

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")]


def wrap(optimizer, params):
    from gradwise.frontends import torch as optim

    return optim.wrap(optimizer, params)


class Paced(Optimizer):
    """A user's rule, of whose parameters a step depends on all, with a number and an array that they share."""

    def build(self, variables):
        super().build(variables)
        self.pace = self.add_scalar("pace", 1.0)
        self.total = self.add_variable((2,), name="total")

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.pace, self.pace * 0.75)
        self.assign_add(self.total, float(len(variables)))

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.pace))


RULES = {
    "two alike": lambda: ({"bias$": Adam(0.1)}, Adam(0.01, beta_1=0.5)),
    "one slot each": lambda: ({"bias$": Lion(0.1)}, SGD(0.1, momentum=0.5)),
    "conventions": lambda: (
        {
            "bias$": SGD(0.1, momentum=0.5, weight_decay=0.1, convention="torch"),
            "1.weight": Nadam(0.1, convention="torch"),
        },
        RMSprop(0.1, centered=True, convention="optax"),
    ),
    "schedules": lambda: ({"bias$": SGD(schedules.CosineDecay(0.5, 4))}, Adam(lambda step: 0.1 / (1.0 + step))),
    "decay of the rate": lambda: ({"bias$": SGD(0.5, decay=0.5)}, AdamW(0.1)),
    "clipped": lambda: ({"bias$": SGD(0.1, clipnorm=0.5)}, SGD(0.1, clipvalue=0.25)),
    "a user's own": lambda: ({"bias$": Paced(0.5)}, Paced(0.1)),
}
OPTIONS = {
    "plain": {},
    "global norm": {"global_clipnorm": 0.5},
    "global norm of Keras 2": {"clipnorm": 0.5, "convention": "keras2"},
    "each norm": {"clipnorm": 0.5},
    "scaled": {"loss_scale_factor": 4.0},
    "averages": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "accumulated": {"gradient_accumulation_steps": 2},
    "one schedule": {"learning_rate": schedules.ExponentialDecay(1.0, 2, 0.5), "decay": 0.25},
}
SHAPES = {"0.weight": (3, 4), "0.bias": (4,), "1.weight": (4, 2), "1.bias": (2,)}


def given(seed=0):
    """Named parameters."""
    import torch

    skip_unless_torch(torch_names_parameters(), "named parameters")
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def train(optimizer, params, steps, seed=1, missing=True):
    """Steps with gradients drawn from a seed, of which one is missing now and then."""
    own = list(params.values())
    for grads in gradients(own, steps, seed):
        give(own, [g if g is not None or missing else p.detach().clone() for g, p in zip(grads, own, strict=True)])
        optimizer.step()


def same(one, other):
    return all(bool((one[name] == other[name]).all()) for name in one)


@crossing(("rule", "option", "missing"), list(RULES), list(OPTIONS), [True, False])
def test_steps_are_those_of_the_core(rule, option, missing):
    ours, theirs = given(), given()
    wrapped = wrap(MultiOptimizer(*RULES[rule](), **OPTIONS[option]), ours.items())
    core = MultiOptimizer(*RULES[rule](), **OPTIONS[option])
    core.build(theirs.items())

    class Applied:
        def step(self):
            core.apply([each.grad for each in theirs.values()])

    train(wrapped, ours, 6, missing=missing)
    train(Applied(), theirs, 6, missing=missing)
    assert same(ours, theirs)


def test_each_rule_has_a_group_with_its_values():
    params = given()
    wrapped = wrap(
        MultiOptimizer(
            {"bias$": SGD(0.1, momentum=0.5), "1.weight": SGD(0.2)}, AdamW(0.01, beta_1=0.5), global_clipnorm=1.0
        ),
        params.items(),
    )
    groups = wrapped.param_groups
    assert [group["rule"] for group in groups] == ["sgd", "sgd_1", "adam_w"]
    assert [group["param_names"] for group in groups] == [["0.bias", "1.bias"], ["1.weight"], ["0.weight"]]
    assert [group["lr"] for group in groups] == [0.1, 0.2, 0.01]
    assert [group.get("momentum") for group in groups] == [0.5, 0.0, None] and groups[2]["beta_1"] == 0.5
    assert all(group["global_clipnorm"] == 1.0 for group in groups)
    train(wrapped, params, 2)
    kept = [set(wrapped.state[each]) for each in params.values()]
    assert kept == [{"step", "momentum", "velocity"}, {"step", "momentum"}, {"step"}, {"step", "momentum"}]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_schedulers_and_users_change_each_group(clip):
    import torch

    def made(biases=0.5, others=0.125, momentum=0.5):
        return MultiOptimizer({"bias$": SGD(biases, momentum=momentum)}, AdamW(others), global_clipnorm=clip)

    ours, theirs = given(), given()
    wrapped, core = wrap(made(), ours.items()), made()
    core.build(theirs.items())
    factors = [lambda step: 1.0 / (1 + step), lambda step: 0.5**step]
    scheduler = torch.optim.lr_scheduler.LambdaLR(wrapped, factors)
    biases, others = core.optimizers["sgd"], core.optimizers["adam_w"]
    for step, grads in enumerate(gradients(list(ours.values()), 7)):
        whole = [torch.ones_like(p) if g is None else g for g, p in zip(grads, ours.values(), strict=True)]
        give(list(ours.values()), whole)
        if step == 4:
            wrapped.param_groups[0]["momentum"] = biases.momentum = 0.25
        wrapped.step()
        scheduler.step()
        core.apply(whole)
        biases.learning_rate, others.learning_rate = 0.5 / (2 + step), 0.125 * 0.5 ** (step + 1)
        assert [group["lr"] for group in wrapped.param_groups] == [biases.learning_rate, others.learning_rate]
    assert same(ours, theirs)


def test_one_cycle():
    import torch

    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1)}, AdamW(0.1)), params.items())
    cycle = torch.optim.lr_scheduler.OneCycleLR(wrapped, max_lr=[1.0, 0.5], total_steps=10, cycle_momentum=False)
    rates = []
    for _ in range(4):
        train(wrapped, params, 1)
        cycle.step()
        rates.append([group["lr"] for group in wrapped.param_groups])
    assert all(one > other for one, other in rates) and rates[0] != rates[3]


def test_a_rule_whose_rate_is_a_schedule_shows_it_until_its_group_has_another():
    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(schedules.ExponentialDecay(0.5, 1, 0.5))}, SGD(0.25)), params.items())
    train(wrapped, params, 2)
    assert [group["lr"] for group in wrapped.param_groups] == [0.125, 0.25]
    wrapped.param_groups[0]["lr"] = 1.0
    train(wrapped, params, 2)
    assert [group["lr"] for group in wrapped.param_groups] == [1.0, 0.25]


@pytest.mark.parametrize("rule", ["conventions", "a user's own", "schedules"])
@pytest.mark.parametrize("how", ["state_dict", "file", "deepcopy", "pickle", "names"])
def test_training_goes_on_to_the_last_bit(rule, how, tmp_path):
    import torch

    def made():
        return MultiOptimizer(*RULES[rule](), use_ema=True, global_clipnorm=1.0)

    if rule == "schedules" and how == "pickle":
        pytest.skip("a lambda has no pickle")
    one = given()
    first = wrap(made(), one.items())
    train(first, one, 5)
    if how in ("deepcopy", "pickle"):
        second, two = copy.deepcopy((first, one)) if how == "deepcopy" else pickle.loads(pickle.dumps((first, one)))
    else:
        two = {name: torch.nn.Parameter(each.detach().clone()) for name, each in one.items()}
        second, state = wrap(made(), two.items()), first.state_dict()
        if how == "file":
            torch.save(state, tmp_path / "state.pt")
            state = torch.load(tmp_path / "state.pt", weights_only=True)
        if how == "names":
            from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

            def model(params):
                holder = torch.nn.Module()
                for name, each in params.items():
                    holder.register_parameter(name.replace(".", "_"), each)
                return holder

            options = StateDictOptions(flatten_optimizer_state_dict=rule != "a user's own")
            weights, state = get_state_dict(model(one), first, options=options)
            set_state_dict(model(two), second, model_state_dict=weights, optim_state_dict=state, options=options)
        else:
            second.load_state_dict(state)
    train(first, one, 5, seed=2)
    train(second, two, 5, seed=2)
    assert same(one, two)
    assert [group["rule"] for group in second.param_groups] == [group["rule"] for group in first.param_groups]


def test_state_of_other_rules_is_refused():
    one = given()
    first = wrap(MultiOptimizer({"bias$": SGD(0.1)}, SGD(0.1, name="rest")), one.items())
    other = wrap(MultiOptimizer({"weight$": SGD(0.1, name="rest")}, SGD(0.1)), one.items())
    train(first, one, 1)
    with pytest.raises(ValueError, match="of the rule 'sgd' in the loaded state, and of the rule 'rest' in the opt"):
        other.load_state_dict(first.state_dict())


OTHER_RULES = {
    "a rule more": (
        {"^0.bias$": 0.1, "^1.bias$": 0.2, "weight$": 0.3, "^2": 0.4}, "group 3 is missing in the loaded state"
    ),
    "a rule less": ({"bias$": 0.1, "weight$": 0.3}, "group 2 is of the rule 'sgd_2' in the loaded state, and missing"),
    # Each has one parameter of one shape, and the name that the other had.
    "two exchanged": (
        {"^1.bias$": 0.2, "^0.bias$": 0.1, "weight$": 0.3}, "'0.bias' is that of the rule 'sgd', and .* under .*'sgd_1'"
    ),
}


@pytest.mark.parametrize("other", OTHER_RULES)
def test_state_is_never_that_of_another_rule(other):
    """Rules without names of their own have them from their order."""
    import torch

    skip_unless_torch(torch_names_parameters(), "named parameters")
    shapes = {"0.bias": 2, "1.bias": 2, "1.weight": 3, "2.weight": 3}

    def made(rules):
        given = [(name, torch.nn.Parameter(torch.ones(size))) for name, size in shapes.items()]
        return wrap(MultiOptimizer({each: SGD(rate, momentum=0.5) for each, rate in rules.items()}), given)

    rules, message = OTHER_RULES[other]
    first = made({"^0.bias$": 0.1, "^1.bias$": 0.2, "weight$": 0.3})
    rules.pop("^2", None) and rules.update({"^1.weight$": rules.pop("weight$"), "^2.weight$": 0.4})
    second = made(rules)
    before = copy.deepcopy(second.state_dict())
    with pytest.raises(ValueError, match=message):
        second.load_state_dict(first.state_dict())
    assert second.state_dict() == before


def test_state_of_parameters_that_were_renamed_is_loaded():
    """As in a model that was wrapped for several devices."""
    import torch

    first = given()
    one = wrap(MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, AdamW(0.1)), first.items())
    train(one, first, 2)
    second = {name: torch.nn.Parameter(each.detach().clone()) for name, each in first.items()}
    two = wrap(
        MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, AdamW(0.1)),
        [(f"module.{name}", each) for name, each in second.items()],
    )
    two.load_state_dict(one.state_dict())
    train(one, first, 2, seed=2)
    train(two, second, 2, seed=2)
    assert same(first, second)


def test_the_plan_tells_what_happens_to_each_parameter():
    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, AdamW(0.01)), params.items())
    wrapped.param_groups[1]["lr"] = 0.5
    rows = [(row.parameter, row.optimizer, row.learning_rate, row.slots) for row in wrapped.plan()]
    assert rows == [
        ("0.bias", "sgd", 0.1, ("momentum",)), ("1.bias", "sgd", 0.1, ("momentum",)),
        ("0.weight", "adam_w", 0.5, ("momentum", "velocity")), ("1.weight", "adam_w", 0.5, ("momentum", "velocity")),
    ]  # fmt: skip
    assert "4 parameters" in str(wrapped.plan())
    alone = wrap(Adam(0.1), params.items())
    assert {row.optimizer for row in alone.plan()} == {"adam"} and len(alone.plan()) == 4


def test_the_plan_of_groups_that_differ_in_what_concerns_the_whole_model():
    """Without anything in common each group is an optimizer of its own."""
    params = list(given().values())
    groups = [{"params": each} for each in (params[:1], params[1:3], params[3:], [])]
    wrapped = wrap(AdamW(0.1), groups)
    wrapped.param_groups[1]["gradient_accumulation_steps"] = 2
    wrapped.param_groups[2]["lr"] = 0.5
    for each in params:
        each.grad = each.detach().clone()
    wrapped.step()
    slots = ("momentum", "velocity")
    assert [(row.parameter, row.optimizer, row.learning_rate, row.slots) for row in wrapped.plan()] == [
        ("variable_0", "adam_w", 0.1, slots),
        ("variable_1", "adam_w", 0.1, ("gradient_accumulator", *slots)),
        ("variable_2", "adam_w", 0.1, ("gradient_accumulator", *slots)),
        ("variable_3", "adam_w", 0.5, slots),
    ]  # fmt: skip


def test_the_plan_of_groups_that_clip_together():
    params = list(given().values())
    wrapped = wrap(AdamW(0.1, global_clipnorm=1.0), [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    assert [(row.optimizer, row.learning_rate) for row in wrapped.plan()] == [("adam_w", 0.1), *3 * [("adam_w", 0.5)]]


def test_further_groups_are_claimed_as_the_first_were():
    import torch

    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1)}, AdamW(0.01), global_clipnorm=0.5), params.items())
    train(wrapped, params, 2)
    more = {name: torch.nn.Parameter(torch.ones(3)) for name in ("2.weight", "2.bias")}
    wrapped.add_param_group({"params": list(more.items()), "weight_decay": None})
    last = {"3.weight": torch.nn.Parameter(torch.ones(3))}
    wrapped.add_param_group({"params": list(last.items()), "rule": "sgd", "lr": 0.5})
    assert [(group["rule"], group["lr"]) for group in wrapped.param_groups] == [
        ("sgd", 0.1), ("adam_w", 0.01), ("sgd", 0.1), ("adam_w", 0.01), ("sgd", 0.5),
    ]  # fmt: skip
    everything = params | more | last
    for each in everything.values():
        each.grad = torch.ones_like(each)
    norm = sum(each.numel() for each in everything.values()) ** 0.5
    wrapped.step()
    torch.testing.assert_close(last["3.weight"].detach(), torch.full((3,), 1 - 0.5 * 0.5 / norm))
    assert all(float(wrapped.state[each]["step"]) == 3 for each in everything.values())


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_group_without_parameters_stays_and_may_get_some(place, clip):
    """As in torch. What no rule claims is that of the default."""
    import torch

    def plain():
        return torch.nn.Parameter(torch.ones(2))

    def step():
        for group in wrapped.param_groups:
            for each in group["params"]:
                each.grad = torch.ones_like(each)
        wrapped.step()

    groups = [{"params": [plain()]}, {"params": [plain()]}]
    groups.insert(place, {"params": []})
    rules = {(lambda path, each: path == "variable_0"): SGD(0.1)}
    wrapped = wrap(MultiOptimizer(rules, Adam(0.1), global_clipnorm=clip), groups)
    lengths = [1, 1]
    lengths.insert(place, 0)
    assert [len(group["params"]) for group in wrapped.param_groups] == lengths
    assert wrapped.param_groups[place]["rule"] == "adam"
    for _ in range(4):
        step()
    wrapped.param_groups[place]["params"].append(plain())
    step()
    assert float(wrapped.state[wrapped.param_groups[place]["params"][0]]["velocity"][0]) > 0
    # Between steps, when all else is as it was.
    for _ in range(4):
        step()
    wrapped.add_param_group({"params": []})
    assert [len(group["params"]) for group in wrapped.param_groups] == [1, 1, 1, 0]
    step()
    wrapped.param_groups[-1]["params"].append(plain())
    step()
    assert len(wrapped.plan()) == 4 and wrapped.param_groups[-1]["rule"] == "adam"
    del wrapped.param_groups[-1]
    step()


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("where", ["another group", "another rule"])
def test_a_parameter_has_the_rule_of_the_group_in_which_it_is(where, steps):
    """It may be put into another between steps, and a group may be given another rule: where all others stay."""
    import torch

    given = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    rules = {(lambda path, each: path != "variable_2"): SGD(0.25)}
    wrapped = wrap(MultiOptimizer(rules, SGD(0.5)), given)
    for step in range(2 * steps):
        if step == steps and where == "another group":
            first, second = wrapped.param_groups
            second["params"].insert(0, first["params"].pop())
        elif step == steps:
            assert [group.pop("rule") for group in wrapped.param_groups] == ["sgd_1", "sgd"]
            for group, rule in zip(wrapped.param_groups, ["sgd", "sgd_1"], strict=True):
                group.update(rule=rule)
        before = [each.detach().clone() for each in given]
        for each in given:
            each.grad = torch.ones_like(each)
        wrapped.step()
    rates = [0.25, 0.5, 0.5] if where == "another group" else [0.25, 0.25, 0.5]
    for each, was, rate in zip(given, before, rates, strict=True):
        torch.testing.assert_close(each.detach(), was - rate)


class Counted(SGD):
    """It counts how often one of its kind is built."""

    builds = 0

    def build(self, variables):
        Counted.builds += 1
        super().build(variables)


def test_a_group_costs_what_its_own_rules_do(monkeypatch):
    """Rules that claim nothing of it are neither built, nor are their patterns compiled anew."""
    import torch

    def group(number):
        return {"params": [(f"layer{number}.weight", torch.nn.Parameter(torch.ones(2)))]}

    skip_unless_torch(torch_names_parameters(), "named parameters")
    count = 600  # Python keeps 512 expressions.
    rules = {rf"^layer{number}\.": Counted(0.1, name=f"rule{number}") for number in range(count)}
    wrapped = wrap(MultiOptimizer(rules), [group(0)])
    compiled, compile_ = [], re.compile
    monkeypatch.setattr(re, "compile", lambda pattern, flags=0: compiled.append(pattern) or compile_(pattern, flags))
    Counted.builds = 0
    for number in range(1, 5):
        wrapped.add_param_group(group(number))
    assert [each["rule"] for each in wrapped.param_groups] == [f"rule{number}" for number in range(5)]
    assert Counted.builds <= 8 and not set(compiled) & set(rules)


MISTAKES = {
    "undecided": (lambda: MultiOptimizer({"bias$": SGD(0.1)}), None, r"no rule claims '0\.weight', '1\.weight'"),
    "claimed twice": (
        lambda: MultiOptimizer({"bias$": SGD(0.1), "^0": SGD(0.1)}, SGD(0.1)), None,
        r"'0\.bias' is claimed by .* and by",
    ),
    "no such rule": (
        lambda: MultiOptimizer({"bias$": SGD(0.1)}, SGD(0.1)), {"rule": "adam"},
        r"rule='adam'; its rules are 'sgd_1', 'sgd'",
    ),
    "a value that is not allowed": (
        lambda: MultiOptimizer({"bias$": SGD(0.1)}, SGD(0.1)), {"lr": -1}, "Invalid learning rate: -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    import torch

    make, group, message = MISTAKES[mistake]
    params = given()
    if group is None:
        with pytest.raises(ValueError, match=message):
            wrap(make(), params.items())
        return
    wrapped = wrap(make(), params.items())
    with pytest.raises(ValueError, match=message):
        wrapped.add_param_group({"params": [("2.bias", torch.nn.Parameter(torch.ones(2)))], **group})
    assert len(wrapped.param_groups) == 2


def test_a_group_that_is_refused_leaves_none_behind():
    import torch

    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1)}, SGD(0.1)), params.items())
    train(wrapped, params, 2)
    further = [("2.bias", torch.nn.Parameter(torch.ones(2))), ("2.weight", params["1.weight"])]
    with pytest.raises(ValueError, match="more than one parameter group"):
        wrapped.add_param_group({"params": further})
    assert len(wrapped.param_groups) == 2
    train(wrapped, params, 2)


@pytest.mark.parametrize("followed", [False, True])
def test_inside_torch_compile(followed, monkeypatch):
    import torch

    from gradwise.frontends.torch import adapter

    if followed:
        monkeypatch.setattr(adapter, "runs_compiled", lambda groups: False)
    torch._dynamo.reset()

    def made():
        return MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, AdamW(0.01), global_clipnorm=0.5)

    one, two = given(), given()
    a, b = wrap(made(), one.items()), wrap(made(), two.items())
    step = torch.compile(a.step, backend="eager")
    for _ in range(3):
        for params in (one, two):
            for each in params.values():
                each.grad = torch.ones_like(each)
        step()
        b.step()
        for wrapped in (a, b):
            wrapped.param_groups[0]["lr"] *= 0.5
    for name in one:
        torch.testing.assert_close(one[name], two[name])


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_what_concerns_the_whole_model_is_the_same_in_all_groups(steps):
    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1)}, SGD(0.1), ema_momentum=0.5), params.items())
    train(wrapped, params, steps, missing=False)
    before = {name: each.detach().clone() for name, each in params.items()}
    wrapped.param_groups[1]["ema_momentum"] = 0.25
    for _ in range(2):
        with pytest.raises(ValueError, match=r"have ema_momentum=0\.5 and ema_momentum=0\.25, .* set it to the same"):
            train(wrapped, params, 1, missing=False)
        assert same(before, params)
    wrapped.param_groups[0]["ema_momentum"] = 0.25
    train(wrapped, params, 1, missing=False)


@pytest.mark.parametrize("convention", ["keras", "keras2", "torch", "optax"])
@pytest.mark.parametrize("later", [False, True])
def test_a_global_norm_is_that_of_all_groups(convention, later):
    name = "clipnorm" if convention == "keras2" else "global_clipnorm"
    ours, theirs = given(), given()
    split = [{"params": list(ours.values())[:2]}, {"params": list(ours.values())[2:]}]
    options = {} if later else {name: 0.25}
    wrapped = wrap(SGD(0.5, momentum=0.5, convention=convention, **options), split)
    core = SGD(0.5, momentum=0.5, convention=convention, **options)
    core.build(list(theirs.values()))
    if later:
        train(wrapped, ours, 3, missing=False)
        for group in wrapped.param_groups:
            group[name] = 0.25

    class Applied:
        def step(self):
            core.apply([each.grad for each in theirs.values()])

    if later:
        train(Applied(), theirs, 3, missing=False)
        setattr(core, name, 0.25)
    train(wrapped, ours, 5, seed=3)
    train(Applied(), theirs, 5, seed=3)
    assert same(ours, theirs)


def test_groups_with_a_rate_of_their_own_may_clip_together():
    import torch

    params = list(given().values())
    wrapped = wrap(
        SGD(1.0, global_clipnorm=1.0), [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
    )
    before = [each.detach().clone() for each in params]
    for each in params:
        each.grad = torch.ones_like(each)
    wrapped.step()
    share = sum(each.numel() for each in params) ** -0.5
    for each, was, rate in zip(params, before, [1.0, 1.0, 0.5, 0.5], strict=True):
        torch.testing.assert_close(each.detach(), was - rate * share)


def test_the_repeated_step_goes_in_one_look_at_everything():
    params = given()
    wrapped = wrap(MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, AdamW(0.01)), params.items())
    train(wrapped, params, 4, missing=False)
    assert vars(wrapped).get("_repeat") is not None and vars(wrapped)["_repeat"].sure


def test_parameters_without_names_are_told_by_a_function():
    own = [each for each in parameters() if each.is_floating_point()]
    rules = {(lambda path, each: each.ndim < 2): SGD(0.1)}
    wrapped = wrap(MultiOptimizer(rules, Adam(0.1)), own)
    assert {each.ndim < 2 for each in wrapped.param_groups[0]["params"]} == {True}
    assert {each.ndim < 2 for each in wrapped.param_groups[1]["params"]} == {False}


def test_state_of_several_rules_is_not_that_of_one():
    """Its groups may stand in another order, so that parameters would go on with each other's state."""
    import torch

    skip_unless_torch(torch_names_parameters(), "named parameters")
    kernel, bias = (torch.ones(2, requires_grad=True) for _ in range(2))
    rules = MultiOptimizer({"bias": Adam(0.1)}, default=AdamW(0.1))
    several = wrap(rules, [("kernel", kernel), ("bias", bias)])
    one = wrap(Adam(0.1), [{"params": [("kernel", kernel)]}, {"params": [("bias", bias)]}])
    for each in (kernel, bias):
        each.grad = torch.ones(2)
    for optimizer in (several, one):
        optimizer.step()
    for optimizer, other in ((several, one), (one, several)):
        with pytest.raises(ValueError, match="Parameter group 0 is"):
            optimizer.load_state_dict(other.state_dict())
