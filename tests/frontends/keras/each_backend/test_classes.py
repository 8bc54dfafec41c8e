"""Every class against Keras's own, step by step: signatures, configuration, state, trajectories."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from small import BACKEND, PEERS, distance, gradients, values, variables

from gradwise import optimizers
from gradwise.frontends import keras as gkeras

COMMON = {
    "plain": {},
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.25},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "ema": {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2},
    "loss_scale": {"loss_scale_factor": 64.0},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.125, 2, 0.5)},
    "accumulation": {"gradient_accumulation_steps": 2, "weight_decay": 0.1, "clipnorm": 0.5},
}
CASES = [(name, arguments) for name, peer in PEERS.items() for arguments in ({}, *peer.cases)]
# On JAX, where every operation is compiled, for some.
EVERYWHERE = ("SGD", "Adam") if BACKEND == "jax" else PEERS
CASES += [(name, arguments) for name in EVERYWHERE for arguments in COMMON.values() if arguments]

BOUND = 1e-5
"""Keras computes bias corrections in single precision."""


def trajectory(kind: Any, arguments: dict[str, Any], missing: bool = False) -> tuple[Any, Any]:
    optimizer = kind(**{"learning_rate": 0.125, "name": "same", **arguments})
    parameters = variables()
    for row in gradients(4, missing):
        optimizer.apply(row, parameters)
    return optimizer, parameters


@pytest.mark.parametrize("name", PEERS)
def test_signature_is_kerass(name: str) -> None:
    own, theirs = getattr(gkeras, name), getattr(keras.optimizers, name)
    assert list(inspect.signature(own).parameters.values()) == list(
        inspect.signature(theirs.__init__).parameters.values()
    )[1:]
    assert issubclass(own, keras.optimizers.Optimizer)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=lambda value: str(value)[:60])
def test_steps_and_state_are_kerass(name: str, arguments: dict[str, Any]) -> None:
    own, own_parameters = trajectory(getattr(gkeras, name), arguments)
    theirs, parameters = trajectory(getattr(keras.optimizers, name), arguments)
    assert distance(values(own_parameters), values(parameters)) <= BOUND
    assert own.get_config() == theirs.get_config()
    described = [[(tuple(v.shape), v.dtype) for v in o.variables] for o in (own, theirs)]
    assert described[0] == described[1]
    named = [[v.path.rstrip("_0123456789") for v in o.variables] for o in (own, theirs)]
    # Without this method Keras called each of Adagrad's "accumulator", of whatever variable it was.
    assert named[0] == named[1] or (name == "Adagrad" and not hasattr(theirs, "add_optimizer_variables"))
    # Keras's averages move between updates too, where parameters do not.
    assert distance(values(own.variables), values(theirs.variables)) <= BOUND


@pytest.mark.parametrize("name", PEERS)
def test_missing_gradients(name: str) -> None:
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['first/bias'\]"):
        own, own_parameters = trajectory(getattr(gkeras, name), {}, missing=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, parameters = trajectory(getattr(keras.optimizers, name), {}, missing=True)
    assert distance(values(own_parameters), values(parameters)) <= BOUND
    assert distance(values(own.variables), values(theirs.variables)) <= BOUND


@pytest.mark.parametrize("name", PEERS)
def test_stateless_steps_change_nothing_and_are_the_same(name: str) -> None:
    optimizer, parameters = trajectory(getattr(gkeras, name), {})
    before = [np.array(value) for value in values([*parameters, *optimizer.variables])]
    row = gradients(5)[4]
    state, held = [v.value for v in optimizer.variables], [v.value for v in parameters]
    held_after, state_after = optimizer.stateless_apply(state, row, held)
    assert distance(values([*parameters, *optimizer.variables]), before) == 0.0
    optimizer.apply(row, parameters)
    found = [np.asarray(keras.ops.convert_to_numpy(value), dtype="float64") for value in (*held_after, *state_after)]
    assert distance(found, values([*parameters, *optimizer.variables])) <= BOUND
    assert [str(value.dtype) for value in state_after] == [str(value.dtype) for value in state]


def test_older_arguments_mean_what_they_meant() -> None:
    with pytest.warns(UserWarning, match="`lr` and `decay` as in Keras 2"):
        own = gkeras.SGD(lr=0.5, decay=0.25, momentum=0.5)
    own_parameters, parameters = variables(), variables()
    theirs = keras.optimizers.SGD(keras.optimizers.schedules.InverseTimeDecay(0.5, 1, 0.25), momentum=0.5)
    for row in gradients(4):
        own.apply(row, own_parameters)
        theirs.apply(row, parameters)
    assert distance(values(own_parameters), values(parameters)) <= BOUND
    assert float(own.learning_rate.numpy()) == 0.5
    assert gkeras.SGD.from_config(own.get_config()).decay == 0.25


def test_nadam_of_keras_2() -> None:
    with pytest.warns(UserWarning, match="`lr` and `epsilon=None` as in Keras 2"):
        own = gkeras.Nadam(lr=0.125, beta_1=0.9, beta_2=0.999, epsilon=None, schedule_decay=0.004)
    core = gkeras.wrap(optimizers.Nadam(0.125, schedule_decay=0.004))
    own_parameters, parameters = variables(), variables()
    for row in gradients(3):
        own.apply(row, own_parameters)
        core.apply(row, parameters)
    assert distance(values(own_parameters), values(parameters)) == 0.0
    assert gkeras.Nadam.from_config(own.get_config()).schedule_decay == 0.004
    assert own.epsilon == 1e-7


def test_other_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(RuntimeError, match="runs on Keras's backends torch, jax, numpy, and the backend is tensorflow"):
        gkeras.SGD().build([])


def test_hyperparameters_may_change_between_steps() -> None:
    own, theirs = gkeras.Adam(0.125), keras.optimizers.Adam(0.125)
    own_parameters, parameters = variables(), variables()
    for number, row in enumerate(gradients(4)):
        for optimizer in (own, theirs):
            optimizer.learning_rate = 0.125 / (number + 1)
            optimizer.beta_1 = 0.5 + number / 16
        own.apply(row, own_parameters)
        theirs.apply(row, parameters)
    assert distance(values(own_parameters), values(parameters)) <= BOUND
    with pytest.raises(ValueError, match=r"`beta_1` must be a number in \[0, 1\), received 2.0"):
        own.beta_1 = 2.0


def test_exclusion_from_weight_decay() -> None:
    found = []
    for kind in (gkeras.AdamW, keras.optimizers.AdamW):
        optimizer, parameters = kind(0.125, weight_decay=0.5), variables()
        optimizer.exclude_from_weight_decay(var_list=parameters[:1], var_names=["bias"])
        for row in gradients(3):
            optimizer.apply(row, parameters)
        found.append(values(parameters))
    assert distance(*found) <= BOUND


def test_a_part_of_the_variables() -> None:
    found = []
    for kind in (gkeras.Nadam, keras.optimizers.Nadam):
        optimizer, parameters = kind(0.125), variables()
        optimizer.build(parameters)
        for row in gradients(3):
            optimizer.apply(row[2:], parameters[2:])
            optimizer.apply(row[::-1], parameters[::-1])
        found.append(values([*parameters, *optimizer.variables]))
    assert distance(*found) <= BOUND


@pytest.mark.skipif(
    not hasattr(keras.optimizers.Optimizer, "add_optimizer_variables"),
    reason="without this method Keras has slots for variables that are overwritten, too",
)
def test_variables_that_are_overwritten_with_gradients() -> None:
    found, described = [], []
    for kind in (gkeras.Adam, keras.optimizers.Adam):
        optimizer, parameters = kind(0.125, gradient_accumulation_steps=2, use_ema=True, name="same"), variables()
        parameters[1].overwrite_with_gradient = True
        for row in gradients(4):
            optimizer.apply(row, parameters)
        found.append(values([*parameters, *optimizer.variables]))
        described.append([(variable.path, tuple(variable.shape)) for variable in optimizer.variables])
    assert described[0] == described[1]
    assert distance(*found) <= BOUND


def test_constraints() -> None:
    optimizer, parameters = gkeras.SGD(0.125), variables()
    parameters[0].constraint = keras.constraints.NonNeg()
    for row in gradients(3):
        optimizer.apply(row, parameters)
    assert values(parameters)[0].min() == 0.0
    assert values(parameters)[2].min() < 0.0


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("what", ["constraint", "raising", "overwritten"])
def test_what_is_said_of_variables_in_the_middle_of_training(what: str, at: int) -> None:
    class Failing(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            raise ValueError("the user's own")

    found = []
    for module in (gkeras, keras.optimizers):
        optimizer, parameters = module.SGD(0.125), variables()
        for step, row in enumerate(gradients(5)):
            if step == at and what == "overwritten":
                parameters[0].overwrite_with_gradient = True
            elif step == at:
                parameters[0].constraint = keras.constraints.NonNeg() if what == "constraint" else Failing()
            if step >= at and what == "raising":
                with pytest.raises(ValueError, match="the user's own"):
                    optimizer.apply(row, parameters)
            else:
                optimizer.apply(row, parameters)
        found.append(values(parameters))
    if what != "raising":
        # Where Keras's raises, it has written before.
        assert distance(*found) <= BOUND


def test_bfloat16_moves_with_slots_in_float32() -> None:
    optimizer = gkeras.Adam(0.125)
    parameter = keras.Variable(np.ones(4), dtype="bfloat16", name="kernel")
    for _ in range(3):
        optimizer.apply([keras.ops.full((4,), 0.5, dtype="bfloat16")], [parameter])
    assert [v.dtype for v in optimizer.variables] == ["int32", "float32", "float32", "float32"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(parameter.value).astype("float32"), 0.625)


def test_numbers_that_keras_does_not_take() -> None:
    for rate in (1, np.float32(1.0), keras.Variable(1.0)):
        assert float(gkeras.SGD(rate).learning_rate.numpy()) == 1.0
    assert gkeras.SGD(0.5, 0).momentum == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gkeras.Adam(learning_rate=0.1, lr=0.1), "give `learning_rate` or its older name `lr`, not both"),
        (lambda: gkeras.Adam(gamma=1.0), r"Argument\(s\) not recognized by Adam: gamma=1\.0\."),
        (lambda: gkeras.Adam(-1.0), r"`learning_rate` must be a number in \[0, inf\), received -1.0"),
        (lambda: gkeras.Adam("fast"), "`learning_rate` must be a number"),
        (lambda: gkeras.Adam(beta_2=1.0), r"`beta_2` must be a number in \[0, 1\)"),
        (lambda: gkeras.SGD(clipnorm=1.0, clipvalue=1.0), "only one of `clipnorm`, `clipvalue` and `global_clipnorm`"),
        (lambda: gkeras.SGD().apply([None], [keras.Variable([1.0])]), "No gradients provided for any variable"),
        (lambda: gkeras.SGD().apply(gradients(1)[0]), "must already be built"),
        (lambda: gkeras.SGD().apply(gradients(1)[0], variables()[:3]), "Received 4 gradients for 3 variables"),
        (lambda: gkeras.SGD().build(variables()[:1] * 2), "Variable 'first/kernel' was given twice"),
        (lambda: gkeras.SGD().stateless_apply([], [], []), "must be built"),
        (lambda: trajectory(gkeras.SGD, {})[0].apply(gradients(1)[0], variables()), "Unknown variable: 'first/kernel'"),
    ],
    ids=range(12),
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_failed_step_changes_nothing() -> None:
    optimizer, parameters = trajectory(gkeras.Adam, {})
    before = values([*parameters, *optimizer.variables])
    row = gradients(1)[0]
    row[2] = row[2][:1]
    with pytest.raises(ValueError, match=r"gradient of 'second/kernel' has shape \(1, 3\)"):
        optimizer.apply(row, parameters)
    assert distance(values([*parameters, *optimizer.variables]), before) == 0.0
