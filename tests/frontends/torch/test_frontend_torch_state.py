"""The state of `gradwise.frontends.torch` belongs to its user: whoever writes it, in whatever way, is obeyed."""

from __future__ import annotations

import copy
import gc
import sys
import weakref

import numpy as np
import pytest
from helpers.releases import skip_what_torch_lacks
from helpers.torch_frontend_table import (
    MOMENTUM,
    PEERS,
    WITH_BETAS,
    distance,
    each_case,
    each_class,
    give,
    gradients,
    ours,
    parameters,
    run,
    saved,
    theirs,
    twins,
)

from gradwise import optimizers, schedules

pytestmark = pytest.mark.torch


def pair(name, **arguments):
    """Both optimizers with parameters of the same values."""
    other = parameters()
    mine = twins(other)
    return (ours(name)(mine, **arguments), mine), (theirs(name)(other, **arguments), other)


def end_alike(one, two):
    for x, y in zip(one, two, strict=True):
        assert distance(x, y, y) <= 40


def numbers(optimizer, given):
    keys = ("step", "mu_product")
    return [[float(optimizer.state[p][key]) for key in keys if key in optimizer.state[p]] for p in given]


# -------------------------------------------------------------------- whoever writes


def through_data(tensor, value):
    tensor.data.copy_(value)


def through_new_data(tensor, value):
    tensor.data = value.clone()


def through_set(tensor, value):
    tensor.set_(value.clone())


def through_numpy(tensor, value):
    tensor.numpy()[...] = value.numpy()


def through_shared_memory(tensor, value):
    tensor.share_memory_()
    tensor.numpy()[...] = value.numpy()


def in_place(tensor, value):
    tensor.copy_(value)


WAYS = [in_place, through_data, through_new_data, through_set, through_numpy, through_shared_memory]


@pytest.mark.parametrize("late", [False, True], ids=["together", "one-late"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@each_class
def test_what_others_write_counts(name, way, late):
    """Numbers and slots, all of them and one alone; the step after is torch's from the same state."""
    (a, mine), (b, other) = pair(name, **MOMENTUM.get(name, {}))
    for step, grads in enumerate(gradients(other, 6)):
        if late and step < 3:
            grads[1] = None
        for optimizer, given in ((a, mine), (b, other)):
            give(given, grads)
            optimizer.step()
    for some in (slice(None), slice(1, 2)):
        for x, y in zip(mine[some], other[some], strict=True):
            for key, value in b.state[y].items():
                new = value * 0.5 if value.ndim else value + 7 if key == "step" else value * 0.25
                way(a.state[x][key], new.to(a.state[x][key].dtype))
                value.copy_(new)
        run(a, mine, 1, seed=4)
        run(b, other, 1, seed=4)
        for x, y in zip(numbers(a, mine), numbers(b, other), strict=True):
            assert x == pytest.approx(y, rel=1e-6)
        end_alike(mine, other)


def test_values_are_written_where_others_look():
    """The tensor that the user holds, its memory, and a parameter without a gradient, whose count is left alone."""
    given = parameters()
    optimizer = ours("Adam")(given)
    run(optimizer, given, 2)
    held = [optimizer.state[p]["step"] for p in given]
    for count in held[:2]:
        count.data = count.data.clone()
    view = held[0].numpy()
    give(given, next(gradients(given, 1)))
    given[3].grad = None
    before = float(held[3])
    optimizer.step()
    assert all(optimizer.state[p]["step"] is count for p, count in zip(given, held, strict=True))
    assert float(view) == 3 and float(held[3]) == before


@pytest.mark.parametrize("everyone", [True, False])
def test_work_on_counts_that_lie_apart_grows_in_proportion(everyone):
    """As after a pickle, or where others have written the state. Lines of Python are counted, not time."""

    def lines(count):
        import torch

        from gradwise.frontends import pairing
        from gradwise.frontends.torch import number_tensors

        given = [torch.nn.Parameter(torch.ones(1)) for _ in range(count)]
        for parameter in given:
            parameter.grad = torch.ones(1)
        optimizer = ours("Adam")(given)
        optimizer.step()
        for entry in optimizer.state.values():
            entry["step"] = entry["step"].clone()
        if not everyone:
            given[0].grad = None
        optimizer.step()
        found = 0

        def trace(frame, event, argument):
            nonlocal found
            if frame.f_code.co_filename not in (pairing.__file__, number_tensors.__file__):
                return None
            found += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            optimizer.step()
        finally:
            sys.settrace(before)
        first, *others = [float(optimizer.state[parameter]["step"]) for parameter in given]
        assert first == (3 if everyone else 1) and set(others) == {3}
        return found

    assert lines(80) <= 5 * lines(20)


@pytest.mark.parametrize("name", ["Adam", "NAdam"])
def test_numbers_that_lie_by_turns(name):
    """As where every third parameter has its first gradient later: they are read in as few pieces as they lie in."""
    mine, other = parameters(), parameters()
    a, b = ours(name)(mine), theirs(name)(other)
    for step, gradient in enumerate(gradients(mine, 9)):
        for optimizer, given in ((a, mine), (b, other)):
            give(given, gradient)
            for place, parameter in enumerate(given):
                if (step < 2 and place % 3 == 1) or (step == 5 and place % 2):
                    parameter.grad = None
                if step == 6 and place == 2:
                    # Others write to it meanwhile.
                    optimizer.state[parameter]["step"].fill_(17.0)
            optimizer.step()
        counts = [[float(o.state[p]["step"]) for p in given if o.state[p]] for o, given in ((a, mine), (b, other))]
        assert counts[0] == counts[1]
    end_alike(mine, other)
    for numbers in a._engines[0].numbers:
        tensors = numbers.containers
        assert 1 < len(tensors.runs) == len({each.untyped_storage()._cdata for each in tensors.tensors})


# JAX, which other tests have started here, warns of its threads; the children do not use it.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
@pytest.mark.parametrize("name", ["Adam", "NAdam", "Adagrad"])
def test_processes_that_share_parameters_and_state(name):
    """As in asynchronous training: each process has a copy of the optimizer, and all have one state."""
    import torch.multiprocessing as processes

    counts = []
    for whose in (ours, theirs):
        given = parameters()
        for parameter in given:
            parameter.share_memory_()
        optimizer = whose(name)(given)
        run(optimizer, given, 1)
        for entry in optimizer.state.values():
            for value in entry.values():
                value.share_memory_()
        context = processes.get_context("fork")
        for seed in (2, 3):
            worker = context.Process(target=_three_steps, args=(optimizer, given, seed))
            worker.start()
            worker.join()
            assert worker.exitcode == 0
        run(optimizer, given, 1, seed=4)
        counts.append([float(optimizer.state[p]["step"]) for p in given])
        ends = [p.detach() for p in given]
        if whose is ours:
            mine = ends
    assert counts[0] == counts[1]
    end_alike(mine, ends)


def _three_steps(optimizer, given, seed):
    import torch

    torch.set_num_threads(1)
    run(optimizer, given, 3, seed=seed)


def test_numbers_that_are_no_plain_tensors():
    """On another place of their memory, as 1-element tensors, of other dtypes."""
    import torch

    (a, mine), (b, other) = pair("Adam")
    run(a, mine, 2)
    run(b, other, 2)
    for optimizer, given in ((a, mine), (b, other)):
        for parameter, make in zip(
            given,
            (
                lambda count: torch.stack([count, count])[1],
                lambda count: count.to(torch.float64),
                lambda count: torch.full((1,), float(count)),
                lambda count: count.to(torch.bfloat16),
            ),
            strict=True,
        ):
            optimizer.state[parameter]["step"] = make(optimizer.state[parameter]["step"])
        run(optimizer, given, 3, seed=2)
    assert numbers(a, mine) == numbers(b, other)
    end_alike(mine, other)


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.capturable])
def test_counts_that_are_no_whole_numbers(name):
    """As the mean of several optimizers' states has them; and the wreck of one."""
    (a, mine), (b, other) = pair(name)
    run(a, mine, 2)
    run(b, other, 2)
    for optimizer, given in ((a, mine), (b, other)):
        for place, parameter in enumerate(given):
            optimizer.state[parameter]["step"].fill_([2.5, 1.25, float("nan"), 3.0][place])
        run(optimizer, given, 2, seed=2)
    for x, y in zip(numbers(a, mine), numbers(b, other), strict=True):
        assert x == pytest.approx(y, nan_ok=True)
    end_alike(mine[:2], other[:2])
    assert mine[2].isnan().all() == other[2].isnan().all()


# -------------------------------------------------------------------- pieces that are missing


@each_case
def test_a_state_without_one_of_its_pieces(case):
    """As in torch; what it leaves out may begin later. The message says what to do."""
    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    (a, mine), (b, other) = pair(name, **arguments)
    for optimizer, given in ((a, mine), (b, other)):
        give(given, [grad.new_ones(grad.shape) for grad in given])
        optimizer.step()
    for key in list(b.state[other[1]]):
        for optimizer, given, live in ((b, other, False), (a, mine, True), (a, mine, False)):
            state = saved(optimizer)
            del state["state"][1][key]
            fresh = twins(given)
            again = type(optimizer)(fresh, **arguments)
            if live:
                # Without loading: taken away between two steps.
                again.load_state_dict(saved(optimizer))
                give(fresh, next(gradients(fresh, 1)))
                again.step()
                del again.state[fresh[1]][key]
            before = [p.detach().clone() for p in fresh]

            def go_on(optimizer=again, live=live, state=state, fresh=fresh):
                if not live:
                    optimizer.load_state_dict(state)
                give(fresh, next(gradients(fresh, 1)))
                optimizer.step()

            if name == "SGD":
                go_on()
                continue
            words = key if optimizer is b else f"The state of parameter 'variable_1' has no '{key}' beside .*set all"
            with pytest.raises(KeyError, match=words):
                go_on()
            if optimizer is a and not live:
                assert all(p.equal(q) for p, q in zip(fresh, before, strict=True))


FOREIGN = {
    "array": np.ones(3), "list": [1.0, 1.0, 1.0], "number": 1.0, "word": "x", "dictionary": {}, "integers": [1],
    "zero": np.float32(0),
}  # fmt: skip
"""What is no tensor; but numbers may be Python's, as in older checkpoints."""


@pytest.mark.parametrize("what", FOREIGN)
@each_case
def test_a_piece_that_is_no_tensor(case, what):
    """Nothing has changed then, and the message says what it is and where."""
    import torch

    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    value = torch.ones(2, dtype=torch.int64) if what == "integers" else FOREIGN[what]

    def pieces(optimizer):
        return [dict(entry) for entry in optimizer.state.values()]

    for steps in (1, 3):
        given = parameters()
        optimizer = ours(name)(given, **arguments)
        run(optimizer, given, steps)
        for key, piece in list(optimizer.state[given[1]].items()):
            is_number = piece.ndim == 0 and given[1].ndim > 0
            if is_number and what in ("number", "zero"):
                continue
            state = saved(optimizer)
            optimizer.state[given[1]][key] = value
            before, entries = [p.detach().clone() for p in given], pieces(optimizer)
            kept = [{k: copy.deepcopy(v) for k, v in entry.items()} for entry in entries]
            give(given, next(gradients(given, 1)))
            words = f"The state '{key}' of parameter 'variable_1' is .* and must be (a tensor|one number)"
            with pytest.raises(TypeError, match=words):
                optimizer.step()
            assert all(p.equal(q) for p, q in zip(given, before, strict=True))
            for entry, old, values in zip(pieces(optimizer), entries, kept, strict=True):
                assert all(entry[k] is old[k] for k in {*entry, *old})
                assert all(not isinstance(v, torch.Tensor) or v.equal(values[k]) for k, v in entry.items())
            if what != "integers" or is_number:
                # Neither is it loaded. Integers become numbers of the parameter's dtype.
                foreign = {**state, "state": {**state["state"], 1: {**state["state"][1], key: value}}}
                with pytest.raises(ValueError, match=f"The loaded '{key}' of parameter 1 is .* and must be"):
                    optimizer.load_state_dict(foreign)
                assert optimizer.state[given[1]][key] is value
            optimizer.state[given[1]][key] = piece
        optimizer.step()


def test_a_piece_that_a_whole_step_shares():
    from gradwise.frontends import torch as optim

    given = parameters()
    optimizer = optim.wrap(optimizers.Nadam(0.1), given)
    run(optimizer, given, 2)
    key = optimizer._row_of(optimizer.param_groups[0]).iterations
    for entry in optimizer.state.values():
        del entry[key]
    with pytest.raises(KeyError, match=f"has no '{key}'"):
        run(optimizer, given, 1)


@pytest.mark.parametrize("how", ["live", "loaded", "copied"])
def test_what_an_option_needs_may_begin_when_it_is_switched_on(how):
    given = parameters()
    optimizer = ours("Adam")(given)
    run(optimizer, given, 3)
    if how == "loaded":
        optimizer.load_state_dict(saved(optimizer))
    if how == "copied":
        optimizer, given = copy.deepcopy((optimizer, given))
    optimizer.param_groups[0]["amsgrad"] = True
    run(optimizer, given, 1)
    assert all("max_exp_avg_sq" in optimizer.state[p] for p in given)
    del optimizer.state[given[0]]["max_exp_avg_sq"]
    with pytest.raises(KeyError, match="max_exp_avg_sq"):
        run(optimizer, given, 1)


@each_class
def test_keys_of_others_in_the_state(name):
    """A wrapper's own: they stay, they change nothing, and an engine is not made anew when they change."""
    import torch

    (a, mine), (b, other) = pair(name, **MOMENTUM.get(name, {}))
    first = name != "Adagrad"
    if first:
        # Before the first step, torch takes them for state of its own, and has no more.
        for parameter in mine:
            a.state[parameter]["slow"] = parameter.detach().clone()
    engines = set()
    for step, grads in enumerate(gradients(other, 8)):
        give(mine, grads)
        give(other, grads)
        a.step()
        b.step()
        for parameter in mine:
            a.state[parameter]["visits"] = step
            a.state[parameter]["slow"] = torch.zeros(3)
        if step > 4:
            engines.add(id(a._engines[0]))
    assert len(engines) == 1
    assert all(a.state[p]["visits"] == 7 for p in mine)
    end_alike(mine, other)


# -------------------------------------------------------------------- first steps that look like none


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_what_was_deleted_begins_anew_beside_keys_of_others(name):
    """Whoever keeps something of his own in the state does not bring back the moments that were there."""
    import torch

    from gradwise.frontends import torch as frontend

    options = {"momentum": 0.9} if name == "SGD" else {}
    parameter, fresh = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer, other = (getattr(frontend, name)([each], lr=0.1, **options) for each in (parameter, fresh))
    parameter.grad, fresh.grad = torch.ones(3), torch.full((3,), 2.0)
    for _ in range(4):
        optimizer.step()
    optimizer.state[parameter] = {"mine": 1}
    parameter.grad = fresh.grad
    optimizer.step()
    other.step()
    expected = {"mine": 1, **other.state[fresh]}
    assert optimizer.state[parameter].keys() == expected.keys()
    assert all(torch.equal(torch.as_tensor(optimizer.state[parameter][key]), torch.as_tensor(expected[key]))
               for key in expected)  # fmt: skip


def first_steps(optimizer, groups, rates):
    """A warm-up from 0, with gradients that are 0 in the first group."""
    import torch

    generator = torch.Generator().manual_seed(3)
    for rate in rates:
        for number, (group, given) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
            group["lr"] = rate
            for parameter in given:
                draw = torch.randn(parameter.shape, generator=generator)
                parameter.grad = torch.zeros_like(parameter) if number == 0 and rate == 0 else draw
        optimizer.step()


@pytest.mark.parametrize("zeros", [1, 2], ids=["one-group", "all-groups"])
@each_case
def test_a_first_step_with_rates_and_gradients_of_0_counts_as_in_torch(case, zeros):
    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    other = parameters()
    mine = twins(other)
    a = ours(name)([{"params": mine[:2]}, {"params": mine[2:]}], **arguments)
    b = theirs(name)([{"params": other[:2]}, {"params": other[2:]}], **arguments)
    for optimizer, given in ((a, mine), (b, other)):
        if zeros == 2:
            for parameter in given:
                parameter.grad = parameter.new_zeros(parameter.shape)
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            optimizer.step()
        first_steps(optimizer, (given[:2], given[2:]), (0.0, 0.01, 0.02))
    assert [list(a.state[p]) for p in mine] == [list(b.state[p]) for p in other]
    for x, y in zip(numbers(a, mine), numbers(b, other), strict=True):
        assert x == pytest.approx(y)
    end_alike(mine, other)


@pytest.mark.parametrize("rate", [0.5, "schedule"])
@pytest.mark.parametrize("ask", ["get", "set"])
def test_asking_a_wrapped_optimizer_for_its_state_by_name(rate, ask):
    """It counts no step and ends no schedule."""
    import torch
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

    from gradwise.frontends import torch as optim

    shown, ends = [], []
    for asked in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        schedule = schedules.ExponentialDecay(0.5, 2, 0.5) if rate == "schedule" else rate
        optimizer = optim.wrap(optimizers.SGD(schedule, momentum=0.5), model.parameters())
        if asked:
            state = get_optimizer_state_dict(model, optimizer)
            assert set(state["state"]) == {"weight", "bias"}
            if ask == "set":
                set_optimizer_state_dict(model, optimizer, copy.deepcopy(state))
        rates = []
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
        shown.append(rates)
        ends.append(model.weight.detach().clone())
    assert shown[0] == shown[1] and torch.equal(*ends)


# -------------------------------------------------------------------- loading


@each_case
def test_two_optimizers_that_loaded_one_state_share_nothing(case):
    import torch

    name, arguments = case
    one = parameters()
    a = ours(name)(one, **arguments)
    run(a, one, 3)
    a.state[one[0]]["others"] = [torch.ones(2), {"deep": torch.ones(2)}]
    held = a.state_dict()
    ends = []
    for state in (copy.deepcopy(held), held):
        two = twins(one)
        b = ours(name)(two, **arguments)
        b.load_state_dict(state)
        ends.append((b, two))
    before = copy.deepcopy(held)
    for b, two in ends:
        run(b, two, 3, seed=5)
        b.state[two[0]]["others"][0].fill_(5)
        b.state[two[0]]["others"][1]["deep"].fill_(5)
    assert all(torch.equal(x, y) for x, y in zip(ends[0][1], ends[1][1], strict=True))
    assert str(a.state_dict()) == str(before)
    storages = [
        {value.untyped_storage().data_ptr() for entry in optimizer.state.values() for value in _tensors(entry)}
        for optimizer in (a, ends[1][0])
    ]
    assert not storages[0] & storages[1]


def _tensors(value):
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in items for tensor in _tensors(item)]


@pytest.mark.usefixtures("quick_collection")
@each_class
def test_nothing_keeps_state_that_was_loaded_when_its_optimizer_is_gone(name, monkeypatch):
    """Not even until the next collection of garbage: the state may be most of a device's memory."""
    import torch

    from gradwise.optimizers.core.fused import recording

    def loaded():
        parameter = torch.ones(3, requires_grad=True)
        optimizer = ours(name)([parameter])
        parameter.grad = torch.ones(3)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step()
        return [weakref.ref(value) for value in (parameter, optimizer, *optimizer.state[parameter].values())]

    # What torch imports with its first optimizer keeps the frames that it was called from.
    theirs(name)(parameters())
    # Whatever was recorded by others is recorded here.
    monkeypatch.setattr(recording, "_RECORDED", {})
    gc.collect()
    gc.disable()
    try:
        references = loaded()
        assert len(references) > 1 and all(reference() is None for reference in references)
    finally:
        gc.enable()


def test_what_entries_share_they_share_after_loading():
    """As what a whole step shares, which is one tensor in the state of all parameters."""
    from helpers.user_optimizers import HalfAdam

    from gradwise.frontends import torch as optim

    one, two = parameters(), parameters()
    a, b = optim.wrap(HalfAdam(0.1), one), optim.wrap(HalfAdam(0.1), two)
    run(a, one, 2)
    shared = {id(value) for value in a.state[one[0]].values()} & {id(value) for value in a.state[one[1]].values()}
    b.load_state_dict(a.state_dict())
    again = {id(value) for value in b.state[two[0]].values()} & {id(value) for value in b.state[two[1]].values()}
    assert len(again) == len(shared)


# -------------------------------------------------------------------- parameters that change


@each_class
@pytest.mark.parametrize("way", ["slots' data", "new slots", "loaded slots"])
@pytest.mark.parametrize("length", [3, 7], ids=["pruned", "grown"])
def test_parameters_of_another_shape(name, length, way):
    """The user sets `.data` of the parameter, and of its slots or gives it others: training goes on, as in torch."""
    import torch

    (a, mine), (b, other) = pair(name, **MOMENTUM.get(name, {}))

    def resized(tensor):
        return torch.cat([tensor, tensor])[:length].clone()

    run(a, mine, 4)
    run(b, other, 4)
    for optimizer, given in ((a, mine), (b, other)):
        parameter = given[1]
        if way == "loaded slots":
            saved = optimizer.state_dict()
            for key, value in saved["state"].get(1, {}).items():
                saved["state"][1][key] = resized(value) if torch.is_tensor(value) and value.ndim else value
            parameter.data = resized(parameter.data)
            optimizer.load_state_dict(saved)
        else:
            entry = optimizer.state[parameter]
            for key, value in entry.items():
                if value.ndim and way == "new slots":
                    entry[key] = resized(value)
                elif value.ndim:
                    value.data = resized(value)
            parameter.data = resized(parameter.data)
        parameter.grad = None
        run(optimizer, given, 3, seed=2)
    end_alike(mine, other)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@each_class
def test_parameters_of_another_dtype(name, dtype):
    """As after `model.double()`: the slots stay, and steps are computed in the new dtype."""
    import torch

    given = parameters()
    optimizer = ours(name)(given, lr=0.125, **MOMENTUM.get(name, {}))
    run(optimizer, given, 2)
    for parameter in given:
        parameter.grad = None
        parameter.data = parameter.data.to(getattr(torch, dtype))
    fresh = [p.detach().clone().requires_grad_() for p in given]
    expected = ours(name)(fresh, lr=0.125, **MOMENTUM.get(name, {}))
    for one, two in zip(given, fresh, strict=True):
        if one in optimizer.state:
            expected.state[two] = {key: value.clone() for key, value in optimizer.state[one].items()}
    run(optimizer, given, 3, seed=2)
    run(expected, fresh, 3, seed=2)
    assert all(torch.equal(x, y) for x, y in zip(given, fresh, strict=True))


def test_a_parameter_of_another_shape_beside_old_slots_is_refused_and_nothing_changes():
    import torch

    given = parameters()
    optimizer = ours("Adam")(given)
    run(optimizer, given, 2)
    given[1].data = given[1].data[:3].clone()
    given[1].grad = None
    give(given, [torch.ones_like(p) for p in given])
    before = [p.detach().clone() for p in given]
    with pytest.raises(ValueError, match=r"The state 'exp_avg' of parameter 'variable_1' has shape \(5,\) and needs"):
        optimizer.step()
    assert all(p.equal(q) for p, q in zip(given, before, strict=True))


@each_class
def test_integers_among_the_parameters(name):
    """Indices, packed bits, masks: they are never trained."""
    import torch

    def made(kind, given):
        packed = torch.nn.Parameter(torch.arange(4, dtype=torch.uint8), requires_grad=False)
        flags = torch.nn.Parameter(torch.tensor([True, False]), requires_grad=False)
        return kind([packed, *given, flags], **MOMENTUM.get(name, {}))

    other = parameters()
    mine = twins(other)
    a, b = made(ours(name), mine), made(theirs(name), other)
    for _ in range(2):
        run(a, mine, 2)
        run(b, other, 2)
        # From torch's state, which for Adagrad has entries of integers.
        a.load_state_dict(saved(b))
        end_alike(mine, other)
    b.load_state_dict(saved(a))
    only = ours(name)([torch.nn.Parameter(torch.arange(4), requires_grad=False)])
    only.step()


FROZEN = [
    "bool", "int8", "uint16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float16", "float64", "complex32", "complex64",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@pytest.mark.parametrize("dtype", FROZEN)
@each_class
def test_frozen_parameters_of_any_dtype(name, dtype):
    """Those that cannot be optimized ride along; the others have a state where torch's have one from the start."""
    import torch

    if not hasattr(torch, dtype):
        pytest.skip(f"this release of torch has no {dtype}")

    def made(kind, given, at):
        frozen = torch.nn.Parameter(torch.ones(4).to(getattr(torch, dtype)), requires_grad=False)
        groups = [*given[:at], frozen, *given[at:]]
        return kind(groups, **MOMENTUM.get(name, {})), frozen

    for at in (0, 2):
        other = parameters()
        mine = twins(other)
        (a, frozen), (b, _) = made(ours(name), mine, at), made(theirs(name), other, at)
        # None of them has a gradient.
        a.step()
        for _ in range(2):
            run(a, mine, 2)
            run(b, other, 2)
            # From torch's state, which for Adagrad has an entry of that dtype.
            a.load_state_dict(saved(b))
            end_alike(mine, other)
        b.load_state_dict(saved(a))
        assert frozen.float().abs().eq(1).all() if not dtype.startswith("complex") else frozen.dtype.is_complex
        a.add_param_group({"params": [torch.nn.Parameter(frozen.detach().clone(), requires_grad=False)]})
        run(a, mine, 1)
        run(b, other, 1)
        end_alike(mine, other)


@pytest.mark.parametrize("name", ["Adam", "Adagrad"])
def test_a_dtype_that_cannot_be_optimized_is_refused_where_it_has_a_gradient(name):
    import torch

    plain = torch.nn.Parameter(torch.ones(3))
    strange = torch.nn.Parameter(torch.ones(3).to(torch.float8_e5m2))
    optimizer = ours(name)([plain, strange])
    give([plain, strange], [torch.ones(3), torch.ones(3).to(torch.float8_e5m2)])
    with pytest.raises(ValueError, match=r"'variable_1' has dtype float8_e5m2, which cannot be optimized"):
        optimizer.step()
    assert plain.eq(1).all()


# -------------------------------------------------------------------- tensors without values


@each_case
def test_fake_tensors(case):
    import torch
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    name, arguments = case
    skip_what_torch_lacks(name, arguments)
    with FakeTensorMode():
        model = torch.nn.Linear(4, 3)
        optimizer = ours(name)(model.parameters(), **arguments)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(2, 4)).sum().backward()
            optimizer.step()
        other = theirs(name)(model.parameters(), **arguments)
        other.step()
    for parameter in model.parameters():
        assert list(optimizer.state[parameter]) == list(other.state[parameter])
        assert all(isinstance(value, FakeTensor) for value in optimizer.state[parameter].values())


# -------------------------------------------------------------------- values of groups


def betas_of_every_kind():
    import collections

    import numpy as np
    import torch

    return [
        [0.5, 0.75],
        collections.UserList([0.5, 0.75]),
        collections.deque([0.5, 0.75]),
        np.array([0.5, 0.75]),
        torch.tensor([0.5, 0.75]),
    ]


@pytest.mark.parametrize("name", WITH_BETAS)
@pytest.mark.parametrize("where", ["constructor", "group", "later", "between steps"])
def test_betas_in_anything_with_two_items(name, where):
    """They stay what the user gave, and are read in every step."""
    import torch

    for betas in betas_of_every_kind():
        one, two = parameters(), parameters()
        plain = ours(name)(two, betas=(0.5, 0.75))
        if where == "constructor":
            optimizer = ours(name)(one, betas=betas)
        elif where == "group":
            optimizer = ours(name)([{"params": one, "betas": betas}])
        else:
            optimizer = ours(name)(one, betas=(0.5, 0.75))
            if where == "between steps":
                run(optimizer, one, 2, seed=3)
                run(plain, two, 2, seed=3)
            optimizer.param_groups[0]["betas"] = betas
        run(optimizer, one, 3)
        run(plain, two, 3)
        assert optimizer.param_groups[0]["betas"] is betas
        betas[0] = 0.25
        plain.param_groups[0]["betas"] = (0.25, 0.75)
        run(optimizer, one, 3, seed=2)
        run(plain, two, 3, seed=2)
        assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True)), type(betas)


@pytest.mark.parametrize("betas", [0.9, None, "99", {0.9, 0.99}, {"a": 0.9, "b": 0.99}, [0.9], (0.9, 0.99, 0.999)])
def test_betas_that_are_no_two_numbers(betas):
    with pytest.raises(ValueError, match="Invalid beta"):
        ours("Adam")(parameters(), betas=betas)


@pytest.mark.parametrize(
    "key, value", [("betas", (0.9,)), ("betas", None), ("betas", 0.9), ("lr", [0.1, 0.2]), ("weight_decay", [0.1, 0.2])]
)
def test_values_of_groups_that_are_not_as_many_as_they_should_be(key, value):
    import torch

    optimizer = ours("Adam")(parameters(), lr=0.1)
    run(optimizer, [p for group in optimizer.param_groups for p in group["params"]], 3)
    before = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
    optimizer.param_groups[0][key] = torch.tensor(value) if isinstance(value, list) else value
    with pytest.raises(ValueError, match=f"Invalid {key}: .*expected 2 numbers|Tensor {key} must be 1-element"):
        optimizer.step()
    after = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


# -------------------------------------------------------------------- gradients of other classes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@each_class
def test_gradients_of_a_subclass(name, dtype):
    """They are computed with as their class does; with what is in them, if that changes nothing."""
    import torch
    from torch.testing._internal.two_tensor import TwoTensor

    class Mine(torch.Tensor):
        pass

    ends = []
    for make in (
        lambda draw: draw,
        lambda draw: draw.as_subclass(Mine),
        # A wrapper without memory of its own, as distributed tensors are.
        lambda draw: TwoTensor(draw, draw.clone()),
    ):
        given = [torch.nn.Parameter(p.detach()) for p in parameters(dtype)]
        optimizer = ours(name)(given, lr=0.1, weight_decay=0.1, **MOMENTUM.get(name, {}))
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            for place, parameter in enumerate(given):
                draw = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
                parameter.grad = make(draw) if place != 1 else draw
            optimizer.step()
        assert all(type(value) is torch.Tensor for p in given for value in optimizer.state[p].values())
        ends.append([p.detach() for p in given])
    for end in ends[1:]:
        for one, two in zip(end, ends[0], strict=True):
            assert distance(one, two, two) <= 8


@pytest.mark.parametrize("name", ["Adam", "Adagrad", "RMSprop"])
def test_complex_slots_given_other_memory(name):
    import torch

    generator = torch.Generator().manual_seed(1)
    start, gradients = (
        torch.randn(*shape, dtype=torch.complex64, generator=generator) for shape in ((4,), (6, 4))
    )
    after = []
    for kind in (theirs(name), ours(name)):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = kind([parameter], lr=0.1)
        for number, gradient in enumerate(gradients):
            parameter.grad = gradient.clone()
            optimizer.step()
            for value in optimizer.state[parameter].values():
                if number % 2 and value.is_complex():
                    value.data = value.data * 2
        after.append(parameter.detach().clone())
    torch.testing.assert_close(after[1], after[0])


def test_a_further_group_costs_what_it_has_itself(monkeypatch):
    """State of eager classes is made for it alone: the groups before are not put together again."""
    import torch

    from gradwise.frontends.torch import adapter

    made, groups = [], adapter.Groups
    monkeypatch.setattr(adapter, "Groups", lambda *given: made.append(given) or groups(*given))
    optimizer = ours("Adagrad")([{"params": [torch.ones(2, requires_grad=True)]} for _ in range(30)])
    assert len(made) == len(optimizer.state) == 30
