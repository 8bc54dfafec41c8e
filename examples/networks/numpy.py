"""On NumPy: gradients by hand, and `apply_gradients` changes the arrays in place."""

from __future__ import annotations

from typing import Any

import numpy

from . import Dataset, Weights


class Network:
    """NumPy arrays, changed in place. See `TrainedNetwork` for what it does."""

    def __init__(self, weights: Weights, data: Dataset, optimizer: Any) -> None:
        self.weights = Weights(*(array.copy() for array in weights))
        self.data = data
        self.optimizer = optimizer

    def step(self, indices: numpy.ndarray) -> None:
        # A run that diverges shows it in the table, as on the other libraries, and not by warnings.
        with numpy.errstate(over="ignore", invalid="ignore"):
            gradients = self.gradients(self.data.train_images[indices], self.data.train_labels[indices])
        self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))

    def measure(self) -> tuple[float, float]:
        data = self.data
        with numpy.errstate(over="ignore", invalid="ignore"):
            _, scores = self.forward(data.train_images)
            shifted = scores - scores.max(axis=1, keepdims=True)
            chosen = shifted[numpy.arange(len(shifted)), data.train_labels]
            loss = numpy.mean(numpy.log(numpy.exp(shifted).sum(axis=1)) - chosen)
            _, scores = self.forward(data.validation_images)
        return float(loss), float(numpy.mean(scores.argmax(axis=1) == data.validation_labels))

    def weights_as_numpy(self) -> Weights:
        return Weights(*(array.copy() for array in self.weights))

    def forward(self, images: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """The hidden layer's activations, and the scores of the classes before the softmax."""
        weights = self.weights
        hidden = numpy.maximum(images @ weights.hidden_kernel + weights.hidden_bias, 0)
        return hidden, hidden @ weights.output_kernel + weights.output_bias

    def gradients(self, images: numpy.ndarray, labels: numpy.ndarray) -> Weights:
        """The gradients of the mean cross-entropy, layer by layer from the end."""
        hidden, scores = self.forward(images)
        error = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        # The gradient of softmax and cross-entropy together: probabilities minus the one-hot labels.
        error[numpy.arange(len(labels)), labels] -= 1
        error /= len(labels)
        hidden_error = (error @ self.weights.output_kernel.T) * (hidden > 0)
        return Weights(images.T @ hidden_error, hidden_error.sum(axis=0), hidden.T @ error, error.sum(axis=0))
