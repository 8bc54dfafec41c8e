"""Which name is said to be meant by one that does not exist: only one that means the same wherever it is said."""

from __future__ import annotations

import pytest

from gradwise import optimizers, schedules
from gradwise.backends.wording import meant, same
from gradwise.optimizers.core.hyperparameters import hyperparameters
from gradwise.optimizers.core.synonyms import SYNONYMS


def asked(maker, **keywords):
    with pytest.raises((TypeError, ValueError)) as caught:
        maker(**keywords)
    return str(caught.value).partition(". ")[2]


NONE_IS_MEANT = r"Its arguments are learning_rate, "


@pytest.mark.parametrize(("name", "argument", "said"), [
    # The rate in Adam's paper, a decay in torch's RMSprop.
    ("Adam", "alpha", NONE_IS_MEANT),
    ("RMSprop", "alpha", "Did you mean `rho`?"),
    ("RMSprop", "beta_2", "Did you mean `rho`?"),
    # Two for one would lose one of them.
    ("RMSprop", "betas", NONE_IS_MEANT),
    ("Adam", "betas", "Did you mean `beta_1` and `beta_2`?"),
    # Lion's second decay is that of its momentum.
    ("Lion", "smoothing", NONE_IS_MEANT),
    ("Lion", "rho", NONE_IS_MEANT),
    ("Lion", "momentum", NONE_IS_MEANT),
    ("SGD", "beta_1", "Did you mean `momentum`?"),
    # In optax's rmsprop `decay` is another.
    ("Adam", "lr_decay", NONE_IS_MEANT),
    ("Adam", "foreach", "Did you mean `jit_compile`?"),
    ("Adam", "eta", "Did you mean `learning_rate`?"),
    ("Adam", "stepsise", "Did you mean `learning_rate`?"),
    ("Adam", "bias_correction", "Did you mean `bias_correction_mu` and `bias_correction_nu`?"),
])  # fmt: skip
def test_arguments_of_optimizers(name, argument, said):
    assert asked(getattr(optimizers, name), **{argument: 0.5}).startswith(said)


def test_an_attribute_that_is_like_none():
    with pytest.raises(AttributeError, match=r"Adam has no attribute `nothing`\. (?!Did you mean)"):
        _ = optimizers.Adam().nothing



@pytest.mark.parametrize("floor", ["eta_min", "min_lr", "end_value", "end_learning_rate"])
def test_the_floor_of_schedules(floor):
    for name in ("CosineDecay", "CosineDecayRestarts"):
        assert "a fraction" in asked(getattr(schedules, name), **{floor: 0.01})
        assert "Did you mean" not in asked(getattr(schedules, name), **{floor: 0.01})
    if floor != "end_learning_rate":
        said = asked(schedules.PolynomialDecay, initial_learning_rate=0.1, decay_steps=3, **{floor: 0.01})
        assert said == "Did you mean `end_learning_rate`?"


def test_the_remedy_for_the_floor_is_that_of_the_constructor_that_has_it():
    class Mine(schedules.CosineDecay):
        def __init__(self, rate, alpha):
            super().__init__(rate, 100, alpha / rate)

    assert "fraction" not in asked(Mine, eta_min=0.01)


def test_following_the_remedy_for_the_floor_ends_there():
    assert schedules.CosineDecay(0.1, 3, alpha=0.01 / 0.1)(3) == pytest.approx(0.01)
    warm = schedules.CosineDecay(0.0, 3, alpha=0.01 / 0.1, warmup_target=0.1, warmup_steps=2)
    assert warm(5) == pytest.approx(0.01)


def test_the_peak_is_the_target_of_the_warm_up():
    said = asked(schedules.CosineDecay, initial_learning_rate=0.0, peak_value=0.1, warmup_steps=10, decay_steps=90)
    assert said == "Did you mean `warmup_target`?"
    assert "Did you mean" not in asked(schedules.PolynomialDecay, peak_value=0.1, decay_steps=90)


def test_a_name_with_a_meaning_is_no_misspelling():
    synonyms = same(("momentum", "mu")) | {"pair": [("one", "two")]}
    assert meant("momentum", ["ema_momentum"], synonyms) == []
    assert meant("momentum", ["mu", "ema_momentum"], synonyms) == ["mu"]
    assert meant("pair", ["one"], synonyms) == []
    assert meant("pair", ["two", "one"], synonyms) == ["one", "two"]
    assert meant("pairs", ["two", "one"], synonyms) == ["one", "two"]
    assert meant("momentm", ["momentum"], synonyms) == ["momentum"]


def test_every_name_that_is_meant_can_be_asked_for():
    targets = {each for alternatives in SYNONYMS.values() for names in alternatives for each in names}
    assert targets <= {*SYNONYMS, *(name for kind in optimizers.registry.ALGORITHMS for name in hyperparameters(kind))}
    assert all(name not in names for name, found in SYNONYMS.items() for names in found)
