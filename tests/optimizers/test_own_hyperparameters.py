"""Hyperparameters of a user's own class: in its configuration, in its text, compared, copied and pickled."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from helpers.python_calls import counted_calls

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, MultiOptimizer, Optimizer
from gradwise.optimizers.core.fused import recording
from gradwise.optimizers.core.hyperparameters import Number
from gradwise.optimizers.core.own_rules.configurations import own_values


class Descending(Optimizer):
    """What the classes of the table have in common."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * learning_rate)


class UnderItsName(Descending):
    def __init__(self, learning_rate=0.1, beta=0.9, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta = beta


class UnderAnother(Descending):
    def __init__(self, rate, beta=0.9, limit=None, **keywords):
        super().__init__(rate, clipnorm=limit, **keywords)
        self.kept = beta


class Derived(Descending):
    def __init__(self, learning_rate=0.1, betas=(0.9, 0.99), size=3):
        super().__init__(learning_rate)
        self.first, self.second = betas
        self.size = size * 2


class Hidden(Descending):
    def __init__(self, learning_rate=0.1, beta=0.9):
        super().__init__(learning_rate)
        self._beta = beta

    @property
    def beta(self):
        return self._beta


class MoreThanAdam(Adam):
    def __init__(self, *arguments, gamma=0.5, **keywords):
        super().__init__(*arguments, **keywords)
        self.gamma = gamma


class MoreThanThat(MoreThanAdam):
    def __init__(self, margin=2.0, **keywords):
        super().__init__(gamma=0.25, **keywords)
        self.margin = margin


class WithAFunction(Descending):
    def __init__(self, function, weights=None, **keywords):
        super().__init__(**keywords)
        self.function, self.weights = function, weights


class TakenFromKeywords(Descending):
    def __init__(self, **keywords):
        momentum = keywords.pop("momentum", 0.9)
        super().__init__(**keywords)
        self.momentum = momentum


class Constant(Descending):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.momentum, self.name_of_it, self.limits = 0.9, "heavy ball", [1.0, 2.0]


class AroundAnother(Descending):
    def __init__(self, inner, **keywords):
        super().__init__(inner.learning_rate, **keywords)
        self.inner = inner

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)


class AroundItsOwn(Descending):
    def __init__(self, learning_rate=0.1, **keywords):
        super().__init__(learning_rate, **keywords)
        self.inner = Adam(amsgrad=True)


class ManyWithMore(MultiOptimizer):
    def __init__(self, rules, default=None, share=0.5, **keywords):
        super().__init__(rules, default, **keywords)
        self.share = share


def halved(x):
    return x / 2


DECAY = schedules.ExponentialDecay(0.1, 10, 0.9)
MADE = {
    "under its name": (lambda: UnderItsName(0.2, 0.8, clipnorm=1.0), {"beta": 0.8}),
    "its default": (lambda: UnderItsName(), {"beta": 0.9}),
    "with a schedule": (lambda: UnderItsName(DECAY), {"beta": 0.9}),
    "under another name": (lambda: UnderAnother(0.3, 0.7, 2.0), {"beta": 0.7, "limit": 2.0}),
    "derived": (lambda: Derived(0.2, (0.8, 0.88), 4), {"betas": (0.8, 0.88), "size": 4, "first": 0.8}),
    "hidden": (lambda: Hidden(0.2, 0.3), {"beta": 0.3}),
    "more than Adam": (lambda: MoreThanAdam(0.2, 0.7, gamma=0.3, convention="torch"), {"gamma": 0.3, "beta_1": 0.7}),
    "more than that": (lambda: MoreThanThat(3.0, beta_2=0.5), {"margin": 3.0, "gamma": 0.25, "beta_2": 0.5}),
    "a function": (lambda: WithAFunction(halved), {"function": halved}),
    "an array": (lambda: WithAFunction(abs, np.arange(3)), {"function": abs}),
    "taken from keywords": (lambda: TakenFromKeywords(momentum=0.3), {"momentum": 0.3}),
    "a constant": (lambda: Constant(learning_rate=0.2), {"momentum": 0.9, "name_of_it": "heavy ball"}),
    "around another": (lambda: AroundAnother(UnderItsName(0.2, 0.7)), {}),
    "around its own": (lambda: AroundItsOwn(0.2), {}),
    "several": (lambda: ManyWithMore({"bias": Adam(0.2)}, UnderItsName(beta=0.6), share=0.1), {"share": 0.1}),
}  # fmt: skip


def as_made(optimizer):
    """Nothing."""


def other_numbers(optimizer):
    """Other numbers in all public attributes, the rate and optimizers inside included."""
    for keeper in optimizer.all_optimizers():
        for name, value in list(vars(keeper).items()):
            if type(value) is float and name[0] != "_" and math.isfinite(value) and value != 0.0:
                setattr(keeper, name, value * 0.5)
        if keeper.learning_rate_schedule is None:
            keeper.learning_rate = 0.77


def built(optimizer):
    optimizer.build({"kernel": np.ones(2), "bias": np.ones(2)})


@pytest.mark.parametrize("change", [as_made, other_numbers, built])
@pytest.mark.parametrize("name", MADE)
def test_an_equal_one_is_made_of_the_configuration(name, change):
    make, expected = MADE[name]
    optimizer = make()
    change(optimizer)
    config = optimizer.get_config()
    before = dict(config)
    for _ in range(2):
        made = type(optimizer).from_config(config)
        assert made == optimizer and hash(copy.copy(made)) == hash(copy.copy(optimizer)) and config == before
    copies = copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))
    assert all(each == optimizer and each.get_config().keys() == config.keys() for each in copies)
    if change is other_numbers:
        assert optimizer != make()
    else:
        assert {key: config[key] for key in expected} == expected
    if change is not built:
        made = pickle.loads(pickle.dumps(made))
        assert made == optimizer
    steps = []
    for each in (optimizer, type(optimizer).from_config(config)):
        params = {"kernel": np.ones(2), "bias": np.ones(2)}
        steps.append(each.step(params, params, each.init(params))[0]["kernel"].tolist())
    assert steps[0] == steps[1]


def test_what_text_says():
    for text, optimizer in {
        "<UnderItsName 'under_its_name', learning_rate=0.2, convention='keras', beta=0.8>": UnderItsName(0.2, 0.8),
        "<MoreThanAdam 'more_than_adam', learning_rate=0.2, convention='keras', gamma=0.5>": MoreThanAdam(0.2),
        "<UnderAnother 'under_another', learning_rate=0.2, convention='keras', kept=0.9>": UnderAnother(0.2),
        "<Hidden 'hidden', learning_rate=0.1, convention='keras', beta=0.9>": Hidden(),
        "<Adam 'adam', learning_rate=0.2, convention='keras'>": Adam(0.2),
    }.items():
        assert repr(optimizer) == text
    again = WithAFunction(None, learning_rate=0.5)
    again.weights = np.zeros(1000)
    assert len(repr(again)) < 200


class Random(Descending):
    def __init__(self, learning_rate=0.1):
        super().__init__(learning_rate)
        self._seed = object()


class Positional(Descending):
    def __init__(self, *sizes):
        super().__init__()
        self._sizes = sizes


class Model(list):
    """What is large, and knows its own parts."""


def hidden_and_changed():
    optimizer = Derived()
    optimizer._first = 3.0
    return optimizer


class Uses(Descending):
    """What it is given, it uses and does not keep."""

    def __init__(self, model, learning_rate=0.1, beta=0.5, scale=halved, **keywords):
        super().__init__(learning_rate, **keywords)
        self.size = float(scale(len(model)))


CANNOT = {
    "an argument that is not kept": (
        lambda: Uses(Model(), scale=lambda x: x * 2),
        "it does not keep 'model', 'scale', arguments of its constructor that are no plain values",
    ),
    "something of its own": (Random, r"self\._seed would not be what it is"),
    "any number of arguments": (lambda: Positional(3, 4), r"self\._sizes would not be what it is"),
    "a private attribute set later": (hidden_and_changed, r"self\._first would not be what it is"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_has_no_configuration_says_so(name):
    make, reason = CANNOT[name]
    with pytest.raises(TypeError, match=f"has no configuration that it could be made from again, because {reason}: k"):
        make().get_config()


def test_what_a_constructor_only_uses_is_not_kept():
    model, scale = Model([1]), lambda x: x * 2
    watched = [weakref.ref(each) for each in (model, scale)]
    optimizer = Uses(model, 0.2, 0.25, scale)
    del model, scale
    gc.collect()
    assert [each() for each in watched] == [None, None]
    for made in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer), optimizer.unbuilt_copy()):
        assert made == optimizer and own_values(made) == {"beta": 0.25, "size": 2.0}
    # A default is there again.
    assert Uses.from_config(Uses([1]).get_config()) == Uses([1])


def test_a_constructor_that_fails_says_so():
    made = []

    class Once(Descending):
        def __init__(self):
            super().__init__()
            if made:
                raise OSError("there is one already")
            made.append(self)

    with pytest.raises(TypeError, match="because it raises OSError: there is one already: keep each argument of"):
        Once().get_config()


def test_a_class_that_writes_its_configuration_itself():
    """As Keras has it: what it adds is added, and nothing is checked."""

    class Written(Descending):
        def __init__(self, beta, **keywords):
            super().__init__(**keywords)
            self._memory = beta * 2

        def get_config(self):
            return {**super().get_config(), "beta": self._memory / 2}

    optimizer = Written(0.4, clipnorm=2.0)
    optimizer._memory = 0.6
    made = Written.from_config(optimizer.get_config())
    assert made == optimizer and made.clipnorm == 2.0 and made._memory == 0.6


class Declared(Descending):
    """With a number that is checked, and a leaf of JAX's trees."""

    beta = Number("[0, 1)")

    def __init__(self, learning_rate=0.1, beta=0.9, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta = beta


@pytest.mark.jax
def test_numbers_that_are_traced_are_not_kept():
    import jax

    with jax.checking_leaks():
        made = jax.jit(lambda beta: Declared(0.1, beta))(0.25)
    assert made.beta == 0.25 and made.get_config()["beta"] == 0.25
    assert Declared.from_config(made.get_config()) == made and "beta=0.25" in repr(made)
    with pytest.raises(ValueError, match=r"Declared: `beta` must be a number in \[0, 1\)"):
        Declared(beta=1.5)


def test_names_that_do_not_exist():
    for kind in (UnderItsName, Constant, Derived):
        with pytest.raises((TypeError, ValueError), match="bta"):
            kind.from_config({"bta": 0.5})
    with pytest.raises(AttributeError, match=r"no attribute `bta` to set\. Did you mean `beta`\?"):
        UnderItsName().bta = 0.5


def test_the_registry_makes_them_again():
    saved = optimizers.serialize(UnderItsName(DECAY, 0.3))
    assert optimizers.deserialize(saved, {"UnderItsName": UnderItsName}) == UnderItsName(DECAY, 0.3)


def test_rules_of_several_may_differ_in_them():
    optimizer = MultiOptimizer({"bias": {"beta": 0.5}}, default=UnderItsName(beta=0.9))
    assert [own_values(each) for each in optimizer.optimizers.values()] == [{"beta": 0.9}, {"beta": 0.5}]
    for name, said in (("bta", r"Did you mean `beta`\?"), ("xyz", "Its hyperparameters are learning_rate, ")):
        with pytest.raises(ValueError, match=f"UnderItsName has no hyperparameter '{name}'. {said}"):
            MultiOptimizer({"bias": {name: 0.5}}, default=UnderItsName())


class Weighted(Optimizer):
    def __init__(self, learning_rate=0.1, beta=0.9, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta = beta

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.beta))


def test_another_number_records_nothing_anew(monkeypatch):
    recorded = []
    original = recording.record
    monkeypatch.setattr(recording, "record", lambda *arguments: recorded.append(1) or original(*arguments))
    weights = {way: np.ones(3, np.float32) for way in ("auto", False)}
    for way, array in weights.items():
        optimizer = Weighted(jit_compile=way)
        for step in range(5):
            optimizer.beta = 0.9 - 0.1 * step
            optimizer.apply([np.ones(3, np.float32)], [array])
        if way == "auto":
            # What tries a rule is imported by another name.
            assert [group.way for group in optimizer.execution_report()] == ["fused"] and len(recorded) == 4
    assert weights["auto"].tobytes() == weights[False].tobytes()


class MoreThanSGD(SGD):
    def __init__(self, *arguments, gamma=0.5, **keywords):
        super().__init__(*arguments, **keywords)
        self.gamma = gamma


def test_a_step_looks_at_a_class_in_few_calls():
    """What it holds is compared in every step, but not what the library has put there."""
    pytest.importorskip("numba")

    def calls(optimizer):
        weights, gradients = [np.ones(3, np.float32)], [np.ones(3, np.float32)]
        for _ in range(5):
            optimizer.apply(gradients, weights)
        return counted_calls(lambda: optimizer.apply(gradients, weights), lambda event, code: event == "call")

    assert calls(MoreThanSGD(0.1, momentum=0.9)) - calls(SGD(0.1, momentum=0.9)) < 40


def test_what_follows_from_an_argument_is_not_in_the_configuration_too():
    optimizer = UnderAnother(0.1, beta=0.5)
    assert optimizer.get_config()["beta"] == 0.5 and "kept" not in optimizer.get_config()
    optimizer.kept = 0.25
    assert optimizer.get_config()["kept"] == 0.25
    assert UnderAnother.from_config(optimizer.get_config()) == optimizer


class WithoutConstructor(Optimizer):
    """Has the arguments of all optimizers, the older ones too."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


class Mixture:
    """Has no constructor either."""


class Mixed(Mixture, WithoutConstructor):
    """Of several classes, none of which has a constructor."""


@pytest.mark.parametrize("kind", [WithoutConstructor, Mixed])
def test_classes_without_a_constructor_have_the_arguments_of_all(kind):
    optimizer = kind(0.1, clipnorm=1.0)
    assert kind.from_config(optimizer.get_config()) == optimizer
    assert kind(lr=0.1, clipnorm=1.0) == optimizer and kind(0.1, decay=0.5).decay == 0.5
    with pytest.raises(ValueError, match=r"momentum=0\.5"):
        kind(0.1, momentum=0.5)
