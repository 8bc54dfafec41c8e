"""What errors say: in the words of Keras's users, with the class that was called, and what to do."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise import optimizers
from gradwise.frontends import keras as gkeras


def variables(count=2):
    return [keras.Variable(np.ones(3, "float32"), name=f"v{place}") for place in range(count)]


def ones(count=2):
    return [keras.ops.ones(3) for _ in range(count)]


def built():
    optimizer = gkeras.AdamW()
    optimizer.build(variables())
    return optimizer


TAKES = "AdamW takes a list of Keras Variables, such as model.trainable_variables; received"
MISTAKES = {
    "an argument": (lambda: gkeras.AdamW(betas=(0.9, 0.9)), "not recognized by AdamW", "`beta_1` and `beta_2`"),
    "a value": (lambda: gkeras.AdamW(beta_1=2), "AdamW: `beta_1` must be a number in [0, 1), received 2"),
    "a value, later": (lambda: setattr(built(), "beta_1", 2), "AdamW: `beta_1` must be a number in [0, 1), received 2"),
    "an attribute": (lambda: setattr(built(), "betas", 2), "AdamW has no attribute `betas`", "`beta_1` and `beta_2`?"),
    "texts": (lambda: gkeras.AdamW().apply(ones(), ["a", "b"]), f"{TAKES} 'a'"),
    "arrays": (lambda: gkeras.AdamW().apply(ones(), ones()), TAKES),
    "arrays, later": (lambda: built().apply(ones(), ones()), TAKES),
    "one variable": (lambda: gkeras.AdamW().build(variables(1)[0]), f"{TAKES} the Variable", "alone"),
    "nothing": (lambda: gkeras.AdamW().build(None), f"{TAKES} None"),
    "no pairs": (lambda: gkeras.AdamW().apply_gradients(ones()), "AdamW.apply_gradients takes pairs", "zip(grads,"),
    "others": (lambda: built().apply(ones(), variables()), "Unknown variable", "serves one model: make a new one"),
    "too many": (lambda: built().apply(ones(3)), "3 gradients for 2 variables", "None for a variable without"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_messages(mistake):
    function, *pieces = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        function()
    assert all(piece in str(caught.value) for piece in pieces), str(caught.value)


def test_who_asks_or_sets_does_not_wait_for_words():
    def calls(function, name=None):
        return counted_calls(function, lambda event, code: event == "call" and code.co_name in (name or code.co_name,))

    for optimizer in (gkeras.wrap(optimizers.Adam()), gkeras.Adam()):
        assert calls(lambda optimizer=optimizer: hasattr(optimizer, "xyzzy")) < 20
        set_rate = partial(setattr, optimizer, "learning_rate", 0.1)
        assert calls(set_rate, "settable") == calls(set_rate, "_elsewhere") == 0
        with pytest.raises(AttributeError, match=r"has no attribute `xyzzy`\. Its attributes are learning_rate, "):
            optimizer.xyzzy  # noqa: B018
