"""What a run prints: a table for each algorithm on each model, and all targets at the end."""

from __future__ import annotations

from typing import Any

from conditions import CONDITIONS, CONSTANT
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from shapes import TITLES

WIDE = 200
"""The characters in a line that all columns of the widest table need."""


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
    """One algorithm on one model in one condition."""
    condition = CONDITIONS[result["condition"]]
    gradients = "new gradient arrays in every step" if result["new_gradients"] else "always the same gradient arrays"
    where = "" if condition is CONSTANT else f": {condition.title}"
    console.print(f"{result['title']} on the {_title(result)}{where}", style="bold")
    if result["rounds"]:
        line = f"{result['rounds']} rounds, {gradients}; {result['bytes_per_parameter']} bytes moved for each parameter"
        console.print(line)
    if result["disturbed_rounds"]:
        counts = f"{result['disturbed_rounds']} of {result['rounds']} rounds"
        line = f"other processes kept the machine busy in {counts}"
        console.print(line, style="yellow")
    copied = result["copy_gigabytes_per_second"]
    if copied:
        console.print(f"a copy of memory moves {copied['median']:.1f} GB/s ({copied['low']:.1f}-{copied['high']:.1f})")
    contenders = result["contenders"]
    rows = {name: _row(name, contender, result) for name, contender in contenders.items()}
    # A column that has nothing in it is left out.
    headings = [heading for heading in _HEADINGS if any(row[heading] for row in rows.values())]
    table = _table("", *headings)
    for name, row in rows.items():
        style = "bold" if contenders[name]["own"] else None
        table.add_row(contenders[name]["label"], *(row[heading] for heading in headings), style=style)
    console.print(table)
    console.print(f"ratio: {_units(result)}")
    if condition.event is not None:
        console.print(f"event: {condition.event.title}")
    console.print()


_HEADINGS = (
    "step", "ns/\nparam.", "ratio", "quartiles", "of copy's\nspeed", "event\nand step", "its\nratio", "its\nquartiles",
    "first step\n(again)", "memory/\narrays",
)  # fmt: skip


def _row(name: str, contender: dict[str, Any], result: dict[str, Any]) -> dict[str, str]:
    step, share, event = contender["seconds"], contender["share_of_copy"], contender["event"]
    unit = contender["reference"] == name
    ratio, happened = (
        ("", "") if measured is None else ("1", "") if unit else _spread(measured["ratio"])
        for measured in (contender if step else None, event)
    )
    cells = (
        step and _time(step["median"]),
        step and f"{1e9 * step['median'] / result['parameters']:.2f}",
        *ratio,
        share and f"{100 * share['median']:.0f} %",
        event and _time(event["seconds"]["median"]),
        *happened,
        _first_step(contender["first_step"]),
        _memory(contender["memory"]),
    )
    return {heading: cell or "" for heading, cell in zip(_HEADINGS, cells, strict=True)}


def print_targets(console: Console, targets: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """Limits and measurements side by side."""
    if not targets:
        return
    plain = all(target["condition"] == "constant" for target in targets)
    others = () if plain else tuple(_OTHERS)
    table = _table(
        *(() if plain else ("condition",)), "model", "algorithm", "contender", "target", "limit", "measured",
        "quartiles", "", *(f"/ {_OTHERS[peer]}" for peer in others), left=4 if plain else 5,
    )  # fmt: skip
    for target in targets:
        table.add_row(*(() if plain else (target["condition"],)), *_compared(target, labels, others))
    console.print(table)
    verdicts = [target["met"] for target in targets if target["limit"] is not None]
    console.print(f"{verdicts.count(True)} of {len(verdicts)} targets met, {verdicts.count(False)} missed")
    if None in verdicts:
        console.print("unclear: other processes kept the machine busy; run again on a quiet one, or with --patience")


def _compared(target: dict[str, Any], labels: dict[str, str], others: tuple[str, ...]) -> tuple[str, ...]:
    beside, limited = target.get("beside", {}), target["limit"] is not None
    return (
        target["model"],
        target["algorithm"],
        labels[target["contender"]],
        target["what"],
        f"{target['limit']:.2f}" if limited else "",
        f"{target['median']:.3f}",
        _spread(target)[1] if target["low"] < target["high"] else "",
        _verdict(target) if limited else "",
        *("" if beside.get(peer) is None else f"{beside[peer]:.2f}" for peer in others),
    )


def markdown(targets: list[dict[str, Any]], labels: dict[str, str]) -> str:
    """The same as a table for a page."""
    headings = (
        "condition",
        "on",
        "gradwise on",
        "",
        "measured (quartiles)",
        *(f"/ {name}" for name in _OTHERS.values()),
    )
    lines = [f"| {' | '.join((*headings, 'limit', ''))} |", "|---" * (len(headings) + 2) + "|"]
    for target in targets:
        beside = target.get("beside", {})
        cells = (
            target["condition"],
            f"{target['algorithm']}, {target['model']}",
            labels[target["contender"]].removeprefix("gradwise, "),
            target["what"],
            " (".join(_spread(target)) + ")" if target["low"] < target["high"] else _spread(target)[0],
            *("" if beside.get(peer) is None else f"{beside[peer]:.2f}" for peer in _OTHERS),
            "" if target["limit"] is None else f"{target['limit']:g}",
            "" if target["limit"] is None else _VERDICTS[target["met"]],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_OTHERS = {"torch-foreach": "foreach", "torch-loop": "default"}
"""What of torch a target's ratio is not to, in a column of its own."""


def _verdict(target: dict[str, Any]) -> str:
    colour = {True: "green", False: "red", None: "yellow"}[target["met"]]
    return f"[{colour}]{_VERDICTS[target['met']]}[/]"


_VERDICTS = {True: "met", False: "missed", None: "unclear"}


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


def _spread(spread: dict[str, float] | None) -> tuple[str, str]:
    if spread is None:
        return "", ""
    return f"{spread['median']:.3f}", f"{spread['low']:.3f}-{spread['high']:.3f}"


def _first_step(first: dict[str, float] | None) -> str:
    return "" if first is None else f"{first['empty_cache']:.2f} s ({first['filled_cache']:.2f})"


def _memory(memory: dict[str, int] | None) -> str:
    return f"{memory['peak_bytes'] / memory['held_bytes']:.3f}" if memory and memory["peak_bytes"] else ""
