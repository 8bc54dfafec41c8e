"""Keras's own way of training, with gradwise's optimizer; the README shows it."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax"

import keras

from gradwise.frontends import keras as optimizers

keras.utils.set_random_seed(0)
inputs = keras.random.normal((200, 3))
targets = inputs @ keras.ops.array([[1.0], [-2.0], [0.5]]) + 3.0
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
rate = optimizers.schedules.CosineDecay(0.1, decay_steps=700)
model.compile(optimizer=optimizers.Adam(rate, clipnorm=10.0), loss="mean_squared_error")
history = model.fit(inputs, targets, epochs=100, verbose=0)

print(f"loss {history.history['loss'][-1]:.4f}")  # loss 0.0000
