"""Mistakes in rules of a user's own: the same error on every way, with the line that makes the mistake and what to do.

A row is a rule, in which the line of the mistake is marked, and what its error says. What is right is the same on all
ways too.
"""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import mistakes as pages
from helpers.backend_table import array as to
from helpers.mistakes import in_rules
from helpers.mistakes.in_rules import GRADIENT, START, WithSlots
from helpers.mistakes.in_rules import _with_rule as with_rule
from helpers.odd_rules import RIGHT as ODD
from helpers.right_rules import RIGHT as UNUSUAL

from gradwise.backends import Variable, elsewhere, mistakes, ops
from gradwise.backends.mistakes import RuleMistake
from gradwise.optimizers import SGD, Optimizer

NO_VALUE = "while JAX traces or a step is recorded"
MISTAKES = {
    in_rules.branching: (
        "`if` on `ops.norm(gradient) > 1.0` needs a value", NO_VALUE,
        "`self.assign_sub(variable, ops.where(ops.norm(gradient) > 1.0, gradient * learning_rate, 0.0))`",
    ),
    in_rules.branching_on_an_element: (
        "`if` on `gradient[0] > 1.0` needs a value", "`ops.where(gradient[0] > 1.0, 2.0, 1.0)`",
    ),
    in_rules.branching_on_the_step: (
        "`if` on `self.step_of(variable) % 10 == 0` needs a value", "ops.where(self.step_of(variable) % 10 == 0, ",
    ),
    in_rules.branching_on_the_rate: (
        "`min(learning_rate, 0.2)` needs a value", "Write `ops.minimum(learning_rate, 0.2)`",
    ),
    in_rules.taking_the_larger: (
        "`max(ops.norm(gradient), 1.0)` needs a value", "Write `ops.maximum(ops.norm(gradient), 1.0)`",
    ),
    in_rules.asking_for_a_float: ("`float(ops.norm(gradient))` needs a value", "Write `ops.norm(gradient)`"),
    in_rules.calling_math: (
        "`math.sqrt(self.step_of(variable))` needs a value", "Write `ops.sqrt(self.step_of(variable))`",
    ),
    in_rules.calling_numpy_on_the_rate: ("calls `np.sqrt`", "Write `ops.sqrt(learning_rate)`"),
    in_rules.making_a_number_of_numpys: ("`np.float64(learning_rate)` needs a value", "Write `learning_rate`"),
    in_rules.changing_the_value_of_a_slot: (
        "`momentum` is the value of", "momentum'", "on some libraries and not",
        "`momentum = momentum * self.beta`, then ",
        "`self.assign(self.momentums[self.variable_index(variable)], momentum)`",
    ),
    in_rules.changing_the_value_of_the_parameter: (
        "`weights` is the value of", "on some libraries and not",
        "`self.assign_sub(variable, gradient * learning_rate)`",
    ),
    in_rules.changing_a_view_of_the_gradient: ("`flat` shares memory with the gradient", "`flat = flat * 2.0`"),
    in_rules.changing_what_was_assigned: (
        "`direction` shares memory with", "momentum'", "`direction = direction * 0.5`",
    ),
    in_rules.setting_elements_of_what_was_computed: (
        "sets elements of an array that was computed", "`direction = ops.where(direction > 0, 0.0, direction)`",
    ),
    in_rules.counting_in_a_dictionary: (
        "changes what is in `self.table`", "not saved", "`self.step_of(variable)`",
    ),
    in_rules.remembering_in_a_list: (
        "changes what is in `self.history`", "self.add_optimizer_variables(variables, 'history')",
        "`self.assign(self.history[self.variable_index(variable)], gradient)`",
    ),
    in_rules.counting_in_a_global: ("changes `COUNT`", "another value the second time", "`self.step_of(variable)`"),
    in_rules.drawing_random_numbers: ("draws random numbers", "once", "to the gradients, before the step"),
    in_rules.calling_a_method: (
        "the gradient has no 'sum' that every library's arrays have", "Write `ops.sum(gradient)`",
    ),
    in_rules.calling_a_method_of_torchs: ("the array has no 'clamp'", "Write `ops.clip(direction, -1.0, 1.0)`"),
    in_rules.changing_a_slot_as_in_torch: (
        "the value of", "has no 'mul_' that every library's arrays have",
        "Write `momentum = momentum * 0.9 + gradient`, then `self.assign(self.momentums[",
    ),
    in_rules.replacing_the_array: (
        "sets the `array` of", "`self.assign(variable, variable.value - gradient * learning_rate)`",
    ),
    in_rules.reading_the_array: ("reads the `array` of", "Write `momentum` itself, or `momentum.value`"),
    in_rules.assigning_to_the_list: (
        "assigns to a list", "`self.assign(self.momentums[self.variable_index(variable)], gradient)`",
    ),
    in_rules.looking_up_by_the_parameter: (
        "in the list `self.momentums`", "`self.momentums[self.variable_index(variable)]`",
    ),
    in_rules.filling_with_a_number: (
        "assigns one number to", "1.0 * ops.ones_like(self.momentums[self.variable_index(variable)]))`",
    ),
    in_rules.forgetting_the_rate: ("other arguments", "def update_step(self, gradient, variable, learning_rate)"),
    in_rules.returning: ("returns a value", "dropped", "`self.assign_sub(variable, learning_rate * gradient)`"),
    in_rules.subtracting_in_place: ("`-=` does not change", "`self.assign_sub(variable, learning_rate * gradient)`"),
    in_rules.adding_in_place: ("`+=` does not change", "`self.assign_add(variable, learning_rate * gradient)`"),
    in_rules.scaling_a_slot_in_place: (
        "`*=` does not change", "momentum", "`self.assign(momentum, momentum * self.beta)`",
    ),
    in_rules.changing_the_gradient: ("`*=` on the gradient", "the caller's array", "`gradient = gradient * 2`"),
    in_rules.changing_the_gradient_under_another_name: (
        "`direction` shares memory with the gradient", "`direction = direction + variable * 0.1`",
    ),
    in_rules.setting_elements_of_the_gradient: (
        "sets elements of the gradient", "ops.where(mask > 0.5, 0.0, gradient)",
    ),
    in_rules.setting_elements_of_the_parameter: (
        "sets elements of", "self.assign(variable, ops.where(mask > 0.5, 0.0, variable))",
    ),
    in_rules.assigning_to_the_gradient: (
        "assigns to the gradient", "belongs to the caller", "`gradient = gradient * 2`",
    ),
    in_rules.replacing_a_slot: (
        "list of slots `self.momentums`",
        "`self.assign(self.momentums[index], self.momentums[index] * self.beta + gradient)`",
    ),
    in_rules.counting_in_an_attribute: (
        "sets `self.count`", "not saved", "Write `self.step_of(variable)` for the number of the step",
    ),
    in_rules.keeping_a_new_attribute: (
        "sets `self._previous`", "`self._previous = self.add_optimizer_variables(variables, 'previous')`",
        "`self.assign(self._previous[self.variable_index(variable)], gradient)`",
    ),
    in_rules.calling_numpy: ("calls `np.sign` on an array", "Write `ops.sign(gradient)`"),
    in_rules.calling_numpy_on_what_follows: ("np.sign", "ops"),
    in_rules.calling_numpy_on_a_slot: ("calls `np.sqrt` on an array", "Write `ops.sqrt(self.momentums["),
    in_rules.misspelling_a_function: ("ops has no 'sgn'", "Did you mean 'sign'?"),
    in_rules.calling_what_others_have: ("ops has no 'rsqrt'", "Write `1 / ops.sqrt(ops.square(gradient))`"),
    in_rules.asking_the_parameter: ("has no 'T'", "Write `ops.matrix_transpose(variable)`"),
    in_rules.misspelling_an_attribute: ("the gradient has no 'nidm'", "Did you mean 'ndim'?"),
    in_rules.forgetting_to_commit: (
        "never changes the parameter", "`self.assign_sub(variable, learning_rate * gradient)`",
    ),
    in_rules.committing_the_slot_alone: (
        "never changes the parameter", "`self.assign_sub(variable, learning_rate * momentum)`",
    ),
    in_rules.misspelling_a_slot: ("has no attribute 'momentum'", "did you mean 'momentums'?"),
    in_rules.going_through_elements: (
        "goes through the elements of the gradient one by one",
        "Write `self.assign_sub(variable, gradient * (learning_rate * ops.sum(gradient, axis=0)))`",
    ),
    in_rules.going_through_elements_of_the_parameter: ("calls sum() on the value of", "Write `ops.sum(variable)`"),
    in_rules.taking_elements_apart: (
        "takes the value of", "momentum' apart", "`first = self.momentums[self.variable_index(variable)][0]`",
    ),
    in_rules.rebinding_the_parameter: (
        "gives the name `variable` to another value", "self.assign_sub(variable, learning_rate * gradient / ",
    ),
    in_rules.committing_nothing_but_asking_another_function: (
        "never changes the parameter", "`self.assign_sub(variable, learning_rate * gradient / _size(variable))`",
    ),
    in_rules.setting_the_data: (
        "sets `data` of", "which nothing reads", "`self.assign(variable, variable - gradient * ",
    ),
    in_rules.setting_the_data_of_a_slot: ("sets `data` of", "momentum'", "Write `self.assign(momentum, gradient)`"),
    in_rules.rebinding_a_slot: (
        "reads the slot 'momentum'", "never writes it", "`self.assign(momentum, momentum * self.beta + gradient)`",
    ),
    in_rules.forgetting_to_commit_a_slot: (
        "reads the slot 'momentum'", "never writes it", "`self.assign(momentum, new)`",
    ),
    in_rules.reading_the_rate_of_the_optimizer: (
        "reads `self.learning_rate`", "not always the rate of the step", "Write `learning_rate`",
    ),
    in_rules.reading_the_rate_by_its_short_name: ("reads `self.lr`", "Write `learning_rate`"),
    in_rules.subtracting_one_number: (
        "subtracts one number from", "which has shape (3,)",
        "ops.norm(gradient) * learning_rate * ops.ones_like(variable)",
    ),
    in_rules.adding_the_rate: (
        "adds one number to", "which has shape (3,)",
        "`self.assign_add(variable, learning_rate * ops.ones_like(variable))`",
    ),
    in_rules.subtracting_another_shape: ("subtracts an array of shape (2,) from", "Give an array of shape (3,)"),
    in_rules.giving_the_arguments_of_torch: (
        "ops.mean has no argument `dim`. Did you mean `axis`?", "It is `ops.mean(x, axis=None, keepdims=False)`",
    ),
    in_rules.giving_too_much: (
        "ops.maximum takes 2 positional arguments but 3 were given", "It is `ops.maximum(a, b)`",
    ),
    in_rules.naming_an_axis: ("received axis='rows'", "shape (3,)", "an axis must be 0 or -1"),
    in_rules.counting_axes_too_far: ("received axis=7", "shape (3,)", "an axis must be 0 or -1"),
    in_rules.calling_an_outer_product: (
        "ops has no 'outer'", "Write `ops.expand_dims(gradient, -1) * ops.expand_dims(variable, -2)`",
    ),
    in_rules.calling_what_nobody_has: ("ops has no 'xyzzy', nor one with a name like it", "`help(ops)` lists"),
    in_rules.calling_a_reduction_of_numpy: ("calls `np.mean` on an array", "arrays only", "`ops.mean(gradient)`"),
    in_rules.calling_a_norm_of_numpy: ("calls `np.linalg.norm` on an array", "Write `ops.norm(gradient)`"),
    in_rules.calling_torch: ("calls `torch.mean` on an array", "torch's tensors only", "Write `ops.mean(gradient)`"),
    in_rules.calling_jax: ("calls `jnp.mean` on an array", "JAX's arrays only", "Write `ops.mean(gradient)`"),
    in_rules.making_an_array_of_numpys: ("computes with an array that np.zeros(...) made", "Write `ops.zeros_like(x)`"),
    in_rules.starting_from_an_array_of_numpys: ("computes with an array that np.zeros(...) made", "number"),
    in_rules.asking_for_the_size: ("the gradient has no 'size'", "Write `math.prod(gradient.shape)`"),
    in_rules.transposing: ("the gradient has no 'T'", "Write `ops.matrix_transpose(gradient)`"),
    in_rules.calling_a_method_along_an_axis: ("has no 'mean'", "Write `ops.mean(new, axis=-1, keepdims=True)`"),
    in_rules.asking_for_an_item: ("has no 'item'", "Write `norm`, without .item()"),
    in_rules.looking_up_by_an_attribute: ("has no 'index'", "Write `self.variable_index(variable)`"),
    in_rules.meeting_another_shape: (
        "`ops.moving_average(momentum, gradient[:2], self.beta)` in the update of", "shapes that cannot be broadcast",
        "the value of", "momentum' has shape (3,)", "a part of the gradient has shape (2,)", "ops.expand_dims(x, axis)",
        "keepdims=True",
    ),
    in_rules.taking_an_array_for_a_key: ("passes the gradient to `_halved`", "Remove the cache from `_halved`"),
    in_rules.assigning_another_shape: ("momentum' has shape (3,) and cannot be assigned an array of shape (3, 3)",),
    in_rules.exchanging_what_is_given: (
        "in another order", "def update_step(self, gradient, variable, learning_rate)",
    ),
    in_rules.exchanging_what_is_assigned: (
        "`self.assign_sub` has its two arguments exchanged",
        "Write `self.assign_sub(variable, gradient * learning_rate)`",
    ),
    in_rules.assigning_to_what_was_computed: ("assigns to an array that was computed", "`direction = direction * 0.5`"),
    in_rules.changing_the_value_in_place: ("`self.assign_sub(variable, gradient * learning_rate)`",),
    in_rules.putting_a_result_into_the_gradient: ("has no argument `out`", "`gradient = ops.multiply(gradient, 2.0)`"),
    in_rules.putting_a_result_of_numpy_into_the_gradient: (
        "calls `np.multiply`", "`gradient = ops.multiply(gradient, 2.0)`",
    ),
    in_rules.clipping_with_the_arguments_of_numpy: (
        "calls `np.clip`", "`ops.clip(gradient, lower=-1.0, upper=1.0)`",
    ),
    in_rules.setting_the_value: ("sets the `value` of", "`self.assign(variable, variable - gradient * learning_rate)`"),
    in_rules.setting_all_elements: ("sets elements of", "`self.assign(variable, variable - gradient * learning_rate)`"),
    in_rules.asking_whether_there_is_a_slot: ("momentum' of shape (3,) is true", "Write `if slot is not None`"),
    in_rules.counting_slots_too_far: ("index 1 is out of range", "`self.momentums` has 1 slot. Write"),
    in_rules.calling_a_power_of_math: ("needs a value", "`ops.power(self.step_of(variable), -0.5)`"),
    in_rules.making_a_slot_in_a_step: (
        "add_variable_from_reference works inside build(variables) only",
        "`self.late = self.add_optimizer_variables(variables, 'late')` there",
    ),
}
WARNED = frozenset((in_rules.rebinding_a_slot, in_rules.forgetting_to_commit_a_slot))
"""What is no error, because whoever makes the steps may do it."""
NEEDS = {in_rules.calling_torch: pytest.mark.torch, in_rules.calling_jax: pytest.mark.jax}
"""Which libraries a mistake itself needs."""


def line_of(function):
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if "# here" in line)


def in_place(library, **options):
    def run(kind):
        array, gradient = to(library, START), to(library, GRADIENT)
        parameter = Variable(array) if library in ("jax", "array_api_strict") else array
        try:
            kind(**options).apply([gradient], [parameter])
        finally:
            assert np.asarray(Variable(gradient).numpy()).tolist() == GRADIENT.tolist()
        return Variable(parameter.value if isinstance(parameter, Variable) else parameter).numpy()

    return run


def functional(library, compiled=False, deltas=False):
    def run(kind):
        import jax

        optimizer, params, grads = kind(), {"w": to(library, START)}, {"w": to(library, GRADIENT)}
        step = optimizer.delta if deltas else optimizer.step
        try:
            found = (jax.jit(step) if compiled else step)(params, grads, optimizer.init(params))[0]["w"]
        finally:
            assert np.asarray(Variable(grads["w"]).numpy()).tolist() == GRADIENT.tolist()
            assert np.asarray(Variable(params["w"]).numpy()).tolist() == START.tolist()
        return START + Variable(found).numpy() if deltas else Variable(found).numpy()

    return run


def in_torch(kind):
    import torch

    from gradwise.frontends import torch as optim

    parameter = torch.nn.Parameter(torch.tensor(START))
    parameter.grad = torch.tensor(GRADIENT)
    optim.wrap(kind(), [parameter]).step()
    return parameter.detach().numpy()


def in_optax(kind):
    from gradwise.frontends import optax as goptax

    transformation, params = goptax.from_optimizer(kind()), {"w": to("jax", START)}
    updates, _ = transformation.update({"w": to("jax", GRADIENT)}, transformation.init(params), params)
    return np.asarray(params["w"] + updates["w"])


TORCH, JAX = {"marks": pytest.mark.torch}, {"marks": pytest.mark.jax}
WAYS = {
    "numpy": pytest.param(in_place("numpy")),
    "numpy, whole arrays": pytest.param(in_place("numpy", jit_compile=False)),
    "numpy, functional": pytest.param(functional("numpy"), **JAX),
    "array-api-strict": pytest.param(in_place("array_api_strict")),
    "torch": pytest.param(in_place("torch"), **TORCH),
    "torch, functional": pytest.param(functional("torch"), marks=[pytest.mark.torch, pytest.mark.jax]),
    "torch, wrapped": pytest.param(in_torch, **TORCH),
    "jax": pytest.param(in_place("jax"), **JAX),
    "jax, functional": pytest.param(functional("jax"), **JAX),
    "jax, compiled": pytest.param(functional("jax", compiled=True), **JAX),
    "jax, deltas": pytest.param(functional("jax", deltas=True), **JAX),
    "optax": pytest.param(in_optax, **JAX),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
@pytest.mark.parametrize("function", [
    pytest.param(each, marks=NEEDS.get(each, ()), id=each.__name__) for each in MISTAKES
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
def test_mistakes(function, way):
    if function in WARNED:
        with pytest.warns(mistakes.RuleWarning) as warned:
            way(with_rule(function))
        assert len(warned) == 1
        said = str(warned[0].message)
    else:
        with pytest.raises((RuleMistake, RuntimeError)) as caught:
            way(with_rule(function))
        said = str(caught.value)
    assert f"in_rules.py:{line_of(function)} ({function.__name__})" in said
    for part in MISTAKES[function]:
        assert part in said, said
    # But for the parameter's name it is one sentence everywhere.
    written = pages.section("rules", str(function.__doc__).rstrip(".")).splitlines()[-1].partition(": ")[2]
    assert re.sub(r"'(variable_0|variable)(_momentum)?'", r"'w\2'", re.sub(r"\.py:\d+", ".py:...", said)) == written


def test_all_mistakes_are_on_the_page():
    assert pages.titles("rules") == list(pages.mistakes("rules"))
    assert set(pages.mistakes("rules").values()) == set(MISTAKES)


# ---------------------------------------------------------------- what is right, or works where it can


def momentum(self, gradient, variable, learning_rate):
    slot = self.momentums[self.variable_index(variable)]
    direction = slot * self.beta
    direction += gradient
    self.assign(slot, direction)
    self.assign_sub(variable, direction * learning_rate)


def doubled_where_it_is_large(self, gradient, variable, learning_rate):
    """A choice of work by a value, of which both ways are tried."""
    ops.cond(
        ops.max(ops.abs(gradient)) > 2.5,
        lambda: self.assign_sub(variable, gradient * (learning_rate * 2.0)),
        lambda: self.assign_sub(variable, gradient * learning_rate),
    )


def along_axes(self, gradient, variable, learning_rate):
    """Reductions, shapes, elements and arrays of the optimizer's own."""
    rows = ops.expand_dims(gradient, 0) * ops.expand_dims(ops.sign(gradient), -1)
    total = ops.mean(ops.sum(rows, axis=0, keepdims=True), axis=-1)
    last = len(self.history) + total[0] * 0.0 + gradient[2:] * 0.0
    self.assign_sub(variable, gradient * ops.sqrt(ops.square(learning_rate)) + last[0])


def with_a_second_name(self, gradient, variable, learning_rate):
    direction = gradient * 1.0
    direction = direction * 2.0
    direction *= 0.5
    before = variable.value
    self.assign(variable, before - direction * learning_rate)


def half_of_what_is_positive(self, gradient, variable, learning_rate):
    gradient = gradient * 2
    self.assign(variable, ops.where(variable > 0, variable * 0.5, variable - gradient * learning_rate))


def where_it_is_zero(self, gradient, variable, learning_rate):
    """Cells are compared with numbers by their elements."""
    self.assign_sub(variable, ops.where(gradient == 3.0, ops.where(variable != 0.5, 1.0, 2.0), 0.0) * learning_rate)


def as_errors_write_it(self, gradient, variable, learning_rate):
    """What errors say that is written instead of mistakes."""
    past = self.momentums[self.variable_index(variable)]
    scale = ops.where(gradient[0] > 1.0, 2.0, 1.0) / ops.where(ops.norm(gradient) > 1.0, 2.0, 1.0)
    positive = ops.where(gradient > 0, gradient, 0.0)
    gradient = positive + ops.where(gradient > 0, 0.0, gradient)
    ops.cond(self.step_of(variable) % 10 == 0, lambda: None, lambda: self.assign(past, past * 0.9 + gradient))
    self.assign(past, 1.0 * ops.ones_like(variable))
    self.assign_add(variable, (past[0] - 1.0) * ops.ones_like(variable))
    self.assign_sub(variable, gradient * scale * (ops.minimum(learning_rate, 9.0) / self.step_of(variable)))


class Masked(WithSlots):
    """Elements that are chosen by where they are."""

    def build(self, variables):
        self.masks = [
            self.add_variable_from_reference(each, "mask", initializer=ops.where(each < 0, 1.0, each * 0.0))
            for each in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        mask = self.masks[self.variable_index(variable)]
        gradient = ops.where(mask > 0.5, 0.0, gradient)
        self.assign_sub(variable, gradient * learning_rate)


def as_an_if_is_written(self, gradient, variable, learning_rate):
    """Choices by one number for a whole array, as errors write what an `if` would do."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign_sub(variable, ops.where(ops.norm(gradient) > 1.0, gradient * learning_rate, 0.0))
    self.assign_sub(variable, ops.where(self.step_of(variable) % 10 == 0, gradient * learning_rate, 0.0))
    self.assign(momentum, ops.where(ops.norm(gradient) > 1.0, gradient, momentum))
    value = momentum.value
    value = value * 2.0
    self.assign(momentum, value)
    self.assign_add(variable, ops.where(momentum == gradient * 2.0, 0.0, 1.0))


class MaskedByArray(WithSlots):
    """Elements that are chosen by an array of numbers."""

    def build(self, variables):
        self.masks = [
            self.add_variable_from_reference(each, "mask", initializer=np.array([0.0, 1.0, 0.0]))
            for each in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        mask = self.masks[self.variable_index(variable)]
        self.assign_sub(variable, ops.where(mask > 0.5, 0.0, gradient) * learning_rate)


def as_a_loop_is_written(self, gradient, variable, learning_rate):
    total = 0.0
    total = total + ops.sum(gradient * gradient, axis=0)
    self.assign_sub(variable, gradient * (learning_rate * ops.sum(gradient, axis=0) / 2.0))
    self.assign_sub(variable, 0.0 * gradient * total)


class Remembering(WithSlots):
    """What follows from shapes and dtypes, kept in dictionaries and sets."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self._scales, self._seen = {}, set()

    def update_step(self, gradient, variable, learning_rate):
        key = tuple(variable.shape), str(variable.dtype)
        if key not in self._scales:
            self._scales[key] = len(variable.shape) * 1.0
        self.table[self.variable_index(variable)] = (2.0, "as it is")
        self._seen.add(key)
        scale, _ = self.table[self.variable_index(variable)]
        self.assign_sub(variable, gradient * (learning_rate * self._scales[key] * scale * 0.5))


class WithoutSuper(WithSlots):
    """`build` makes slots whether it calls its parent's or not."""

    def build(self, variables):
        self.momentums = self.add_optimizer_variables(variables, "momentum")


class Anchored(WithSlots):
    """A slot that begins as the parameter, and stays."""

    def build(self, variables):
        self.anchors = [self.add_variable_from_reference(each, "anchor", initializer=each * 1.0) for each in variables]

    def update_step(self, gradient, variable, learning_rate):
        anchor = self.anchors[self.variable_index(variable)]
        self.assign_sub(variable, (gradient + (variable - anchor)) * learning_rate)


def slot_every_other_step(self, gradient, variable, learning_rate):
    """A slot that is written in one branch only, which is not that of the first step."""
    momentum = self.momentums[self.variable_index(variable)]
    ops.cond(self.step_of(variable) % 2 == 0, lambda: self.assign(momentum, gradient), lambda: None)
    self.assign_sub(variable, (momentum + gradient) * learning_rate)


def slot_of_matrices(self, gradient, variable, learning_rate):
    """A slot that is not asked for its value where it is not written."""
    momentum = self.momentums[self.variable_index(variable)]
    if variable.ndim > 1:
        self.assign(momentum, gradient)
        gradient = momentum * 1.0
    self.assign_sub(variable, gradient * learning_rate)


class InBeginStep(WithSlots):
    def begin_step(self, gradients, variables, learning_rate):
        for gradient, variable in zip(gradients, variables, strict=True):
            self.assign(self.momentums[self.variable_index(variable)], gradient)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, self.momentums[self.variable_index(variable)] * learning_rate)


class OfTheInner(WithSlots):
    """The rate of an optimizer inside is no other's."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.inner = SGD(0.25)

    def build(self, variables):
        self.inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.inner.update_step(gradient, variable, self.inner.learning_rate * 2.0)


RIGHT = {
    "as errors write it": (with_rule(as_errors_write_it), START - 0.5 * GRADIENT),
    "as an if is written": (with_rule(as_an_if_is_written), START - 0.5 * GRADIENT),
    "a mask by an array": (MaskedByArray, START - 0.5 * GRADIENT * np.array([1.0, 0.0, 1.0])),
    "remembering": (Remembering, START - 0.5 * GRADIENT),
    "sums in place of loops": (with_rule(as_a_loop_is_written), START - 0.5 * GRADIENT),
    "a mask": (Masked, START - 0.5 * GRADIENT * (START >= 0)),
    "an anchor": (Anchored, START - 0.5 * GRADIENT),
    "a slot every other step": (with_rule(slot_every_other_step), START - 0.5 * GRADIENT),
    "a slot of matrices": (with_rule(slot_of_matrices), START - 0.5 * GRADIENT),
    "slots in begin_step": (InBeginStep, START - 0.5 * GRADIENT),
    "the rate of an optimizer inside": (OfTheInner, START - 0.5 * GRADIENT),
    "momentum": (with_rule(momentum), START - 0.5 * GRADIENT),
    "no super().build": (with_rule(momentum, WithoutSuper), START - 0.5 * GRADIENT),
    "a choice of work": (with_rule(doubled_where_it_is_large), START - GRADIENT),
    "along axes": (with_rule(along_axes), START - 0.5 * GRADIENT),
    "in place on its own": (with_rule(with_a_second_name), START - 0.5 * GRADIENT),
    "a choice": (with_rule(half_of_what_is_positive), [1.0, -2.0, 0.25]),
    "equality": (with_rule(where_it_is_zero), [1.5, -1.0, 0.5]),
    **UNUSUAL,
    **ODD,
}


@every_way
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_gives_the_same_everywhere(name, way):
    kind, expected = RIGHT[name]
    np.testing.assert_allclose(way(kind), expected, rtol=1e-6)


def test_what_is_remembered_of_shapes_belongs_to_no_configuration():
    optimizer, weights, rows = Remembering(), START.copy(), np.ones((2, 2), np.float32)
    for _ in range(3):
        optimizer.apply([GRADIENT, rows], [weights, rows])
    assert len(optimizer._scales) == 2 and optimizer._seen
    assert optimizer == Remembering() and optimizer.get_config() == Remembering().get_config()
    assert optimizer.unbuilt_copy()._scales == {} and copy.copy(optimizer) == optimizer
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    np.testing.assert_allclose(weights, START - 1.5 * GRADIENT, rtol=1e-6)


def counting_in_a_set(self, gradient, variable, learning_rate):
    self.table.setdefault(len(self.table), 1)
    self.assign_sub(variable, gradient * learning_rate)


def keeping_an_array_of_a_shape(self, gradient, variable, learning_rate):
    if variable.shape not in self.table:
        self.table[variable.shape] = ops.ones_like(variable)
    self.assign_sub(variable, gradient * learning_rate * self.table[variable.shape])


@every_way
@pytest.mark.parametrize(("function", "said"), [
    (counting_in_a_set, "changes what is in `self\\.table`"),
    (keeping_an_array_of_a_shape, r"an array in `self\.table`, .* Compute `ops\.ones_like\(variable\)` in each step"),
])  # fmt: skip
def test_what_is_remembered_otherwise_is_refused(function, said, way):
    with pytest.raises(RuleMistake, match=said):
        way(with_rule(function))


def sorting(self, gradient, variable, learning_rate):
    self.assign_sub(variable, np.sort(gradient) * learning_rate)


def test_a_slot_that_is_written_from_outside_is_only_read():
    def rule(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * self.momentums[0] * learning_rate)

    optimizer, weights = with_rule(rule)(), START.copy()
    optimizer.build([weights])
    optimizer.momentums[0].assign(START)
    optimizer.apply([GRADIENT], [weights])
    np.testing.assert_allclose(weights, START - 0.5 * GRADIENT * START)


@every_way
def test_what_only_numpy_has_is_for_its_arrays(way, request):
    if request.node.callspec.id.startswith("numpy"):
        np.testing.assert_allclose(way(with_rule(sorting)), START - 0.5 * np.sort(GRADIENT))
    else:
        with pytest.raises(RuleMistake, match=r"\(sorting\) calls `np.sort` on an array, which works on Nu"):
            way(with_rule(sorting))


def showing(self, gradient, variable, learning_rate):
    print("seen:", gradient)
    self.assign_sub(variable, gradient * learning_rate)


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_print_shows_values_in_every_step(jit_compile, capsys):
    optimizer, weights = with_rule(showing)(jit_compile=jit_compile), START.copy()
    for _ in range(3):
        optimizer.apply([GRADIENT], [weights])
    lines = capsys.readouterr().out.splitlines()
    assert set(lines) == {f"seen: {GRADIENT}"} and len(lines) == 4
    if jit_compile:
        assert "print() in test_mistakes_in_rules.py" in optimizer.execution_report()[0].reason


def test_no_init():
    class Bare(Optimizer):
        def __init__(self):
            self.beta = 0.9

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient)

    uses = (
        lambda: Bare().apply([GRADIENT], [START.copy()]), lambda: Bare().init({"w": START}), lambda: repr(Bare()),
        lambda: Bare().get_config(), lambda: Bare().learning_rate, lambda: Bare().build([START.copy()]),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(RuleMistake, match=r"test_mistakes_in_rules.py:\d+ \(__init__\) has not called super\(\)"):
            use()


def test_fewer_slots_than_parameters():
    class OfTheFirst(WithSlots):
        def build(self, variables):
            self.momentums = self.add_optimizer_variables(variables[:1], "momentum")

    kind = with_rule(momentum, OfTheFirst)
    with pytest.raises(RuleMistake, match=r"`self\.momentums` has 1 slot for 2 parameters\. Append one for each"):
        kind().apply([GRADIENT, GRADIENT[:2]], [START.copy(), START[:2].copy()])


TIMES = []
SEEN = {"steps": 0}


def remembering_outside(self, gradient, variable, learning_rate):
    TIMES.append(1)
    self.assign_sub(variable, gradient * (learning_rate * len(TIMES)))


def counting_outside(self, gradient, variable, learning_rate):
    SEEN["steps"] += 1
    self.assign_sub(variable, gradient * (learning_rate * SEEN["steps"]))


def asking_for_the_library(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * (learning_rate * (2.0 if isinstance(gradient, np.ndarray) else 1.0)))


def _next():
    TIMES.append(1)
    return len(TIMES)


def asking_another_function(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * (learning_rate * _next()))


def choosing_a_name(self, gradient, variable, learning_rate):
    if ops.norm(gradient) > 1.0:
        gradient = gradient * 0.5
    self.assign_sub(variable, gradient * learning_rate)


def choosing_one_of_two(self, gradient, variable, learning_rate):
    if ops.max(gradient) > 1.0 and learning_rate > 0.0:
        scale = 0.5
    else:
        scale = 2.0
    self.assign_sub(variable, gradient * (learning_rate * scale))


def largest_of_three(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * max(learning_rate, 0.1, 0.2))


def unpacking(self, gradient, variable, learning_rate):
    x, *_ = gradient
    self.assign_sub(variable, gradient * (learning_rate * x))


def as_torch_has_it(self, gradient, variable, learning_rate):
    variable.add_(gradient, alpha=-learning_rate)


def as_torch_has_it_with_the_gradient(self, gradient, variable, learning_rate):
    gradient.mul_(2.0)
    self.assign_sub(variable, gradient * learning_rate)


def going_on_with_the_value(self, gradient, variable, learning_rate):
    weights = variable.value
    weights -= gradient * learning_rate
    self.assign(self.momentums[self.variable_index(variable)], weights)


def choosing_by_two_calls(self, gradient, variable, learning_rate):
    if ops.norm(gradient) > 1.0:
        self.assign_sub(variable, gradient * learning_rate)
    else:
        self.assign_sub(variable, gradient)


def choosing_what_to_do(self, gradient, variable, learning_rate):
    if ops.norm(gradient) > 1.0:
        self.assign_sub(variable, gradient * learning_rate)
        self.assign(self.momentums[self.variable_index(variable)], gradient)


def choosing_whether_to_remember(self, gradient, variable, learning_rate):
    momentum = self.momentums[self.variable_index(variable)]
    if ops.norm(gradient) > 1.0:
        self.assign(momentum, gradient)
    self.assign_sub(variable, momentum * learning_rate)


def moving_another_name(self, g, w, rate):
    step = g * rate
    del step


def returning_a_direction(self, g, w, rate):
    return ops.sign(g)


def adding_to_a_name(self, g, w, rate):
    moved = w + -rate * g
    del moved


def exchanging_with_a_slot(self, gradient, variable, learning_rate):
    self.assign(gradient * 0.5, self.momentums[self.variable_index(variable)])


def calling_several(self, gradient, variable, learning_rate):
    self.assign_sub(variable, np.maximum(gradient, 0.0) * np.sum(gradient, axis=0) + np.fmod(gradient, 2.0))


def adding_squares(self, gradient, variable, learning_rate):
    total = 0.0
    for x in gradient:
        total += x * x
    self.assign_sub(variable, gradient * (learning_rate * total))


def adding_what_is_no_product(self, gradient, variable, learning_rate):
    for x in gradient:
        self.assign_sub(variable, gradient * learning_rate + x)


def assigning_each(self, gradient, variable, learning_rate):
    for x in variable:
        self.assign(variable, gradient * x)


def keeping_a_number(self, gradient, variable, learning_rate):
    self.last = 2.0
    self.assign_sub(variable, gradient * learning_rate)


IN_OWN_NAMES = {
    remembering_outside: "changes `TIMES`, which is outside of the optimizer",
    counting_outside: "changes `SEEN`, which is outside .* Write `self.step_of\\(variable\\)`",
    asking_for_the_library: "asks for the class of an array, .* parameter .* another library",
    asking_another_function: "another value the second time, .* depends on something outside",
    choosing_a_name: r"Write `gradient = ops.where\(ops.norm\(gradient\) > 1.0, gradient \* 0.5, gradient\)`",
    choosing_one_of_two: r"Write `scale = ops.where\(condition, 0.5, 2.0\)`",
    largest_of_three: "needs a value that is not there .* `ops.where",
    unpacking: r"Write `x = gradient\[0\]`",
    as_torch_has_it: r"Write `self.assign_add\(variable, -learning_rate \* gradient\)`",
    as_torch_has_it_with_the_gradient: r"Write `gradient = gradient \* 2.0`",
    going_on_with_the_value: (
        r"Write `self.assign_sub\(variable, gradient \* learning_rate\)`, then `weights = variable.value`\."
    ),
    choosing_by_two_calls: (
        r"Write `self.assign_sub\(variable, ops.where\(ops.norm\(gradient\) > 1.0, gradient \* learning_rate, grad"
    ),
    choosing_what_to_do: r"`ops.cond\(ops.norm\(gradient\) > 1.0, do_this, lambda: None\)`, .* function `do_this\(\)`",
    choosing_whether_to_remember: (
        r"Write `self.assign\(momentum, ops.where\(ops.norm\(gradient\) > 1.0, gradient, momentum\)\)`"
    ),
    moving_another_name: r"Write `self.assign_sub\(w, g \* rate\)`",
    returning_a_direction: r"Write `self.assign_sub\(w, rate \* ops.sign\(g\)\)` instead of `return`",
    adding_to_a_name: r"Write `self.assign_add\(w, -rate \* g\)`",
    exchanging_with_a_slot: r"`self.assign` .* Write `self.assign\(self.momentums\[.*\]\, gradient \* 0.5\)`",
    calling_several: r"calls `np.maximum` .* Write `ops.maximum\(gradient, 0.0\)`",
    adding_squares: r"Write `total = total \+ ops.sum\(gradient \* gradient, axis=0\)`\.",
    adding_what_is_no_product: r"Compute with the whole array, as `gradient \* gradient`, ",
    assigning_each: r"Compute with the whole array, as `variable \* variable`, ",
    keeping_a_number: r"sets `self.last`, .*`self.last = self.add_scalar\('last', 0.0\)`",
}


@pytest.mark.parametrize("function", IN_OWN_NAMES, ids=lambda function: function.__name__)
def test_remedies_are_in_the_names_of_the_rule(function):
    with pytest.raises(RuleMistake, match=IN_OWN_NAMES[function]):
        in_place("numpy")(with_rule(function))


def test_no_build():
    def step(self, gradient, variable, learning_rate):
        self.assign(self.means[self.variable_index(variable)], gradient)

    with pytest.raises(RuleMistake, match=r"has no build\. .* self\.means = self\.add_optimizer_variables\("):
        in_place("numpy")(with_rule(step, Optimizer))
    with pytest.raises(RuleMistake, match=r"its build \(in_rules.py:\d+ \(build\)\) has not made it"):
        in_place("numpy")(with_rule(lambda self, *_: self.variances_of_rows, WithSlots))


@pytest.mark.parametrize("written", ["update_steps", "update", "Update_step", "rule"])
def test_a_rule_under_another_name(written):
    def move(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * learning_rate)

    kind = type("Mine", (WithSlots,), {written: move})
    for use in (in_place("numpy"), in_place("numpy", jit_compile=False)):
        with pytest.raises(NotImplementedError, match=rf"; its `{written}` is probably meant: rename it"):
            use(kind)


def test_a_rule_that_is_called_step():
    def step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * learning_rate)

    with pytest.raises(RuleMistake, match=r"\(step\) is the rule for one parameter, .* `update_step\("):
        type("Mine", (WithSlots,), {"step": step})

    def logged(self, params, grads, state, **keywords):
        return super(kind, self).step(params, grads, state, **keywords)

    kind = type("Mine", (SGD,), {"step": logged})
    params = {"w": START}
    optimizer = kind(0.5)
    assert optimizer.step(params, {"w": GRADIENT}, optimizer.init(params))[0]["w"].tolist() == [0.5, -1.5, 1.5]


def test_parameters_come_first_in_torch_only():
    with pytest.raises(ValueError, match=r"Write `Mine\(1e-3\)` and `optimizer.apply\(grads, params\)`"):
        with_rule(momentum)([START.copy()], lr=0.1)


def test_mistakes_in_begin_step():
    class Planned(WithSlots):
        def begin_step(self, gradients, variables, learning_rate):
            gradient = gradients[0]
            gradient *= 2

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    for way in (in_place("numpy"), in_place("numpy", jit_compile=False)):
        with pytest.raises(RuleMistake, match=r"\(begin_step\): `\*=` on the gradient"):
            way(Planned)


def test_what_is_refused_changes_nothing():
    class Both(WithSlots):
        def __init__(self):
            super().__init__()
            self.seen = []

        def update_step(self, gradient, variable, learning_rate):
            self.seen.append(1)
            self.assign(self.momentums[self.variable_index(variable)], gradient)
            self.assign_sub(variable, gradient)
            self.count += 1

    optimizer, weights = Both(), START.copy()
    optimizer.build([weights])
    for _ in range(2):
        with pytest.raises(RuleMistake, match=r"sets `self\.count`"):
            optimizer.apply([GRADIENT], [weights])
    assert weights.tolist() == START.tolist() and optimizer.momentums[0].numpy().tolist() == [0.0] * 3
    assert optimizer.iterations == 0 and optimizer.seen == [] and optimizer.count == 0


def test_rules_of_this_library_are_not_tried_out_and_others_once(monkeypatch):
    from gradwise.optimizers.core import step

    tried = []
    original = step.rehearse
    monkeypatch.setattr(step, "rehearse", lambda rule, *rest: tried.append(type(rule)) or original(rule, *rest))

    class Renamed(SGD):
        """Whose rule is this library's."""

    for kind in (SGD, Renamed, with_rule(momentum)):
        optimizer, weights = kind(0.5), START.copy()
        for _ in range(3):
            optimizer.apply([GRADIENT], [weights])
    assert [kind.__name__ for kind in tried] == ["Mine"]


def test_names_of_ops():
    assert not hasattr(ops, "nothing_of_the_kind")
    for name in ("sgn", "Sqrt", "meen", "maximun", "one_minus_pow"):
        with pytest.raises(AttributeError, match=r"Did you mean '\w+'\?"):
            getattr(ops, name)
    for written in map(elsewhere.written_as, [*elsewhere.SAME, *elsewhere._OTHERWISE]):
        for name in re.findall(r"ops\.(\w+)", written):
            assert name in ops.__all__


@pytest.mark.parametrize(("path", "library"), [
    ("site-packages/jax/_src/core.py", True), ("dist-packages/numpy/_core/numeric.py", True),
    ("site-packages/mine/rules.py", False), ("jax/rules.py", False),
])  # fmt: skip
def test_lines_are_those_of_rules_wherever_these_and_libraries_are_installed(path, library):
    for environment in (Path(mistakes.__file__).parents[1] / ".venv" / "lib", Path("/usr/lib/python3")):
        assert mistakes.is_library(str(environment / path)) is library


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize(("written", "remedy"), [
    ("gradient * slot", "gradient * slot.value"),
    ("2.0 * (gradient - self.momentums[0])", "gradient - self.momentums[0].value"),
    ("(gradient + 1.0) - variable", "gradient + 1.0 - variable.value"),
])  # fmt: skip
def test_a_library_whose_arrays_refuse_cells(written, remedy, jit_compile, tmp_path):
    library = pytest.importorskip("array_api_strict")

    def made(line):
        path = tmp_path / "rule.py"
        path.write_text(
            "def update_step(self, gradient, variable, learning_rate):\n"
            "    slot = self.momentums[self.variable_index(variable)]\n"
            f"    self.assign_sub(variable, {line})\n"
            "    self.assign(slot, gradient)\n", encoding="utf-8",
        )  # fmt: skip
        linecache.checkcache()
        space = {}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
        return with_rule(space["update_step"])(jit_compile=jit_compile)

    def step(optimizer):
        weights = Variable(library.asarray([2.0, -1.0]), name="w")
        optimizer.apply([library.asarray([3.0, 1.0])], [weights])

    with pytest.raises(RuleMistake, match=r"rule\.py:3 \(update_step\): in `.*refuses") as caught:
        step(made(written))
    assert str(caught.value).endswith(f" Write `{remedy}`.")
    step(made(remedy))


def remedy_of(function):
    """The statement that the error for a rule tells to write instead of a line; None if it tells no such thing."""
    said = pages.section("rules", str(function.__doc__).strip().rstrip("."))
    found = re.findall(r"Write `([^`]+)`", said)
    is_statement = len(found) == 1 and (found[0].startswith("self.assign") or re.match(r"[\w.]+ = ", found[0]))
    # What is made in build, and stands for something else in general words.
    in_general = ("add_optimizer_variables", "add_scalar", "...", "mask")
    return found[0] if is_statement and not any(part in found[0] for part in in_general) else None


def remedied(function, code):
    """A rule with that in the place of the statement that is marked; behind its last one if it is the whole rule."""
    lines, _ = inspect.getsourcelines(function)
    tree = ast.parse("".join(lines)).body[0]
    marked = next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith("# here"))
    instead = re.search(r"instead of `([^`]+)`", pages.section("rules", str(function.__doc__).strip().rstrip(".")))
    replaced = [node for node in tree.body if instead is not None and ast.unparse(node) == instead.group(1)]
    if replaced:
        marked = replaced[0].lineno
    if tree.lineno == marked:
        last = tree.body[-1]
        kept = lines[: last.lineno - 1] if isinstance(last, ast.Return) else lines
        return "".join([*kept, f"    {code}\n"])
    statement = next(node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno == marked)
    indent = " " * statement.col_offset
    return "".join([*lines[: marked - 1], f"{indent}{code}\n", *lines[statement.end_lineno :]])


REMEDIES = {each: code for each in MISTAKES if (code := remedy_of(each)) is not None}


@pytest.mark.parametrize("function", REMEDIES, ids=lambda function: function.__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_remedy_is_not_refused_itself(function, tmp_path):
    """What else is wrong with a rule that is wrong, such as a slot that it never writes, is another matter."""
    source, path, space = remedied(function, REMEDIES[function]), tmp_path / "remedied.py", dict(vars(in_rules))
    path.write_text(source, encoding="utf-8")
    linecache.checkcache()
    exec(compile(source, str(path), "exec"), space)
    in_rules._make(space[function.__name__])


def test_many_remedies_are_run():
    assert len(REMEDIES) > 30
