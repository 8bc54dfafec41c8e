"""State that does not fit, and rules that fail half way: the message says so, and nothing has changed."""

from __future__ import annotations

import numpy as np
import optree
import pytest
from helpers.libraries import EVERY_LIBRARY, LIBRARIES, array, label, ones, parameter, values
from helpers.refusals import refused, unchanged

from gradwise.backends import Variable, ops
from gradwise.backends.mistakes import DoesNotFit
from gradwise.optimizers import SGD, Adam, Nadam, Optimizer

NO_NUMBER = (TypeError, ValueError)
EVERYTHING = {"use_ema": True, "gradient_accumulation_steps": 2}


def trained(library, optimizer=None):
    """An optimizer after a step, with its parameters and its weights as NumPy arrays."""
    optimizer = Nadam(0.1, **EVERYTHING) if optimizer is None else optimizer
    parameters = [parameter(library, [[1.0, 2.0]], name="kernel"), parameter(library, [3.0], name="bias")]
    optimizer.apply([ones(library, 1, 2), ones(library, 1)], parameters)
    return optimizer, parameters, [cell.numpy() for cell in optimizer.variables]


def stored(weights):
    return {str(position): weight for position, weight in enumerate(weights)}


# ---------------------------------------------------------------- set_weights and load_own_variables


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_weights_that_do_not_fit(library):
    optimizer, parameters, weights = trained(library)
    count = len(weights)
    slot = optimizer.variables[2].name
    for wrong in (weights[:-1], [*weights, weights[-1]], []):
        with refused(ValueError, f"{len(wrong)} weights", "'nadam'", str(count), keeps=(optimizer, parameters, wrong)):
            optimizer.set_weights(wrong)
    for position, shape in ((2, (2, 1)), (2, (2,)), (0, (1,)), (count - 1, (1,))):
        wrong = list(weights)
        wrong[position] = np.ones(shape)
        named = (optimizer.variables[position].name, str(weights[position].shape), str(shape))
        with refused(ValueError, *named, keeps=(optimizer, parameters, wrong)):
            optimizer.set_weights(wrong)
        with refused(ValueError, *named, keeps=(optimizer, parameters, wrong)):
            optimizer.load_own_variables(stored(wrong))
    assert slot.endswith("_average")
    optimizer.set_weights(weights)
    optimizer.load_own_variables(stored(weights))


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: np.full(shape, "1"),
        lambda shape: np.full(shape, None),
        lambda shape: np.full(shape, object()),
        lambda shape: np.full(shape, 1j),
        lambda shape: np.full(shape, "2026-01-01", "datetime64[D]"),
    ],
    ids=["text", "None", "objects", "complex", "dates"],
)
def test_weights_that_are_no_numbers(make):
    optimizer, parameters, weights = trained("numpy")
    for position in (0, 1, 2, len(weights) - 1):
        wrong = [*weights[:position], make(weights[position].shape), *weights[position + 1 :]]
        named = (optimizer.variables[position].name, str(wrong[position].dtype))
        with refused(NO_NUMBER, *named, keeps=(optimizer, parameters)):
            optimizer.set_weights(wrong)
        with refused(NO_NUMBER, *named, keeps=(optimizer, parameters)):
            optimizer.load_own_variables(stored(wrong))


def test_weights_before_build():
    optimizer = Adam(0.1)
    with refused(ValueError, "'adam'", "build(variables)", keeps=[optimizer]):
        optimizer.set_weights([0, 0.1])
    for store in ({"0": 0, "1": 0.1, "2": np.ones(3)}, {}):
        with refused(ValueError, "'adam'", "built", keeps=[optimizer]):
            optimizer.load_own_variables(store)


def test_stores_of_another_kind():
    optimizer, parameters, weights = trained("numpy")
    other, other_parameters, _ = trained("numpy", SGD(0.1))
    foreign = {}
    other.save_own_variables(foreign)
    renamed = {f"variable_{key}": value for key, value in stored(weights).items()}
    for store in (foreign, renamed, {}, {**stored(weights), "extra": np.ones(1)}):
        named = (str(len(store)), "'nadam'", str(len(weights)))
        with refused(ValueError, *named, keeps=(optimizer, parameters, store)):
            optimizer.load_own_variables(store)
    with refused(ValueError, "'sgd'", "2", keeps=(other, other_parameters)):
        other.load_own_variables(stored(weights))


# ---------------------------------------------------------------- stateless_apply


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_stateless_values_that_do_not_fit(library):
    optimizer, parameters, _ = trained(library)
    state = [Variable(cell.value).value for cell in optimizer.variables]
    arrays, gradients = [Variable(each).value for each in parameters], [ones(library, 1, 2), ones(library, 1)]
    keeps = (optimizer, parameters, state, arrays, gradients)
    count = len(state)
    for wrong, given, what in (
        ((state[:-1], gradients, arrays), count - 1, "optimizer variables"),
        ((state, gradients[:1], arrays), 1, "gradients"),
        ((state, gradients, [*arrays, arrays[0]]), 3, "trainable variables"),
    ):
        with refused(ValueError, f"{given} {what}", "'nadam'", keeps=keeps):
            optimizer.stateless_apply(*wrong)
    slot, name = count - 1, optimizer.variables[-2].name
    wrong = [*state[:-2], ones(library, 3), state[-1]]
    assert slot and name.endswith("velocity")
    with refused(ValueError, name, "(3,)", "(1,)", keeps=keeps):
        optimizer.stateless_apply(wrong, gradients, arrays)
    with refused(ValueError, optimizer.cells.parameters[1].name, "(3,)", "(1,)", keeps=keeps):
        optimizer.stateless_apply(state, gradients, [arrays[0], ones(library, 3)])
    optimizer.stateless_apply(state, gradients, arrays)


def test_stateless_apply_before_build():
    optimizer = Adam(0.1)
    with refused(ValueError, "stateless_apply", "'adam'", "build(variables)", keeps=[optimizer]):
        optimizer.stateless_apply([0, 0.1], [np.ones(1)], [np.ones(1)])


@pytest.mark.parametrize("count", ["one", None, np.ones(2)], ids=label)
def test_a_stateless_step_count_that_is_none(count):
    optimizer, parameters, _ = trained("numpy")
    state = [Variable(cell.value).value for cell in optimizer.variables]
    state[0] = count
    with refused(NO_NUMBER, "iteration", keeps=(optimizer, parameters, state)):
        optimizer.stateless_apply(state, [ones("numpy", 1, 2), ones("numpy", 1)], parameters)


# ---------------------------------------------------------------- functional state


@pytest.fixture(params=EVERY_LIBRARY)
def functional(request):
    """An optimizer, parameters and the state after one step."""
    optimizer, library = Nadam(0.1, **EVERYTHING), request.param
    params = {"kernel": ones(library, 1, 2), "bias": ones(library, 3)}
    params, state = optimizer.step(params, params, optimizer.init(params))
    return optimizer, params, state, library


def test_something_else_in_place_of_a_state(functional):
    optimizer, params, state, _ = functional
    for wrong in (None, tuple(state), list(state), state._asdict(), params, 0, "state", optimizer):
        named = ("OptimizerState", type(wrong).__name__)
        with refused(TypeError, *named, keeps=(optimizer, params, state)):
            optimizer.step(params, params, wrong)
        # `averages()` is asked of what was built.
        for read in (optimizer.learning_rate_at, *([] if wrong is None else [optimizer.averages])):
            with refused(TypeError, *named, keeps=(optimizer, state)):
                read(wrong)
        with refused(TypeError, *named, keeps=(optimizer, state)):
            optimizer.with_learning_rate(wrong, 0.1)


def test_the_state_of_another_optimizer(functional):
    optimizer, params, state, _ = functional
    for other in (SGD(0.1), Adam(0.1, amsgrad=True), Adam(0.1, **EVERYTHING), Nadam(0.1)):
        foreign = other.init(params)
        with refused(ValueError, "'nadam'", "slots", "init", keeps=(optimizer, params, foreign)):
            optimizer.step(params, params, foreign)
        with refused(ValueError, f"{other.name!r}", "slots", "init", keeps=(other, params, state)):
            other.step(params, params, state)


def test_the_state_of_other_parameters(functional):
    optimizer, params, state, library = functional
    shapes = {"kernel": ones(library, 2, 1), "bias": ones(library, 3)}
    for own, foreign in ((params, optimizer.init(shapes)), (shapes, state)):
        with refused(ValueError, "state", "kernel", "(1, 2)", "(2, 1)", keeps=(optimizer, own, foreign)):
            optimizer.step(own, own, foreign)
    for structure in (
        {"kernel": params["kernel"]},
        [params["bias"], params["kernel"]],
        {**params, "scale": params["bias"]},
    ):
        foreign = optimizer.init(structure)
        with refused(ValueError, "state", "slot", "structure", keeps=(optimizer, params, foreign)):
            optimizer.step(params, params, foreign)
    elsewhere = "array_api_strict" if library in ("numpy", "jax") else "numpy"
    foreign = optimizer.init({name: ones(elsewhere, *leaf.shape) for name, leaf in params.items()})
    with refused(TypeError, "state", library, elsewhere, keeps=(optimizer, params, foreign)):
        optimizer.step(params, params, foreign)


def test_errors_of_state_do_not_speak_of_gradients():
    optimizer, params = Adam(0.1), {"w": np.ones(2)}
    for foreign in (optimizer.init({"w": np.ones(3)}), optimizer.init({"w": array("array_api_strict", [1.0, 1.0])})):
        with pytest.raises((TypeError, ValueError)) as caught:
            optimizer.step(params, params, foreign)
        assert "gradient" not in str(caught.value)
    optimizer, parameters, _ = trained("numpy", SGD(0.1, momentum=0.9))
    with pytest.raises(ValueError) as caught:
        optimizer.stateless_apply([0, 0.1, np.ones(1), np.ones(1)], parameters, parameters)
    assert "gradient" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["much", [1], np.ones(2)], ids=label)
@pytest.mark.parametrize("entry", ["iterations", "learning_rate", "u_product"])
def test_entries_of_the_state_that_are_no_numbers(entry, wrong):
    optimizer, params = Nadam(0.1, **EVERYTHING), {"w": np.ones(2)}
    state = optimizer.init(params)
    broken = state._replace(**({"scalars": {entry: wrong}} if entry == "u_product" else {entry: wrong}))
    with refused(NO_NUMBER, entry, keeps=(optimizer, params, state)):
        optimizer.step(params, params, broken)


# ---------------------------------------------------------------- a rule that fails half way


class Failing(Optimizer):
    """Counts, has a slot, and raises at the second parameter while it is broken."""

    broken = False

    def build(self, variables):
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")
        self.count = self.add_scalar("count", 0.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign_add(self.count, 1.0)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        self.assign_add(self.sums[index], gradient)
        self.assign_sub(variable, ops.multiply(gradient, learning_rate))
        if index == 1 and self.broken:
            raise ZeroDivisionError("half way")


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_an_imperative_step_that_fails_half_way(library, jit_compile):
    optimizer = Failing(learning_rate=0.5, jit_compile=jit_compile)
    optimizer, parameters, _ = trained(library, optimizer)
    optimizer.broken, gradients = True, [ones(library, 1, 2), ones(library, 1)]
    scalars = [optimizer.variables[0], optimizer.variables[1], optimizer.count]
    # The first parameter may have made its step already; the one that failed and its slot have not.
    with refused(ZeroDivisionError, "half way", keeps=(scalars, parameters[1], optimizer.sums[1], gradients)):
        optimizer.apply(gradients, parameters)
    assert optimizer.iterations == 1 and optimizer.count.value == 1.0
    optimizer.broken = False
    optimizer.apply(gradients, parameters)
    assert optimizer.iterations == 2 and optimizer.count.value == 2.0
    assert values(parameters[1]) == [2.0] and values(optimizer.sums[1]) == [2.0]


@pytest.mark.parametrize("library", EVERY_LIBRARY)
def test_a_functional_step_that_fails_half_way(library):
    optimizer = Failing(learning_rate=0.5)
    params = {"bias": ones(library, 1), "kernel": ones(library, 2)}
    params, state = optimizer.step(params, params, optimizer.init(params))
    optimizer.broken = True
    with refused(ZeroDivisionError, "half way", keeps=(optimizer, params, state)):
        optimizer.step(params, params, state)
    optimizer.broken = False
    _, state = optimizer.step(params, params, state)
    assert int(state.iterations) == 2 and float(state.scalars["count"]) == 2.0


@pytest.mark.jax
def test_a_jitted_step_that_fails_half_way():
    import jax

    optimizer, params = Failing(learning_rate=0.5), {"bias": ones("jax", 1), "kernel": ones("jax", 2)}
    state = optimizer.init(params)
    optimizer.broken = True
    with refused(ZeroDivisionError, "half way", keeps=(optimizer, params, state)):
        jax.jit(optimizer.step)(params, params, state)
    optimizer.broken = False
    params, state = jax.jit(optimizer.step)(params, params, state)
    assert values(params["kernel"]) == [0.5, 0.5] and float(state.scalars["count"]) == 1.0


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_constraint_that_does_not_fit(library):
    def halved(value):
        return value[:1]

    weights = Variable(ones(library, 2), name="kernel", constraint=halved)
    optimizer = Adam(0.1)
    optimizer.build([weights])
    with refused(DoesNotFit, "'kernel'", "(2,)", "(1,)", keeps=(optimizer, weights)):
        optimizer.apply([ones(library, 2)], [weights])


def test_states_are_trees_and_stay_so():
    optimizer, params = Nadam(0.1, **EVERYTHING), {"w": np.ones(2)}
    state = optimizer.init(params)
    with unchanged(optimizer, params, state):
        doubled = optree.tree_map(lambda leaf: leaf * 2, state)
    assert type(doubled) is type(state)
