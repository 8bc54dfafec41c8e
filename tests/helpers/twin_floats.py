"""The twin's rules in a NumPy dtype, an operation at a time: what NaN and numbers too large for the dtype become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from rules import Now, all_facts, modules

from helpers.drawn_runs import Run


def in_floats(
    algorithm: str, convention: str, values: Mapping[str, Any], run: Run, dtype: Any, monkeypatch: Any
) -> list[dict[str, Any]]:
    """After each step of a run of one parameter, "parameter" and the slots."""
    # A number stays Python's, so that it widens no array.
    root = SimpleNamespace(sqrt=lambda x: math.sqrt(x) if isinstance(x, float) else np.sqrt(x))
    arithmetic = {
        "mp": root, "max": np.maximum, "number": float, "sign": np.sign, "one_minus_power": lambda base, t: 1 - base**t,
    }  # fmt: skip
    for module in modules():
        for name, function in arithmetic.items():
            monkeypatch.setattr(module, name, function, raising=False)
    facts = all_facts()[algorithm]
    # With an epsilon, a sum of 0 needs no rule of its own.
    named = "keras" if (algorithm, convention) == ("Adagrad", "optax") else convention
    p, product, found = run.start["parameter"].astype(dtype), 1.0, []
    slots = {name: np.full_like(p, values.get(facts.starts.get(name), 0.0)) for name in facts.slots(values)}
    for t, (rate, gradients) in enumerate(zip(run.rates, run.gradients, strict=True), 1):
        if facts.product is not None and convention in facts.product.conventions:
            product *= float(facts.product.factor(dict(values), t))
        g, decay = gradients["parameter"].astype(dtype), values.get("weight_decay", 0.0)
        if facts.coupled(convention, values):
            g = g + decay * p
        else:
            # Of an infinite parameter, a product is infinite and a difference is none.
            p = p - rate * decay * p if convention == "optax" else p * (1 - rate * decay)
        p = p - facts.rule(Now(named, dict(values), rate, t, product), slots, g)
        found.append({"parameter": p, **slots})
    return found
