"""Groups made of rules, used as torch's tools use groups: as two optimizers of torch, one beside the other."""

from __future__ import annotations

import copy
import io

import pytest
from helpers.releases import skip_unless_torch, torch_names_parameters
from helpers.torch_frontend_table import distance

from gradwise.optimizers import SGD, Adam, MultiOptimizer

pytestmark = pytest.mark.torch

SHAPES = [(3, 4), (4,), (4, 2), (2,)]


def drawn(seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


class Ours:
    """Parameters with one optimizer, of a rule for every second and another for the others."""

    def __init__(self, params=None):
        import torch

        from gradwise.frontends import torch as optim

        skip_unless_torch(torch_names_parameters(), "named parameters")
        self.params = params or list(map(torch.nn.Parameter, drawn(0)))
        rules = MultiOptimizer(
            {"p[02]": SGD(0.1, momentum=0.9, convention="torch")}, default=Adam(0.01, convention="torch")
        )
        self.optimizer = optim.wrap(rules, [(f"p{place}", each) for place, each in enumerate(self.params)])
        self.slot, self.squares = "momentum", "velocity"

    @property
    def optimizers(self):
        return [self.optimizer]

    @property
    def states(self):
        return [self.optimizer.state] * 2

    @property
    def groups(self):
        return self.optimizer.param_groups

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


class Theirs(Ours):
    """The same with two of torch's."""

    def __init__(self):
        import torch

        self.params = list(map(torch.nn.Parameter, drawn(0)))
        self.two = [
            torch.optim.SGD(self.params[0::2], lr=0.1, momentum=0.9), torch.optim.Adam(self.params[1::2], lr=0.01)
        ]
        self.slot, self.squares = "momentum_buffer", "exp_avg_sq"

    @property
    def optimizers(self):
        return self.two

    @property
    def states(self):
        return [optimizer.state for optimizer in self.two]

    @property
    def groups(self):
        return [optimizer.param_groups[0] for optimizer in self.two]


def train(own, steps, first=0, after=lambda: None, lacking=lambda step: ()):
    for step in range(first, first + steps):
        for place, (parameter, gradient) in enumerate(zip(own.params, drawn(100 + step), strict=True)):
            parameter.grad = None if place in lacking(step) else gradient
        own.step()
        after()


def scheduled(make, *of_each):
    """Under schedulers: one of all groups, or one for each optimizer. What differs is given for each group."""

    def scenario(own):
        if len(own.optimizers) == 1:
            made = [make(own.optimizers[0], *(list(values) for values in of_each))]
        else:
            made = [make(each, *(values[place] for values in of_each)) for place, each in enumerate(own.optimizers)]
        train(own, 8, after=lambda: [each.step() for each in made])

    return scenario


def schedulers():
    from torch.optim import lr_scheduler

    return lr_scheduler


def rates_in_tensors(own):
    import torch

    train(own, 3)
    for group in own.groups:
        group["lr"] = torch.tensor(0.03)
    train(own, 3, 3)
    for group in own.groups:
        group["lr"].fill_(0.2)
    train(own, 3, 6)
    own.groups[0]["lr"] = 0.1
    train(own, 3, 9)


def states_written_by_others(own):
    train(own, 4)
    first, second = own.states
    first[own.params[0]][own.slot].zero_()
    second[own.params[1]][own.squares].mul_(2)
    train(own, 4, 4)
    second[own.params[1]]["step"].fill_(1)
    train(own, 4, 8)
    del second[own.params[1]]
    train(own, 4, 12)


def a_group_in_the_middle(own):
    import torch

    train(own, 3)
    further = torch.nn.Parameter(torch.ones(SHAPES[0]))
    named = [("q", further)] if len(own.optimizers) == 1 else [further]
    own.optimizers[-1].add_param_group({"params": named, "lr": 0.5})
    for step in range(4):
        further.grad = torch.full_like(further, step - 1.5)
        train(own, 1, 3 + step)
    own.params.append(further)


def copied_in_the_middle(own):
    train(own, 3)
    twin = copy.deepcopy(own)
    train(own, 2, 3)
    train(twin, 3, 3)
    own.params = twin.params


def loaded_in_the_middle(own):
    import torch

    train(own, 3)
    for optimizer in own.optimizers:
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        optimizer.load_state_dict(torch.load(file, weights_only=True))
    train(own, 3, 3)


SCENARIOS = {
    "one cycle": scheduled(
        lambda optimizer, rate: schedulers().OneCycleLR(optimizer, rate, total_steps=9, cycle_momentum=False),
        [0.1, 0.05],
    ),
    "lambdas": scheduled(
        lambda optimizer, function: schedulers().LambdaLR(optimizer, function),
        [lambda epoch: 0.9**epoch, lambda epoch: 1 / (1 + epoch)],
    ),
    "cycles": scheduled(
        lambda optimizer, low, high: schedulers().CyclicLR(optimizer, low, high, 2, cycle_momentum=False),
        [0.01, 0.001], [0.1, 0.05],
    ),
    "rates in tensors": rates_in_tensors,
    "states written by others": states_written_by_others,
    "a group in the middle": a_group_in_the_middle,
    "copied in the middle": copied_in_the_middle,
    "loaded in the middle": loaded_in_the_middle,
    "gradients missing": lambda own: train(own, 12, lacking=lambda step: {step % 4, (step + 1) % 3}),
}  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rules_make_the_steps_of_two_optimizers_of_torch(scenario):
    ours, theirs = Ours(), Theirs()
    for own in (ours, theirs):
        SCENARIOS[scenario](own)
    assert len(ours.params) == len(theirs.params) >= 4
    for one, other, start in zip(ours.params, theirs.params, [*drawn(0), None], strict=False):
        assert distance(one, other, other) <= 40
        assert start is None or not one.equal(start)
