"""With arrays that change in place, and what all ways have in common."""

import numpy as np

import gradwise
from gradwise import optimizers, schedules
from gradwise.backends import Variable, ops
from gradwise.optimizers import SGD, Adam, AdamW, MultiOptimizer, Nadam, Optimizer, RMSprop

# ---------------------------------------------------------------- names that match nothing


def pattern_without_names():
    """A pattern, where parameters have no names."""
    kernel, bias = np.ones((2, 2)), np.ones(2)
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([np.ones((2, 2)), np.ones(2)], [kernel, bias])


def pattern_misspelt():
    """A pattern that is in no name."""
    params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["biases"])
    optimizer.apply({name: np.ones_like(array) for name, array in params.items()}, params)


def pattern_as_string():
    """A pattern that is in no list."""
    AdamW(1e-3).exclude_from_weight_decay(var_names="bias")


def pattern_not_regular():
    """A pattern that is no regular expression."""
    AdamW(1e-3).exclude_from_weight_decay(var_names=["*bias"])


def excluded_names():
    """Names in var_list."""
    AdamW(1e-3, weight_decay=0.1).exclude_from_weight_decay(var_list=["bias"])


def excluded_copy():
    """A parameter in var_list that is another object."""
    kernel, bias = np.ones((2, 2)), np.ones(2)
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[bias.copy()])
    optimizer.apply([np.ones((2, 2)), np.ones(2)], [kernel, bias])


def excluded_after_build():
    """The same, once the optimizer has made steps."""
    kernel, bias = np.ones((2, 2)), np.ones(2)
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.apply([np.ones((2, 2)), np.ones(2)], [kernel, bias])
    optimizer.exclude_from_weight_decay(var_list=[bias.copy()])
    optimizer.apply([np.ones((2, 2)), np.ones(2)], [kernel, bias])


def excluded_in_pure_steps():
    """Arrays in var_list of pure steps."""
    params = {"dense": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}}
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[params["dense"]["bias"]])
    state = optimizer.init(params)
    optimizer.step(params, params, state)


def pattern_in_pure_steps():
    """A pattern that is in no path of pure steps."""
    params = {"dense": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}}
    optimizer = AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["dense.bias.$"])
    optimizer.init(params)


def gradient_of_no_parameter():
    """A gradient by a name that is none."""
    params = {"kernel": np.ones(2), "bias": np.ones(2)}
    SGD(0.1).apply({"kernel": np.ones(2), "biass": np.ones(2)}, params)


def gradients_by_name_alone():
    """Gradients by name for parameters without names."""
    SGD(0.1).apply({"kernel": np.ones(2)}, [np.ones(2)])


def one_name_twice():
    """One name for two parameters."""
    Adam(0.1).build([("kernel", np.ones(2)), ("kernel", np.ones(2))])


# ---------------------------------------------------------------- attributes and arguments


def attribute_misspelt():
    """An attribute that is misspelt."""
    optimizer = Adam(0.1)
    optimizer.learning_rte = 0.01


def attribute_of_torch():
    """An attribute as torch calls its argument."""
    optimizer = Adam(0.1)
    optimizer.betas = (0.9, 0.99)


def attribute_unlike_any():
    """An attribute that is like none."""
    optimizer = SGD(0.1)
    optimizer.warmup = 100


def attribute_read():
    """An attribute that is misspelt, and read."""
    optimizer = Adam(0.1)
    print(optimizer.beta1)


def method_misspelt():
    """A method that is misspelt."""
    Adam(0.1).apply_gradient([(np.ones(2), np.ones(2))])


def attribute_of_a_scheduler():
    """A scheduler as an attribute."""
    optimizer = Adam(0.1)
    optimizer.lr_scheduler = schedules.CosineDecay(0.1, 100)


def attribute_deleted():
    """A hyperparameter that is deleted."""
    optimizer = Adam(0.1)
    del optimizer.beta_1


def attribute_of_another():
    """A hyperparameter that another algorithm has."""
    optimizer = SGD(0.1)
    optimizer.beta_1 = 0.5


def iterations_set():
    """The number of steps, set."""
    optimizer = Adam(0.1)
    optimizer.iterations = 100


def argument_misspelt():
    """An argument that is misspelt."""
    Adam(learning_rte=0.01)


def arguments_of_torch():
    """Arguments as torch calls them."""
    Adam(1e-3, betas=(0.9, 0.95), eps=1e-6)


def argument_of_optax():
    """An argument as optax calls it."""
    Adam(1e-3, b1=0.9)


def argument_unlike_any():
    """An argument that is like none."""
    SGD(0.1, warmup_steps=100)


def clipping_of_torch():
    """Clipping as it is called around torch."""
    Adam(1e-3, max_grad_norm=1.0)


def too_many_arguments():
    """Too many arguments by position."""
    SGD(0.1, 0.9, True, None, None, None, None, False, 0.99, None, None, None, "sgd", "keras")


def convention_misspelt():
    """A convention by another name."""
    Adam(convention="pytorch")


def convention_unknown():
    """A convention that the algorithm has not."""
    AdamW(convention="keras2")


def argument_of_another_convention():
    """An argument of another convention."""
    SGD(0.1, dampening=0.5)


def switched_on_late():
    """An option that needs slots, once these are made."""
    optimizer = Adam(0.1)
    optimizer.build([np.ones(2)])
    optimizer.amsgrad = True


def hyperparameter_out_of_range():
    """A hyperparameter that is out of its range."""
    Adam(beta_1=1.5)


def hyperparameter_as_text():
    """A number as text."""
    Adam("1e-3")


def weight_decay_of_nothing():
    """Several ways of clipping at once."""
    Adam(clipnorm=1.0, clipvalue=0.5)


# ---------------------------------------------------------------- wrong things taken for right


def class_of_schedules():
    """A class of schedules as rate."""
    Adam(schedules.CosineDecay)


def rates_by_name():
    """A dictionary of rates."""
    Adam(learning_rate={"kernel": 1e-3, "bias": 1e-2})


def rates_in_list():
    """A list of rates."""
    Adam([1e-3, 1e-2])


def no_rates():
    """An empty dictionary of rates."""
    Adam(learning_rate={})


def rates_of_a_step():
    """A dictionary of rates for a pure step."""
    params = {"kernel": np.ones(2), "bias": np.ones(2)}
    optimizer = Adam(1e-3)
    optimizer.step(params, params, optimizer.init(params), learning_rate={"kernel": 1e-3, "bias": 1e-2})


def schedule_of_a_step():
    """A schedule for a pure step."""
    params = {"kernel": np.ones(2), "bias": np.ones(2)}
    optimizer = Adam(1e-3)
    optimizer.step(params, params, optimizer.init(params), learning_rate=schedules.CosineDecay(0.1, 100))


def parameters_first():
    """Parameters in the place of the rate."""
    Adam([np.ones(2), np.ones(3)])


def optimizer_as_rate():
    """An optimizer as rate."""
    Adam(SGD(0.1))


def schedule_of_two():
    """A schedule of two arguments."""
    Adam(lambda step, total: 0.1 * step / total)


def schedule_of_text():
    """A schedule that gives no number."""
    optimizer = Adam(lambda step: "0.1")
    optimizer.apply([np.ones(2)], [np.ones(2)])


def schedule_negative():
    """A schedule that falls below zero."""
    optimizer = SGD(lambda step: 0.1 - step)
    weights = np.ones(2)
    for _ in range(3):
        optimizer.apply([np.ones(2)], [weights])


def schedule_argument():
    """An argument of a schedule that is misspelt."""
    schedules.CosineDecay(0.1, decay_step=100)


def schedule_misspelt():
    """A schedule that is misspelt."""
    schedules.CosineDecy(0.1, 100)


def schedule_attribute():
    """An attribute of a schedule that is misspelt."""
    schedule = schedules.CosineDecay(0.1, 100)
    schedule.warmpu_steps = 10


def schedule_attribute_of_another_name():
    """An attribute of a schedule as optax calls it."""
    schedule = schedules.CosineDecay(0.1, 100)
    schedule.end_value = 0.01


def schedule_out_of_range():
    """An argument of a schedule that is out of its range."""
    schedules.CosineDecay(0.1, decay_steps=-100)


def plateau_attribute():
    """An attribute of a plateau that is misspelt."""
    plateau = schedules.ReduceLROnPlateau(Adam(0.1))
    plateau.patienc = 3


def plateau_argument():
    """An argument of a plateau that is misspelt."""
    schedules.ReduceLROnPlateau(Adam(0.1), patienc=3)


def used_up():
    """Parameters from a generator that was used before."""
    layers = [{"kernel": np.ones(2)}, {"kernel": np.ones(2)}]
    parameters = (layer["kernel"] for layer in layers)
    print(sum(parameter.size for parameter in parameters))
    Adam(0.1).build(parameters)


def pairs_used_up():
    """Pairs of gradients and parameters that were read before."""
    pairs = zip([np.ones(2)], [np.ones(2)], strict=True)
    norm = sum((gradient**2).sum() for gradient, _ in pairs) ** 0.5
    print(norm)
    SGD(0.1).apply_gradients(pairs)


def one_array():
    """An array in place of a list of arrays."""
    SGD(0.1).apply(np.ones((2, 3)), np.ones((2, 3)))


def one_pair():
    """A pair in place of a list of pairs."""
    SGD(0.1).apply_gradients((np.ones(2), np.ones(2)))


def built_twice():
    """One optimizer for two models."""
    first, second = [np.ones(2)], [np.ones(3)]
    optimizer = Adam(0.1)
    optimizer.build(first)
    optimizer.build(second)


def applied_to_another():
    """A step for another model than the first one."""
    first, second = [np.ones(2)], [np.ones(2)]
    optimizer = Adam(0.1)
    optimizer.apply([np.ones(2)], first)
    optimizer.apply([np.ones(2)], second)


def replaced_parameter():
    """A parameter that was made anew."""
    weights = np.ones(2)
    optimizer = SGD(0.1)
    for _ in range(2):
        optimizer.apply([np.ones(2)], [weights])
        weights = weights * 0.5


def parameter_twice():
    """A parameter that is given twice."""
    weights = np.ones(2)
    SGD(0.1).apply([np.ones(2), np.ones(2)], [weights, weights])


def swapped():
    """Parameters and gradients in the other order."""
    weights, gradient = np.ones((2, 3)), np.ones((2, 3))
    gradient.flags.writeable = False
    SGD(0.1).apply([weights], [gradient])


def transposed():
    """A gradient of another shape."""
    SGD(0.1).apply({"kernel": np.ones((3, 2))}, {"kernel": np.ones((2, 3))})


def one_gradient_missing():
    """Fewer gradients than parameters."""
    SGD(0.1).apply([np.ones(2)], [np.ones(2), np.ones(3)])


def no_gradients():
    """No gradient at all."""
    SGD(0.1).apply([None, None], [np.ones(2), np.ones(3)])


def whole_numbers():
    """Parameters that are whole numbers."""
    SGD(0.1).apply([np.ones(2)], [np.array([1, 2])])


def plain_lists():
    """Lists of numbers as parameters."""
    SGD(0.1).apply([[1.0, 1.0]], [[1.0, 2.0]])


def step_of_torch():
    """A step as in torch."""
    optimizer = Adam(0.1)
    optimizer.build([np.ones(2)])
    optimizer.step()


def zero_grad():
    """zero_grad, as in torch."""
    optimizer = Adam(0.1)
    optimizer.zero_grad()


def param_groups():
    """param_groups, as in torch."""
    optimizer = Adam(0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.01


def state_dict():
    """state_dict, as in torch."""
    optimizer = Adam(0.1)
    optimizer.state_dict()


def minimize():
    """minimize, as in TensorFlow."""
    optimizer = Adam(0.1)
    optimizer.minimize(lambda: 0.0, [np.ones(2)])


def get_weights():
    """get_weights, as in Keras 2."""
    Adam(0.1).get_weights()


def state_as_parameters():
    """A state in place of parameters."""
    params = {"w": np.ones(2)}
    optimizer = Adam(0.1)
    state = optimizer.init(params)
    optimizer.step(state, params, params)


def order_of_optax():
    """A state before parameters, as in optax."""
    params, grads = {"w": np.ones(2)}, {"w": np.ones(2)}
    optimizer = Adam(0.1)
    state = optimizer.init(params)
    optimizer.step(grads, state, params)


def step_without_state():
    """A pure step without a state."""
    params, grads = {"w": np.ones(2)}, {"w": np.ones(2)}
    Adam(0.1).step(params, grads)


def state_of_another():
    """A state of another optimizer."""
    params, grads = {"w": np.ones(2)}, {"w": np.ones(2)}
    state = SGD(0.1, momentum=0.9).init(params)
    Adam(0.1).step(params, grads, state)


def gradients_of_another_tree():
    """Gradients in another tree than parameters."""
    params, grads = {"w": np.ones(2), "b": np.ones(2)}, {"w": np.ones(2)}
    optimizer = Adam(0.1)
    optimizer.step(params, grads, optimizer.init(params))


def rate_in_state():
    """The rate of a pure step, set on the optimizer's state."""
    params = {"w": np.ones(2)}
    optimizer = Adam(schedules.CosineDecay(0.1, 100))
    optimizer.with_learning_rate(optimizer.init(params), 0.01)


def scalar_for_slot():
    """A number that is assigned to a slot."""

    class Counting(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.counts = self.add_optimizer_variables(variables, "count")

        def update_step(self, gradient, variable, learning_rate):
            self.assign(self.counts[self.variable_index(variable)], 1.0)
            self.assign_sub(variable, gradient * learning_rate)

    Counting(0.1).apply([np.ones(2)], [np.ones(2)])


def scalar_for_variable():
    """A number that is assigned to one of the optimizer's variables."""
    optimizer = Adam(0.1)
    optimizer.apply([np.ones(2)], [np.ones(2)])
    optimizer.variables[2].assign(0.5)


def reading_averages():
    """Averages that are not kept."""
    params = {"w": np.ones(2)}
    optimizer = Adam(0.1)
    optimizer.averages(optimizer.init(params))


def averages_of_parameters():
    """Parameters in the place of a state whose averages are read."""
    params = {"w": np.ones(2)}
    Adam(0.1, use_ema=True).averages(params)


def rate_of_parameters():
    """Parameters in the place of a state whose rate is read."""
    params = {"w": np.ones(2)}
    Adam(0.1).learning_rate_at(params)


def memory_of_shapes():
    """Shapes alone, whose memory is asked for."""
    Adam(0.1).memory({"kernel": (1000, 10), "bias": (10,)})


def plan_of_shapes():
    """Shapes alone, whose plan is asked for."""
    MultiOptimizer({"bias$": SGD(0.1)}, default=Adam(0.1)).plan({"kernel": (1000, 10), "bias": (10,)})


def class_for_optimizer():
    """A class of optimizers in place of an optimizer."""
    optimizers.get(Adam)


def name_misspelt():
    """An optimizer by a name that is misspelt."""
    optimizers.get("adm")


# ---------------------------------------------------------------- as in Keras 2


def order_of_keras_2():
    """Keras 2's order of arguments: SGD(lr, momentum, decay, nesterov)."""
    SGD(0.01, 0.9, 1e-6, True)


def epsilon_in_its_old_place():
    """Keras 2's order of arguments: RMSprop(lr, rho, epsilon, decay)."""
    RMSprop(0.001, 0.9, None, 0.0)


def schedule_decay_in_its_old_place():
    """Keras 2's order of arguments: Nadam(..., epsilon, schedule_decay)."""
    Nadam(0.002, 0.9, 0.999, 1e-8, 0.004)


def a_script_of_keras_2():
    """Keras 2's arguments."""
    Adam(lr=1e-3, decay=1e-4, epsilon=None)


def both_rates():
    """A rate under both of its names."""
    Adam(1e-3, lr=1e-4)


# ---------------------------------------------------------------- installing and importing


def optimizer_misspelt():
    """An optimizer that is misspelt."""
    gradwise.Adan(1e-3)


def letters_exchanged():
    """An optimizer with two letters exchanged."""
    _ = optimizers.Adma


def optimizer_of_torch():
    """An optimizer under torch's name."""
    optimizers.NAdam(1e-3)


def module_of_an_algorithm():
    """A module for each algorithm, as in Keras."""
    optimizers.adamw.AdamW(1e-3)


def front_end_at_the_top():
    """A front end that was not imported."""
    gradwise.torch.Adam(1e-3)


def import_misspelt():
    """An import that is misspelt."""
    from gradwise.optimizers import AdamX  # noqa: F401


# ---------------------------------------------------------------- several rules


def claimed_twice():
    """Two rules for one parameter."""
    params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
    optimizer = MultiOptimizer({"dense": SGD(0.1), "bias$": Adam(1e-3)})
    optimizer.init(params)


def claimed_by_none():
    """No rule for a parameter, and no default."""
    params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
    MultiOptimizer({"bias$": Adam(1e-3)}).init(params)


def claiming_nothing():
    """A rule for nothing."""
    params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
    MultiOptimizer({"embedding": SGD(0.1)}, default=Adam(1e-3)).init(params)


def claiming_without_names():
    """Rules by name for parameters without names."""
    optimizer = MultiOptimizer({"bias$": SGD(0.1)}, default=Adam(1e-3))
    optimizer.apply([np.ones(2)], [np.ones(2)])


def path_that_is_none():
    """A rule for a path that does not exist."""
    params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
    MultiOptimizer([(["dense/biases"], SGD(0.1))], default=Adam(1e-3)).init(params)


def rule_as_rate():
    """A rate in place of a rule."""
    MultiOptimizer({"bias$": 0.1}, default=Adam(1e-3))


def hyperparameter_of_a_rule():
    """A hyperparameter of a rule that is misspelt."""
    MultiOptimizer({"bias$": {"weight_deacy": 0.0}}, default=AdamW(1e-3))


def hyperparameters_without_default():
    """Hyperparameters of a rule without a default."""
    MultiOptimizer({"bias$": {"weight_decay": 0.0}})


def one_optimizer():
    """An optimizer in place of rules."""
    MultiOptimizer(Adam(1e-3))


def list_of_optimizers():
    """A list of optimizers in place of rules."""
    MultiOptimizer([Adam(1e-3), SGD(0.1)])


def built_rule():
    """A rule that has state."""
    rule = SGD(0.1)
    rule.build([np.ones(2)])
    MultiOptimizer({"bias$": rule}, default=Adam(1e-3))


def clipping_of_a_rule():
    """A rule that clips by the norm of all."""
    MultiOptimizer({"bias$": SGD(0.1)}, default=Adam(1e-3, global_clipnorm=1.0))


def decay_of_all():
    """Weight decay of the whole."""
    MultiOptimizer({"bias$": SGD(0.1)}, default=AdamW(1e-3), weight_decay=0.1)


def pattern_of_rule_not_regular():
    """A rule's pattern that is no regular expression."""
    MultiOptimizer({"*bias": SGD(0.1)}, default=Adam(1e-3))


# ---------------------------------------------------------------- saving and loading


def weights_of_another():
    """Weights of another optimizer."""
    saved, optimizer = SGD(0.1), Adam(0.1)
    saved.build([np.ones(2)])
    optimizer.build([np.ones(2)])
    optimizer.set_weights([variable.numpy() for variable in saved.variables])


def weights_before_build():
    """Weights before the optimizer is built."""
    Adam(0.1).set_weights([np.ones(2)])


def configuration_of_another():
    """A configuration that is none of this class."""
    Adam.from_config(SGD(0.1, momentum=0.9).get_config())


def unknown_class():
    """A class that is not gradwise's own, in a configuration."""
    optimizers.deserialize({"class_name": "Ranger", "config": {}})


def changed_after_hash():
    """A change of an optimizer that JAX knows as static."""
    optimizer = Adam(0.1)
    hash(optimizer)
    optimizer.learning_rate = 0.01


def scaled_loss():
    """A loss scale that is not set."""
    Adam(0.1, loss_scale_factor=0)


def slots_in_no_build():
    """A rule whose slots are made nowhere."""

    class Momentum(Optimizer):
        def __init__(self, learning_rate=0.1, **keywords):
            super().__init__(learning_rate, **keywords)
            self.momentums = []

        def update_step(self, gradient, variable, learning_rate):
            momentum = self.momentums[self.variable_index(variable)]
            self.assign_sub(variable, learning_rate * (momentum + gradient))

    Momentum().apply([np.ones(2)], [np.ones(2)])


def function_in_configuration():
    """A configuration of a rule that keeps a function in another."""

    class Shaped(Optimizer):
        def __init__(self, learning_rate, shape, **keywords):
            super().__init__(learning_rate, **keywords)
            self._shape = lambda gradient: shape(gradient)

    Shaped(0.1, np.tanh).get_config()


def variable_of_nothing():
    """A Variable of a list."""
    Variable([1.0, 2.0])


def name_of_ops():
    """A function of ops that does not exist."""
    ops.rsqrt(np.ones(2))
