"""Parameters in other arrays: after joblib, which does not keep identities, and by `relink`."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.every_convention import EVERY, called

from gradwise.backends import Variable
from gradwise.optimizers import SGD, Adam, Nadam


class Estimator:
    """Its arrays and its optimizer, as attributes."""

    def __init__(self, optimizer: Any) -> None:
        self.kernel, self.bias = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
        self.optimizer = optimizer

    @property
    def parameters(self) -> list[Any]:
        return [self.kernel, self.bias]

    def fit(self, steps: int) -> Estimator:
        for step in range(steps):
            self.optimizer.apply([np.full(array.shape, step - 1.0, array.dtype) for array in self.parameters],
                                 self.parameters)  # fmt: skip
        return self


def apart(estimator: Estimator) -> Estimator:
    """As a format that keeps no identities leaves it."""
    twin = copy.copy(estimator)
    twin.kernel, twin.bias = pickle.loads(pickle.dumps((estimator.kernel, estimator.bias)))
    twin.optimizer = pickle.loads(pickle.dumps(estimator.optimizer))
    return twin


def by_joblib(estimator: Estimator) -> Estimator:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def equal(one: Estimator, other: Estimator) -> None:
    for a, b in zip(one.parameters, other.parameters, strict=True):
        np.testing.assert_array_equal(a, b)
    for cell, twin in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(cell.numpy(), twin.numpy())


@pytest.mark.parametrize("travel", [by_joblib, apart])
@pytest.mark.parametrize("kind, convention", EVERY, ids=called)
def test_training_goes_on_after_loading(kind, convention, travel):
    estimator = Estimator(kind(0.1, convention=convention)).fit(3)
    loaded = travel(estimator)
    equal(estimator.fit(3), loaded.fit(3))


def test_in_the_memory_of_the_new_arrays_and_not_of_the_old_ones():
    estimator = Estimator(Adam(0.1)).fit(2)
    loaded = apart(estimator)
    kernel = estimator.kernel.copy()
    loaded.fit(4)
    assert np.all(estimator.kernel == kernel) and np.all(loaded.kernel != kernel)


@pytest.mark.parametrize(("change", "remedy"), [
    (lambda a: a + 1, r"relink\(variables\)"),
    (lambda a: a.astype(np.float64), r"relink\(variables\)"),
    (lambda a: a[:1], r"Make a new optimizer for another model\.$"),
], ids=["values", "dtype", "shape"])  # fmt: skip
def test_other_arrays_are_not_taken_for_the_parameters(change, remedy):
    loaded = apart(Estimator(Adam(0.1)).fit(2))
    loaded.kernel = change(loaded.kernel)
    kernel = loaded.kernel.copy()
    with pytest.raises(ValueError, match=f"Unknown variable.*{remedy}"):
        loaded.fit(1)
    np.testing.assert_array_equal(loaded.kernel, kernel)
    assert loaded.optimizer.iterations == 2


def test_equal_arrays_are_no_others_later_than_in_the_first_step():
    optimizer, weights = SGD(0.1), np.ones(3)
    optimizer.apply([np.ones(3)], [weights])
    with pytest.raises(ValueError, match=r"relink\(variables\)"):
        optimizer.apply([np.ones(3)], [weights.copy()])
    optimizer = pickle.loads(pickle.dumps(optimizer))
    optimizer.apply([np.ones(3)])
    with pytest.raises(ValueError, match=r"relink\(variables\)"):
        optimizer.apply([np.ones(3)], [optimizer.cells.parameters[0].numpy()])


@pytest.mark.parametrize("jit_compile", [False, "auto"])
def test_relink_goes_on_in_other_arrays(jit_compile):
    def run(relinked: bool) -> Any:
        optimizer = Nadam(0.1, weight_decay=0.1, jit_compile=jit_compile)
        weights = [np.ones(3), np.ones((2, 2))]
        optimizer.build(weights)
        optimizer.exclude_from_weight_decay([weights[1]])
        for step in range(6):
            if relinked and step == 3:
                before, weights = weights, [weight.copy() for weight in weights]
                optimizer.relink(weights)
            optimizer.apply([np.full(weight.shape, step - 2.0) for weight in weights], weights)
        if relinked:
            assert all(np.any(old != new) for old, new in zip(before, weights, strict=True))
        return weights

    for one, other in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_relink_to_variables_and_their_constraints():
    weights = np.ones(3)
    optimizer = SGD(1.0)
    optimizer.apply([np.zeros(3)], [weights])
    held = Variable(weights, "kernel", constraint=lambda value: value * 0.0 + 7.0)
    optimizer.relink([held])
    optimizer.apply([np.ones(3)], [held])
    assert held.numpy().tolist() == [7.0] * 3 and weights.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "given, words",
    [
        ([np.ones(3)], r"they are 1, and it was built for 2"),
        ([np.ones(3), np.ones(4)], r"shape \(4,\) cannot stand for 'variable_1', .* shape \(2,\)"),
        ([np.ones(3), np.ones(2, np.float32)], r"float32 .* cannot stand for 'variable_1', .*float64"),
        ([np.ones(3), [1.0, 1.0]], r"\[1.0, 1.0\] of type list cannot stand for 'variable_1'"),
    ],
)
def test_what_cannot_be_linked(given, words):
    weights = [np.ones(3), np.ones(2)]
    optimizer = SGD(0.1)
    with pytest.raises(ValueError, match="not built"):
        optimizer.relink(weights)
    optimizer.build(weights)
    with pytest.raises(ValueError, match=words):
        optimizer.relink(given)
    twice = np.ones(3)
    optimizer.apply([np.ones(3), np.ones(2)], weights)
    both = SGD(0.1)
    both.build([np.ones(3), np.ones(3)])
    with pytest.raises(ValueError, match="same object"):
        both.relink([twice, twice])


# ---------------------------------------------------------------- numbers of the state


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_product_that_a_file_has_in_single_precision_goes_on_in_double(library):
    def array(values: Any, dtype: Any = np.float64) -> Any:
        values = np.asarray(values, dtype)
        return __import__("torch").as_tensor(values) if library == "torch" else values

    optimizer = Nadam(0.1)
    params = array([1.0, -2.0])
    state = optimizer.init(params)
    params, state = optimizer.step(params, params, state)
    rounded = float(np.float32(state.scalars["u_product"]))
    loaded = state._replace(scalars={"u_product": array(rounded, np.float32)})
    for step in range(2, 30):
        params, loaded = optimizer.step(params, params, loaded)
        rounded *= optimizer._momentum_at(step)
        assert float(loaded.scalars["u_product"]) == rounded
    assert str(loaded.scalars["u_product"].dtype).endswith("float64")
