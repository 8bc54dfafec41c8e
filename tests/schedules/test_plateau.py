"""ReduceLROnPlateau: when it lowers the rate, and what it refuses."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from gradwise import schedules
from gradwise.schedules import ReduceLROnPlateau


class Float32Optimizer:
    """Keeps its rate in single precision, as Keras does."""

    def __init__(self, rate):
        self.learning_rate = rate

    @property
    def learning_rate(self):
        return float(self._rate)

    @learning_rate.setter
    def learning_rate(self, rate):
        self._rate = np.float32(rate)


def plateau_for(rate=1.0, **arguments):
    return ReduceLROnPlateau(SimpleNamespace(learning_rate=rate), **arguments)


def reductions(values, **arguments):
    """The 0-based epochs in which the rate was lowered."""
    plateau = plateau_for(factor=0.5, **arguments)
    return [epoch for epoch, value in enumerate(values) if plateau.step(value)]


FLAT = [1.0] * 12


@pytest.mark.parametrize(
    ("arguments", "values", "expected"),
    [
        # Keras reduces at 2, 5, 8 and 11 with a cooldown of two: one epoch short.
        (dict(patience=2, cooldown=0), FLAT, [2, 4, 6, 8, 10]),
        (dict(patience=2, cooldown=1), FLAT, [2, 5, 8, 11]),
        (dict(patience=2, cooldown=2), FLAT, [2, 6, 10]),
        (dict(patience=1, cooldown=3), FLAT, [1, 5, 9]),
        # A patience of nothing is a patience of one, as in Keras.
        (dict(patience=0), FLAT, list(range(1, 12))),
        (dict(patience=1), FLAT, list(range(1, 12))),
        (dict(), [1.0] * 11, [10]),
        # Only a change by more than min_delta is an improvement.
        (dict(patience=2, min_delta=0.125), [1.0, 0.875, 0.875, 0.75, 0.75], [2]),
        (dict(patience=2, min_delta=-0.125), [1.0, 0.875, 0.875, 0.75, 0.75], [2]),
        (dict(patience=2, min_delta=0.125, mode="max"), [0.5, 0.625, 0.625, 0.75, 0.75], [2]),
        (dict(patience=1, min_delta=0), [3, 2, 1, 1, 0], [3]),
        (dict(patience=1, mode="max"), [1, 2, 3, 2], [3]),
        # An improvement starts the count again, one during the cooldown is remembered.
        (dict(patience=2), [1.0, 1.0, 0.5, 0.5, 0.5], [4]),
        (dict(patience=1, cooldown=1), [1.0, 1.0, 0.5, 0.6, 0.4], [1, 3]),
        # NaN is never an improvement and never the best.
        (dict(patience=2), [math.nan, 1.0, 0.5, math.nan, math.nan, 0.25], [4]),
        (dict(patience=2), [math.nan, math.nan, math.nan], [1]),
        (dict(patience=1, mode="max"), [math.nan, 1.0, 2.0], [0]),
        # Infinite values are values.
        (dict(patience=1), [math.inf, 1.0, math.inf], [2]),
        (dict(patience=1), [-math.inf, 1.0], [1]),
    ],
)
def test_when_the_rate_is_lowered(arguments, values, expected):
    assert reductions(values, **arguments) == expected


def test_by_how_much_the_rate_is_lowered():
    plateau = plateau_for(rate=1.0, factor=0.1, patience=1, min_lr=0.02)
    lowered = [(plateau.step(1.0), round(plateau.optimizer.learning_rate, 12)) for _ in range(5)]
    assert lowered == [(False, 1.0), (True, 0.1), (True, 0.02), (False, 0.02), (False, 0.02)]
    assert not plateau.in_cooldown()


def test_a_factor_of_nothing_goes_to_the_least_rate():
    plateau = plateau_for(factor=0.0, patience=1, min_lr=0.25)
    assert [plateau.step(1.0) for _ in range(3)] == [False, True, False]
    assert plateau.optimizer.learning_rate == 0.25


def test_a_least_rate_that_the_optimizer_rounds_up_is_reached_once():
    least = 0.001
    assert float(np.float32(least)) > least
    plateau = ReduceLROnPlateau(Float32Optimizer(0.01), factor=0.1, patience=1, min_lr=least, cooldown=1)
    assert [plateau.step(1.0) for _ in range(6)] == [False, True, False, False, False, False]


@pytest.mark.parametrize(
    "convert",
    [
        int, float, np.float32, np.asarray,
        pytest.param(lambda x: pytest.importorskip("torch").tensor(x, requires_grad=True), marks=pytest.mark.torch),
        pytest.param(lambda x: pytest.importorskip("jax").numpy.asarray(x), marks=pytest.mark.jax),
    ],
)  # fmt: skip
def test_values_of_all_libraries(convert):
    plateau = plateau_for(patience=1)
    assert [plateau.step(convert(value)) for value in (2.0, 1.0, 1.0)] == [False, False, True]
    assert type(plateau.best) is float


@pytest.mark.parametrize("value", ["1", None, True, np.ones(2), [1.0]])
def test_a_value_must_be_a_number(value):
    plateau = plateau_for()
    plateau.step(1.0)
    with pytest.raises(ValueError, match=r"The metric 'val_loss' must be a number\. Received"):
        plateau.step(value)
    assert plateau.state_dict() == {"best": 1.0, "wait": 0, "cooldown_counter": 0}


@pytest.mark.parametrize(
    ("monitor", "direction"),
    [
        ("loss", "min"), ("val_loss", "min"), ("digits_loss", "min"), ("val_mae", "min"), ("mse", "min"),
        ("mean_squared_error", "min"), ("sparse_categorical_crossentropy", "min"), ("RMSE", "min"),
        ("acc", "max"), ("val_acc", "max"), ("val_sparse_categorical_accuracy", "max"), ("auc", "max"),
        ("auc_2", "max"), ("precision", "max"), ("val_recall_1", "max"), ("f1", "max"), ("f1_score", "max"),
        ("top-5 acc", "max"),
    ],
)  # fmt: skip
def test_the_direction_is_read_from_the_name(monitor, direction):
    assert plateau_for(monitor=monitor).direction == direction


@pytest.mark.parametrize("monitor", ["score", "val_reward", "", "accuracy_loss", "glossary", "place"])
def test_a_name_that_tells_no_direction_needs_a_mode(monitor):
    with pytest.raises(ValueError, match="pass mode='min' or mode='max'"):
        plateau_for(monitor=monitor)
    assert plateau_for(monitor=monitor, mode="max").direction == "max"


def test_keras_hooks():
    plateau = plateau_for(rate=0.5, monitor="val_accuracy", factor=0.5, patience=1)
    plateau.on_train_begin()
    logs = {"val_accuracy": 0.9}
    assert plateau.on_epoch_end(0, logs) is False
    assert logs == {"val_accuracy": 0.9, "learning_rate": 0.5}
    # The epoch that just ended ran at the rate before the reduction.
    assert plateau.on_epoch_end(1, logs) is True
    assert logs["learning_rate"] == 0.5 and plateau.optimizer.learning_rate == 0.25
    plateau.on_train_begin()
    assert plateau.state_dict() == {"best": None, "wait": 0, "cooldown_counter": 0}


@pytest.mark.parametrize("logs", [{"loss": 1.0}, {"loss": 1.0, "val_loss": None}, {}])
def test_a_missing_metric_is_a_warning_and_does_not_count(logs):
    plateau = plateau_for(patience=1)
    plateau.on_epoch_end(0, {"val_loss": 1.0})
    with pytest.warns(UserWarning, match=r"metric `val_loss`, which is not available. Available.*learning_rate"):
        assert plateau.on_epoch_end(1, logs) is False
    assert logs["learning_rate"] == 1.0
    assert plateau.state_dict() == {"best": 1.0, "wait": 0, "cooldown_counter": 0}
    with pytest.warns(UserWarning, match="not available"):
        plateau.on_epoch_end(2)


def test_verbose_prints_one_line_for_a_reduction(capsys):
    quiet, talking = plateau_for(patience=1), plateau_for(patience=1, verbose=1)
    for plateau in (quiet, talking):
        for epoch in range(2):
            plateau.on_epoch_end(epoch, {"val_loss": 1.0})
    expected = "Epoch 2: `val_loss` has not improved for 1 epoch, reducing the learning rate from 1 to 0.1.\n"
    assert capsys.readouterr().out == expected
    talking.step(1.0)
    assert capsys.readouterr().out == expected.removeprefix("Epoch 2: ").replace("1 to 0.1", "0.1 to 0.01")


def test_resuming_goes_on_as_if_nothing_had_happened():
    values = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9]
    arguments = dict(factor=0.5, patience=2, cooldown=1)
    whole = plateau_for(**arguments)
    expected = [whole.step(value) for value in values]
    for cut in range(len(values)):
        first = plateau_for(**arguments)
        before = [first.step(value) for value in values[:cut]]
        second = ReduceLROnPlateau(first.optimizer, **arguments)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert before + [second.step(value) for value in values[cut:]] == expected
        assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    "state",
    [
        {}, {"best": 1.0, "wait": 0}, {"best": 1.0, "wait": 0, "cooldown_counter": 0, "more": 1},
        {"best": "low", "wait": 1, "cooldown_counter": 0}, {"best": 1.0, "wait": -1, "cooldown_counter": 0},
        {"best": 1.0, "wait": 1, "cooldown_counter": 0.5},
    ],
)  # fmt: skip
def test_a_bad_state_changes_nothing(state):
    plateau = plateau_for()
    with pytest.raises(ValueError, match="Received"):
        plateau.load_state_dict(state)
    assert plateau.state_dict() == {"best": None, "wait": 0, "cooldown_counter": 0}


def test_arguments_are_attributes():
    arguments = dict(
        monitor="loss", factor=0.5, patience=3, mode="min", min_delta=0.25, cooldown=2, min_lr=0.125, verbose=1
    )
    optimizer = SimpleNamespace(learning_rate=1.0)
    plateau = ReduceLROnPlateau(optimizer, *arguments.values())
    assert {name: getattr(plateau, name) for name in arguments} == arguments
    assert plateau.optimizer is optimizer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(factor=1.0), r"`factor` must be a finite number in \[0, 1\). Received: factor=1.0"),
        (dict(factor=-0.1), "`factor`"),
        (dict(factor=True), "`factor`"),
        (dict(factor=math.nan), "`factor`"),
        (dict(patience=-1), "`patience` must be a whole number >= 0"),
        (dict(patience=1.5), "`patience` must be a whole number >= 0"),
        (dict(cooldown=-1), "`cooldown` must be a whole number >= 0"),
        (dict(min_lr=-1.0), "`min_lr` must be a finite number >= 0"),
        (dict(min_delta=math.nan), "`min_delta` must be a finite number"),
        (dict(mode="sideways"), "`mode` must be 'auto', 'min' or 'max'. Received: mode='sideways'"),
        (dict(monitor=3), "`monitor` must be a string"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plateau_for(**arguments)


@pytest.mark.parametrize("rate", [schedules.ExponentialDecay(0.1, 10, 0.5), lambda: 0.1])
def test_a_rate_that_is_set_by_a_schedule_is_refused_at_once(rate):
    for optimizer in (
        SimpleNamespace(learning_rate=0.1, learning_rate_schedule=rate), SimpleNamespace(learning_rate=rate)
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"the optimizer's rate is set by .*: set optimizer\.learning_rate to"):
            ReduceLROnPlateau(optimizer)


def test_a_schedule_that_comes_later_is_refused_before_anything_is_set():
    plateau = plateau_for(patience=1)
    plateau.step(1.0)
    plateau.optimizer.learning_rate_schedule = schedules.ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(TypeError, match="set by ExponentialDecay"):
        plateau.step(1.0)
    assert plateau.optimizer.learning_rate == 1.0


@pytest.mark.parametrize("optimizer", [None, object(), "adam"])
def test_an_optimizer_needs_a_learning_rate(optimizer):
    with pytest.raises(TypeError, match="needs an optimizer with a learning_rate"):
        ReduceLROnPlateau(optimizer)
