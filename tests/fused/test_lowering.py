"""What a program's loop computes: each operation, number for number, as NumPy does it on whole arrays."""

import itertools

import numpy as np
import pytest

pytest.importorskip("llvmlite")
from gradwise.backends import sums
from gradwise.backends.kernels.compiled import compile_kernel
from gradwise.backends.programs.blocks import BlockRunner
from gradwise.backends.programs.program import ELEMENTWISE, Program

pytestmark = pytest.mark.fast

COUNTS = {"negative": 1, "square": 1, "sqrt": 1, "abs": 1, "sign": 1, "fill": 1, "select": 3}
"""Of operands, where there are not two."""
LONG = 1000
"""Elements: more than one stride, and some that are left over."""


def special(dtype):
    info = np.finfo(dtype)
    least = info.tiny, info.smallest_subnormal
    return [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, info.max, -info.max, *least, np.inf, -np.inf, np.nan]


def run(program, dtype, arrays, scalars=()):
    """What the kernel writes, or gives as sums of blocks."""
    kernel, _ = compile_kernel(program, dtype, (dtype,) * program.inputs)
    size = arrays[0].size
    found = np.full((-(-size // sums.BLOCK), len(program.reductions)), -1.0)
    addresses = np.array([[array.ctypes.data for array in arrays]])
    kernel(np.array([[0, 0, size, 0]]), addresses, np.array([scalars], dtype=np.float64), found)
    return found


def of_operation(name, kinds):
    """A program that writes an operation's result to its last input; a comparison's as a choice between two inputs."""
    operands, arrays, scalars = [], 0, 0
    for kind in kinds:
        operands.append((kind, arrays if kind == "array" else scalars))
        arrays, scalars = arrays + (kind == "array"), scalars + (kind == "scalar")
    target = max(arrays, 1)
    operations = [(name, tuple(operands))]
    if name in ("less", "less_equal", "greater", "greater_equal"):
        operations.append(("select", (("array", target + 1), ("array", 0), ("array", target))))
    outputs = ((target, target + len(operations)),)
    return Program(target + 1, tuple(operations), outputs, tuple(range(scalars)), (), (0.0,) * scalars, ())


def cases():
    for name in ELEMENTWISE:
        count = COUNTS.get(name, 2)
        for kinds in itertools.product(("array", "scalar"), repeat=count):
            if (name == "fill") == (kinds == ("scalar",)):
                yield pytest.param(name, kinds, id=f"{name}-{'-'.join(kinds)}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, kinds", list(cases()))
def test_every_operation_has_the_bits_of_numpy(name, kinds, dtype):
    program = of_operation(name, kinds)
    values = special(dtype)
    for scalars in itertools.product([-0.0, 0.75, np.inf], repeat=len(program.scalars)):
        drawn = [values, [value for value in values for _ in values], np.random.default_rng(0).normal(size=23)]
        arrays = [np.resize(np.asarray(drawn[k % 3], dtype), LONG) for k in range(program.inputs)]
        expected = [array.copy() for array in arrays]
        with np.errstate(all="ignore"):
            BlockRunner(program, dtype, (dtype,) * program.inputs).write(expected, scalars)
        run(program, dtype, arrays, scalars)
        for ours, theirs in zip(arrays, expected, strict=True):
            known = ~np.isnan(theirs)
            assert np.array_equal(np.isnan(ours), ~known) and ours[known].tobytes() == theirs[known].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 511, 512, 513, sums.BLOCK, 2 * sums.BLOCK + 700])
def test_sums_have_the_bits_of_their_definition(size, dtype):
    """Two at a time, one of them of what was computed."""
    difference = ("subtract", (("array", 0), ("array", 1)))
    program = Program(2, (difference,), (), (), ("a", "b"), (), (), (("a", 2), ("b", 1)))
    one, two = np.random.default_rng(size).normal(size=(2, size)).astype(dtype)
    found = run(program, dtype, [one, two])
    for column, array in zip(found.T.tolist(), (one - two, two), strict=True):
        assert sums.added_in_order(column) == sums.by_numpy(array)


def test_each_row_may_have_scalars_of_its_own_and_nothing_beside_it_is_touched():
    program = Program(1, (("multiply", (("array", 0), ("scalar", 0))),), ((0, 1),), (0,), ("factor",), (), ())
    kernel, _ = compile_kernel(program, "float32", ("float32",))
    arrays = [np.ones(size, np.float32) for size in (3, 700, 5)]
    addresses = np.array([[array.ctypes.data] for array in arrays])
    work = np.array([[0, 1, 2, 0], [1, 0, 700, 0], [2, 5, 5, 0]])
    kernel(work, addresses, np.array([[2.0], [3.0], [4.0]]), np.empty((0, 0)))
    assert arrays[0].tolist() == [1.0, 2.0, 1.0] and set(arrays[1]) == {3.0} and set(arrays[2]) == {1.0}
    kernel(work, addresses, np.array([[2.0]]), np.empty((0, 0)))
    assert arrays[0].tolist() == [1.0, 4.0, 1.0] and set(arrays[1]) == {6.0}
