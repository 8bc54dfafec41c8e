"""Parameters, slots and gradients of 16 bits in one pass: read where they lie, computed in float32, rounded once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.backend_table import array, numpy_dtype, read
from helpers.user_optimizers import Lamb

from gradwise.backends import sixteen_bits
from gradwise.backends.numpy import NumpyBackend
from gradwise.optimizers import SGD, Adam
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.fast
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
NARROW = ["bfloat16", "float16"]
SHAPES = [(3, 5), (), (0, 2), (7,), (1200,)]


def values(seed, dtype, scale=1.0):
    generator = np.random.default_rng(seed)
    made = [np.asarray(generator.normal(size=shape) * scale * 10.0 ** generator.integers(-5, 2, size=shape), np.float32)
            for shape in SHAPES]  # fmt: skip
    return [each.astype(numpy_dtype(dtype)) for each in made]


def compare(library, make, dtype, kinds=None, steps=4, way="fused"):
    """Steps have the bits of whole arrays of NumPy that were widened, computed and rounded."""
    plain, narrow = values(0, dtype), [array(library, value) for value in values(0, dtype)]
    expected, optimizer, lanes = make(jit_compile=False), make(), []
    for step in range(steps):
        gradients = values(step + 1, (kinds or [dtype])[step % len(kinds or [dtype])], 0.1)
        expected.apply(gradients, plain)
        optimizer.apply([array(library, each) for each in gradients], narrow)
        lanes.append(optimizer.fusion.lane)
        assert [read(each).tobytes() for each in narrow] == [each.tobytes() for each in plain]
    assert {group.way for group in optimizer.execution_report()} == {way}
    return optimizer, lanes


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_every_algorithm(library, dtype, algorithm):
    _, lanes = compare(library, lambda **keywords: algorithm(0.01, **keywords), dtype)
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("slots", ["bfloat16", "float16", "float32"])
def test_slots_of_every_dtype(library, dtype, slots):
    compare(library, lambda **keywords: Adam(0.01, slot_dtype=slots, use_ema=True, **keywords), dtype)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("slots", [*NARROW, "float32"])
def test_slots_beside_parameters_of_double_precision(library, slots):
    compare(library, lambda **keywords: Adam(0.01, slot_dtype=slots, **keywords), "float64")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [*NARROW, "float32", "float64"])
@pytest.mark.parametrize("kind", [*NARROW, "float32", "float64"])
def test_gradients_of_every_dtype_are_read_as_they_are(library, dtype, kind, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a copy was made")

    monkeypatch.setattr(NumpyBackend, "plain_copy", refuse)
    if library == "torch":
        from gradwise.backends.torch.backend import TorchBackend

        monkeypatch.setattr(TorchBackend, "plain_copy", refuse)
    _, lanes = compare(library, lambda **keywords: Adam(0.01, **keywords), dtype, [kind])
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_whose_dtype_changes(library):
    compare(library, lambda **keywords: Adam(0.01, **keywords), "bfloat16", ["bfloat16", "float32"], steps=6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", NARROW)
def test_sums(library, dtype):
    compare(library, lambda **keywords: Lamb(0.01, **keywords), dtype)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("broken", [False, True], ids=["no compiler", "it fails"])
def test_without_the_compiler(library, dtype, broken, monkeypatch):
    from gradwise.backends.kernels import kernel
    from gradwise.optimizers.core.fused import plan

    if broken:
        monkeypatch.setattr(kernel, "kernel_of", lambda *arguments, **keywords: None)
    else:
        monkeypatch.setattr(plan, "has_numba", lambda: False)
    compare(library, lambda **keywords: Adam(0.01, **keywords), dtype, way="fused" if broken else "blocks")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", NARROW)
def test_what_is_no_number_or_no_normal_one(library, dtype):
    kind = numpy_dtype(dtype)
    every = np.arange(2**16, dtype=np.uint16).view(kind)
    w, expected = array(library, every), every.copy()
    for rate in (0.0, 0.5):
        for gradient in (np.zeros(2**16, kind), every[::-1].copy()):
            SGD(rate).apply([array(library, gradient)], [w])
            SGD(rate, jit_compile=False).apply([gradient], [expected])
            found, numbers = read(w), ~np.isnan(expected.astype(np.float32))
            assert (np.isnan(found.astype(np.float32)) == ~numbers).all()
            assert found[numbers].tobytes() == expected[numbers].tobytes()


@pytest.mark.parametrize("library", LIBRARIES)
def test_memory_of_any_order(library):
    w, expected = (np.arange(12).reshape(3, 4).astype(numpy_dtype("bfloat16")) for _ in range(2))
    laid = array(library, w.T.copy()).T
    optimizer, eager = Adam(0.1), Adam(0.1, jit_compile=False)
    for step in range(3):
        gradient = (np.arange(12).reshape(3, 4) - step).astype(numpy_dtype("bfloat16"))
        optimizer.apply([array(library, gradient)], [laid])
        eager.apply([gradient], [expected])
        assert read(laid).tobytes() == expected.tobytes()
    assert [group.way for group in optimizer.execution_report()] == ["fused"]


def test_a_gradient_in_memory_that_is_written_as_another_dtype():
    memory = np.arange(1.0, 9.0, dtype=np.float32)
    expected, gradient = memory.copy(), memory.view(np.float16)[:8]
    copied = gradient.copy()
    SGD(0.5).apply([gradient], [memory])
    SGD(0.5, jit_compile=False).apply([copied], [expected])
    assert memory.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("dtype", "slots", "traffic"), [("bfloat16", None, 22), ("float16", "float16", 14)])
def test_the_report_counts_bytes_as_they_are_stored(dtype, slots, traffic):
    optimizer = Adam(0.1, slot_dtype=slots)
    w = np.ones(3, numpy_dtype(dtype))
    optimizer.apply([w.copy()], [w])
    assert [group.bytes_per_parameter for group in optimizer.execution_report()] == [traffic]


@pytest.mark.torch
def test_the_torch_front_end_takes_the_short_way():
    import torch

    from gradwise.frontends import torch as front

    w = torch.nn.Parameter(torch.linspace(-1, 1, 50, dtype=torch.bfloat16))
    optimizer = front.AdamW([w])
    lanes = []
    for step in range(3):
        w.grad = torch.full_like(w, 0.1 * step)
        version = w._version
        optimizer.step()
        assert w._version > version
        lanes.append(optimizer._engines[0]._rule.fusion.lane)
    assert lanes[0] is not None and all(lane is lanes[0] for lane in lanes)


def test_upper_halves_of_numbers():
    every = np.arange(2**16, dtype=np.uint16)
    wide = sixteen_bits.widened(every)
    assert (wide.view(np.uint32) == every.astype(np.uint32) << 16).all()
    numbers = ~np.isnan(wide)
    assert (sixteen_bits.narrowed(wide)[numbers] == every[numbers]).all()


CONVERSIONS = """
import sys
import numpy as np, ml_dtypes
from gradwise.backends.kernels.compiled import compile_kernel
from gradwise.backends.programs.program import Program
from gradwise.backends.sixteen_bits import narrowed
COPY = Program(2, (), ((1, 0),), (), (), (), ())
def copied(given, taken, *stored):
    kernel, _ = compile_kernel(COPY, "float32", stored)
    addresses = np.array([[given.ctypes.data, taken.ctypes.data]])
    kernel(np.array([[0, 0, given.size, 0]]), addresses, np.empty((1, 0)), np.empty((0, 0)))
generator = np.random.default_rng(0)
near = np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
every = np.arange(2**16, dtype=np.uint32)
drawn = [(every << 16) + each for each in near] + [generator.integers(0, 2**32, 2**18, dtype=np.uint32)]
drawn += [(generator.normal(size=2**17) * 10.0 ** generator.integers(-9, 6, 2**17)).astype(np.float32).view(np.uint32)]
words = np.concatenate(drawn)
for name, kind in (("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)):
    wide = np.empty(2**16, np.float32)
    copied(every.astype(np.uint16), wide, name, "float32")
    expected = every.astype(np.uint16).view(kind).astype(np.float32)
    assert np.array_equal(np.isnan(wide), np.isnan(expected)), name
    assert (wide.view(np.uint32) == expected.view(np.uint32))[~np.isnan(wide)].all(), name
    numbers, short = words.view(np.float32), np.empty(words.size, np.uint16)
    copied(numbers, short, "float32", name)
    with np.errstate(all="ignore"):
        expected = numbers.astype(kind)
    known = ~np.isnan(numbers)
    assert np.isnan(short.view(kind)[~known].astype(np.float32)).all(), name
    assert (short == expected.view(np.uint16))[known].all(), name
    assert name != "bfloat16" or (narrowed(numbers) == short).all()
"""


@pytest.mark.parametrize("processor", ["this", "generic"])
def test_compiled_conversions(processor, tmp_path):
    """Also on a processor that has no instructions for half precision."""
    changes = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""} if processor == "generic" else {}
    surroundings = {**os.environ, **changes, "GRADWISE_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "error", "-c", CONVERSIONS], env=surroundings, check=True)


@pytest.mark.parametrize("dtype", NARROW)
def test_on_a_generic_processor(dtype, tmp_path):
    program = (
        "import numpy as np, ml_dtypes, hashlib\n"
        "from gradwise.optimizers import Adam\n"
        f"w = np.linspace(-1, 1, 1001).astype(ml_dtypes.bfloat16 if '{dtype}' == 'bfloat16' else np.float16)\n"
        "optimizer = Adam(0.01, jit_compile=True)\n"
        "for _ in range(3): optimizer.apply([w.copy()], [w])\n"
        "assert {group.way for group in optimizer.execution_report()} == {'fused'}\n"
        "print(hashlib.sha256(w.tobytes()).hexdigest())\n"
    )
    found = set()
    for changes in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}):
        surroundings = {**os.environ, **changes, "GRADWISE_CACHE_DIR": str(tmp_path)}
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=surroundings, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        found.add(ended.stdout)
    assert len(found) == 1


@pytest.mark.torch
def test_groups_of_several_dtypes_step_together():
    import torch

    from gradwise.frontends import torch as front

    kinds = [torch.bfloat16, torch.float32, torch.float16, torch.bfloat16]

    def made():
        return [torch.nn.Parameter(torch.linspace(-1, 1, 50 + k).to(kind)) for k, kind in enumerate(kinds)]

    together, apart = made(), made()
    optimizers = [front.AdamW([{"params": [each], "lr": 0.01 * (k + 1)} for k, each in enumerate(together)])]
    optimizers += [front.AdamW([each], lr=0.01 * (k + 1)) for k, each in enumerate(apart)]
    for step in range(4):
        for one, other in zip(together, apart, strict=True):
            one.grad, other.grad = (torch.full_like(one, 0.1 * step - 0.15) for _ in range(2))
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(one, other) for one, other in zip(together, apart, strict=True))
