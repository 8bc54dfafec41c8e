"""What front ends say of arguments that the core alone has can be followed: each line makes such an optimizer."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradwise
from gradwise import optimizers
from gradwise.frontends.wording import ArgumentsOfCore, InCore
from gradwise.optimizers.core.conventions import facts_of
from gradwise.optimizers.core.hyperparameters import (
    LEARNING_RATE,
    Choice,
    Convention,
    Count,
    Number,
    hyperparameters,
)
from gradwise.optimizers.registry import ALGORITHMS


def values_of(kind, name, convention):
    """Values that an argument may have, by what the class says of it; of some, others of the class may ask for more."""
    known = hyperparameters(kind).get(name, LEARNING_RATE)
    if isinstance(known, Number):
        return [0.5 if known.contains(0.5) else known.least]
    if isinstance(known, Count):
        return [known.minimum]
    if isinstance(known, Convention):
        return [convention]
    return list(known.choices) if isinstance(known, Choice) else [True, False]


def followed(line, name, kind, convention):
    """What a line makes, with the first value in the place of the dots that makes something."""
    refusals = []
    for value in values_of(kind, name, convention):
        try:
            return eval(line.replace("...", repr(value)), {"gradwise": gradwise})
        except ValueError as refusal:
            refusals.append(str(refusal))
    raise AssertionError(refusals)


@pytest.mark.parametrize(("kind", "convention"), [(kind, each) for kind in ALGORITHMS for each in kind.conventions])
def test_every_line_can_be_followed(kind, convention):
    remedies = ArgumentsOfCore(InCore(kind, convention), "OPTIMIZER")
    for name, remedy in remedies.items():
        line, _, others = remedy.removeprefix("take ").partition(", whose formula may differ: ")
        made = followed(line, name, kind, convention)
        assert type(made) is kind
        assert (made.convention == convention) == (not others or name == "convention"), remedy
    missing = {*hyperparameters(kind), "learning_rate"} - {*remedies}
    # They are what they are in all conventions of this class.
    assert missing <= {"decoupled_weight_decay", "maximize", "decay"}
    assert "maximize" in remedies or not any(facts_of(each).has_maximize for each in kind.conventions)


def test_a_class_of_a_user_is_called_by_its_name():
    class Mine(optimizers.SGD):
        pass

    class Own(optimizers.Optimizer):
        def __init__(self, rate):
            super().__init__(rate)

    assert ArgumentsOfCore(InCore(Mine, "keras"), "f(OPTIMIZER)")["clipnorm"] == "take f(Mine(clipnorm=...))"
    # Where it takes no such argument nothing is said of it.
    assert not [*ArgumentsOfCore(InCore(Own, "keras"), "f(OPTIMIZER)")][1:]


def test_what_is_elsewhere_comes_first():
    remedies = ArgumentsOfCore(InCore(optimizers.SGD, "keras"), "f(OPTIMIZER)", {"clipnorm": "clip", "other": "leave"})
    assert remedies["clipnorm"] == "clip" and remedies["other"] == "leave" and "other" in list(remedies)


def said(make):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    return re.search(r"For `\w+` (.*)\.$", str(caught.value))[1]


@pytest.mark.torch
def test_in_torch():
    import torch

    from gradwise.frontends import torch as gtorch

    parameters = [torch.ones(2)]
    for name, line in {
        "Adam": 'Adam(clipvalue=..., convention="torch")', "AdamW": 'AdamW(clipvalue=..., convention="torch")',
        "NAdam": 'Nadam(clipvalue=..., convention="torch")',
    }.items():  # fmt: skip
        told = said(lambda name=name: getattr(gtorch, name)(parameters, clipvalue=1.0))
        assert told == f"take wrap(gradwise.optimizers.{line}, model.named_parameters())"


@pytest.mark.jax
def test_in_optax():
    pytest.importorskip("optax")
    from gradwise.frontends import optax as goptax

    for name, line in {
        "adam": 'Adam(clipnorm=..., convention="optax")',
        "nadam": 'Adam(nesterov=True, clipnorm=..., convention="optax")',
    }.items():
        assert said(lambda name=name: getattr(goptax, name)(0.1, clipnorm=1.0)) == (
            f"take from_optimizer(gradwise.optimizers.{line})"
        )
    assert said(lambda: goptax.nadam(0.1, maximize=True)) == (
        'take from_optimizer(gradwise.optimizers.Adam(maximize=..., convention="torch")), whose formula may differ: '
        'convention "optax" has none'
    )


def test_in_scipy():
    minimize = pytest.importorskip("scipy.optimize").minimize
    from gradwise.frontends.scipy import minimize_method

    def told(optimizer, option):
        with pytest.warns(UserWarning, match="Unknown solver options") as caught:
            minimize(lambda x: x @ x, np.ones(2), jac=lambda x: 2 * x, method=minimize_method(optimizer),
                     options={option: 0.5, "maxiter": 1})  # fmt: skip
        return str(caught[0].message)

    class Mine(optimizers.SGD):
        pass

    assert "take minimize_method(Mine(momentum=...))" in told(Mine(0.1), "momentum")
    assert 'minimize_method(gradwise.optimizers.Adam(beta_1=..., convention="torch"))' in told(
        optimizers.Adam(0.1, convention="torch"), "beta_1"
    )
    assert "For `maximize` minimize -fun." in told(optimizers.Adam(0.1), "maximize")


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_convention_that_is_named_is_one_of_the_class(kind):
    without = next(each for each in kind.conventions if not facts_of(each).has_maximize)
    with pytest.raises(ValueError, match=rf"`maximize` does not exist in convention '{without}'") as caught:
        kind(maximize=True, convention=without)
    assert ("it exists in" in str(caught.value)) == ("torch" in kind.conventions)
