"""One pass over memory: the same bits as whole arrays, and never where it would not be safe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.backend_table import array, distance, numpy_dtype, read, unit, wide
from helpers.drawn_runs import distances as distances_of_runs
from helpers.every_convention import existing
from helpers.selection import crossing, taking_turns

from gradwise import schedules
from gradwise.backends import Variable, ops
from gradwise.backends.kernels import kernel, table
from gradwise.optimizers import SGD, Adam, Nadam, Optimizer, RMSprop
from gradwise.optimizers.registry import ALGORITHMS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.fast
OPTIONS = {
    "plain": {},
    "everything": {
        "use_ema": True, "ema_overwrite_frequency": 3, "global_clipnorm": 0.7, "weight_decay": 0.01,
        "loss_scale_factor": 8.0, "decay": 0.1,
    },
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue, accumulation": {"clipvalue": 0.3, "gradient_accumulation_steps": 2},
}  # fmt: skip
SHAPES = [(), (0,), (1,), (7,), (3, 5), (17, 1, 4), (70_000,)]


def arrays(dtype, seed):
    rng = np.random.default_rng(seed)
    made = []
    for shape in SHAPES:
        array = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2, size=shape))
        array[rng.random(size=shape) < 0.1] = 0.0
        made.append(np.asarray(array, dtype))
    return made


def train(optimizer, convert, dtype, steps=4):
    parameters = [convert(array) for array in arrays(dtype, 0)]
    for step in range(steps):
        optimizer.apply([convert(array) for array in arrays(dtype, step + 1)], parameters)
    return [np.asarray(parameter) for parameter in parameters]


def same_bits(a, b):
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@crossing(("algorithm", "option", "dtype"), ALGORITHMS, [*OPTIONS], ["float32", "float64"])
def test_fused_gives_the_bits_of_whole_arrays(algorithm, option, dtype, monkeypatch):
    options, dtype = existing(algorithm, OPTIONS[option]), np.dtype(dtype)
    expected = train(algorithm(0.1, jit_compile=False, **options), np.array, dtype)
    for threads, threaded_from in (("1", 10**9), ("2", 1)):
        monkeypatch.setenv("GRADWISE_NUM_THREADS", threads)
        monkeypatch.setattr(table, "_THREADED_FROM", threaded_from)
        optimizer = algorithm(0.1, jit_compile=True, **options)
        assert same_bits(train(optimizer, np.array, dtype), expected)
        assert [group.way for group in optimizer.execution_report()] == ["fused"]


@pytest.mark.torch
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_torch_tensors_give_the_bits_of_numpy_arrays(algorithm):
    import torch

    options = existing(algorithm, {"global_clipnorm": 0.7, "weight_decay": 0.01})
    expected = train(algorithm(0.1, jit_compile=False, **options), np.array, np.float32)
    result = train(algorithm(0.1, jit_compile=True, **options), lambda array: torch.tensor(array), np.float32)
    assert same_bits(result, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
@pytest.mark.parametrize("keywords", [{}, {"slot_dtype": "bfloat16"}, {"use_ema": True, "clipnorm": 0.7}], ids=str)
def test_sixteen_bits_are_rounded_once_and_alike(library, dtype, keywords, monkeypatch):
    from gradwise.optimizers.core.fused import general

    def given(library, seed):
        return [array(library, value.astype(numpy_dtype(dtype))) for value in arrays(np.float32, seed)]

    def run(library, jit_compile):
        optimizer = Adam(0.01, jit_compile=jit_compile, **keywords)
        parameters, after = given(library, 0), []
        for step in range(3):
            optimizer.apply(given(library, step + 1), parameters)
            after.append([read(parameter).copy() for parameter in parameters])
        return optimizer, after

    monkeypatch.setattr(general, "_BATCH", 10)
    optimizer, (*_, result) = run(library, True)
    assert [group.way for group in optimizer.execution_report()] == ["fused"]
    assert same_bits(result, run("numpy", False)[1][-1])
    if library == "torch":
        # Torch's own root need not be the nearest number: float32 steps that are an eps apart may round to neighbours,
        # in each step, at the size that the parameter has then.
        apart = [0.0] * len(result)
        for ours, theirs in zip(run(library, True)[1], run(library, False)[1], strict=True):
            for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                largest = np.maximum(np.abs(wide(a)), np.abs(wide(b)))
                apart[number] = apart[number] + unit(largest, dtype)
                assert np.all(np.abs(wide(a) - wide(b)) <= apart[number])


def test_variables_of_numpy_arrays_are_fused_too():
    w = Variable(np.ones(3, np.float32))
    optimizer = Adam(0.1, jit_compile=True)
    optimizer.apply([np.ones(3, np.float32)], [w])
    plain = np.ones(3, np.float32)
    Adam(0.1, jit_compile=False).apply([np.ones(3, np.float32)], [plain])
    assert w.numpy().tobytes() == plain.tobytes()


# ---------------------------------------------------------------- the other ways of running a program


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_blocks_without_numba_give_the_same_bits(algorithm, options, monkeypatch):
    from gradwise.optimizers.core.fused import plan

    options = existing(algorithm, options)
    expected = train(algorithm(0.1, jit_compile=False, **options), np.array, np.float32)
    monkeypatch.setattr(plan, "has_numba", lambda: False)
    optimizer = algorithm(0.1, jit_compile=True, **options)
    assert same_bits(train(optimizer, np.array, np.float32), expected)
    assert [group.way for group in optimizer.execution_report()] == ["blocks"]


def test_an_input_written_to_another_is_read_first(monkeypatch):
    from gradwise.optimizers.core.fused import plan

    class Swapping(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.slots = self.add_optimizer_variables(variables, "slot")

        def update_step(self, gradient, variable, learning_rate):
            slot = self.slots[self._get_variable_index(variable)]
            old = variable.value
            self.assign(variable, slot.value)
            self.assign(slot, old)

    for with_numba in (True, False):
        monkeypatch.setattr(plan, "has_numba", lambda with_numba=with_numba: with_numba)
        w, optimizer = np.arange(3.0), Swapping(jit_compile=True)
        for expected in ([0.0, 0.0, 0.0], [0.0, 1.0, 2.0]):
            optimizer.apply([np.ones(3)], [w])
            assert w.tolist() == expected


def distances(a, b):
    """The largest of `backend_table.distance`, after a start from `arrays(np.float32, 0)`."""
    found = 0.0
    for x, y, before in zip(a, b, arrays(np.float32, 0), strict=True):
        if np.any(y) or np.any(before):
            found = max(found, distance(x, y, y - before))
        else:  # there is no unit
            assert not np.any(x)
    return found


@pytest.mark.jax
@crossing(
    ("algorithm", "options"),
    ALGORITHMS,
    [pytest.param(OPTIONS["plain"], id="plain"), pytest.param(OPTIONS["everything"], id="everything")],
    of=taking_turns,
)
def test_imperative_steps_on_jax_are_jitted_by_themselves(algorithm, options):
    import jax.numpy as jnp

    from gradwise.backends import jax as backend

    def run(jit_compile):
        optimizer = algorithm(0.1, jit_compile=jit_compile, **existing(algorithm, options))
        variables = [Variable(jnp.asarray(array)) for array in arrays(np.float32, 0)]
        sizes, results = [], []
        for step in range(4):
            optimizer.learning_rate = 0.1 + step / 100
            optimizer.apply([jnp.asarray(array) for array in arrays(np.float32, step + 1)], variables)
            sizes.append(backend._run_jitted._cache_size())
            results.append({place: variable.numpy() for place, variable in enumerate(variables)})
        return optimizer, results, sizes

    optimizer, results, sizes = run(True)
    _, expected, _ = run(False)
    assert {group.way for group in optimizer.execution_report()} == {"jit"}
    assert len(set(sizes)) == 1
    assert max(distances_of_runs(dict(enumerate(arrays(np.float32, 0))), iter(results), iter(expected))) <= 16


@pytest.mark.torch
@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["clipvalue, accumulation"]], ids=["plain", "more"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_multi_tensor_functions_agree(algorithm, options, monkeypatch):
    """What runs on devices, here made to run on the CPU."""
    import torch

    from gradwise.backends.torch.backend import TorchBackend

    options = existing(algorithm, options)
    expected = train(algorithm(0.1, jit_compile=False, **options), lambda array: torch.tensor(array), np.float32)
    monkeypatch.setattr(TorchBackend, "address", lambda self, *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "lookout", lambda *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "takes_programs", lambda self, array: True)
    optimizer = algorithm(0.1, **options)
    result = train(optimizer, lambda array: torch.tensor(array), np.float32)
    assert {group.way for group in optimizer.execution_report()} == {"foreach"}
    assert distances(result, expected) <= 4


@pytest.mark.torch
def test_sixteen_bits_by_multi_tensor_functions_round_once(monkeypatch):
    import torch

    from gradwise.backends.torch.backend import TorchBackend

    monkeypatch.setattr(TorchBackend, "address", lambda *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "lookout", lambda *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "takes_programs", lambda self, array: True)
    narrow, exact = (Adam(0.001, weight_decay=0.1) for _ in range(2))
    w = torch.full((1000,), 0.3, dtype=torch.bfloat16)
    target = w.float()
    for step in range(5):
        gradient = torch.linspace(-1, 1, 1000, dtype=torch.bfloat16) * (step + 1)
        target.copy_(w)
        narrow.apply([gradient], [w])
        exact.apply([gradient.float()], [target])
        assert [group.way for group in narrow.execution_report()] == ["foreach"]
        assert torch.equal(w, target.to(torch.bfloat16))


@pytest.mark.torch
def test_device_tensors_run_by_multi_tensor_functions():
    import torch

    w = torch.empty(5, device="meta")
    optimizer = Adam(0.1)
    optimizer.apply([w], [w])
    assert [group.way for group in optimizer.execution_report()] == ["foreach"]
    clipped = Adam(0.1, clipnorm=1.0)
    clipped.apply([w], [w])
    assert "norm that lies on a device" in clipped.execution_report()[0].reason


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "make",
    [lambda: np.ones(12)[::2], lambda: np.ones((3, 4))[:, 1:], lambda: np.ones((3, 2))[::-1],
     lambda: np.frombuffer(bytearray(b"x" + b"\0" * 48), np.uint8)[1:].view(np.float64)],
    ids=["strided", "with gaps", "backwards", "unaligned"],
)  # fmt: skip
def test_memory_that_is_not_plain_is_updated_eagerly(make):
    w, optimizer = make(), SGD(0.5)
    expected = np.array(w, np.float64) - 0.5
    optimizer.apply([np.ones(w.shape)], [w])
    np.testing.assert_array_equal(np.asarray(w, np.float64), expected)
    report = optimizer.execution_report()
    assert report[0].way == "eager" and "does not lie in plain CPU memory" in report[0].reason
    with pytest.raises(RuntimeError, match=r"jit_compile=True, but 'variable_0' cannot be updated in one pass"):
        SGD(0.5, jit_compile=True).apply([np.ones(w.shape)], [w])
    np.testing.assert_array_equal(np.asarray(w, np.float64), expected)


def test_a_parameter_that_becomes_read_only_is_refused():
    w, optimizer = np.ones(3), SGD(0.5)
    optimizer.apply([np.ones(3)], [w])
    w.setflags(write=False)
    with pytest.raises(TypeError, match="'variable_0' cannot be updated any more, because it is read-only"):
        optimizer.apply([np.ones(3)], [w])
    assert w.tolist() == [0.5] * 3 and optimizer.iterations == 1


def test_gradients_need_not_be_plain():
    for gradient in (np.full(12, 2.0)[::2], np.full(6, 2.0, np.float32), np.full(6, 2)):
        w = np.ones(6)
        SGD(0.5, jit_compile=True).apply([gradient], [w])
        assert w.tolist() == [0.0] * 6


def test_a_gradient_may_be_the_parameter_itself_but_not_a_shifted_view():
    w = np.arange(6.0)
    SGD(0.5, jit_compile=True).apply([w], [w])
    assert w.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    memory = np.arange(7.0)
    optimizer = SGD(0.5)
    optimizer.apply([memory[1:]], [memory[:-1]])
    assert optimizer.execution_report()[0].reason == "parameters, slots or gradients share memory"
    np.testing.assert_array_equal(memory[:-1], np.arange(6) - 0.5 * np.arange(1, 7))


def test_gradients_that_come_and_go_at_other_addresses():
    w, expected = np.ones(1000), np.ones(1000)
    optimizer, eager = Adam(0.1, jit_compile=True), Adam(0.1, jit_compile=False)
    for step in range(20):
        gradient = np.full(1000, np.sin(step))
        optimizer.apply([gradient], [w])
        eager.apply([gradient.copy()], [expected])
    assert w.tobytes() == expected.tobytes()


def test_steps_of_some_parameters_with_gradients_that_are_gone():
    a, b = np.zeros(4), np.zeros(4)
    optimizer = SGD(1.0, jit_compile=True)
    optimizer.build([a, b])
    for _ in range(4):
        optimizer.apply([np.ones(4)], [a])
        optimizer.apply([np.full(4, 10.0)], [b])
    assert a.tolist() == [-4.0] * 4 and b.tolist() == [-40.0] * 4


@pytest.mark.torch
def test_a_parameter_that_changes_its_shape_is_refused():
    import torch

    memory = torch.zeros(1000)
    w = torch.nn.Parameter(torch.ones(1000))
    optimizer = SGD(1.0)
    optimizer.apply([torch.ones(1000)], [w])
    w.data = memory[:10]
    with pytest.raises(ValueError, match=r"had shape \(1000,\) when the optimizer was built and has \(10,\) now"):
        optimizer.apply([torch.ones(10)], [w])
    assert not memory.any()
    array = np.zeros(6)
    optimizer = SGD(1.0)
    optimizer.apply([np.ones(6)], [array])
    array.shape = (3, 2)
    with pytest.raises(ValueError, match="make a new optimizer"):
        optimizer.apply([np.ones((3, 2))], [array])


@pytest.mark.torch
def test_a_parameter_whose_data_is_replaced():
    import torch

    w = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD(0.5, jit_compile=True)
    optimizer.apply([torch.ones(3)], [w])
    w.data = torch.full((3,), 5.0)
    optimizer.apply([torch.ones(3)], [w])
    assert w.tolist() == [4.5, 4.5, 4.5]


@pytest.mark.torch
def test_a_stale_graph_is_refused_as_after_torch_optim():
    import torch

    messages = []
    for step in ("torch", "gradwise"):
        w = torch.ones(3, requires_grad=True)
        loss = (w**2).sum()
        w.grad = torch.ones(3)
        if step == "torch":
            torch.optim.SGD([w], lr=0.1).step()
        else:
            SGD(0.1, jit_compile=True).apply([w.grad], [w])
        with pytest.raises(RuntimeError) as caught:
            loss.backward()
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "modified by an inplace operation" in messages[0]


# ---------------------------------------------------------------- rules that cannot be recorded, and those that can


def check(optimizer, reason, steps=3):
    """The rule gives what it gives eagerly, and the report says why it is not plan (or, for None, that it is)."""
    eager = type(optimizer)(learning_rate=0.5, jit_compile=False)
    a, b = np.ones(3), np.ones(3)
    for step in range(steps):
        optimizer.apply([np.full(3, step + 1.0)], [a])
        eager.apply([np.full(3, step + 1.0)], [b])
    assert a.tobytes() == b.tobytes()
    (group,) = optimizer.execution_report()
    if reason is None:
        assert group.way == "fused", group.reason
    else:
        assert group.way == "eager" and reason in group.reason, group.reason


def rule(step, prepare=lambda self: None):
    class Rule(Optimizer):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            prepare(self)

        def update_step(self, gradient, variable, learning_rate):
            step(self, gradient, variable, learning_rate)

    return Rule(learning_rate=0.5)


@pytest.fixture
def not_tried(monkeypatch):
    """Rules are not tried out, as where processes hold a parameter together: what is refused then is recorded here."""
    monkeypatch.setattr("gradwise.optimizers.core.step.is_to_be_tried", lambda rule: False)


def test_a_list_that_the_rule_changes_means_eager(not_tried):
    def step(self, gradient, variable, learning_rate):
        self.seen.append(1)
        self.assign_sub(variable, gradient * learning_rate)

    optimizer = rule(step, lambda self: setattr(self, "seen", []))
    check(optimizer, "changes an attribute")
    assert len(optimizer.seen) == 3


def test_a_random_number_means_eager(not_tried):
    rng = np.random.default_rng(0)

    def step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * float(rng.random())))

    optimizer = rule(step)
    optimizer.apply([np.ones(3)], [np.ones(3)])
    assert "not the same twice" in optimizer.execution_report()[0].reason


def test_a_branch_on_the_step_means_eager_and_names_the_line(not_tried):
    def step(self, gradient, variable, learning_rate):
        scale = 2.0 if self.step_of(variable) % 2 == 0 else 1.0
        self.assign_sub(variable, gradient * (learning_rate * scale))

    check(rule(step), "test_fused.py:")


def test_a_branch_on_data_means_eager(not_tried):
    def step(self, gradient, variable, learning_rate):
        if gradient[0] > 1.5:
            self.assign_sub(variable, gradient * learning_rate)

    check(rule(step), "indexing of an array in test_fused.py:")


def test_functions_without_one_result_everywhere_mean_eager():
    check(rule(lambda self, g, v, r: self.assign_sub(v, ops.exp(g) * r)), "exp of an array")
    check(rule(lambda self, g, v, r: self.assign_sub(v, g * ops.mean(g) * r)), "the reduction mean")


def test_cond_and_where_are_recorded():
    def step(self, gradient, variable, learning_rate):
        ops.cond(
            self.step_of(variable) % 2 == 0,
            lambda: self.assign_sub(variable, ops.sign(gradient) * learning_rate),
            lambda: self.assign_sub(variable, ops.where(ops.greater(gradient, 2.0), 1.0, gradient) * learning_rate),
        )

    check(rule(step), None)


def test_a_beta_that_changes_every_step_compiles_nothing():
    optimizer, eager = Adam(0.1, jit_compile=True), Adam(0.1, jit_compile=False)
    w, expected = np.ones(3), np.ones(3)
    kernels = None
    for step in range(5):
        optimizer.beta_1 = eager.beta_1 = 0.5 + step / 20
        optimizer.apply([np.full(3, 0.3)], [w])
        eager.apply([np.full(3, 0.3)], [expected])
        kernels = kernels or len(kernel._KERNELS)
        assert len(kernel._KERNELS) == kernels
    assert w.tobytes() == expected.tobytes()


def test_a_nested_attribute_changed_in_place_is_recorded_again():
    def step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.weights["rates"][1][0]))

    optimizer = rule(step, lambda self: setattr(self, "weights", {"rates": [1.0, [2.0]]}))
    w = np.zeros(1)
    optimizer.apply([np.ones(1)], [w])
    optimizer.weights["rates"][1][0] = 10.0
    optimizer.apply([np.ones(1)], [w])
    assert w[0] == -1.0 - 5.0 and optimizer.execution_report()[0].way == "fused"


def test_dtypes_are_the_librarys_own_while_recorded():
    def step(self, gradient, variable, learning_rate):
        scale = 1.0 if variable.dtype == np.float64 and gradient.dtype == np.dtype("float64") else 1000.0
        self.assign_sub(variable, gradient * (learning_rate * scale))

    check(rule(step), None)


def test_objects_and_scalars_that_a_rule_reads_are_looked_at_again():
    class Settings:
        scale = 1.0

    def step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.settings.scale * float(self.factor)))

    optimizer = rule(step, lambda self: vars(self).update(settings=Settings(), factor=np.array(1.0)))
    w = np.zeros(1)
    optimizer.apply([np.ones(1)], [w])
    optimizer.settings.scale = 10.0
    optimizer.apply([np.ones(1)], [w])
    optimizer.factor[...] = 100.0
    optimizer.apply([np.ones(1)], [w])
    for scale in (2.0, 3.0, 4.0):
        optimizer.settings = None
        optimizer.settings = Settings()
        optimizer.settings.scale = scale
        optimizer.apply([np.ones(1)], [w])
    assert w[0] == -0.5 * (1 + 10 + 1000 + 200 + 300 + 400)


def test_rates_that_a_rule_reads_itself():
    def step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * self.inner.learning_rate)

    for jit_compile in (True, False):
        optimizer = rule(step, lambda self: setattr(self, "inner", SGD(1.0)))
        optimizer.jit_compile, optimizer.decay = jit_compile, 1.0
        w = np.zeros(1)
        optimizer.apply([np.ones(1)], [w])
        optimizer.inner.learning_rate = 100.0
        optimizer.apply([np.ones(1)], [w])
        assert w[0] == -1.0 - 100.0
        params = {"w": np.zeros(1)}
        assert optimizer.step(params, {"w": np.ones(1)}, optimizer.init(params))[0]["w"][0] == -100.0


def test_zeros_of_both_signs_stay_apart():
    def step(self, gradient, variable, learning_rate):
        self.assign(variable, ops.where(ops.greater(gradient, 1.0), gradient * -0.0, gradient * 0.0))

    check(rule(step), None)


def test_masked_arrays_are_updated_by_whole_arrays():
    w = np.ma.masked_array(np.zeros(3), mask=[False, True, False])
    optimizer = SGD(1.0)
    optimizer.apply([np.ma.masked_array(np.ones(3))], [w])
    assert optimizer.execution_report()[0].way == "eager" and w.data[1] == 0.0


def test_learning_rates_and_schedules_record_once(monkeypatch):
    from gradwise.optimizers.core.fused import recording

    counted = []
    original = recording.record
    monkeypatch.setattr(recording, "_RECORDED", {})
    monkeypatch.setattr(recording, "record", lambda *arguments: counted.append(1) or original(*arguments))
    optimizer = Nadam(schedules.ExponentialDecay(0.1, 3, 0.5))
    w = np.ones(4)
    for step in range(10):
        optimizer.apply([np.full(4, step + 1.0)], [w])
    # Twice with numbers as scalars, once with constants, and once with others.
    assert len(counted) == 4


def test_some_parameters_fused_and_others_not():
    plain, half, strided = np.ones(4, np.float32), np.ones(4, np.float16), np.ones(8, np.float32)[::2]
    optimizer = Adam(0.1)
    for _ in range(2):
        optimizer.apply([np.ones(4, a.dtype) for a in (plain, half, strided)], [plain, half, strided])
    report = optimizer.execution_report()
    assert [(group.way, group.parameters) for group in report] == [("fused", 1), ("fused", 1), ("eager", 1)]
    assert report[0].bytes_per_parameter == 28 and "28 bytes of traffic per element" in str(report)
    np.testing.assert_array_equal(plain, strided)


def test_a_program_can_be_printed_and_counted():
    optimizer, weights = RMSprop(0.1), [np.ones(3), np.ones(2)]
    optimizer.build(weights)
    assert not optimizer.program_of(weights[0]) and "apply()" in str(optimizer.program_of(weights[0]))
    optimizer.apply([np.ones(3), np.ones(2)], weights)
    program, other = map(optimizer.program_of, weights)
    assert "write a0 <- " in str(program) and program.traffic(8) == 40 and program.work == 12
    assert program == other and hash(program) == hash(other)
    optimizer.jit_compile = False
    optimizer.apply([np.ones(3), np.ones(2)], weights)
    assert not optimizer.program_of(weights[0])
    assert str(optimizer.program_of(weights[0])) == f"not recorded: {optimizer.execution_report()[0].reason}"
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.program_of(np.ones(3))


# ---------------------------------------------------------------- processes, threads, interruptions


_FORK = """
import itertools
import os
import numpy as np
from gradwise.optimizers import Adam

def step():
    w = np.ones(200_000)
    Adam(0.1, jit_compile=True).apply([np.ones(200_000)], [w])
    return w[-1]

expected = step()
child = os.fork()
if child == 0:
    os._exit(0 if step() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_steps():
    # In a process of its own: other tests import frameworks that warn of forks.
    environment = {**os.environ, "GRADWISE_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", _FORK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "0"


def test_threads_step_different_optimizers(monkeypatch):
    monkeypatch.setenv("GRADWISE_NUM_THREADS", "2")
    results = {}

    def work(seed):
        w, optimizer = np.ones(150_000), Adam(0.01, jit_compile=True)
        for step in range(5):
            optimizer.apply([np.full(150_000, np.cos(step + seed % 2))], [w])
        results[seed] = w

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results[0].tobytes() == results[2].tobytes() and results[1].tobytes() == results[3].tobytes()
    assert results[0].tobytes() != results[1].tobytes()


TRUTHS = {
    "masked": lambda gradient, rate: (gradient > 0) * gradient * rate,
    "added": lambda gradient, rate: ((gradient > 0) + (gradient < 0.5)) * rate * gradient,
    "cast": lambda gradient, rate: (1 + ops.cast(gradient > 0, gradient.dtype) + (gradient < 0.5)) * rate,
    "of numbers": lambda gradient, rate: ((gradient > 0) * 0.1 + 1) * rate * gradient,
    "chosen numbers": lambda gradient, rate: ops.where(gradient > 0, 0.3, 0.1) * rate * gradient,
    "chosen by a small number": lambda gradient, rate: ops.where(rate * 1e-50, gradient, -gradient),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_truths_are_what_they_are_in_whole_arrays(name):
    """In one pass, or by whole arrays where libraries have other dtypes for what becomes of them."""

    class Own(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, TRUTHS[name](gradient, learning_rate))

    ends = []
    for way in ("auto", False):
        optimizer, weights = Own(0.1, jit_compile=way), np.linspace(-1, 1, 50).astype(np.float32)
        for _ in range(3):
            optimizer.apply([np.sin(np.arange(50) * 1.7).astype(np.float32)], [weights])
        ends.append(weights.tobytes())
    assert ends[0] == ends[1]
