"""Where a peer's arithmetic is at fault: what it does, and what gradwise does instead.

These are the exceptions from equality with the peers. When a peer mends one, its test fails here, and the exception
goes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.backend_table import array, distance, numpy_dtype, read
from helpers.drawn_runs import Run
from helpers.keras_peer import Ask
from rules import all_facts

from gradwise import optimizers

torch_only, jax_only, keras_only = pytest.mark.torch, pytest.mark.jax, pytest.mark.keras


def value_of(given: Any) -> float:
    """The first element."""
    return float(np.asarray(read(given), np.float64).ravel()[0])


class Torch:
    """A parameter of one element under an optimizer of torch.optim, and one under gradwise's."""

    def __init__(self, name: str, ours: Any, start: float, dtype: str, **arguments: Any) -> None:
        import torch

        self.dtype = numpy_dtype(dtype)
        self.parameter, self.our_parameter = (array("torch", np.full(1, start, self.dtype)) for _ in range(2))
        self.optimizer, self.ours = getattr(torch.optim, name)([self.parameter], **arguments), ours

    def step(self, size: float) -> None:
        self.parameter.grad = array("torch", np.full(1, size, self.dtype))
        self.ours.apply([array("torch", np.full(1, size, self.dtype))], [self.our_parameter])
        self.optimizer.step()

    @property
    def state(self) -> Any:
        return self.optimizer.state[self.parameter]


class Optax:
    """A parameter of one element under an optimizer of optax, and one under gradwise's."""

    def __init__(self, theirs: Any, ours: Any, start: float, dtype: str) -> None:
        self.dtype, self.theirs, self.ours = numpy_dtype(dtype), theirs, ours
        self.parameter = self.our_parameter = array("jax", np.full(1, start, self.dtype))
        self.state, self.our_state = theirs.init(self.parameter), ours.init(self.parameter)

    def step(self, size: float, dtype: str | None = None) -> None:
        import optax

        gradient = array("jax", np.full(1, size, numpy_dtype(dtype) if dtype else self.dtype))
        update, self.state = self.theirs.update(gradient, self.state, self.parameter)
        self.parameter = optax.apply_updates(self.parameter, update)
        self.our_parameter, self.our_state = self.ours.step(self.our_parameter, gradient, self.our_state)


# ---------------------------------------------------------------- torch.optim


@torch_only
@pytest.mark.parametrize(("size", "wrong"), [(1e-4, -np.inf), (0.0, np.nan)])
def test_torch_loses_epsilon_in_float16(size: float, wrong: float) -> None:
    """1e-8 and the square of 1e-4 are 0 in float16: the step is divided by 0."""
    both = Torch("Adam", optimizers.Adam(0.01, convention="torch"), 0.0, "float16", lr=0.01)
    both.step(size)
    assert np.array_equal(value_of(both.parameter), wrong, equal_nan=True)
    assert value_of(both.our_parameter) == pytest.approx(-0.01 if size else 0.0, rel=1e-3)


@torch_only
def test_torch_never_forgets_in_bfloat16() -> None:
    """0.999 v rounds to v: once large, the mean of squares stays."""
    both = Torch("Adam", optimizers.Adam(convention="torch"), 0.0, "bfloat16", foreach=False)
    both.step(1.0)
    first = value_of(both.state["exp_avg_sq"])
    for _ in range(400):
        both.step(0.0)
    [ours] = [cell for cell in both.ours.variables if cell.name.endswith("velocity")]
    assert value_of(both.state["exp_avg_sq"]) == first
    assert value_of(ours) == pytest.approx(0.001 * 0.999**400, rel=1e-4)


@torch_only
def test_torch_writes_to_gradients() -> None:
    """Nesterov momentum in its multi-tensor form, the default on GPUs, adds the momentum to the user's gradient."""
    ours = optimizers.SGD(0.5, momentum=0.5, nesterov=True, convention="torch")
    both = Torch("SGD", ours, 0.0, "float32", lr=0.5, momentum=0.5, nesterov=True, foreach=True)
    both.step(1.0)
    assert value_of(both.parameter.grad) == 1.5
    gradient = array("torch", np.ones(1, np.float32))
    ours.apply([gradient], [both.our_parameter])
    assert value_of(gradient) == 1.0


@torch_only
def test_torch_keeps_the_product_of_nadam_in_float32() -> None:
    """The product of momenta has the default dtype, not the parameter's: float64 parameters are 5e-9 off."""
    import torch

    both = Torch("NAdam", optimizers.Nadam(convention="torch"), 0.0, "float64", foreach=False)
    for _ in range(3):
        both.step(1.0)
    exact, product, momentum, square = 0.0, 1.0, 0.0, 0.0
    for t in range(1, 4):
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        product *= now
        momentum, square = 0.9 * momentum + 0.1, 0.999 * square + 0.001
        direction = following * momentum / (1 - product * following) + (1 - now) / (1 - product)
        exact -= 0.002 * direction / ((square / (1 - 0.999**t)) ** 0.5 + 1e-8)
    assert both.state["mu_product"].dtype is torch.float32
    assert 1e-9 < abs(value_of(both.parameter) / exact - 1) < 1e-7
    assert value_of(both.our_parameter) == pytest.approx(exact, rel=1e-12)


@torch_only
def test_torch_stops_counting() -> None:
    """A float32 step count of 2**24 plus 1 is 2**24: Adagrad's rate falls no further."""
    ours = optimizers.Adagrad(lr_decay=1.0, convention="torch")
    both = Torch("Adagrad", ours, 0.0, "float32", lr_decay=1.0)
    both.step(1.0)
    both.state["step"].fill_(2.0**24)
    [count] = [cell for cell in ours.variables if cell.name == "step"]
    count.assign(2**24)
    both.step(1.0)
    assert both.state["step"].item() == 2**24
    assert int(count) == 2**24 + 1


@torch_only
def test_torch_fused_needs_all_gradients_at_once() -> None:
    """A parameter whose first gradient comes after the first step breaks fused SGD with momentum."""
    import torch

    ours = optimizers.SGD(0.5, momentum=0.5, convention="torch")
    parameters, our_parameters = ([array("torch", np.zeros(1, np.float32)) for _ in range(2)] for _ in range(2))
    theirs = torch.optim.SGD(parameters, lr=0.5, momentum=0.5, fused=True)
    one = array("torch", np.ones(1, np.float32))
    parameters[0].grad = one
    theirs.step()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        ours.apply([one, None], our_parameters)
    parameters[1].grad = one
    with pytest.raises(TypeError, match="NoneType"):
        theirs.step()
    ours.apply([one, one], our_parameters)
    assert [value_of(parameter) for parameter in our_parameters] == [-1.25, -0.5]


@torch_only
def test_torch_takes_the_root_of_less_than_nothing() -> None:
    """Rounding brings the variance of centered RMSprop below 0, and the parameter to NaN."""
    ours = optimizers.RMSprop(0.01, rho=0.5, centered=True, convention="torch")
    both = Torch("RMSprop", ours, 0.0, "float32", lr=0.01, alpha=0.5, centered=True)
    for _ in range(40):
        both.step(10.0)
    assert np.isnan(value_of(both.parameter))
    assert np.isfinite(value_of(both.our_parameter))


# ---------------------------------------------------------------- optax


@jax_only
def test_optax_takes_the_root_of_less_than_nothing() -> None:
    import optax

    ours = optimizers.RMSprop(0.01, rho=0.5, centered=True, convention="optax")
    both = Optax(optax.rmsprop(0.01, decay=0.5, centered=True), ours, 0.0, "float32")
    for _ in range(40):
        both.step(10.0)
    assert np.isnan(value_of(both.parameter))
    assert np.isfinite(value_of(both.our_parameter))


@jax_only
def test_optax_climbs_with_adadelta() -> None:
    """The minus sign comes with the learning rate, which optax.adadelta does without by default."""
    import optax

    both = Optax(optax.adadelta(), optimizers.Adadelta(rho=0.9, convention="optax"), 1.0, "float32")
    both.step(1.0)
    assert value_of(both.parameter) - 1.0 == pytest.approx(1e-3 / 0.1**0.5, rel=1e-3)
    assert value_of(both.our_parameter) - 1.0 == pytest.approx(1.0 - value_of(both.parameter), rel=1e-3)


@jax_only
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (next(iter(facts.optax)), name)
        for name, facts in all_facts().items()
        if facts.loses_epsilon
    ],
)
def test_optax_loses_epsilon_in_float16(theirs: str, ours: str) -> None:
    """1e-8 is 0 in float16: a zero gradient gives 0/0, in RAdam from the sixth step on."""
    import optax

    more = {"weight_decay": 0.0} if all_facts()[ours].decays else {}
    both = Optax(
        getattr(optax, theirs)(0.1, **more), getattr(optimizers, ours)(0.1, convention="optax", **more), 1.0, "float16"
    )
    for _ in range(6):
        both.step(0.0)
    assert np.isnan(value_of(both.parameter))
    assert value_of(both.our_parameter) == 1.0


@jax_only
def test_optax_rounds_injected_hyperparameters() -> None:
    """inject_hyperparams keeps 0.999 in the parameters' dtype; in bfloat16 it is 1, and 1 - 1 divides."""
    import optax

    both = Optax(
        optax.inject_hyperparams(optax.adam)(learning_rate=0.125),
        optimizers.Adam(0.125, convention="optax"),
        0.0,
        "bfloat16",
    )
    both.step(1.0)
    assert np.isnan(value_of(both.parameter))
    assert value_of(both.our_parameter) == -0.125


@jax_only
def test_optax_never_forgets_in_bfloat16() -> None:
    """0.999 v rounds to v, and there is no other dtype to be had for v."""
    import optax

    both = Optax(optax.adam(0.001), optimizers.Adam(convention="optax"), 0.0, "bfloat16")
    both.step(1.0)
    first = value_of(both.state[0].nu)
    for _ in range(20):
        both.step(0.0)
    assert value_of(both.state[0].nu) == first
    assert value_of(both.our_state.slots["velocity"]) == pytest.approx(0.001 * 0.999**20, rel=1e-4)


@jax_only
def test_optax_changes_the_dtype_of_its_state() -> None:
    """With float32 gradients of bfloat16 parameters the first step's state is of another dtype than init's."""
    import optax

    both = Optax(optax.adam(0.001), optimizers.Adam(convention="optax"), 0.0, "bfloat16")
    before, our_before = both.state[0].mu.dtype, both.our_state.slots["momentum"].dtype
    both.step(1.0, "float32")
    assert both.state[0].mu.dtype != before
    assert both.our_state.slots["momentum"].dtype == our_before


@jax_only
def test_optax_corrects_biases_in_float32() -> None:
    """1 - 0.999 in float32 is 1e-5 off, and so is the first step, which is exactly the rate."""
    import optax

    both = Optax(optax.adam(1.0, eps=0.0), optimizers.Adam(1.0, epsilon=0.0, convention="optax"), 0.0, "float32")
    both.step(1.0)
    assert 5e-6 < abs(value_of(both.parameter) + 1.0) < 1e-5
    assert distance(read(both.our_parameter), np.full(1, -1, np.float32), np.full(1, 1, np.float32)) <= 1


LARGEST = float(np.finfo(np.float32).max)
OVERFLOWS = 4 * LARGEST**0.5
"""Its square is too large for float32, a hundredth of its square is not."""


@jax_only
@pytest.mark.parametrize(
    ("theirs", "given", "ours", "more"),
    [
        ("adam", {}, "Adam", {}),
        ("adamw", {}, "AdamW", {}),
        ("nadam", {}, "Nadam", {}),
        ("rmsprop", {"decay": 0.99}, "RMSprop", {"rho": 0.99}),
        ("adadelta", {"rho": 0.99}, "Adadelta", {"rho": 0.99}),
    ],
)
def test_optax_squares_before_it_weighs(theirs: str, given: dict[str, Any], ours: str, more: dict[str, Any]) -> None:
    """The mean of squares is infinite for good, and the parameter stays where it is."""
    import optax

    both = Optax(
        getattr(optax, theirs)(0.1, **given), getattr(optimizers, ours)(0.1, convention="optax", **more), 0.0, "float32"
    )
    both.step(OVERFLOWS)
    for _ in range(3):
        after_first, ours_after_first = value_of(both.parameter), value_of(both.our_parameter)
        both.step(OVERFLOWS)
        assert value_of(both.parameter) == after_first
        assert value_of(both.our_parameter) < ours_after_first


@jax_only
def test_optax_divides_the_largest_gradient_of_nadam() -> None:
    """g / (1 - b1) overflows, and infinity is divided by infinity."""
    import optax

    both = Optax(optax.nadam(0.1), optimizers.Nadam(0.1, convention="optax"), 0.0, "float32")
    both.step(LARGEST / 2)
    assert np.isnan(value_of(both.parameter))
    assert np.isfinite(value_of(both.our_parameter))


@jax_only
def test_optax_takes_infinity_off_infinity() -> None:
    """The mean of squares and the square of the mean overflow in centered RMSprop."""
    import optax

    ours = optimizers.RMSprop(0.1, centered=True, convention="optax")
    both = Optax(optax.rmsprop(0.1, centered=True), ours, 0.0, "float32")
    both.step(LARGEST)
    assert np.isnan(value_of(both.parameter))
    assert np.isfinite(value_of(both.our_parameter))


# ---------------------------------------------------------------- Keras


@pytest.fixture
def keras(ask_keras: Ask) -> Ask:
    return ask_keras


def with_keras(
    keras: Ask, algorithm: str, rate: float, sizes: list[float], dtype: str, **arguments: Any
) -> tuple[float, float]:
    """What Keras and gradwise make of a parameter that starts from 0."""
    start = {"parameter": np.zeros(1)}
    run = Run(start, [{"parameter": np.full(1, size)} for size in sizes], [rate] * len(sizes))
    theirs = keras(algorithm, arguments, run, dtype)[-1]["parameter"]
    parameter = array("torch", np.zeros(1, numpy_dtype(dtype)))
    optimizer = getattr(optimizers, algorithm)(rate, **arguments)
    for size in sizes:
        optimizer.apply([array("torch", np.full(1, size, numpy_dtype(dtype)))], [parameter])
    return float(theirs[0]), value_of(parameter)


@keras_only
@pytest.mark.parametrize("algorithm", ["Adam", "AdamW"])
def test_keras_does_not_move_in_bfloat16(keras: Ask, algorithm: str) -> None:
    """beta_2 = 0.999 is 1 in bfloat16, so that its correction is 0, and so is the step."""
    theirs, ours = with_keras(keras, algorithm, 0.125, [1.0, 1.0], "bfloat16")
    assert theirs == 0.0
    assert ours == pytest.approx(-0.25, rel=0.01)


@keras_only
def test_keras_leaps_in_float16(keras: Ask) -> None:
    """The square of 1e-4 is 0 in float16: only epsilon divides."""
    theirs, ours = with_keras(keras, "Adam", 0.01, [1e-4], "float16")
    assert abs(theirs) > 0.1
    assert ours == pytest.approx(-0.01, rel=0.05)


@keras_only
def test_keras_divides_nothing_by_nothing_in_float16(keras: Ask) -> None:
    """epsilon = 1e-8 is 0 in float16."""
    theirs, ours = with_keras(keras, "Adamax", 0.01, [0.0], "float16", epsilon=1e-8)
    assert np.isnan(theirs)
    assert ours == 0.0


@keras_only
def test_keras_takes_the_root_of_less_than_nothing(keras: Ask) -> None:
    theirs, ours = with_keras(keras, "RMSprop", 0.01, [10.0] * 40, "float32", rho=0.5, centered=True)
    assert np.isnan(theirs)
    assert np.isfinite(ours)


@keras_only
@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
def test_keras_limits_norms_in_float32(keras: Ask, clipping: str) -> None:
    """Whatever floatx is, keras.ops.maximum and minimum of a float64 tensor and a number are float32 on torch."""
    theirs, ours = with_keras(keras, "SGD", 1.0, [0.7], "float64", **{clipping: 0.1})
    assert 1e-10 < abs(theirs / -0.1 - 1) < 2.0**-23
    assert ours == pytest.approx(-0.1, rel=1e-15)


@keras_only
@pytest.mark.parametrize(
    ("algorithm", "more"), [("Adam", {}), ("AdamW", {}), ("Nadam", {}), ("RMSprop", {"rho": 0.99})]
)
def test_keras_squares_before_it_weighs(keras: Ask, algorithm: str, more: dict[str, Any]) -> None:
    """The mean of squares is infinite for good, and the parameter stays where it is."""
    sizes = [OVERFLOWS, OVERFLOWS, OVERFLOWS]
    theirs, ours = with_keras(keras, algorithm, 0.1, sizes, "float32", **more)
    assert theirs == 0.0
    assert ours < -0.1
