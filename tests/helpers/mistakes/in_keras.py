"""In the front end of Keras, on whichever backend."""

import keras
import numpy as np

import gradwise
from gradwise import optimizers as core_optimizers
from gradwise import schedules as core_schedules
from gradwise.frontends import keras as optimizers


def _model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
    return model


def _gradients(model):
    return [keras.ops.ones(variable.shape) for variable in model.trainable_variables]


def argument_misspelt():
    """An argument that is misspelt."""
    optimizers.Adam(learning_rte=1e-3)


def arguments_of_torch():
    """Arguments as torch calls them."""
    optimizers.Adam(1e-3, betas=(0.9, 0.95), eps=1e-6)


def argument_of_the_core():
    """An argument that only the core has."""
    optimizers.Adam(1e-3, convention="torch")


def argument_unlike_any():
    """An argument that is like none."""
    optimizers.SGD(0.1, warmup_steps=100)


def parameters_first():
    """The model in the place of the rate."""
    optimizers.Adam(_model())


def class_of_schedules():
    """A class of schedules as rate."""
    optimizers.Adam(core_schedules.CosineDecay)


def class_of_keras_schedules():
    """A class of Keras's schedules as rate."""
    optimizers.Adam(keras.optimizers.schedules.CosineDecay)


def schedule_argument():
    """An argument of a schedule that is misspelt."""
    optimizers.schedules.CosineDecay(0.1, decay_step=100)


def schedule_argument_of_optax():
    """An argument of a schedule as optax calls it."""
    optimizers.schedules.ExponentialDecay(init_value=0.1, decay_steps=100, decay_rate=0.9)


def schedule_argument_missing():
    """An argument of a schedule that is missing."""
    optimizers.schedules.CosineDecay(0.1)


def schedule_out_of_range():
    """An argument of a schedule that is out of its range."""
    optimizers.schedules.CosineDecay(0.1, decay_steps=-100)


def schedule_attribute():
    """An attribute of a schedule that is misspelt."""
    schedule = optimizers.schedules.CosineDecay(0.1, 100)
    schedule.warmpu_steps = 10


def variables_of_the_core():
    """Variables that are given to an optimizer of the core."""
    core_optimizers.Adam(1e-3).build(_model().trainable_variables)


def variable_as_rate_of_the_core():
    """A variable as the rate of an optimizer of the core."""
    core_optimizers.Adam(keras.Variable(1e-3, name="rate"))


def model_of_the_core():
    """A model as the rate of an optimizer of the core."""
    core_optimizers.Adam(_model())


def rates_by_name():
    """A dictionary of rates."""
    optimizers.Adam({"kernel": 1e-3, "bias": 1e-2})


def rate_as_text():
    """A rate as text."""
    optimizers.Adam("1e-3")


def beta_out_of_range():
    """A hyperparameter that is out of its range."""
    optimizers.Adam(beta_1=1.5)


def attribute_misspelt():
    """An attribute that is misspelt."""
    optimizer = optimizers.Adam(1e-3)
    optimizer.learning_rte = 1e-4


def attribute_of_torch():
    """An attribute as torch calls its argument."""
    optimizer = optimizers.Adam(1e-3)
    optimizer.betas = (0.9, 0.99)


def attribute_read():
    """An attribute that is misspelt, and read."""
    optimizer = optimizers.Adam(1e-3)
    print(optimizer.beta1)


def iterations_set():
    """The number of steps, set."""
    optimizer = optimizers.Adam(1e-3)
    optimizer.iterations = 100


def order_of_keras_2():
    """Keras 2's order of arguments: SGD(lr, momentum, decay, nesterov)."""
    optimizers.SGD(0.01, 0.9, 1e-6, True)


def a_script_of_keras_2():
    """Keras 2's arguments."""
    optimizers.Adam(lr=1e-3, decay=1e-4, epsilon=None)


def excluded_pattern():
    """A pattern that is in no name."""
    model = _model()
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["norm"])
    optimizer.build(model.trainable_variables)


def excluded_string():
    """A pattern that is in no list."""
    optimizers.AdamW(1e-3).exclude_from_weight_decay(var_names="bias")


def excluded_names():
    """Names in var_list."""
    optimizers.AdamW(1e-3).exclude_from_weight_decay(var_list=["bias"])


def excluded_variable_of_another():
    """A variable in var_list that is another model's."""
    model, other = _model(), _model()
    optimizer = optimizers.AdamW(1e-3)
    optimizer.exclude_from_weight_decay(var_list=[other.trainable_variables[1]])
    optimizer.build(model.trainable_variables)


def model_in_place_of_variables():
    """A model in the place of its variables."""
    optimizers.Adam(1e-3).build(_model())


def two_models():
    """One optimizer for two models."""
    first, second = _model(), _model()
    optimizer = optimizers.Adam(1e-3)
    optimizer.build(first.trainable_variables)
    optimizer.apply(_gradients(second), second.trainable_variables)


def gradients_too_few():
    """Fewer gradients than variables."""
    model = _model()
    optimizers.Adam(1e-3).apply(_gradients(model)[:1], model.trainable_variables)


def gradients_before_build():
    """Gradients without variables, before the optimizer is built."""
    optimizers.Adam(1e-3).apply(_gradients(_model()))


def gradient_of_another_shape():
    """A gradient of another shape."""
    model = _model()
    kernel, bias = _gradients(model)
    optimizers.Adam(1e-3).apply([keras.ops.transpose(kernel), bias], model.trainable_variables)


def step_of_torch():
    """step, as in torch."""
    optimizers.Adam(1e-3).step()


def class_misspelt():
    """A class that is misspelt."""
    optimizers.NAdam(1e-3)


def name_misspelt():
    """An optimizer by a name that is misspelt."""
    optimizers.get("adm")


def schedule_set_over():
    """A number for a rate that is a schedule."""
    optimizer = optimizers.Adam(core_schedules.CosineDecay(1e-3, 100))
    optimizer.learning_rate = 1e-4


def wrapped_class():
    """A class in place of an optimizer, wrapped."""
    optimizers.wrap(gradwise.optimizers.Adam)


def wrapped_own():
    """An optimizer of Keras, wrapped."""
    optimizers.wrap(keras.optimizers.Adam(1e-3))


def wrapped_with_state():
    """An optimizer that has state, wrapped."""
    optimizer = gradwise.optimizers.Adam(1e-3)
    optimizer.build([np.ones(2)])
    optimizers.wrap(optimizer)


def wrapped_attribute():
    """A hyperparameter of a wrapped optimizer, set on the outside."""
    optimizer = optimizers.wrap(gradwise.optimizers.Adam(1e-3))
    optimizer.beta_1 = 0.5


def wrapped_rules():
    """A rule for nothing, wrapped."""
    rules = gradwise.optimizers.MultiOptimizer(
        {"norm": gradwise.optimizers.SGD(0.1)}, default=gradwise.optimizers.AdamW(1e-3)
    )
    optimizers.wrap(rules).build(_model().trainable_variables)


def override_unheard():
    """A method that a step here does not call, overridden."""

    class Mine(optimizers.Adam):
        def _clip_gradients(self, grads):
            return grads


def multi_optimizer():
    """Keras's MultiOptimizer as it is called elsewhere."""
    optimizers.MultiOptimizer({"bias": optimizers.SGD(0.1)}, default=optimizers.Adam(1e-3))
