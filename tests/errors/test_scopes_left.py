"""An interruption that comes when a scope is about to be left: no later call finds what that scope held."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from gradwise import optimizers
from gradwise.backends import any_scope
from gradwise.backends.scope import Scope
from gradwise.optimizers.core import templates
from gradwise.optimizers.core.fused import recording


class _Interrupted:
    """`Scope.__exit__`, interrupted before it does anything, in one of its calls."""

    def __init__(self, monkeypatch, number: int) -> None:
        self.calls, leave = 0, Scope.__exit__

        def interrupted(scope, *error):
            self.calls += 1
            if self.calls == number:
                raise KeyboardInterrupt
            leave(scope, *error)

        monkeypatch.setattr(Scope, "__exit__", interrupted)


def _imperative(optimizer, parameters, gradients):
    return lambda: optimizer.apply(gradients, parameters)


def _init(optimizer, parameters, gradients):
    return lambda: optimizer.init([np.ones(count) for count in (5, 6)])


def _step(optimizer, parameters, gradients):
    state = optimizer.init(parameters)
    return lambda: optimizer.step(parameters, gradients, state)


def _delta(optimizer, parameters, gradients):
    state = optimizer.init(parameters)
    return lambda: optimizer.delta(parameters, gradients, state)


def _stateless(optimizer, parameters, gradients):
    optimizer.build(parameters)
    state = [variable.value for variable in optimizer.variables]
    return lambda: optimizer.stateless_apply(state, gradients, parameters)


def _on_copies(optimizer, parameters, gradients):
    optimizer.build(parameters)
    copies = [cell.numpy() for cells in optimizer.cells.grouped for cell in cells]
    return lambda: optimizer.step_on(gradients, copies, range(len(parameters)))


@pytest.mark.parametrize("one_pass", ["auto", False])
@pytest.mark.parametrize("way", [_imperative, _init, _step, _delta, _stateless, _on_copies])
@pytest.mark.parametrize("name", ["Adam", "Nadam"])
def test_no_scope_outlives_an_interrupted_call(monkeypatch, way, name, one_pass):
    number = 0
    while True:
        number += 1
        parameters, gradients = [np.ones(3), np.ones((2, 2))], [np.ones(3), np.ones((2, 2))]
        optimizer = getattr(optimizers, name)(0.1, jit_compile=one_pass)
        call = way(optimizer, parameters, gradients)
        with monkeypatch.context() as patch:
            # What was recorded for other tests needs no scope any more.
            patch.setattr(recording, "_RECORDED", {})
            patch.setattr(templates, "_RECORDED", {})
            interrupted = _Interrupted(patch, number)
            with contextlib.suppress(KeyboardInterrupt):
                call()
            done = interrupted.calls < number
        assert not any_scope()
        if done:
            break
    assert number > 1
