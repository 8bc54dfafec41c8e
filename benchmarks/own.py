"""gradwise as it is measured."""

from __future__ import annotations

from typing import Any

from conditions import CONSTANT, Condition
from contestant import InPlace, JaxArrays, TorchArrays, TorchOptimizers
from peers import Optax
from settings import Algorithm

from gradwise import optimizers


def make(algorithm: Algorithm, **options: Any) -> Any:
    """An optimizer of gradwise."""
    return getattr(optimizers, algorithm.name)(**algorithm.options, **options)


class _Imperative(InPlace):
    """`apply` on arrays."""

    def prepare(self) -> None:
        clipped = {} if self.condition.clipnorm is None else {"global_clipnorm": self.condition.clipnorm}
        self.optimizer = make(self.algorithm, **self.options, **clipped)

    def step(self) -> None:
        self.optimizer.apply(self.gradients, self.parameters)

    def change(self, rate: float, momentum: float) -> None:
        self.optimizer.learning_rate = rate
        for name in ("beta_1", "momentum"):
            if hasattr(self.optimizer, name):
                setattr(self.optimizer, name, momentum)
                return

    def state(self) -> list[Any]:
        return [variable.value for variable in self.optimizer.variables]


class OnNumpy(_Imperative):
    """The imperative path on NumPy arrays."""


class OnTorch(_Imperative, TorchArrays):
    """The imperative path on torch tensors in the CPU's memory."""


class TorchFrontend(TorchOptimizers):
    """`gradwise.frontends.torch`, as a model is trained with it."""

    def make(self, groups: list[dict[str, Any]]) -> Any:
        from gradwise.frontends import torch as optim

        if self.condition.clipnorm is not None:
            return optim.wrap(make(self.algorithm, convention="torch", global_clipnorm=self.condition.clipnorm), groups)
        return getattr(optim, self.algorithm.torch_name)(groups, **self.algorithm.options)


class OnJax(JaxArrays):
    """The functional path."""

    def __init__(self, algorithm: Algorithm, condition: Condition = CONSTANT, **options: Any) -> None:
        import jax

        super().__init__(algorithm, condition, **options)
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
