"""The targets of speed and memory, and whether measurements meet them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conditions import CONDITIONS, Event

FUSED_IN_TORCH = ("adam", "adamw", "sgd", "adagrad")
PREDICTED = 1.05
"""Where a condition changes the bytes that a step must move: its time over that in plain float32, in proportion."""

WARM_START = 0.05
"""Seconds that a first step may take beyond torch's when compiled code is on disk."""

_Claim = tuple[str, str, float | None, dict[str, Any] | None]
"""A contender, what of it is compared with what, the limit if there is one, and the measured spread."""


def targets_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets that a result of `session.measure` can show: the limit, the measurement, and whether it is met.

    `met` is None where other processes kept the machine busy: libraries bear that very differently, and a step that
    waits for its threads at many barriers can take ten times as long. It is None too where there is no limit, because
    the measurement only stands beside one that has.
    """
    busy = 10 * result["disturbed_rounds"] > result["rounds"]
    found = {key: result[key] for key in ("condition", "model", "algorithm")}
    if result["condition"] == "constant":
        claims = [*_steps(result), *_memory(result), *_of_jax(result)]
    else:
        claims = [*_in_condition(result), *_memory(result)]
    targets = []
    for name, what, limit, spread in claims:
        if spread is not None:
            measured = {"disturbed": busy, **spread}
            met = None if limit is None or measured["disturbed"] else measured["median"] <= limit
            targets.append({**found, "contender": name, "what": what, "limit": limit, **measured, "met": met})
    return targets


def _in_condition(result: dict[str, Any]) -> Iterator[_Claim]:
    condition, contenders = CONDITIONS[result["condition"]], result["contenders"]
    for name, contender in contenders.items():
        if not contender["own"] or name == contender["reference"]:
            continue
        reference, unit = contender["reference"], contender["reference"].replace("-", " ")
        yield name, f"step / {unit}", condition.limits.get(reference), _beside(contender)
        yield name, "step / what its bytes predict", PREDICTED, contender["over_prediction"]
        if contender["event"] is not None:
            yield from _first_steps(name, unit, condition.event, contender["event"])
        if condition.fresh:
            first = contender["first_step"]
            busy = {"disturbed": first["disturbed"]}
            for key, what in (("ratio", "cold"), ("filled_ratio", "warm")):
                yield name, f"first step, {what} cache / {unit}", None, first[key] and {**first[key], **busy}
            beyond = first["filled_beyond"]
            yield name, f"first step, warm cache, s beyond {unit}", WARM_START, beyond and {**beyond, **busy}


def _first_steps(name: str, unit: str, event: Event, measured: dict[str, Any]) -> Iterator[_Claim]:
    yield name, f"{event.title} / {unit}", None, _beside(measured)
    if event.limit_in_all is not None:
        yield name, f"{event.title}, s", event.limit_in_all, measured["seconds"]
    else:
        yield name, f"µs for each new tensor beyond {unit}", event.limit, measured["beyond"]


def _beside(measured: dict[str, Any]) -> dict[str, Any] | None:
    """The ratio, and what it is to torch's other ways."""
    spread = measured["ratio"]
    medians = {peer: other and other["median"] for peer, other in measured["beside"].items()}
    return spread and {**spread, "beside": medians}


def _steps(result: dict[str, Any]) -> Iterator[_Claim]:
    fused, tiny = result["algorithm"] in FUSED_IN_TORCH, result["model"] == "tiny"
    ratios = {name: _beside(contender) for name, contender in result["contenders"].items()}
    if tiny and fused:
        yield "numpy", "step / torch fused", 0.4, ratios.get("numpy")
        yield "torch-frontend", "step / torch fused", 1.0, ratios.get("torch-frontend")
    elif not tiny:
        if result["algorithm"] == "adam":
            yield "numpy", "step / torch fused", 1.05, ratios.get("numpy")
        else:
            yield "numpy", "step / what its bytes and Adam's time predict", 1.15, result["over_prediction"]
        for name in ("torch", "torch-frontend"):
            if fused:
                yield name, "step / torch fused", 1.05, ratios.get(name)
            else:
                yield name, "step / torch foreach", 0.35, ratios.get(name)
    for name in ("jax", "optax-frontend"):
        yield name, "step / optax", 1.05, ratios.get(name)
    yield "keras-frontend-torch", "step / Keras", 1.0, ratios.get("keras-frontend-torch")
    yield "keras-frontend-jax", "step / Keras", 1.05, ratios.get("keras-frontend-jax")


def _memory(result: dict[str, Any]) -> Iterator[_Claim]:
    for name in ("numpy", "torch", "torch-frontend"):
        memory = result["contenders"].get(name, {}).get("memory")
        if memory and memory["peak_bytes"]:
            yield name, "memory / arrays", 1.02, _single(memory["peak_bytes"] / memory["held_bytes"])


def _of_jax(result: dict[str, Any]) -> Iterator[_Claim]:
    optax = result["contenders"].get("optax")
    for name in ("jax", "optax-frontend"):
        own = result["contenders"].get(name)
        if own and own["first_step"]:
            first = own["first_step"]
            yield name, "first step / optax", 1.05, {**first["ratio"], "disturbed": first["disturbed"]}
        if own and optax and own["memory"] and own["memory"]["peak_bytes"]:
            yield name, "memory / optax", 1.05, _single(own["memory"]["peak_bytes"] / optax["memory"]["peak_bytes"])


def _single(value: float) -> dict[str, Any]:
    # Memory does not depend on who else runs.
    return {"median": value, "low": value, "high": value, "disturbed": False}
