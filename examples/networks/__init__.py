"""The network of the digits example, one file for each array library.

Every file has a class `Network` that starts from the same weights, sees the same batches, and uses gradwise in the
style that is natural to its library.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

# Not as `numpy`: in this module that name becomes the file numpy.py beside it once that is imported.
import numpy as np

LIBRARIES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
"""The backends in the order in which they train, with the names of their libraries."""

HIDDEN, CLASSES = 100, 10


class Dataset(NamedTuple):
    """Images as rows of float32 between 0 and 1, and labels from 0 to 9 as int32."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray


class Weights(NamedTuple):
    """The parameters of the network, a tree for JAX and a sequence for the others."""

    hidden_kernel: Any
    hidden_bias: Any
    output_kernel: Any
    output_bias: Any


class TrainedNetwork(Protocol):
    """What the class `Network` in each file does."""

    weights: Weights

    def __init__(self, weights: Weights, data: Dataset, optimizer: Any) -> None: ...

    def step(self, indices: np.ndarray) -> None:
        """Train on one batch, given by its positions in the training data, and return when it is done."""

    def measure(self) -> tuple[float, float]:
        """The mean loss on the training data and the accuracy on the validation data."""

    def weights_as_numpy(self) -> Weights:
        """Copies of the weights, to compare across libraries."""


def initial_weights(inputs: int, seed: int) -> Weights:
    """The weights every backend starts from: uniform as in Glorot and Bengio (2010), biases zero, all float32."""
    generator = np.random.default_rng(seed)

    def kernel(rows: int, columns: int) -> np.ndarray:
        limit = (6 / (rows + columns)) ** 0.5
        return generator.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    hidden, output = kernel(inputs, HIDDEN), kernel(HIDDEN, CLASSES)
    return Weights(hidden, np.zeros(HIDDEN, np.float32), output, np.zeros(CLASSES, np.float32))


def check_backends(names: Sequence[str]) -> list[str]:
    """The backends that are meant, each once; "all" is every one.

    Raises:
        ValueError: if a name is unknown.
        ModuleNotFoundError: if a library is not installed; the error names the extra that installs it.
    """
    chosen = [name for known in names for name in (LIBRARIES if known == "all" else [known])]
    unknown = [name for name in chosen if name not in LIBRARIES]
    if unknown or not chosen:
        found = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"expected all, or one or more of {', '.join(LIBRARIES)}, received {found}.")
    for name in chosen:
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"backend {name!r} needs {LIBRARIES[name]}, which is not installed: pip install 'gradwise[{name}]', "
                "or name only backends that are installed.",
                name=name,
            )
    return list(dict.fromkeys(chosen))


def network_class(backend: str) -> type[TrainedNetwork]:
    """The class `Network` of a backend. Only this imports its library."""
    return import_module(f".{backend}", __name__).Network
