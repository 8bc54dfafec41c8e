"""Parameters that weight decay leaves out, by identity: what they hold does not matter, and each costs the same."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref

import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise.backends import Variable
from gradwise.optimizers import AdamW
from gradwise.optimizers.core.exclusions import Exclusions, only_name


def excluding(count, jit_compile="auto"):
    params = [np.ones(2) for _ in range(count)]
    optimizer = AdamW(0.5, weight_decay=0.5, jit_compile=jit_compile)
    optimizer.exclude_from_weight_decay(var_list=params[::2])
    return optimizer, params


@pytest.mark.fast
def test_steps_are_repeated_although_what_is_left_out_changes():
    optimizer, params = excluding(4)
    gradients = [np.ones(2) for _ in params]
    optimizer.apply(gradients, params)
    lane = optimizer.fusion.lane
    assert lane is not None
    for _ in range(3):
        optimizer.apply(gradients, params)
    assert optimizer.fusion.lane is lane
    plain, others = excluding(4, jit_compile=False)
    for _ in range(4):
        plain.apply(gradients, others)
    np.testing.assert_array_equal(params, others)
    assert not np.array_equal(params[0], params[1])


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_steps_cost_in_proportion(jit_compile):
    def calls(count):
        optimizer, params = excluding(count, jit_compile)
        gradients = [np.ones(2) for _ in params]
        optimizer.apply(gradients, params)
        return counted_calls(lambda: optimizer.apply(gradients, params), lambda event, code: event != "return")

    few, many = calls(64), calls(256)
    assert many <= 5 * few


def test_nothing_that_is_kept_for_all_optimizers_keeps_parameters():
    class Array(np.ndarray):
        """Which can be referred to weakly."""

    optimizer = AdamW(0.5, weight_decay=0.5)
    params = [np.ones(2).view(Array), np.ones(2)]
    seen = weakref.ref(params[0])
    optimizer.exclude_from_weight_decay(var_list=params[:1])
    optimizer.apply([np.ones(2), np.ones(2)], params)
    del optimizer, params
    gc.collect()
    assert seen() is None


def test_values_are_those_of_the_same_parameters():
    first, params = excluding(2)
    second, _ = excluding(2)
    same = AdamW(0.5, weight_decay=0.5)
    same.exclude_from_weight_decay(var_list=params[::2])
    assert first == same and first != second


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_leave_out_the_copies(copied):
    optimizer, params = excluding(2, jit_compile=False)
    optimizer.apply([np.zeros(2), np.zeros(2)], params)
    other, theirs = copied((optimizer, params))
    other.apply([np.zeros(2), np.zeros(2)], theirs)
    assert theirs[0][0] == 1.0 and theirs[1][0] < params[1][0]


@pytest.mark.parametrize("name", ["a", "a.b", "layer/0/kernel", "a-b", "a b", "[x]", "ä", "line\nline", "\\", "$"])
def test_expressions_for_one_name_find_that_alone(name):
    assert only_name(f"^{re.escape(name)}$") == name
    exclusions = Exclusions([[], [f"^{re.escape(name)}$"]])
    for other in (name, f"{name}x", f"x{name}", name.replace(".", "x"), f"{name}\n"):
        found = re.search(f"^{re.escape(name)}$", other) is not None
        assert exclusions.have(Variable(np.ones(2), other)) is found
    assert not exclusions._patterns


@pytest.mark.parametrize("pattern", ["a", "^a", "a$", "^a.b$", "^(a|b)$", "^a*$", r"^\d$", r"^a\\$$", "^$a$", "", "$"])
def test_expressions_for_more_are_searched(pattern):
    assert only_name(pattern) is None and len(Exclusions([[], [pattern]])._patterns) == 1
