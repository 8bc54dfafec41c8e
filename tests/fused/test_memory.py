"""Memory that moves, shrinks, changes its kind or is given back between steps: seen, and never written beyond."""

from __future__ import annotations

import array as standard_array
import ctypes
import mmap
import warnings
from multiprocessing import shared_memory, sharedctypes

import numpy as np
import pytest

import gradwise
from gradwise.backends import backend_of, losses
from gradwise.backends.numpy_owners import has_memory
from gradwise.optimizers import SGD, Adam, RMSprop

JIT = pytest.mark.parametrize("jit_compile", ["auto", False], ids=["one-pass", "arrays"])
CLIPPED = pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0}, {"use_ema": True}], ids=str)


def _stepped(parameter, gradient, jit_compile, options, optimizer=Adam, steps=3):
    optimizer = optimizer(0.1, jit_compile=jit_compile, **options)
    for _ in range(steps):
        optimizer.apply([gradient], [parameter])
    return optimizer


def _tensor(size, value=1.0):
    import torch

    return torch.full((size,), value)


def _give_back(tensor):
    tensor.untyped_storage().resize_(0)


def _shrink(tensor):
    tensor.untyped_storage().resize_(4)


def _become_short(tensor):
    tensor.data = tensor.data[:10]


def _become_double(tensor):
    tensor.data = tensor.data.double()


def _become_zero_tensor(tensor):
    import torch

    tensor.data = torch._efficientzerotensor(tensor.shape)


TENSOR_CHANGES = [_give_back, _shrink, _become_short, _become_double, _become_zero_tensor]


@pytest.mark.torch
@JIT
@CLIPPED
@pytest.mark.parametrize("change", TENSOR_CHANGES, ids=lambda change: change.__name__[1:])
@pytest.mark.parametrize("which", ["parameter", "slot"])
def test_tensors_held_that_do_not_fit_any_more(which, change, options, jit_compile):
    parameter, other = _tensor(100), _tensor(7)
    optimizer = Adam(0.1, jit_compile=jit_compile, **options)
    for _ in range(3):
        optimizer.apply([_tensor(7), _tensor(100)], [other, parameter])
    kept = optimizer.cells.grouped[1][1].array
    before = other.clone()
    changed = parameter if which == "parameter" else kept
    change(changed)
    with pytest.raises((TypeError, ValueError), match="variable_1") as caught:
        optimizer.apply([_tensor(7), _tensor(100)], [other, parameter])
    assert str(caught.value).startswith("Parameter" if which == "parameter" else "Slot 'variable_1_")
    assert bool((other == before).all())
    assert optimizer.iterations == 3


@pytest.mark.torch
@JIT
@CLIPPED
@pytest.mark.parametrize("change", [_give_back, _shrink], ids=lambda change: change.__name__[1:])
@pytest.mark.parametrize("offset", [0, 10])
def test_gradients_whose_memory_was_given_back(offset, change, options, jit_compile):
    parameter = _tensor(100)
    optimizer = _stepped(parameter, _tensor(100), jit_compile, options)
    gradient = _tensor(100 + offset)[offset:]
    change(gradient)
    before = parameter.clone()
    with pytest.raises(TypeError, match="gradient of 'variable_0' cannot be computed with: its storage holds"):
        optimizer.apply([gradient], [parameter])
    assert bool((parameter == before).all())


@pytest.mark.torch
@JIT
@CLIPPED
@pytest.mark.parametrize("optimizer", [Adam, SGD, RMSprop])
def test_gradients_that_take_no_memory(optimizer, options, jit_compile):
    import torch

    zeros = torch._efficientzerotensor((100,))
    both = []
    for gradient in (zeros, torch.zeros(100), zeros[:]):
        parameter = _tensor(100)
        own = _stepped(parameter, _tensor(100), jit_compile, options, optimizer)
        own.apply([gradient], [parameter])
        own.apply([gradient], [parameter])
        both.append([parameter, *(cell.numpy() for cell in own.variables[2:])])
    for each in both[1:]:
        assert [np.asarray(a).tobytes() for a in each] == [np.asarray(a).tobytes() for a in both[0]]


@pytest.mark.torch
@JIT
def test_gradients_that_are_put_off(jit_compile):
    import torch

    parameter, negative = _tensor(3), torch._neg_view(_tensor(3, 2.0))
    optimizer = _stepped(parameter, _tensor(3, -2.0), jit_compile, {}, SGD)
    optimizer.apply([negative], [parameter])
    assert parameter.numpy() == pytest.approx(1.8)
    parameter.data = torch._neg_view(_tensor(3, -1.0))
    optimizer.apply([_tensor(3)], [parameter])
    assert parameter.tolist() == pytest.approx([0.9] * 3)


@pytest.mark.torch
def test_nested_gradients_are_refused():
    import torch

    parameter = _tensor(5)
    optimizer = _stepped(parameter, _tensor(5), "auto", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([_tensor(2), _tensor(3)])
    with pytest.raises(TypeError, match="it is nested"):
        optimizer.apply([nested], [parameter])


@pytest.mark.torch
def test_reading_does_not_fix_the_size_of_storages():
    parameter, gradient = _tensor(100_000), _tensor(100_000)
    _stepped(parameter, gradient, "auto", {"global_clipnorm": 1.0})
    for tensor in (parameter, gradient):
        tensor.untyped_storage().resize_(0)


@pytest.mark.torch
@pytest.mark.fast
@pytest.mark.parametrize("missing", ["_efficientzerotensor", "empty", "__file__"])
def test_a_torch_without_what_the_trial_needs_is_looked_at_tensor_by_tensor(missing, monkeypatch):
    import torch

    from gradwise.backends.torch import addresses

    addresses.works.cache_clear()
    addresses._functions.cache_clear()
    addresses._number_of.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.delattr(torch, missing)
            assert not addresses.works()
        weight = torch.ones(3)
        optimizer = SGD(0.5)
        for _ in range(3):
            optimizer.apply([torch.ones(3)], [weight])
        assert weight.tolist() == [-0.5] * 3
        assert [group.way for group in optimizer.execution_report()] == ["fused"]
    finally:
        addresses.works.cache_clear()
        addresses._functions.cache_clear()


def _in_a_mode(name, call):
    import torch
    from torch._subclasses import FakeTensorMode

    if name in ("grad", "vmap", "functionalize"):
        found = []
        transform = getattr(torch.func, name)
        transform(lambda given: (found.append(call()), given.sum())[1])(torch.ones(2, 3))
        return found[0]
    contexts = {"inference": torch.inference_mode, "fake": FakeTensorMode, "meta": lambda: torch.device("meta")}
    if name in contexts:
        with contexts[name]():
            return call()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return call()
    finally:
        torch.set_default_dtype(default)


@pytest.mark.torch
@pytest.mark.fast
@pytest.mark.parametrize("mode", ["grad", "vmap", "functionalize", "inference", "fake", "meta", "float64"])
def test_what_is_tried_out_does_not_depend_on_where_that_happens(mode):
    from gradwise.backends.torch import addresses

    words = addresses.words()
    trials = (addresses.works, addresses.words)
    for trial in trials:
        trial.cache_clear()
    assert _in_a_mode(mode, lambda: (addresses.works(), addresses.words())) == (True, words)


@pytest.mark.torch
@pytest.mark.fast
def test_a_torch_whose_tensors_say_otherwise_is_asked(monkeypatch):
    import torch

    from gradwise.backends.torch import addresses

    told = torch._C._dispatch_keys
    monkeypatch.setattr(torch._C, "_dispatch_keys", lambda tensor: told(torch.zeros(3)))
    assert addresses.words.__wrapped__() is None
    monkeypatch.delattr(torch._C, "_dispatch_keys")
    assert addresses.words.__wrapped__() is None


@pytest.mark.torch
@pytest.mark.fast
@pytest.mark.parametrize("asked", [False, True], ids=["told", "asked"])
def test_looking_at_tensors(asked, monkeypatch):
    import torch

    from gradwise.backends.torch import addresses

    assert addresses.works()
    if asked:
        monkeypatch.setattr(addresses, "words", lambda: None)
    elif hasattr(torch._C._dispatch_keys(torch.zeros(1)), "raw_repr"):
        assert addresses.words() is not None
    else:
        pytest.skip("this release of torch does not tell in one word what a tensor is")
    backend = backend_of(_tensor(1))
    tensors = [torch.zeros(3, 4), torch.zeros(()), torch.zeros(0, 2), torch.arange(6.0)[2:]]
    held = [torch.nn.Parameter(tensor.clone()) for tensor in tensors for _ in range(2)]
    look = backend.lookout([tuple(tensor.shape) for tensor in tensors], [None] * len(tensors), ["float32"] * 3)
    places = [each.data_ptr() for each in (*held, *tensors)]
    assert look(held, tensors).tolist() == [[*places[2 * k : 2 * k + 2], places[8 + k]] for k in range(4)]
    kind = getattr(torch.nn, "Buffer", type("Own", (torch.Tensor,), {}))
    short, gone, one = torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4)
    short.untyped_storage().resize_(44)
    gone.untyped_storage().resize_(0)
    strange = [
        torch.zeros(4, 3).t(), torch.zeros(3, 8)[:, ::2], torch.zeros(3, 4).double(), torch.zeros(4, 3), short, gone,
        torch.zeros(12), torch.zeros(3, 4, 1), torch._efficientzerotensor((3, 4)), torch._neg_view(one), None, 0.0,
        torch.zeros(3, 4).to_sparse(), torch.zeros(3, 4, device="meta"), torch.zeros(3, 4, dtype=torch.int32),
        torch.zeros(3, 4).expand(3, 4).as_subclass(kind), torch.zeros(1, 4).expand(3, 4),
    ]  # fmt: skip
    for each in strange:
        assert look(held, [each, *tensors[1:]]) is None, each
    for each in strange[:9]:
        assert look([held[0], each, *held[2:]], tensors) is None, each
    assert look(held[:-1], tensors) is None

    wrapped = []

    def transformed(gradient):
        wrapped.append(look(held, [gradient, *tensors[1:]]))
        return gradient.sum()

    torch.func.vmap(transformed)(torch.zeros(2, 3, 4))
    torch.func.grad(transformed)(torch.zeros(3, 4))
    assert wrapped == [None, None]


@pytest.mark.torch
@pytest.mark.fast
def test_a_storage_that_is_shorter_at_the_same_place():
    """Two changes of its size may lead back to where it was."""
    backend = backend_of(_tensor(1))
    look, parameter = backend.lookout([(100,)], [None], ["float32"] * 2), _tensor(100)
    for _ in range(100):
        parameter.untyped_storage().resize_(200)
        assert look([parameter], [_tensor(100)]) is None


# -------------------------------------------------------------------- NumPy


def _over_bytes(size):
    owner = bytearray(4 * size)
    return np.ndarray((size,), np.float32, buffer=owner), lambda: owner.extend(bytes(2**20))


def _over_standard_array(size):
    owner = standard_array.array("f", [0.0] * size)
    return np.ndarray((size,), np.float32, buffer=owner), lambda: owner.extend([0.0] * 2**18)


def _over_shared_memory(size):
    owner = shared_memory.SharedMemory(create=True, size=4 * size)
    owner.unlink()
    return np.ndarray((size,), np.float32, buffer=owner.buf), owner.close


def _over_a_map(size):
    owner = mmap.mmap(-1, 4 * size)
    return np.asarray(np.ndarray((size,), np.float32, buffer=owner)), owner.close


def _over_another_array(size):
    owner = np.zeros(3 * size, np.float32)
    return owner[size : 2 * size], lambda: owner.resize(5, refcheck=False)


def _moved(owner):
    """Let an object of ctypes grow until it lies elsewhere."""
    beside, before = [], ctypes.addressof(owner)
    while ctypes.addressof(owner) == before:
        ctypes.resize(owner, ctypes.sizeof(owner) + 2**20)
        beside.append(bytearray(2**20))


def _over_ctypes(size):
    owner = (ctypes.c_float * size)()
    return np.ndarray((size,), np.float32, buffer=owner), lambda: _moved(owner)


def _over_a_view_of_ctypes(size):
    owner = (ctypes.c_float * size)()
    return np.frombuffer(owner, np.float32), lambda: _moved(owner)


class Told:
    """What tells NumPy where its memory lies, and may put it elsewhere."""

    def __init__(self, size):
        self.held = np.zeros(size, np.float32)

    @property
    def __array_interface__(self):
        return self.held.__array_interface__


def _over_an_interface(size):
    owner = Told(size)
    return np.asarray(owner), lambda: setattr(owner, "held", owner.held.repeat(2))


def _over_strides(size):
    owner = np.zeros(3 * size, np.float32)
    return np.lib.stride_tricks.as_strided(owner, (size,)), lambda: owner.resize(5, refcheck=False)


def _over_its_own(size):
    array = np.zeros(size, np.float32)
    return array, lambda: array.resize(size // 2, refcheck=False)


def _over_a_read_only(size):
    array = np.zeros(size, np.float32)
    return array, lambda: array.setflags(write=False)


def _over_another_dtype(size):
    array = np.zeros(size, np.float32)
    return array, lambda: setattr(array, "dtype", np.int32)


OWNERS = [
    _over_bytes, _over_standard_array, _over_shared_memory, _over_a_map, _over_another_array, _over_ctypes,
    _over_a_view_of_ctypes, _over_an_interface, _over_strides, _over_its_own,
]  # fmt: skip
CHANGES = [*OWNERS, _over_a_read_only, _over_another_dtype]


@JIT
@CLIPPED
@pytest.mark.parametrize("make", CHANGES, ids=lambda make: make.__name__[6:])
@pytest.mark.parametrize("which", ["parameter", "slot"])
def test_arrays_held_whose_memory_is_gone(which, make, options, jit_compile):
    array, change = make(50)
    other, parameter = np.ones(7, np.float32), array if which == "parameter" else np.zeros(50, np.float32)
    gradients = [np.ones(7, np.float32), np.ones(50, np.float32)]
    optimizer = Adam(0.1, jit_compile=jit_compile, **options)
    optimizer.build([other, parameter])
    if which == "slot":
        optimizer.cells.grouped[1][1].array = array
    for _ in range(3):
        optimizer.apply(gradients, [other, parameter])
    change()
    before = other.copy()
    with pytest.raises((TypeError, ValueError), match="variable_1"):
        optimizer.apply(gradients, [other, parameter])
    assert (other == before).all()
    assert optimizer.iterations == 3


@JIT
@CLIPPED
@pytest.mark.parametrize("make", OWNERS, ids=lambda make: make.__name__[6:])
def test_gradient_arrays_whose_memory_is_gone(make, options, jit_compile):
    parameter = np.zeros(50, np.float32)
    gradient, change = make(50)
    optimizer = _stepped(parameter, gradient, jit_compile, options)
    change()
    before = parameter.copy()
    with pytest.raises((TypeError, ValueError), match="gradient of 'variable_0'"):
        optimizer.apply([gradient], [parameter])
    assert (parameter == before).all()


@pytest.mark.torch
@JIT
def test_arrays_over_tensors_that_moved(jit_compile):
    tensor = _tensor(50)
    parameter = tensor.numpy()
    optimizer = _stepped(parameter, np.ones(50, np.float32), jit_compile, {})
    tensor.share_memory_()
    with pytest.raises(TypeError, match="owner of its memory"):
        optimizer.apply([np.ones(50, np.float32)], [parameter])


@pytest.mark.fast
@pytest.mark.parametrize("make", OWNERS[:-1], ids=lambda make: make.__name__[6:])
def test_arrays_that_own_nothing_take_the_short_way(make):
    parameter, _ = make(50)
    optimizer = _stepped(parameter, np.ones(50, np.float32), "auto", {})
    assert optimizer.fusion.lane is not None
    assert optimizer.fusion.lane.prepared(optimizer, [np.ones(50, np.float32)], [parameter])


# -------------------------------------------------------------------- owners that cannot be asked


def _from_dlpack(value):
    array = np.from_dlpack(value)
    try:
        array.setflags(write=True)
    except ValueError:
        pytest.skip("what comes by DLPack is read-only for ever in this release of NumPy")
    return array


def _capsule(value):
    return _from_dlpack(value.copy())


def _an_address(value):
    kept.append(value.copy())
    return np.frombuffer((ctypes.c_byte * value.nbytes).from_address(kept[-1].ctypes.data), value.dtype)


def _a_pointer(value):
    kept.append(value.copy())
    return np.ctypeslib.as_array(kept[-1].ctypes.data_as(ctypes.POINTER(ctypes.c_float)), value.shape)


class Silent:
    """Says where its memory lies once, and never again."""

    def __init__(self, value):
        self.held = value.copy()
        self.__array_interface__ = self.held.__array_interface__


def _c_code(value):
    """An array of whose memory Python knows no owner."""
    array = value.copy()
    flags = ctypes.c_int.from_address(id(array) + 64)
    assert flags.value & 4
    flags.value &= ~4
    assert array.base is None and not array.flags.owndata
    return array


def _silent(value):
    owner = Silent(value)
    array = np.asarray(owner)
    del owner.__array_interface__
    return array


kept: list = []
SILENT = pytest.mark.parametrize(
    ("make", "owner"),
    [(_capsule, "a PyCapsule"), (_an_address, "a c_byte_Array_"), (_a_pointer, "a c_float_Array_"),
     (_silent, "a Silent"), (_c_code, "C code")],
    ids=["capsule", "address", "pointer", "silent", "C code"],
)  # fmt: skip


@pytest.fixture
def told_anew(monkeypatch):
    monkeypatch.setattr(losses, "_SAID", set())


@SILENT
@CLIPPED
def test_memory_of_an_owner_that_cannot_be_asked_is_none_for_compiled_code(make, owner, options, told_anew):
    """NumPy, which trusts it, computes with it, and the report and a warning say so."""
    plain, parameter, gradient = np.ones(50, np.float32), make(np.ones(50, np.float32)), np.full(50, 0.5, np.float32)
    assert has_memory(parameter) is None
    _stepped(plain, gradient, "auto", options)
    with pytest.warns(gradwise.PerformanceWarning, match="numpy.from_dlpack") as caught:
        optimizer = _stepped(parameter, gradient, "auto", options)
    assert len([each for each in caught if each.category is gradwise.PerformanceWarning]) == 1
    assert optimizer.fusion.lane is None
    (group,) = optimizer.execution_report()
    assert group.way == "eager"
    assert group.reason.startswith(f"'variable_0' lies in memory of {owner}") and "cannot be asked" in group.reason
    assert parameter.tobytes() == plain.tobytes()
    with pytest.raises(RuntimeError, match="cannot be asked"):
        _stepped(parameter, gradient, True, options)


@SILENT
@CLIPPED
def test_gradients_of_an_owner_that_cannot_be_asked_are_copied(make, owner, options, told_anew):
    plain, parameter, gradient = np.ones(50, np.float32), np.ones(50, np.float32), np.full(50, 0.5, np.float32)
    _stepped(plain, gradient, "auto", options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = _stepped(parameter, make(gradient), "auto", options)
    assert parameter.tobytes() == plain.tobytes()
    assert [str(group).split(":")[0] for group in optimizer.execution_report()] == ["fused"]
    lane = optimizer.fusion.lane
    assert lane is not None
    assert lane.prepared(optimizer, [make(gradient)], [parameter])


@SILENT
@pytest.mark.parametrize("clipped", [False, True])
def test_functional_steps_on_memory_of_an_owner_that_cannot_be_asked(make, owner, clipped, told_anew):
    ends, options = [], {"global_clipnorm": 1.0} if clipped else {}
    for make_own, warned in ((np.copy, 0), (make, 1)):
        optimizer, parameter = Adam(0.1, **options), make_own(np.ones(20_000, np.float32))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state = optimizer.init(parameter)
            for _ in range(3):
                parameter, state = optimizer.step(
                    make_own(parameter), make_own(np.full(20_000, 0.5, np.float32)), state
                )
        assert len(caught) == warned
        ends.append(parameter)
    assert ends[0].tobytes() == ends[1].tobytes()


@pytest.mark.torch
def test_arrays_over_tensors_that_give_their_memory_back():
    """What shares a tensor's memory through DLPack stays out of compiled code, which nobody could stop in time."""
    tensor = _tensor(50)
    parameter = _from_dlpack(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gradwise.PerformanceWarning)
        optimizer = _stepped(parameter, np.ones(50, np.float32), "auto", {})
    assert tensor.tolist() == parameter.tolist() and tensor[0] < 1
    assert optimizer.fusion.lane is None
    backend = backend_of(parameter)
    assert backend.address(parameter, "float32", (50,), None, write=True) is None
    look = backend.lookout([(50,)], [None], ["float32"] * 2)
    assert look([parameter], [np.ones(50, np.float32)]) is None
    assert look([np.ones(50, np.float32)], [parameter]) is None


def _shared_by_processes():
    return np.frombuffer(sharedctypes.RawArray("f", 50), np.float32)


def _part_of_a_structure():
    class Pair(ctypes.Structure):
        _fields_ = [("one", ctypes.c_float * 50), ("two", ctypes.c_float * 50)]

    return np.frombuffer(Pair().two, np.float32)


def _tensor_as_array():
    return np.asarray(_tensor(50))


def _numpy_of_a_tensor():
    return _tensor(100)[50:].numpy()


ASKED = [
    lambda: np.zeros(50, np.float32),
    lambda: np.zeros((5, 100), np.float32).T[::2][:50],
    lambda: np.frombuffer(bytearray(200), np.float32),
    lambda: np.frombuffer(memoryview(bytearray(400))[200:], np.float32),
    lambda: np.frombuffer(bytes(200), np.float32),
    lambda: np.frombuffer(mmap.mmap(-1, 200), np.float32),
    lambda: np.asarray(memoryview(np.zeros((50, 2), np.float32).T)[0:1]),
    lambda: np.lib.stride_tricks.sliding_window_view(np.zeros(50, np.float32), 3),
    lambda: np.broadcast_to(np.zeros(50, np.float32), (3, 50)),
    lambda: np.frombuffer(standard_array.array("f", [0.0] * 50), np.float32),
    lambda: np.zeros(0, np.float32)[0:0],
    lambda: np.asfortranarray(np.zeros((5, 10), np.float32))[1:],
    _shared_by_processes,
    _part_of_a_structure,
    pytest.param(_tensor_as_array, marks=pytest.mark.torch),
    pytest.param(_numpy_of_a_tensor, marks=pytest.mark.torch),
]


@pytest.mark.parametrize("make", ASKED)
def test_owners_that_can_be_asked(make):
    assert has_memory(make()) is True
