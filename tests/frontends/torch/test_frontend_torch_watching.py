"""Steps of `gradwise.frontends.torch` that somebody watches, and that nobody does: whoever watches misses nothing."""

from __future__ import annotations

import operator
import warnings

import pytest
from helpers.torch_frontend_table import each_class, give, gradients, ours, parameters, run

pytestmark = pytest.mark.torch


@each_class
@pytest.mark.parametrize("kind", ["profiler", "autograd", "legacy"])
def test_profilers_see_steps(name, kind):
    import torch

    given = parameters()
    optimizer = ours(name)(given)
    run(optimizer, given, 3)
    if kind == "legacy" and not hasattr(torch.autograd, "profiler_legacy"):
        pytest.skip("this release of torch has no legacy profiler any more")
    profiler = {"profiler": "profiler", "autograd": "autograd.profiler", "legacy": "autograd.profiler_legacy"}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watching = operator.attrgetter(f"{profiler}.profile")(torch)()
    with watching as profile:
        run(optimizer, given, 2)
    run(optimizer, given, 1)
    seen = {event.key: event.count for event in profile.key_averages()}
    assert seen[f"Optimizer.step#{name}.step"] == 2


@pytest.mark.parametrize("subclassed", [False, True])
def test_nothing_is_recorded_for_nobody(monkeypatch, subclassed):
    import torch

    opened = []
    record = torch.autograd.profiler.record_function

    class Counted(record):
        def __init__(self, name, *arguments):
            opened.append(name)
            super().__init__(name, *arguments)

    monkeypatch.setattr(torch.autograd.profiler, "record_function", Counted)
    given = parameters()
    kind = type("Mine", (ours("Adam"),), {}) if subclassed else ours("Adam")
    optimizer = kind(given)
    run(optimizer, given, 2)
    assert not opened
    for register in (optimizer.register_step_pre_hook, optimizer.register_step_post_hook):
        handle = register(lambda *_: None)
        run(optimizer, given, 1)
        handle.remove()
    assert opened == [f"Optimizer.step#{kind.__name__}.step"] * 2
    run(optimizer, given, 1)
    assert len(opened) == 2


def test_hooks_change_arguments_and_see_what_was_given():
    given = parameters()
    optimizer = ours("SGD")(given, lr=0.1)
    give(given, next(gradients(given, 1)))
    optimizer.step()
    seen = []
    handle = optimizer.register_step_pre_hook(lambda _, arguments, keywords: (arguments, {"closure": lambda: 7}))
    optimizer.register_step_post_hook(lambda _, arguments, keywords: seen.append((len(arguments), keywords)))
    assert optimizer.step(closure=lambda: 5) == 7
    handle.remove()
    assert optimizer.step(closure=lambda: 5) == 5
    assert [count for count, _ in seen] == [1, 1]
    assert [keywords["closure"]() for _, keywords in seen] == [7, 5]


def test_hooks_that_come_in_a_closure_or_another_table(monkeypatch):
    import sys

    import torch

    given, fired = parameters(), []
    optimizer = ours("SGD")(given)
    run(optimizer, given, 2)
    handles = []
    optimizer.step(lambda: handles.append(optimizer.register_step_post_hook(lambda *_: fired.append("in the step"))))
    handles[0].remove()
    module = sys.modules[torch.optim.Optimizer.__module__]
    monkeypatch.setattr(module, "_global_optimizer_post_hooks", {0: lambda *_: fired.append("of another table")})
    run(optimizer, given, 1)
    assert fired == ["in the step", "of another table"]


def test_tensors_that_say_they_are_on_a_device():
    """Every release has what torch asks of these before their step."""
    import torch

    class Elsewhere(torch.nn.Parameter):
        is_cuda = True

    weight = Elsewhere(torch.ones(2))
    weight.grad = torch.ones(2)
    ours("Adam")([weight]).step()
    assert weight.tolist() == pytest.approx([0.999] * 2)


def test_a_release_that_keeps_its_hooks_elsewhere(monkeypatch):
    import sys

    import torch

    from gradwise.frontends.torch.watching import unless_watched

    monkeypatch.delattr(sys.modules[torch.optim.Optimizer.__module__], "_global_optimizer_pre_hooks")
    watched = object()
    assert unless_watched(lambda: None, watched) is watched
