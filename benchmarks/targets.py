"""The targets of speed and memory, and whether measurements meet them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

FUSED_IN_TORCH = ("adam", "adamw", "sgd", "adagrad")

_Claim = tuple[str, str, float, dict[str, Any] | None]
"""A contender, what of it is compared with what, the limit, and the measured spread."""


def targets_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets that a result of `session.measure` can show: the limit, the measurement, and whether it is met.

    `met` is None where other processes kept the machine busy: libraries bear that very differently, and a step that
    waits for its threads at many barriers can take ten times as long.
    """
    busy = 10 * result["disturbed_rounds"] > result["rounds"]
    found = {"model": result["model"], "algorithm": result["algorithm"]}
    targets = []
    for name, what, limit, spread in (*_steps(result), *_memory(result), *_of_jax(result)):
        if spread is not None:
            measured = {"disturbed": busy, **spread}
            met = None if measured["disturbed"] else measured["median"] <= limit
            targets.append({**found, "contender": name, "what": what, "limit": limit, **measured, "met": met})
    return targets


def _steps(result: dict[str, Any]) -> Iterator[_Claim]:
    fused, tiny = result["algorithm"] in FUSED_IN_TORCH, result["model"] == "tiny"
    ratios = {name: contender["ratio"] for name, contender in result["contenders"].items()}
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
