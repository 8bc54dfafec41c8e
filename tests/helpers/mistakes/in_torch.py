"""With torch's tensors, and in the front end of torch.optim."""

import copy

import numpy as np
import torch

from gradwise import optimizers, schedules
from gradwise.frontends import torch as optim

# ---------------------------------------------------------------- tensors, and the optimizers of the core


def pattern_without_names():
    """A pattern, where parameters have no names."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([torch.ones(1, 2), torch.ones(1)], model.parameters())


def excluded_by_misspelt_name():
    """A pattern that is in no parameter's name."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["norm"])
    optimizer.apply([torch.ones(1, 2), torch.ones(1)], model.named_parameters())


def excluded_tensor_of_another_model():
    """A tensor in var_list that is another model's."""
    model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[other.bias])
    optimizer.apply([torch.ones(1, 2), torch.ones(1)], model.named_parameters())


def excluded_names():
    """Names in var_list."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[name for name, _ in model.named_parameters() if "bias" in name])


def model_in_place_of_rate():
    """A model in the place of the rate."""
    optimizers.Adam(torch.nn.Linear(2, 1))


def parameters_in_place_of_rate():
    """Parameters in the place of the rate."""
    model = torch.nn.Linear(2, 1)
    optimizers.Adam(model.parameters(), 1e-3)


def model_in_place_of_parameters():
    """A model in the place of its parameters."""
    optimizers.Adam(1e-3).build(torch.nn.Linear(2, 1))


def model_in_pure_steps():
    """A model in the place of a tree."""
    optimizers.Adam(1e-3).init(torch.nn.Linear(2, 1))


def parameters_in_pure_steps():
    """A generator in the place of a tree."""
    optimizers.Adam(1e-3).init(torch.nn.Linear(2, 1).parameters())


def used_up():
    """A generator of parameters that was read before."""
    model = torch.nn.Linear(2, 1)
    parameters = model.parameters()
    print(sum(parameter.numel() for parameter in parameters))
    optimizers.Adam(1e-3).apply([torch.ones(1, 2), torch.ones(1)], parameters)


def frozen_result():
    """A tensor that was computed as parameter."""
    weights = torch.ones(2, requires_grad=True) * 0.5
    optimizers.SGD(0.1).apply([torch.ones(2)], [weights])


def gradient_of_numpy():
    """A gradient of another library."""
    optimizers.SGD(0.1).apply([np.ones(2)], [torch.ones(2)])


def moved_model():
    """A model that was replaced by a copy."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.Adam(1e-3)
    optimizer.build(model.named_parameters())
    model = copy.deepcopy(model)
    optimizer.apply([torch.ones(1, 2), torch.ones(1)], model.named_parameters())


def step_of_torch():
    """step() and zero_grad() on an optimizer of the core."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.Adam(1e-3)
    optimizer.build(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def scaler_of_torch():
    """A GradScaler of torch with an optimizer of the core."""
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))
    scaler.step(optimizers.SGD(0.1))


def not_backward():
    """No backward pass before the step."""
    model = torch.nn.Linear(2, 1)
    optimizers.SGD(0.1).apply([p.grad for p in model.parameters()], model.parameters())


# ---------------------------------------------------------------- gradwise.frontends.torch


def rate_as_in_keras():
    """An argument as the core calls it."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), learning_rate=1e-3)


def betas_as_in_keras():
    """Arguments as Keras calls them."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), beta_1=0.9, epsilon=1e-7)


def argument_misspelt():
    """An argument that is misspelt."""
    optim.AdamW(torch.nn.Linear(2, 1).parameters(), weight_deacy=0.1)


def clipping():
    """Clipping in the constructor."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), clipnorm=1.0)


def class_misspelt():
    """A class that is misspelt."""
    optim.Nadam(torch.nn.Linear(2, 1).parameters())


def class_not_there():
    """A class that torch has and gradwise has not."""
    optim.LBFGS(torch.nn.Linear(2, 1).parameters())


def rate_first():
    """The rate in the place of the parameters."""
    optim.Adam(1e-3)


def model_first():
    """The model in the place of its parameters."""
    optim.Adam(torch.nn.Linear(2, 1), lr=1e-3)


def one_tensor():
    """A tensor in the place of a list of tensors."""
    optim.Adam(torch.nn.Linear(2, 1).weight)


def parameters_by_name():
    """A dictionary of parameters in the place of a list."""
    optim.Adam(dict(torch.nn.Linear(2, 1).named_parameters()))


def group_alone():
    """A group in the place of a list of groups."""
    optim.Adam({"params": torch.nn.Linear(2, 1).parameters(), "lr": 0.1})


def generator_used_up():
    """Parameters that were read before."""
    parameters = torch.nn.Linear(2, 1).parameters()
    print(sum(parameter.numel() for parameter in parameters))
    optim.Adam(parameters, lr=1e-3)


def schedule_as_rate():
    """A schedule of gradwise as rate."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), lr=schedules.CosineDecay(1e-3, 100))


def rate_as_text():
    """A rate as text."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), lr="1e-3")


def negative_rate():
    """A negative rate."""
    optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=-0.1)


def one_beta():
    """One number for two betas."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), betas=0.9)


def beta_of_one():
    """A beta out of its range."""
    optim.Adam(torch.nn.Linear(2, 1).parameters(), betas=(0.9, 1.0))


def group_key_misspelt():
    """A group's key that is misspelt."""
    model = torch.nn.Linear(2, 1)
    optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "momentm": 0.9}], lr=0.1)


def group_key_of_keras():
    """A group's key as the core calls it."""
    model = torch.nn.Linear(2, 1)
    optim.SGD([{"params": [model.weight], "learning_rate": 0.01}, {"params": [model.bias]}], lr=0.1)


def group_without_params():
    """A group without parameters."""
    optim.SGD([{"lr": 0.01, "weights": torch.nn.Linear(2, 1).parameters()}], lr=0.1)


def group_value_later():
    """A value in a group that is out of its range, set later."""
    model = torch.nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = -1.0
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def group_key_later():
    """A group's key as the core calls it, set later."""
    model = torch.nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.param_groups[0]["learning_rate"] = 0.01


def group_key_misspelt_later():
    """A group's key that is misspelt, set later."""
    model = torch.nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.param_groups[0]["lrr"] = 0.01


def rate_as_attribute():
    """The rate as an attribute."""
    optimizer = optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    optimizer.lr = 0.01


def rate_as_attribute_of_core():
    """The rate as an attribute of the core's optimizers."""
    optimizer = optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    optimizer.learning_rate = 0.01


def attribute_misspelt():
    """An attribute that is misspelt."""
    optimizer = optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    optimizer.learning_rte = 0.01


def method_misspelt():
    """A method that is misspelt."""
    optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1).zero_grads()


def rate_read():
    """The rate, read as an attribute."""
    optimizer = optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    print(optimizer.lr)


def apply_of_core():
    """apply, as the core's optimizers have it."""
    model = torch.nn.Linear(2, 1)
    optim.SGD(model.parameters(), lr=0.1).apply([torch.ones(1, 2), torch.ones(1)])


def exclude_of_core():
    """exclude_from_weight_decay, as the core's optimizers have it."""
    optimizer = optim.AdamW(torch.nn.Linear(2, 1).parameters())
    optimizer.exclude_from_weight_decay(var_names=["bias"])


def sparse_gradient():
    """A sparse gradient, where the class takes none."""
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = optim.Adam(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    optimizer.step()


def state_of_another():
    """A state of another algorithm."""
    model = torch.nn.Linear(2, 1)
    saved, optimizer = optim.SGD(model.parameters(), momentum=0.9), optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    saved.step()
    optimizer.load_state_dict(saved.state_dict())
    optimizer.step()


def nesterov_alone():
    """Nesterov's momentum without a momentum."""
    optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1, nesterov=True)


def wrapped_class():
    """A class in place of an optimizer, wrapped."""
    optim.wrap(optimizers.Adam, torch.nn.Linear(2, 1).parameters())


def wrapped_torch():
    """An optimizer of torch, wrapped."""
    parameters = list(torch.nn.Linear(2, 1).parameters())
    optim.wrap(torch.optim.Adam(parameters), parameters)


def wrapped_order():
    """The parameters first, wrapped."""
    optim.wrap(torch.nn.Linear(2, 1).parameters(), optimizers.Adam(1e-3))


def wrapped_without_parameters():
    """No parameters, wrapped."""
    optim.wrap(optimizers.Adam(1e-3))


def wrapped_with_state():
    """An optimizer that has state, wrapped."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.Adam(1e-3)
    optimizer.apply([torch.ones(1, 2), torch.ones(1)], model.parameters())
    optim.wrap(optimizer, model.parameters())


def wrapped_schedule():
    """A rate of a group, beside a schedule."""
    model = torch.nn.Linear(2, 1)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 1e-2}]
    optim.wrap(optimizers.Adam(schedules.CosineDecay(1e-3, 100)), groups)


def wrapped_pattern():
    """A pattern that is in no name, wrapped."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["norm"])
    wrapped = optim.wrap(optimizer, model.named_parameters())
    model(torch.ones(1, 2)).sum().backward()
    wrapped.step()


def wrapped_pattern_without_names():
    """A pattern, where parameters have no names, wrapped."""
    model = torch.nn.Linear(2, 1)
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    wrapped = optim.wrap(optimizer, model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    wrapped.step()


def wrapped_rules_without_names():
    """Rules by name for parameters without names, wrapped."""
    model = torch.nn.Linear(2, 1)
    rules = optimizers.MultiOptimizer({"bias$": optimizers.SGD(0.1)}, default=optimizers.AdamW(1e-3))
    wrapped = optim.wrap(rules, model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    wrapped.step()
