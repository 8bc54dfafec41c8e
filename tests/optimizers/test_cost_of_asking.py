"""Who asks whether there is an attribute does not wait for words: those of an error are found when they are read."""

from __future__ import annotations

import copy
import pickle
import traceback

import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise import optimizers
from gradwise.backends import Variable, ops
from gradwise.backends.wording import SaidWhenRead
from gradwise.optimizers.core.declaring import settable
from gradwise.optimizers.core.naming import known_by

ASKED = {
    "an optimizer": (lambda: optimizers.Adam(), "lerning_rate", "Did you mean `learning_rate`?"),
    "another": (lambda: optimizers.MultiOptimizer({"a": optimizers.SGD()}), "xyzzy", "Its attributes are learn"),
    "a cell": (lambda: Variable(np.ones(2)), "xyzzy", "Use functions of ops"),
    "ops": (lambda: ops, "xyzzy", "`help(ops)` lists what it has"),
    "a module": (lambda: optimizers, "Adan", "Did you mean `Adam`?"),
}


def calls(function):
    return counted_calls(function, lambda event, code: event == "call")


@pytest.mark.parametrize("asked", ASKED)
def test_to_ask_is_cheap(asked):
    make, name, _ = ASKED[asked]
    thing = make()
    # Once, for the patterns that Python keeps.
    assert not hasattr(thing, name)
    assert calls(lambda: hasattr(thing, name)) < 40
    assert calls(lambda: getattr(thing, name, None)) < 40


@pytest.mark.parametrize("asked", ASKED)
def test_and_who_reads_is_told(asked):
    make, name, said = ASKED[asked]
    with pytest.raises(AttributeError) as caught:
        getattr(make(), name)
    error = caught.value
    others = (error.args[0], str(error), pickle.loads(pickle.dumps(error)).args[0], str(copy.copy(error)))
    assert len(set(others)) == 1 and said in others[0] and said in repr(error)


def test_an_error_that_is_told_when_it_is_read():
    asked = []
    error = SaidWhenRead(lambda: asked.append(1) or "what is so")
    assert not asked and str(error) == "what is so" == error.args[0] and repr(error) == "AttributeError('what is so')"
    assert "".join(traceback.format_exception(error)) == "AttributeError: what is so\n"
    assert asked == [1] and isinstance(error, AttributeError) and str(SaidWhenRead("plain")) == "plain"


def test_what_can_be_set_is_known_from_one_look_at_each_class():
    optimizer = optimizers.Adam()

    def looks():
        return counted_calls(
            lambda: settable(type(optimizer), optimizer),
            lambda event, code: event == "call" and code.co_name == "hyperparameters",
        )

    assert looks() <= len(optimizers.Adam.__mro__) + 2
    known = settable(type(optimizer), optimizer)
    assert known[:2] == ["learning_rate", "beta_1"] and known.index("amsgrad") < known.index("weight_decay")


def test_words_about_a_pattern_cost_in_proportion_to_the_parameters():
    def cost(count):
        names = [f"layer_{place}/block_{place}/kernel" for place in range(count)]
        said = []
        found = counted_calls(lambda: said.append(known_by(names, "kernell")), lambda event, code: True)
        assert said[0].endswith("Did you mean 'kernel'?")
        return found

    assert cost(80) < 2.2 * cost(40)
