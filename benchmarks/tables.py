"""What a run prints: a table for each algorithm on each model, and all targets at the end."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from shapes import TITLES

WIDE = 114
"""The characters in a line that all columns need."""


def make_console() -> Console:
    """Standard output; a log has no width of its own, so it gets one that holds the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, WIDE))


def _table(*headings: str, left: int = 1) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < left else "right", no_wrap=True)
    return table


def print_result(console: Console, result: dict[str, Any]) -> None:
    """One algorithm on one model."""
    gradients = "new gradient arrays in every step" if result["new_gradients"] else "always the same gradient arrays"
    console.print(f"{result['title']} on the {_title(result)}", style="bold")
    line = f"{result['rounds']} rounds, {gradients}; {result['bytes_per_parameter']} bytes moved for each parameter"
    console.print(line)
    if result["disturbed_rounds"]:
        counts = f"{result['disturbed_rounds']} of {result['rounds']} rounds"
        line = f"other processes kept the machine busy in {counts}"
        console.print(line, style="yellow")
    copied = result["copy_gigabytes_per_second"]
    if copied:
        console.print(f"a copy of memory moves {copied['median']:.1f} GB/s ({copied['low']:.1f}-{copied['high']:.1f})")
    table = _table(
        "", "step", "ns/\nparam.", "ratio", "quartiles", "of copy's\nspeed", "first step\n(again)", "memory/\narrays"
    )
    for name, contender in result["contenders"].items():
        step, ratio, share = contender["seconds"], contender["ratio"], contender["share_of_copy"]
        table.add_row(
            contender["label"],
            _time(step["median"]),
            f"{1e9 * step['median'] / result['parameters']:.2f}",
            *(("1", "") if contender["reference"] == name else _spread(ratio)),
            "" if share is None else f"{100 * share['median']:.0f} %",
            _first_step(contender["first_step"]),
            _memory(contender["memory"]),
            style="bold" if contender["label"].startswith("gradwise") else None,
        )
    console.print(table)
    console.print(f"ratio: {_units(result)}")
    console.print()


def print_targets(console: Console, targets: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """Limits and measurements side by side."""
    if not targets:
        return
    table = _table("model", "algorithm", "contender", "target", "limit", "measured", "quartiles", "", left=4)
    for target in targets:
        table.add_row(
            target["model"],
            target["algorithm"],
            labels[target["contender"]],
            target["what"],
            f"{target['limit']:.2f}",
            f"{target['median']:.3f}",
            _spread(target)[1] if target["low"] < target["high"] else "",
            _verdict(target),
        )
    console.print(table)
    verdicts = [target["met"] for target in targets]
    console.print(f"{verdicts.count(True)} of {len(targets)} targets met, {verdicts.count(False)} missed")
    if None in verdicts:
        console.print("unclear: other processes kept the machine busy; run again on a quiet one, or with --patience")


def _verdict(target: dict[str, Any]) -> str:
    return {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]unclear[/]"}[target["met"]]


def _units(result: dict[str, Any]) -> str:
    """What the ratios are to."""
    contenders = result["contenders"]
    names = [contender["reference"] for contender in contenders.values()]
    most = max(names, key=names.count)
    others = [
        f"{own['label']} to {contenders[own['reference']]['label']}"
        for own in contenders.values()
        if own["reference"] != most
    ]
    return "; ".join([f"to {contenders[most]['label']}", *others])


def _title(result: dict[str, Any]) -> str:
    millions = result["parameters"] / 1e6
    count = f"{millions:.1f} million" if millions >= 1 else f"{result['parameters']:,}"
    return f"{TITLES[result['model']]} ({result['tensors']} tensors, {count} parameters)"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.1f} µs"


def _spread(spread: dict[str, float]) -> tuple[str, str]:
    return f"{spread['median']:.3f}", f"{spread['low']:.3f}-{spread['high']:.3f}"


def _first_step(first: dict[str, float] | None) -> str:
    return "" if first is None else f"{first['empty_cache']:.2f} s ({first['filled_cache']:.2f})"


def _memory(memory: dict[str, int] | None) -> str:
    return f"{memory['peak_bytes'] / memory['held_bytes']:.3f}" if memory and memory["peak_bytes"] else ""
