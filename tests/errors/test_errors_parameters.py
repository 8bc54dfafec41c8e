"""Parameters that an optimizer cannot take: refused before anything is built, and nothing has changed."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.libraries import EVERY_LIBRARY, array, label, ones, parameter
from helpers.refusals import refused, unchanged

from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, Optimizer


def refuses(parameters, kind, *named):
    """However the optimizer comes to be built."""
    gradients = [Variable(each).value if isinstance(each, Variable) else each for each in parameters]
    starts = (
        lambda optimizer: optimizer.build(parameters),
        lambda optimizer: optimizer.apply(gradients, parameters),
        lambda optimizer: optimizer.apply_gradients(zip(gradients, parameters, strict=True)),
    )
    for start in starts:
        optimizer = Adam(0.1, use_ema=True)
        with refused(kind, *named, keeps=(optimizer, parameters)):
            start(optimizer)
        assert not optimizer.built and len(optimizer.variables) == 2
    good = np.ones(2)
    optimizer.apply([good], [good])


def read_only():
    made = np.ones(3)
    made.setflags(write=False)
    return made


# ---------------------------------------------------------------- arrays that cannot change in place


@pytest.mark.parametrize("make", [read_only, lambda: np.broadcast_to(np.ones(1), (3,))], ids=["flag", "broadcast"])
def test_read_only_numpy_arrays(make):
    refuses([np.ones(2), make()], TypeError, "variable_1", "numpy", "float64", "(3,)", "read-only")


@pytest.mark.parametrize("scalar", [np.float64(1), np.float32(1)], ids=label)
def test_numpy_scalars(scalar):
    refuses([np.ones(2), scalar], TypeError, "variable_1", "numpy", str(scalar.dtype), "()", "0-d array")


@pytest.mark.parametrize("library", [pytest.param("jax", marks=pytest.mark.jax), "array_api_strict"])
def test_arrays_that_never_change(library):
    refuses([ones(library, 3)], TypeError, "variable_0", library, "float32", "(3,)", "gradwise.backends.Variable")


@pytest.mark.torch
@pytest.mark.parametrize("jit_compile", ["auto", False], ids=["one-pass", "arrays"])
def test_views_made_without_a_graph_are_no_results_of_differentiated_operations(jit_compile):
    """Torch, asked whether they are leaves, raises once their memory has changed."""
    import torch

    leaf = torch.ones(4, requires_grad=True)
    with torch.no_grad():
        view = leaf.view(2, 2)
    assert view.requires_grad
    optimizer = SGD(0.25, jit_compile=jit_compile)
    for _ in range(3):
        optimizer.apply([torch.ones(2, 2)], [view])
    assert leaf.tolist() == [0.25] * 4
    other = SGD(0.25, jit_compile=jit_compile)
    other.apply([torch.ones(2, 2)], [view])
    assert leaf.tolist() == [0.0] * 4


@pytest.mark.torch
def test_results_of_differentiated_operations():
    import torch

    product = torch.ones(3, requires_grad=True) * 2
    refuses([torch.ones(2), product], TypeError, "variable_1", "torch", "float32", "(3,)", "leaf")


@pytest.mark.torch
def test_tensors_whose_elements_share_memory():
    import torch

    refuses([torch.ones(2), torch.ones(1).expand(3)], TypeError, "variable_1", "torch", "(3,)", "memory", "clone")


def test_arrays_whose_elements_share_memory():
    shared = np.lib.stride_tricks.as_strided(np.zeros(4), (3, 2), (8, 8))
    refuses([np.ones(2), shared], TypeError, "variable_1", "(3, 2)", "memory", "copy")
    for fine in (np.zeros((4, 3)).T, np.zeros((4, 6))[:, ::2], np.zeros(5)[::-1], np.zeros((0, 3)), np.zeros((1, 3))):
        SGD(0.1).apply([np.ones(fine.shape)], [fine])
        assert (fine == -0.1).all()


@pytest.mark.torch
def test_sparse_parameters():
    import torch

    with torch.sparse.check_sparse_tensor_invariants():
        sparse = torch.eye(3).to_sparse_coo()
    refuses([torch.ones(2), sparse], TypeError, "variable_1", "sparse", "dense")
    with refused(TypeError, "'w'", "sparse", "dense"):
        SGD(0.1).init({"w": sparse})


# ---------------------------------------------------------------- no arrays, and arrays of the wrong kind


@pytest.mark.parametrize("thing", [1.0, 1, True, None, "w", [1.0], [[1.0, 2.0]], {"w": 1.0}, object()], ids=label)
def test_no_arrays(thing):
    refuses([np.ones(2), thing], TypeError, "variable_1", "array", type(thing).__name__)


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64"])
def test_dtypes_that_are_not_real_floats(library, dtype):
    named = [dtype, "float32", "real and imaginary" if "complex" in dtype else "cast"]
    wrong = Variable(array(library, [1, 0], dtype), name="counts")
    refuses([wrong], ValueError, "counts", *named)
    if library in ("numpy", "torch"):
        refuses([ones(library, 2), wrong.value], ValueError, "variable_1", *named)
    params = {"kernel": ones(library, 2), "counts": wrong.value}
    optimizer = Adam(0.1)
    with refused(ValueError, "counts", *named, keeps=(optimizer, params)):
        optimizer.init(params)
    good = {"kernel": ones(library, 2), "counts": ones(library, 2)}
    state = optimizer.init(good)
    with refused(ValueError, "counts", *named, keeps=(optimizer, params, good, state)):
        optimizer.step(params, good, state)


@pytest.mark.parametrize("dtype", ["int64", "complex128", "object", "U1", "datetime64[D]", "longdouble"])
def test_more_dtypes_of_numpy(dtype):
    wrong = np.array([1, 0]).astype(dtype)
    refuses([np.ones(2), wrong], ValueError, "variable_1", str(wrong.dtype), "float32")


@pytest.mark.parametrize("leaf", [1.0, 1, True, "w", object(), np.array, b"w"], ids=label)
def test_leaves_that_are_no_arrays(leaf):
    optimizer, params, good = (
        Adam(0.1),
        {"kernel": np.ones(2), "bias": leaf},
        {"kernel": np.ones(2), "bias": np.ones(2)},
    )
    state = optimizer.init(good)
    named = ("'bias'", "array", type(leaf).__name__)
    with refused(TypeError, *named, keeps=(optimizer, params)):
        optimizer.init(params)
    with refused(TypeError, *named, keeps=(optimizer, params, good, state)):
        optimizer.step(params, good, state)


def test_leaves_of_lists_are_named_by_their_path():
    with refused(TypeError, "'layers/1/bias/0'", "float"):
        Adam(0.1).init({"layers": [np.ones(2), {"bias": [1.0]}]})


# ---------------------------------------------------------------- several libraries at once

PAIRS = [
    pytest.param(own, other, marks=[getattr(pytest.mark, name) for name in {own, other} & {"torch", "jax"}])
    for own in ("numpy", "torch", "jax")
    for other in ("numpy", "torch", "jax", "array_api_strict")
    if own != other
]


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_parameters_of_several_libraries(own, other):
    parameters = [parameter(own, [1.0], name="kernel"), parameter(other, [1.0], name="bias")]
    named = (own, other, "one optimizer for each library")
    refuses(parameters, TypeError, *named)
    params = {"bias": ones(own, 2), "kernel": ones(other, 2)}
    optimizer, good = Adam(0.1), {"bias": ones(own, 2), "kernel": ones(own, 2)}
    state = optimizer.init(good)
    with refused(TypeError, "'bias'", "'kernel'", *named, keeps=(optimizer, params)):
        optimizer.init(params)
    with refused(TypeError, "'bias'", "'kernel'", *named, keeps=(optimizer, params, good, state)):
        optimizer.step(params, good, state)


# ---------------------------------------------------------------- building


def test_an_array_is_no_list_of_parameters():
    """Its rows would be taken for parameters once, and be unknown in the next step."""
    optimizer, weights = SGD(0.1), np.ones((2, 2))
    with refused(TypeError, "list", keeps=(optimizer, weights)):
        optimizer.build(weights)
    with refused(TypeError, "list", keeps=(optimizer, weights)):
        optimizer.apply(np.ones((2, 2)), weights)


class Chained(Optimizer):
    """Keeps its slots in a list that its constructor made, and fails to build until it is repaired."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.slots = []
        self.repaired = False

    def build(self, variables):
        super().build(variables)
        for variable in variables:
            self.slots.append(self.add_variable_from_reference(variable, "slot"))
            if not self.repaired:
                raise ZeroDivisionError("half way")

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slots[self._get_variable_index(variable)]
        self.assign_add(slot, gradient)
        self.assign_sub(variable, slot * learning_rate)


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_a_build_that_fails_half_way_can_be_repeated(library):
    optimizer = Chained(learning_rate=0.5, use_ema=True)
    parameters = [parameter(library, [0.0, 0.0]), parameter(library, [[0.0]])]
    gradients = [ones(library, 2), ones(library, 1, 1)]
    with refused(ZeroDivisionError, "half way", keeps=(optimizer, parameters)):
        optimizer.apply(gradients, parameters)
    optimizer.repaired = True
    optimizer.apply(gradients, parameters)
    assert [np.asarray(Variable(each)).tolist() for each in parameters] == [[-0.5, -0.5], [[-0.5]]]


def test_slots_that_do_not_fit():
    class Anchored(Optimizer):
        initializer = None

        def build(self, variables):
            super().build(variables)
            self.add_variable_from_reference(variables[0], "anchor", self.initializer)

    for initializer, kind, named in (
        ("ones_", ValueError, ("'ones_'", '"zeros"', '"ones"')),
        (np.ones(4), ValueError, ("'anchor'", "'variable_0'", "(3,)", "(4,)")),
        ([1.0, 1.0, 1.0], ValueError, ("'anchor'", "'variable_0'", "(3,)", "list")),
    ):
        optimizer, weights = Anchored(learning_rate=0.1), np.ones(3)
        optimizer.initializer = initializer
        with refused(kind, *named, keeps=(optimizer, weights)):
            optimizer.build([weights])


def test_a_second_build_changes_nothing():
    optimizer, weights = Adam(0.1), np.ones(3)
    optimizer.apply([np.ones(3)], [weights])
    with unchanged(optimizer, weights):
        optimizer.build([weights])
    with refused(ValueError, "Unknown variable", "(7,)", "'adam'", keeps=(optimizer, weights)):
        optimizer.build([np.ones(7)])


@pytest.mark.parametrize("accumulating", [{}, {"gradient_accumulation_steps": 2}], ids=["plain", "accumulating"])
def test_what_cannot_run_in_one_pass_says_so(accumulating):
    class Branching(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            chosen = ops.where(ops.sum(gradient) > 0, gradient, 0.0)
            self.assign_sub(variable, chosen * learning_rate)

    parameters, gradients = [np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)]
    optimizer = Branching(learning_rate=0.1, jit_compile=True, use_ema=True, **accumulating)
    optimizer.build(parameters)
    if accumulating:
        optimizer.apply(gradients, parameters)
    with refused(RuntimeError, "jit_compile=True", "'variable_0'", keeps=(optimizer, parameters, gradients)):
        optimizer.apply(gradients, parameters)
    optimizer.jit_compile = "auto"
    optimizer.apply(gradients, parameters)
    assert parameters[0].tolist() == [0.9, 0.9]


# ---------------------------------------------------------------- weight decay


def test_exclusions_that_cannot_be():
    optimizer, weights = SGD(0.1, weight_decay=0.5), np.ones(3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([weights])
    with refused(TypeError, "var_names", "list", "'bias'", keeps=(optimizer, weights)):
        optimizer.exclude_from_weight_decay(var_names="bias")
    with refused(ValueError, "var_names", "'[a-'", keeps=(optimizer, weights)):
        optimizer.exclude_from_weight_decay(var_names=["bias", "[a-"])
    with refused(TypeError, "var_list", "list", keeps=(optimizer, weights)):
        optimizer.exclude_from_weight_decay(var_list=weights)


@pytest.mark.torch
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_parameters_of_torch_in_the_place_of_gradients(jit_compile):
    """What is computed with a graph of its own requires gradients too, and is no parameter."""
    import torch

    parameters = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)]
    gradients = [torch.full((2,), 0.5), torch.full((3,), 0.5)]
    optimizer = Adam(0.1, jit_compile=jit_compile)
    for call in (
        lambda: optimizer.apply(parameters, gradients),
        lambda: optimizer.apply_gradients(zip(parameters, gradients, strict=True)),
    ):
        with pytest.raises(ValueError, match=r"'variable_0' does not. Did you exchange .* apply\(grads, variables\)"):
            call()
    assert not optimizer.built and all(each.eq(0.5).all() for each in gradients)
    (gradient,) = torch.autograd.grad((parameters[0] ** 2).sum(), parameters[:1], create_graph=True)
    plain = torch.ones(2)
    optimizer.apply([gradient], [plain])
    assert plain.lt(1).all()


def test_a_name_in_the_place_of_parameters():
    with pytest.raises(TypeError, match=r"var_list has the string 'bias', .* `var_names=\['bias'\]`"):
        Adam().exclude_from_weight_decay("bias")


def test_a_class_of_arrays_in_the_place_of_an_array():
    optimizer = SGD(0.1)
    optimizer.build([np.ones(2)])
    with pytest.raises(ValueError, match=r"Unknown variable: .*ndarray"):
        optimizer.variable_index(np.ndarray)
    with pytest.raises((TypeError, ValueError), match="ndarray"):
        optimizer.apply([np.ones(2)], [np.ndarray])
    for question in (SGD(0.1).memory, SGD(0.1).check):
        with pytest.raises(TypeError, match="Parameter 'w' has no shape and dtype"):
            question({"w": np.ndarray})
