"""Rules with sums over whole arrays: passes that read before the one that writes, with the bits of whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.backend_table import array, numpy_dtype, read
from helpers.selection import crossing
from helpers.user_optimizers import Lamb

from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, Nadam, Optimizer

pytestmark = pytest.mark.fast
SHAPES = [(), (0,), (7,), (40, 500), (70_000,)]


class Lars(Optimizer):
    """A layer's rate in proportion to the ratio of norms."""

    def update_step(self, gradient, variable, learning_rate):
        ratio = ops.norm(variable) / (ops.norm(gradient) + 1e-3)
        self.assign_sub(variable, gradient * (learning_rate * ratio))


class Twice(Optimizer):
    """A sum over what another sum has scaled."""

    def update_step(self, gradient, variable, learning_rate):
        scaled = gradient / (1.0 + ops.norm(gradient))
        self.assign_sub(variable, scaled * (learning_rate * (1.0 + ops.sum_of_squares(scaled - variable))))


class Distance(Optimizer):
    """What `begin_step` adds up over all parameters sets the rate of the step."""

    def build(self, variables):
        super().build(variables)
        self.distance = self.add_scalar("distance", 1.0)
        self.count = self.add_scalar("count", 0)

    def begin_step(self, gradients, variables, learning_rate):
        total = 0.0
        for gradient, variable in zip(gradients, variables, strict=True):
            total = total + ops.sum_of_squares(gradient - variable)
        self.assign(self.distance, ops.maximum(self.distance, ops.sqrt(total)))
        self.assign_add(self.count, 1)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate / self.distance))


RULES = [Lars, Lamb, Twice, Distance]
OPTIONS = {
    "plain": {},
    "global_clipnorm": {"global_clipnorm": 0.7, "weight_decay": 0.1, "loss_scale_factor": 4.0},
    "clipnorm": {"clipnorm": 0.3},
}


def values(step):
    generator = np.random.default_rng(step)
    return [np.asarray(generator.normal(size=shape) * 0.1 + 0.05, np.float32) for shape in SHAPES]


def run(rule, library="numpy", dtype="float32", steps=3, **options):
    optimizer = rule(learning_rate=0.1, **options)
    weights = [array(library, value.astype(numpy_dtype(dtype))) for value in values(0)]
    for step in range(1, steps + 1):
        optimizer.apply([array(library, value.astype(numpy_dtype(dtype))) for value in values(step)], weights)
    return optimizer, weights


def bits(weights):
    return [read(weight).tobytes() for weight in weights]


@crossing(("rule", "option", "dtype"), RULES, list(OPTIONS), ["float32", "float64", "bfloat16"])
def test_the_bits_of_whole_arrays(rule, option, dtype, monkeypatch):
    from gradwise.backends.kernels import table

    options = OPTIONS[option]
    _, expected = run(rule, dtype=dtype, jit_compile=False, **options)
    for threads, from_size in (("1", 10**9), ("3", 1)):
        monkeypatch.setenv("GRADWISE_NUM_THREADS", threads)
        monkeypatch.setattr(table, "_THREADED_FROM", from_size)
        optimizer, weights = run(rule, dtype=dtype, jit_compile=True, **options)
        assert bits(weights) == bits(expected)
        assert [group.way for group in optimizer.execution_report()] == ["fused"]


@pytest.mark.parametrize("rule", RULES)
def test_blocks_without_numba(rule, monkeypatch):
    from gradwise.optimizers.core.fused import plan

    _, expected = run(rule, jit_compile=False)
    monkeypatch.setattr(plan, "has_numba", lambda: False)
    optimizer, weights = run(rule, jit_compile=True)
    assert bits(weights) == bits(expected)
    assert [group.way for group in optimizer.execution_report()] == ["blocks"]


@pytest.mark.torch
@pytest.mark.parametrize("rule", RULES)
def test_torch_tensors_give_the_bits_of_numpy_arrays(rule):
    _, expected = run(rule, jit_compile=False)
    optimizer, weights = run(rule, "torch", jit_compile=True)
    assert bits(weights) == bits(expected)
    assert optimizer.fusion.lane is not None or rule is Distance


@pytest.mark.torch
@pytest.mark.parametrize("rule", RULES)
def test_multi_tensor_functions_add_up_where_the_tensors_are(rule, monkeypatch):
    """What runs on devices, here made to run on the CPU."""
    from gradwise.backends.torch.backend import TorchBackend

    _, expected = run(rule, jit_compile=False)
    monkeypatch.setattr(TorchBackend, "address", lambda self, *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "lookout", lambda *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "takes_programs", lambda self, array: True)
    optimizer, weights = run(rule, "torch")
    assert {group.way for group in optimizer.execution_report()} == {"foreach"}
    for weight, own in zip(weights, expected, strict=True):
        np.testing.assert_allclose(read(weight), own, rtol=2e-6, atol=1e-6)


@pytest.mark.jax
@pytest.mark.parametrize("rule", RULES)
def test_jax_adds_up_inside_its_compiled_step(rule):
    import jax.numpy as jnp

    _, expected = run(rule, jit_compile=False)
    optimizer = rule(learning_rate=0.1, jit_compile=True)
    weights = [Variable(jnp.asarray(value)) for value in values(0)]
    for step in range(1, 4):
        optimizer.apply([jnp.asarray(value) for value in values(step)], weights)
    assert {group.way for group in optimizer.execution_report()} == {"jit"}
    for weight, own in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), own, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("step", range(1, 3))
def test_passes_are_counted_and_printed(step):
    optimizer, weights = run(Lamb, steps=step)
    # Reading takes parameter, gradient and two slots; writing reads them again and writes three.
    assert optimizer.execution_report()[0].bytes_per_parameter == 4 * (4 + 4 + 3)
    printed = str(optimizer.program_of(weights[0]))
    assert "sum_of_squares_0 = sum_of_squares(a0)" in printed and "write a0 <- " in printed


def test_begin_step_is_recorded():
    for rule, options in ((Distance, {}), (Nadam, {}), (Nadam, {"convention": "torch"})):
        optimizer, _ = run(rule, **options)
        assert optimizer.execution_report().begin_step is None
        assert isinstance(optimizer.iterations, int)
    assert optimizer.fusion.lane is not None
    optimizer, _ = run(Distance)
    assert (type(optimizer.count.value), optimizer.count.value) == (int, 3)


def test_a_begin_step_that_cannot_be_recorded_runs_by_whole_arrays(monkeypatch):
    # As where processes hold a parameter together: what counts in a list is refused elsewhere.
    monkeypatch.setattr("gradwise.optimizers.core.step.is_to_be_tried", lambda rule: False)

    class Counting(Distance):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            self.calls = []

        def begin_step(self, gradients, variables, learning_rate):
            self.calls.append(1)
            super().begin_step(gradients, variables, learning_rate)
            self.assign_add(self.count, len(self.calls))

    class Writing(Distance):
        def begin_step(self, gradients, variables, learning_rate):
            super().begin_step(gradients, variables, learning_rate)
            self.assign(variables[0], variables[0] * 0.5)

    for rule, reason in ((Counting, "not the same twice"), (Writing, "writes arrays")):
        optimizer, weights = run(rule)
        assert reason in optimizer.execution_report().begin_step and reason in str(optimizer.execution_report())
        assert bits(weights) == bits(run(rule, jit_compile=False)[1])
    assert len(run(Counting)[0].calls) == 3


def test_a_missing_gradient_and_one_of_another_dtype():
    results = []
    for jit_compile in (False, "auto"):
        optimizer = Distance(learning_rate=0.1, jit_compile=jit_compile)
        weights = [np.ones(3, np.float32), np.ones(4, np.float16), np.ones(5)]
        for step in range(4):
            gradients = [np.full_like(weight, 0.1 * (step + 1)) for weight in weights]
            if step == 2:
                gradients[0] = None
                with pytest.warns(UserWarning, match="Gradients do not exist"):
                    optimizer.apply(gradients, weights)
            else:
                optimizer.apply(gradients, weights)
        results.append([*bits(weights), optimizer.distance.value])
    assert results[0] == results[1]


def test_a_sum_that_overflows_or_divides_by_zero_changes_nothing():
    class Dividing(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * (learning_rate / ops.norm(gradient)))

    weights = [np.ones(3), np.ones(3)]
    optimizer = Dividing(0.1)
    optimizer.apply([np.ones(3), np.ones(3)], weights)
    before = bits(weights)
    with pytest.raises(ZeroDivisionError):
        optimizer.apply([np.ones(3), np.zeros(3)], weights)
    assert bits(weights) == before and optimizer.iterations == 1


def test_clipping_reads_the_gradients_once_more_and_copies_nothing():
    import tracemalloc

    weights = [np.ones(1_000_000, np.float32)]
    gradients = [np.full(1_000_000, 0.5, np.float32)]
    for kind in (SGD, Adam):
        optimizer = kind(0.1, global_clipnorm=1.0, jit_compile=True)
        # The second looks for the first time whether memory lies as before, which may have to be compiled.
        optimizer.apply(gradients, weights)
        optimizer.apply(gradients, weights)
        tracemalloc.start()
        optimizer.apply(gradients, weights)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.02 * weights[0].nbytes
