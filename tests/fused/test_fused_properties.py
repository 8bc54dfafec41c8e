"""Property tests: whatever is drawn, a fused step gives the bits of whole arrays."""

from __future__ import annotations

from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from helpers.every_convention import existing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gradwise.backends import ops
from gradwise.backends.kernels import table
from gradwise.optimizers import Optimizer
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.fast

SHAPES = st.lists(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=40), min_size=1, max_size=3)
SETTINGS = st.fixed_dictionaries(
    {"learning_rate": st.floats(0, 10), "use_ema": st.booleans(),
     "loss_scale_factor": st.none() | st.floats(1e-3, 1e3)},
    optional={"clipnorm": st.floats(1e-6, 1e3), "weight_decay": st.floats(0, 1)},
) | st.fixed_dictionaries({"learning_rate": st.floats(0, 10), "global_clipnorm": st.floats(1e-6, 1e3)})  # fmt: skip


def same_bits(a, b):
    """Equal bits; NaNs are equal whatever they carry."""
    same = np.ascontiguousarray(a).view(f"u{a.itemsize}") == np.ascontiguousarray(b).view(f"u{b.itemsize}")
    same = same.reshape(a.shape)
    return a.dtype == b.dtype and bool(np.all(same | (a != a) & (b != b)))


def contiguous(array):
    return array


def strided(array):
    """Every other element of a longer array."""
    longer = np.zeros((*array.shape[:-1], 2 * array.shape[-1]) if array.ndim else (), array.dtype)
    part = longer[..., ::2] if array.ndim else longer
    part[...] = array
    return part


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    part = memory[1:].view(array.dtype).reshape(array.shape)
    part[...] = array
    return part


def column_major(array):
    return np.array(array, order="F")


LAYOUTS = (contiguous, strided, column_major, unaligned)


def run(make, shapes, dtype, draw, steps, layouts=(contiguous, contiguous)):
    optimizer = make()
    parameters = [layouts[0](draw(shape, dtype, position)) for position, shape in enumerate(shapes)]
    for step in range(steps):
        gradients = [draw(shape, dtype, 100 * (step + 1) + position) for position, shape in enumerate(shapes)]
        optimizer.apply([layouts[1](gradient) for gradient in gradients], parameters)
    return [*parameters, *(np.asarray(cell) for cell in optimizer.variables)]


def drawer(seed, special):
    """Arrays over many magnitudes, with a share of zeros of both signs, subnormals, infinities and NaN if asked for."""

    def draw(shape, dtype, number):
        rng = np.random.default_rng((seed, number))
        array = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-12, 4, size=shape))
        choices = np.array([0.0, -0.0, 1e-310, 1e-40, -1e-45] + ([np.inf, -np.inf, np.nan] if special else []))
        replaced = rng.random(size=shape) < 0.2
        array = np.where(replaced, rng.choice(choices, size=shape), array)
        with np.errstate(all="ignore"):
            return np.asarray(array, dtype)

    return draw


@settings(max_examples=60, deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    keywords=SETTINGS,
    shapes=SHAPES,
    dtype=st.sampled_from([np.float32, np.float64, np.float16, ml_dtypes.bfloat16]),
    seed=st.integers(0, 2**31),
    special=st.booleans(),
    threads=st.integers(1, 4),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
)
def test_every_algorithm(algorithm, keywords, shapes, dtype, seed, special, threads, layouts):
    keywords = existing(algorithm, keywords)
    expected = run(lambda: algorithm(jit_compile=False, **keywords), shapes, dtype, drawer(seed, special), 3)
    # Parameters that do not lie plainly are updated by whole arrays; gradients are copied.
    fused = True if layouts[0] is contiguous else "auto"
    with (
        mock.patch.object(table, "_THREADED_FROM", 1),
        mock.patch.object(table, "thread_count", lambda: threads),
    ):
        result = run(lambda: algorithm(jit_compile=fused, **keywords), shapes, dtype, drawer(seed, special), 3, layouts)
    assert all(map(same_bits, result, expected))


OPERATIONS = (
    lambda a, b, r: a + b, lambda a, b, r: a - b * r, lambda a, b, r: a * b, lambda a, b, r: a / (ops.absolute(b) + r),
    lambda a, b, r: ops.sqrt(ops.absolute(a)) - b, lambda a, b, r: ops.square(a) * 0.5, lambda a, b, r: -a,
    lambda a, b, r: ops.sign(a) * b, lambda a, b, r: ops.where(ops.less(a, b), a, b * r),
    lambda a, b, r: ops.where(ops.greater_equal(a, 0.1), 1.0, b), lambda a, b, r: 1.0 / (1.0 + a * a),
    lambda a, b, r: ops.clip(a, -1.5, 2.5), lambda a, b, r: ops.maximum(a, b + 1.0),
    lambda a, b, r: ops.zeros_like(a) + r, lambda a, b, r: a**2 - 3.0,
    lambda a, b, r: a * (r / (1.0 + ops.norm(b))), lambda a, b, r: b + ops.sqrt(ops.sum_of_squares(a) + 0.5) * a,
    lambda a, b, r: a * ops.where(ops.norm(a) > ops.norm(b), 0.5, 1.5),
)  # fmt: skip


class Drawn(Optimizer):
    """A rule made of drawn operations on the gradient, the parameter and a slot."""

    def __init__(self, choices, **keywords):
        super().__init__(**keywords)
        self.choices = choices

    def build(self, variables):
        super().build(variables)
        self.slots = self.add_optimizer_variables(variables, "slot")

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slots[self._get_variable_index(variable)]
        values = [gradient, variable.value, slot.value]
        for operation, first, second in self.choices:
            operands = values[first % len(values)], values[second % len(values)]
            values.append(OPERATIONS[operation](*operands, learning_rate))
        self.assign(slot, values[-1])
        self.assign_sub(variable, values[-2] * learning_rate)


@settings(max_examples=40, deadline=None)
@given(
    choices=st.lists(
        st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6
    ),
    shapes=SHAPES,
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**31),
)
def test_every_program(choices, shapes, dtype, seed):
    keywords = {"choices": choices, "learning_rate": 0.3}
    expected = run(lambda: Drawn(jit_compile=False, **keywords), shapes, dtype, drawer(seed, False), 2)
    result = run(lambda: Drawn(jit_compile=True, **keywords), shapes, dtype, drawer(seed, False), 2)
    assert all(map(same_bits, result, expected))
