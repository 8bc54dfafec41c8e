"""Who is measured, and against whom: gradwise on each library, and its peers."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conditions import CONSTANT, TORCH, Condition
from settings import Algorithm


@dataclass(frozen=True)
class Kind:
    """A contender as the table and the command line know it.

    Attributes:
        label: what the table calls it.
        place: the module and the class that run it; imported only where it runs, since every import costs memory.
        needs: the packages it cannot do without.
        options: keyword arguments of the class.
        reference: the contender whose time is the unit; None is torch's fastest, see `torch_reference`.
        own_process: it is stepped through a pipe, because its library allows one backend in a process.
        environment: what that process, and every fresh one, is given.
        offered: whether it can run an algorithm at all.
        listed: it takes part only in conditions that name it.
    """

    label: str
    place: tuple[str, str]
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    reference: str | None = None
    own_process: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    offered: Callable[[Algorithm], bool] = lambda algorithm: True
    listed: bool = False

    def make(self, algorithm: Algorithm, condition: Condition = CONSTANT) -> Any:
        """The contender itself; imports its library."""
        module, name = self.place
        return getattr(importlib.import_module(module), name)(
            condition.algorithm(algorithm), condition=condition, **self.options
        )

    @property
    def own(self) -> bool:
        """Whether it is gradwise."""
        return self.label.startswith("gradwise")

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.needs if not installed(name)]


def suits(name: str, condition: Condition) -> bool:
    """Whether a contender can be in a condition, whatever the algorithm."""
    return name in condition.contenders or (condition.for_all and not KINDS[name].listed)


def _can(name: str, algorithm: Algorithm, condition: Condition) -> bool:
    return suits(name, condition) and KINDS[name].offered(algorithm) and not condition.without(name, algorithm)


def installed(name: str) -> bool:
    # A module that was marked as one that cannot be imported has no specification to find.
    return sys.modules.get(name, True) is not None and importlib.util.find_spec(name) is not None


@functools.cache
def _torch_arguments(name: str) -> frozenset[str]:
    import inspect

    import torch

    kind = getattr(torch.optim, name, None)
    return frozenset() if kind is None else frozenset(inspect.signature(kind).parameters)


def _in_torch(algorithm: Algorithm, argument: str = "params") -> bool:
    return argument in _torch_arguments(algorithm.torch_name)


def _in_optax(algorithm: Algorithm) -> bool:
    import optax

    return hasattr(optax, algorithm.optax_name)


def _in_keras(algorithm: Algorithm) -> bool:
    """Keras reads its settings when it is imported: so its folder is asked."""
    found = importlib.util.find_spec("keras")
    folders = found.submodule_search_locations if found is not None else None
    return bool(folders) and (Path(folders[0]) / f"src/optimizers/{algorithm.keras_name.lower()}.py").exists()


def torch_reference(algorithm: Algorithm, condition: Condition = CONSTANT) -> str:
    """The fastest way torch.optim has on a CPU without a compiler: fused where it exists, else foreach.

    Unless the condition has another reference, or torch.optim has no such algorithm: then it is optax, or Keras, or
    gradwise by whole arrays.
    """
    found = (name for name in (*TORCH, "optax", "keras-torch", "numpy-eager") if _can(name, algorithm, condition))
    return condition.reference or next(found)


def _torch(label: str, argument: str = "params", **options: Any) -> Kind:
    return Kind(
        label,
        ("peers", "Torch"),
        ("torch",),
        options,
        offered=lambda algorithm: _in_torch(algorithm, argument),
    )


def _keras(label: str, kind: str, backend: str, *needs: str, **options: Any) -> Kind:
    environment = {"KERAS_BACKEND": backend}
    # The front end's unit is Keras itself.
    reference = f"keras-{backend}" if options else None
    return Kind(
        label, ("peers", kind), ("keras", *needs), options, own_process=True, environment=environment,
        reference=reference, offered=_in_keras,
    )  # fmt: skip


def _jax(label: str, kind: str, **options: Any) -> Kind:
    return Kind(label, ("own", kind), ("jax", "optax"), options, reference="optax", offered=_in_optax)


KINDS = {
    "numpy": Kind("gradwise, NumPy", ("own", "OnNumpy"), ("numba",)),
    "numpy-eager": Kind("gradwise, NumPy, not fused", ("own", "OnNumpy"), options={"jit_compile": False}),
    "torch": Kind("gradwise, torch", ("own", "OnTorch"), ("numba", "torch")),
    "torch-frontend": Kind(
        "gradwise, torch front end", ("own", "TorchFrontend"), ("numba", "torch"), offered=_in_torch
    ),
    "numpy-functional": Kind("gradwise, NumPy, functional", ("own", "FunctionalOnNumpy"), ("numba",), listed=True),
    "torch-functional": Kind(
        "gradwise, torch, functional", ("own", "FunctionalOnTorch"), ("numba", "torch"), listed=True
    ),
    "scipy": Kind("gradwise, SciPy's minimize", ("own", "Minimize"), ("numba", "scipy"), listed=True),
    "scipy-loop": Kind("gradwise, NumPy, a loop", ("own", "Loop"), ("numba",), listed=True),
    "jax": _jax("gradwise, JAX", "OnJax", convention="optax"),
    "optax-frontend": _jax("gradwise, optax front end", "OptaxFrontend"),
    "keras-frontend-torch": _keras(
        "gradwise, Keras front end, torch", "KerasInPlace", "torch", "numba", "torch", own=True
    ),
    "keras-frontend-jax": _keras("gradwise, Keras front end, JAX", "KerasOnJax", "jax", "jax", own=True),
    "torch-fused": _torch("torch.optim, fused", "fused", fused=True),
    "torch-foreach": _torch("torch.optim, foreach", "foreach", foreach=True),
    "torch-loop": _torch("torch.optim, default"),
    "torch-compile": _torch("torch.optim, compiled", compiled=True),
    "torch-sparse-adam": Kind(
        "torch.optim.SparseAdam", ("peers", "Torch"), ("torch",), {"kind": "SparseAdam"}, listed=True
    ),
    "optax": Kind("optax, JAX", ("peers", "Optax"), ("jax", "optax"), offered=_in_optax),
    "optax-injected": Kind(
        "optax, rate in its state",
        ("peers", "Optax"),
        ("jax", "optax"),
        {"injected": True},
        reference="optax",
        offered=_in_optax,
    ),
    "keras-torch": _keras("Keras, torch", "KerasInPlace", "torch", "torch"),
    "keras-jax": _keras("Keras, JAX", "KerasOnJax", "jax", "jax"),
    "keras-numpy": _keras("Keras, NumPy", "KerasInPlace", "numpy", "jax"),
    "naive-numpy": Kind(
        "plain NumPy", ("peers", "Textbook"), offered=lambda algorithm: algorithm.name in ("Adam", "SGD")
    ),
}
"""Every contender. gradwise's own come first."""


def reference_of(name: str, algorithm: Algorithm, condition: Condition = CONSTANT) -> str:
    """Whose time is a contender's unit."""
    return KINDS[name].reference or torch_reference(algorithm, condition)


def chosen(names: Iterable[str], algorithm: Algorithm, condition: Condition = CONSTANT) -> list[str]:
    """Those of the contenders that can run an algorithm, with their references, in the order of `KINDS`."""
    wanted = {name for name in names if _can(name, algorithm, condition)}
    for _ in range(2):  # a reference has one too
        wanted |= {reference_of(name, algorithm, condition) for name in wanted}
    return [name for name in KINDS if name in wanted]
