"""Functional steps in one pass: the bits of whole arrays, inputs that stay as they are, and what no pass may take."""

from __future__ import annotations

import threading

import numpy as np
import optree
import pytest
import torch
from helpers.algorithms import DEFAULTS, ELSEWHERE, FEATURES, PLAIN, problem
from helpers.every_convention import existing
from helpers.selection import WHOLE, crossing

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, Nadam
from gradwise.optimizers.core import templates
from gradwise.optimizers.core.fused.apart import Apart
from gradwise.optimizers.core.fused.apart_again import Again
from gradwise.optimizers.core.run import Run
from gradwise.optimizers.registry import ALGORITHMS

ROWS = (*PLAIN, *FEATURES, *ELSEWHERE, *DEFAULTS)
TORCH = tuple(row for row in ELSEWHERE if row.convention == "torch")
DTYPES = (np.float32, np.float64)
ROWS_AND_DTYPES = [
    pytest.param(row, dtype, id=f"{row.name}-{dtype.__name__}")
    for place, row in enumerate(ROWS)
    for dtype in DTYPES
    if WHOLE or dtype is DTYPES[place % 2]
]
"""Every second in each: an algorithm's options take turns. Nearly all of the time goes into compiling for them."""


@pytest.fixture
def passes(monkeypatch):
    """The positions of the parameters that were updated in one pass, a set for each step."""
    found = []
    prepare = Apart.prepare

    def noted(self, rule, gradients, rate):
        positions, run = prepare(self, rule, gradients, rate)
        found.append(positions)
        return positions, run

    step = Again.step

    def noted_again(self, *arguments):
        made = step(self, *arguments)
        if made is not None:
            found.append(set(self.present))
        return made

    monkeypatch.setattr(Apart, "prepare", noted)
    monkeypatch.setattr(Again, "step", noted_again)
    return found


@pytest.fixture
def again(monkeypatch):
    """For each time a short way was tried, whether it was gone."""
    monkeypatch.setattr(templates, "_RECORDED", {})
    found = []
    step = Again.step

    def noted(self, *arguments):
        made = step(self, *arguments)
        found.append(made is not None)
        return made

    monkeypatch.setattr(Again, "step", noted)
    return found


def leaves_of(tree):
    return optree.tree_leaves(tree)


def same_bits(one, other):
    """Whether two trees are of one structure and hold the same, to the last bit."""
    mine, theirs = leaves_of(one), leaves_of(other)
    return optree.tree_structure(one) == optree.tree_structure(other) and all(
        type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(mine, theirs, strict=True)
    )


def read_only(tree):
    for leaf in leaves_of(tree):
        leaf.setflags(write=False)
    return tree


@pytest.mark.crossing
@pytest.mark.parametrize(("row", "dtype"), ROWS_AND_DTYPES)
def test_the_bits_are_those_of_whole_arrays(row, dtype, passes):
    params, gradients = problem(dtype, steps=8)
    expected = dict(params)
    ours, theirs = row.make(), row.make(jit_compile=False)
    state, expected_state = ours.init(params), theirs.init(params)
    for gradient in gradients:
        params, state = ours.step(read_only(params), read_only(gradient), read_only(state))
        expected, expected_state = theirs.step(expected, gradient, expected_state)
        assert same_bits(params, expected)
        assert same_bits(state, expected_state)
    assert passes
    assert all(positions == {0, 1, 2, 3} for positions in passes)


def test_missing_gradients_pass_through(passes):
    optimizer, plain = Adam(0.1), Adam(0.1, jit_compile=False)
    params = {"a": np.ones(3), "b": np.full(4, 2.0)}
    state, expected = optimizer.init(params), plain.init(params)
    grads = {"a": None, "b": np.arange(4.0)}
    result, after = optimizer.step(params, grads, state)
    whole, expected = plain.step(params, grads, expected)
    assert passes == [{1}]
    assert same_bits(result, whole) and same_bits(after, expected)
    assert result["a"] is params["a"] and result["b"] is not params["b"]


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_inputs_may_share_memory(kind, passes):
    memory = np.linspace(-1.0, 1.0, 12)
    params = {"whole": memory, "part": memory[3:9], "same": memory}
    grads = {"whole": memory, "part": memory[2:8], "same": memory[::-1]}
    ours, plain = kind(0.1), kind(0.1, jit_compile=False)
    state = ours.init(params)
    if state.slots:
        state.slots["momentum"]["part"] = memory[1:7]
        state.slots["velocity"]["part"] = state.slots["momentum"]["part"]
    before = memory.copy()
    result = ours.step(params, grads, state)
    expected = plain.step(params, grads, state)
    assert np.array_equal(memory, before)
    assert passes == [{0, 1, 2}]
    assert same_bits(result, expected)
    given = {id(leaf) for leaf in leaves_of((params, grads, state))}
    made = leaves_of((result[0], result[1].slots))
    assert not any(id(leaf) in given or np.may_share_memory(leaf, memory) for leaf in made)


def test_a_state_is_used_again_and_again(passes):
    optimizer = Adam(0.1)
    params, grads = {"w": np.ones(5)}, {"w": np.arange(5.0)}
    state = optimizer.init(params)
    results = [optimizer.step(params, grads, state) for _ in range(4)]
    assert all(same_bits(each, results[0]) for each in results)
    first = leaves_of(results[0])
    assert not any(np.may_share_memory(a, b) for a, b in zip(first, leaves_of(results[1]), strict=True))


def test_what_is_not_plain_is_computed_by_whole_arrays(passes):
    optimizer, plain = Adam(0.1), Adam(0.1, jit_compile=False)
    params = {"strided": np.ones((4, 6))[:, ::2], "half": np.ones(3, np.float16), "plain": np.ones(2)}
    grads = optree.tree_map(lambda leaf: np.full_like(leaf, 0.5), params)
    results = [each.step(params, grads, each.init(params)) for each in (optimizer, plain)]
    # Numbers of 16 bits are plain memory too.
    assert passes == [{0, 1}]
    assert same_bits(*results)


def test_gradients_of_another_dtype_or_order_are_copied(passes):
    optimizer, plain = Adam(0.1), Adam(0.1, jit_compile=False)
    params = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3))}
    grads = {"a": np.arange(6.0).reshape(3, 2).T, "b": np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]}
    results = [each.step(params, grads, each.init(params)) for each in (optimizer, plain)]
    assert passes == [{0, 1}]
    assert same_bits(*results)


def test_threads_share_one_optimizer():
    optimizer = Adam(0.01, global_clipnorm=1.0)
    results, start = {}, threading.Barrier(8)

    def work(seed):
        generator = np.random.default_rng(seed % 2)
        params = {"w": np.ones(500), "b": np.zeros((2, 3))}
        state = optimizer.init(params)
        start.wait()
        for _ in range(40):
            grads = {name: generator.normal(size=value.shape) for name, value in params.items()}
            params, state = optimizer.step(params, grads, state)
        results[seed] = params, state

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(same_bits(results[seed], results[seed % 2]) for seed in range(2, 8))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_tensors_get_the_bits_of_numpy(algorithm, passes):
    optimizer = algorithm(0.125)
    generator = np.random.default_rng(5)
    arrays = {"w": generator.normal(size=(5, 7)).astype(np.float32)}
    tensors = {"w": torch.tensor(arrays["w"])}
    states = [optimizer.init(arrays), optimizer.init(tensors)]
    for _ in range(5):
        gradient = generator.normal(size=(5, 7)).astype(np.float32)
        given = torch.tensor(gradient)
        versions = [leaf._version for leaf in leaves_of((tensors, given, states[1]))]
        inputs = tensors, states[1]
        arrays, states[0] = optimizer.step(arrays, {"w": gradient}, states[0])
        tensors, states[1] = optimizer.step(tensors, {"w": given}, states[1])
        assert [leaf._version for leaf in leaves_of((inputs[0], given, inputs[1]))] == versions
        for a, b in zip(leaves_of((arrays, states[0])), leaves_of((tensors, states[1])), strict=True):
            assert a.tobytes() == b.numpy().tobytes()
    assert passes == [{0}] * 10


def test_what_is_differentiated_stays_differentiable(passes):
    optimizer = Adam(0.1)
    start = torch.ones(3, dtype=torch.float64)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def loss(scale):
        params, state = {"w": start}, optimizer.init({"w": start})
        for _ in range(2):
            params, state = optimizer.step(params, {"w": params["w"] * scale}, state)
        return (params["w"] ** 2).sum()

    (derivative,) = torch.autograd.grad(loss(scale), scale)
    assert passes == [set()] * 2
    slope = (loss(scale.detach() + 1e-6) - loss(scale.detach() - 1e-6)) / 2e-6
    assert derivative.item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-6)


def test_parameters_that_need_gradients(passes):
    optimizer = SGD(0.5, momentum=0.9)
    params = {"w": torch.nn.Parameter(torch.ones(3))}
    grads = {"w": torch.full((3,), 0.5)}
    state = optimizer.init(params)
    with torch.no_grad():
        stepped, _ = optimizer.step(params, grads, state)
    assert type(stepped["w"]) is torch.Tensor and not stepped["w"].requires_grad
    assert stepped["w"].tolist() == [0.75] * 3
    stepped, _ = optimizer.step(params, grads, state)
    assert stepped["w"].requires_grad and stepped["w"].tolist() == [0.75] * 3
    assert passes == [{0}, set()]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, where it first maps
def test_functional_transformations_see_every_operation(passes):
    optimizer = Adam(0.1)
    params = torch.linspace(0.5, 1.5, 4, dtype=torch.float64)
    state = optimizer.init(params)

    def stepped(gradient):
        return optimizer.step(params, gradient, state)[0]

    gradient = torch.linspace(1.0, 2.0, 4, dtype=torch.float64)
    mapped = torch.func.vmap(stepped)(torch.stack([gradient, -gradient]))
    _, tangent = torch.func.jvp(stepped, (gradient,), (torch.ones_like(gradient),))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(gradient, torch.ones_like(gradient))
        forward = torch.autograd.forward_ad.unpack_dual(stepped(dual)).tangent
    assert passes == [set()] * 3
    assert torch.allclose(mapped[1], stepped(-gradient), rtol=1e-12)
    assert forward is not None and torch.allclose(forward, tangent, rtol=1e-12)


def test_modes_and_tracers_see_every_operation(passes):
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    optimizer = Adam(0.1)
    params = torch.ones(4)
    state = optimizer.init(params)
    with Watching():
        optimizer.step(params, params, state)
    assert passes == [set()] and len(seen) > 3


def test_jit_compile_false_does_without(passes):
    optimizer = Adam(0.1, jit_compile=False)
    params = {"w": np.ones(3)}
    optimizer.step(params, params, optimizer.init(params))
    assert passes == []


def test_a_rule_that_cannot_be_recorded(passes):
    class Sorting(optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, np.sort(gradient) * learning_rate)

    optimizer = Sorting(0.5)
    params = {"w": np.zeros(3)}
    stepped, _ = optimizer.step(params, {"w": np.array([3.0, 1.0, 2.0])}, optimizer.init(params))
    assert stepped["w"].tolist() == [-0.5, -1.0, -1.5] and passes == [set()]


@pytest.mark.parametrize("row", [*PLAIN, *FEATURES, *TORCH], ids=lambda row: row.name)
def test_deltas_have_the_bits_of_whole_arrays(row, passes):
    params, gradients = problem(np.float32, steps=5)
    params = {name: value * np.float32(1e4) for name, value in params.items()}
    ours, theirs = row.make(), row.make(jit_compile=False)
    state, expected = ours.init(params), theirs.init(params)
    for gradient in gradients:
        deltas, state = ours.delta(read_only(params), read_only(gradient), read_only(state))
        others, expected = theirs.delta(params, gradient, expected)
        assert same_bits(deltas, others) and same_bits(state, expected)
        params = {name: value + deltas[name] for name, value in params.items()}
    assert passes and all(positions == {0, 1, 2, 3} for positions in passes)


def test_deltas_and_steps_do_not_meet(again):
    optimizer, plain = two_of(Adam)
    params, grads = {"a": np.full(3, 1e6), "b": np.ones(2)}, {"a": np.arange(3.0), "b": None}
    results = []
    for each in (optimizer, plain):
        state, made = each.init(params), []
        for _ in range(3):
            made += [each.delta(params, grads, state), each.step(params, grads, state)]
            state = made[-1][1]
        results.append(made)
    for ours, theirs in zip(*results, strict=True):
        assert same_bits(ours, theirs)
    assert results[0][0][0]["b"] is None and results[0][4][0]["b"] is None
    assert again == [True] * 4
    assert np.abs(results[0][4][0]["a"]).max() < 1.0


def test_numbers_of_sixteen_bits_are_rounded_once():
    optimizer = Adam(0.1)
    params = {"w": torch.linspace(-1, 1, 8, dtype=torch.bfloat16)}
    grads = {"w": torch.linspace(2, 3, 8, dtype=torch.bfloat16)}
    wide, steep = ({name: value.float() for name, value in tree.items()} for tree in (params, grads))
    (narrow, after), (exact, expected) = (
        optimizer.step(each, gradient, optimizer.init(each)) for each, gradient in ((params, grads), (wide, steep))
    )
    assert narrow["w"].dtype is torch.bfloat16 and torch.equal(narrow["w"], exact["w"].bfloat16())
    for ours, theirs in zip(leaves_of(after.slots), leaves_of(expected.slots), strict=True):
        assert ours.dtype is torch.float32 and torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_deltas_of_numbers_of_sixteen_bits_are_not_rounded(kind):
    params = {"w": np.linspace(-1, 1, 9).astype(np.float16)}
    grads = {"w": np.linspace(2, 3, 9).astype(np.float16)}
    results = [each.delta(params, grads, each.init(params)) for each in (kind(0.1), kind(0.1, jit_compile=False))]
    assert results[0][0]["w"].dtype == np.float32 and same_bits(*results)


# -------------------------------------------------------------------- the short way


def two_of(kind, **arguments):
    return kind(0.125, **arguments), kind(0.125, jit_compile=False, **arguments)


def some_steps(optimizer, params, grads, count=2):
    state = optimizer.init(params)
    for _ in range(count):
        params, state = optimizer.step(params, grads, state)
    return params, state


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("arguments", [{}, {"slot_dtype": "same"}])
@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_steps_in_sixteen_bits_are_short(kind, arguments, library, dtype, again):
    arguments = {name: dtype for name in arguments}
    if library == "torch":
        torch = pytest.importorskip("torch")

        def make(*numbers):
            return torch.tensor(numbers, dtype=getattr(torch, dtype))
    else:
        scalar = np.float16 if dtype == "float16" else pytest.importorskip("ml_dtypes").bfloat16

        def make(*numbers):
            return np.array(numbers, dtype=scalar)

    params, grads = [make(1.0, -2.0, 3.0), make(0.1)], [make(0.3, 0.02, -7.0), make(-1e-3)]
    ends = []
    for compiled in ("auto", False):
        optimizer = kind(0.01, jit_compile=compiled, **arguments)
        state, now = optimizer.init(params), params
        for _ in range(3):
            now, state = optimizer.step(now, grads, state)
        ends.append([*now, *(each for slot in state.slots.values() for each in slot if each.ndim)])
    assert (again == [True] * len(again) and len(again) >= 2) or not _compiled()
    for one, other in zip(*ends, strict=True):
        assert one.dtype == other.dtype and one.tolist() == other.tolist()


def _compiled():
    from gradwise.backends.kernels.compiler import has_numba

    return has_numba()


def test_a_step_like_the_last_one_is_short(again):
    optimizer, plain = two_of(Adam)
    params, grads = {"a": np.ones(3), "b": [np.ones((2, 2))]}, {"a": np.arange(3.0), "b": [np.eye(2)]}
    assert same_bits(some_steps(optimizer, params, grads, 4), some_steps(plain, params, grads, 4))
    assert again == [True] * 3


@pytest.mark.parametrize("lacking", [0, 1])
def test_which_gradients_there_are_may_change(lacking, again):
    optimizer, plain = two_of(Adam, convention="torch")
    params = [np.ones(3), np.full(2, 2.0)]
    both, one = [np.arange(3.0), np.ones(2)], [np.arange(3.0), np.ones(2)]
    one[lacking] = None
    states = [optimizer.init(params), plain.init(params)]
    trees = [params, params]
    for grads in (both, one, both, one, one, both):
        for which, each in enumerate((optimizer, plain)):
            trees[which], states[which] = each.step(trees[which], grads, states[which])
        assert same_bits(*trees) and same_bits(*states)
    assert again.count(True) == 4


@pytest.mark.parametrize("kind", [Adam, Nadam])
def test_numbers_may_change_in_every_step(kind, again):
    ours, plain = two_of(kind, clipnorm=0.5, loss_scale_factor=4.0, weight_decay=0.125)
    params, grads = {"w": np.ones(3)}, {"w": np.arange(3.0)}
    trees, states = [params, params], [ours.init(params), plain.init(params)]
    changes = [
        {"beta_1": 0.5}, {"beta_1": 0.625}, {"clipnorm": 0.25, "beta_2": 0.5}, {"loss_scale_factor": 2.0}, {},
        {"weight_decay": 0.25}, {"beta_1": 0.0}, {"beta_1": 0.75}, {"weight_decay": None}, {}, {"weight_decay": 0.5},
    ]  # fmt: skip
    for change in changes:
        for which, each in enumerate((ours, plain)):
            for name, value in change.items():
                setattr(each, name, value)
            trees[which], states[which] = each.step(trees[which], grads, states[which])
        assert same_bits(*trees) and same_bits(*states)
    # None for a number, or a number for zero or None, is another rule.
    assert again == [True] * 6


def test_a_number_that_decides_belongs_to_the_recording(again):
    class Deciding(optimizers.Optimizer):
        def __init__(self, weight):
            super().__init__(learning_rate=0.5)
            self.weight = weight

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate if self.weight > 1.0 else gradient * self.weight)

    optimizer = Deciding(0.25)
    params, grads = {"w": np.zeros(1)}, {"w": np.ones(1)}
    state = optimizer.init(params)
    for weight, expected in ((0.25, -0.25), (0.125, -0.125), (0.125, -0.125), (2.0, -0.5), (3.0, -0.5)):
        optimizer.weight = weight
        assert optimizer.step(params, grads, state)[0]["w"][0] == expected


def test_a_rate_of_this_step_and_schedules(again):
    for rate in (0.25, schedules.ExponentialDecay(0.25, 2, 0.5)):
        optimizer, plain = SGD(rate, momentum=0.5), SGD(rate, momentum=0.5, jit_compile=False)
        params, grads = {"w": np.ones(3)}, {"w": np.arange(3.0)}
        trees, states = [params, params], [optimizer.init(params), plain.init(params)]
        for own in (None, None, 0.5, np.float32(0.75), None):
            for which, each in enumerate((optimizer, plain)):
                trees[which], states[which] = each.step(trees[which], grads, states[which], learning_rate=own)
            assert same_bits(*trees) and same_bits(*states)
        assert again == [True] * 4
        again.clear()
        with pytest.raises(ValueError, match="learning_rate"):
            optimizer.step(trees[0], grads, states[0], learning_rate=-1.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state._replace(iterations=int(state.iterations)),
        lambda state: state._replace(iterations=np.int32(state.iterations)),
        lambda state: state._replace(iterations=np.array(state.iterations, np.int32)),
        lambda state: state._replace(iterations=np.array(state.iterations, np.float64)),
        lambda state: state._replace(learning_rate=float(state.learning_rate)),
        lambda state: state._replace(learning_rate=np.array(state.learning_rate, np.float32)),
        lambda state: state._replace(scalars={name: float(value) for name, value in state.scalars.items()}),
        lambda state: state._replace(
            scalars={name: np.array(value, np.float32) for name, value in state.scalars.items()}
        ),
        lambda state: state._replace(slots={name: [np.float64(each[0])] for name, each in state.slots.items()}),
        lambda state: state._replace(slots=dict(reversed(state.slots.items()))),
    ],
)
def test_states_in_other_kinds_of_numbers_and_arrays(change, again):
    optimizer, plain = two_of(Nadam)
    params, grads = [np.ones((), np.float32)], [np.full((), 0.5, np.float32)]
    results = []
    for each in (optimizer, plain):
        stepped, state = some_steps(each, params, grads)
        before = snapshot_of(state := change(state))
        results.append(each.step(stepped, grads, state))
        assert leaves_alike(before, state)
    assert leaves_alike(*results)
    assert list(results[0][1].slots) == list(results[1][1].slots)


def snapshot_of(tree):
    return optree.tree_map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)


def leaves_alike(one, other):
    return all(
        type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype and np.array_equal(a, b)
        for a, b in zip(leaves_of(one), leaves_of(other), strict=True)
    )


def test_trees_keep_their_kinds_and_orders(again):
    optimizer = Adam(0.1)
    grads = {"a": np.ones(2), "b": np.ones(3)}
    some_steps(optimizer, grads, grads)
    turned = {"b": np.ones(3), "a": np.zeros(2)}
    stepped, state = optimizer.step(turned, grads, optimizer.init(turned))
    assert again == [True] * 2
    assert list(stepped) == ["b", "a"] and list(state.slots["momentum"]) == ["b", "a"]
    assert stepped["b"].shape == (3,) and stepped["a"].tolist() != stepped["b"].tolist()[:2]
    # A bare array is a tree too.
    bare, state = some_steps(optimizer, np.ones(2), np.ones(2), 3)
    assert bare.shape == (2,) and state.slots["velocity"].shape == (2,)
    assert again == [True] * 4


def test_other_shapes_and_libraries_in_trees_of_one_structure(again):
    import jax.numpy as jnp

    optimizer, plain = two_of(Adam)
    kinds = [np.ones(3), np.ones(4, np.float32), torch.ones(3), jnp.ones(3), np.ones(3)]
    for start in (*kinds, *kinds):
        params = grads = {"w": start}
        ours, theirs = some_steps(optimizer, params, grads), some_steps(plain, params, grads)
        assert type(ours[0]["w"]) is type(theirs[0]["w"])
        close = [np.allclose(a, b, rtol=1e-6) for a, b in zip(leaves_of(ours), leaves_of(theirs), strict=True)]
        assert all(close)
    assert True in again and False in again


def test_what_does_not_fit_is_refused_in_the_usual_words(again):
    optimizer = Adam(0.1)
    params, grads = {"w": np.ones(3)}, {"w": np.ones(3)}
    _, state = some_steps(optimizer, params, grads)
    for bad, words in (
        ({"w": np.ones(4)}, "shape"),
        ({"w": np.ones(3, bool)}, "bool"),
        ({"v": np.ones(3)}, "structure"),
        ({"w": None}, "No gradients"),
        ({"w": torch.ones(3)}, "numpy array"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            optimizer.step(params, bad, state)
    with pytest.raises(ValueError, match="count"):
        optimizer.step(params, grads, state._replace(iterations=np.array(-1)))
    with pytest.raises(ValueError, match="made by another optimizer"):
        optimizer.step(params, grads, state._replace(slots={"momentum": state.slots["momentum"]}))
    with pytest.raises(TypeError, match="OptimizerState"):
        optimizer.step(params, grads, tuple(state))
    assert True in again


def test_slots_that_are_passed_on_do_not_become_the_callers_arrays(again):
    optimizer = Adam(0.1)
    params, grads = {"a": np.ones(3), "b": np.ones(3)}, {"a": None, "b": np.ones(3)}
    _, state = some_steps(optimizer, params, grads)
    state.slots["momentum"]["a"] = params["a"]
    _, after = optimizer.step(params, grads, state)
    assert again == [True] * 2
    assert after.slots["momentum"]["a"] is not params["a"]
    assert after.slots["velocity"]["a"] is state.slots["velocity"]["a"]


def test_a_schedule_may_be_a_function_of_the_users(again):
    counts = []

    def rate(step):
        counts.append(step)
        return 0.5 / (step + 1)

    optimizer = SGD(rate)
    params, grads = {"w": np.zeros(1)}, {"w": np.ones(1)}
    stepped, _ = some_steps(optimizer, params, grads, 3)
    assert counts == [0, 1, 2] and again == [True] * 2
    assert stepped["w"][0] == pytest.approx(-0.5 - 0.25 - 0.5 / 3)


def test_equal_optimizers_share_what_was_recorded(again):
    params, grads = {"w": np.linspace(0.0, 1.0, 7)}, {"w": np.linspace(1.0, 2.0, 7)}
    results = [some_steps(Adam(rate, beta_1=rate), params, grads, 3) for rate in (0.25, 0.5, 0.25)]
    # The first of them has made the first step in full.
    assert again == [True] * 8
    assert same_bits(results[0], results[2]) and not same_bits(results[0], results[1])
    assert same_bits(results[1], some_steps(Adam(0.5, beta_1=0.5, jit_compile=False), params, grads, 3))


@crossing(
    ("kind", "arguments", "jit_compile"),
    ALGORITHMS,
    [
        pytest.param({}, id="plain"), pytest.param({"use_ema": True}, id="ema"),
        pytest.param({"global_clipnorm": 0.5}, id="global_clipnorm"),
    ],
    [pytest.param("auto", id="one-pass"), pytest.param(False, id="whole-arrays")],
    of=lambda kind: "any algorithm",
)  # fmt: skip
def test_a_run_is_made_of_steps(kind, arguments, jit_compile):
    """With parameters that are changed between steps, settings too, and gradients that take no short way."""
    params = {"w": np.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": np.float32([0.5, -0.5])}
    optimizer = kind(0.1, jit_compile=jit_compile, **arguments)
    run, state, expected, now = Run(optimizer, params), optimizer.init(params), params, params
    for step in range(8):
        grads = {"w": np.cos(expected["w"] + step), "b": np.full(2, 0.1 * step, np.float32)}
        if step == 3 and not arguments.get("use_ema"):
            grads["b"] = None
        if step == 4:
            grads["w"] = np.asfortranarray(grads["w"])
        if step == 6:
            for name, value in existing(kind, {"weight_decay": 0.01}).items():
                setattr(optimizer, name, value)
        given = read_only(now)
        now = {name: np.clip(array, -0.9, 0.9) for name, array in run.step(given, grads).items()}
        expected, state = optimizer.step(expected, grads, state)
        expected = {name: np.clip(array, -0.9, 0.9) for name, array in expected.items()}
        assert same_bits(now, expected)
        for slot, other in ((run.state.slots[name], state.slots[name]) for name in state.slots):
            assert [np.asarray(each).tobytes() for each in leaves_of(slot)] == [
                np.asarray(each).tobytes() for each in leaves_of(other)
            ]
        assert int(run.state.iterations) == int(state.iterations) == step + 1
        assert {name: float(value) for name, value in run.state.scalars.items()} == {
            name: float(value) for name, value in state.scalars.items()
        }


def test_what_a_run_refuses_changes_nothing():
    params = {"w": np.ones(3)}
    optimizer = optimizers.Adam(0.1)
    run = Run(optimizer, params)
    for _ in range(3):
        params = run.step(params, {"w": np.ones(3)})
    before = run.state
    for grads in ({"w": np.ones(4)}, {"v": np.ones(3)}, {"w": None}, {"w": "text"}):
        with pytest.raises((TypeError, ValueError)):
            run.step(params, grads)
        assert same_bits(run.state.slots, before.slots) and run.state.iterations == before.iterations == 3
    state = optimizer.init({"w": np.ones(3)})
    expected = {"w": np.ones(3)}
    for _ in range(4):
        expected, state = optimizer.step(expected, {"w": np.ones(3)}, state)
    assert same_bits(run.step(params, {"w": np.ones(3)}), expected)


def test_a_method_that_is_replaced_is_recorded(monkeypatch):
    params, grads = {"w": np.ones(4)}, {"w": np.full(4, 0.5)}

    def stepped():
        optimizer = optimizers.SGD(0.1)
        after, _ = optimizer.step(params, grads, optimizer.init(params))
        return after["w"][0]

    before = stepped()
    with monkeypatch.context() as patched:
        patched.setattr(
            optimizers.SGD, "update_step", lambda self, gradient, variable, rate: self.assign_sub(variable, gradient)
        )
        assert stepped() == 0.5
    assert stepped() == before == 1 - 0.5 * 0.1


def test_rules_of_the_users_share_nothing(again):
    def made(factor):
        class Mine(optimizers.Optimizer):
            def update_step(self, gradient, variable, learning_rate):
                self.assign_sub(variable, gradient * (learning_rate * factor))

        return Mine(0.5)

    params = {"w": np.ones(3)}
    for factor in (1.0, 2.0):
        stepped, _ = made(factor).step(params, params, made(factor).init(params))
        assert stepped["w"].tolist() == [1.0 - 0.5 * factor] * 3
    assert again == []
