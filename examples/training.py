"""Trains one network on several array libraries side by side, and measures how far they drift apart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
from idx import find_idx_files, read_idx
from networks import CLASSES, Dataset, Weights, check_backends, initial_weights, network_class
from threadpoolctl import threadpool_limits

from gradwise import optimizers

EPSILON = float(numpy.finfo(numpy.float32).eps)


@dataclass
class Epoch:
    """What is known after an epoch, by backend; differences are the largest of any two backends, None for only one.

    Attributes:
        losses: mean cross-entropy on the training data.
        accuracies: the part of the validation data that is classified correctly.
        step_seconds: mean time of a step, gradient and optimizer together.
        loss_difference: relative difference of the losses.
        weight_distance: distance of the weights, see `weight_distance`.
    """

    losses: dict[str, float]
    accuracies: dict[str, float]
    step_seconds: dict[str, float]
    loss_difference: float | None
    weight_distance: float | None


@dataclass
class Results:
    """A training run.

    Attributes:
        data: the name of the data.
        layers: the widths of the network's layers.
        optimizer: the algorithm's class name.
        learning_rate: its learning rate.
        batch_size: images in a batch.
        backends: in the order in which they trained.
        first_step_seconds: time of each backend's very first step, which may compile and is left out of the means.
        epochs: one entry for each epoch.
    """

    data: str
    layers: tuple[int, ...]
    optimizer: str
    learning_rate: float
    batch_size: int
    backends: list[str]
    first_step_seconds: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)


def load_digits() -> Dataset:
    """The digits that scikit-learn brings along: 1797 scans of 8 x 8 pixels, split in one fixed way."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    images, labels = load(return_X_y=True)
    images, labels = (images / 16).astype(numpy.float32), labels.astype(numpy.int32)
    train_images, validation_images, train_labels, validation_labels = train_test_split(
        images, labels, test_size=360, random_state=0, stratify=labels
    )
    return Dataset("digits", train_images, train_labels, validation_images, validation_labels)


def load_idx(folder: str | Path) -> Dataset:
    """MNIST, Fashion-MNIST or anything like them, from their original IDX files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, or images and labels do not fit together.
    """
    files = find_idx_files(folder)
    shapes, parts = [], []
    for images_file, labels_file in (files[:2], files[2:]):
        images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
        if len(images) != len(labels):
            expected = f"{len(images)} labels, one for each image in {images_file.name}"
            raise ValueError(f"{labels_file}: expected {expected}, found {len(labels)}.")
        if labels.min() < 0 or labels.max() >= CLASSES:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"{labels_file}: expected labels from 0 to {CLASSES - 1}, found {found}.")
        shapes.append(images.shape[1:])
        parts += [images.reshape(len(images), -1).astype(numpy.float32) / 255, labels.astype(numpy.int32)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{files.validation_images}: expected images of shape {shapes[0]}, found {shapes[1]}.")
    return Dataset(Path(folder).resolve().name, *parts)


def make_optimizer(name: str, learning_rate: float | None = None) -> Any:
    """An optimizer by name, with a rate that suits this network if none is given.

    Raises:
        ValueError: if there is no such optimizer, or the rate is not allowed.
    """
    optimizer = optimizers.get(name)
    rate = optimizer.suggested_rate if learning_rate is None else learning_rate
    if rate is not None:
        optimizer.learning_rate = rate
    return optimizer


def train(
    backends: Sequence[str],
    data: Dataset,
    optimizer: str = "adam",
    *,
    learning_rate: float | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    seed: int = 0,
    on_step: Callable[[int, Results], None] = lambda epoch, results: None,
) -> Results:
    """Train the same network from the same weights on the same batches on each backend, epoch by epoch side by side.

    Args:
        backends: names out of `networks.LIBRARIES`, or "all".
        data: what to learn.
        optimizer: a name that `optimizers.get` knows.
        learning_rate: None is the algorithm's `suggested_rate`, or else its default.
        epochs: how often to go through the data.
        batch_size: images in a batch; what is left over at the end of an epoch waits for the next shuffle, so that all
            batches have one shape and JAX compiles once.
        seed: of the weights and the order of the batches.
        on_step: called after every step of a backend with the number of the epoch, from 0, and the results so far.

    Raises:
        ValueError: if a backend or optimizer is unknown, or an argument is out of its range.
        ModuleNotFoundError: if a backend's library is not installed.
    """
    backends = check_backends(backends)
    count, inputs = data.train_images.shape
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size must be from 1 to {count}, the number of training images, received {batch_size}.")
    weights = initial_weights(inputs, seed)
    # One instance for each: an imperative optimizer belongs to the arrays it was first applied to.
    made = {name: make_optimizer(optimizer, learning_rate) for name in backends}
    networks = {name: network_class(name)(weights, data, made[name]) for name in backends}

    first = made[backends[0]]
    layers = (inputs, *(len(bias) for bias in (weights.hidden_bias, weights.output_bias)))
    results = Results(data.name, layers, type(first).__name__, float(first.learning_rate), batch_size, backends)
    before = dict.fromkeys(backends, weights)
    # Batches this small gain nothing from threads, and the pools of several libraries would fight for the cores.
    with threadpool_limits(1):
        for epoch in range(epochs):
            batches = _batches(count, batch_size, seed, epoch)
            seconds = {}
            for name, network in networks.items():
                times = []
                for elapsed in _timed_steps(network, batches):
                    times.append(elapsed)
                    on_step(epoch, results)
                if epoch == 0:
                    results.first_step_seconds[name] = times[0]
                    times = times[1:] or times
                seconds[name] = sum(times) / len(times)
            measured = {name: network.measure() for name, network in networks.items()}
            losses = {name: loss for name, (loss, _) in measured.items()}
            accuracies = {name: accuracy for name, (_, accuracy) in measured.items()}
            after = {name: network.weights_as_numpy() for name, network in networks.items()}
            results.epochs.append(
                Epoch(losses, accuracies, seconds, _loss_difference(losses.values()), _weight_distance(before, after))
            )
            before = after
    return results


def weight_distance(a: Weights, b: Weights, a_before: Weights, b_before: Weights) -> float:
    """How far two sets of weights are apart, in units of float32's precision: the largest over the tensors.

    For one tensor that is max|a - b| / (epsilon * max(max|weight|, max|change since before|)). Elementwise relative
    differences would explode wherever a weight happens to be close to zero.

    A jump during a run is not the optimizer's error: where the input of a hidden unit is zero but for rounding,
    ReLU passes a gradient on one backend and none on the other, and rarely lit pixels then differ by a whole step.
    """
    distances = [0.0]
    for x, y, x_before, y_before in zip(a, b, a_before, b_before, strict=True):
        scale = max(float(numpy.abs(array).max()) for array in (x, y, x - x_before, y - y_before))
        difference = float(numpy.abs(x.astype(numpy.float64) - y).max())
        # Written so that NaN, which compares false with everything, is kept and not passed over as no difference.
        distances.append(0.0 if difference == 0 else difference / (EPSILON * scale))
    return _largest(distances)


def _batches(count: int, batch_size: int, seed: int, epoch: int) -> numpy.ndarray:
    """Positions in the training data, one row for each batch."""
    order = numpy.random.default_rng((seed, epoch)).permutation(count)
    return order[: count - count % batch_size].reshape(-1, batch_size)


def _timed_steps(network: Any, batches: numpy.ndarray) -> Iterator[float]:
    for batch in batches:
        start = time.perf_counter()
        network.step(batch)
        yield time.perf_counter() - start


def _loss_difference(losses: Iterable[float]) -> float | None:
    pairs = list(combinations(losses, 2))
    if not pairs:
        return None
    return _largest(0.0 if a == b else abs(a - b) / max(abs(a), abs(b)) for a, b in pairs)


def _weight_distance(before: Mapping[str, Weights], after: Mapping[str, Weights]) -> float | None:
    pairs = list(combinations(after, 2))
    if not pairs:
        return None
    return _largest(weight_distance(after[a], after[b], before[a], before[b]) for a, b in pairs)


def _largest(values: Iterable[float]) -> float:
    """The largest value; NaN, which `max` may pass over, if there is one."""
    values = list(values)
    return math.nan if any(map(math.isnan, values)) else max(values)
