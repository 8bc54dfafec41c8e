"""On PyTorch: gradients by autograd, and `apply_gradients` changes the leaf tensors in place."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch.nn.functional import cross_entropy, relu

from . import Dataset, Weights


class Network:
    """Leaf tensors, changed in place. See `TrainedNetwork` for what it does."""

    def __init__(self, weights: Weights, data: Dataset, optimizer: Any) -> None:
        self.weights = Weights(*(torch.tensor(array, requires_grad=True) for array in weights))
        self.train_images, self.validation_images = map(torch.tensor, (data.train_images, data.validation_images))
        # cross_entropy takes labels as 64-bit integers only.
        self.train_labels = torch.tensor(data.train_labels, dtype=torch.int64)
        self.validation_labels = torch.tensor(data.validation_labels, dtype=torch.int64)
        self.optimizer = optimizer

    def step(self, indices: numpy.ndarray) -> None:
        batch = torch.from_numpy(indices)
        for weight in self.weights:
            weight.grad = None
        cross_entropy(self.forward(self.train_images[batch]), self.train_labels[batch]).backward()
        self.optimizer.apply_gradients((weight.grad, weight) for weight in self.weights)

    @torch.no_grad()
    def measure(self) -> tuple[float, float]:
        loss = cross_entropy(self.forward(self.train_images), self.train_labels)
        correct = self.forward(self.validation_images).argmax(dim=1) == self.validation_labels
        return loss.item(), correct.double().mean().item()

    def weights_as_numpy(self) -> Weights:
        return Weights(*(tensor.detach().numpy().copy() for tensor in self.weights))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The scores of the classes before the softmax."""
        weights = self.weights
        hidden = relu(images @ weights.hidden_kernel + weights.hidden_bias)
        return hidden @ weights.output_kernel + weights.output_bias
