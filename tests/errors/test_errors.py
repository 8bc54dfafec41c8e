"""Bad input to a step: the message names what is wrong, and nothing has changed, whichever way the step is run."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.libraries import EVERY_LIBRARY, LIBRARIES, array, label, ones, parameter
from helpers.refusals import refused, unchanged

from gradwise.backends import Variable
from gradwise.optimizers import SGD, Adam

EVERYTHING = {"weight_decay": 0.1, "clipnorm": 1.0, "use_ema": True, "gradient_accumulation_steps": 2}
WAYS = ["fresh", "built", "stateless", "functional"]


class Training:
    """An optimizer with a kernel and a bias, about to make a step in one of the ways there are."""

    def __init__(self, library, way, optimizer=None):
        self.optimizer = Adam(0.1, **EVERYTHING) if optimizer is None else optimizer
        self.way, self.state = way, None
        self.gradients = [ones(library, 2, 3), ones(library, 3)]
        if way == "functional":
            self.names = ["kernel", "bias"]
            self.parameters = [ones(library, 2, 3), ones(library, 3)]
            self.state = self.optimizer.init(self.tree(self.parameters))
            return
        self.parameters = [
            parameter(library, np.ones(shape).tolist(), name=name) for name, shape in (("kernel", (2, 3)), ("bias", 3))
        ]
        named = isinstance(self.parameters[0], Variable)
        self.names = ["kernel", "bias"] if named else ["variable_0", "variable_1"]
        if way != "fresh":
            self.optimizer.apply(self.gradients, self.parameters)
        if way == "stateless":
            self.state = [Variable(cell.value).value for cell in self.optimizer.variables]
            self.parameters = [Variable(each).value for each in self.parameters]

    def tree(self, parts):
        return dict(zip(self.names, parts, strict=True))

    def step(self, gradients):
        if self.way == "functional":
            return self.optimizer.step(self.tree(self.parameters), self.tree(gradients), self.state)
        if self.way == "stateless":
            return self.optimizer.stateless_apply(self.state, gradients, self.parameters)
        return self.optimizer.apply(gradients, self.parameters)

    @property
    def things(self):
        return self.optimizer, self.parameters, self.gradients, self.state

    def refuses(self, gradients, kind, *named):
        with refused(kind, *named, keeps=(*self.things, gradients)):
            self.step(gradients)

    def goes_on(self):
        """The errors have left nothing behind that would be in the way of a good step."""
        self.step(self.gradients)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


def test_a_good_step_changes_what_is_watched():
    for way in ("fresh", "built"):
        training = Training("numpy", way)
        with pytest.raises(AssertionError), unchanged(*training.things):
            training.step(training.gradients)


# ---------------------------------------------------------------- gradients that do not fit


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_wrong_shape(library, way):
    training = Training(library, way)
    kernel, bias = training.gradients
    training.refuses([kernel, ones(library, 4)], ValueError, training.names[1], "shape", "(4,)", "(3,)")
    training.refuses([ones(library, 3, 2), bias], ValueError, training.names[0], "shape", "(3, 2)", "(2, 3)")
    # Shapes that could be broadcast are no exception.
    training.refuses([kernel, ones(library, 1)], ValueError, training.names[1], "(1,)", "(3,)")
    training.goes_on()


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("gradient", [[1.0, 1.0, 1.0], (1.0,), 1.0, 1, 1 + 0j, "steep", object()], ids=label)
def test_no_array_at_all(library, way, gradient):
    training = Training(library, way)
    kind = type(gradient).__name__
    training.refuses([training.gradients[0], gradient], TypeError, training.names[1], library, kind)
    training.goes_on()


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("dtype", ["complex64", "bool"])
def test_a_gradient_that_is_not_real(library, way, dtype):
    training = Training(library, way)
    gradient = array(library, [1, 0, 1], dtype)
    training.refuses([training.gradients[0], gradient], TypeError, training.names[1], dtype, "real")


@pytest.mark.parametrize("dtype", ["object", "U1", "S1", "datetime64[D]"])
def test_a_numpy_gradient_that_is_no_number(way, dtype):
    training = Training("numpy", way)
    gradient = np.array([1, 2, 3]).astype(dtype)
    training.refuses([training.gradients[0], gradient], TypeError, training.names[1], str(gradient.dtype))
    training.goes_on()


OTHERS = [
    pytest.param(own, other, marks=[getattr(pytest.mark, name) for name in {own, other} & {"torch", "jax"}])
    for own in ("numpy", "torch", "jax")
    for other in ("numpy", "torch", "jax", "array_api_strict")
    # NumPy's arrays are JAX's beside JAX's: see test_jax_numpy.
    if own != other and (own, other) != ("jax", "numpy")
]


@pytest.mark.parametrize(("library", "other"), OTHERS)
def test_a_gradient_of_another_library(library, other, way):
    training = Training(library, way)
    gradients = [training.gradients[0], ones(other, 3)]
    training.refuses(gradients, TypeError, training.names[1], library, other, "float32", "(3,)")


@pytest.mark.torch
@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_a_sparse_gradient(way, layout):
    import torch

    training = Training("torch", way)
    with warnings.catch_warnings():
        # Torch warns that some of its layouts are in beta, and that it checks no invariants.
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        dense = torch.eye(2, 3)
        sparse = dense.to_sparse_coo() if layout == "coo" else dense.to_sparse_csr()
    training.refuses([sparse, training.gradients[1]], TypeError, training.names[0], "sparse", "dense")


@pytest.mark.torch
def test_a_gradient_on_another_device(way):
    import torch

    training = Training("torch", way)
    gradients = [training.gradients[0], torch.ones(3, device="meta")]
    training.refuses(gradients, (TypeError, ValueError), training.names[1], "meta", "cpu")


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_all_gradients_none(library, way):
    training = Training(library, way)
    training.refuses([None, None], ValueError, "No gradients", *training.names)
    training.goes_on()


# ---------------------------------------------------------------- numbers and trees that do not fit


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("way", ["fresh", "built", "stateless"])
def test_numbers_of_gradients_and_variables(library, way):
    training = Training(library, way)
    kernel, bias = training.gradients
    training.refuses([kernel], ValueError, "1 gradients", "2")
    training.refuses([kernel, bias, bias], ValueError, "3 gradients", "2")


def test_number_of_gradients_alone():
    training = Training("numpy", "built")
    with refused(ValueError, "1 gradients", "2 variables", keeps=training.things):
        training.optimizer.apply(training.gradients[:1])


def test_gradients_alone_before_build():
    optimizer = Adam(0.1)
    with refused(ValueError, "'adam'", "not built", "build(variables)", keeps=[optimizer]):
        optimizer.apply([np.ones(2)])


def test_an_empty_step_does_nothing():
    training = Training("numpy", "built")
    with unchanged(*training.things):
        assert training.optimizer.apply([], []) == training.optimizer.apply_gradients([]) == 1


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_trees_of_another_structure(library):
    params = {"layer": {"kernel": ones(library, 2, 3), "bias": ones(library, 3)}}
    optimizer = Adam(0.1, **EVERYTHING)
    state = optimizer.init(params)
    layer = params["layer"]
    wrong = {
        "bias": {"layer": {"kernel": layer["kernel"]}},
        "scale": {"layer": {**layer, "scale": ones(library, 1)}},
        "dict": {"layer": [layer["kernel"], layer["bias"]]},
        "structure": [layer],
        "gradients": ones(library, 3),
    }
    for word, grads in wrong.items():
        with refused(ValueError, "gradients", "structure", word, keeps=(optimizer, params, grads, state)):
            optimizer.step(params, grads, state)
    with refused(ValueError, "gradients", "structure", keeps=(optimizer, params, state)):
        optimizer.step(params, None, state)


# ---------------------------------------------------------------- variables that are not the optimizer's


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_unknown_variables(library):
    training = Training(library, "built")
    kernel, bias = training.parameters
    for stranger in (parameter(library, [1.0, 1.0, 1.0], name="stranger"), ones("numpy", 3)):
        named = ["Unknown variable", "2 variables", "'adam'", "new optimizer"]
        named += ["'stranger'"] if isinstance(stranger, Variable) else ["float32", "(3,)"]
        with refused(ValueError, *named, keeps=(*training.things, stranger)):
            training.optimizer.apply(training.gradients, [kernel, stranger])
        with refused(ValueError, *named, keeps=(*training.things, stranger)):
            training.optimizer.finalize_variable_values([kernel, stranger])
        with refused(ValueError, *named, keeps=(*training.things, stranger)):
            training.optimizer._get_variable_index(stranger)
    assert training.optimizer._get_variable_index(bias) == 1


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_variables_given_twice(library):
    training = Training(library, "built")
    kernel, bias = training.parameters
    gradients = [*training.gradients, training.gradients[1]]
    with refused(ValueError, training.names[1], "twice", keeps=(*training.things, gradients)):
        training.optimizer.apply(gradients, [kernel, bias, bias])
    for start in (lambda new, given: new.build(given), lambda new, given: new.apply(gradients, given)):
        optimizer = Adam(0.1)
        with refused(ValueError, "same object", "once", keeps=(optimizer, training.parameters, gradients)):
            start(optimizer, [kernel, bias, bias])
        assert not optimizer.built


# ---------------------------------------------------------------- tracers that would stay


@pytest.mark.jax
@pytest.mark.parametrize("transformation", ["jit", "vmap", "grad"])
@pytest.mark.parametrize("way", ["fresh", "built"])
def test_an_imperative_step_under_a_transformation(way, transformation):
    import jax

    training = Training("jax", way)

    def step(gradients):
        training.optimizer.apply(gradients, training.parameters)
        return 0.0

    gradients = training.gradients
    if transformation == "vmap":
        gradients = [each[None] for each in gradients]
    with refused(RuntimeError, "'kernel'", "traced", "init", "step", keeps=training.things):
        getattr(jax, transformation)(step)(gradients)
    training.goes_on()


@pytest.mark.jax
def test_writing_a_tracer_to_a_cell():
    import jax

    cell = Variable(ones("jax", 3), name="kernel")
    writes = (cell.assign, cell.assign_add, cell.assign_sub)
    for write in writes:
        with refused(RuntimeError, "'kernel'", "traced", "init", "step", keeps=[cell]):
            jax.jit(write)(ones("jax", 3))


@pytest.mark.jax
def test_a_traced_gradient_for_a_numpy_parameter():
    import jax

    training = Training("numpy", "built")
    with refused(TypeError, training.names[0], "numpy", "jax", keeps=training.things):
        jax.jit(lambda gradients: training.step(gradients))([ones("jax", 2, 3), ones("jax", 3)])


@pytest.mark.torch
def test_an_imperative_step_under_vmap():
    import torch

    training = Training("torch", "built", SGD(0.1, momentum=0.9))
    rows = [torch.stack([each, each]) for each in training.gradients]
    with refused(RuntimeError, "variable_0", "traced", "init", "step", keeps=training.things):
        torch.func.vmap(training.step)(rows)


# ---------------------------------------------------------------- a learning rate that is none


@pytest.mark.parametrize("way", ["built", "functional"])
@pytest.mark.parametrize("result", [None, "fast", True, [0.1], np.ones(3)], ids=label)
def test_a_callable_whose_result_is_no_rate(result, way):
    results = [0.1]
    training = Training("numpy", way, SGD(lambda: results[0], momentum=0.9))
    results[0] = result
    with refused(ValueError, "SGD", "learning_rate", keeps=training.things):
        training.step(training.gradients)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("way", ["built", "stateless", "functional"])
def test_a_callable_that_raises(library, way):
    broken = []

    def rate(step):
        if broken:
            raise ZeroDivisionError("no rate today")
        return 0.1

    training = Training(library, way, Adam(rate, **EVERYTHING))
    broken.append(True)
    with refused(ZeroDivisionError, "no rate today", keeps=training.things):
        training.step(training.gradients)
    broken.clear()
    training.goes_on()
