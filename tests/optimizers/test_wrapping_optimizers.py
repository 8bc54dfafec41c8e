"""A wrapper is the optimizer inside with one more rule: whatever holds for that holds for it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from gradwise import optimizers
from gradwise.backends import Variable
from gradwise.optimizers import (
    SGD,
    Adam,
    AdamW,
    Cautious,
    CautiousWeightDecay,
    GradientCentralization,
    Lookahead,
    MultiOptimizer,
    Optimizer,
    ScheduleFree,
    Wrapper,
)
from gradwise.optimizers.registry import WRAPPERS


class Scaled(Optimizer):
    """A user's rule."""

    def __init__(self, learning_rate=0.1, factor=2.0, **keywords):
        super().__init__(learning_rate, **keywords)
        self.factor = factor

    def build(self, variables):
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self.variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, total * (learning_rate * self.factor))


class Halved(Wrapper):
    """A user's wrapper."""

    def __init__(self, optimizer, part=0.5, name=None):
        super().__init__(optimizer, name)
        self.part = part

    def update_step(self, gradient, variable, learning_rate):
        delta = self.delta_of(super().update_step, gradient, variable, learning_rate)
        self.assign_add(variable, delta * self.part)


START, GRADIENT = np.linspace(-1, 2, 6).reshape(2, 3), np.linspace(3, -2, 6).reshape(2, 3)
MADE = {
    **{kind.__name__: lambda kind=kind: kind(AdamW(0.1, weight_decay=0.01)) for kind in WRAPPERS},
    "two": lambda: Lookahead(Cautious(Adam(0.1), "heavyball"), 2, 0.3, name="both"),
    "a user's rule": lambda: Lookahead(Scaled(0.1, 3.0), 2),
    "a user's wrapper": lambda: Halved(Adam(0.1)),
    "a user's around a user's": lambda: Halved(Lookahead(Scaled(0.1, 3.0))),
    "several": lambda: Lookahead(MultiOptimizer({"_0$": SGD(0.1)}, default=Adam(0.2)), 2),
    "a schedule": lambda: Lookahead(Adam(optimizers.schedules.CosineDecay(0.1, 5))),
}
EVERY = pytest.mark.parametrize("make", MADE.values(), ids=MADE)
OWN = {"Scaled": Scaled, "Halved": Halved}


def walked(optimizer, steps=5):
    parameters = [START.copy(), START[0].copy()]
    for number in range(steps):
        optimizer.apply([GRADIENT * (1 + number), GRADIENT[1] - number], parameters)
    return parameters


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@EVERY
def test_copies_pickles_and_configurations_make_it_again(make):
    optimizer, expected = make(), walked(make())
    for other in (
        copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), optimizer.unbuilt_copy(),
        type(optimizer).from_config(optimizer.get_config()),
        optimizers.deserialize(optimizers.serialize(optimizer), OWN),
    ):  # fmt: skip
        assert type(other) is type(optimizer) and other == optimizer and repr(other) == repr(optimizer)
        same(walked(other), expected)


@EVERY
def test_it_goes_on_after_copying(make):
    expected = walked(make(), 5)
    begun = make()
    parameters = walked(begun, 3)
    for other in (copy.deepcopy(begun), pickle.loads(pickle.dumps(begun))):
        mine = [each.copy() for each in parameters]
        other.relink(mine)
        for number in range(3, 5):
            other.apply([GRADIENT * (1 + number), GRADIENT[1] - number], mine)
        same(mine, expected)
        assert not np.array_equal(mine[0], parameters[0])


@EVERY
def test_relinked_parameters_are_those_that_move(make):
    optimizer = make()
    walked(optimizer, 1)
    others = [START.copy(), START[0].copy()]
    optimizer.relink(others)
    optimizer.apply([GRADIENT, GRADIENT[1]], others)
    assert not np.array_equal(others[0], START)


@EVERY
def test_one_pass_and_whole_arrays_agree(make):
    whole = make()
    whole.jit_compile = False
    for one, other in zip(walked(make()), walked(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


def test_what_comes_in_and_out():
    inside = Scaled(0.3, 4.0, clipnorm=1.0)
    wrapper = Lookahead(inside, 3)
    assert isinstance(wrapper, Scaled) and isinstance(wrapper, Lookahead)
    assert wrapper.unwrapped() == inside and type(wrapper.unwrapped()) is Scaled
    assert (wrapper.learning_rate, wrapper.factor, wrapper.clipnorm, wrapper.sync_period) == (0.3, 4.0, 1.0, 3)
    wrapper.factor, wrapper.learning_rate = 5.0, 0.1
    assert wrapper.unwrapped() == Scaled(0.1, 5.0, clipnorm=1.0) and inside == Scaled(0.3, 4.0, clipnorm=1.0)
    both = Lookahead(Cautious(inside))
    assert both.unwrapped() == Cautious(inside) and both.unwrapped().unwrapped() == inside
    assert (both.name, both.unwrapped().name, type(both).__name__) == (
        "lookahead_cautious_scaled", "cautious_scaled", "Lookahead(Cautious(Scaled))"
    )  # fmt: skip


def test_steps_are_the_deltas_that_a_rule_adds():
    """Not the difference of parameters, in which a small step is lost."""
    large = np.array([2.0**30], np.float32)
    optimizer = Halved(SGD(1.0), 1e9)
    optimizer.apply([np.array([1.0], np.float32)], [large])
    assert large[0] == np.float32(2.0**30 - 1e9)


def test_decoupled_decay_exclusions_clipping_and_averages_are_as_without_it():
    """Around a rule whose step it leaves, a wrapper changes nothing."""

    def both(**settings):
        inside = AdamW(0.1, weight_decay=0.2, **settings)
        for optimizer in (inside.unbuilt_copy(), Halved(inside, 1.0)):
            optimizer.exclude_from_weight_decay(var_names=["_1$"])
            parameters = walked(optimizer)
            yield [*parameters, *optimizer.evaluation_parameters()]

    for settings in (
        {}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2}, {"loss_scale_factor": 4.0}, {"convention": "torch"},
    ):  # fmt: skip
        plain, wrapped = both(**settings)
        for one, other in zip(plain, wrapped, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15, err_msg=str(settings))


def test_exclusions_before_and_after():
    inside = SGD(0.1, weight_decay=0.5)
    inside.exclude_from_weight_decay(var_names=["kernel"])
    wrapper = CautiousWeightDecay(inside)
    kernel, bias = np.ones(2), np.ones(2)
    wrapper.apply([np.zeros(2), np.zeros(2)], {"kernel": kernel, "bias": bias})
    assert kernel.tolist() == [1, 1] and bias.tolist() == [0.95, 0.95]
    wrapper.exclude_from_weight_decay(var_list=[bias])
    wrapper.apply([np.zeros(2), np.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(kernel, 0.95)
    np.testing.assert_allclose(bias, 0.95)


def test_exclusions_inside_of_another_wrapper():
    bias = np.ones(2)
    wrapper = Lookahead(CautiousWeightDecay(SGD(0.1, weight_decay=0.5)), 1, 1.0)
    wrapper.exclude_from_weight_decay(var_list=[bias])
    wrapper.apply([np.zeros(2)], [bias])
    assert bias.tolist() == [1, 1]


def test_inside_of_several_each_rule_has_its_own():
    rules = MultiOptimizer({"kernel": Lookahead(SGD(0.5), 1)}, default=GradientCentralization(SGD(1.0)))
    kernel, other = np.ones((2, 2)), np.ones((2, 2))
    gradient = np.array([[1.0, 3.0], [0.0, 0.0]])
    rules.apply([gradient, gradient], {"kernel": kernel, "other": other})
    np.testing.assert_array_equal(kernel, 1 - gradient / 4)
    np.testing.assert_array_equal(other, [[2, 0], [1, 1]])
    same(rules.evaluation_parameters(), [kernel, other])
    assert [row.slots for row in rules.plan({"kernel": kernel, "other": other})] == [("slow_weight",), ()]


def test_matrices_and_vectors_are_each_recorded_as_they_are():
    """Wrappers ask how many axes there are; what was recorded for a matrix is not what a vector does."""
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        starts = [[START, START[0], np.array(0.5)][place] for place in order]
        gradients = [[GRADIENT, GRADIENT[0], np.array(2.0)][place] for place in order]
        found = []
        for jit_compile in ("auto", False):
            optimizer = optimizers.MARS(Adam(0.1, jit_compile=jit_compile))
            parameters = [each.copy() for each in starts]
            for _ in range(3):
                optimizer.apply(gradients, parameters)
            found.append(parameters)
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.torch
@pytest.mark.parametrize("kind", WRAPPERS)
def test_late_gradients_and_new_parameters_in_torch(kind):
    import torch

    from gradwise.frontends.torch import wrap

    parameters = [torch.nn.Parameter(torch.full((2, 2), float(number))) for number in range(4)]
    optimizer = wrap(kind(AdamW(0.1, weight_decay=0.01)), parameters[:3])
    for number in range(5):
        if number == 3:
            optimizer.add_param_group({"params": parameters[3:]})
        for place, each in enumerate(parameters):
            each.grad = torch.full((2, 2), 1.0 + number + place) if number >= (0, 1, 0, 3)[place] else None
        optimizer.step()
    assert all(torch.isfinite(each).all() for each in parameters)
    # The first and the third have had all gradients: what they do depends on no other.
    for place in (0, 2):
        fresh = torch.full((2, 2), float(place), requires_grad=True)
        single = wrap(kind(AdamW(0.1, weight_decay=0.01)), [fresh])
        for number in range(5):
            fresh.grad = torch.full((2, 2), 1.0 + number + place)
            single.step()
        torch.testing.assert_close(parameters[place].detach(), fresh.detach())


@pytest.mark.jax
def test_static_and_as_a_tree():
    import jax

    optimizer = Lookahead(Adam(0.1), 2)
    params = {"w": jax.numpy.ones(3)}
    state = optimizer.init(params)
    gradient = {"w": jax.numpy.arange(3.0)}

    @jax.jit
    def traced(optimizer, params, state):
        return optimizer.step(params, gradient, state)

    static = jax.jit(lambda optimizer, params, state: optimizer.step(params, gradient, state), static_argnums=0)
    one, other = traced(optimizer, params, state)[0], static(optimizer, params, state)[0]
    np.testing.assert_allclose(one["w"], other["w"], rtol=1e-6)
    leaves, tree = jax.tree.flatten(optimizer)
    assert jax.tree.unflatten(tree, leaves) == Lookahead(Adam(0.1), 2)
    assert hash(Lookahead(Adam(0.1), 2)) == hash(Lookahead(Adam(0.1), 2))


def test_schedule_free_weighs_by_the_largest_rate():
    rates = iter([0.0, 1.0, 0.5, 2.0])
    optimizer = ScheduleFree(SGD(lambda: next(rates)), 0.5, 1.0)
    parameter, x, z, total = np.array([3.0]), 3.0, 3.0, 0.0
    y = x
    for rate, largest in ((0.0, 0.0), (1.0, 1.0), (0.5, 1.0), (2.0, 2.0)):
        z -= rate * y
        total += largest
        c = largest / total if total else 0.0
        x = (1 - c) * x + c * z
        optimizer.apply([parameter.copy()], [parameter])
        y = 0.5 * z + 0.5 * x
        np.testing.assert_allclose(parameter, [y], rtol=1e-14)
        np.testing.assert_allclose(optimizer.evaluation_parameters()[0], [x], rtol=1e-14)


MISTAKES = [
    (lambda: Lookahead(Adam), TypeError, "received the class Adam: call it, Lookahead(Adam(...))"),
    (lambda: Lookahead(0.1), TypeError, "Lookahead is put around an optimizer, such as Lookahead(Adam(1e-3)), rec"),
    (lambda: Lookahead(), TypeError, "Lookahead() missing a required argument: 'optimizer'"),
    (lambda: Lookahead(Adam(), k=3), TypeError, "not recognized by Lookahead: k=3. Its arguments are optimizer"),
    (lambda: Lookahead(Adam(), 0), ValueError, "Lookahead(Adam): `sync_period` must be an integer >= 1, received 0"),
    (lambda: Lookahead(Cautious(Lookahead(Adam()))), ValueError, "has one around it already"),
    (lambda: Wrapper(Adam()), TypeError, "write a subclass with an update_step"),
    (lambda: CautiousWeightDecay(Adam()), ValueError, "there is no weight decay: give the optimizer one"),
    (lambda: CautiousWeightDecay(SGD(weight_decay=0.1, convention="torch")), ValueError, "decay is coupled"),
    (lambda: optimizers.MARS(SGD()), ValueError, "give `momentum_decay`: the optimizer inside has no `beta_1`"),
    (lambda: setattr(Lookahead(Adam()), "beta1", 0.9), AttributeError, "Did you mean `beta_1`?"),
    (lambda: Lookahead(Adam()).evaluation_parameters(), ValueError, "it was not built"),
    (lambda: Adam().evaluation_parameters(params=[START]), TypeError, "needs both, from the same step"),
]


@pytest.mark.parametrize(("mistake", "kind", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_what_it_refuses(mistake, kind, said):
    with pytest.raises(kind) as caught:
        mistake()
    assert said in str(caught.value)


def test_one_that_has_state_is_refused():
    inside = SGD(0.1)
    inside.build([np.ones(2)])
    with pytest.raises(ValueError, match="was built already, and has state that would be lost"):
        Lookahead(inside)


class Base(Wrapper):
    def update_step(self, gradient, variable, learning_rate):
        self.assign_add(variable, self.changed(self.delta_of(super().update_step, gradient, variable, learning_rate)))

    def changed(self, delta):
        return delta


class Tripled(Base):
    def changed(self, delta):
        return delta * 3


class OfLookahead(Lookahead):
    def __init__(self, optimizer, extra=1.0, **keywords):
        super().__init__(optimizer, **keywords)
        self.extra = extra


class Nameless(Wrapper):
    def __init__(self, optimizer, part=0.5):
        super().__init__(optimizer)
        self.part = part

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.part)


class WithPart(SGD):
    def __init__(self, learning_rate=0.1, part=3.0, **keywords):
        super().__init__(learning_rate, **keywords)
        self.part = part


class WithHelper(SGD):
    def changed(self, delta):
        return delta


class WithList(SGD):
    """Keeps slots where a wrapper of the library keeps its own."""

    def build(self, variables):
        super().build(variables)
        self.slow_weights = self.add_optimizer_variables(variables, "mine")

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slow_weights[self.variable_index(variable)]
        self.assign_add(slot, gradient)
        self.assign_sub(variable, slot * learning_rate)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Halved(WithPart()), "Halved and WithPart both have `part`"),
    (lambda: Nameless(Halved(SGD())), "Nameless and Halved(SGD) both have `part`"),
    (lambda: Tripled(WithHelper()), "Tripled and WithHelper both have `changed`"),
    (lambda: Base(Tripled(SGD())), "has one around it already"),
    (lambda: Tripled(Base(SGD())), "both inherit Base, whose rule can stand around another one only once"),
    (lambda: OfLookahead(Lookahead(SGD())), "both inherit Lookahead, whose rule can stand"),
])  # fmt: skip
def test_what_would_take_the_others_for_its_own_is_refused(make, said):
    with pytest.raises(ValueError) as caught:
        make()
    assert said in str(caught.value)


def test_slots_of_both_are_kept_apart():
    optimizer, parameter = Lookahead(WithList(0.5), 2, 1.0), np.array([1.0])
    for _ in range(2):
        optimizer.apply([np.array([1.0])], [parameter])
    assert parameter.tolist() == [1 - 0.5 - 1.0]


@pytest.mark.parametrize("make", [
    lambda: OfLookahead(SGD(0.1), 2.0, sync_period=2, slow_step_size=0.1), lambda: Nameless(SGD(0.1), 0.25),
    lambda: Nameless(OfLookahead(SGD(0.1), slow_step_size=0.1)),
])  # fmt: skip
def test_configurations_have_all_arguments(make):
    optimizer = make()
    assert type(optimizer).from_config(optimizer.get_config()) == optimizer
    own = {"OfLookahead": OfLookahead, "Nameless": Nameless}
    assert optimizers.deserialize(optimizers.serialize(optimizer), own) == optimizer


class CalledAlike(Wrapper):
    """Has names that classes which are made have, too."""

    wrapper, wrapped = "mine", "mine too"

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


def test_names_of_a_users_class_say_nothing_of_how_it_was_made():
    optimizer = CalledAlike(SGD(0.1))
    assert pickle.loads(pickle.dumps(CalledAlike)) is CalledAlike
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer == type(optimizer).from_config(optimizer.get_config())


def test_classes_are_pickled_as_what_they_are_made_of():
    kind = type(Lookahead(Cautious(Adam())))
    assert pickle.loads(pickle.dumps([kind, Adam])) == [kind, Adam]
    assert kind(Cautious(SGD()), 3).sync_period == type(Lookahead(SGD()))(Adam(), 3).sync_period == 3


@pytest.mark.torch
def test_torch_pickles_and_refuses():
    import torch

    from gradwise.frontends.torch import wrap

    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = wrap(Lookahead(AdamW(0.1)), [parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["sync_period"] == 6
    with pytest.raises(TypeError, match="Put Lookahead around each rule"):
        wrap(Lookahead(MultiOptimizer({"_0": SGD(0.1)}, default=SGD(0.1))), [parameter])


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_several_inside_begin_steps(jit_compile):
    rules = MultiOptimizer({"_0$": SGD(0.1)}, default=SGD(0.1), jit_compile=jit_compile)
    found, alone = ScheduleFree(rules), ScheduleFree(SGD(0.1))
    pairs = [np.array([3.0]), np.array([3.0])], [np.array([3.0])]
    for _ in range(3):
        found.apply([np.ones(1), np.ones(1)], pairs[0])
        alone.apply([np.ones(1)], pairs[1])
    np.testing.assert_allclose(pairs[0], [pairs[1][0]] * 2, rtol=1e-14)
    np.testing.assert_allclose(found.evaluation_parameters(), [*alone.evaluation_parameters()] * 2, rtol=1e-14)


def test_averages_are_what_is_evaluated_where_they_are_kept():
    optimizer = Lookahead(SGD(0.1, use_ema=True), 2)
    walked(optimizer, 3)
    same(optimizer.evaluation_parameters(), optimizer.averages())


def test_cells_are_wrapped_too():
    kernel = Variable(np.ones(3), name="kernel")
    optimizer = Lookahead(SGD(0.5), 1)
    optimizer.apply([np.ones(3)], [kernel])
    assert kernel.numpy().tolist() == [0.75] * 3
