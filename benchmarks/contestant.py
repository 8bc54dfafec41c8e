"""What every contender has in common, and how each library makes its arrays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy
from settings import Algorithm
from shapes import Shape


def samples(shapes: list[Shape], scale: float, seed: int) -> Iterator[numpy.ndarray]:
    """Arrays of normal numbers in float32. They repeat after a prime number of elements: drawing all takes minutes."""
    block = numpy.random.default_rng(seed).normal(0.0, scale, 65_521).astype(numpy.float32)
    # Copied, because `resize` returns a part of a larger array.
    return (numpy.resize(block, shape).copy() for shape in shapes)


class Contestant:
    """One optimizer on the parameters of a model.

    It is filled, stepped any number of times, and cleared; what was compiled may outlive that.

    Args:
        algorithm: which.
        **options: for the library's optimizer.
    """

    def __init__(self, algorithm: Algorithm, **options: Any) -> None:
        self.algorithm = algorithm
        self.options = options
        self.optimizer: Any = None
        self.parameters: list[Any] = []
        self.gradients: list[Any] = []

    # ---------------------------------------------------------------- what each one defines

    def convert(self, array: numpy.ndarray) -> Any:
        """The library's own array, in memory of its own."""
        return array

    def prepare(self) -> None:
        """A new optimizer, or new state, for the parameters."""
        raise NotImplementedError

    def renew(self) -> None:
        """Put the gradients into new arrays, as a backward pass would."""
        self.gradients = [gradient.copy() for gradient in self.gradients]

    def step(self) -> None:
        """One step, over when this returns."""
        raise NotImplementedError

    def state(self) -> list[Any]:
        """The arrays of the optimizer, and perhaps numbers."""
        raise NotImplementedError

    # ---------------------------------------------------------------- what is asked of it

    def fill(self, shapes: list[Shape]) -> None:
        """Make parameters, gradients and an optimizer."""
        self.parameters = [self.convert(array) for array in samples(shapes, 1.0, seed=0)]
        self.gradients = [self.convert(array) for array in samples(shapes, 0.01, seed=1)]
        self.prepare()

    def turn(self, steps: int, renew: bool = False) -> float:
        """The median time of some steps, in seconds."""
        times = []
        for _ in range(steps):
            if renew:
                self.renew()
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return median(times)

    def bytes_held(self) -> int:
        """Of parameters, gradients and state."""
        arrays = [*self.parameters, *self.gradients, *self.state()]
        return sum(getattr(array, "nbytes", 0) for array in arrays)

    def clear(self) -> None:
        """Let go of all arrays."""
        self.parameters, self.gradients = [], []


class InPlace(Contestant):
    """An optimizer that changes arrays and holds its state: a new one for every fill."""

    def clear(self) -> None:
        super().clear()
        self.optimizer = None


class TorchArrays(InPlace):
    """Parameters of torch, with their gradients where torch keeps them."""

    def convert(self, array: numpy.ndarray) -> Any:
        import torch

        return torch.tensor(array)

    def fill(self, shapes: list[Shape]) -> None:
        import torch

        self.parameters = [torch.nn.Parameter(self.convert(array)) for array in samples(shapes, 1.0, seed=0)]
        for parameter, array in zip(self.parameters, samples(shapes, 0.01, seed=1), strict=True):
            parameter.grad = self.convert(array)
        self.prepare()

    def renew(self) -> None:
        for parameter in self.parameters:
            parameter.grad = parameter.grad.clone()

    def bytes_held(self) -> int:
        return super().bytes_held() + sum(parameter.grad.nbytes for parameter in self.parameters)


class JaxArrays(Contestant):
    """Pure steps under `jax.jit`, with parameters and state donated. Subclasses set `compiled` and make `slots`."""

    compiled: Any
    slots: Any = None

    def convert(self, array: numpy.ndarray) -> Any:
        import jax.numpy

        return jax.numpy.array(array)

    def step(self) -> None:
        import jax

        self.parameters, self.slots = self.compiled(self.parameters, self.gradients, self.slots)
        jax.block_until_ready(self.parameters)

    def state(self) -> list[Any]:
        import jax

        return jax.tree.leaves(self.slots)

    def clear(self) -> None:
        super().clear()
        self.slots = None
