"""Steps for other parameters than the last one, and first steps: put together of what is known, in proportion."""

from __future__ import annotations

import collections
import contextlib
import copy
import random

import numpy as np
import pytest
from helpers.backend_table import array, distance, read

from gradwise.backends import backend_of
from gradwise.optimizers import Adam
from gradwise.optimizers.core.fused.lane import Lane
from gradwise.optimizers.core.fused.plan import Fusion

pytestmark = pytest.mark.fast
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
OF_TORCH = 2.0


@pytest.fixture
def counted(monkeypatch):
    """How often what is slow is done: general steps, short ways that are put together, addresses asked one by one."""
    counts = collections.Counter()

    def count(owner, name, what):
        before = getattr(owner, name)

        def counting(*arguments, **keywords):
            counts[what] += 1
            return before(*arguments, **keywords)

        monkeypatch.setattr(owner, name, counting)

    count(Fusion, "prepare", "general steps")
    count(Lane, "__init__", "ways")
    for library in ("numpy", "torch"):
        count(type(backend_of(array(library, 0.0))), "address", "addresses")
    return counts


class Twins:
    """Two optimizers on equal parameters: one by whole arrays of NumPy, one in one pass over a library's arrays."""

    def __init__(self, library, shapes, **arguments):
        generator = np.random.default_rng(3)
        self.library, self.generator = library, generator
        self.eager = [np.asarray(generator.normal(size=shape), np.float32) for shape in shapes]
        self.fused = [array(library, value) for value in self.eager]
        arguments = {"convention": "torch", **arguments}
        self.by_arrays, self.in_one_pass = Adam(0.1, jit_compile=False, **arguments), Adam(0.1, **arguments)
        self.by_arrays.build(self.eager)
        self.in_one_pass.build(self.fused)

    def step(self, places):
        """One step of both for the parameters at some places, with new gradients."""
        values = [np.asarray(self.generator.normal(size=self.eager[place].shape), np.float32) for place in places]
        self.by_arrays.apply(values, [self.eager[place] for place in places])
        gradients = [array(self.library, value) for value in values]
        self.in_one_pass.apply(gradients, [self.fused[place] for place in places])
        self.check()

    def check(self):
        found = [read(value) for value in self.fused]
        if self.library == "numpy":
            assert [value.tobytes() for value in found] == [value.tobytes() for value in self.eager]
        else:  # Torch's own root need not be the nearest number.
            assert all(distance(a, b, b) <= OF_TORCH for a, b in zip(found, self.eager, strict=True))


SHAPES = ((3, 4), (), (5,), (3, 4), (0,), (2, 2, 2))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("arguments", [{}, {"global_clipnorm": 0.5}, {"weight_decay": 0.1}, {"convention": "keras"}])
def test_sets_that_take_turns_are_put_together_once(library, arguments, counted):
    twins = Twins(library, SHAPES, **arguments)
    sets = [(0, 2, 4), (1, 3, 5), (5, 4, 3, 2, 1, 0), (2,)]
    for places in sets:
        twins.step(places)
    counted.clear()
    for _ in range(3):
        for places in sets:
            twins.step(places)
    # Those by whole arrays.
    assert counted["general steps"] == 12 and counted["ways"] == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_sets_that_never_come_again(library, counted):
    twins, draw = Twins(library, ((3, 4),) * 20), random.Random(0)
    twins.step(range(20))
    for _ in range(40):
        counted.clear()
        twins.step(sorted(draw.sample(range(20), 10)))
        assert counted["general steps"] == 1
    assert len(twins.in_one_pass.fusion._lanes._kept) <= 8


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_array_is_asked_alone(library, counted):
    found = []
    for count in (10, 100):
        parameters = [array(library, np.ones(3)) for _ in range(count)]
        optimizer = Adam(0.1, convention="torch")
        optimizer.build(parameters)
        counted.clear()
        for some in (parameters[: count // 2], parameters):
            optimizer.apply([array(library, np.ones(3)) for _ in some], some)
            assert {group.way for group in optimizer.execution_report()} == {"fused"}
            assert sum(group.parameters for group in optimizer.execution_report()) == len(some)
        found.append(dict(counted))
    assert found == [{"ways": 2}, {"ways": 2}]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("warm", [False, True])
def test_memory_that_meets_is_seen_in_any_step(library, warm):
    """In a first one, and in one for parameters whose memory was moved."""
    whole = array(library, np.arange(12.0))
    parameters = [whole[:6], whole[6:]]
    optimizer, others = Adam(0.1), Adam(0.1, jit_compile=False)
    twins = [np.arange(6.0, dtype=np.float32), np.arange(6.0, 12.0, dtype=np.float32)]
    optimizer.build(parameters)
    others.build(twins)
    if warm:
        optimizer.apply([array(library, np.ones(6))] * 2, parameters)
        others.apply([np.ones(6, np.float32)] * 2, twins)
    # A gradient in the memory of another parameter, which the step writes.
    optimizer.apply([parameters[1], array(library, np.ones(6))], parameters)
    others.apply([twins[1].copy(), np.ones(6, np.float32)], twins)
    assert [group.way for group in optimizer.execution_report()] == ["eager"]
    assert np.allclose(read(parameters[0]), twins[0]) and np.allclose(read(parameters[1]), twins[1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_parameters_that_share_memory_are_updated_one_after_another(library):
    whole = array(library, np.zeros(9))
    parameters = [whole[:6], whole[3:]]
    optimizer = Adam(0.1)
    optimizer.build(parameters)
    optimizer.apply([array(library, np.ones(6))] * 2, parameters)
    assert {group.reason for group in optimizer.execution_report()} == {
        "parameters, slots or gradients share memory"
    }


@pytest.mark.torch
def test_a_parameter_that_comes_late_is_looked_at():
    import torch

    parameters = [torch.ones(4), torch.ones(4)]
    optimizer = Adam(0.1)
    optimizer.build(parameters)
    optimizer.apply([torch.ones(4)], parameters[:1])
    parameters[1].untyped_storage().resize_(8)
    with pytest.raises(TypeError, match="its memory was given back"):
        optimizer.apply([torch.ones(4), torch.ones(4)], parameters)
    assert parameters[0].tolist() == pytest.approx([0.9] * 4) and optimizer.iterations == 1


@pytest.mark.torch
def test_moved_memory_is_looked_at_again():
    import torch

    parameters = [torch.ones(4), torch.ones(4)]
    optimizer = Adam(0.1)
    for _ in range(3):
        optimizer.apply([torch.ones(4)] * 2, parameters)
    # Now one lies in what the other's slot is.
    parameters[0].data = optimizer.momentums[1].value
    optimizer.apply([torch.ones(4)] * 2, parameters)
    assert {group.reason for group in optimizer.execution_report()} == {
        "parameters, slots or gradients share memory"
    }


def _grown(late, **arguments):
    """A front end's optimizer, and torch's own, of which some parameters have their first gradient late."""
    import torch

    from gradwise.frontends import torch as frontend

    found = []
    for family in (frontend, torch.optim):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(6)]
        optimizer = family.Adam(parameters, lr=0.1, **arguments)
        for places in ([place for place in range(6) if place not in late], range(6), range(6), (0, 5), range(6)):
            optimizer.zero_grad()
            for place in places:
                parameters[place].grad = torch.randn(3, 2)
            yield optimizer
            optimizer.step()
        found.append((parameters, optimizer))
    (parameters, optimizer), (others, other) = found
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(parameters, others, strict=True))
    state, known = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert {key: float(entry["step"]) for key, entry in state.items()} == {
        key: float(entry["step"]) for key, entry in known.items()
    }
    assert all(torch.allclose(state[key]["exp_avg_sq"], known[key]["exp_avg_sq"]) for key in known)


@pytest.mark.torch
@pytest.mark.parametrize("late", [(4, 5), (0,), (1, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("arguments", [{}, {"amsgrad": True, "weight_decay": 0.1}])
def test_late_gradients_let_an_engine_grow(late, arguments, counted):
    engines = []
    for optimizer in _grown(late, **arguments):
        engines.append(vars(optimizer).get("_engines", {}).get(0))
    assert len({id(engine) for engine in engines[1:5]}) == 1
    assert counted["general steps"] == 0 and counted["addresses"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gradient_accumulation_steps": 3},
        {"gradient_accumulation_steps": 2, "loss_scale_factor": 8.0},
        {"use_ema": True, "global_clipnorm": 1.0},
    ],
    ids=lambda arguments: "-".join(arguments) or "plain",
)
def test_an_optimizer_is_recorded_once(arguments, monkeypatch):
    """Whatever its steps are, and whichever parameters have a gradient."""
    from gradwise.optimizers.core.fused import plan

    recorded, record = [], plan.record_updates
    monkeypatch.setattr(plan, "record_updates", lambda *given: (recorded.append(1), record(*given))[1])
    parameters = [np.full(3, 0.5, np.float32) for _ in range(3)]
    optimizer = Adam(0.1, **arguments)
    optimizer.build(parameters)
    for step in range(8):
        present = parameters if step % 4 < 2 else parameters[:2]
        optimizer.apply([np.ones(3, np.float32) for _ in present], present)
    assert len(recorded) == 1


def test_optimizers_that_are_alike_are_recorded_once(monkeypatch):
    from gradwise.optimizers import RMSprop
    from gradwise.optimizers.core.fused import recording

    recorded, record = [], recording.record
    monkeypatch.setattr(recording, "_RECORDED", {})
    monkeypatch.setattr(recording, "record", lambda *arguments: (recorded.append(1), record(*arguments))[1])

    def made(**arguments):
        parameter = np.ones(3, np.float32)
        optimizer = RMSprop(0.1, **arguments)
        optimizer.apply([np.ones(3, np.float32)], [parameter])
        recorded.clear()
        return optimizer, parameter

    first, _ = made(momentum=0.5)
    optimizer, parameter = RMSprop(0.2, momentum=0.25), np.ones(3, np.float32)
    twin, other = RMSprop(0.2, momentum=0.25, jit_compile=False), np.ones(3, np.float32)
    for _ in range(2):
        optimizer.apply([np.ones(3, np.float32)], [parameter])
        twin.apply([np.ones(3, np.float32)], [other])
    assert not recorded and parameter.tobytes() == other.tobytes()
    # Another function, and other slots under the same attributes.
    with monkeypatch.context() as patch:
        patch.setattr(RMSprop, "update_step", lambda self, gradient, variable, rate: self.assign_sub(variable, rate))
        parameter = np.ones(3, np.float32)
        RMSprop(0.25, momentum=0.5).apply([np.ones(3, np.float32)], [parameter])
        assert recorded and parameter.tolist() == [0.75] * 3
    optimizer, parameter = made(centered=True)
    with contextlib.suppress(Exception):
        optimizer.centered, optimizer.momentum = False, 0.5
        optimizer.apply([np.ones(3, np.float32)], [parameter])
    assert optimizer.program_of(parameter) != first.program_of(first.cells.parameters[0])


@pytest.mark.torch
def test_late_gradients_cost_their_own_work(monkeypatch):
    """Linked and recorded is what is new alone, however many parameters there are."""
    import torch

    from gradwise.frontends import torch as frontend
    from gradwise.frontends.torch.linking import Linker
    from gradwise.optimizers.core.fused import recording

    linked, recorded = [], []
    link, record = Linker.link, recording.record
    monkeypatch.setattr(Linker, "link", lambda self: (linked.append(len(self.parameters)), link(self))[1])
    monkeypatch.setattr(recording, "record", lambda *arguments: (recorded.append(1), record(*arguments))[1])
    for count in (20, 200):
        parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(count)]
        optimizer = frontend.Adam(parameters, lr=0.1)
        for some in (parameters[: count - 10], parameters):
            linked.clear()
            recorded.clear()
            for parameter in some:
                parameter.grad = torch.ones(3)
            optimizer.step()
        assert linked == [10] and not recorded


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "weight_decay": 0.1}], ids=["plain", "amsgrad"])
def test_gradients_that_come_by_turns_give_the_bits_of_those_that_were_always_known(options):
    """Between those that are known, in front of them and behind them, more often than ways are added to ways."""
    import torch

    from gradwise.frontends import torch as frontend

    order = [5, 17, 3, 16, 0, 9, 11, 1, 14, 6, 2, 19, 8, 4, 18, 12, 7, 13, 10, 15]
    given, twins = ([torch.nn.Parameter(torch.linspace(-1, 1, 2 + k)) for k in range(20)] for _ in range(2))
    optimizer, other = frontend.Adam(given, lr=0.1, **options), frontend.Adam(twins, lr=0.1, **options)
    parts = []
    for round_ in range(20):
        for place in order[: round_ + 1]:
            given[place].grad = twins[place].grad = torch.linspace(-1, 2, 2 + place) * (round_ + 1)
        versions = [parameter._version for parameter in given]
        optimizer.step()
        # All is found out anew.
        other.__dict__.pop("_engines", None)
        other.step()
        parts.append(len(optimizer._engines[0].rule.fusion.lane.parts))
        stepped = [new._version > old for new, old in zip(given, versions, strict=True)]
        assert stepped == [place in order[: round_ + 1] for place in range(20)]
    assert max(parts) > 2 and parts.count(1) > 2
    for one, twin in zip(given, twins, strict=True):
        assert torch.equal(one, twin) and optimizer.state[one].keys() == other.state[twin].keys()
        assert all(torch.equal(optimizer.state[one][key], value) for key, value in other.state[twin].items())


@pytest.mark.torch
@pytest.mark.parametrize("place", [0, 2], ids=["in front", "behind"])
@pytest.mark.parametrize("meeting", ["parameters and gradients", "parameters", "late gradient", "known gradient"])
def test_a_late_gradient_that_meets_memory_which_is_known(meeting, place):
    """What is known of memory stays known, and what is new is held against it."""
    import torch

    from gradwise.frontends import torch as frontend

    def trained(at_once):
        memory = torch.ones(8)
        late = torch.nn.Parameter(memory[4:] if meeting.startswith("parameters") else torch.ones(4))
        known = [torch.nn.Parameter(memory[:5]), torch.nn.Parameter(torch.ones(3))]
        parameters = [*known[:place], late, *known[place:]]
        optimizer = frontend.Adam(parameters, lr=0.1)
        for parameter in known:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        late.grad = torch.ones(4)
        if meeting in ("parameters and gradients", "late gradient"):
            late.grad = known[0].detach()[:4]
        elif meeting == "known gradient":
            known[1].grad = late.detach()[:3]
        lanes = []
        for _ in range(3):
            if at_once:
                optimizer._engines.clear()
            optimizer.step()
            lanes.append(optimizer._engines[0].rule.fusion.lane)
        assert optimizer.state[late]["step"] == 3 and lanes == [None] * 3
        return [parameter.detach().clone() for parameter in parameters]

    assert all(map(torch.equal, trained(False), trained(True)))


@pytest.mark.torch
def test_a_late_gradient_that_does_not_fit_changes_nothing():
    import torch

    from gradwise.frontends import torch as frontend

    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
    optimizer = frontend.Adam(parameters, lr=0.1)
    parameters[0].grad = torch.ones(3)
    optimizer.step()
    parameters[1].data.untyped_storage().resize_(4)
    parameters[1].grad = torch.ones(3)
    for _ in range(2):
        with pytest.raises(TypeError, match="its memory was given back"):
            optimizer.step()
    assert parameters[0].tolist() == pytest.approx([0.9] * 3)
    parameters[1].data = torch.ones(3)
    optimizer.step()
    assert parameters[0].tolist() == pytest.approx([0.8] * 3) and parameters[1].tolist() == pytest.approx([0.9] * 3)


@pytest.mark.torch
def test_a_late_gradient_with_another_hyperparameter():
    """A change and a new parameter in one step."""
    import torch

    from gradwise.frontends import torch as frontend

    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = frontend.Adam(parameters, lr=0.1)
    parameters[0].grad = torch.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.2
    parameters[1].grad = torch.ones(3)
    optimizer.step()
    assert parameters[0].tolist() == pytest.approx([0.7] * 3) and parameters[1].tolist() == pytest.approx([0.8] * 3)


def _trained(family, dtype="float32", steps=3, **arguments):
    import torch

    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 2).to(getattr(torch, dtype))) for _ in range(4)]
    optimizer = family.Adam(parameters, lr=0.1, **arguments)
    for _ in range(steps):
        _step(optimizer)
    return optimizer


def _step(optimizer):
    import torch

    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.randn(3, 2).to(parameter.dtype)
    optimizer.step()


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", [{}, {"lr": 0.5}])
def test_a_loaded_state_is_linked_to_the_same_engine(dtype, changes, counted):
    import torch

    from gradwise.frontends import torch as frontend

    found = []
    for family in (frontend, torch.optim):
        optimizer, source = _trained(family, dtype), _trained(family, dtype, steps=5)
        # Torch's own would share the tensors that were loaded.
        saved = copy.deepcopy(source.state_dict())
        saved["param_groups"][0].update(changes)
        engine = vars(optimizer).get("_engines", {}).get(0)
        counted.clear()
        for parameter, other in zip(*(each.param_groups[0]["params"] for each in (optimizer, source)), strict=True):
            parameter.data.copy_(other.data)
        optimizer.load_state_dict(saved)
        torch.manual_seed(1)
        _step(optimizer)
        torch.manual_seed(1)
        source.param_groups[0].update(changes)
        _step(source)
        assert vars(optimizer).get("_engines", {}).get(0) is engine
        assert counted["general steps"] == 0
        assert all(map(torch.equal, optimizer.param_groups[0]["params"], source.param_groups[0]["params"]))
        found.append(optimizer)
    steps = [[float(entry["step"]) for entry in optimizer.state.values()] for optimizer in found]
    assert steps == [[6.0] * 4] * 2


@pytest.mark.torch
def test_a_loaded_state_that_does_not_fit_is_refused_in_every_step():
    import torch

    from gradwise.frontends import torch as frontend

    optimizer = _trained(frontend)
    first = optimizer.param_groups[0]["params"][0]
    before = first.tolist()
    optimizer.state[first]["exp_avg"] = torch.zeros(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="it belongs to another parameter"):
            _step(optimizer)
    del optimizer.state[first]["exp_avg"]
    for _ in range(2):
        with pytest.raises(KeyError, match="exp_avg"):
            _step(optimizer)
    assert first.tolist() == before
    optimizer.state[first]["exp_avg"] = torch.zeros(3, 2)
    _step(optimizer)
    assert first.tolist() != before


@pytest.mark.torch
def test_a_loaded_state_of_other_parameters_of_the_group():
    """The engine has one that is not in it, and lacks another."""
    import torch

    from gradwise.frontends import torch as frontend

    optimizers = []
    for late in (3, 0):
        parameters = [torch.nn.Parameter(torch.ones(3, 2)) for _ in range(4)]
        optimizer = frontend.Adam(parameters, lr=0.1)
        for _ in range(2):
            for place, parameter in enumerate(parameters):
                parameter.grad = None if place == late else torch.ones(3, 2)
            optimizer.step()
        optimizers.append(optimizer)
    one, other = optimizers
    one.load_state_dict(other.state_dict())
    parameters = one.param_groups[0]["params"]
    parameters[3].grad = torch.ones(3, 2)
    one.step()
    assert [float(one.state[parameter]["step"]) for parameter in parameters] == [1.0, 3.0, 3.0, 3.0]
