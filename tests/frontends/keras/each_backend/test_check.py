"""`check` runs what Keras wraps, on the backend that Keras has."""

import keras
import numpy as np
import pytest

from gradwise.backends import NUMPY, trials
from gradwise.backends.detect import backend_named
from gradwise.optimizers import Adam, Optimizer
from gradwise.optimizers.core.own_rules.check_report import WaysDiffer

KERAS = "keras front end, apply"
ON_TORCH = keras.backend.backend() == "torch"


@pytest.fixture(autouse=True)
def few_libraries(monkeypatch):
    """Ways without Keras have tests of their own; with torch comes the front end that is wrong alike."""
    monkeypatch.setattr(trials, "libraries", lambda: [NUMPY, *([backend_named("torch")] if ON_TORCH else [])])


def params():
    return {"layer": {"kernel": np.ones((4, 3), np.float32), "bias": np.ones(3, np.float32)}}


@pytest.mark.parametrize("options", [{}, {"use_ema": True, "ema_overwrite_frequency": 2}, {"global_clipnorm": 0.5}])
def test_what_is_right_is_so_on_keras(options):
    rows = [row for row in Adam(0.1, **options).check(params()) if row.way == KERAS]
    assert len(rows) == 1 and rows[0].ran and rows[0].distance < 8


class OfParameters(Optimizer):
    """Which does something else where the parameter needs gradients."""

    def update_step(self, gradient, variable, learning_rate):
        trained = getattr(variable.value, "requires_grad", False)
        self.assign_sub(variable, gradient * (learning_rate * (2.0 if trained else 1.0)))


def test_what_is_wrong_on_keras_is_found():
    if not ON_TORCH:  # Arrays of other backends do not say that they need gradients.
        assert {row.way: row.distance < 8 for row in OfParameters(0.1).check(params())}[KERAS]
        return
    with pytest.raises(WaysDiffer) as caught:
        OfParameters(0.1).check(params())
    assert {row.way for row in caught.value.report if row.distance > 64} == {"torch front end, step", KERAS}
