"""The ratios as a picture: a panel for each model, in it a group of bars for each algorithm; or conditions in one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from conditions import CONDITIONS
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from shapes import TITLES

_COLOURS = {"gradwise": "#e6550d", "torch.optim": "#6baed6", "optax": "#74c476", "Keras": "#9e9ac8", "plain": "#969696"}
"""By the first word of a contender's label."""
_VERDICTS = {True: "#31a354", False: "#e6550d", None: "#969696"}
"""Whether a target is met, missed, or unclear; what has no limit is none of them."""
_BAR, _PANEL = 0.2, 7.0
"""Inches."""


def save_plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw how many times as long as torch's fastest everyone takes, with quartiles."""
    models = list(dict.fromkeys(result["model"] for result in results))
    panels = [[result for result in results if result["model"] == model] for model in models]
    rows = max(sum(len(result["contenders"]) + 1.5 for result in panel) for panel in panels)
    # A figure without pyplot needs no screen and leaves nothing behind.
    figure = Figure(figsize=(_PANEL * len(panels), _BAR * rows + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Time of a step over that of torch.optim, fused (foreach where there is no fused)")
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axis, panel)
        axis.set_ylim(rows - 0.8, -0.8)
    figure.savefig(path, format="png", dpi=120)


def save_conditions(targets: list[dict[str, Any]], labels: dict[str, str], path: Path) -> None:
    """Draw the ratios among targets, a group of bars for each condition, with quartiles and a mark at each limit."""
    ratios = [target for target in targets if " / " in target["what"] and "predict" not in target["what"]]
    groups = [list(group) for _, group in itertools.groupby(ratios, lambda target: target["condition"])]
    rows = sum(len(group) + 1.5 for group in groups)
    figure = Figure(figsize=(1.6 * _PANEL, _BAR * rows + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        "Time over the peer's. Red marks are limits; green meets its own, orange misses it, grey is unclear or has none"
    )
    axis = figure.subplots()
    row, rows_of_bars, names, ends = 0.0, [], [], [1.0]
    for group in groups:
        _heading(axis, row, CONDITIONS[group[0]["condition"]].title)
        for target in group:
            row += 1
            rows_of_bars.append(row)
            contender = labels[target["contender"]].removeprefix("gradwise, ")
            names.append(f"{contender}, {target['algorithm']}, {target['model']}: {target['what']}")
            ends += _bar(axis, row, target, _VERDICTS[target["met"]])
            if target["limit"] is not None:
                axis.plot([target["limit"]] * 2, [row - 0.45, row + 0.45], color="#c00000", linewidth=2)
                ends.append(target["limit"])
        row += 1.5
    _finish(axis, rows_of_bars, names, ends)
    axis.set_ylim(rows - 0.8, -0.8)
    figure.savefig(path, format="png", dpi=120)


def _draw(axis: Axes, results: list[dict[str, Any]]) -> None:
    row, rows, names, ends = 0.0, [], [], [1.0]
    for result in results:
        _heading(axis, row, result["title"])
        for contender in result["contenders"].values():
            row += 1
            rows.append(row)
            names.append(contender["label"])
            colour = _COLOURS[contender["label"].split()[0].rstrip(",")]
            ends += _bar(axis, row, contender["ratio_to_torch"], colour)
        row += 1.5
    _finish(axis, rows, names, ends)
    axis.set_title(TITLES[results[0]["model"]], fontweight="bold")


def _heading(axis: Axes, row: float, text: str) -> None:
    place = {"xy": (0.01, row), "xycoords": ("axes fraction", "data"), "va": "center"}
    axis.annotate(text, **place, fontweight="bold")


def _bar(axis: Axes, row: float, spread: dict[str, float], colour: str) -> list[float]:
    """Draw a bar from 1, to the left if faster than torch and to the right if slower; how far it reaches."""
    median, low, high = (spread[name] for name in ("median", "low", "high"))
    axis.barh(row, median - 1, left=1, height=0.8, color=colour)
    axis.errorbar(median, row, xerr=[[median - low], [high - median]], color="#404040", linewidth=1.5)
    axis.annotate(f"{median:.2f}", (max(high, 1), row), (5, 0), textcoords="offset points", va="center", fontsize=8)
    return [low, high]


def _finish(axis: Axes, rows: list[float], names: list[str], ends: list[float]) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(2))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(min(ends) / 1.5, max(ends) * 2.2)
    axis.axvline(1, color="#404040", linewidth=1)
    axis.set_yticks(rows, names)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
