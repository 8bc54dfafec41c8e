"""What fuzzing has found, each as small as it can be: the message names what is wrong, and nothing has changed."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers.libraries import LIBRARIES, array, label, ones, parameter, values
from helpers.refusals import refused, unchanged

from gradwise import optimizers, schedules
from gradwise.backends import Variable
from gradwise.optimizers import SGD, Adagrad, Adam, AdamW, Nadam, Optimizer, RMSprop
from gradwise.optimizers.core.hyperparameters import Number

# ---------------------------------------------------------------- options that need slots


@pytest.mark.parametrize(
    ("make", "name", "off", "value"),
    [
        (SGD, "momentum", 0.0, 0.9),
        (RMSprop, "momentum", 0.0, 0.9),
        (RMSprop, "centered", False, True),
        (Adagrad, "initial_accumulator_value", 0.0, 0.5),
        (Adam, "amsgrad", False, True),
        (Adam, "use_ema", False, True),
        (Adam, "gradient_accumulation_steps", None, 2),
        (Adam, "slot_dtype", None, "float16"),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_options_that_are_switched_on_after_build(make, name, off, value):
    optimizer, weights = make(0.1, **{name: off}), np.ones(2)
    optimizer.apply([np.ones(2)], [weights])
    words = f"`{name}` cannot be switched on after build", "make a new optimizer"
    with refused(RuntimeError, make.__name__, *words, keeps=(optimizer, weights)):
        setattr(optimizer, name, value)
    assert optimizer.apply([np.ones(2)]) == 2
    on = make(0.1, **{name: value})
    on.apply([np.ones(2)], [weights])
    for count, each in enumerate((off, value), 2):
        setattr(on, name, each)
        assert on.apply([np.ones(2)]) == count


def test_options_that_no_slot_depends_on_can_be_switched_on_at_any_time():
    optimizer, weights = SGD(0.1), np.ones(2)
    optimizer.apply([np.ones(2)], [weights])
    optimizer.weight_decay, optimizer.clipnorm, optimizer.decay, optimizer.nesterov = 0.1, 1.0, 0.5, True
    assert optimizer.apply([np.ones(2)]) == 2


def test_options_of_a_rule_of_ones_own():
    class Damped(Optimizer):
        damping = Number("[0, 1]")

        def __init__(self, damping=0.0, **keywords):
            super().__init__(**keywords)
            self.damping = damping

        def build(self, variables):
            super().build(variables)
            if self.damping:
                self.slots = self.add_optimizer_variables(variables, "slot")

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    optimizer = Damped()
    optimizer.damping = 0.5
    optimizer.damping = 0.0
    optimizer.build([np.ones(2)])
    with refused(RuntimeError, "Damped", "`damping`", "after build", keeps=[optimizer]):
        optimizer.damping = 0.5


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", ["ema_overwrite_frequency", "gradient_accumulation_steps"])
@pytest.mark.parametrize("value", [np.array("x"), np.array(None), np.array(1j), np.datetime64("2026")], ids=label)
def test_counts_that_are_arrays_of_something_else(name, value):
    with refused(ValueError, "Adam", f"`{name}`", "an integer >="):
        Adam(**{name: value})


@pytest.mark.parametrize("name", [3, np.ones(2), ["adam"], b"adam"], ids=label)
def test_names_that_are_no_strings(name):
    with refused(ValueError, "Adam", "`name`", "string"):
        Adam(name=name)


@pytest.mark.parametrize("rate", [lambda one, two: 0.1, lambda *, key: 0.1])
def test_callables_that_cannot_be_called_with_a_step(rate):
    optimizer = Adam(0.1)
    with refused(ValueError, "Adam", "`learning_rate`", "callable of the step", keeps=[optimizer]):
        optimizer.learning_rate = rate


@pytest.mark.parametrize("config", [None, 3, "adam", [("beta_1", 0.5)], {1: 2}], ids=label)
def test_configurations_that_are_no_dictionaries(config):
    with refused(TypeError, "Adam", "dictionary"):
        Adam.from_config(config)


def test_custom_objects_that_are_no_classes():
    config = {"class_name": "Own", "config": {}}
    for wrong in (None, 3, Adam(), int):
        with refused(TypeError, "custom_objects", "'Own'", "class"):
            optimizers.deserialize(config, {"Own": wrong})
    for wrong in (True, "Own", np.ones(3)):
        with refused(TypeError, "custom_objects", "dictionary"):
            optimizers.deserialize(config, wrong)
    with refused(TypeError, "optimizer", "None"):
        optimizers.serialize(None)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
def test_gradients_in_another_byte_order(dtype):
    optimizer, weights, gradient = SGD(0.1), np.ones(2), np.ones(2, dtype)
    with refused(TypeError, "variable_0", dtype, "byte order", "astype", keeps=(optimizer, weights, gradient)):
        optimizer.apply([gradient], [weights])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_bare_array_has_a_name(library):
    optimizer, params = Adam(0.1), ones(library, 2)
    state = optimizer.init(params)
    with refused(ValueError, "'parameter'", "(3,)", "(2,)", keeps=(optimizer, params, state)):
        optimizer.step(params, ones(library, 3), state)
    with refused(TypeError, "'parameter'", "array", "1.0"):
        optimizer.init(1.0)


@pytest.mark.jax
@pytest.mark.parametrize("built", [False, True])
def test_jax_arrays_without_values(built):
    """Donated arrays are common: a step half made would be lost."""
    import jax

    deleted = ones("jax", 3)
    deleted.delete()
    for wrong, word in ((deleted, "donated"), (jax.ShapeDtypeStruct((3,), "float32"), "shape without values")):
        optimizer = Adam(0.1)
        cells = [parameter("jax", [1.0] * n, name=name) for n, name in ((2, "kernel"), (3, "bias"))]
        if built:
            optimizer.build(cells)
        with refused(TypeError, "'bias'", word, keeps=(optimizer, cells)):
            optimizer.apply([ones("jax", 2), wrong], cells)
        params = {"kernel": ones("jax", 2), "bias": ones("jax", 3)}
        state = optimizer.init(params)
        for given in ((params, {**params, "bias": wrong}), ({**params, "bias": wrong}, params)):
            with refused(TypeError, "'bias'", word, keeps=(optimizer, params, state)):
                optimizer.step(*given, state)


@pytest.mark.jax
def test_a_jax_cell_whose_array_was_donated():
    cell, optimizer = Variable(ones("jax", 3), name="kernel"), SGD(0.1)
    optimizer.build([cell])
    cell.value.delete()
    with refused(TypeError, "'kernel'", "donated"):
        optimizer.apply([ones("jax", 3)], [cell])
    assert optimizer.iterations == 0


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}], ids=label)
def test_torch_gradients_that_numpy_cannot_read(options):
    import torch

    plain = torch.tensor([-3.0, -4.0])
    negated = torch.view_as_complex(torch.stack([plain, -plain], 1)).conj().imag
    assert negated.is_neg() and negated.tolist() == plain.tolist()
    results = []
    for gradient in (plain, negated, plain.to(torch.float8_e4m3fn)):
        weights = torch.zeros(2)
        SGD(1.0, **options).apply([gradient], [weights])
        results.append(weights.tolist())
    assert results[0] == results[1] == results[2] and results[0][0] > 0


@pytest.mark.torch
def test_torch_parameters_of_inference_mode():
    import torch

    with torch.inference_mode():
        weights = torch.ones(2)
        SGD(0.5).apply([torch.ones(2)], [weights])
    optimizer, other = SGD(0.1), torch.ones(2)
    with refused(TypeError, "'variable_1'", "inference mode", "clone", keeps=(optimizer, other)):
        optimizer.apply([torch.ones(2), torch.ones(2)], [other, weights])
    assert weights.tolist() == [0.5, 0.5]


# ---------------------------------------------------------------- state


def test_values_of_a_stateless_step_that_are_no_lists():
    optimizer, weights = SGD(0.1, momentum=0.9), np.ones(2)
    optimizer.build([weights])
    good = [[0, 0.1, np.zeros(2)], [np.ones(2)], [np.ones(2)]]
    for position, what in enumerate(("optimizer variables", "gradients", "trainable variables")):
        for wrong in (None, 3, np.ones(2), object()):
            given = [*good[:position], wrong, *good[position + 1 :]]
            with refused(TypeError, "list", what, keeps=(optimizer, weights, good)):
                optimizer.stateless_apply(*given)
    optimizer.stateless_apply(*map(iter, good))


@pytest.mark.parametrize("count", [-1, -1.0, 2.5, float("nan"), float("inf"), 10**400, np.array(-1)], ids=label)
@pytest.mark.parametrize("make", [lambda: Adam(0.1), lambda: Nadam(0.1, convention="torch")], ids=["one", "each"])
def test_step_counts_that_count_nothing(make, count):
    """One of -1 would divide by zero in the bias correction."""
    optimizer, params = make(), {"w": np.ones(2)}
    state = optimizer.init(params)
    for _ in range(2):
        # So that a step like these might take a shorter way.
        optimizer.step(params, params, state)
    damaged = [(state._replace(iterations=count), "iterations")]
    if "step" in state.slots:
        damaged.append((state._replace(slots={**state.slots, "step": {"w": count}}), "step"))
    for wrong, word in damaged:
        with refused((ValueError, TypeError), word, keeps=(optimizer, params, state)):
            optimizer.step(params, params, wrong)
    weights = np.ones(2)
    optimizer.apply([np.ones(2)], [weights])
    good = [cell.numpy() for cell in optimizer.variables]
    for position, cell in enumerate(optimizer.variables):
        if cell.name == "iteration" or cell.name.endswith("step"):
            wrong = [*good[:position], count, *good[position + 1 :]]
            with refused((ValueError, TypeError), cell.name, keeps=(optimizer, weights)):
                optimizer.set_weights(wrong)
            with refused((ValueError, TypeError), cell.name, keeps=(optimizer, weights)):
                optimizer.stateless_apply(wrong, [np.ones(2)], [weights])


def test_rates_of_a_state_that_no_float_can_hold():
    optimizer, params = SGD(0.1), {"w": np.ones(2)}
    optimizer.step(params, params, optimizer.init(params))
    state = optimizer.init(params)._replace(learning_rate=10**400)
    with refused(ValueError, "learning_rate", "too large", keeps=(optimizer, params)):
        optimizer.step(params, params, state)


def test_rates_of_a_state_that_are_no_numbers_are_not_replaced():
    optimizer, params = SGD(0.1), {"w": np.ones(2)}
    state = optimizer.init(params)._replace(learning_rate="fast")
    with refused(TypeError, "learning_rate", "'fast'", keeps=[optimizer]):
        optimizer.with_learning_rate(state, 0.5)


@pytest.mark.torch
def test_slots_on_another_device():
    import torch

    optimizer, params = SGD(0.1, momentum=0.9), {"w": torch.ones(3)}
    state = optimizer.init(params)
    away = state._replace(slots={"momentum": {"w": torch.ones(3, device="meta")}})
    with refused(ValueError, "momentum", "meta", "cpu", keeps=(optimizer, params, state)):
        optimizer.step(params, params, away)
    weights = torch.ones(3)
    optimizer.build([weights])
    with refused(ValueError, "momentum", "meta", "cpu", keeps=(optimizer, weights)):
        optimizer.stateless_apply([0, 0.1, torch.ones(3, device="meta")], [torch.ones(3)], [weights])


@pytest.mark.torch
def test_weights_that_torch_cannot_read():
    """A bfloat16 slot that was saved on NumPy is one: it is converted."""
    import torch

    for weight in (
        np.array([1, 2, 3], ml_dtypes.bfloat16),
        np.array([1, 2, 3], ml_dtypes.float8_e4m3fn),
        np.array([1, 2, 3], np.longdouble),
        np.array([3.0, 2.0, 1.0])[::-1],
    ):
        optimizer = SGD(0.1, momentum=0.9)
        optimizer.build([torch.ones(3)])
        optimizer.set_weights([0, 0.1, weight])
        assert values(optimizer.variables[2]) == [1.0, 2.0, 3.0]


@pytest.mark.torch
def test_weights_without_values():
    import torch

    optimizer, weights = SGD(0.1, momentum=0.9), torch.ones(3)
    optimizer.build([weights])
    for wrong in (torch.ones(3, device="meta"), torch.ones(3).to_sparse_coo(), [[1.0], [1.0, 2.0]]):
        with refused(TypeError, "momentum", keeps=(optimizer, weights)):
            optimizer.set_weights([0, 0.1, wrong])


@pytest.mark.parametrize("library", LIBRARIES)
def test_integers_and_cells_are_still_taken_for_counts(library):
    optimizer, params = Adam(0.1), {"w": ones(library, 2)}
    state = optimizer.init(params)
    for count in (3, 3.0, array(library, 3.0), np.float32(3)):
        with unchanged(optimizer, params, state):
            _, after = optimizer.step(params, params, state._replace(iterations=count))
        assert int(after.iterations) == 4


# ---------------------------------------------------------------- exclusions and schedules


def test_exclusions_are_lists_of_strings():
    weights, gradients = [np.ones(2)], [np.zeros(2)]
    optimizer = AdamW(0.5, weight_decay=0.5)
    for wrong in ([b"x"], [1], 3, "x"):
        with refused(TypeError, "var_names", keeps=[optimizer]):
            optimizer.exclude_from_weight_decay(var_names=wrong)
    # What can be read once only is read once.
    optimizer.exclude_from_weight_decay(var_names=(name for name in ["variable"]))
    optimizer.apply(gradients, weights)
    assert np.array_equal(weights[0], np.ones(2))


def test_damaged_configs_of_schedules():
    itself = {"class_name": "CosineDecay"}
    itself["config"] = {"initial_learning_rate": itself}
    empty = {"class_name": "CosineDecay", "config": {"initial_learning_rate": {"class_name": "__numpy__"}}}
    numbered = {"class_name": "Own", "config": {1: 2}}
    for config, word in ((itself, "itself"), (empty, "without a value"), (numbered, "'Own'")):
        with refused(TypeError, word):
            schedules.deserialize(config)
    plain = {"class_name": "Own", "config": {}}
    for wrong in ({"Own": 3}, {"Own": int}, [1], "Own"):
        with refused(TypeError, "custom_objects"):
            schedules.deserialize(plain, custom_objects=wrong)


def test_a_correction_by_zero():
    with refused(ValueError, "RMSprop", "`bias_correction`", "`rho`"):
        RMSprop(rho=1.0, bias_correction=True, convention="optax")
