"""What a user's rule is tried out for is its safety alone: whatever fails in that fails no step."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.mistakes.in_rules import GRADIENT, START, WithSlots
from helpers.mistakes.in_rules import _with_rule as with_rule

from gradwise.optimizers.core import rehearsal
from gradwise.optimizers.core.explaining import check_signature


def descent(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * learning_rate)


@pytest.mark.jax
def test_infinite_gradients_give_no_warning_of_what_is_compared():
    import jax.numpy as jnp

    gradient = np.array([np.inf, 1.0, -np.inf], np.float32)
    expected = [-np.inf, -1.5, np.inf]
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
        optimizer.apply([gradient], [weights])
        assert weights.tolist() == expected
        params = {"w": jnp.asarray(START)}
        optimizer = with_rule(descent)()
        found, _ = optimizer.step(params, {"w": jnp.asarray(gradient)}, optimizer.init(params))
        assert np.asarray(found["w"]).tolist() == expected


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeWarning, RecursionError])
@pytest.mark.parametrize("name", [
    "check_signature", "_one_of_each_kind", "_undone", "_tried_out", "_check_same", "_check_written",
])  # fmt: skip
def test_what_fails_in_that_fails_no_step(name, error, monkeypatch):
    def failing(*arguments):
        raise error("nobody's fault but its own")

    monkeypatch.setattr(rehearsal, name, failing)
    optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
    optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == (START - 0.5 * GRADIENT).tolist()
    assert type(optimizer.momentums) is list


def test_interruptions_pass(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(rehearsal, "_check_same", interrupted)
    optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == START.tolist()


class WithoutSignature:
    """What is called as a method and does not tell its arguments, as functions of C do not."""

    __signature__ = 3

    def __get__(self, keeper, kind):
        return self if keeper is None else lambda *given: descent(keeper, *given)

    def __call__(self, *given):
        descent(*given)


def test_rules_that_do_not_tell_their_arguments():
    check_signature(dict.update)
    optimizer, weights = type("Mine", (WithSlots,), {"update_step": WithoutSignature()})(), START.copy()
    optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == (START - 0.5 * GRADIENT).tolist()
