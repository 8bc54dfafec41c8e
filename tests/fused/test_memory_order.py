"""Memory that is dense in any order of its axes goes in one pass, with the bits that row-major memory gives."""

from __future__ import annotations

import itertools
import mmap

import numpy as np
import pytest
from helpers.backend_table import array, numpy_dtype, read
from helpers.every_convention import existing
from helpers.user_optimizers import Lamb

from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, Optimizer, RMSprop
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.fast
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
SHAPES = [(3, 5), (4, 1, 6), (2, 3, 4, 5), (5, 1), (7,), (), (0, 3), (2, 0, 4)]


def permuted(value, order):
    """An array of the same values whose axes follow each other in memory in an order, outermost first."""
    made = np.ascontiguousarray(value.transpose(order))
    return made.transpose(np.argsort(order).astype(int)) if value.ndim else made.reshape(())


def of_library(library, value):
    """The same with the library's own array, in the same order in memory."""
    if library == "numpy":
        return value
    order = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
    made = array(library, np.ascontiguousarray(value.transpose(order)))
    return made.permute(*np.argsort(order).tolist()) if value.ndim else made


def strides(given):
    """In elements."""
    return tuple(n // given.itemsize for n in given.strides) if isinstance(given, np.ndarray) else given.stride()


class Orders:
    """Draws an order for each parameter, and orders for gradients."""

    def __init__(self, seed, shapes, dtype="float32"):
        self.generator = np.random.default_rng(seed)
        self.shapes, self.dtype = shapes, numpy_dtype(dtype)
        self.orders = [self.generator.permutation(len(shape)).tolist() for shape in shapes]

    def values(self):
        return [np.asarray(self.generator.normal(size=shape), self.dtype) for shape in self.shapes]

    def laid(self, values, orders=None):
        return [permuted(value, order) for value, order in zip(values, orders or self.orders, strict=True)]

    def others(self):
        return [self.generator.permutation(len(shape)).tolist() for shape in self.shapes]


def compare(library, make, drawn, gradient_orders, steps=4, fused=True):
    """Steps on memory in drawn orders give the bits of row-major arrays of NumPy, updated one by one."""
    values = drawn.values()
    plain, laid = [value.copy() for value in values], [of_library(library, v) for v in drawn.laid(values)]
    expected, optimizer = make(jit_compile=False), make()
    lanes = []
    for _ in range(steps):
        gradients = drawn.values()
        given = [of_library(library, gradient) for gradient in drawn.laid(gradients, gradient_orders())]
        expected.apply(gradients, plain)
        optimizer.apply(given, laid)
        lanes.append(optimizer.fusion.lane)
        assert [read(each).tobytes() for each in laid] == [each.tobytes() for each in plain]
    if fused:
        assert [group.way for group in optimizer.execution_report()] == ["fused"]
    return optimizer, laid, lanes


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_algorithm_in_the_order_of_the_parameters(library, algorithm, dtype):
    drawn = Orders(len(algorithm.__name__), SHAPES, dtype)
    decay = existing(algorithm, {"weight_decay": 0.01})
    optimizer, laid, lanes = compare(
        library, lambda **keywords: algorithm(0.1, **decay, **keywords), drawn, lambda: drawn.orders
    )
    # Nothing is in the way of a short step, and slots were made as the parameters lie.
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)
    for parameter, (_, *slots) in zip(laid, optimizer.cells.grouped, strict=True):
        for slot in slots:
            pairs = zip(parameter.shape, strides(parameter), strides(slot.array), strict=True)
            assert all(a == b for length, a, b in pairs if length > 1) or 0 in parameter.shape


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}, {"clipnorm": 0.5, "use_ema": True}], ids=str)
def test_gradients_of_other_orders_take_the_short_way(library, options):
    drawn = Orders(5, SHAPES)
    _, _, lanes = compare(library, lambda **keywords: Adam(0.1, **options, **keywords), drawn, drawn.others)
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_without_gaps_or_with(library):
    """What no kernel reads is copied in every step, and the step stays short."""
    w, expected = array(library, np.ones((4, 6), np.float32)), np.ones((4, 6), np.float32)
    optimizer, eager = RMSprop(0.1), RMSprop(0.1, jit_compile=False)
    kinds = [
        lambda wide: wide[:, ::2], lambda wide: wide[:, 3:9], lambda wide: wide.T.copy().T[:, :6] * 1,
        lambda wide: wide[:1, :6].repeat(4, 0)[:, :6],
    ]  # fmt: skip
    lanes = []
    for step, kind in enumerate(kinds * 2):
        wide = np.sin(np.arange(48, dtype=np.float32) + step).reshape(4, 12)
        gradient = kind(wide)
        base = array(library, wide)
        given = base[:, ::2] if step % 4 == 0 else base[:, 3:9] if step % 4 == 1 else array(library, gradient)
        optimizer.apply([given], [w])
        eager.apply([gradient], [expected])
        lanes.append(optimizer.fusion.lane)
        assert read(w).tobytes() == expected.tobytes()
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["float64", "float16", "int32"])
def test_gradients_of_another_dtype_take_the_short_way(library, kind):
    w, expected = array(library, np.ones((4, 6), np.float32)), np.ones((4, 6), np.float32)
    optimizer, eager = Adam(0.1), Adam(0.1, jit_compile=False)
    lanes = []
    for step in range(3):
        gradient = (np.arange(24).reshape(4, 6) - 7 + step).astype(kind)
        optimizer.apply([array(library, gradient)], [w])
        eager.apply([gradient.astype(np.float32)], [expected])
        lanes.append(optimizer.fusion.lane)
    assert read(w).tobytes() == expected.tobytes()
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rule", [Lamb], ids=lambda kind: kind.__name__)
def test_sums_are_those_of_row_major_memory(library, rule):
    drawn = Orders(8, [(40, 500), (6, 5, 4, 3), (7,)])
    compare(library, lambda **keywords: rule(0.1, **keywords), drawn, drawn.others)


class Distance(Optimizer):
    """What `begin_step` adds up sets the rate of the step."""

    def build(self, variables):
        super().build(variables)
        self.distance = self.add_scalar("distance", 1.0)

    def begin_step(self, gradients, variables, learning_rate):
        total = 0.0
        for gradient, variable in zip(gradients, variables, strict=True):
            total = total + ops.sum_of_squares(gradient - variable)
        self.assign(self.distance, ops.sqrt(total))

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate / self.distance))


@pytest.mark.parametrize("library", LIBRARIES)
def test_sums_over_all_parameters(library):
    drawn = Orders(9, [(40, 50), (6, 5, 4, 3), (7,)])
    compare(library, lambda **keywords: Distance(0.1, **keywords), drawn, drawn.others)


@pytest.mark.parametrize("library", LIBRARIES)
def test_without_the_compiler(library, monkeypatch):
    from gradwise.optimizers.core.fused import plan

    monkeypatch.setattr(plan, "has_numba", lambda: False)
    drawn = Orders(3, SHAPES)
    optimizer, *_ = compare(library, lambda **keywords: Adam(0.1, **keywords), drawn, drawn.others, fused=False)
    assert [group.way for group in optimizer.execution_report()] == ["blocks"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_slots_of_another_order(library, order, monkeypatch):
    """As after loading what was saved of other parameters: they pass through copies, in batches."""
    from gradwise.optimizers.core.fused import general

    monkeypatch.setattr(general, "_BATCH", 10)
    drawn = Orders(4, [(2, 3, 4), (5, 6), (3,)])
    values = drawn.values()
    plain, laid = [value.copy() for value in values], [of_library(library, v) for v in drawn.laid(values)]
    eager, optimizer = Adam(0.1, jit_compile=False), Adam(0.1)
    optimizer.build(laid)
    slot = optimizer.cells.grouped[0][1]
    slot.array = of_library(library, permuted(np.zeros((2, 3, 4), np.float32), order))
    for _ in range(3):
        gradients = drawn.values()
        eager.apply(gradients, plain)
        optimizer.apply([of_library(library, each) for each in drawn.laid(gradients, drawn.others())], laid)
        assert [read(each).tobytes() for each in laid] == [each.tobytes() for each in plain]
    assert {group.way for group in optimizer.execution_report()} == {"fused"}
    assert read(slot.array).tobytes() == eager.cells.grouped[0][1].numpy().tobytes()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_gradient_that_is_the_parameter_turned_round(library):
    start = np.arange(16, dtype=np.float32).reshape(4, 4)
    w = array(library, start)
    optimizer = SGD(0.5)
    for _ in range(3):
        optimizer.apply([w.T], [w])
        start = start - 0.5 * start.T
        assert read(w).tobytes() == start.tobytes()


def test_orders_that_change_between_steps():
    w, expected = np.asfortranarray(np.ones((3, 4))), np.ones((3, 4))
    optimizer, eager = Adam(0.1), Adam(0.1, jit_compile=False)
    cell = Variable.over(w, "w")
    for step in range(6):
        gradient = np.sin(np.arange(12.0) + step).reshape(3, 4)
        if step % 2:
            cell.array = cell.array.copy(order="C" if step % 4 == 1 else "F")
        optimizer.apply([gradient], [cell])
        eager.apply([gradient], [expected])
        assert cell.numpy().tobytes() == expected.tobytes()


@pytest.mark.torch
def test_state_that_was_saved_in_another_memory_format():
    import torch

    from gradwise.frontends import torch as front

    def parameters(memory_format):
        generator = torch.Generator().manual_seed(3)
        made = torch.nn.Parameter(torch.randn(4, 3, 2, 2, generator=generator).to(memory_format=memory_format))
        made.grad = torch.full_like(made, 0.1)
        return made

    one, other = parameters(torch.contiguous_format), parameters(torch.channels_last)
    first = front.AdamW([one])
    first.step()
    other.data.copy_(one.data)
    second = front.AdamW([other])
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        first.step()
        second.step()
    assert torch.equal(one, other) and not other.is_contiguous()
    assert all(second.state[other][key].stride() == other.stride() for key in ("exp_avg", "exp_avg_sq"))
    assert second._engines[0]._rule.fusion.lane is not None


# ---------------------------------------------------------------- NumPy's scalars


@pytest.mark.parametrize("scalar", [np.float64, np.float32, np.float16, np.int64], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}, {"gradient_accumulation_steps": 2}], ids=str)
def test_scalars_are_arrays_without_axes(scalar, options):
    def run(convert, **keywords):
        optimizer, parameters, lanes = Adam(0.1, **options, **keywords), [np.ones(3), np.zeros(())], []
        for step in range(4):
            optimizer.apply([np.full(3, 0.5), convert(scalar(step + 1))], parameters)
            lanes.append(optimizer.fusion.lane)
        return [each.tobytes() for each in parameters], lanes

    result, lanes = run(lambda each: each)
    assert result == run(np.asarray)[0] == run(np.asarray, jit_compile=False)[0]
    assert options.get("gradient_accumulation_steps") or (lanes[0] and all(lane is lanes[0] for lane in lanes))


def test_scalars_that_are_refused_change_nothing():
    w, b = np.ones(3), np.zeros(())
    optimizer = Adam(0.1)
    for _ in range(2):
        optimizer.apply([np.ones(3), np.float64(1.0)], [w, b])
    before = w.tobytes(), b.tobytes()
    for bad in (np.complex128(1), np.bool_(True), np.float64, 1.0, "1", np.str_("1"), None.__class__):
        with pytest.raises((TypeError, ValueError)):
            optimizer.apply([np.ones(3), bad], [w, b])
        assert before == (w.tobytes(), b.tobytes()) and optimizer.iterations == 2


# ---------------------------------------------------------------- files


@pytest.fixture
def mapped(tmp_path):
    def make(name, value):
        made = np.memmap(tmp_path / name, dtype=value.dtype, mode="w+", shape=value.shape)
        made[...] = value
        return made

    return make


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[1:], lambda a: a.T, np.asarray], ids="abcd")
def test_arrays_over_files_are_plain_memory(mapped, view):
    start = np.arange(12, dtype=np.float32).reshape(4, 3)
    w, expected = view(mapped("w", start)), view(start.copy())
    optimizer, eager, lanes = Adam(0.1), Adam(0.1, jit_compile=False), []
    for step in range(4):
        gradient = np.sin(np.arange(w.size, dtype=np.float32) + step).reshape(w.shape)
        optimizer.apply([mapped(f"g{step}", gradient)], [w])
        eager.apply([gradient], [expected])
        lanes.append(optimizer.fusion.lane)
    assert np.asarray(w).tobytes() == expected.tobytes()
    assert [group.way for group in optimizer.execution_report()] == ["fused"]
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)
    # Slots are memory of their own, not files.
    assert all(type(cell.array) is np.ndarray for cell in optimizer.cells.grouped[0][1:])


@pytest.mark.parametrize("which", ["parameter", "gradient"])
@pytest.mark.parametrize("change", ["closed", "longer"])
def test_maps_that_are_closed_or_moved(which, change):
    size = mmap.PAGESIZE // 4
    owner = mmap.mmap(-1, 4 * size)
    over = np.ndarray((size,), np.float32, buffer=owner).view(np.memmap)
    over[...] = 1.0
    own = np.ones(size, np.float32)
    w, g = (over, own) if which == "parameter" else (own, over)
    optimizer = Adam(0.1)
    for _ in range(3):
        optimizer.apply([g], [w])
    if change == "closed":
        owner.close()
    else:
        blocker = [mmap.mmap(-1, mmap.PAGESIZE) for _ in range(8)]
        before = np.frombuffer(owner, np.uint8).__array_interface__["data"][0]
        try:
            owner.resize(64 * mmap.PAGESIZE)
        except (SystemError, BufferError, OSError, ValueError):
            pytest.skip("this system cannot make a map longer")
        if np.frombuffer(owner, np.uint8).__array_interface__["data"][0] == before:
            pytest.skip("the map did not move")
        del blocker
    kept = own.copy()
    with pytest.raises(TypeError, match="variable_0"):
        optimizer.apply([g], [w])
    assert optimizer.iterations == 3 and own.tobytes() == kept.tobytes()


TURNED = {
    "matrix": ((300, 200), (1, 0)),
    "first and last": ((40, 3, 170), (2, 1, 0)),
    "several outer ones": ((3, 50, 4, 60), (2, 0, 3, 1)),
    "in the middle": ((5, 64, 7, 64), (0, 3, 2, 1)),
    "joined": ((2, 90, 10, 20), (0, 2, 3, 1)),
    "axes of one": ((1, 130, 1, 140), (3, 2, 1, 0)),
}


@pytest.mark.parametrize("case", TURNED)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_large_arrays_are_turned_square_by_square(case, dtype):
    copies = pytest.importorskip("gradwise.backends.kernels.copies")
    shape, order = TURNED[case]
    values = (np.arange(np.prod(shape)) % 2000).reshape(shape).astype(numpy_dtype(dtype))
    for source in (values.transpose(order), np.flip(values, 0).transpose(order)):
        target = np.zeros(source.shape, source.dtype)
        assert copies.copied(target, source)
        assert target.tobytes() == np.ascontiguousarray(source).tobytes()


def test_what_is_not_turned_is_left_to_the_library():
    copies = pytest.importorskip("gradwise.backends.kernels.copies")
    whole = np.zeros((200, 300), np.float32)
    for source in (whole, whole[::-1], whole.T[:, ::-1][::2], np.broadcast_to(np.float32(1), (200, 300)), whole[:9].T):
        assert not copies.copied(np.zeros(source.shape, source.dtype), source)
    assert not copies.copied(np.zeros((300, 200)), whole.T)
    assert not copies.copied(np.zeros((0, 5), np.float32), np.zeros((5, 0), np.float32).T)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_large_gradient_that_is_turned_round(kind):
    generator = np.random.default_rng(3)
    start, gradient = generator.normal(size=(150, 260)), generator.normal(size=(260, 150))
    ends = []
    for given in (gradient.T, np.ascontiguousarray(gradient.T)):
        parameter = start.copy()
        optimizer = kind(0.1)
        for _ in range(3):
            optimizer.apply([given], [parameter])
        ends.append(parameter)
    np.testing.assert_array_equal(*ends)
