"""One algorithm on one model: everything that is measured about it, as a dictionary for JSON."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bandwidth import Copy
from contenders import KINDS, chosen, reference_of, torch_reference
from load import Patience, Watch
from measure import Player, Round, Spread, play, ratio, seconds
from settings import TABLE, Algorithm
from shapes import MODELS, element_count
from worker import remote

MEMORY = 11e9
"""Bytes that contenders may take together; those that do not fit play rounds of their own, against the reference."""
_FLOAT32 = 4
_YARDSTICK = "adam on numpy"
_COPY = "copy"
_COPIED = 1 << 27
"""Numbers that are copied to measure bandwidth, unless the model has fewer."""
_PAIRED_FIRST_STEPS = 5
"""How often first steps are timed whose ratio is a target."""


def groups(names: Sequence[str], algorithm: Algorithm, size: float, room: float) -> list[list[str]]:
    """Contenders that play together, torch's reference in every group.

    Args:
        names: all of them.
        algorithm: decides the references.
        size: bytes that each takes.
        room: bytes that there are.
    """
    reference = torch_reference(algorithm)
    result: list[list[str]] = []
    for name in names:
        if name == reference or reference_of(name, algorithm) != reference:
            continue
        # Those with another reference come with it, and must not be parted from it.
        unit = [name, *(other for other in names if reference_of(other, algorithm) == name)]
        if not result or (len(result[-1]) + len(unit)) * size > room:
            result.append([reference])
        result[-1] += unit
    return result or [[reference]]


def slots_of(algorithm: Algorithm) -> tuple[int | None, int]:
    """From gradwise's own report on a small step: the bytes it must move for each float32 parameter, and its slots."""
    import numpy

    contender = KINDS["numpy"].make(algorithm)
    contender.fill([(4,)])
    contender.step()
    (group,) = contender.optimizer.execution_report()
    slots = sum(isinstance(array, numpy.ndarray) for array in contender.state())
    return group.bytes_per_parameter, slots


def measure(
    model: str,
    algorithm: str,
    names: Sequence[str],
    rounds: int,
    renew: bool = True,
    processes: bool = True,
    patience: float = 0.0,
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure contenders side by side.

    Args:
        model: a key of `MODELS`.
        algorithm: a key of `TABLE`.
        names: of the contenders; those that cannot run the algorithm are left out, references are added.
        rounds: how many.
        renew: new gradient arrays before every step, as after a backward pass.
        processes: also measure first steps and memory, in fresh processes.
        patience: seconds to spend on waiting for a quiet machine.
        on_round: called after every round.
    """
    shapes, row = MODELS[model], TABLE[algorithm]
    names = chosen(names, row)
    elements, large = element_count(shapes), model != "tiny"
    traffic, slots = slots_of(row)
    moved = traffic and traffic * elements
    size = _FLOAT32 * elements * (slots + 3)  # one more for what a step needs for a moment
    played: list[Round] = []
    waiting, disturbed = Patience(patience), 0
    reference = torch_reference(row)
    aside = 2 * _FLOAT32 * _COPIED + (5 * _FLOAT32 * elements if row.name != "Adam" else 0) if large else 0
    together = groups(names, row, size, MEMORY - aside)
    for group in together:
        with ExitStack() as stack:
            players: dict[str, Player] = {name: _player(stack, name, algorithm, model) for name in group}
            if large:
                players[_COPY] = Copy(min(2 * elements, _COPIED))
                stack.callback(players[_COPY].clear)
                if row.name != "Adam" and "numpy" in group:
                    players[_YARDSTICK] = _player(stack, "numpy", "adam", model)
            own, bad = play(players, reference, rounds, renew, waiting, on_round)
            played, disturbed = played + own, disturbed + bad
        gc.collect()  # before the next group takes its memory
    results = {
        "model": model,
        "algorithm": algorithm,
        "title": row.title,
        "tensors": len(shapes),
        "parameters": elements,
        "bytes_per_parameter": traffic,
        "slots": slots,
        "new_gradients": renew,
        "rounds": len(played),
        "disturbed_rounds": disturbed,
        "copy_gigabytes_per_second": None,
        "over_prediction": None,
        "contenders": {name: _times(played, name, row, moved) for name in names},
    }
    if large:
        copied = Spread.of(1e-9 / times[_COPY] for times in played)
        adam_traffic, _ = slots_of(TABLE["adam"])
        results["copy_gigabytes_per_second"] = copied and copied._asdict()
        predicted = ratio(played, "numpy", _YARDSTICK, adam_traffic / traffic) if traffic and adam_traffic else None
        results["over_prediction"] = predicted and predicted._asdict()
    if processes:
        for name, measured in _in_fresh_processes(names, row, algorithm, model, waiting).items():
            results["contenders"][name].update(measured)
    return results


def _player(stack: ExitStack, name: str, algorithm: str, model: str) -> Player:
    kind = KINDS[name]
    if kind.own_process:
        return stack.enter_context(remote(name, algorithm, model))
    contestant = kind.make(TABLE[algorithm])
    contestant.fill(MODELS[model])
    stack.callback(contestant.clear)
    return contestant  # type: ignore[no-any-return]


def _times(played: Sequence[Round], name: str, row: Algorithm, moved: int | None) -> dict[str, Any]:
    reference = reference_of(name, row)
    spreads = {
        "seconds": seconds(played, name),
        "ratio": ratio(played, name, reference),
        "ratio_to_torch": ratio(played, name, torch_reference(row)),
        # Of the speed of a copy in the same round: what must be moved over what could have been.
        "share_of_copy": Spread.of(
            times[_COPY] * moved / times[name] for times in played if moved and name in times and _COPY in times
        ),
    }
    measured = {key: spread and spread._asdict() for key, spread in spreads.items()}
    return {"label": KINDS[name].label, "reference": reference, **measured, "first_step": None, "memory": None}


def _in_fresh_processes(
    names: Sequence[str], row: Algorithm, algorithm: str, model: str, patience: Patience
) -> dict[str, Any]:
    paired = {name for name in names if KINDS[name].reference}
    paired |= {reference_of(name, row) for name in paired}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(_PAIRED_FIRST_STEPS if paired else 1):
        # In turn, because a process is not quite the same after one that has used much memory.
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            if number == 0 or name in paired:
                runs[name].append(_undisturbed(name, algorithm, model, patience))
    results = {}
    for name, own in runs.items():
        first = {key: _median(run[key] for run in own) for key in ("empty_cache", "filled_cache")}
        units = runs[reference_of(name, row)]
        ratios = Spread.of(a["empty_cache"] / b["empty_cache"] for a, b in zip(own, units, strict=False))
        results[name] = {
            "first_step": {
                **first,
                "ratio": ratios and ratios._asdict(),
                "disturbed": any(run["disturbed"] for run in (*own, *units)),
            },
            "memory": own[0]["memory"] if model != "tiny" else None,
        }
    return results


def _median(values: Any) -> float:
    spread = Spread.of(values)
    assert spread is not None
    return spread.median


def _undisturbed(name: str, algorithm: str, model: str, patience: Patience) -> dict[str, Any]:
    """What a fresh process shows while no other keeps the machine busy, if patience lasts so long."""
    while True:
        watch = Watch()
        measured, disturbed = _fresh(name, algorithm, model), watch.disturbed()
        if not (disturbed and patience.lasts()):
            return {**measured, "disturbed": disturbed}
        patience.wait_for_quiet()


def _fresh(name: str, algorithm: str, model: str) -> dict[str, Any]:
    """The first step without and with compiled code on disk, and the memory of steps."""
    with tempfile.TemporaryDirectory() as folder:
        with remote(name, algorithm, model, Path(folder)) as worker:
            empty = worker.ask("first_step")
        with remote(name, algorithm, model, Path(folder)) as worker:
            filled = worker.ask("first_step")
            worker.turn(2)
            memory: Mapping[str, Any] = worker.ask("memory")
    return {"empty_cache": empty, "filled_cache": filled, "memory": dict(memory)}
