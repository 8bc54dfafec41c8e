"""Schedules, ours, Keras's and the core's, as learning rates."""

from __future__ import annotations

import decimal
import fractions
import inspect
from typing import Any

import keras
import numpy as np
import pytest
from small import TRAINS, distance, gradients, losses, model, values, variables

from gradwise import schedules
from gradwise.frontends import keras as gkeras

ROWS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ExponentialDecay", (0.5, 4, 0.5), {}),
    ("ExponentialDecay", (0.5, 4, 0.5), {"staircase": True, "name": "own"}),
    ("PiecewiseConstantDecay", ([2, 5], [0.5, 0.25, 0.125]), {}),
    ("PolynomialDecay", (0.5, 4), {"end_learning_rate": 0.1, "power": 2.0, "cycle": True}),
    ("InverseTimeDecay", (0.5, 4, 0.5), {"staircase": True}),
    ("CosineDecay", (0.5, 6), {"alpha": 0.25, "warmup_target": 0.75, "warmup_steps": 2}),
    ("CosineDecayRestarts", (0.5, 3), {"t_mul": 2.0, "m_mul": 0.5, "alpha": 0.25}),
]
IDS = [f"{name}-{number}" for number, (name, _, _) in enumerate(ROWS)]


@pytest.mark.parametrize(("name", "arguments", "keywords"), ROWS, ids=IDS)
def test_schedules_are_kerass(name: str, arguments: Any, keywords: Any) -> None:
    own, theirs = getattr(gkeras.schedules, name), getattr(keras.optimizers.schedules, name)
    assert issubclass(own, keras.optimizers.schedules.LearningRateSchedule)
    expected = list(inspect.signature(theirs.__init__).parameters.values())[1:]
    assert list(inspect.signature(own).parameters.values()) == expected
    mine, other = own(*arguments, **keywords), theirs(*arguments, **keywords)
    assert mine.get_config() == other.get_config()
    for step in range(10):
        for given in (step, keras.Variable(step, dtype="int32", trainable=False)):
            found = mine(given)
            assert keras.ops.is_tensor(found)
            assert float(found) == pytest.approx(float(other(given)), rel=1e-6)
    revived = gkeras.schedules.deserialize(gkeras.schedules.serialize(mine))
    assert type(revived) is own
    assert revived.get_config() == mine.get_config()
    assert own.from_config(other.get_config()).get_config() == other.get_config()


RATES: dict[str, Any] = {
    "ours": lambda: gkeras.schedules.ExponentialDecay(0.5, 4, 0.5),
    "Keras's": lambda: keras.optimizers.schedules.ExponentialDecay(0.5, 4, 0.5),
    "the core's": lambda: schedules.ExponentialDecay(0.5, 4, 0.5),
    "wrapped": lambda: gkeras.schedules.wrap(schedules.ExponentialDecay(0.5, 4, 0.5)),
    "a callable of the step": lambda: lambda step: 0.5 * 0.5 ** (step / 4),
}


def moved(optimizer: Any) -> list[np.ndarray]:
    parameters = variables()
    for row in gradients(5):
        optimizer.apply(row, parameters)
    return values(parameters)


@pytest.mark.parametrize("make", RATES.values(), ids=RATES)
def test_any_schedule_is_a_rate(make: Any) -> None:
    expected = moved(keras.optimizers.SGD(RATES["Keras's"]()))
    optimizer = gkeras.SGD(make())
    assert distance(moved(optimizer), expected) <= 1e-6
    assert float(optimizer.learning_rate) == pytest.approx(0.5 * 0.5 ** (5 / 4))
    assert len(optimizer.variables) == 1
    later = gkeras.SGD(0.125)
    later.learning_rate = make()
    assert distance(moved(later), expected) <= 1e-6
    assert len(later.variables) == 1
    with pytest.raises(TypeError, match="its learning rate is not settable"):
        later.learning_rate = 0.5


def test_callable_of_nothing() -> None:
    assert distance(moved(gkeras.SGD(lambda: 0.25)), moved(gkeras.SGD(0.25))) == 0.0


def test_ours_serve_kerass_optimizers() -> None:
    own = keras.optimizers.SGD(RATES["ours"]())
    assert distance(moved(own), moved(keras.optimizers.SGD(RATES["Keras's"]()))) <= 1e-6


@pytest.mark.parametrize("name", ["ours", "Keras's", "the core's"])
def test_schedules_come_back_from_configuration(name: str) -> None:
    optimizer = gkeras.Adam(RATES[name]())
    for revived in (
        gkeras.Adam.from_config(optimizer.get_config()),
        keras.optimizers.deserialize(keras.optimizers.serialize(optimizer)),
    ):
        assert revived.get_config() == optimizer.get_config()
        assert distance(moved(revived), moved(gkeras.Adam(RATES[name]()))) == 0.0


@keras.saving.register_keras_serializable("tests")
class Halving(schedules.LearningRateSchedule):
    def rate(self, step: Any) -> Any:
        return 0.5 / (step + 1)

    def get_config(self) -> dict[str, Any]:
        return {}


def test_a_users_own_schedule_of_the_core() -> None:
    optimizer = gkeras.SGD(Halving())
    revived = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert revived.core.learning_rate_schedule == Halving()
    if TRAINS:
        rates = keras.optimizers.schedules.InverseTimeDecay(0.5, 1, 1.0)
        np.testing.assert_allclose(
            losses(model(revived)), losses(model(keras.optimizers.SGD(rates))), atol=2e-5
        )


@pytest.mark.parametrize("name", ["ours", "Keras's", "the core's"])
def test_schedules_in_compiled_training(name: str) -> None:
    if not TRAINS:
        pytest.skip("Keras does not train on NumPy")
    expected = losses(model(keras.optimizers.SGD(RATES["Keras's"]())))
    np.testing.assert_allclose(losses(model(gkeras.SGD(RATES[name]()))), expected, atol=2e-5)


def test_wrap_takes_schedules_of_the_core_only() -> None:
    with pytest.raises(TypeError, match=r"Expected a schedule of gradwise\.schedules, received float"):
        gkeras.schedules.wrap(0.5)


NUMBERS = {
    "Fraction": fractions.Fraction(1, 4), "Decimal": decimal.Decimal("0.25"), "float16": np.float16(0.25),
    "longdouble": np.longdouble(0.25), "0-d array": np.array(0.25),
}  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_rates_of_every_kind_of_number(number: Any) -> None:
    expected = moved(gkeras.SGD(0.25))
    later = gkeras.SGD(1.0)
    later.learning_rate = number
    for optimizer in (gkeras.SGD(number), later, gkeras.SGD(lambda: number)):
        assert distance(moved(optimizer), expected) == 0
    other = gkeras.Adam(0.25, beta_1=number)
    other.weight_decay = number
    assert distance(moved(other), moved(gkeras.Adam(0.25, beta_1=0.25, weight_decay=0.25))) == 0


@pytest.mark.parametrize("number", [True, np.True_, np.array(True), "0.25", fractions.Fraction(-1, 4)], ids=repr)
def test_what_is_no_rate(number: Any) -> None:
    for make in (gkeras.SGD, lambda value: gkeras.SGD(lambda: value)):
        with pytest.raises(ValueError):
            moved(make(number))
    optimizer = gkeras.SGD(0.5)
    with pytest.raises(ValueError):
        optimizer.learning_rate = number
    assert float(optimizer.learning_rate) == 0.5
