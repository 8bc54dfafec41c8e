"""On JAX: gradients by `jax.grad`, and the optimizer's pure `init` and `step`, the whole step under one `jit`."""

from __future__ import annotations

from typing import Any

import jax
import numpy
from jax import numpy as jnp

from . import Dataset, Weights


class Network:
    """JAX arrays, replaced at every step. See `TrainedNetwork` for what it does."""

    def __init__(self, weights: Weights, data: Dataset, optimizer: Any) -> None:
        # On an accelerator JAX would multiply matrices in less than float32, and the backends would differ by that.
        processor = jax.devices("cpu")[0]
        # `jnp.array` copies: `device_put` alone may share memory that the NumPy network changes in place.
        self.weights, self.data = jax.device_put(
            (Weights(*map(jnp.array, weights)), tuple(map(jnp.array, data[1:]))), processor
        )
        self.state = jax.device_put(optimizer.init(self.weights), processor)

        @jax.jit
        def step(weights: Weights, state: Any, images: jax.Array, labels: jax.Array, batch: jax.Array) -> Any:
            gradients = jax.grad(mean_loss)(weights, images[batch], labels[batch])
            return optimizer.step(weights, gradients, state)

        self._step = step

    def step(self, indices: numpy.ndarray) -> None:
        train_images, train_labels, _, _ = self.data
        self.weights, self.state = self._step(self.weights, self.state, train_images, train_labels, indices)
        # JAX returns before the work is done: without this the time would be that of handing it over.
        jax.block_until_ready(self.weights)

    def measure(self) -> tuple[float, float]:
        train_images, train_labels, validation_images, validation_labels = self.data
        correct = forward(self.weights, validation_images).argmax(axis=1) == validation_labels
        return float(mean_loss(self.weights, train_images, train_labels)), float(numpy.asarray(correct).mean())

    def weights_as_numpy(self) -> Weights:
        return Weights(*(numpy.array(array) for array in self.weights))


def forward(weights: Weights, images: jax.Array) -> jax.Array:
    """The scores of the classes before the softmax."""
    hidden = jax.nn.relu(images @ weights.hidden_kernel + weights.hidden_bias)
    return hidden @ weights.output_kernel + weights.output_bias


@jax.jit
def mean_loss(weights: Weights, images: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean cross-entropy."""
    logarithms = jax.nn.log_softmax(forward(weights, images))
    return -jnp.take_along_axis(logarithms, labels[:, None], axis=1).mean()
