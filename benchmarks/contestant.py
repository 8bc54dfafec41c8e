"""What every contender has in common, and how each library makes its arrays."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy
from conditions import CONSTANT, Condition
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
        condition: in which it makes its steps.
        **options: for the library's optimizer.
    """

    library = "numpy"

    def __init__(self, algorithm: Algorithm, condition: Condition = CONSTANT, **options: Any) -> None:
        self.algorithm = algorithm
        self.condition = condition
        self.options = options
        self.turned = 0
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
        # Which keeps the order of the elements in memory, where the method of that name does not.
        self.gradients = [copy.copy(gradient) for gradient in self.gradients]

    def change(self, rate: float, momentum: float) -> None:
        """Set the learning rate, and the momentum or the first beta of an algorithm that has one."""
        raise NotImplementedError

    def step(self) -> None:
        """One step, over when this returns."""
        raise NotImplementedError

    def state(self) -> list[Any]:
        """The arrays of the optimizer, and perhaps numbers."""
        raise NotImplementedError

    # ---------------------------------------------------------------- what is asked of it

    def fill(self, shapes: list[Shape]) -> None:
        """Make parameters, gradients and an optimizer."""
        self.parameters = [self.parameter(self.convert(array)) for array in samples(shapes, 1.0, seed=0)]
        self.gradients = [
            self.condition.make_gradient(self.library, self.convert(array), parameter)
            for parameter, array in zip(self.parameters, samples(shapes, 0.01, seed=1), strict=True)
        ]
        self.prepare()

    def parameter(self, array: Any) -> Any:
        """A parameter as the condition makes it of a plain array."""
        return self.condition.make_parameter(self.library, array)

    def first_step(self) -> float:
        """What the condition's event and the step after it take together, in seconds."""
        event = self.condition.event
        assert event is not None
        event.prepare(self)
        self.renew()
        # Or it comes in the middle of the step of one and not of the other.
        gc.collect()
        start = time.perf_counter()
        event.happen(self)
        self.step()
        return time.perf_counter() - start

    def turn(self, steps: int, renew: bool = False) -> float:
        """The median time of some steps, in seconds."""
        times = []
        for _ in range(steps):
            if renew:
                self.renew()
            if self.condition.before is not None:
                self.condition.before(self, self.turned)
            self.turned += 1
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return median(times)

    def bytes_held(self) -> int:
        """Of parameters, gradients and state."""
        arrays = [*self.parameters, *self.gradients, *self.state()]
        # Of what several processes hold together, this one's part.
        parts = (array.to_local() if hasattr(array, "to_local") else array for array in arrays)
        return sum(getattr(part, "nbytes", 0) for part in parts)

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

    library = "torch"

    def convert(self, array: numpy.ndarray) -> Any:
        import torch

        return torch.tensor(array)

    def parameter(self, array: Any) -> Any:
        import torch

        made = super().parameter(array)
        return made if isinstance(made, torch.nn.Parameter) else torch.nn.Parameter(made)

    def fill(self, shapes: list[Shape]) -> None:
        super().fill(shapes)
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def renew(self) -> None:
        renewed = self.condition.renewed
        for place, parameter in enumerate(self.parameters):
            gradient = self.gradients[place]
            parameter.grad = self.gradients[place] = gradient.clone() if renewed is None else renewed(gradient)


class TorchOptimizers(TorchArrays):
    """Optimizers that are called as those of torch.optim are."""

    def make(self, groups: list[dict[str, Any]]) -> Any:
        """One of them."""
        raise NotImplementedError

    def begin(self, parameters: list[Any]) -> None:
        """Make new ones for some of the parameters."""
        optimizers = [
            self.make([{"params": group} for group in groups]) for groups in self.condition.groups(parameters)
        ]
        self.optimizers, self.optimizer = optimizers, optimizers[0]
        self.run = self.one_step()

    def one_step(self) -> Callable[[], Any]:
        """What makes a step, with as little around it as a user has."""
        if len(self.optimizers) == 1:
            return self.optimizer.step  # type: ignore[no-any-return]

        def step() -> None:
            for optimizer in self.optimizers:
                optimizer.step()

        return step

    def prepare(self) -> None:
        self.begin(self.parameters)

    def step(self) -> None:
        self.run()

    def change(self, rate: float, momentum: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
                if "betas" in group:
                    group["betas"] = (momentum, group["betas"][1])
                elif "momentum" in group:
                    group["momentum"] = momentum

    def state(self) -> list[Any]:
        return [
            value for optimizer in self.optimizers for slots in optimizer.state.values() for value in slots.values()
        ]

    def clear(self) -> None:
        super().clear()
        self.optimizers = []
        self.run = _nothing


def _nothing() -> None:
    pass


class JaxArrays(Contestant):
    """Pure steps under `jax.jit`, with parameters and state donated. Subclasses set `compiled` and make `slots`."""

    library = "jax"
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
