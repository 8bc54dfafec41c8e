"""The 25 surprises of Keras 3.15.1: for each, whether gradwise follows it, and a test that shows what both do.

What Keras does is not remembered but run: surprises_in_keras.py, in one process for each of Keras's backends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.libraries import array, parameter, values

from gradwise import optimizers, schedules
from gradwise.backends import Variable
from gradwise.optimizers import SGD, Adam, AdamW, Nadam
from gradwise.optimizers.registry import ALGORITHMS


class Surprise(NamedTuple):
    id: str
    finding: str
    verdict: str
    reason: str
    test: str


FOLLOWED, DEVIATED, ABSENT = "followed", "deviated", "not applicable"

SURPRISES = (
    Surprise("S1", "clipnorm was the norm of all gradients in Keras 2.2 and is each variable's own in Keras 3.",
        FOLLOWED, "convention='keras' and 'keras2' are these two; both clips together exist in 'keras2' as they did.",
        "test_clipnorm_means_what_the_convention_says"),
    Surprise("S2", "Nadam lost its schedule_decay, and behaves as with 1 instead of 0.004.",
        DEVIATED, "0.004 is Keras 2.2's, torch's and the default; schedule_decay=1.0 reproduces Keras 3.",
        "test_nadam_has_its_schedule_decay"),
    Surprise("S3", "ScheduleFreeAdamW is wrong on torch: it reads an old value that was updated in place.",
        ABSENT, "gradwise has no ScheduleFreeAdamW.", "test_schedule_free_adamw_is_not_there"),
    Surprise("S4", "Adafactor's relative_step does nothing, and its factored slots are full-size.",
        ABSENT, "gradwise has no Adafactor.", "test_adafactor_is_not_there"),
    Surprise("S5", "With bfloat16 variables Adam does not move and Nadam gives NaN or an exception.",
        DEVIATED, "16-bit parameters are computed in float32 and no scalar is rounded to 16 bits.",
        "test_bfloat16_parameters_move"),
    Surprise("S6", "On torch, a saved Adam is recorded as a class of the torch backend, which JAX then builds.",
        DEVIATED, "there is one class for all backends, and its name alone is recorded.",
        "test_a_saved_optimizer_names_no_backend"),
    Surprise("S7", "Lamb is exported but missing from the registry.",
        ABSENT, "gradwise has no Lamb; every algorithm that it has is in the registry.",
        "test_every_algorithm_is_registered"),
    Surprise("S8",
        "exclude_from_weight_decay is meant to be refused after build but is not; excluding all fails on torch.",
        DEVIATED, "it is allowed at any time, as Keras does without meaning to, and excluding everything works.",
        "test_exclusion_at_any_time_and_of_everything"),
    Surprise("S9", "A schedule with an integer initial rate is evaluated in integers: 1, 0, 0.",
        DEVIATED, "a rate is a real number however it is written.", "test_integer_rates_are_floats"),
    Surprise("S10",
        "With accumulation, schedules see calls and bias corrections see updates; averages move at every call.",
        DEVIATED, "the counts are followed; averages move once an update, as Keras's documentation says of all state.",
        "test_averages_move_once_an_update"),
    Surprise("S11", "A gradient of None on the last call of a window loses what was accumulated, but not on JAX.",
        DEVIATED, "JAX's way is followed on every backend, so no gradient is lost; torch's and NumPy's is not.",
        "test_none_on_the_last_call_loses_nothing"),
    Surprise("S12", "The moving average is taken before the constraint.",
        DEVIATED, "the average of values that are never used is of no use: it is taken after the constraint.",
        "test_averages_hold_the_constraint"),
    Surprise("S13", "On JAX a callable rate and every Python hyperparameter are frozen when the step is compiled.",
        DEVIATED, "an imperative step reads them anew on every backend, as Keras does on torch.",
        "test_hyperparameters_are_read_at_every_step"),
    Surprise("S14", "Gradients and variables of different number are cut to the shorter list, or fail inside torch.",
        DEVIATED, "it is a ValueError with both numbers before anything changes.", "test_numbers_must_match"),
    Surprise("S15", "A variable given twice is accepted, with a result that depends on the backend.",
        DEVIATED, "no result is right, so it is a ValueError.", "test_duplicates_are_refused"),
    Surprise("S16", "stateless_apply changes its inputs on torch.",
        DEVIATED, "it never does.", "test_stateless_apply_changes_no_input"),
    Surprise("S17", "An optimizer shared by two models is an error on torch and silently mixes their slots on JAX.",
        DEVIATED, "it is an error on every backend, as on torch; a part of the variables works on every backend.",
        "test_another_models_variables_are_unknown"),
    Surprise("S18", "ReduceLROnPlateau's cooldown of 1 is none, and patience 0 is 1.",
        DEVIATED, "a cooldown of c lasts c epochs; patience 0 acts as 1, as documented; there is no EarlyStopping.",
        "test_a_cooldown_lasts_as_long_as_it_says"),
    Surprise("S19", "EarlyStopping with a baseline never stops while the metric improves.",
        ABSENT, "gradwise has no training loop to stop.", "test_early_stopping_is_not_there"),
    Surprise("S20", "ModelCheckpoint(save_best_only=True, save_freq=<int>) raises TypeError.",
        ABSENT, "gradwise has no models to save.", "test_model_checkpoint_is_not_there"),
    Surprise("S21", "SwapEMAWeights leaves the averages in the model after predict().",
        ABSENT, "gradwise swaps nothing: averages(state) reads the averages.", "test_averages_are_read_without_a_swap"),
    Surprise("S22", "Keras's own test of Nesterov momentum has momentum 0, so nothing pins that branch down.",
        FOLLOWED, "the branch is right, and compared here with momentum.", "test_nesterov_with_momentum"),
    Surprise("S23", "Betas may be callables by the documentation, and fail; a rate's callable must take nothing.",
        DEVIATED, "a rate's callable may take the step or nothing; a callable beta is refused at once.",
        "test_callables_take_the_step_or_nothing"),
    Surprise("S24", "A learning rate must be a Python float: 1 and NumPy's 0.5 are refused.",
        DEVIATED, "every real number is one; a bool is not, as in Keras.", "test_every_real_number_is_a_rate"),
    Surprise("S25", "Decoupled weight decay is for every optimizer, before the update, with the unmodified rate.",
        FOLLOWED, "this is documented and tested in Keras, and useful.", "test_decay_is_decoupled_in_every_algorithm"),
)  # fmt: skip

RATE, GRADIENTS = 0.1, ([1.0, -2.0], [0.5, 3.0], [-4.0, 0.25], [2.0, 1.0])


def on_keras(test):
    return pytest.mark.keras(pytest.mark.torch(test))


def on_keras_with_jax(test):
    return pytest.mark.jax(on_keras(test))


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """What Keras does in a row on one of its backends."""
    script = Path(__file__).with_name("surprises_in_keras.py")
    home = tmp_path_factory.mktemp("keras")
    results = {}

    def in_keras(row, backend="torch"):
        if backend not in results:
            settings = {"KERAS_BACKEND": backend, "KERAS_HOME": str(home), "PYTHONPATH": str(script.parents[1])}
            done = subprocess.run(
                [sys.executable, str(script)], env=os.environ | settings, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            results[backend] = json.loads(done.stdout.splitlines()[-1])
        return results[backend][row]

    return in_keras


def stepped(optimizer, *steps, start=(1.0, 2.0), library="numpy", dtype="float64"):
    w = parameter(library, start, dtype)
    for gradient in steps:
        optimizer.apply([array(library, gradient, dtype)], [w])
    return values(w)


def close(result, expected, tolerance=1e-12):
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    return True


def test_every_surprise_has_a_row_and_every_row_its_test():
    assert [row.id for row in SURPRISES] == [f"S{number}" for number in range(1, 26)]
    tests = [row.test for row in SURPRISES]
    assert len(set(tests)) == len(tests) and all(callable(globals().get(test)) for test in tests)
    own = {name for name in globals() if name.startswith("test_")}
    assert own - set(tests) == {"test_every_surprise_has_a_row_and_every_row_its_test"}
    for row in SURPRISES:
        assert row.verdict in (FOLLOWED, DEVIATED, ABSENT)
        assert row.finding.endswith(".") and row.reason.endswith(".")


@on_keras
def test_clipnorm_means_what_the_convention_says(keras):
    def clipped(**keywords):
        variables = [np.zeros(2), np.zeros(2)]
        SGD(1.0, **keywords).apply([np.array([3.0, 4.0]), np.array([0.0, 12.0])], variables)
        return [each.tolist() for each in variables]

    theirs = keras("S1")
    assert close(clipped(clipnorm=6.5), theirs["clipnorm"], 1e-6)
    assert close(clipped(clipnorm=6.5, convention="keras2"), theirs["global_clipnorm"], 1e-6)
    assert close(clipped(global_clipnorm=6.5), theirs["global_clipnorm"], 1e-6)
    assert "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set" in theirs["both"]
    with pytest.raises(ValueError, match="only one of"):
        SGD(1.0, clipnorm=6.5, clipvalue=1.75)
    both = clipped(clipnorm=6.5, clipvalue=1.75, convention="keras2")
    assert close(both, [[-1.5, -1.75], [0.0, -1.75]])


def nadam_by_hand(schedule_decay):
    w, m, v, product = np.array([1.0, 2.0]), 0.0, 0.0, 1.0
    for t, gradient in enumerate(map(np.array, GRADIENTS), 1):
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (schedule_decay * s)) for s in (t, t + 1))
        product *= now
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        ahead = following * m / (1 - product * following) + (1 - now) * gradient / (1 - product)
        w = w - RATE * ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w


@on_keras
def test_nadam_has_its_schedule_decay(keras):
    assert close(keras("S2"), nadam_by_hand(1.0), 1e-11)
    assert close(stepped(Nadam(RATE, schedule_decay=1.0), *GRADIENTS), keras("S2"), 1e-11)
    assert close(stepped(Nadam(RATE), *GRADIENTS), nadam_by_hand(0.004), 1e-11)
    assert np.max(np.abs(nadam_by_hand(0.004) - nadam_by_hand(1.0))) > 1e-4


def is_absent(name):
    assert not any(hasattr(module, name) for module in (optimizers, schedules))
    with pytest.raises(ValueError, match=f"Unknown optimizer '{name}'"):
        optimizers.get(name)


def test_schedule_free_adamw_is_not_there():
    is_absent("ScheduleFreeAdamW")


def test_adafactor_is_not_there():
    is_absent("Adafactor")


@on_keras_with_jax
def test_bfloat16_parameters_move(keras):
    for backend in ("torch", "jax", "numpy"):
        theirs = keras("S5", backend)
        assert theirs["Adam"] == theirs["AdamW"] == [1.0]
        assert theirs["Nadam"].startswith("TypeError") if backend == "torch" else theirs["Nadam"] == "[nan]"
        for algorithm in (Adam, AdamW, Nadam):
            sixteen = {"start": [1.0], "library": backend, "dtype": "bfloat16"}
            moved = stepped(algorithm(RATE), [1.0], [1.0], [1.0], **sixteen)
            assert close(moved, stepped(algorithm(RATE), [1.0], [1.0], [1.0], start=[1.0]), 2**-7)
            assert moved[0] < 0.75


@on_keras_with_jax
def test_a_saved_optimizer_names_no_backend(keras):
    assert keras("S6", "torch") == "keras.src.backend.torch.optimizers.torch_adam"
    assert keras("S6", "jax") == "keras.optimizers"
    saved = []
    for library in ("numpy", "torch", "jax"):
        optimizer = Adam(RATE)
        optimizer.build([parameter(library, [1.0])])
        saved.append(optimizers.serialize(optimizer))
    assert saved[0] == saved[1] == saved[2]
    assert saved[0]["module"] == "gradwise.optimizers" and saved[0]["registered_name"] is None


def test_every_algorithm_is_registered():
    is_absent("Lamb")
    for algorithm in ALGORITHMS:
        assert getattr(optimizers, algorithm.__name__) is algorithm
        assert type(optimizers.get(algorithm.__name__)) is algorithm
        assert type(optimizers.deserialize(optimizers.serialize(algorithm()))) is algorithm


@on_keras
def test_exclusion_at_any_time_and_of_everything(keras):
    assert keras("S8")["one"] == [[1.0], [0.95]]
    assert keras("S8")["all"] == "RuntimeError: Tensor list must have at least one tensor."
    assert keras("S8", "numpy")["all"] is None
    for library in ("numpy", "torch"):
        optimizer, zeros = SGD(RATE, weight_decay=0.5), [array(library, [0.0], "float64")] * 2
        parameters = [parameter(library, [1.0], "float64"), parameter(library, [1.0], "float64")]
        optimizer.build(parameters)
        optimizer.exclude_from_weight_decay(var_list=parameters[:1])
        optimizer.apply(zeros, parameters)
        assert [values(each) for each in parameters] == keras("S8")["one"]
        optimizer.exclude_from_weight_decay(var_list=parameters)
        optimizer.apply(zeros, parameters)
        assert [values(each) for each in parameters] == keras("S8")["one"]


@on_keras
def test_integer_rates_are_floats(keras):
    theirs = keras("S9", "numpy")
    assert theirs["exponential"] == [1.0, 0.0, 0.0]
    assert theirs["cosine"] == [0.0, 0.0, 0.0, 0.0]
    exponential = schedules.ExponentialDecay(1, 10, 0.5)
    assert close([exponential(step) for step in (0, 5, 10)], [1.0, np.sqrt(0.5), 0.5])
    cosine = schedules.CosineDecay(0, 10, warmup_target=0.1, warmup_steps=4)
    assert close([cosine(step) for step in (0, 2, 4, 9)], [0.0, 0.05, 0.1, 0.05])


@on_keras
def test_averages_move_once_an_update(keras):
    def micro_steps(optimizer, *steps):
        w, after = np.zeros(1), []
        for gradient in steps:
            optimizer.apply([np.array([float(gradient)])], [w])
            after.append([w[0], values(optimizer.cells.averages[0])[0] if optimizer.use_ema else w[0]])
        return after

    schedule, theirs = schedules.PiecewiseConstantDecay([1], [1.0, 10.0]), keras("S10")
    assert micro_steps(SGD(schedule, gradient_accumulation_steps=2), 1, 1, 1, 1) == theirs["schedule"]
    corrected = micro_steps(Adam(RATE, gradient_accumulation_steps=2), 1, 1, 2, 3)
    assert close(corrected, theirs["correction"])

    ema = {"use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 2}
    ours = micro_steps(SGD(1.0, **ema), *[1] * 6)
    assert [average for _, average in ours] == [0.0, -1.0, -1.0, -1.5, -1.5, -2.25]
    assert [average for _, average in theirs["ema"]] == [0.0, -1.0, -1.0, -1.5, -1.75, -2.375]
    assert [w for w, _ in ours] == [w for w, _ in theirs["ema"]]
    # The parameter becomes its average at the third update: in Keras also one call before it.
    overwritten = micro_steps(SGD(1.0, ema_overwrite_frequency=3, **ema), *[1] * 6)
    assert [w for w, _ in overwritten] == [0.0, -1.0, -1.0, -2.0, -2.0, -2.25]
    assert [w for w, _ in theirs["overwritten"]] == [0.0, -1.0, -1.0, -2.0, -1.75, -2.25]


@on_keras_with_jax
def test_none_on_the_last_call_loses_nothing(keras):
    assert keras("S11", "torch") == keras("S11", "numpy") == [[-2.0], [-1.0]]
    assert keras("S11", "jax") == [[-2.0], [-1.5]]
    for library in ("numpy", "torch", "jax"):
        optimizer = SGD(1.0, gradient_accumulation_steps=2)
        parameters, one = [parameter(library, [0.0]), parameter(library, [0.0])], array(library, [1.0])
        for second in (one, None, one, one):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Gradients do not exist for variables")
                optimizer.apply([one, second], parameters)
        assert [values(each) for each in parameters] == keras("S11", "jax")


@on_keras
def test_averages_hold_the_constraint(keras):
    assert keras("S12") == {"w": [0.0], "average": [-1.0]}
    optimizer = SGD(1.0, use_ema=True)
    w = Variable(np.zeros(1), constraint=lambda value: np.maximum(value, 0.0))
    optimizer.apply([np.ones(1)], [w])
    assert {"w": values(w), "average": values(optimizer.cells.averages[0])} == {"w": [0.0], "average": [0.0]}


@on_keras_with_jax
def test_hyperparameters_are_read_at_every_step(keras):
    assert keras("S13", "jax") == {"calls": 1, "moved": True}
    assert keras("S13", "torch") == {"calls": 8, "moved": False}
    for library in ("numpy", "torch", "jax"):
        rates = iter([0.125] * 8)
        stepped(SGD(rates.__next__), *[[1.0]] * 8, start=[0.0], library=library, dtype="float32")
        assert list(rates) == []
        optimizer, w = SGD(0.125), parameter(library, [0.0])
        optimizer.apply([array(library, [8.0])], [w])
        optimizer.clipvalue = 1e-6
        optimizer.apply([array(library, [8.0])], [w])
        assert close(values(w), [-1.0], 1e-6)


@on_keras_with_jax
def test_numbers_must_match(keras):
    assert keras("S14", "torch") == "RuntimeError: Tensor lists must have the same number of tensors, got 2 and 1"
    assert keras("S14", "jax") == keras("S14", "numpy") == [[-1.0], [0.0]]
    for library in ("numpy", "torch", "jax"):
        parameters = [parameter(library, [0.0]), parameter(library, [0.0])]
        with pytest.raises(ValueError, match="Received 1 gradients for 2 variables"):
            SGD(1.0).apply([array(library, [1.0])], parameters)
        assert [values(each) for each in parameters] == [[0.0], [0.0]]


@on_keras_with_jax
def test_duplicates_are_refused(keras):
    assert close(keras("S15", "torch"), [0.6])
    assert close(keras("S15", "jax"), [0.71], 1e-6) and close(keras("S15", "numpy"), [0.71], 1e-6)
    for library in ("numpy", "torch", "jax"):
        w = parameter(library, [1.0])
        with pytest.raises(ValueError, match="is the same object as"):
            SGD(RATE, momentum=0.9).apply([array(library, [1.0])] * 2, [w, w])
        assert values(w) == [1.0]


@on_keras_with_jax
def test_stateless_apply_changes_no_input(keras):
    assert keras("S16", "torch") == [0.0]
    assert keras("S16", "jax") == [1.0]
    for library in ("numpy", "torch", "jax"):
        optimizer = SGD(1.0, momentum=0.9)
        optimizer.build([parameter(library, [1.0])])
        given, slot = array(library, [1.0]), array(library, [0.0])
        (stepped_to,), state = optimizer.stateless_apply([0, 1.0, slot], [array(library, [1.0])], [given])
        assert values(given) == [1.0] and values(slot) == [0.0]
        assert values(stepped_to) == [0.0] and values(state[2]) == [-1.0]


@on_keras_with_jax
def test_another_models_variables_are_unknown(keras):
    assert keras("S17", "torch")["shared"].startswith("ValueError: Unknown variable: ")
    assert keras("S17", "jax")["shared"] is True
    assert keras("S17", "torch")["frozen"] == "trained"
    assert keras("S17", "jax")["frozen"].startswith("ValueError: Argument `optimizer_variables` must be")
    for library in ("numpy", "torch", "jax"):
        optimizer, one = SGD(RATE, momentum=0.9), array(library, [1.0])
        first, second = ([parameter(library, [0.0]), parameter(library, [0.0])] for _ in range(2))
        optimizer.apply([one, one], first)
        with pytest.raises(ValueError, match="Unknown variable"):
            optimizer.apply([one, one], second)
        assert [values(each) for each in second] == [[0.0], [0.0]]
        optimizer.apply([one], first[1:])
        assert close([values(each) for each in first], [[-0.1], [-0.29]], 1e-6)


@on_keras
def test_a_cooldown_lasts_as_long_as_it_says(keras):
    def reductions(**keywords):
        plateau = schedules.ReduceLROnPlateau(SGD(1.0), factor=0.5, **keywords)
        return [epoch for epoch in range(10) if plateau.step(1.0)]

    theirs = keras("S18", "numpy")
    assert theirs["cooldown"] == [[2, 4, 6, 8], [2, 4, 6, 8], [2, 5, 8]]
    assert [reductions(patience=2, cooldown=each) for each in (0, 1, 2)] == [[2, 4, 6, 8], [2, 5, 8], [2, 6]]
    assert reductions(patience=0) == reductions(patience=1) == theirs["patience"]["0"] == theirs["patience"]["1"]


def test_early_stopping_is_not_there():
    is_absent("EarlyStopping")


def test_model_checkpoint_is_not_there():
    is_absent("ModelCheckpoint")


def test_averages_are_read_without_a_swap():
    is_absent("SwapEMAWeights")
    optimizer, params = SGD(1.0, use_ema=True, ema_momentum=0.5), {"w": np.zeros(1)}
    state = optimizer.init(params)
    for _ in range(2):
        params, state = optimizer.step(params, {"w": np.ones(1)}, state)
    assert optimizer.averages(state)["w"].tolist() == [-1.5]
    assert params["w"].tolist() == [-2.0]


@on_keras
def test_nesterov_with_momentum(keras):
    assert close(stepped(SGD(RATE, momentum=0.9, nesterov=True), *GRADIENTS), keras("S22"))
    assert not np.allclose(stepped(SGD(RATE, momentum=0.9), *GRADIENTS), keras("S22"), rtol=1e-3)


@on_keras_with_jax
def test_callables_take_the_step_or_nothing(keras):
    assert keras("S23", "torch")["beta"] == "ValueError: Invalid dtype: object"
    assert keras("S23", "jax")["beta"].startswith("TypeError: float() argument must be")
    for backend in ("torch", "jax"):
        assert keras("S23", backend)["of_nothing"] == [0.5, 1.5]
        assert "missing 1 required positional argument: 'step'" in keras("S23", backend)["of_the_step"]
    assert stepped(SGD(lambda: 0.5), [1.0, 1.0]) == stepped(SGD(lambda step: 0.5), [1.0, 1.0]) == [0.5, 1.5]
    with pytest.raises(ValueError, match="Adam: `beta_1` must be a number in"):
        Adam(beta_1=lambda: 0.9)


@on_keras_with_jax
def test_every_real_number_is_a_rate(keras):
    theirs = keras("S24")
    for refused in ("int", "float32", "0-d", "bool"):
        assert theirs[refused].startswith("ValueError: Argument `learning_rate` should be float")
    assert theirs["float64"] == [0.5, 1.5]
    assert theirs["momentum"] == "ValueError: `momentum` must be a float between [0, 1]."
    halves = [0.5, np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5)]
    halves += [array("torch", 0.5), array("jax", 0.5), Variable(np.array(0.5))]
    assert all(stepped(SGD(rate, momentum=0), [1.0, 1.0]) == [0.5, 1.5] for rate in halves)
    assert all(type(SGD(rate).learning_rate) is float for rate in [*halves, 1, np.int64(1)])
    assert stepped(SGD(1), [1.0, 1.0]) == [0.0, 1.0]
    for rate in (True, np.True_, array("torch", True, "bool"), array("jax", True, "bool")):
        with pytest.raises(ValueError, match="SGD: `learning_rate` must be a number in"):
            SGD(rate)


@on_keras
def test_decay_is_decoupled_in_every_algorithm(keras):
    theirs = keras("S25")
    as_in_keras = [algorithm for algorithm in ALGORITHMS if "keras" in algorithm.conventions]
    assert set(theirs) == {algorithm.__name__ for algorithm in as_in_keras}
    for algorithm in as_in_keras:
        keras_3 = {"schedule_decay": 1.0} if algorithm is Nadam else {}
        ours = stepped(algorithm(RATE, weight_decay=0.5, **keras_3), *GRADIENTS)
        assert close(ours, theirs[algorithm.__name__], 1e-11), algorithm
