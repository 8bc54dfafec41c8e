"""Arrays that change in place: NumPy arrays and torch tensors as they are, no framework needed."""

import numpy as np

from gradwise import optimizers

rng = np.random.default_rng(0)
inputs = rng.normal(size=(200, 3))
targets = inputs @ np.array([1.0, -2.0, 0.5]) + 3.0

weights, bias = np.zeros(3), np.zeros(())
optimizer = optimizers.Adam(0.1, global_clipnorm=1.0)
for _ in range(300):
    error = inputs @ weights + bias - targets
    gradients = [2 * inputs.T @ error / len(error), 2 * error.mean()]
    optimizer.apply_gradients(zip(gradients, [weights, bias], strict=True))

print(weights.round(3), bias.round(3))  # [ 1.  -2.   0.5] 3.0
