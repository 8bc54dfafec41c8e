"""What errors say: in the words of Keras's users, with the class that was called, and what to do."""

from __future__ import annotations

import pydoc
from functools import partial

import keras
import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise import optimizers, schedules
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
    "pairs to apply": (lambda: built().apply(zip(ones(), variables(), strict=True)), "is a pair", "apply_gradients"),
    "a step of optax": (lambda: built().update(ones()), "AdamW has no attribute `update`: model.fit makes the steps"),
    "text for a list": (lambda: gkeras.AdamW().exclude_from_weight_decay("bias"), "write `var_names=['bias']`"),
    "numbers for names": (lambda: gkeras.AdamW().exclude_from_weight_decay(var_names=[3]), "must be a list of"),
    "no configuration": (lambda: gkeras.AdamW.from_config(3), "AdamW: expected a dictionary of arguments by name"),
    "nothing saved": (lambda: gkeras.deserialize(3), "deserialize takes the dictionary that serialize(optimizer) gave"),
    "a class": (lambda: gkeras.get(gkeras.AdamW), "Call it, `AdamW(...)`"),
    "no name": (lambda: gkeras.get(3), "Give an optimizer, such as Adam(1e-3)"),
    "a schedule's argument": (lambda: gkeras.schedules.CosineDecay(0.1, steps=10), "CosineDecay", "`decay_steps`?"),
    "a schedule without any": (lambda: gkeras.schedules.CosineDecay(), "CosineDecay() missing a required argument"),
    "a schedule's name": (lambda: gkeras.schedules.cosine, "Did you mean `CosineDecay`?"),
    "no argument": (lambda: built().apply(), "Optimizer.apply() missing 1 required positional argument: 'grads'"),
}  # fmt: skip


def test_a_page_is_a_page_or_two():
    for name in gkeras.classes.__all__:
        kind = getattr(gkeras, name)
        page = pydoc.plain(pydoc.render_doc(kind))
        assert len(page.splitlines()) <= 90
        for each in ("learning_rate: ", "iterations: ", "apply(grads, ", "memory("):
            assert f" |      {each}" in page
        assert "stateless_apply" in dir(kind) and "__init__(" not in page


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


def test_questions_of_the_core_take_variables():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")], name="model")
    variables, paths = model.trainable_variables, ["model/dense/kernel", "model/dense/bias"]
    memory = optimizers.Adam().memory(variables)
    assert memory.by_parameter == dict(zip(paths, (48, 24), strict=True))
    plan = optimizers.MultiOptimizer({"bias$": optimizers.SGD(0.5)}, default=optimizers.Adam(0.1)).plan(variables)
    assert [(row.parameter, row.learning_rate) for row in plan] == list(zip(paths, (0.1, 0.5), strict=True))
    with pytest.raises(TypeError, match=r"received the model itself.*Give `model\.trainable_variables`\.$"):
        optimizers.Adam().memory(model)
    with pytest.raises(TypeError, match=r"to an optimizer of gradwise\.frontends\.keras"):
        optimizers.Adam().init(model)


def test_attributes_of_schedules_are_those_that_it_computes_with():
    schedule = gkeras.schedules.PolynomialDecay(1.0, 4, 0.0)
    schedule.decay_steps = 2
    assert schedule.decay_steps == 2 and float(schedule(1)) == 0.5
    wrapped = gkeras.schedules.wrap(schedules.PolynomialDecay(1.0, 4, 0.0))
    wrapped.decay_steps = 2
    assert float(wrapped(1)) == 0.5

    class Mine(gkeras.schedules.PolynomialDecay):
        def __init__(self, rate):
            super().__init__(rate, 4, 0.0)
            self.mine = rate

    mine = Mine(1.0)
    mine.mine, mine.other, mine.decay_steps = 2.0, 3.0, 2
    assert (mine.mine, mine.other) == (2.0, 3.0) and float(mine(1)) == 0.5


def test_memory_of_what_is_no_variable():
    for given in ({"kernel": (2, 3)}, [np.ones(3)], "kernel"):
        with pytest.raises(TypeError, match="Adam takes a list of Keras Variables"):
            gkeras.Adam().memory(given)
