"""The snippets of Keras's manual, as they stand there, with nothing but the import changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small import LABELS, TRAINS, Y, losses, model

from gradwise.frontends import keras as optimizers

pytestmark = pytest.mark.skipif(not TRAINS, reason="Keras does not train on NumPy")


def falls(model: keras.Model, target: np.ndarray = Y) -> None:
    found = losses(model, epochs=2, target=target)
    assert found[1] < found[0]


def test_sgd_with_older_arguments() -> None:
    with pytest.warns(UserWarning, match="as in Keras 2, but uses the formula of Keras 3"):
        sgd = optimizers.SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    model_ = model(None)
    model_.compile(loss="mean_squared_error", optimizer=sgd)
    falls(model_)


def test_clipping() -> None:
    # All parameter gradients will be clipped to
    # a maximum norm of 1.
    sgd = optimizers.SGD(lr=0.01, clipnorm=1.)
    falls(model(sgd))
    # All parameter gradients will be clipped to
    # a maximum value of 0.5 and
    # a minimum value of -0.5.
    sgd = optimizers.SGD(lr=0.01, clipvalue=0.5)
    falls(model(sgd))


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
def test_adam() -> None:
    model = keras.Sequential()
    model.add(keras.layers.Dense(64, kernel_initializer="uniform", input_shape=(6,)))
    model.add(keras.layers.Activation("softmax"))
    opt = optimizers.Adam(learning_rate=0.01)
    model.compile(loss="categorical_crossentropy", optimizer=opt)
    falls(model, np.eye(64, dtype="float32")[LABELS.argmax(axis=1)])
    # pass optimizer by name: default parameters will be used
    model.compile(loss="categorical_crossentropy", optimizer="gradwise>adam")
    assert type(model.optimizer) is optimizers.Adam
    assert model.optimizer.get_config() == optimizers.Adam(name=model.optimizer.name).get_config()


def test_schedule() -> None:
    lr_schedule = optimizers.schedules.ExponentialDecay(
        initial_learning_rate=1e-2,
        decay_steps=10000,
        decay_rate=0.9)
    optimizer = optimizers.SGD(learning_rate=lr_schedule)
    falls(model(optimizer))


@pytest.mark.parametrize("name", ["gradwise>adam", "gradwise>Adam", "gradwise>sgd", "gradwise>nadam"])
def test_names_in_compile(name: str) -> None:
    made = model(name)
    assert type(made.optimizer).__module__ == "gradwise.frontends.keras"
