"""What a user's rule is tried out for is its safety alone: whatever fails in that fails no step."""

from __future__ import annotations

import functools
import re
import statistics
import sys
import threading
import warnings

import numpy as np
import pytest
from helpers.mistakes.in_rules import GRADIENT, START, WithSlots
from helpers.mistakes.in_rules import _with_rule as with_rule
from helpers.odd_rules import KeptMethod

from gradwise.backends import Variable, ops
from gradwise.backends.mistakes import RuleMistake, RuleWarning
from gradwise.optimizers import Optimizer
from gradwise.optimizers.core.own_rules import kept_arrays, rehearsal
from gradwise.optimizers.core.own_rules.explaining import check_signature
from gradwise.optimizers.core.own_rules.trial import LookedAfter


def descent(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * learning_rate)


class OfRows(WithSlots):
    """A mean square for each row."""

    def build(self, variables):
        self.rows = [self.add_variable_from_reference(each, "row", shape=each.shape[:-1]) for each in variables]

    def update_step(self, gradient, variable, learning_rate):
        row = self.rows[self.variable_index(variable)]
        self.assign(row, ops.moving_average(row, ops.mean(ops.square(gradient), axis=-1), self.beta))
        self.assign_sub(variable, gradient * learning_rate / (ops.sqrt(ops.expand_dims(row, -1)) + 0.5))


@pytest.mark.jax
def test_infinite_gradients_give_no_warning_of_what_is_compared():
    import jax.numpy as jnp

    gradient = np.array([np.inf, 1.0, -np.inf], np.float32)
    expected = [-np.inf, -1.5, np.inf]
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
        optimizer.apply([gradient], [weights])
        assert weights.tolist() == expected
        params = {"w": jnp.asarray(START)}
        optimizer = with_rule(descent)()
        found, _ = optimizer.step(params, {"w": jnp.asarray(gradient)}, optimizer.init(params))
        assert np.asarray(found["w"]).tolist() == expected


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeWarning, RecursionError])
@pytest.mark.parametrize("name", [
    "check_signature", "_one_of_each_kind", "undone", "tried_out", "check_same", "unwritten",
])  # fmt: skip
def test_what_fails_in_that_fails_no_step(name, error, monkeypatch):
    def failing(*arguments):
        raise error("nobody's fault but its own")

    monkeypatch.setattr(rehearsal, name, failing)
    optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
    optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == (START - 0.5 * GRADIENT).tolist()
    assert type(optimizer.momentums) is list


def test_interruptions_pass(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(rehearsal, "check_same", interrupted)
    optimizer, weights = with_rule(descent)(jit_compile=False), START.copy()
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == START.tolist()


@pytest.mark.torch
def test_a_rate_in_an_array_that_can_change_is_not_changed():
    import torch

    def rule(self, gradient, variable, learning_rate):
        learning_rate *= 0.5
        self.assign_sub(variable, gradient * learning_rate)

    rate = torch.tensor(0.5)
    params, grads = {"w": torch.tensor(START)}, {"w": torch.tensor(GRADIENT)}
    optimizer = with_rule(rule)()
    found, _ = optimizer.step(params, grads, optimizer.init(params), learning_rate=rate)
    assert rate.item() == 0.5 and found["w"].tolist() == (START - 0.25 * GRADIENT).tolist()
    assert LookedAfter().number(rate, "learning rate").lasting
    assert not LookedAfter().number(0.5, "learning rate").lasting


def test_an_optimizer_is_tried_out_on_one_thread_alone():
    """Meanwhile another may ask it for its rate, set attributes, and assign what is stretched."""
    begun, done, failed = threading.Event(), threading.Event(), []

    def rule(self, gradient, variable, learning_rate):
        if threading.current_thread() is not threading.main_thread():
            return
        begun.set()
        assert done.wait(10)
        self.assign_sub(variable, gradient * learning_rate)

    optimizer, weights = with_rule(rule)(jit_compile=False), START.copy()
    optimizer.build([weights])

    def others():
        try:
            assert begun.wait(10)
            assert optimizer.learning_rate == 0.5
            optimizer.beta = 0.5
            optimizer.assign_sub(Variable(START), 1.0)
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=others)
    thread.start()
    optimizer.apply([GRADIENT], [weights])
    thread.join()
    assert not failed
    assert weights.tolist() == (START - 0.5 * GRADIENT).tolist()


def test_what_another_thread_sets_meanwhile_stays():
    """What was tried out is undone, and nothing else: settings of all kinds, the rate, and what is new."""
    begun, done, failed = threading.Event(), threading.Event(), []

    def rule(self, gradient, variable, learning_rate):
        if not done.is_set():
            begun.set()
            assert done.wait(10)
        self.assign_sub(variable, gradient * learning_rate)

    optimizer, weights = with_rule(rule)(jit_compile=False), START.copy()
    optimizer.build([weights])

    def others():
        try:
            assert begun.wait(10)
            optimizer.learning_rate = np.float32(0.25)
            optimizer.beta, optimizer.table, optimizer._new = 0.5, {"a": 1}, 3
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=others)
    thread.start()
    optimizer.apply([GRADIENT], [weights])
    thread.join()
    assert not failed
    assert (optimizer.learning_rate, optimizer.beta, optimizer.table, optimizer._new) == (0.25, 0.5, {"a": 1}, 3)
    assert type(optimizer.momentums) is list and type(optimizer.momentums[0]) is Variable


def controlled(self, gradient, variable, learning_rate):
    """As in SCAFFOLD: whoever makes the steps writes what is subtracted."""
    control = self.momentums[self.variable_index(variable)]
    control = control * 1.0
    self.assign_sub(variable, (gradient - control) * learning_rate)


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_slots_that_are_written_between_steps(jit_compile):
    optimizer, weights = with_rule(controlled)(jit_compile=jit_compile), START.copy()
    with pytest.warns(RuleWarning, match="never writes it, so that it stays zero, unless it is assigned to") as warned:
        for turn in range(3):
            optimizer.apply([GRADIENT], [weights])
            optimizer.momentums[0].assign(START * turn)
    assert len(warned) == 1 and warned[0].filename == __file__
    np.testing.assert_allclose(weights, START - 0.5 * (3 * GRADIENT - START), rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_slots_that_have_values_are_written_by_somebody():
    optimizer, weights = with_rule(controlled)(), START.copy()
    optimizer.build([weights])
    optimizer.momentums[0].assign(START)
    optimizer.apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - 0.5 * (GRADIENT - START), rtol=1e-6)


@pytest.mark.parametrize("names", [("grad", "p", "g"), ("x", "gradient", "g"), ("p", "theta", "eta"), ("a", "b", "w")])
def test_a_name_alone_says_nothing_of_the_order(names):
    namespace = {}
    first, second, third = names
    exec(f"def update_step(self, {first}, {second}, {third}): self.assign_sub({second}, {first} * {third})", namespace)
    weights = START.copy()
    with_rule(namespace["update_step"])().apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - 0.5 * GRADIENT)


def scaled(self, scale, gradient, variable, learning_rate):
    return gradient * learning_rate * scale


@pytest.mark.parametrize("rule", [functools.partialmethod(scaled, 2.0), functools.wraps(scaled)(
    functools.partialmethod(scaled, 2.0),
)])  # fmt: skip
def test_methods_with_arguments_are_their_authors(rule):
    with pytest.raises(RuleMistake, match=r"test_rules_tried_out.py:\d+ \(scaled\) returns a value"):
        with_rule(rule)().apply([GRADIENT], [START.copy()])


def test_what_pythons_own_functions_meet_is_told_of_the_rules_line():
    def rule(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * statistics.fmean(gradient))

    with pytest.raises(RuleMistake, match=r"test_rules_tried_out.py:\d+ \(rule\) "):
        with_rule(rule)().apply([GRADIENT], [START.copy()])


def test_a_rule_that_is_hashed_may_change_its_rate():
    optimizer, weights = KeptMethod(), START.copy()
    optimizer.apply([GRADIENT], [weights])
    optimizer.learning_rate = 0.25
    optimizer.apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - 0.75 * GRADIENT, rtol=1e-6)
    hash(optimizer)
    with pytest.raises(RuntimeError, match="hash"):
        optimizer.learning_rate = 0.125


class WithoutSignature:
    """What is called as a method and does not tell its arguments, as functions of C do not."""

    __signature__ = 3

    def __get__(self, keeper, kind):
        return self if keeper is None else lambda *given: descent(keeper, *given)

    def __call__(self, *given):
        descent(*given)


def test_rules_that_do_not_tell_their_arguments():
    check_signature(dict.update)
    optimizer, weights = type("Mine", (WithSlots,), {"update_step": WithoutSignature()})(), START.copy()
    optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == (START - 0.5 * GRADIENT).tolist()


@pytest.mark.jax
@pytest.mark.parametrize("transformed", ["jit", "jit of grad"])
def test_transformations_over_some_of_what_a_step_takes(transformed):
    """What they do not go over is an array of outside, which the library traces as soon as it is computed with."""
    import jax
    import jax.numpy as jnp

    params, grads = {"w": jnp.ones((2, 3))}, {"w": jnp.full((2, 3), 0.5)}
    state = OfRows().init(params)

    def stepped(params=params, grads=grads, state=state, rate=0.5):
        return OfRows().step(params, grads, state, learning_rate=rate)[0]["w"].sum()

    own = (lambda function: function) if transformed == "jit" else jax.grad
    for function, argument in (
        (lambda rate: stepped(rate=rate), 0.25),
        (lambda grads: stepped(grads=grads), grads),
        (lambda params: stepped(params=params), params),
        (lambda scale: stepped(grads={"w": scale * params["w"]}), 0.5),
        (lambda scale: stepped(params={"w": scale * params["w"]}, state=OfRows().init(params)), 0.5),
    ):
        found, expected = jax.jit(own(function))(argument), own(function)(argument)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_threads_that_make_the_first_step_of_one_rule():
    """While one tries it out, the others wait: what the rule is made of has others in its place."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failed = []
    try:
        for _ in range(20):
            optimizer, params = OfRows(), {"a": np.ones((3, 2)), "b": np.ones((2, 2))}
            state, together = optimizer.init(params), threading.Barrier(3)

            def step(optimizer=optimizer, params=params, state=state, together=together):
                together.wait()
                try:
                    optimizer.step(params, params, state)
                except Exception as error:
                    failed.append(error)

            threads = [threading.Thread(target=step) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not failed


def committing(update):
    """A decorator that commits what a rule returns."""

    @functools.wraps(update)
    def committed(self, gradient, variable, learning_rate):
        change = update(self, gradient, variable, learning_rate)
        if self.commits:
            self.assign_sub(variable, change)
            self.assign(self.momentums[self.variable_index(variable)], change)

    return committed


class Committed(WithSlots):
    """A rule whose source does not show what is done around it."""

    commits = False

    @committing
    def update_step(self, gradient, variable, learning_rate):
        return gradient * learning_rate + 0.0 * self.momentums[self.variable_index(variable)]


def test_what_a_decorator_does_is_not_looked_for_in_the_source():
    optimizer, weights = Committed(), START.copy()
    optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == START.tolist()


def test_names_of_any_kind_have_a_default():
    for thing in (Variable(START), ops):
        assert [getattr(thing, name, None) for name in ("", "(", "a b")] == [None] * 3


def counted_from_nothing(self, gradient, variable, learning_rate):
    """Adam's correction by the number of the steps before, which is 0 in the first one."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign(momentum, momentum * self.beta + gradient * (1 - self.beta))
    corrected = momentum / ops.one_minus_power(self.beta, self.iterations)
    self.assign_sub(variable, corrected * learning_rate)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_number_of_the_steps_before_is_no_number_of_the_step(library):
    weights, gradient = START.copy(), GRADIENT
    if library == "torch":
        torch = pytest.importorskip("torch")
        weights, gradient = torch.from_numpy(weights), torch.from_numpy(GRADIENT)
    with pytest.warns(RuleWarning) as warned:
        with_rule(counted_from_nothing)().apply([gradient], [weights])
    (said,) = [str(each.message) for each in warned if issubclass(each.category, RuleWarning)]
    assert "test_rules_tried_out.py:" in said and "self.one_minus" not in said
    assert said.endswith(
        "reads `self.iterations`, which is 0 in the first step. Write `self.step_of(variable)`, which is 1."
    )


@pytest.mark.filterwarnings("error")
def test_the_number_of_the_steps_before_may_be_read():
    def from_one(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * learning_rate / (self.iterations + 1))

    weights = START.copy()
    with_rule(from_one)().apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - 0.5 * GRADIENT, rtol=1e-6)


class Scaled(Optimizer):
    def __init__(self, learning_rate=0.5, epsilon=1e-8, **keywords):
        super().__init__(learning_rate, **keywords)
        self.epsilon = epsilon

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient / (ops.abs(gradient) + self.epsilon))


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("epsilon", [None, "1e-8", (1e-8, 1e-3)])
def test_hyperparameters_that_are_no_numbers_are_told_by_name(library, epsilon):
    if library == "numpy":
        weights, gradient = START, GRADIENT
    else:
        made = pytest.importorskip("jax.numpy" if library == "jax" else library).asarray
        weights, gradient = made(START), made(GRADIENT)
    optimizer = Scaled(epsilon=epsilon)
    state = optimizer.init([weights])
    said = re.escape(f"needs a number, and `self.epsilon` is {epsilon!r}.")
    with pytest.raises(RuleMistake, match=said) as caught:
        optimizer.step([weights], [gradient], state)
    assert "test_rules_tried_out.py:" in str(caught.value) and "ops.abs(gradient) + self.epsilon" in str(caught.value)


def added_in_place(self, gradient, index):
    self.kept[index] += gradient


def written_into(self, gradient, index):
    self.kept[index][:] = self.kept[index] * 0.9 + gradient


def changed_by_another_name(self, gradient, index):
    kept = self.kept[index]
    kept *= 0.9
    kept += gradient


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("change", [added_in_place, written_into, changed_by_another_name])
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_arrays_of_ones_own_that_are_changed_in_place(change, library, jit_compile):
    """They are no state. What was done to them while the rule was tried out is undone."""
    made = np.array if library == "numpy" else pytest.importorskip("torch").tensor

    class Keeping(Optimizer):
        def build(self, variables):
            self.kept = [made([0.0, 0.0, 0.0]) for _ in variables]

        def update_step(self, gradient, variable, learning_rate):
            index = self.variable_index(variable)
            change(self, gradient, index)
            self.assign_sub(variable, self.kept[index] * learning_rate)

    weights, gradient = made(START.tolist()), made(GRADIENT.tolist())
    optimizer = Keeping(0.5, jit_compile=jit_compile)
    with pytest.raises(RuleMistake) as caught:
        optimizer.apply([gradient], [weights])
    for part in ("test_rules_tried_out.py:", "`self.kept` in place", "`self.kept = self.add_optimizer_variables("):
        assert part in str(caught.value)
    assert not optimizer.kept[0].any() and weights.tolist() == START.tolist()


def test_arrays_of_ones_own_that_are_only_read():
    class Fixed(Optimizer):
        def build(self, variables):
            self.scales = [np.full(variable.shape, 2.0, np.float32) for variable in variables]

        def update_step(self, gradient, variable, learning_rate):
            scale = self.scales[self.variable_index(variable)]
            self.assign_sub(variable, gradient * learning_rate * scale)

    weights = START.copy()
    Fixed(0.5).apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - GRADIENT, rtol=1e-6)


def test_of_a_models_own_arrays_nothing_is_copied(monkeypatch):
    """A rule may hold all parameters, which are as large as the model."""
    copied = []
    monkeypatch.setattr(kept_arrays, "copy_of", copied.append)
    monkeypatch.setattr(kept_arrays, "LARGE", 5)
    optimizer = Scaled()
    optimizer.build([START.copy()])
    vars(optimizer)["data"] = [np.zeros(3), np.zeros(3)]
    kept_arrays.KeptArrays([optimizer]).check()
    assert not copied
    vars(optimizer)["data"].pop()
    kept_arrays.KeptArrays([optimizer])
    assert len(copied) == 1


def recorded(optimizer, value):
    optimizer.history.append(value)


class Logged(WithSlots):
    """A rule during whose trial another thread fills a list of the optimizer."""

    def update_step(self, gradient, variable, learning_rate):
        BEGUN.set()
        assert DONE.wait(30)
        self.assign_sub(variable, gradient * learning_rate)


class Recording(WithSlots):
    """A rule that fills it itself, by a function."""

    def update_step(self, gradient, variable, learning_rate):
        recorded(self, 1.0)
        self.assign_sub(variable, gradient * learning_rate)


class Asking(WithSlots):
    """The same by a name that stands nowhere."""

    def update_step(self, gradient, variable, learning_rate):
        getattr(self, "his" + "tory").append(1.0)
        self.assign_sub(variable, gradient * learning_rate)


BEGUN, DONE = threading.Event(), threading.Event()


def test_what_another_thread_puts_into_a_list_meanwhile_stays_and_is_no_mistake():
    optimizer = Logged(0.1)

    def others():
        assert BEGUN.wait(30)
        optimizer.history.append("mine")
        DONE.set()

    thread = threading.Thread(target=others)
    thread.start()
    optimizer.apply([np.ones(3)], [np.ones(3)])
    thread.join()
    assert optimizer.history == ["mine"]


@pytest.mark.parametrize("kind", [Recording, Asking])
def test_what_a_rule_puts_into_a_list_by_others_is_one(kind):
    with pytest.raises(RuleMistake, match=r"changes what is in `self\.history`"):
        kind(0.1).apply([np.ones(3)], [np.ones(3)])
