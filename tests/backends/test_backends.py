"""Detection, ops and the generic backend, at their strictest."""

from __future__ import annotations

import copy
import functools
import math
import operator
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.every_convention import existing
from helpers.selection import crossing

from gradwise.backends import HOST, NUMPY, Scope, Variable, backend_of, compute_dtype, describe, ops
from gradwise.backends.detect import backend_named
from gradwise.backends.reductions import sum_of_squares
from gradwise.backends.sums import BLOCK, LANES, by_numpy
from gradwise.optimizers.registry import ALGORITHMS

ROOT = Path(__file__).parents[2]


class ReadOnly(np.ndarray):
    """An array whose every result is read-only, so that a hidden write in place fails."""

    def __array_wrap__(self, array, context=None, return_scalar=False):
        wrapped = super().__array_wrap__(array, context, return_scalar)
        if isinstance(wrapped, np.ndarray):
            wrapped.setflags(write=False)
        return wrapped


def read_only(array):
    view = np.array(array).view(ReadOnly)
    view.setflags(write=False)
    return view


@pytest.mark.parametrize(
    "code, absent",
    [
        ("import gradwise", {"torch", "jax", "keras", "optax", "numba", "ml_dtypes"}),
        ("import numpy; from gradwise.optimizers import Adam; Adam().apply([numpy.ones(2)], [numpy.ones(2)])",
         {"torch", "jax"}),
        ("from gradwise.backends import backend_of; assert backend_of([1]) is None and backend_of('x') is None",
         {"torch", "jax"}),
        pytest.param(
            "import torch; from gradwise.optimizers import Adam; Adam().apply([torch.ones(2)], [torch.ones(2)])",
            {"jax"}, marks=pytest.mark.torch),
        pytest.param(
            "import jax.numpy as j; from gradwise.optimizers import Adam; a = Adam(); a.step(j.ones(2), j.ones(2), "
            "a.init(j.ones(2)))",
            {"torch"}, marks=pytest.mark.jax),
    ],
)  # fmt: skip
def test_no_framework_is_imported_on_the_users_behalf(code, absent):
    check = f"{code}; import sys; loaded = {absent!r} & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-W", "error", "-c", check], check=True, cwd=ROOT)


def test_import_and_steps_in_a_subinterpreter():
    # NumPy says that it does not support them, and Numba's compiler waits for ever in one: steps go without.
    code = """
import numpy, sys, warnings
import gradwise
from gradwise import optimizers, schedules
assert "optree" not in sys.modules
weights = numpy.ones(3)
optimizer = optimizers.Adam(schedules.CosineDecay(0.1, 10))
for _ in range(3):
    optimizer.apply([numpy.ones(3)], [weights])
assert optimizer.execution_report()[0].way == "blocks"
print(weights.tolist())
"""
    start = """
try:
    import _interpreters
    interpreter = _interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as _interpreters
    interpreter = _interpreters.create(isolated=False)
failed = _interpreters.run_string(interpreter, {code!r})
assert failed is None, failed
"""
    with_numba = subprocess.run(
        [sys.executable, "-c", code.replace('"blocks"', '"fused"')],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    inside = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start.replace("{code!r}", repr(code))],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=120,
    )  # fmt: skip
    assert inside.returncode == 0, inside.stderr
    assert with_numba.returncode == 0, with_numba.stderr
    assert inside.stdout == with_numba.stdout


def test_a_framework_imported_later_is_recognised():
    code = (
        "from gradwise.backends import backend_of\n"
        "assert backend_of(object()) is None\n"
        "import array_api_strict as xp\n"
        "assert backend_of(xp.asarray([1.0])).name == 'array_api_strict'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_numbers_and_numpy_scalars():
    assert backend_of(1) is HOST and backend_of(1.0) is HOST and backend_of(True) is HOST
    assert backend_of(np.float64(1)) is NUMPY and backend_of(np.float32(1)) is NUMPY
    assert describe(np.ones((2, 3), np.float32)) == "a numpy array of dtype float32 and shape (2, 3)"
    assert describe([1]) == "[1] of type list"
    assert compute_dtype("bfloat16") == "float32" and compute_dtype("float64") == "float64"


LIBRARIES = [
    "numpy",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
    "array_api_strict",
]


@pytest.mark.parametrize("library", LIBRARIES)
def test_there_is_one_backend_for_each_library(library):
    backend = backend_of(to(library, [1.0]))
    for found in (copy.copy(backend), copy.deepcopy(backend), pickle.loads(pickle.dumps(backend))):
        assert found is backend
    assert pickle.loads(pickle.dumps(HOST)) is HOST and backend_named(library) is backend


def to(library, values):
    array = np.asarray(values, np.float32)
    if library == "torch":
        import torch

        return torch.tensor(array)
    if library == "jax":
        import jax.numpy

        return jax.numpy.asarray(array)
    if library == "array_api_strict":
        import array_api_strict

        return array_api_strict.asarray(array)
    return array


A, B = [0.25, -1.5, 4.0], [2.0, 0.5, -3.0]
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "equal": np.equal,
}  # fmt: skip
UNARY = {
    "negative": np.negative, "square": np.square, "exp": np.exp, "expm1": np.expm1, "cos": np.cos, "floor": np.floor,
    "ceil": np.ceil, "absolute": np.abs, "sign": np.sign, "isfinite": np.isfinite,
}  # fmt: skip
POSITIVE = {"sqrt": np.sqrt, "log": np.log, "log1p": np.log1p}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", [*BINARY, *UNARY, *POSITIVE])
def test_elementwise_functions(library, name):
    function = getattr(ops, name)
    a, b = np.asarray(A, np.float32), np.asarray(B, np.float32)
    if name in BINARY:
        reference = BINARY[name]
        cases = [((a, b), reference(a, b)), ((a, 0.5), reference(a, np.float32(0.5))),
                 ((0.5, b), reference(np.float32(0.5), b))]  # fmt: skip
    else:
        a = np.abs(a) if name in POSITIVE else a
        cases = [((a,), (UNARY | POSITIVE)[name](a))]
    for arguments, expected in cases:
        native = [to(library, x) if isinstance(x, np.ndarray) else x for x in arguments]
        result = function(*native)
        assert backend_of(result).name == library
        np.testing.assert_allclose(np.asarray(Variable(result)), expected, rtol=1e-6)
        assert np.asarray(Variable(result)).dtype == expected.dtype
        wrapped = [Variable(x) if backend_of(x) is not HOST else x for x in native]
        np.testing.assert_array_equal(np.asarray(Variable(function(*wrapped))), np.asarray(Variable(result)))


@pytest.mark.parametrize("name", [*BINARY, *UNARY, *POSITIVE])
def test_numbers_stay_python_numbers(name):
    function = getattr(ops, name)
    if name in BINARY:
        result, expected = function(0.25, 2.0), BINARY[name](0.25, 2.0)
    else:
        result, expected = function(0.25), (UNARY | POSITIVE)[name](0.25)
    assert type(result) in (float, bool)
    assert result == pytest.approx(expected, rel=1e-15)


def test_numbers_follow_ieee():
    assert math.isnan(ops.sqrt(-1.0)) and ops.log(0.0) == -math.inf and math.isnan(ops.log(-1.0))
    assert ops.exp(1e9) == math.inf and ops.log1p(-1.0) == -math.inf and math.isnan(ops.cos(math.inf))
    assert math.isnan(ops.maximum(math.nan, 1.0)) and math.isnan(ops.minimum(1.0, math.nan))
    assert ops.power(2.0, 5000) == math.inf and ops.power(0.0, -1) == math.inf and math.isnan(ops.power(-1.0, 0.5))
    assert math.isnan(ops.sign(math.nan)) and ops.sign(-3.0) == -1.0 and ops.floor(math.inf) == math.inf


@pytest.mark.parametrize("library", LIBRARIES)
def test_where_clip_cast_and_reductions(library):
    a = to(library, A)
    read = lambda x: np.asarray(Variable(x))  # noqa: E731  # shorter than a function for three uses
    np.testing.assert_array_equal(read(ops.where(ops.greater(a, 0.0), a, 7.0)), [0.25, 7.0, 4.0])
    np.testing.assert_array_equal(read(ops.where(ops.greater(a, 0.0), 1.0, 0.0)), [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(read(ops.clip(a, -1.0, 1.0)), [0.25, -1.0, 1.0])
    assert read(ops.cast(a, "float64")).dtype == (np.float32 if library == "jax" else np.float64)
    assert ops.cast(a, a.dtype).dtype == a.dtype
    assert float(ops.sum(a)) == 2.75 and float(ops.max(a)) == 4.0
    assert float(ops.mean(a)) == pytest.approx(2.75 / 3)
    assert float(ops.sum_of_squares(a)) == 0.0625 + 2.25 + 16.0
    assert float(ops.norm(a)) == pytest.approx(math.sqrt(18.3125))
    np.testing.assert_array_equal(read(ops.zeros_like(a)), [0, 0, 0])
    np.testing.assert_array_equal(read(ops.ones_like(a)), [1, 1, 1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_fraction_never_becomes_an_integer(library):
    count = ops.cast(to(library, [7.0, 2.0]), "int32")
    np.testing.assert_array_equal(np.asarray(Variable(ops.minimum(count, 2.5))), [2.5, 2.0])
    np.testing.assert_array_equal(np.asarray(Variable(ops.where(ops.greater(count, 3), 0.5, count))), [0.5, 2.0])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999])
@pytest.mark.parametrize("step", [1, 2, 10, 1000, 10**6, 2**25])
def test_bias_corrections_do_not_cancel(beta, step):
    from mpmath import mp

    with mp.workdps(50):
        exact = 1 - mp.mpf(beta) ** step
        assert abs(ops.one_minus_power(beta, step) / exact - 1) < 4e-16


@pytest.mark.jax
@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
def test_bias_corrections_do_not_cancel_under_jit(beta):
    import jax

    correction = jax.jit(lambda step: ops.one_minus_power(beta, step))
    for step in (1, 10, 1000):
        assert float(correction(step)) == pytest.approx(-math.expm1(step * math.log(beta)), rel=2.5e-7)


def test_things_that_are_no_arrays_are_named():
    with pytest.raises(TypeError, match=r"Expected an array or a number, received \[1.0\] of type list"):
        ops.sqrt([1.0])


# ---------------------------------------------------------------- the sum of squares


def by_definition(array):
    total = 0.0
    flat = [float(x) for x in np.asarray(array, np.float64).reshape(-1)]
    for start in range(0, len(flat), BLOCK):
        lanes = [0.0] * LANES
        for position, x in enumerate(flat[start : start + BLOCK]):
            lanes[position % LANES] += x * x
        block = 0.0
        for lane in lanes:
            block += lane
        total += block
    return total


@pytest.mark.parametrize("shape", [(), (0,), (1,), (63,), (64,), (65,), (BLOCK,), (BLOCK + 1,), (3, 7, 9), (130_001,)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sum_of_squares_is_bit_for_bit_its_definition(shape, dtype):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    assert sum_of_squares(array) == by_numpy(array.reshape(-1)) == by_definition(array)
    if array.ndim == 1 and array.size > 2:
        assert sum_of_squares(array[::2]) == by_definition(array[::2])


def test_norms_of_float16_do_not_overflow():
    assert float(ops.norm(np.full(1000, 6e4, np.float16))) == pytest.approx(6e4 * math.sqrt(1000), rel=1e-3)


@pytest.mark.torch
def test_torch_on_the_cpu_shares_the_definition():
    import torch

    array = np.random.default_rng(0).normal(size=40001).astype(np.float32)
    assert ops.sum_of_squares(torch.tensor(array)) == sum_of_squares(array)


# ---------------------------------------------------------------- strictest


def run(algorithm, wrap, count=4):
    rng = np.random.default_rng(1)
    start = {"w": rng.normal(size=(3, 2)).astype(np.float32), "b": np.float32(0.5)}
    decay = existing(algorithm, {"weight_decay": 0.1})
    optimizer = algorithm(0.1, use_ema=True, ema_overwrite_frequency=2, global_clipnorm=1.0, **decay)
    params = {name: wrap(value) for name, value in start.items()}
    state = optimizer.init(params)
    for _ in range(count):
        grads = {name: wrap(rng.normal(size=np.shape(value)).astype(np.float32)) for name, value in start.items()}
        params, state = optimizer.step(params, grads, state)
    return {name: np.asarray(Variable(value)) for name, value in params.items()}


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_no_hidden_write_in_place(algorithm):
    expected = run(algorithm, np.array)
    result = run(algorithm, read_only)
    assert all(np.array_equal(result[name], expected[name]) for name in expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_the_standard_alone_suffices(algorithm):
    import array_api_strict

    flags = array_api_strict.get_array_api_strict_flags()
    array_api_strict.set_array_api_strict_flags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    )
    try:
        result = run(algorithm, lambda value: array_api_strict.asarray(np.array(value)))
    finally:
        array_api_strict.set_array_api_strict_flags(
            boolean_indexing=flags["boolean_indexing"],
            data_dependent_shapes=flags["data_dependent_shapes"],
            enabled_extensions=flags["enabled_extensions"],
        )
    expected = run(algorithm, np.array)
    assert all(np.array_equal(result[name], expected[name]) for name in expected)


def test_state_stays_on_the_parameters_device():
    import array_api_strict

    device = array_api_strict.Device("device1")
    params = {"w": array_api_strict.ones((2,), dtype=array_api_strict.float32, device=device)}
    from gradwise.optimizers import Nadam

    optimizer = Nadam(0.1, use_ema=True, clipvalue=0.5)
    params, state = optimizer.step(params, params, optimizer.init(params))
    assert params["w"].device == device and state.slots["velocity"]["w"].device == device
    assert state.iterations.device == device


# ---------------------------------------------------------------- cells and scopes


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_cell_reads_like_an_array(library):
    cell = Variable(to(library, A), name="a")
    other = to(library, B)
    raw = cell.value
    assert cell.shape == (3,) and cell.ndim == 1 and cell.size == 3 and cell.dtype == raw.dtype
    for result, expected in (
        (cell + other, raw + other), (cell - 1.0, raw - 1.0), (2.0 * cell, 2.0 * raw), (1.0 / cell, 1.0 / raw),
        (-cell, -raw), (cell / cell, raw / raw), (cell**2, raw**2), (abs(cell), abs(raw)), (cell[1], raw[1]),
        (1.0 - cell, 1.0 - raw), (cell < 0.0, raw < 0.0), (cell >= other, raw >= other), (cell // 2.0, raw // 2.0),
        (cell % 2.0, raw % 2.0), (cell @ other, raw @ other), (cell > 0.0, raw > 0.0), (cell <= 0.0, raw <= 0.0),
        (2.0**cell, 2.0**raw if library != "array_api_strict" else 2.0**cell.value),
    ):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(Variable(result)), np.asarray(Variable(expected)))
    assert repr(cell) == f"<Variable 'a' of shape (3,) and dtype float32 on {library}>"


@pytest.mark.parametrize("library", ["numpy", *LIBRARIES[1:3]])
def test_an_array_on_the_left_gives_way_to_the_cell(library):
    cell, array = Variable(to(library, A)), to(library, B)
    for result, expected in (
        (array + cell, array + cell.value), (array - cell, array - cell.value), (array * cell, array * cell.value),
        (array / cell, array / cell.value),
    ):  # fmt: skip
        assert type(result) is type(expected)
        np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_a_variable_copies_its_initial_value():
    array = np.ones(2)
    cell = Variable(array)
    cell.assign_add(1.0)
    assert array.tolist() == [1.0, 1.0] and cell.numpy().tolist() == [2.0, 2.0]
    cell.assign(np.array([5.0, 6.0], np.float32))
    assert cell.value.dtype == np.float64
    cell.assign_sub([1.0, 1.0] * np.ones(2))
    assert cell.numpy().tolist() == [4.0, 5.0]


def test_scopes_nest_and_belong_to_their_thread():
    import threading

    cell, seen = Variable(np.zeros(1)), []
    with Scope([(cell, np.ones(1))]) as outer:
        cell.assign(np.full(1, 2.0))
        with Scope([(cell, np.full(1, 3.0))]):
            cell.assign(np.full(1, 4.0))
            thread = threading.Thread(target=lambda: seen.append(cell.numpy()[0]))
            thread.start()
            thread.join()
            assert cell.numpy()[0] == 4.0
        assert cell.numpy()[0] == 2.0 and outer.get(cell)[0] == 2.0
    assert cell.numpy()[0] == 0.0 and seen == [0.0]


def test_cells_refuse_what_does_not_fit():
    cell = Variable(np.zeros((2, 3), np.float32), name="kernel")
    with pytest.raises(ValueError, match=r"'kernel' has shape \(2, 3\) and cannot be assigned an array of sh"):
        cell.assign(np.zeros(3))
    with pytest.raises(TypeError, match=r"Variable 'x' needs an array or a number"):
        Variable("text", name="x")


@pytest.mark.torch
def test_cells_refuse_other_libraries():
    import torch

    with pytest.raises(TypeError, match=r"holds a numpy array .* cannot take a torch array"):
        Variable(np.zeros(2)).assign(torch.zeros(2))


@pytest.mark.jax
def test_a_tracer_cannot_be_kept():
    import jax
    import jax.numpy as jnp

    cell = Variable(jnp.zeros(2), name="w")
    with pytest.raises(RuntimeError, match=r"'w' cannot keep .* traced: .*init and step"):
        jax.jit(cell.assign_add)(jnp.ones(2))
    assert cell.numpy().tolist() == [0.0, 0.0]


@pytest.mark.jax
@crossing(
    ("operator", "dtype", "traced"),
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv],
    ["float32", "bfloat16", "int32"],
    [pytest.param(False, id="eager"), pytest.param(True, id="traced")],
)
def test_operators_on_cells_are_those_of_jax(operator, dtype, traced):
    """Where they are traced, primitives stand for them; promotion, broadcasting and weak types stay what they are."""
    import jax
    import jax.numpy as jnp

    array = jnp.asarray([[1.5, -2.0, 3.0], [4.0, 0.25, -1.0]]).astype(dtype)
    others = [
        array + 1, array[0], jnp.asarray(3.0), jnp.asarray(2), array.astype("float16"), array[0, 0], 2.0, 3, True,
        1e300, -math.inf, math.nan, jnp.ones((2, 3), "int32"), jnp.ones((4, 1, 1)),
        np.full((2, 3), 0.1), np.float64(0.1), np.float32(0.1),
    ]  # fmt: skip

    def described(results):
        return [(it.dtype, it.shape, it.weak_type, np.asarray(it).tobytes()) for it in results]

    def plain(a, others):
        return [pair for other in others for pair in (operator(a, other), operator(other, a))]

    def ours(a, others):
        cell = Variable.owning(a, "cell")
        return [pair for other in others for pair in (operator(cell, other), operator(other, cell))]

    # One program holds every result of a side: compiling is what takes time. The sides share none.
    run = jax.jit if traced else (lambda function: function)
    with np.errstate(all="ignore"):
        found, expected = described(run(ours)(array, others)), described(run(plain)(array, others))
        assert found == expected
        # A number of the host's is a constant in the program.
        fixed, expected = ([*run(functools.partial(side, others=others))(array)] for side in (ours, plain))
        assert described(fixed) == described(expected)
