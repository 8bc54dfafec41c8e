"""What every optimizer has: clipping, decay, averages, accumulation, loss scale, configuration, saving."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
from rules import all_facts

from gradwise import optimizers, schedules
from gradwise.backends import Variable
from gradwise.optimizers import SGD, Adagrad, Adam, AdamW, Nadam, Optimizer, RMSprop
from gradwise.optimizers.registry import ALGORITHMS

AS_IN_KERAS = [kind for kind in ALGORITHMS if "keras" in kind.conventions]


def stepped(optimizer, *gradients, start=(1.0, 2.0)):
    w = np.array(start)
    for gradient in gradients:
        optimizer.apply([np.asarray(gradient, float)], [w])
    return w


# ---------------------------------------------------------------- clipping


def test_each_kind_of_clipping():
    gradients = [np.array([3.0, 4.0]), np.array([0.0, 12.0])]

    def clipped(**keywords):
        variables = [np.zeros(2), np.zeros(2)]
        SGD(1.0, **keywords).apply(gradients, variables)
        return [(-v).tolist() for v in variables]

    assert clipped(clipvalue=3.5) == [[3.0, 3.5], [0.0, 3.5]]
    np.testing.assert_allclose(clipped(clipnorm=1.0), [[0.6, 0.8], [0.0, 1.0]], rtol=1e-15)
    np.testing.assert_allclose(clipped(global_clipnorm=6.5), [[1.5, 2.0], [0.0, 6.0]], rtol=1e-15)
    np.testing.assert_allclose(clipped(convention="keras2", clipnorm=6.5), [[1.5, 2.0], [0.0, 6.0]], rtol=1e-15)
    both = clipped(convention="keras2", clipnorm=6.5, clipvalue=1.75)
    np.testing.assert_allclose(both, [[1.5, 1.75], [0.0, 1.75]], rtol=1e-15)
    assert clipped(clipnorm=100.0) == clipped() == clipped(global_clipnorm=100.0)


def test_gradients_that_are_not_finite():
    def after(**keywords):
        variables = [np.zeros(2), np.zeros(2)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SGD(1.0, **keywords).apply([np.array([np.inf, 1.0]), np.ones(2)], variables)
        return [v.tolist() for v in variables]

    nan = pytest.approx(np.nan, nan_ok=True)
    assert after() == [[-np.inf, -1.0], [-1.0, -1.0]]
    assert after(clipnorm=1.0)[0] == [nan, 0.0]
    assert after(global_clipnorm=1.0) == [[nan, nan], [nan, nan]]
    assert after(clipvalue=0.5) == [[-0.5, -0.5], [-0.5, -0.5]]


# ---------------------------------------------------------------- weight decay


def test_weight_decay_is_decoupled_everywhere():
    for algorithm in AS_IN_KERAS:
        # A zero gradient moves nothing but by decay: 2 * 0.996**3 as in Keras's own test.
        w = stepped(algorithm(1.0, weight_decay=0.004), [0.0], [0.0], [0.0], start=(2.0,))
        np.testing.assert_allclose(w, 2 * 0.996**3, rtol=1e-14)


def test_exclusion_by_object_and_by_name():
    kernel, bias = np.ones(1), Variable(np.ones(1), name="dense/bias")
    other = np.ones(1)
    optimizer = SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[kernel], var_names=["bias$"])
    zeros = [np.zeros(1)] * 3
    optimizer.apply(zeros, [kernel, bias, other])
    assert (kernel[0], bias.numpy()[0], other[0]) == (1.0, 1.0, 0.5)
    optimizer.exclude_from_weight_decay()
    optimizer.apply(zeros, [kernel, bias, other])
    assert (kernel[0], bias.numpy()[0], other[0]) == (0.5, 0.5, 0.25)


def test_exclusion_takes_a_list_of_expressions():
    with pytest.raises(TypeError, match=r"var_names must be a list of regular expressions"):
        SGD(weight_decay=0.1).exclude_from_weight_decay(var_names="bias")


# ---------------------------------------------------------------- averages


def test_averages_overwrite_and_finalize():
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
    w = np.zeros(1)
    seen = []
    for _ in range(3):
        optimizer.apply([-np.ones(1)], [w])
        seen.append(w[0])
    assert seen == [1.0, 2.0, 2.25]
    w[...] = 100.0
    optimizer.finalize_variable_values([w])
    assert w[0] == 2.25


def test_averages_follow_parameters_without_a_gradient():
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5)
    a, b = np.zeros(1), np.full(1, 4.0)
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['variable_1'\]"):
        optimizer.apply([np.ones(1), None], [a, b])
    b[...] = 8.0
    optimizer.apply([np.ones(1)], [a])
    optimizer.finalize_variable_values([b])
    assert b[0] == 6.0 and a[0] == -2.0


def test_constraints_hold_for_averages_too():
    w = Variable(np.array([0.5]), constraint=lambda value: np.maximum(value, 0.0))
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([np.ones(1)], [w])
    assert w.numpy()[0] == 0.0
    optimizer.finalize_variable_values([w])
    assert w.numpy()[0] == 0.0


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("at", [0, 1, 2, 4])
@pytest.mark.parametrize("keywords", [{}, {"global_clipnorm": 1.0}, {"use_ema": True}])
def test_a_constraint_may_come_and_go_at_any_time(keywords, at, jit_compile):
    def low(value):
        return np.minimum(value, 0.25)

    w, other = Variable(np.ones(2)), Variable(np.ones(2))
    optimizer = Adam(0.1, jit_compile=jit_compile, **keywords)
    for step in range(8):
        if step == at:
            w.constraint = low
        if step == at + 2:
            w.constraint = None
        optimizer.apply([-np.ones(2)] * 2, [w, other])
        if at <= step < at + 2:
            assert w.numpy().tolist() == [0.25] * 2
    assert w.numpy()[0] > 0.3 and other.numpy()[0] == pytest.approx(1.8, abs=1e-3)


def test_a_constraint_that_comes_later_and_raises_changes_nothing():
    def failing(value):
        raise ValueError("the user's own")

    w = Variable(np.ones(2))
    optimizer = Adam(0.1)
    for _ in range(4):
        optimizer.apply([np.ones(2)], [w])
    before = w.numpy()
    w.constraint = failing
    with pytest.raises(ValueError, match="the user's own"):
        optimizer.apply([np.ones(2)], [w])
    assert w.numpy().tolist() == before.tolist() and optimizer.iterations == 4


# ---------------------------------------------------------------- accumulation and loss scale


def test_accumulation_makes_one_update_of_the_mean():
    gradients = [[1.0, -2.0], [3.0, 0.5], [2.0, 2.0], [-1.0, 1.0]]
    accumulated = stepped(Adam(0.1, gradient_accumulation_steps=2, clipnorm=1.0), *gradients)
    means = [np.mean(gradients[:2], axis=0), np.mean(gradients[2:], axis=0)]
    np.testing.assert_allclose(accumulated, stepped(Adam(0.1, clipnorm=1.0), *means), rtol=1e-15)


def test_accumulation_counts_updates_and_schedules_count_calls():
    rates = []

    def schedule(step):
        rates.append(step)
        return 1.0 if step < 2 else 10.0

    optimizer = SGD(schedule, gradient_accumulation_steps=2)
    w, seen = np.zeros(1), []
    for _ in range(4):
        optimizer.apply([-np.ones(1)], [w])
        seen.append((w[0], optimizer.iterations))
    assert seen == [(0.0, 0), (1.0, 1), (1.0, 1), (11.0, 2)]
    assert rates == [0, 1, 2, 3]


def test_nothing_accumulated_is_lost():
    optimizer = SGD(1.0, gradient_accumulation_steps=2)
    a, b = np.zeros(1), np.zeros(1)
    optimizer.apply([np.ones(1), np.full(1, 3.0)], [a, b])
    optimizer.apply([np.ones(1)], [a])
    assert (a[0], b[0]) == (-1.0, 0.0)
    optimizer.apply([np.ones(1), np.full(1, 5.0)], [a, b])
    optimizer.apply([np.ones(1), np.full(1, 2.0)], [a, b])
    assert (a[0], b[0]) == (-2.0, -5.0)


def test_loss_scale():
    optimizer = SGD(1.0, loss_scale_factor=1024.0, clipvalue=0.75)
    assert optimizer.scale_loss(2.0) == 2048.0 and SGD().scale_loss(2.0) == 2.0
    assert stepped(optimizer, [512.0, 2048.0], start=(0.0, 0.0)).tolist() == [-0.5, -0.75]


# ---------------------------------------------------------------- learning rate


def test_learning_rates_change_in_any_order():
    optimizer = SGD(0.5)
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 1, 0.5)
    assert optimizer.learning_rate == 1.0 and len(optimizer.variables) == 1
    assert stepped(optimizer, [1.0], [1.0], start=(0.0,))[0] == -1.5
    assert optimizer.learning_rate == 0.25
    optimizer.learning_rate = 3
    assert optimizer.learning_rate == 3.0 and type(optimizer.learning_rate) is float
    optimizer.learning_rate = lambda: 7.0
    assert optimizer.learning_rate == 7.0
    optimizer.learning_rate = lambda step: step / 2
    assert optimizer.learning_rate == 1.0
    optimizer.learning_rate = np.float32(0.5)
    assert optimizer.learning_rate == 0.5


def test_older_arguments():
    optimizer = SGD(learning_rate=1.0, decay=1.0)
    assert stepped(optimizer, [1.0], [1.0], start=(0.0,))[0] == -1.5
    assert optimizer.learning_rate == 1.0
    assert Adam(lr=0.5, epsilon=None, convention="keras").epsilon == 1e-7
    assert Nadam(schedule_decay=0.5).schedule_decay == 0.5
    with pytest.raises(ValueError, match=r"not both"):
        SGD(0.5, lr=0.1)


def test_defaults():
    for kind in ALGORITHMS:
        for convention, known in all_facts()[kind.__name__].hyperparameters.items():
            made = kind(convention=convention)
            # None is no decay.
            assert {name: getattr(made, name) or value * 0 for name, value in known.items()} == known
    assert all(kind().epsilon == 1e-7 for kind in AS_IN_KERAS if hasattr(kind(), "epsilon"))
    assert Adagrad().initial_accumulator_value == 0.1
    assert Adagrad(convention="keras2").initial_accumulator_value == 0.0
    assert AdamW().weight_decay == 0.004 and Nadam().schedule_decay == 0.004


def test_conventions_differ_where_they_should():
    for algorithm, keywords in ((RMSprop, {}), (Adagrad, {"initial_accumulator_value": None})):
        ours = stepped(algorithm(0.1, epsilon=0.1, **keywords), [1.0, 0.1])
        older = stepped(algorithm(0.1, epsilon=0.1, convention="keras2", **keywords), [1.0, 0.1])
        assert not np.allclose(ours, older)
    with pytest.raises(ValueError, match=r"`momentum` does not exist in convention 'keras2'.* it exists in 'keras'"):
        RMSprop(momentum=0.5, convention="keras2")
    with pytest.raises(ValueError, match=r"AdamW has no `convention` 'keras2'; it has 'keras'"):
        AdamW(convention="keras2")
    RMSprop(momentum=0.0, convention="keras2")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_configuration_round_trip(algorithm):
    optimizer = algorithm(0.5, clipnorm=1.0, use_ema=True, name="mine", gradient_accumulation_steps=3)
    config = optimizers.serialize(optimizer)
    again = optimizers.deserialize(config)
    assert type(again) is algorithm and again.get_config() == optimizer.get_config() and again.name == "mine"
    assert optimizers.get(config).get_config() == optimizer.get_config()
    assert optimizers.get(algorithm.__name__.upper()).get_config() == algorithm().get_config()
    assert algorithm().name == optimizers.get(algorithm.__name__).name


def test_schedules_in_configurations():
    optimizer = Adam(schedules.CosineDecay(0.1, 100))
    config = optimizers.serialize(optimizer)
    before = repr(config)
    again = optimizers.deserialize(config)
    assert repr(config) == before
    assert again.learning_rate_schedule.get_config() == optimizer.learning_rate_schedule.get_config()


def test_positional_order_is_keras():
    common = [
        "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
        "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps", "name",
    ]  # fmt: skip
    positional = lambda kind: [  # noqa: E731  # used on the next lines only
        p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    for kind in AS_IN_KERAS:
        facts = all_facts()[kind.__name__]
        only_gradwise = facts.keras.given if facts.keras else {}
        own = [name for name in next(iter(facts.hyperparameters.values())) if name not in only_gradwise]
        if not facts.decays:  # else decay stands among its own
            assert positional(kind) == [name for name in own if name != "weight_decay"] + common
    assert positional(AdamW) == ["learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad", *common[1:]]
    assert AdamW(0.1, 0.2, 0.3, 0.4, 0.5, True, 0.6).get_config() | {"name": ""} == {
        "name": "", "learning_rate": 0.1, "weight_decay": 0.2, "clipnorm": 0.6, "global_clipnorm": None,
        "clipvalue": None, "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None,
        "loss_scale_factor": None, "gradient_accumulation_steps": None, "beta_1": 0.3, "beta_2": 0.4, "epsilon": 0.5,
        "amsgrad": True, "eps_root": 0.0, "decoupled_weight_decay": True, "nesterov": False, "bias_correction_mu": True,
        "bias_correction_nu": True, "convention": "keras", "slot_dtype": None, "jit_compile": "auto", "maximize": False,
        "decay": 0.0,
    }  # fmt: skip


# ---------------------------------------------------------------- state


def test_variables_in_kerass_order():
    optimizer = Adam(use_ema=True, gradient_accumulation_steps=2, amsgrad=True)
    optimizer.build([Variable(np.zeros(2), name="dense/kernel"), Variable(np.zeros(1), name="dense/bias")])
    names = [cell.name for cell in optimizer.variables]
    assert names == [
        "iteration", "learning_rate",
        "dense_kernel_average", "dense_bias_average",
        "dense_kernel_gradient_accumulator", "dense_bias_gradient_accumulator",
        "dense_kernel_momentum", "dense_kernel_velocity", "dense_bias_momentum", "dense_bias_velocity",
        "dense_kernel_velocity_hat", "dense_bias_velocity_hat",
    ]  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_saved_state_continues_on_the_same_trajectory(algorithm, tmp_path):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(8, 3))
    first = algorithm(0.1, use_ema=True)
    w = np.ones(3)
    for gradient in gradients[:4]:
        first.apply([gradient], [w])
    store = {}
    first.save_own_variables(store)
    np.savez(tmp_path / "state.npz", **store)
    second, copy = algorithm(0.7, use_ema=True), w.copy()
    second.build([copy])
    with np.load(tmp_path / "state.npz", allow_pickle=False) as loaded:
        second.load_own_variables(dict(loaded))
    assert second.iterations == 4 and second.learning_rate == 0.1
    for gradient in gradients[4:]:
        first.apply([gradient], [w])
        second.apply([gradient], [copy])
    np.testing.assert_array_equal(w, copy)
    third = algorithm(0.7, use_ema=True)
    third.build([copy])
    third.set_weights([cell.numpy() for cell in second.variables])
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(second.variables, third.variables, strict=True))


def test_unbuilt_optimizers_can_be_pickled():
    optimizer = pickle.loads(pickle.dumps(Adam(0.5, clipnorm=1.0)))
    assert stepped(optimizer, [1.0, 1.0]).tolist() == stepped(Adam(0.5, clipnorm=1.0), [1.0, 1.0]).tolist()


def test_copies_are_apart_and_whole():
    w, optimizer = np.ones(2), Nadam(0.1, use_ema=True, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[w])
    optimizer.apply([np.ones(2)], [w])
    (w_copy,), other = copy.deepcopy(([w], optimizer))
    for pickled in (False, True):
        if pickled:
            (w_copy,), other = pickle.loads(pickle.dumps(([w], optimizer)))
        alone = copy.deepcopy(optimizer)
        with pytest.raises(ValueError, match="Unknown variable"):
            alone.apply([np.ones(2)], [w])
        before = w.copy()
        other.apply([np.ones(2)], [w_copy])
        assert w.tobytes() == before.tobytes() and optimizer.iterations == 1 + pickled
        optimizer.apply([np.ones(2)], [w])
        assert w.tobytes() == w_copy.tobytes()


@pytest.mark.torch
def test_copies_of_optimizers_of_torch_modules():
    import torch

    layer = torch.nn.Linear(2, 1)
    optimizer = Adam(0.1)
    gradients = [torch.ones_like(parameter) for parameter in layer.parameters()]
    optimizer.apply(gradients, layer.parameters())
    layer_copy, other = copy.deepcopy((layer, optimizer))
    optimizer.apply(gradients, layer.parameters())
    other.apply(gradients, layer_copy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), layer_copy.parameters(), strict=True))


def test_stateless_apply_agrees_and_changes_nothing():
    optimizer = Nadam(0.1, use_ema=True)
    w = np.ones(2)
    optimizer.build([w])
    state = [np.array(cell.value) for cell in optimizer.variables]
    values, state_before = [w.copy()], [s.copy() for s in state]
    new_values, new_state = optimizer.stateless_apply(state, [np.ones(2)], values)
    assert all(np.array_equal(a, b) for a, b in zip(state, state_before, strict=True)) and w.tolist() == [1.0, 1.0]
    assert optimizer.iterations == 0 and int(new_state[0]) == 1
    optimizer.apply([np.ones(2)], [w])
    np.testing.assert_array_equal(new_values[0], w)
    for cell, value in zip(optimizer.variables, new_state, strict=True):
        np.testing.assert_array_equal(cell.numpy(), value)


def test_a_part_of_the_variables():
    optimizer = Adam(0.1)
    a, b = np.ones(1), np.ones(1)
    optimizer.build([a, b])
    assert optimizer.apply([np.ones(1)], [b]) == 1
    assert a[0] == 1.0 and b[0] < 1.0
    assert optimizer.apply([]) == 1 and optimizer.apply_gradients([]) == 1


def test_gradients_of_other_dtypes_are_cast():
    w = np.ones(2, np.float32)
    SGD(0.5).apply([np.array([1, 2])], [w])
    assert w.tolist() == [0.5, 0.0] and w.dtype == np.float32


def test_build_is_done_once_and_whole():
    class Broken(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.slots = self.add_optimizer_variables(variables, "slot")
            if self.clipnorm is None:
                raise RuntimeError("not today")

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    optimizer, w = Broken(learning_rate=0.5), np.ones(1)
    with pytest.raises(RuntimeError, match=r"not today"):
        optimizer.apply([np.ones(1)], [w])
    assert not optimizer.built and len(optimizer.variables) == 2 and w[0] == 1.0
    optimizer.clipnorm = 1.0
    optimizer.apply([np.ones(1)], [w])
    slots = optimizer.slots
    optimizer.build([w])
    assert optimizer.slots is slots and optimizer.built


def test_the_face_shows_schedules_in_both_places():
    import gradwise.optimizers.schedules as found

    assert found is schedules
    from gradwise.optimizers.schedules import ExponentialDecay

    assert ExponentialDecay is schedules.ExponentialDecay


def test_unknown_names():
    with pytest.raises(ValueError, match=r"Unknown optimizer 'adm'\. Did you mean `adam`\?"):
        optimizers.get("adm")
    assert optimizers.get(None) is None
    own = Adam()
    assert optimizers.get(own) is own
