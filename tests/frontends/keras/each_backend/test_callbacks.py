"""Keras's callbacks act on our optimizers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from small import TRAINS, X, Y, losses, model

from gradwise.frontends import keras as gkeras

pytestmark = pytest.mark.skipif(not TRAINS, reason="Keras does not train on NumPy")


def test_reduce_lr_on_plateau_lowers_the_rate() -> None:
    made = model(gkeras.SGD(0.5))
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.25, patience=1, min_delta=1e6, min_lr=0.1)
    rates = made.fit(X, Y, epochs=4, verbose=0, callbacks=[callback]).history["learning_rate"]
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.125, 0.1])
    assert float(made.optimizer.learning_rate.numpy()) == pytest.approx(0.1)


def test_learning_rate_scheduler_sets_the_rate_that_steps_use() -> None:
    halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    found = losses(model(gkeras.SGD(0.5)), epochs=3, callbacks=[halved])
    expected = losses(model(keras.optimizers.SGD(0.5)), epochs=3, callbacks=[halved])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    stopped = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    found = losses(model(gkeras.SGD(0.5)), epochs=2, callbacks=[stopped])
    assert found[0] == found[1]


@pytest.mark.parametrize("callback", ["plateau", "scheduler"])
def test_a_schedule_cannot_be_overridden(callback: str) -> None:
    acting = {
        "plateau": keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=1e6),
        "scheduler": keras.callbacks.LearningRateScheduler(lambda epoch: 0.125),
    }[callback]
    made = model(gkeras.SGD(gkeras.schedules.ExponentialDecay(0.5, 10, 0.5)))
    with pytest.raises(TypeError, match="its learning rate is not settable"):
        losses(made, epochs=3, callbacks=[acting])


def test_early_stopping_stops_and_restores() -> None:
    made = model(gkeras.SGD(0.0))
    callback = keras.callbacks.EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    assert len(losses(made, epochs=9, callbacks=[callback])) == 3
    assert callback.stopped_epoch == 2
    assert int(made.optimizer.iterations.numpy()) == 3 * 4


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_model_checkpoint_writes_what_training_resumes_from(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    weights_only = name.endswith("h5")
    callback = keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_only)
    made = model(gkeras.Nadam(0.03))
    losses(made, callbacks=[callback])
    if weights_only:
        resumed = model(gkeras.Nadam(0.03))
        resumed.optimizer.build(resumed.trainable_variables)
        resumed.load_weights(path)
    else:
        resumed = keras.models.load_model(path)
    assert type(resumed.optimizer) is gkeras.Nadam
    assert int(resumed.optimizer.iterations.numpy()) == 8
    np.testing.assert_allclose(losses(resumed), losses(made), atol=1e-6)


@pytest.mark.parametrize("every_epoch", [False, True])
def test_swap_ema_weights_evaluates_the_averages(every_epoch: bool) -> None:
    found = []
    for kind in (gkeras.SGD, keras.optimizers.SGD):
        made = model(kind(0.5, use_ema=True, ema_momentum=0.75))
        callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=every_epoch)]
        history = made.fit(
            X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0, validation_data=(X, Y), callbacks=callbacks
        ).history
        found.append([*history["loss"], *history["val_loss"]])
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)
