"""What Keras 3.15.1 does in each row of test_surprises.py: `KERAS_BACKEND=torch python surprises_in_keras.py`.

Prints one JSON object, from the row to what Keras did there. An exception is its type and its message.
"""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import keras
import numpy as np
from keras import optimizers
from keras.optimizers import schedules
from rules import all_facts

BACKEND = keras.backend.backend()
RATE, GRADIENTS = 0.1, ([1.0, -2.0], [0.5, 3.0], [-4.0, 0.25], [2.0, 1.0])


def variable(value, dtype=None, **keywords):
    return keras.Variable(np.asarray(value, "float64"), dtype=dtype or keras.config.floatx(), **keywords)


def tensor(value, dtype=None):
    return keras.ops.convert_to_tensor(np.asarray(value, "float64"), dtype=dtype or keras.config.floatx())


def values(array):
    return keras.ops.convert_to_numpy(keras.ops.cast(array, keras.config.floatx())).tolist()


def outcome(function):
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def stepped(optimizer, *steps, start=(1.0, 2.0), dtype=None):
    """The parameter after a step with each gradient."""
    parameter = variable(start, dtype)
    for gradient in steps:
        optimizer.apply([tensor(gradient, dtype)], [parameter])
    return values(parameter)


def per_variable_clipnorm():
    def clipped(**keywords):
        variables = [variable([0.0, 0.0]), variable([0.0, 0.0])]
        optimizers.SGD(1.0, **keywords).apply([tensor([3.0, 4.0]), tensor([0.0, 12.0])], variables)
        return [values(each) for each in variables]

    both = outcome(lambda: clipped(clipnorm=6.5, clipvalue=1.75))
    return {"clipnorm": clipped(clipnorm=6.5), "global_clipnorm": clipped(global_clipnorm=6.5), "both": both}


def nadam():
    return stepped(optimizers.Nadam(RATE), *GRADIENTS)


def all_bfloat16():
    def moved(algorithm):
        return outcome(lambda: stepped(algorithm(RATE), [1.0], [1.0], [1.0], start=[1.0], dtype="bfloat16"))

    return {"Adam": moved(optimizers.Adam), "AdamW": moved(optimizers.AdamW), "Nadam": str(moved(optimizers.Nadam))}


def recorded_module():
    return optimizers.serialize(optimizers.Adam())["module"]


def everything_excluded():
    optimizer = optimizers.SGD(RATE, weight_decay=0.5)
    parameters = [variable([1.0]), variable([1.0])]
    optimizer.build(parameters)
    optimizer.exclude_from_weight_decay(var_list=parameters[:1])
    optimizer.apply([tensor([0.0])] * 2, parameters)
    optimizer.exclude_from_weight_decay(var_list=parameters)
    return {
        "one": [values(each) for each in parameters],
        "all": outcome(lambda: optimizer.apply([tensor([0.0])] * 2, parameters)),
    }


def integer_rates():
    exponential = schedules.ExponentialDecay(1, 10, 0.5)
    cosine = schedules.CosineDecay(0, 10, warmup_target=0.1, warmup_steps=4)
    return {
        "exponential": [float(exponential(step)) for step in (0, 5, 10)],
        "cosine": [float(cosine(step)) for step in (0, 2, 4, 9)],
    }


def accumulation():
    def micro_steps(optimizer, *steps):
        parameter, after = variable([0.0]), []
        for gradient in steps:
            optimizer.apply([tensor([gradient])], [parameter])
            averages = optimizer._model_variables_moving_average if optimizer.use_ema else [parameter]
            after.append([values(parameter)[0], values(averages[0])[0]])
        return after

    schedule = schedules.PiecewiseConstantDecay([1], [1.0, 10.0])
    ema = {"use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 2}
    return {
        "schedule": micro_steps(optimizers.SGD(schedule, gradient_accumulation_steps=2), 1, 1, 1, 1),
        "correction": micro_steps(optimizers.Adam(RATE, gradient_accumulation_steps=2), 1, 1, 2, 3),
        "ema": micro_steps(optimizers.SGD(1.0, **ema), 1, 1, 1, 1, 1, 1),
        "overwritten": micro_steps(optimizers.SGD(1.0, ema_overwrite_frequency=3, **ema), 1, 1, 1, 1, 1, 1),
    }


def none_on_the_boundary():
    optimizer, parameters = optimizers.SGD(1.0, gradient_accumulation_steps=2), [variable([0.0]), variable([0.0])]
    for second in (1.0, None, 1.0, 1.0):
        optimizer.apply([tensor([1.0]), second and tensor([second])], parameters)
    return [values(each) for each in parameters]


def ema_and_constraint():
    optimizer, parameter = optimizers.SGD(1.0, use_ema=True), variable([0.0])
    parameter.constraint = keras.constraints.NonNeg()
    optimizer.apply([tensor([1.0])], [parameter])
    return {"w": values(parameter), "average": values(optimizer._model_variables_moving_average[0])}


def model(optimizer=None):
    keras.utils.set_random_seed(0)
    built = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    built.compile(optimizer=optimizer, loss="mse")
    return built


def fit(trained, epochs, target=9.0):
    trained.fit(np.ones((4, 1)), np.full((4, 1), target), batch_size=1, epochs=epochs, shuffle=False, verbose=0)
    return values(trained.trainable_variables[0])[0][0]


def frozen_at_trace_time():
    calls = []
    fit(model(optimizers.SGD(lambda: calls.append(0) or 0.125)), epochs=2)
    optimizer = optimizers.SGD(0.125)
    trained = model(optimizer)
    before = fit(trained, epochs=1)
    optimizer.clipvalue = 1e-6
    after = fit(trained, epochs=1, target=90.0)
    return {"calls": len(calls), "moved": abs(after - before) > 1e-3}


def too_few_gradients():
    optimizer, parameters = optimizers.SGD(1.0), [variable([0.0]), variable([0.0])]
    error = outcome(lambda: optimizer.apply([tensor([1.0])], parameters) and None)
    return error or [values(each) for each in parameters]


def twice_the_same():
    optimizer, parameter = optimizers.SGD(RATE, momentum=0.9), variable([1.0])
    optimizer.apply([tensor([1.0])] * 2, [parameter, parameter])
    return values(parameter)


def stateless_inputs():
    optimizer, parameter = optimizers.SGD(1.0, momentum=0.9), variable([1.0])
    optimizer.build([parameter])
    given, state = tensor([1.0]), [tensor(values(each), str(each.dtype)) for each in optimizer.variables]
    optimizer.stateless_apply(state, [tensor([1.0])], [given])
    return values(given)


def another_model():
    optimizer = optimizers.SGD(0.125, momentum=0.9)
    first, second = model(optimizer), model(optimizer)
    fit(first, epochs=1)
    shared = outcome(lambda: fit(second, epochs=1) != 1.0)
    optimizer = optimizers.SGD(0.125, momentum=0.9)
    frozen = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1), keras.layers.Dense(1)])
    frozen.compile(optimizer=optimizer, loss="mse")
    fit(frozen, epochs=1)
    frozen.layers[0].trainable = False
    frozen.compile(optimizer=optimizer, loss="mse")
    return {"shared": shared, "frozen": str(outcome(lambda: fit(frozen, epochs=1) and "trained"))}


def cooldown():
    def reductions(**keywords):
        callback = keras.callbacks.ReduceLROnPlateau(factor=0.5, **keywords)
        optimizer = optimizers.SGD(1.0)
        callback.set_model(SimpleNamespace(optimizer=optimizer))
        callback.on_train_begin()
        found, before = [], 1.0
        for epoch in range(10):
            callback.on_epoch_end(epoch, {"val_loss": 1.0})
            if float(optimizer.learning_rate) != before:
                found.append(epoch)
                before = float(optimizer.learning_rate)
        return found

    by_patience = {str(patience): reductions(patience=patience) for patience in (0, 1)}
    return {"cooldown": [reductions(patience=2, cooldown=each) for each in (0, 1, 2)], "patience": by_patience}


def nesterov():
    return stepped(optimizers.SGD(RATE, momentum=0.9, nesterov=True), *GRADIENTS)


def callables():
    return {
        "beta": outcome(lambda: stepped(optimizers.Adam(RATE, beta_1=lambda: 0.9), [1.0, 1.0])),
        "of_nothing": outcome(lambda: stepped(optimizers.SGD(lambda: 0.5), [1.0, 1.0])),
        "of_the_step": outcome(lambda: stepped(optimizers.SGD(lambda step: 0.5), [1.0, 1.0])),
    }


def rates():
    given = {"int": 1, "float32": np.float32(0.5), "0-d": np.array(0.5), "bool": True, "float64": np.float64(0.5)}
    taken = {kind: outcome(lambda rate=rate: stepped(optimizers.SGD(rate), [1.0, 1.0])) for kind, rate in given.items()}
    return {**taken, "momentum": outcome(lambda: stepped(optimizers.SGD(1.0, momentum=0), [1.0, 1.0]))}


def decoupled_decay():
    names = [name for name, facts in all_facts().items() if facts.keras]
    return {name: stepped(getattr(optimizers, name)(RATE, weight_decay=0.5), *GRADIENTS) for name in names}


ROWS = {
    "S1": (per_variable_clipnorm, "torch"),
    "S2": (nadam, "torch"),
    "S5": (all_bfloat16, "torch jax numpy"),
    "S6": (recorded_module, "torch jax"),
    "S8": (everything_excluded, "torch numpy"),
    "S9": (integer_rates, "numpy"),
    "S10": (accumulation, "torch"),
    "S11": (none_on_the_boundary, "torch jax numpy"),
    "S12": (ema_and_constraint, "torch"),
    "S13": (frozen_at_trace_time, "torch jax"),
    "S14": (too_few_gradients, "torch jax numpy"),
    "S15": (twice_the_same, "torch jax numpy"),
    "S16": (stateless_inputs, "torch jax"),
    "S17": (another_model, "torch jax"),
    "S18": (cooldown, "numpy"),
    "S22": (nesterov, "torch"),
    "S23": (callables, "torch jax"),
    "S24": (rates, "torch"),
    "S25": (decoupled_decay, "torch"),
}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if BACKEND == "torch":
        # The only backend on which Keras computes all of this in double precision.
        keras.config.set_floatx("float64")
    mine = {row: function for row, (function, backends) in ROWS.items() if BACKEND in backends.split()}
    print(json.dumps({row: outcome(function) for row, function in mine.items()}))
