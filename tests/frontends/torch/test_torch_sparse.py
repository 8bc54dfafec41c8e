"""Sparse gradients: they touch their rows only where the rule does nothing to others, and do what dense ones do."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.every_convention import existing
from helpers.selection import crossing

from gradwise import optimizers
from gradwise.backends.programs.scalars import scalar_evaluator
from gradwise.backends.programs.still import leaves_still
from gradwise.optimizers.registry import ALGORITHMS

torch = pytest.importorskip("torch")
gtorch = pytest.importorskip("gradwise.frontends.torch")

pytestmark = pytest.mark.torch

STILL = {
    "SGD": ("SGD", {}),
    "SGD, maximize": ("SGD", {"maximize": True}),
    "Adagrad": ("Adagrad", {"lr_decay": 0.1}),
    "Adagrad, maximize": ("Adagrad", {"maximize": True, "initial_accumulator_value": 0.5}),
}
MOVING = {
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "decay": ("SGD", {"weight_decay": 0.1}),
}
DTYPES = ("float32", "float64", "float16", "bfloat16")


@pytest.fixture(autouse=True)
def checked():
    with torch.sparse.check_sparse_tensor_invariants():
        yield


def sparse(shape, axes, count, dtype, seed):
    """Some entries along the first axes, some of them twice, and what lies in them."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.stack([torch.randint(0, length, (count,), generator=generator) for length in shape[:axes]])
    places = torch.cat([places, places[:, :1]], dim=1) if count else places
    values = torch.randn(places.shape[1], *shape[axes:], generator=generator).to(dtype)
    return torch.sparse_coo_tensor(places, values, shape)


CASES = {"rows": ((9, 4), 1, 3), "blocks": ((9, 2, 3), 1, 3), "elements": ((6, 5), 2, 7), "none": ((9, 4), 1, 0)}


def ends(name, arguments, dtype, dense, case="rows", steps=4):
    """Parameters and state after some steps beside a dense parameter."""
    shape, axes, count = CASES[case]
    table = torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype))
    other = torch.nn.Parameter(torch.ones(3))
    optimizer = getattr(gtorch, name)([table, other], lr=0.1, **arguments)
    before = table._version
    for step in range(steps):
        gradient = sparse(shape, axes, count, dtype, seed=step)
        table.grad = gradient.coalesce().to_dense() if dense else gradient
        other.grad = torch.full((3,), 0.5)
        optimizer.step()
    state = [value for entry in optimizer.state.values() for value in entry.values() if torch.is_tensor(value)]
    return [table.detach(), other.detach(), *state], table._version - before


@crossing(("given", "dtype", "case"), [*STILL, *MOVING], DTYPES, list(CASES))
def test_a_sparse_gradient_does_what_a_dense_one_does(given, dtype, case):
    name, arguments = {**STILL, **MOVING}[given]
    (one, counted), (two, expected) = (
        ends(name, arguments, getattr(torch, dtype), dense, case) for dense in (False, True)
    )
    assert len(one) == len(two) and all(a.equal(b) for a, b in zip(one, two, strict=True))
    assert counted == expected


@pytest.mark.parametrize("given", [*STILL, *MOVING])
def test_steps_like_the_last_one_take_the_short_way(given, monkeypatch):
    name, arguments = {**STILL, **MOVING}[given]
    table, other = torch.nn.Parameter(torch.ones(9, 4)), torch.nn.Parameter(torch.ones(3))
    optimizer = getattr(gtorch, name)([table, other], **arguments)
    generally = []
    general = optimizers.Optimizer._prepared_generally
    monkeypatch.setattr(
        optimizers.Optimizer, "_prepared_generally", lambda self, *a: generally.append(self) or general(self, *a)
    )
    for step in range(4):
        table.grad, other.grad = sparse((9, 4), 1, 3 + step, torch.float32, seed=step), torch.ones(3)
        optimizer.step()
    assert len(generally) == (1 if given in STILL else 4) or not _has_short_ways(optimizer)


def _has_short_ways(optimizer):
    """Whether torch and Numba offer what they need."""
    return optimizer._engines[0].rule.cells.parameters[0].backend.row_lookout((9, 4), 1, ["float32"] * 2) is not None


def whole(gradient):
    """A dense gradient in which what came for a row is added up in the order in which it came."""
    dense = torch.zeros(gradient.shape, dtype=gradient.dtype)
    for place, values in zip(gradient._indices().t().tolist(), gradient._values(), strict=True):
        dense[tuple(place)] += values
    return dense


def both(make, gradients, name="Adagrad", rates=None):
    """What is left of a table by sparse gradients, and by the same as dense ones."""
    ends = []
    for dense in (False, True):
        table = make()
        optimizer = getattr(gtorch, name)([table], lr=0.1)
        for step, gradient in enumerate(gradients(table)):
            if rates is not None and step:
                # As a schedule of the core would: the front end lets no such rate through.
                optimizer._engines[0].rule.cells.rate.array = rates[step]
            table.grad = whole(gradient) if dense else gradient
            optimizer.step()
        ends.append(table.detach())
    return ends


def assert_same(ends):
    one, two = ends
    np.testing.assert_array_equal(one.float().numpy(), two.float().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_rows_many_times(dtype):
    """So many that threads share them, hundreds of sums, and rows in any layout."""

    def make():
        return torch.nn.Parameter(torch.randn(700, 300, generator=torch.Generator().manual_seed(5)).to(dtype))

    def gradients(table):
        places = torch.randint(0, 700, (3, 1500), generator=torch.Generator().manual_seed(6))
        values = torch.randn(1500, 300, generator=torch.Generator().manual_seed(7)).to(dtype)
        yield torch.sparse_coo_tensor(places[:1], values, table.shape)
        yield torch.sparse_coo_tensor(places[1:2], values.t().contiguous().t(), table.shape)
        yield torch.sparse_coo_tensor(places[2:], values[:1].expand(1500, 300), table.shape)
        yield torch.sparse_coo_tensor(places[:1, ::3], values[::3], table.shape)

    dtype = getattr(torch, dtype)
    assert_same(both(make, gradients))


def test_rates_that_move_other_rows_after_steps_that_did_not():
    def gradients(table):
        for step in range(4):
            yield torch.sparse_coo_tensor([[step]], torch.ones(1, 2), table.shape)

    for name in ("SGD", "Adagrad"):
        ends = both(lambda: torch.nn.Parameter(torch.ones(4, 2)), gradients, name, [0.1, 0.1, float("inf"), 0.1])
        assert_same(ends)


def test_kinds_of_gradients_by_turns():
    def gradients(table):
        for step in range(3):
            sparse = torch.sparse_coo_tensor([[1, 1, step]], torch.ones(3, 2), table.shape)
            yield sparse
            yield torch.sparse_coo_tensor([[0, 1], [1, 0]], torch.ones(2), table.shape)
            yield sparse
            yield sparse

    assert_same(both(lambda: torch.nn.Parameter(torch.ones(4, 2)), gradients))


@pytest.mark.parametrize("place", [-1, 4, 2**40])
def test_a_row_that_is_not_there_changes_nothing(place):
    table = torch.nn.Parameter(torch.ones(4, 2))
    optimizer = gtorch.SGD([table], lr=0.1)
    for _ in range(3):
        table.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2))
        optimizer.step()
    kept = table.detach().clone()
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        table.grad = torch.sparse_coo_tensor([[2, place]], torch.ones(2, 2), (4, 2))
        with pytest.raises(ValueError, match=r"shape \(4, 2\) has coordinates outside of it"):
            optimizer.step()
    assert kept.equal(table)


@pytest.mark.parametrize("left", [0, 8])
@pytest.mark.parametrize("part", ["_values", "_indices"])
@pytest.mark.parametrize("coalesced", [False, True])
def test_a_gradient_whose_memory_was_given_back_changes_nothing(coalesced, part, left):
    for before in range(3):
        table = torch.nn.Parameter(torch.ones(4, 2))
        optimizer = gtorch.SGD([table], lr=0.1)
        for _ in range(before):
            table.grad = torch.sparse_coo_tensor([[1, 2, 1]], torch.ones(3, 2), (4, 2))
            optimizer.step()
        kept = table.detach().clone()
        gradient = torch.sparse_coo_tensor([[1, 2, 3]], torch.ones(3, 2), (4, 2), is_coalesced=coalesced)
        getattr(gradient, part)().untyped_storage().resize_(left)
        table.grad = gradient
        with pytest.raises(TypeError, match=f"storage holds {left} bytes .* memory was given back"):
            optimizer.step()
        assert kept.equal(table)


@pytest.mark.parametrize("times", [2, 3, 40])
def test_a_row_that_comes_often_is_added_up_in_order_wherever_its_first_place_is(times):
    """Sums begin with what came first, of any row, between rows that come once."""

    def gradients(table):
        for first in (0, 2, 4):
            places = [0, 1, 2, 3, 4]
            again = [first] * (times - 1) + [1] * (times - 2)
            values = torch.randn(len(places + again), 3, generator=torch.Generator().manual_seed(times))
            yield torch.sparse_coo_tensor([places + again], values, table.shape)
            yield torch.sparse_coo_tensor([again + places], values, table.shape)

    assert_same(both(lambda: torch.nn.Parameter(torch.ones(5, 3)), gradients))


def test_rows_of_a_gradient_in_the_memory_of_its_parameter():
    ends = []
    for copied in (False, True):
        table = torch.nn.Parameter(torch.arange(12.0).reshape(6, 2))
        optimizer = gtorch.SGD([table], lr=0.5)
        for _ in range(3):
            values = table.detach()[2:4]
            table.grad = torch.sparse_coo_tensor([[3, 1]], values.clone() if copied else values, (6, 2))
            optimizer.step()
        ends.append(table.detach())
    assert_same(ends)


@pytest.mark.parametrize("given", [*STILL, *MOVING])
def test_nothing_is_made_dense_where_other_rows_stay(given, monkeypatch):
    made = []
    whole = torch.Tensor.to_dense
    monkeypatch.setattr(torch.Tensor, "to_dense", lambda self, *a, **k: made.append(self) or whole(self, *a, **k))
    name, arguments = {**STILL, **MOVING}[given]
    ends(name, arguments, torch.float32, dense=False)
    assert bool(made) == (given in MOVING)


def test_hyperparameters_that_move_other_rows_are_seen():
    table = torch.nn.Parameter(torch.ones(4, 2))
    optimizer = gtorch.SGD([table], lr=0.1)
    for decay, moved in ((0.0, False), (0.5, True), (0.0, False)):
        optimizer.param_groups[0]["weight_decay"] = decay
        before = table.detach().clone()
        table.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2))
        optimizer.step()
        assert bool((table[0] != before[0]).any()) == moved and bool((table[1] != before[1]).all())


def test_tensors_that_share_memory_are_both_stepped():
    for dense in (False, True):
        memory = torch.ones(4, 2)
        first, second = torch.nn.Parameter(memory), torch.nn.Parameter(memory[1:])
        optimizer = gtorch.SGD([first, second], lr=0.1)
        first.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2))
        second.grad = torch.sparse_coo_tensor([[0]], torch.ones(1, 2), (3, 2))
        if dense:
            first.grad, second.grad = first.grad.to_dense(), second.grad.to_dense()
        optimizer.step()
        np.testing.assert_allclose(memory.numpy(), [[1, 1], [0.8, 0.8], [1, 1], [1, 1]])


def test_a_gradient_that_does_not_fit_changes_nothing():
    table = torch.nn.Parameter(torch.ones(4, 2))
    optimizer = gtorch.Adagrad([table])
    table.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2))
    optimizer.step()
    kept = table.detach().clone(), optimizer.state[table]["sum"].clone()
    table.grad.resize_as_(torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (5, 2)))
    with pytest.raises(ValueError, match=r"shape \(5, 2\), and must have that of its parameter, \(4, 2\)"):
        optimizer.step()
    assert kept[0].equal(table) and kept[1].equal(optimizer.state[table]["sum"])


def test_a_rate_in_a_tensor_and_a_complex_table():
    for dtype, rate in ((torch.float32, torch.tensor(0.1)), (torch.complex64, 0.1)):
        results = []
        for dense in (False, True):
            table = torch.nn.Parameter(torch.ones(4, 2, dtype=dtype))
            optimizer = gtorch.SGD([table], lr=rate)
            for _ in range(2):
                gradient = torch.sparse_coo_tensor([[1, 2]], torch.ones(2, 2, dtype=dtype), (4, 2))
                table.grad = gradient.to_dense() if dense else gradient
                optimizer.step()
            results.append(table.detach())
        assert results[0].equal(results[1])


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_what_is_said_to_stay_stays(kind):
    """Where a program is said to leave still what has no gradient, a dense step does so; with decay none is."""
    found = {}
    for decay in (None, *existing(kind, {"weight_decay": 0.1}).values()):
        optimizer = kind(0.1) if decay is None else kind(0.1, weight_decay=decay)
        array, gradient = np.linspace(-1.0, 2.0, 6, dtype=np.float32), np.ones(6, dtype=np.float32)
        optimizer.apply([gradient], [array])
        program = optimizer.program_of(array)
        # A rate of 0.1 and a step of 2, and so on: no number of these is 0 or 1.
        names = {"rate": 0.1, "base_rate": 0.1, "count": 1.0}
        if not set(program.scalar_inputs) <= set(names):
            names |= dict.fromkeys(program.scalar_inputs, 0.3)
        found[decay] = leaves_still(program, scalar_evaluator(program)(names))
        slots = [cell.numpy() for cell in optimizer.variables if cell.shape == array.shape]
        before = [array.copy(), *slots]
        optimizer.apply([np.zeros(6, dtype=np.float32)], [array])
        after = [array, *(cell.numpy() for cell in optimizer.variables if cell.shape == array.shape)]
        same = all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
        assert same or not found[decay]
    assert not found.get(0.1)
    assert found[None] or kind not in (optimizers.SGD, optimizers.Adagrad)


def test_numbers_decide_as_they_are():
    """A rate that is not finite moves everything, so nothing is said to stay."""
    array = np.ones(3, dtype=np.float32)
    optimizer = optimizers.SGD(0.1)
    optimizer.apply([array.copy()], [array])
    program = optimizer.program_of(array)
    assert leaves_still(program, [0.1] * len(program.scalars))
    assert not leaves_still(program, [float("inf")] * len(program.scalars))
