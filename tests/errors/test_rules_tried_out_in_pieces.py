"""A rule is tried out with pieces of large arrays where lengths cannot matter, and with all of them where they do.

Pieces show nothing that the arrays do not: the errors are the same, and what is right is right.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from errors.test_mistakes_in_rules import MISTAKES, NEEDS, RIGHT, WAYS
from errors.test_mistakes_in_rules import test_mistakes as check_mistake
from helpers.mistakes import in_rules
from helpers.mistakes.in_rules import WithSlots
from helpers.mistakes.in_rules import _with_rule as with_rule

from gradwise.backends import NUMPY, Variable, ops
from gradwise.backends.mistakes import RuleMistake
from gradwise.optimizers import SGD
from gradwise.optimizers.core.own_rules import pieces, rehearsal

SHAPE = (700, 2000)
SOME = [WAYS[name] for name in ("numpy", "numpy, whole arrays", "torch, functional", "jax, compiled", "optax")]


OF_TWO = (in_rules.subtracting_another_shape, in_rules.meeting_another_shape)
"""They take two elements, which is how many pieces of three have here, and so the step itself is the first to fail."""


@pytest.fixture
def in_pieces(monkeypatch):
    """Every array is large, and axes of more than one element are shortened."""
    monkeypatch.setattr(pieces, "_FEW", -1)
    monkeypatch.setattr(pieces, "_KEPT", 1)


@pytest.fixture
def judged(monkeypatch):
    """The pieces that rules are judged with."""
    found, original = [], rehearsal._judge
    monkeypatch.setattr(rehearsal, "_judge", lambda *arguments: found.append(arguments[-1]) or original(*arguments))
    return found


def stepped(kind, shapes=(SHAPE,), steps=1, **options):
    """The parameters after steps from ones, with gradients of halves."""
    optimizer, weights = kind(**options), [np.ones(shape, np.float32) for shape in shapes]
    for _ in range(steps):
        optimizer.apply([np.full(shape, 0.5, np.float32) for shape in shapes], weights)
    return weights


@pytest.mark.parametrize("way", SOME)
@pytest.mark.parametrize("function", [
    pytest.param(each, marks=NEEDS.get(each, ()), id=each.__name__) for each in MISTAKES if each not in OF_TWO
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
def test_the_same_mistakes_are_told(function, way, in_pieces):
    check_mistake(function, way)


@pytest.mark.parametrize("way", SOME)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_right(name, way, in_pieces):
    kind, expected = RIGHT[name]
    np.testing.assert_allclose(way(kind), expected, rtol=1e-6)


def momentum(self, gradient, variable, learning_rate):
    slot = self.momentums[self.variable_index(variable)]
    self.assign(slot, ops.moving_average(slot, gradient, self.beta))
    self.assign_sub(variable, slot * learning_rate)


def normed(self, gradient, variable, learning_rate):
    rows = ops.mean(ops.square(gradient), axis=-1, keepdims=True)
    self.assign_sub(variable, gradient * (learning_rate / ops.sqrt(rows)))


def product(self, gradient, variable, learning_rate):
    self.assign_sub(variable, (gradient @ ops.matrix_transpose(gradient)) @ gradient * (learning_rate / 1e6))


def flattened(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * (learning_rate / ops.norm(ops.reshape(gradient, (-1,)))))


class OfBoth(WithSlots):
    """A slot for each axis."""

    def build(self, variables):
        self.rows = [self.add_variable_from_reference(each, "row", shape=each.shape[:-1]) for each in variables]
        self.columns = [self.add_variable_from_reference(each, "column", shape=each.shape[1:]) for each in variables]

    def update_step(self, gradient, variable, learning_rate):
        row, column = (slots[self.variable_index(variable)] for slots in (self.rows, self.columns))
        self.assign(row, ops.moving_average(row, ops.mean(gradient, axis=-1), self.beta))
        self.assign(column, ops.moving_average(column, ops.mean(gradient, axis=0), self.beta))
        self.assign_sub(variable, ops.expand_dims(row, -1) * ops.expand_dims(column, 0) * learning_rate)


class Planned(WithSlots):
    """A norm of all gradients."""

    def build(self, variables):
        super().build(variables)
        self.norm = self.add_scalar("norm", 1.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.norm, ops.sqrt(sum(ops.sum(ops.square(each)) for each in gradients)))

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate / self.norm))


class Inside(WithSlots):
    """Another optimizer inside, and slots in a dictionary."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.inner = SGD(momentum=0.9)

    def build(self, variables):
        self.inner.build(variables)
        self.slots = {id(each): self.add_variable_from_reference(each, "slot") for each in variables}

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slots[id(variable)]
        self.assign(slot, slot * self.beta + gradient)
        self.inner.update_step(slot + gradient, variable, learning_rate)


ANY_LENGTH = {
    "momentum": with_rule(momentum), "means of rows": with_rule(normed), "a product": with_rule(product),
    "flattened": with_rule(flattened), "a slot for each axis": OfBoth, "begin_step": Planned, "inside": Inside,
}  # fmt: skip


@pytest.mark.parametrize("options", [
    {}, {"jit_compile": False}, {"weight_decay": 0.1}, {"clipnorm": 1.0}, {"use_ema": True},
    {"gradient_accumulation_steps": 2},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ANY_LENGTH)
def test_pieces_are_enough_where_nobody_asks_for_lengths(name, options, judged):
    stepped(ANY_LENGTH[name], (SHAPE, SHAPE[::-1]), steps=2, **options)
    assert judged and pieces.WHOLE not in judged


@pytest.mark.jax
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("deltas", [False, True])
@pytest.mark.parametrize("name", ["momentum", "a slot for each axis", "begin_step"])
def test_pieces_are_enough_in_functional_steps(name, deltas, compiled, judged):
    import jax
    import jax.numpy as jnp

    optimizer, params = ANY_LENGTH[name](), {"w": jnp.ones(SHAPE)}
    step = optimizer.delta if deltas else optimizer.step
    (jax.jit(step) if compiled else step)(params, {"w": jnp.full(SHAPE, 0.5)}, optimizer.init(params))
    assert len(judged) == 1 and judged[0] is not pieces.WHOLE


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pieces_are_enough_in_torch(dtype, judged):
    import torch

    from gradwise.frontends import torch as optim

    parameter = torch.nn.Parameter(torch.ones(SHAPE, dtype=getattr(torch, dtype)))
    parameter.grad = torch.full_like(parameter, 0.5)
    optim.wrap(with_rule(momentum)(), [parameter]).step()
    assert len(judged) == 1 and judged[0] is not pieces.WHOLE


def doubled_where_it_is_long(self, gradient, variable, learning_rate):
    if variable.shape[0] > 100:
        gradient *= 2
    self.assign_sub(variable, gradient * learning_rate)


def doubled_where_the_gradient_is_long(self, gradient, variable, learning_rate):
    if gradient.shape[0] > 100:
        gradient *= 2
    self.assign_sub(variable, gradient * learning_rate)


def doubled_where_it_is_large(self, gradient, variable, learning_rate):
    if variable.size > 10**6:
        gradient *= 2
    self.assign_sub(variable, gradient * learning_rate)


def doubled_where_there_are_many(self, gradient, variable, learning_rate):
    if len(gradient) > 100:
        gradient *= 2
    self.assign_sub(variable, gradient * learning_rate)


def only_doubled(self, gradient, variable, learning_rate):
    gradient *= 2
    self.assign_sub(variable, gradient * learning_rate)


@pytest.mark.parametrize("function", [
    doubled_where_it_is_long, doubled_where_the_gradient_is_long, doubled_where_it_is_large,
    doubled_where_there_are_many, only_doubled,
])  # fmt: skip
def test_who_asks_for_lengths_is_judged_by_them(function, judged):
    with pytest.raises(RuleMistake, match=rf"\({function.__name__}\): `\*=` on the gradient would change the caller's"):
        stepped(with_rule(function))
    assert judged[-1] is pieces.WHOLE


def by_blocks(self, gradient, variable, learning_rate):
    blocks = ops.reshape(gradient, (-1, 100))
    self.assign_sub(variable, ops.reshape(blocks * 1.0, SHAPE) * learning_rate)


def by_an_element(self, gradient, variable, learning_rate):
    self.assign_sub(variable, gradient * (learning_rate * gradient[500, 1500] * 2.0))


def by_a_constant(self, gradient, variable, learning_rate):
    if self.count == SHAPE:
        return
    self.assign_sub(variable, gradient * learning_rate)


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("function", [by_blocks, by_an_element, by_a_constant])
def test_what_fails_with_pieces_alone_is_right(function, jit_compile):
    (found,) = stepped(with_rule(function), jit_compile=jit_compile)
    assert (found == np.float32(0.75)).all()


@pytest.mark.parametrize("name", ANY_LENGTH)
def test_nothing_is_left_of_pieces(name):
    small = stepped(ANY_LENGTH[name], (SHAPE, SHAPE[::-1]), jit_compile=False)
    large = Variable(np.ones(SHAPE, np.float32)), Variable(np.ones(SHAPE[::-1], np.float32))
    optimizer = ANY_LENGTH[name](jit_compile=False)
    optimizer.apply([np.full(each.shape, 0.5, np.float32) for each in large], large)
    assert [each.shape for each in large] == [SHAPE, SHAPE[::-1]]
    assert all(cell.shape == cell.array.shape for cell, *_ in optimizer.named_cells() if cell.shape)
    for one, other in zip(small, large, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


def test_the_memory_that_it_takes():
    optimizer, weights = with_rule(momentum)(), np.ones(2**23, np.float32)
    optimizer.build([weights])
    cells, gradients = [weights], rehearsal_gradients(optimizer, np.full(2**23, 0.5, np.float32))
    tracemalloc.start()
    rehearsal.rehearse(optimizer, gradients, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cells[0].nbytes / 20


def rehearsal_gradients(optimizer, array):
    from gradwise.optimizers.core.gradients import Gradients

    return Gradients(optimizer, [array])


@pytest.mark.parametrize(("shapes", "short"), [
    ([(700, 2000), (2000, 700), (700,), ()], [(11, 12), (12, 11), (11,), ()]),
    ([(3, 4, 0, 1), (11, 10)], [(3, 4, 0, 1), (11, 10)]),
    ([(19, 18, 17, 19)], [(13, 12, 11, 13)]),
])  # fmt: skip
def test_shapes_of_pieces(shapes, short):
    found = pieces.Pieces(shapes)
    assert list(map(found.shape, shapes)) == short
    for shape, piece in zip(shapes, short, strict=True):
        array = np.arange(float(np.prod(shape))).reshape(shape)
        cut = found.of(array)
        assert NUMPY.shape(cut) == piece
        np.testing.assert_array_equal(cut, array[tuple(map(slice, piece))])
