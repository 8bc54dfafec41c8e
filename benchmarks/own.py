"""gradwise as it is measured."""

from __future__ import annotations

import time
from typing import Any

import numpy
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


class _Functional(InPlace):
    """`step` from arrays that stay as they are to new ones."""

    def prepare(self) -> None:
        self.optimizer = make(self.algorithm, **self.options)
        self.slots = self.optimizer.init(self.parameters)

    def step(self) -> None:
        self.parameters, self.slots = self.optimizer.step(self.parameters, self.gradients, self.slots)

    def state(self) -> list[Any]:
        return [array for slot in self.slots.slots.values() for array in slot]

    def clear(self) -> None:
        super().clear()
        self.slots = None


class FunctionalOnNumpy(_Functional):
    """On NumPy arrays."""


class FunctionalOnTorch(_Functional):
    """On torch tensors, which are no parameters: nothing is differentiated."""

    library = "torch"

    def convert(self, array: numpy.ndarray) -> Any:
        import torch

        return torch.tensor(array)

    def renew(self) -> None:
        self.gradients = [gradient.clone() for gradient in self.gradients]


_ITERATIONS = 200


class Loop(OnNumpy):
    """A loop of steps on one parameter, with what SciPy asks of a function: a value and a gradient."""

    def turn(self, steps: int, renew: bool = False) -> float:
        # As many as SciPy makes in a run, whatever a turn has.
        start = time.perf_counter()
        self.iterate()
        return (time.perf_counter() - start) / _ITERATIONS

    def iterate(self) -> None:
        for _ in range(_ITERATIONS):
            _, gradient = self.function(self.parameters[0])
            self.optimizer.apply([gradient], self.parameters)

    def function(self, parameter: Any) -> tuple[float, Any]:
        """Costs next to nothing, so that it does not hide what a step costs."""
        return 0.0, self.gradients[0].copy()


class Minimize(Loop):
    """The same through `scipy.optimize.minimize`, a new run in each turn."""

    def prepare(self) -> None:
        super().prepare()
        from gradwise.frontends.scipy import minimize_method

        self.method = minimize_method(self.optimizer)

    def iterate(self) -> None:
        from scipy.optimize import minimize

        options = {"maxiter": _ITERATIONS, "gtol": 0.0}
        found = minimize(self.function, self.parameters[0], jac=True, method=self.method, options=options)
        self.parameters = [found.x]


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
