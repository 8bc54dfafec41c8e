"""The peers as they are measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy
from conditions import CONSTANT, Condition
from contestant import InPlace, JaxArrays, TorchOptimizers
from settings import Algorithm


class Torch(TorchOptimizers):
    """torch.optim: its default, `foreach`, `fused`, or its step `compiled`.

    Args:
        algorithm, condition, **options: see `Contestant`.
        compiled: whether by `torch.compile`.
        kind: another class of torch.optim, with its defaults.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        condition: Condition = CONSTANT,
        compiled: bool = False,
        kind: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(algorithm, condition, **options)
        self.compiled = compiled
        self.kind = kind

    def make(self, groups: list[dict[str, Any]]) -> Any:
        import torch

        if self.kind is not None:
            return getattr(torch.optim, self.kind)(groups, **self.options)
        return getattr(torch.optim, self.algorithm.torch_name)(groups, **self.algorithm.options, **self.options)

    def one_step(self) -> Callable[[], Any]:
        import torch

        step = super().one_step()
        limit = self.condition.clipnorm
        if limit is not None:
            unclipped = step

            def step() -> None:
                torch.nn.utils.clip_grad_norm_(self.parameters, limit)
                unclipped()

        return torch.compile(step) if self.compiled else step


class Optax(JaxArrays):
    """optax, or what is called as optax is.

    Args:
        injected: whether the learning rate is in the state, as the core has it: another one compiles nothing.
    """

    def __init__(self, algorithm: Algorithm, condition: Condition = CONSTANT, injected: bool = False) -> None:
        import jax
        import optax

        super().__init__(algorithm, condition)
        make = getattr(self.functions(), algorithm.optax_name)
        if injected:
            fixed = [name for name in inspect.signature(make).parameters if name != "learning_rate"]
            make = optax.inject_hyperparams(make, static_args=fixed)
        self.optimizer = make(learning_rate=0.001, **algorithm.options)

        def step(parameters: Any, gradients: Any, state: Any) -> Any:
            updates, state = self.optimizer.update(gradients, state, parameters)
            return optax.apply_updates(parameters, updates), state

        self.compiled = jax.jit(step, donate_argnums=(0, 2))

    def functions(self) -> Any:
        """The module that has them."""
        import optax

        return optax

    def prepare(self) -> None:
        self.slots = self.optimizer.init(self.parameters)


def _keras_optimizer(algorithm: Algorithm, own: bool = False) -> Any:
    """Keras's, or gradwise's for Keras."""
    import keras

    kinds = keras.optimizers
    if own:
        from gradwise.frontends import keras as kinds
    return getattr(kinds, algorithm.keras_name)(**algorithm.options)


class KerasInPlace(InPlace):
    """Keras on torch and on NumPy, where its step changes variables."""

    library = "keras"

    def convert(self, array: numpy.ndarray) -> Any:
        import keras

        return keras.ops.convert_to_tensor(array)

    def prepare(self) -> None:
        import keras

        self.parameters = [keras.Variable(array) for array in self.parameters]
        self.optimizer = _keras_optimizer(self.algorithm, **self.options)

    def renew(self) -> None:
        import keras

        self.gradients = [keras.ops.copy(gradient) for gradient in self.gradients]

    def step(self) -> None:
        self.optimizer.apply(self.gradients, self.parameters)

    def state(self) -> list[Any]:
        return [variable.value for variable in self.optimizer.variables]

    def bytes_held(self) -> int:
        arrays = [*self.gradients, *self.state(), *(parameter.value for parameter in self.parameters)]
        return sum(array.nbytes for array in arrays)


class KerasOnJax(JaxArrays):
    """Keras on JAX, where its step is pure."""

    def prepare(self) -> None:
        import jax
        import keras

        variables = [keras.Variable(array) for array in self.parameters]
        optimizer = _keras_optimizer(self.algorithm, **self.options)
        optimizer.build(variables)
        self.slots = [variable.value for variable in optimizer.variables]

        def step(parameters: Any, gradients: Any, state: Any) -> Any:
            return optimizer.stateless_apply(state, gradients, parameters)

        self.compiled = jax.jit(step, donate_argnums=(0, 2))


class Textbook(InPlace):
    """What anybody would write: whole arrays, one line after the other."""

    def prepare(self) -> None:
        count = 2 if self.algorithm.name == "Adam" else 1
        self.slots = [[numpy.zeros_like(array) for array in self.parameters] for _ in range(count)]
        self.count = 0
        self.rule = {"Adam": self._adam, "SGD": self._sgd}[self.algorithm.name]

    def step(self) -> None:
        self.count += 1
        self.rule()

    def _adam(self, rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999) -> None:
        for x, g, m, v in zip(self.parameters, self.gradients, *self.slots, strict=True):
            m[...] = beta_1 * m + (1 - beta_1) * g
            v[...] = beta_2 * v + (1 - beta_2) * g**2
            mean, square = m / (1 - beta_1**self.count), v / (1 - beta_2**self.count)
            x -= rate * mean / (numpy.sqrt(square) + 1e-8)

    def _sgd(self, rate: float = 0.01) -> None:
        for x, g, v in zip(self.parameters, self.gradients, *self.slots, strict=True):
            v[...] = self.algorithm.options["momentum"] * v - rate * g
            x += v

    def state(self) -> list[Any]:
        return [array for slot in self.slots for array in slot]

    def clear(self) -> None:
        super().clear()
        self.slots = []
