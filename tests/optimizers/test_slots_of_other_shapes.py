"""Slots that have another shape than their parameter, on every way: Adafactor's rows and columns."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers.backend_table import array as to
from helpers.user_optimizers import Adafactor

from gradwise.backends import Variable, ops
from gradwise.backends.axes import kept_axes
from gradwise.optimizers import Optimizer

LIBRARIES = [
    "numpy",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
    "array_api_strict",
]
SHAPES = {"bias": (3,), "kernel": (4, 3), "scale": (), "square": (3, 3), "stack": (2, 4, 3)}
SLOTS = {
    "row": {"kernel": (4,), "square": (3,), "stack": (2, 4)},
    "column": {"kernel": (3,), "square": (3,), "stack": (2, 3)},
    "square": {"bias": (3,), "scale": ()},
}


def drawn(seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


GRADIENTS = [drawn(seed) for seed in (1, 2, 3)]


def tree_to(library, tree):
    return {name: to(library, array) for name, array in tree.items()}


def expected():
    """By the formula as the paper has it, in double precision."""
    params = {name: array.astype(np.float64) for name, array in drawn(0).items()}
    state = {name: [0.0, 0.0] for name in params}
    for gradients in GRADIENTS:
        for name, gradient in gradients.items():
            new = gradient.astype(np.float64) ** 2 + 1e-30
            row, column = state[name]
            if gradient.ndim < 2:
                state[name][0] = square = 0.99 * row + 0.01 * new
                update = gradient / np.sqrt(square)
            else:
                state[name] = row, column = 0.99 * row + 0.01 * new.mean(-1), 0.99 * column + 0.01 * new.mean(-2)
                outer = row[..., :, None] * column[..., None, :] / row.mean(-1)[..., None, None]
                update = gradient / np.sqrt(outer)
            params[name] = params[name] - 0.01 * update / max(np.sqrt((update**2).mean()), 1.0)
    return params


def near(found, wanted=None):
    wanted = expected() if wanted is None else wanted
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        array = Variable(array).numpy() if not hasattr(array, "numpy") else np.asarray(array.numpy())
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, wanted[name], rtol=2e-6, atol=2e-7, err_msg=name)


def imperative(library, optimizer, gradients=GRADIENTS, parameters=None):
    parameters = parameters or tree_to(library, drawn(0))
    if library in ("jax", "array_api_strict"):
        parameters = {name: Variable(array) for name, array in parameters.items()}
    for each in gradients:
        optimizer.apply(list(tree_to(library, each).values()), list(parameters.values()))
    return parameters


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("library", LIBRARIES)
def test_in_place(library, jit_compile):
    optimizer = Adafactor(jit_compile=jit_compile)
    near(imperative(library, optimizer))
    reasons = {group.reason for group in optimizer.execution_report()}
    assert {group.way for group in optimizer.execution_report()} == {"eager"} and None not in reasons
    if jit_compile and library != "array_api_strict":
        assert any("has shape (4,), its parameter (4, 3)" in reason for reason in reasons), reasons


@pytest.mark.parametrize("library", LIBRARIES)
def test_as_pure_functions(library):
    optimizer, params = Adafactor(), tree_to(library, drawn(0))
    state = optimizer.init(params)
    for gradients in GRADIENTS:
        params, state = optimizer.step(params, tree_to(library, gradients), state)
    near(params)
    shapes = {slot: {k: tuple(v.shape) for k, v in tree.items() if v is not None} for slot, tree in state.slots.items()}
    assert shapes == SLOTS


@pytest.mark.jax
def test_under_jit():
    import jax

    optimizer, params = Adafactor(), tree_to("jax", drawn(0))
    state, step = jax.jit(optimizer.init)(params), jax.jit(optimizer.step)
    for gradients in GRADIENTS:
        params, state = step(params, tree_to("jax", gradients), state)
    near(params)
    assert step._cache_size() == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_sixteen_bits(library):
    """Slots are float32, whatever shape they have."""
    params = tree_to(library, drawn(0))
    if library in ("numpy", "array_api_strict"):
        params = {name: np.asarray(array).astype(np.float16) for name, array in drawn(0).items()}
    else:
        params = {name: ops.cast(array, "bfloat16") for name, array in params.items()}
    state = Adafactor().init(params)
    kinds = {str(v.dtype).rpartition(".")[2] for tree in state.slots.values() for v in tree.values() if v is not None}
    assert kinds == {"float32"}
    stored = Adafactor(slot_dtype={"row": "float64"}).init(tree_to("numpy", drawn(0))).slots
    assert stored["row"]["kernel"].dtype == np.float64 and stored["column"]["kernel"].dtype == np.float32


def test_clipping_accumulation_and_averages():
    options = {"global_clipnorm": 0.5, "gradient_accumulation_steps": 2, "use_ema": True, "weight_decay": 0.1}
    optimizer, params = Adafactor(**options), drawn(0)
    state = optimizer.init(params)
    for gradients in [*GRADIENTS, GRADIENTS[0]]:
        params, state = optimizer.step(params, gradients, state)
    found = imperative("numpy", Adafactor(**options), [*GRADIENTS, GRADIENTS[0]])
    for name, array in found.items():
        assert array.tobytes() == params[name].tobytes()


def test_what_is_saved_and_copied_goes_on():
    optimizer = Adafactor()
    whole = imperative("numpy", Adafactor())
    half = imperative("numpy", optimizer, GRADIENTS[:2])
    restored, params = Adafactor(), copy.deepcopy(half)
    restored.build(list(params.values()))
    store = {}
    optimizer.save_own_variables(store)
    restored.load_own_variables(store)
    others = pickle.loads(pickle.dumps((optimizer, half)))
    near(imperative("numpy", restored, GRADIENTS[2:], params), whole)
    near(imperative("numpy", others[0], GRADIENTS[2:], others[1]), whole)


@pytest.mark.torch
def test_in_the_torch_front_end():
    """Each parameter keeps what is its own, in its own shape; saved and loaded it goes on."""
    import torch

    from gradwise.frontends import torch as optim

    def made(start):
        parameters = {name: torch.nn.Parameter(array) for name, array in start.items()}
        return parameters, optim.wrap(Adafactor(), parameters.values())

    def stepped(parameters, optimizer, gradients):
        for name, gradient in tree_to("torch", gradients).items():
            parameters[name].grad = gradient
        optimizer.step()

    parameters, optimizer = made(tree_to("torch", drawn(0)))
    for gradients in GRADIENTS[:2]:
        stepped(parameters, optimizer, gradients)
    saved = optimizer.state_dict()
    for entry, name in zip(saved["state"].values(), SHAPES, strict=True):
        shapes = {key: tuple(value.shape) for key, value in entry.items() if key != "step"}
        assert shapes == {slot: of[name] for slot, of in SLOTS.items() if name in of}
    others, another = made({name: each.detach().clone() for name, each in parameters.items()})
    another.load_state_dict(copy.deepcopy(saved))
    for each in (parameters, optimizer), (others, another):
        stepped(*each, GRADIENTS[2])
        near({name: parameter.detach() for name, parameter in each[0].items()})
    saved["state"][1]["row"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"'row' of parameter 1 has shape \(3,\)"):
        made(tree_to("torch", drawn(0)))[1].load_state_dict(saved)
    del saved["state"][1]["row"]
    others, another = made(tree_to("torch", drawn(0)))
    another.load_state_dict(saved)
    with pytest.raises(KeyError, match="has no 'row' beside"):
        stepped(others, another, GRADIENTS[2])


@pytest.mark.torch
def test_state_of_the_torch_front_end_grows_in_proportion():
    """Slots of each parameter are stored with it alone."""
    import torch

    from gradwise.frontends import torch as optim

    def entries(count):
        parameters = [torch.nn.Parameter(torch.ones(2, 3)) for _ in range(count)]
        for parameter in parameters:
            parameter.grad = torch.ones(2, 3)
        optimizer = optim.wrap(Adafactor(), parameters)
        optimizer.step()
        return sum(len(entry) for entry in optimizer.state_dict()["state"].values())

    assert entries(6) == 2 * entries(3) == 6 * 3


@pytest.mark.jax
def test_in_the_optax_front_end():
    import jax
    import optax

    from gradwise.frontends import optax as goptax

    transformation, params = goptax.from_optimizer(Adafactor()), tree_to("jax", drawn(0))
    state = transformation.init(params)
    for gradients in GRADIENTS:
        updates, state = jax.jit(transformation.update)(tree_to("jax", gradients), state, params)
        params = optax.apply_updates(params, updates)
    near(params)


SHAPES_THAT_CANNOT_BE = {"a length below zero": (-1, 3), "a fraction": (2.5,), "a name": "rows", "a number": 3}


@pytest.mark.parametrize("name", SHAPES_THAT_CANNOT_BE)
def test_shapes_that_cannot_be(name):
    shape = SHAPES_THAT_CANNOT_BE[name]

    class Wrong(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.rows = [self.add_variable_from_reference(v, "row", shape=shape) for v in variables]

    with pytest.raises(ValueError, match=r"shape of slot 'row' must be a tuple of lengths >= 0, such as var"):
        Wrong(0.1).init(drawn(0))


def test_initial_values_of_a_shape():
    class Begun(Optimizer):
        initial = np.arange(4.0)

        def build(self, variables):
            super().build(variables)
            self.rows = [self.add_variable_from_reference(v, "row", self.initial, shape=(4,)) for v in variables]

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient * ops.expand_dims(self.rows[0], -1))

    params = {"w": np.ones((4, 2), np.float32)}
    optimizer = Begun(1.0)
    stepped, state = optimizer.step(params, params, optimizer.init(params))
    assert stepped["w"][:, 0].tolist() == [1.0, 0.0, -1.0, -2.0] and state.slots["row"]["w"].dtype == np.float32
    optimizer.initial = np.arange(5.0)
    with pytest.raises(ValueError, match=r"Slot 'row' of 'w' takes a numpy array of shape \(4,\), received .* \(5,\)"):
        optimizer.init(params)


@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_along_axes(library):
    array = drawn(0)["stack"]
    x = to(library, array)
    cases = {
        "sum": (ops.sum, np.sum), "mean": (ops.mean, np.mean), "max": (ops.max, np.max), "min": (ops.min, np.min),
    }  # fmt: skip
    for name, (own, theirs) in cases.items():
        for axis in (None, 0, -1, (0, 2)):
            for keepdims in (False, True):
                found = np.asarray(Variable(own(x, axis=axis, keepdims=keepdims)).numpy())
                wanted = theirs(array.astype(np.float64), axis=axis, keepdims=keepdims)
                assert found.shape == wanted.shape, name
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
        assert own(2.5) == 2.5
    for own, theirs in (
        (lambda x: ops.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
        (lambda x: ops.expand_dims(x, -2), lambda x: x[..., None, :]),
        (ops.matrix_transpose, lambda x: np.swapaxes(x, -1, -2)),
    ):
        np.testing.assert_array_equal(np.asarray(Variable(own(x)).numpy()), theirs(array))
    with pytest.raises(ValueError, match=r"ops.mean received the number 2.5, which has no axes"):
        ops.mean(2.5, axis=0)


@pytest.mark.parametrize(
    ("shape", "whole", "axes"),
    [
        ((5,), (5, 3), [0]),
        ((3,), (5, 3), [1]),
        ((3,), (3, 3), [None]),
        ((5, 1), (5, 3), [0, None]),
        ((2, 3), (2, 5, 3), [0, 2]),
        ((2, 2), (2, 5, 2), [0, 2]),
        ((2,), (2, 5, 2), [None]),
        ((7, 3), (5, 3), [None, 1]),
        ((7,), (5, 3), [None]),
        ((), (5, 3), []),
        ((5, 3, 1), (5, 3), [None, None, None]),
    ],
)
def test_axes_that_two_shapes_share(shape, whole, axes):
    assert kept_axes(shape, whole) == axes
