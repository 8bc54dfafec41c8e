"""Bad input and the user's own failing code change nothing, in the middle of a step too, on every way to run one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.every_convention import WITH_NAMES, algorithm_of
from helpers.selection import crossing

from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, Optimizer

WAYS = ["one pass", "whole arrays", "functional"]


class Quantity(np.ndarray):
    """Elements with a unit: other numbers can be multiplied with them, but not added to them."""

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        plain = [np.asarray(each) for each in inputs]
        if function in (np.add, np.subtract, np.greater) and not all(isinstance(each, Quantity) for each in inputs):
            raise TypeError("a unit and none")
        return getattr(function, method)(*plain, **keywords).view(Quantity)


class Refusing(np.ndarray):
    """Takes part in no arithmetic."""

    __array_ufunc__ = None


class Logging(np.ndarray):
    """An array as of an automatic differentiation, which computes as plain ones do."""

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        plain = [np.asarray(each) for each in inputs]
        return np.asarray(getattr(function, method)(*plain, **keywords)).view(Logging)


class Renamed(np.ndarray):
    """A class with nothing of its own."""


def of(kind: type) -> Any:
    return lambda array: array.view(kind)


GOOD = {
    "matrix": np.matrix, "memmap": None, "recarray": of(np.recarray), "logging": of(Logging), "renamed": of(Renamed),
    "masked nowhere": np.ma.array,
}  # fmt: skip
BAD = {
    "quantity": of(Quantity), "refusing": of(Refusing),
    "masked": lambda array: np.ma.array(array, mask=[[True, False], [False, False]]),
}  # fmt: skip


def gradient() -> Any:
    return np.array([[0.5, -1.0], [1.5, 2.0]])


def run(way: str, optimizer: Any, gradients: list[Any], weights: list[Any], steps: int = 3) -> list[Any]:
    if way == "functional":
        state = optimizer.init(weights)
        for _ in range(steps):
            weights, state = optimizer.step(weights, gradients, state)
        return weights
    optimizer.jit_compile = "auto" if way == "one pass" else False
    for _ in range(steps):
        optimizer.apply(gradients, weights)
    return weights


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@crossing(("kind", "convention", "name", "way"), WITH_NAMES, list(GOOD), WAYS, of=algorithm_of)
def test_a_gradient_of_a_class_that_is_its_elements_is_these(kind, convention, name, way, tmp_path):
    convert = GOOD[name]
    if convert is None:
        np.save(tmp_path / "gradient.npy", gradient())

        def convert(array):
            return np.load(tmp_path / "gradient.npy", mmap_mode="r")

    results = [
        run(way, kind(0.1, convention=convention, global_clipnorm=1.0) if convention != "keras2"
            else kind(0.1, convention=convention),
            [np.ones(2), each(gradient())], [np.ones(2), np.full((2, 2), 3.0)])
        for each in (np.array, convert)
    ]  # fmt: skip
    for one, other in zip(*results, strict=True):
        assert type(other) is np.ndarray
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scalar", [np.float64, np.float32, np.float16, np.longdouble, np.int64])
def test_a_scalar_of_numpy_is_a_gradient_as_an_array_of_no_dimensions_is(scalar, way):
    results = [run(way, Adam(0.1), [np.ones(2), each(2)], [np.ones(2), np.ones(())])
               for each in (lambda value: np.asarray(scalar(value)), scalar)]  # fmt: skip
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [0.0, -1.0, 1e300, 1e-300, np.inf, np.nan])
@pytest.mark.parametrize("name", [name for name in GOOD if GOOD[name] is not None])
def test_whether_a_class_is_its_elements_does_not_hang_on_what_they_are(name, value, way):
    array = gradient()
    array[0, 0] = value
    with np.errstate(all="ignore"):
        one, other = (run(way, SGD(0.1), [each(array)], [np.zeros((2, 2))]) for each in (np.array, GOOD[name]))
    np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_masked_array_without_masked_elements_is_a_parameter(value, way):
    start = np.full((2, 2), value)
    one, other = (run(way, SGD(0.1), [gradient()], [each]) for each in (start.copy(), np.ma.array(start)))
    np.testing.assert_array_equal(one[0], np.asarray(other[0]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("built", [True, False])
def test_a_gradient_of_a_class_that_is_more_than_its_elements_changes_nothing(name, built, way):
    optimizer, weights = Adam(0.1), [np.ones(2), np.full((2, 2), 3.0)]
    if built:
        weights = run(way, optimizer, [np.ones(2), gradient()], weights)
    before = [weight.copy() for weight in weights]
    count = optimizer.iterations
    with pytest.raises(TypeError, match=r"The gradient of '\w*1' cannot be computed with: (the arithmetic of|some)"):
        run(way, optimizer, [np.ones(2), BAD[name](gradient())], weights)
    assert optimizer.iterations == count
    for weight, kept in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("convert", [np.matrix, of(Quantity), of(Refusing)])
def test_a_parameter_of_such_a_class_is_refused_before_the_others_are_written(convert, way):
    weights = [np.ones(2), convert(gradient())]
    optimizer = Adam(0.1)
    with pytest.raises((TypeError, ValueError), match=r"matrix|Quantity|Refusing"):
        run(way, optimizer, [np.ones(2), gradient()], weights)
    assert weights[0].tolist() == [1.0, 1.0] and optimizer.iterations == 0
    np.testing.assert_array_equal(np.asarray(weights[1]), gradient())


@pytest.mark.parametrize("way", WAYS[:2])
def test_arrays_that_became_read_only_change_nothing(way, tmp_path):
    np.save(tmp_path / "weight.npy", np.ones(3))
    mapped = np.load(tmp_path / "weight.npy", mmap_mode="r")
    weight, optimizer = np.ones(3), Adam(0.1)
    with pytest.raises(TypeError, match="read-only"):
        run(way, optimizer, [np.ones(3), np.ones(3)], [weight, mapped])
    assert weight.tolist() == [1.0] * 3
    weights = [np.ones(3), np.ones(3)]
    for spoil in (lambda: weights[1], lambda: optimizer.velocities[1].value):
        run(way, optimizer, [np.ones(3), np.ones(3)], weights)
        kept, count = weights[0].copy(), optimizer.iterations
        spoil().flags.writeable = False
        with pytest.raises(TypeError, match=r"variable_1.* any more, because it is read-only"):
            run(way, optimizer, [np.ones(3), np.ones(3)], weights)
        spoil().flags.writeable = True
        np.testing.assert_array_equal(weights[0], kept)
        assert optimizer.iterations == count


# ---------------------------------------------------------------- the user's own code


class Failing(Optimizer):
    """A rule that fails for parameters of one name, when it is told to."""

    failing = False

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")
        self.total = self.add_variable((), name="total")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        self.assign_add(self.sums[index], gradient)
        self.assign_add(self.total, ops.cast(ops.sum(gradient), self.total.dtype))
        self.assign_sub(variable, self.sums[index] * learning_rate)
        if self.failing and variable.name == "last":
            raise OverflowError("the user's own")


def limited(value: Any) -> Any:
    if float(np.max(np.asarray(value))) < 0.7:
        raise OverflowError("the user's own")
    return value


def everything(optimizer: Any, weights: list[Any]) -> list[Any]:
    return [weight.numpy() for weight in weights] + [cell.numpy() for cell in optimizer.variables]


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch),
                                     pytest.param("jax", marks=pytest.mark.jax)])  # fmt: skip
@pytest.mark.parametrize("case", ["rule", "constraint", "schedule", "accumulating"])
def test_the_users_own_code_fails_in_the_middle(case, library):
    def array(values: Any) -> Any:
        if library == "numpy":
            return np.asarray(values, np.float32)
        import importlib

        module = importlib.import_module("torch" if library == "torch" else "jax.numpy")
        return module.asarray(np.asarray(values, np.float32))

    def rate(step: Any) -> float:
        if failing:
            raise OverflowError("the user's own")
        return 0.1

    failing = False
    optimizer = {
        "rule": lambda: Failing(0.1),
        "constraint": lambda: Adam(0.1),
        "schedule": lambda: Adam(rate),
        "accumulating": lambda: Adam(0.1, gradient_accumulation_steps=2),
    }[case]()
    names = ["first", "middle", "last"]
    constraints = {"last": limited} if case in ("constraint", "accumulating") else {}
    weights = [Variable(array(np.ones(size)), name, constraints.get(name)) for size, name in enumerate(names, 2)]
    gradients = [array(np.full(weight.shape, 1.0)) for weight in weights]
    for _ in range(7 if case == "accumulating" else 3):
        optimizer.apply(gradients, weights)
    before = everything(optimizer, weights)
    failing = True
    if case == "rule":
        optimizer.failing = True
    for _ in range(2):
        with pytest.raises(OverflowError, match="the user's own"):
            optimizer.apply(gradients, weights)
        for kept, now in zip(before, everything(optimizer, weights), strict=True):
            np.testing.assert_array_equal(kept, now)


def test_a_failing_rule_that_is_mended_goes_on_as_if_it_had_not_failed():
    def train(fails: bool) -> list[Any]:
        optimizer, weights = Failing(0.1), [Variable(np.ones(2), name) for name in ("first", "last")]
        for step in range(4):
            gradients = [np.full(2, step - 1.0), np.full(2, step + 1.0)]
            if fails and step == 2:
                optimizer.failing = True
                with pytest.raises(OverflowError):
                    optimizer.apply(gradients, weights)
                optimizer.failing = False
            optimizer.apply(gradients, weights)
        return everything(optimizer, weights)

    for one, other in zip(train(False), train(True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_parameters_that_exchange_memory_are_written_as_if_one_after_the_other():
    class Shifting(Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = self._get_variable_index(variable)
            following = self.cells.parameters[(index + 1) % len(self.cells.parameters)]
            self.assign(variable, following.value)

    for count in (2, 40):
        weights = [np.full(3, float(number)) for number in range(count)]
        Shifting(1.0, jit_compile=False).apply([np.ones(3)] * count, weights)
        assert [weight[0] for weight in weights] == [*map(float, range(1, count)), 1.0]


def test_where_the_library_alone_computes_no_more_than_one_parameter_is_held_twice():
    import tracemalloc

    weights = [np.ones(100_000) for _ in range(20)]
    gradients = [np.ones(100_000)] * 20
    optimizer = SGD(0.1, jit_compile=False)
    optimizer.apply(gradients, weights)
    tracemalloc.start()
    optimizer.apply(gradients, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * weights[0].nbytes
