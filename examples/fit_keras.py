"""Keras's tutorial for image classification, once with Keras's own Adam and once with gradwise's.

    python examples/fit_keras.py

Only the import of the optimizers differs. A table and a picture show that both learn alike, and how long their epochs
took. `--data fashion-mnist --path FOLDER` trains on Fashion-MNIST, in its original files.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from networks import Dataset
from report import make_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from training import load_digits, load_idx

BOUND = 1e-3
"""How far losses may differ, relative to Keras's, after any epoch: both round, in different places."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Data(Enum):
    DIGITS = "digits"
    FASHION = "fashion-mnist"


class Backend(Enum):
    TORCH = "torch"
    JAX = "jax"


@dataclass
class Run:
    """Training with one optimizer: whose it is, and for each epoch loss, accuracy on unseen images and seconds."""

    whose: str
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def fit(whose: str, optimizer: Any, dataset: Dataset, epochs: int, seed: int, progress: Progress) -> Run:
    """The tutorial's model, from the same initial weights and with the same batches for every optimizer."""
    import keras

    side = round(dataset.train_images.shape[1] ** 0.5)
    shape = (side, side)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    run = Run(whose)
    task = progress.add_task(whose, total=epochs)
    validation = (dataset.validation_images.reshape(-1, *shape), dataset.validation_labels)

    class Watch(keras.callbacks.Callback):
        """Measures the steps of every epoch, without the validation."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:
            run.seconds.append(time.perf_counter() - self.began)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            run.losses.append(float(logs["loss"]))
            run.accuracies.append(float(logs["val_accuracy"]))
            progress.advance(task)

    images = dataset.train_images.reshape(-1, *shape)
    model.fit(
        images, dataset.train_labels, epochs=epochs, validation_data=validation, verbose=0, callbacks=[Watch()]
    )
    return run


def differences(runs: list[Run]) -> list[float]:
    """For each epoch how far the losses are apart, relative to the first run's."""
    return [abs(own - other) / other for other, own in zip(*(run.losses for run in runs), strict=True)]


def print_table(console: Console, runs: list[Run]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("\nepoch", justify="right")
    for what in ("loss", "acc.%", "seconds"):
        for run in runs:
            table.add_column(f"{what if run is runs[0] else ''}\n{run.whose}", justify="right")
    table.add_column("differ.\nloss", justify="right")
    for epoch, difference in enumerate(differences(runs)):
        cells = [f"{run.losses[epoch]:.4f}" for run in runs]
        cells += [f"{100 * run.accuracies[epoch]:.2f}" for run in runs]
        cells += [f"{run.seconds[epoch]:.2f}" for run in runs]
        table.add_row(str(epoch + 1), *cells, f"{difference:.1e}")
    console.print(table)
    console.print("\nloss: on the training data; acc.%: on the validation data")
    console.print("seconds: of the training steps; those of the first epoch compile")


def save_picture(runs: list[Run], title: str, path: Path) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontweight="bold")
    styles = ({"color": "#9ecae1", "linewidth": 7}, {"color": "#252525", "linewidth": 1.5, "marker": "o"})
    epochs = range(1, len(runs[0].losses) + 1)
    axes = figure.subplots(1, 2)
    for run, style in zip(runs, styles, strict=True):
        axes[0].plot(epochs, run.losses, label=run.whose, **style)
        axes[1].plot(epochs, [100 * value for value in run.accuracies], **style)
    axes[0].set_title("Training loss")
    axes[1].set_title("Validation accuracy in %")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.set_xticks(list(epochs))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=150)


@app.command()
def main(
    data: Annotated[Data, typer.Option(help="What to train on.")] = Data.DIGITS,
    path: Annotated[Path | None, typer.Option(help="The folder with the IDX files of --data fashion-mnist.")] = None,
    backend: Annotated[Backend, typer.Option(help="Keras's backend.")] = Backend.TORCH,
    epochs: Annotated[int, typer.Option(min=1)] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and the order of the batches.")] = 0,
    output: Annotated[Path, typer.Option(help="Where to put the picture, a PNG.")] = Path("fit_keras.png"),
) -> None:
    """Train one model twice, with Keras's own Adam and with gradwise's, and show how well they agree."""
    if (path is None) != (data is Data.DIGITS):
        raise typer.BadParameter("fashion-mnist needs a folder, and digits need none.", param_hint="'--path'")
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise typer.BadParameter(f"{output} is not a file in an existing folder.", param_hint="'--output'")
    try:
        dataset = load_digits() if path is None else load_idx(path)
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error), param_hint="'--path'") from error

    # Keras reads it when it is imported.
    os.environ["KERAS_BACKEND"] = backend.value
    import keras

    from gradwise.frontends import keras as optimizers

    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        runs = [
            fit("Keras", keras.optimizers.Adam(), dataset, epochs, seed, progress),
            fit("gradwise", optimizers.Adam(), dataset, epochs, seed, progress),
        ]
    title = f"Adam on {dataset.name}, Keras {keras.__version__} on {backend.value}"
    console.print(f"{title}\n", style="bold")
    print_table(console, runs)
    save_picture(runs, title, output)
    console.print(f"Picture: {output}", soft_wrap=True)
    largest = float(numpy.max(differences(runs)))
    verdict = "the same curve" if largest <= BOUND else "NOT the same curve"
    console.print(f"{verdict}: losses differ by at most {largest:.1e}, allowed is {BOUND:.0e}")
    if largest > BOUND:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
