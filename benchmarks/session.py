"""One algorithm on one model in one condition: everything that is measured about it, as a dictionary for JSON."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandwidth import Copy
from conditions import CONDITIONS, CONSTANT, TORCH, Condition
from contenders import KINDS, chosen, reference_of, torch_reference
from load import Patience, Watch
from measure import Player, Round, Spread, difference, play, ratio, seconds
from settings import TABLE, Algorithm
from shapes import MODELS, Shape, element_count
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
_FRESH_RUNS = 3
"""How often in a condition that is about them."""


@dataclass(frozen=True)
class Case:
    """What is measured: a key of each table."""

    model: str
    algorithm: str
    condition: str = "constant"

    @property
    def shapes(self) -> list[Shape]:
        return MODELS[self.model]

    @property
    def situation(self) -> Condition:
        return CONDITIONS[self.condition]

    @property
    def row(self) -> Algorithm:
        return self.situation.algorithm(TABLE[self.algorithm])

    @property
    def reference(self) -> str:
        return torch_reference(self.row, self.situation)

    def reference_of(self, name: str) -> str:
        return reference_of(name, self.row, self.situation)

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Those of the contenders that can do it, with their references."""
        return chosen(names, self.row, self.situation)

    def instead(self, **keys: str) -> Case:
        """Another, that differs in some keys."""
        return Case(**{"model": self.model, "algorithm": self.algorithm, "condition": self.condition, **keys})


def groups(names: Sequence[str], case: Case, size: float, room: float) -> list[list[str]]:
    """Contenders that play together, torch's reference in every group.

    Args:
        names: all of them.
        case: decides the references.
        size: bytes that each takes.
        room: bytes that there are.
    """
    reference = case.reference
    result: list[list[str]] = []
    for name in names:
        if name == reference or case.reference_of(name) != reference:
            continue
        # Those with another reference come with it, and must not be parted from it.
        unit = [name, *(other for other in names if case.reference_of(other) == name)]
        if not result or (len(result[-1]) + len(unit)) * size > room:
            result.append([reference])
        result[-1] += unit
    return result or [[reference]]


def slots_of(algorithm: Algorithm, condition: Condition = CONSTANT) -> tuple[int | None, int]:
    """From gradwise's own report on a small step: the bytes it must move for each parameter, and its slots.

    In float32, unless the condition says otherwise.
    """
    import numpy

    contender = KINDS["numpy"].make(algorithm, condition)
    contender.fill([(4,)])
    contender.step()
    (group,) = contender.optimizer.execution_report()
    slots = sum(isinstance(array, numpy.ndarray) for array in contender.state())
    return group.bytes_per_parameter, slots


def _players(stack: ExitStack, group: Sequence[str], case: Case, copied: int) -> dict[str, Any]:
    """Those who play together: contenders, and what they are measured by.

    Args:
        stack: clears them.
        group: the names of the contenders.
        case: what is measured.
        copied: how many elements the model has, if memory's own speed is measured too; else 0.
    """
    players: dict[str, Any] = {name: _player(stack, name, case) for name in group}
    if copied:
        copy = Copy(min(2 * copied, _COPIED))
        stack.callback(copy.clear)
        players[_COPY] = copy
        if case.row.name != "Adam" and "numpy" in group:
            players[_YARDSTICK] = _player(stack, "numpy", case.instead(algorithm="adam"))
    for name in group:
        if case.situation.event is not None:
            players[_first(name)] = _FirstSteps(_player(stack, name, case))
        if case.situation.bytes_differ and KINDS[name].own:
            players[_plain(name)] = _player(stack, name, case.instead(condition="constant"))
    return players


def measure(
    case: Case,
    names: Sequence[str],
    rounds: int,
    renew: bool = True,
    processes: bool = True,
    patience: float = 0.0,
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure contenders side by side.

    Args:
        case: what.
        names: of the contenders; those that cannot run the algorithm are left out, references are added.
        rounds: how many.
        renew: new gradient arrays before every step, as after a backward pass.
        processes: also measure first steps and memory, in fresh processes.
        patience: seconds to spend on waiting for a quiet machine.
        on_round: called after every round.
    """
    names = case.chosen(names)
    elements = element_count(case.shapes)
    traffic, slots = slots_of(case.row)
    moved = traffic and traffic * elements
    played: list[Round] = []
    waiting, disturbed = Patience(patience), 0
    for group in _groups(names, case, slots):
        own, bad = _play(group, case, rounds, renew, waiting, on_round)
        played, disturbed = played + own, disturbed + bad
    results = {
        "condition": case.condition,
        "model": case.model,
        "algorithm": case.algorithm,
        "title": case.row.title,
        "tensors": len(case.shapes),
        "parameters": elements,
        "bytes_per_parameter": traffic,
        "slots": slots,
        "new_gradients": renew,
        "rounds": len(played),
        "disturbed_rounds": disturbed,
        "copy_gigabytes_per_second": None,
        "over_prediction": None,
        "contenders": {name: _times(played, name, names, case, moved) for name in names},
    }
    if _beside_memory(case):
        copied = Spread.of(1e-9 / times[_COPY] for times in played)
        results["copy_gigabytes_per_second"] = _as_dict(copied)
        adam_traffic, _ = slots_of(TABLE["adam"])
        results["over_prediction"] = _over_prediction(played, "numpy", _YARDSTICK, adam_traffic, traffic)
    if case.situation.bytes_differ and "numpy" in names:
        here, _ = slots_of(case.row, case.situation)
        for name in names:
            over = _over_prediction(played, name, _plain(name), traffic, here)
            results["contenders"][name]["over_prediction"] = over
    for name, measured in _in_other_processes(names, case, waiting, rounds, processes).items():
        results["contenders"][name].update(measured)
    return results


def _beside_memory(case: Case) -> bool:
    """Whether steps are compared with memory's own speed."""
    return case.condition == "constant" and case.model != "tiny"


def _groups(names: Sequence[str], case: Case, slots: int) -> list[list[str]]:
    """Those who play together, in this process or in ones that stay."""
    if case.situation.fresh:
        return []
    elements = element_count(case.shapes)
    size = _FLOAT32 * elements * (slots + 3)  # one more for what a step needs for a moment
    size *= 1 + (case.situation.event is not None or case.situation.bytes_differ)
    aside = 0
    if _beside_memory(case):
        aside = 2 * _FLOAT32 * _COPIED + (5 * _FLOAT32 * elements if case.row.name != "Adam" else 0)
    return groups(names, case, size, MEMORY - aside)


def _play(
    group: Sequence[str], case: Case, rounds: int, renew: bool, waiting: Patience, on_round: Callable[[], None]
) -> tuple[list[Round], int]:
    """The rounds of a group, and how many of them were disturbed."""
    with ExitStack() as stack:
        players = _players(stack, group, case, element_count(case.shapes) if _beside_memory(case) else 0)
        if case.situation.event is not None:
            # What is there already need not be looked through after every event.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
        units = {name: _first(case.reference) for name in map(_first, group) if name in players}
        played = play(players, case.reference, rounds, renew, waiting, on_round, units=units)
        del players
    gc.collect()  # before the next group takes its memory
    return played


def _over_prediction(
    played: Sequence[Round], name: str, other: str, others: int | None, own: int | None
) -> dict[str, float] | None:
    """The time over the other's, and over what the bytes of both, for each parameter, say of that."""
    return _as_dict(ratio(played, name, other, others / own)) if others and own else None


def _in_other_processes(
    names: Sequence[str], case: Case, waiting: Patience, rounds: int, processes: bool
) -> dict[str, dict[str, Any]]:
    """First steps and memory, by contender, where the condition is about them."""
    situation = case.situation
    if situation.fresh or (processes and case.condition == "constant"):
        return _in_fresh_processes(names, case, waiting, min(rounds, _FRESH_RUNS))
    if situation.memory and processes and case.model != "tiny":
        return {name: {"memory": _memory_of_steps(name, case)} for name in names if KINDS[name].own}
    return {}


class _FirstSteps:
    """Takes turns that are an event and the step after it."""

    def __init__(self, contestant: Any) -> None:
        self._contestant = contestant

    def turn(self, steps: int, renew: bool = False) -> float:
        return float(self._contestant.first_step())


def _first(name: str) -> str:
    return f"first step of {name}"


def _plain(name: str) -> str:
    return f"{name}, constant"


def _player(stack: ExitStack, name: str, case: Case) -> Player:
    kind = KINDS[name]
    if kind.own_process or case.situation.processes > 1:
        return stack.enter_context(remote(name, case.algorithm, case.model, condition=case.condition))
    contestant = kind.make(TABLE[case.algorithm], case.situation)
    contestant.fill(case.shapes)
    stack.callback(contestant.clear)
    return contestant  # type: ignore[no-any-return]


def _times(played: Sequence[Round], name: str, names: Sequence[str], case: Case, moved: int | None) -> dict[str, Any]:
    reference = case.reference_of(name)
    spreads = {
        "seconds": seconds(played, name),
        "ratio": ratio(played, name, reference),
        "ratio_to_torch": ratio(played, name, case.reference),
        # Of the speed of a copy in the same round: what must be moved over what could have been.
        "share_of_copy": Spread.of(
            times[_COPY] * moved / times[name] for times in played if moved and name in times and _COPY in times
        ),
        "over_prediction": None,
    }
    return {
        "label": KINDS[name].label,
        "own": KINDS[name].own,
        "reference": reference,
        **{key: _as_dict(spread) for key, spread in spreads.items()},
        "beside": {peer: _as_dict(ratio(played, name, peer)) for peer in TORCH if peer in names},
        "event": _event(played, name, names, case),
        "first_step": None,
        "memory": None,
    }


def _event(played: Sequence[Round], name: str, names: Sequence[str], case: Case) -> dict[str, Any] | None:
    """The first steps after the condition's event; `beyond` is in microseconds for each new tensor."""
    event, reference = case.situation.event, _first(case.reference)
    if event is None:
        return None
    own, tensors = _first(name), event.tensors(len(case.shapes))
    spreads = {
        "seconds": seconds(played, own),
        "ratio": ratio(played, own, reference),
        "beyond": difference(played, own, reference, 1e6 / tensors),
    }
    beside = {peer: _as_dict(ratio(played, own, _first(peer))) for peer in TORCH if peer in names}
    return {**{key: _as_dict(spread) for key, spread in spreads.items()}, "beside": beside}


def _as_dict(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else spread._asdict()


def _in_fresh_processes(names: Sequence[str], case: Case, patience: Patience, fresh_runs: int) -> dict[str, Any]:
    runs = _fresh_runs(names, case, patience, fresh_runs)
    return {name: _compared(own, runs[case.reference_of(name)]) for name, own in runs.items()}


def _fresh_runs(
    names: Sequence[str], case: Case, patience: Patience, fresh_runs: int
) -> dict[str, list[dict[str, Any]]]:
    fresh = case.situation.fresh
    paired = set(names) if fresh else {name for name in names if KINDS[name].reference}
    paired |= {case.reference_of(name) for name in paired}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(fresh_runs if fresh else _PAIRED_FIRST_STEPS if paired else 1):
        # In turn, because a process is not quite the same after one that has used much memory.
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            if number == 0 or name in paired:
                runs[name].append(_undisturbed(name, case, patience))
    return runs


def _compared(own: list[dict[str, Any]], units: list[dict[str, Any]]) -> dict[str, Any]:
    """A contender's runs beside its reference's."""
    first = {key: _median(run[key] for run in own) for key in ("empty_cache", "filled_cache")}
    pairs = list(zip(own, units, strict=False))
    spreads = {
        "ratio": Spread.of(a["empty_cache"] / b["empty_cache"] for a, b in pairs),
        "filled_ratio": Spread.of(a["filled_cache"] / b["filled_cache"] for a, b in pairs),
        "filled_beyond": Spread.of(a["filled_cache"] - b["filled_cache"] for a, b in pairs),
    }
    return {
        "first_step": {
            **first,
            **{key: _as_dict(spread) for key, spread in spreads.items()},
            "disturbed": any(run["disturbed"] for run in (*own, *units)),
        },
        "memory": own[0]["memory"],
    }


def _median(values: Iterator[float]) -> float:
    spread = Spread.of(values)
    assert spread is not None
    return spread.median


def _undisturbed(name: str, case: Case, patience: Patience) -> dict[str, Any]:
    """What a fresh process shows while no other keeps the machine busy, if patience lasts so long."""
    while True:
        watch = Watch()
        measured, disturbed = _fresh(name, case), watch.disturbed()
        if not (disturbed and patience.lasts()):
            return {**measured, "disturbed": disturbed}
        patience.wait_for_quiet()


def _fresh(name: str, case: Case) -> dict[str, Any]:
    """The first step without and with compiled code on disk, and the memory of steps."""
    with tempfile.TemporaryDirectory() as folder:
        with remote(name, case.algorithm, case.model, Path(folder), case.condition) as worker:
            empty = worker.ask("first_step")
        with remote(name, case.algorithm, case.model, Path(folder), case.condition) as worker:
            filled = worker.ask("first_step")
            memory = None
            if case.model != "tiny":
                worker.turn(2)
                memory = dict(worker.ask("memory"))
    return {"empty_cache": empty, "filled_cache": filled, "memory": memory}


def _memory_of_steps(name: str, case: Case) -> Mapping[str, Any]:
    with remote(name, case.algorithm, case.model, condition=case.condition) as worker:
        worker.turn(3)
        return dict(worker.ask("memory"))
