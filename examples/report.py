"""Shows a training run: progress while it lasts, a table and a picture at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from networks import LIBRARIES
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from training import EPSILON, Results

WIDE = 100
"""The characters in a line that let the table breathe."""

TOLERANCE = 1e-5
"""How far the losses may differ after the first epoch."""

# Backends agree so well that their curves lie on each other: from broad and pale to thin and dotted, all stay visible.
LINES = (
    {"color": "#9ecae1", "linewidth": 7, "linestyle": "-", "marker": "o", "markersize": 10},
    {"color": "#e6550d", "linewidth": 3, "linestyle": (0, (4, 2)), "marker": "o", "markersize": 6},
    {"color": "#252525", "linewidth": 1.2, "linestyle": "-", "marker": "o", "markersize": 3},
)
COLUMN_STYLES = ("cyan", "yellow", "green")


def make_console() -> Console:
    """A console on standard output; a log has no width of its own, so it gets one that holds the table."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, WIDE))


@contextmanager
def progress_bar(console: Console, epochs: int, steps: int) -> Iterator[object]:
    """A bar that moves with every step, to be given to `train` as `on_step`. Silent where there is no terminal."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps, epoch=1, epochs=epochs, loss="-")

        def on_step(epoch: int, results: Results) -> None:
            known = results.epochs[-1].losses[results.backends[0]] if results.epochs else None
            progress.update(task, advance=1, epoch=epoch + 1, loss="-" if known is None else f"{known:.4f}")

        yield on_step


def make_table(results: Results, width: int) -> Table:
    """One row for each epoch: loss, accuracy and step time of each backend, then the largest differences.

    Args:
        results: the run.
        width: how many characters a line has.
    """
    several = len(results.backends) > 1
    # Without padding the columns of three backends just fit into 80 characters.
    padding = 0 if width < WIDE and several else 1
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, padding),
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("\nepoch", justify="right", no_wrap=True)
    for heading in ("loss", "acc.%", "ms"):
        for position, backend in enumerate(results.backends):
            style = COLUMN_STYLES[position % len(COLUMN_STYLES)]
            above = heading if position == 0 else ""
            table.add_column(f"{above}\n{backend}", justify="right", style=style, no_wrap=True)
    if several:
        for what in ("loss", "weights"):
            table.add_column(f"differ.\n{what}", justify="right", no_wrap=True)
    for number, epoch in enumerate(results.epochs, 1):
        cells = [f"{loss:.4f}" for loss in epoch.losses.values()]
        cells += [_five_characters(100 * accuracy) for accuracy in epoch.accuracies.values()]
        cells += [_five_characters(1000 * seconds) for seconds in epoch.step_seconds.values()]
        if several:
            cells += [f"{epoch.loss_difference:.1e}", f"{epoch.weight_distance:.1f}"]
        table.add_row(str(number), *cells)
    return table


def _five_characters(value: float) -> str:
    """A number of at least 0 with as many digits as a narrow column holds."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def describe(results: Results) -> str:
    """The run in a few words."""
    layers = "-".join(map(str, results.layers))
    return f"{results.optimizer}, learning rate {results.learning_rate:g}, {layers} network on {results.data}"


def print_report(console: Console, results: Results) -> None:
    """The table, and below it what an epoch's row does not say."""
    console.print(describe(results), style="bold")
    console.print()
    console.print(make_table(results, console.width))
    console.print()
    first = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in results.first_step_seconds.items())
    console.print("loss: on the training data; acc.%: on the validation data")
    console.print("ms: mean time of a step, without the very first, which may compile:")
    console.print(f"    {first}")
    if len(results.backends) > 1:
        console.print("differ.: the largest difference between two backends, of losses relative,")
        console.print("    of weights in units of float32's precision at a tensor's largest weight")


def save_picture(results: Results, path: Path) -> None:
    """Loss and accuracy of every backend by epoch and, for several, the differences between them, as a PNG."""
    several = len(results.backends) > 1
    panels = 3 if several else 2
    # A figure without pyplot needs no screen and leaves nothing behind.
    figure = Figure(figsize=(5 * panels, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(describe(results), fontweight="bold")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.12)
    axes = figure.subplots(1, panels)
    epochs = range(1, len(results.epochs) + 1)
    _draw_curves(axes[0], results, "Training loss", [epoch.losses for epoch in results.epochs])
    percent = [{name: 100 * value for name, value in epoch.accuracies.items()} for epoch in results.epochs]
    # The second panel has the same lines, and perhaps no room for a legend that hides none of them.
    axes[0].legend(frameon=False, handlelength=3.5)
    _draw_curves(axes[1], results, "Validation accuracy in %", percent)
    if several:
        _draw_differences(axes[2], results)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_xlim(0.5, len(epochs) + 0.5)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=150)


def _draw_curves(axis: Axes, results: Results, title: str, values: list[dict[str, float]]) -> None:
    epochs = range(1, len(values) + 1)
    for position, backend in enumerate(results.backends):
        style = LINES[position % len(LINES)]
        axis.plot(epochs, [value[backend] for value in values], label=LIBRARIES[backend], **style)
    axis.set_title(title)


def _draw_differences(axis: Axes, results: Results) -> None:
    epochs = range(1, len(results.epochs) + 1)
    identical = [epoch for epoch, known in enumerate(results.epochs, 1) if known.loss_difference == 0]
    losses = [_on_log_axis(epoch.loss_difference) for epoch in results.epochs]
    weights = [_on_log_axis(epoch.weight_distance * EPSILON) for epoch in results.epochs]
    axis.set_yscale("log")
    axis.axhline(TOLERANCE, color="#cb181d", linewidth=1, linestyle="--", label="tolerance for losses after epoch 1")
    axis.axhline(EPSILON, color="#969696", linewidth=1, linestyle=":", label="precision of float32")
    axis.plot(epochs, losses, color="#756bb1", marker="o", markersize=4, label="losses")
    axis.plot(epochs, weights, color="#31a354", marker="s", markersize=4, label="weights, to the largest of a tensor")
    drawn = [value for value in (*losses, *weights) if not math.isnan(value)]
    # Room above the highest line for the legend.
    lowest = min([EPSILON, *drawn]) / 4
    axis.set_ylim(lowest, max([TOLERANCE, *drawn]) * 400)
    if identical:
        # No difference has no place on a logarithmic axis: mark it at the bottom.
        style = {"color": "#756bb1", "marker": "v", "markersize": 6, "markerfacecolor": "none", "linestyle": "none"}
        axis.plot(identical, [lowest * 1.35] * len(identical), label="losses identical", **style)
    axis.set_title("Largest relative difference between backends")
    axis.legend(frameon=False, loc="upper right", fontsize="small", handlelength=3)


def _on_log_axis(value: float) -> float:
    """The value, or NaN, which leaves a gap, where a logarithmic axis has no place for it: no difference at all."""
    return value if value > 0 and math.isfinite(value) else math.nan
