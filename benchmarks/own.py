"""gradwise as it is measured."""

from __future__ import annotations

from typing import Any

from contestant import InPlace, JaxArrays, TorchArrays
from peers import Optax
from settings import Algorithm

from gradwise import optimizers


def make(algorithm: Algorithm, **options: Any) -> Any:
    """An optimizer of gradwise."""
    return getattr(optimizers, algorithm.name)(**algorithm.options, **options)


class OnNumpy(InPlace):
    """The imperative path on NumPy arrays."""

    def prepare(self) -> None:
        self.optimizer = make(self.algorithm, **self.options)

    def step(self) -> None:
        self.optimizer.apply(self.gradients, self.parameters)

    def state(self) -> list[Any]:
        return [variable.value for variable in self.optimizer.variables]


class OnTorch(TorchArrays):
    """The imperative path on torch tensors in the CPU's memory."""

    def prepare(self) -> None:
        self.optimizer = make(self.algorithm, **self.options)

    def step(self) -> None:
        self.optimizer.apply([parameter.grad for parameter in self.parameters], self.parameters)

    def state(self) -> list[Any]:
        return [variable.value for variable in self.optimizer.variables]


class TorchFrontend(TorchArrays):
    """`gradwise.frontends.torch`, as a model is trained with it."""

    def prepare(self) -> None:
        from gradwise.frontends import torch as optim

        self.optimizer = getattr(optim, self.algorithm.torch_name)(self.parameters, **self.algorithm.options)

    def step(self) -> None:
        self.optimizer.step()

    def state(self) -> list[Any]:
        return [value for slots in self.optimizer.state.values() for value in slots.values()]


class OnJax(JaxArrays):
    """The functional path."""

    def __init__(self, algorithm: Algorithm, **options: Any) -> None:
        import jax

        super().__init__(algorithm, **options)
        self.optimizer = make(algorithm, **options)
        self.compiled = jax.jit(self.optimizer.step, donate_argnums=(0, 2))

    def prepare(self) -> None:
        self.slots = self.optimizer.init(self.parameters)


class OptaxFrontend(Optax):
    """`gradwise.frontends.optax`, as a loop uses it."""

    def functions(self) -> Any:
        """The module that has them."""
        from gradwise.frontends import optax

        return optax
