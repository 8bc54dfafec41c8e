"""`check` runs the front ends, too: a rule that is wrong there alone is found there."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from helpers.user_optimizers import Adafactor

from gradwise.backends import NUMPY, ops, trials
from gradwise.optimizers import SGD, Adam, MultiOptimizer, Optimizer
from gradwise.optimizers.core.own_rules.check_report import WaysDiffer

TORCH, OPTAX, KERAS = "torch front end, step", "optax front end, under jit", "keras front end, apply"

pytestmark = [pytest.mark.torch, pytest.mark.jax]


def params():
    return {"layer": {"kernel": np.ones((4, 3), np.float32), "bias": np.ones(3, np.float32)}}


class Counting(Optimizer):
    """Which sets a number of its own in `build`: in torch it is a value of the groups, which had it before."""

    def __init__(self, learning_rate=0.1, **keywords):
        super().__init__(learning_rate, **keywords)
        self.many = 0

    def build(self, variables):
        super().build(variables)
        self.many = len(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate / (1.0 + self.many)))


@pytest.mark.parametrize("rule", [
    Adafactor(), SGD(0.1, gradient_accumulation_steps=2), Adam(0.1, use_ema=True, ema_overwrite_frequency=2),
    MultiOptimizer({"bias": SGD(0.5)}, default=Adam(0.1, weight_decay=0.1)), Counting(0.1),
], ids=["own", "accumulation", "averages", "several", "number set in build"])  # fmt: skip
def test_what_is_right_is_so_on_the_front_ends(rule):
    pytest.importorskip("optax")
    report = rule.check(params())
    found = {row.way: row for row in report if "front end" in row.way}
    assert list(found) == [TORCH, OPTAX, *([KERAS] if KERAS in found else [])]
    for way in (TORCH, OPTAX):
        assert found[way].ran and found[way].distance < 8 and f"{way}  " in str(report)


class OfParameters(Optimizer):
    """Which does something else where the parameter needs gradients."""

    def update_step(self, gradient, variable, learning_rate):
        trained = getattr(variable.value, "requires_grad", False)
        self.assign_sub(variable, gradient * (learning_rate * (2.0 if trained else 1.0)))


class AsItWasLeft(Optimizer):
    """Which asks whether a parameter is what it was set to: sums of deltas are that but for rounding."""

    def build(self, variables):
        super().build(variables)
        self.left = self.add_optimizer_variables(variables, "left")

    def update_step(self, gradient, variable, learning_rate):
        left = self.left[self.variable_index(variable)]
        value = gradient * ops.where(ops.equal(variable, left), 0.5, 1.0)
        self.assign(variable, value)
        self.assign(left, value)


@pytest.mark.parametrize(("kind", "way"), [(OfParameters, TORCH), (AsItWasLeft, OPTAX)])
def test_what_is_wrong_on_a_front_end_alone_is_found(kind, way):
    pytest.importorskip("optax")
    said = rf"{kind.__name__} is not the same on all ways: on {way} \(float32\)"
    with pytest.raises(WaysDiffer, match=said) as caught:
        kind(0.1).check(params())
    # Keras's Variables may need gradients, too, where somebody has imported it.
    assert {row.way for row in caught.value.report if row.distance > 64} - {KERAS} == {way}


def test_what_is_not_there_is_left_out_with_the_reason(monkeypatch):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("what is not installed is not told")
    monkeypatch.setattr(trials, "libraries", lambda: [NUMPY])
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    report = SGD(0.1).check(params(), steps=1)
    left = [row for row in report if not row.ran]
    assert [row.way for row in left] == [KERAS] and left[0].distance == 0.0
    assert "left out: import keras before" in str(report) and not any(row.way in (TORCH, OPTAX) for row in report)
    assert "keras" not in sys.modules
