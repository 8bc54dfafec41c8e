"""Where Keras's own optimizers are at fault and these are not."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from small import BACKEND, distance, gradients, values, variables

from gradwise.frontends import keras as gkeras


def ones(count: int = 1, value: float = 1.0) -> list[Any]:
    return [keras.ops.full((2,), value) for _ in range(count)]


def parameters(count: int = 1, **keywords: Any) -> list[Any]:
    return [keras.Variable(np.ones(2, dtype="float32"), name=f"kernel_{n}", **keywords) for n in range(count)]


def test_everything_may_be_excluded_from_weight_decay() -> None:
    def moved(kind: Any) -> list[np.ndarray]:
        optimizer, given = kind(0.125, weight_decay=0.5), parameters()
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
        optimizer.apply(ones(), given)
        return values(given)

    assert distance(moved(gkeras.SGD), [np.full(2, 0.875)]) == 0.0
    if BACKEND == "torch":
        with pytest.raises(RuntimeError, match="must have at least one tensor"):
            moved(keras.optimizers.SGD)


def test_integer_rates_of_schedules_are_floats() -> None:
    own = gkeras.schedules.CosineDecay(0, 10, warmup_target=0.5, warmup_steps=4)
    assert float(own(2)) == 0.25
    assert float(keras.optimizers.schedules.CosineDecay(0, 10, warmup_target=0.5, warmup_steps=4)(2)) == 0.0


def test_accumulated_gradients_are_not_lost_where_the_last_is_missing() -> None:
    def moved(kind: Any) -> list[np.ndarray]:
        optimizer, given = kind(1.0, gradient_accumulation_steps=2), parameters(2)
        for last in (None, *ones(), *ones()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optimizer.apply([*ones(), last if last is None else ones()[0]], given)
                optimizer.apply([*ones(), None], given)
        optimizer.apply(ones(2), given)
        optimizer.apply(ones(2), given)
        return [*values(given), *values(optimizer._accumulated_gradients)]

    # Two were gathered and kept; both are in the last mean, of four.
    assert distance(moved(gkeras.SGD)[1:2], [np.full(2, 1.0 - 4 / 2)]) == 0.0


def test_averages_are_of_constrained_values() -> None:
    optimizer, given = gkeras.SGD(2.0, use_ema=True), parameters()
    given[0].constraint = keras.constraints.NonNeg()
    optimizer.apply(ones(), given)
    assert distance(values(optimizer._model_variables_moving_average), [np.zeros(2)]) == 0.0


def test_pure_steps_leave_their_arguments_as_they_are() -> None:
    optimizer, given = gkeras.Adam(0.125), variables()
    optimizer.build(given)
    state = [keras.ops.copy(variable.value) for variable in optimizer.variables]
    held = [keras.ops.copy(variable.value) for variable in given]
    before = [np.array(keras.ops.convert_to_numpy(value)) for value in (*state, *held)]
    optimizer.stateless_apply(state, gradients(1)[0], held)
    after = [keras.ops.convert_to_numpy(value) for value in (*state, *held)]
    assert distance(after, before) == 0.0


def test_float16_parameters_with_small_gradients() -> None:
    for kind, expected in ((gkeras.Adam, 0.01), (keras.optimizers.Adam, None)):
        given = parameters(dtype="float16")
        kind(0.01).apply([keras.ops.full((2,), 1e-4, dtype="float16")], given)
        step = 1.0 - values(given)[0]
        if expected is not None:
            np.testing.assert_allclose(step, expected, rtol=0.05)
        else:
            assert abs(step[0]) > 0.1 or np.isnan(step[0])


def test_a_rate_from_a_callable_cannot_be_set() -> None:
    with pytest.raises(TypeError, match="its learning rate is not settable"):
        gkeras.SGD(lambda: 0.5).learning_rate = 0.25
    with pytest.raises(AttributeError):
        keras.optimizers.SGD(lambda: 0.5).learning_rate = 0.25


def test_a_variable_given_twice() -> None:
    """Keras adds both up, loses one, or does neither, by backend; here one gradient would be lost."""
    optimizer, (first, second) = gkeras.SGD(0.125), parameters(2)
    optimizer.build([first, second])
    with pytest.raises(ValueError, match="was given twice in one step: add up its gradients"):
        optimizer.apply(ones(2), [first, first])
    assert distance(values([first, second]), [np.ones(2)] * 2) == 0.0 and int(optimizer.iterations) == 0


@pytest.mark.parametrize(("kind", "name"), [("AdamW", "weight_decay"), ("Adagrad", "initial_accumulator_value")])
def test_a_number_that_is_none(kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"Argument `{name}` must be a float. Received: {name}=None"):
        getattr(gkeras, kind)(**{name: None})
