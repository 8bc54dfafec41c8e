"""Whose code something is: two questions, and to each the answer that its name says."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from gradwise import optimizers
from gradwise.optimizers import SGD, Adam, AdamW, MultiOptimizer
from gradwise.optimizers.core.fused.attributes import of_optimizers_alone
from gradwise.optimizers.core.origin import is_of_library, outside_library, outside_optimizers


class Own(AdamW):
    """A user's."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


class Same(Own):
    """A user's that changes nothing."""


def test_a_users_classes_are_outside_of_both():
    for outside in (outside_library, outside_optimizers):
        assert [outside(kind) for kind in (AdamW, Own, Same)] == [[], [Own], [Same, Own]]
    assert [is_of_library(kind.update_step) for kind in (AdamW, Own, Same)] == [True, False, False]
    assert not is_of_library(np.multiply) and not is_of_library(None)


@pytest.mark.torch
def test_a_front_ends_classes_are_the_librarys_but_not_optimizers():
    kind = importlib.import_module("gradwise.frontends.torch").Adam
    assert kind not in outside_library(kind) and kind in outside_optimizers(kind)


def test_what_is_inside_counts_as_well():
    assert of_optimizers_alone(Adam()) and of_optimizers_alone(MultiOptimizer([], default=SGD()))
    assert not of_optimizers_alone(Own()) and not of_optimizers_alone(MultiOptimizer([], default=Own()))
    changed = Adam()
    changed.update_step = lambda *arguments: None
    assert not of_optimizers_alone(changed)


def test_nobody_asks_elsewhere():
    """A third answer would have no name."""
    files = list(Path(optimizers.__file__).parent.rglob("*.py"))
    asking = [file.name for file in files if ".__module__.startswith(" in file.read_text(encoding="utf-8")]
    assert len(files) > 60 and asking == ["origin.py"]
