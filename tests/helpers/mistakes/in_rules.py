"""Mistakes in rules of a user's own: what stands in `update_step`, with the line of the mistake marked."""

from __future__ import annotations

import functools
import math

import numpy as np

from gradwise.backends import ops
from gradwise.optimizers import Optimizer

START, GRADIENT = np.array([2.0, -1.0, 0.5], np.float32), np.array([3.0, 1.0, -2.0], np.float32)
COUNT = [0]


class WithSlots(Optimizer):
    """What the rules of the table have in common."""

    def __init__(self, learning_rate=0.5, beta=0.9, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta, self.count = beta, 0
        self.table, self.history = {}, []

    def build(self, variables):
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")


def returning(self, gradient, variable, learning_rate):  # here
    """Returning."""
    return variable - learning_rate * gradient


def subtracting_in_place(self, gradient, variable, learning_rate):
    """Subtracting in place."""
    variable -= learning_rate * gradient  # here


def adding_in_place(self, gradient, variable, learning_rate):
    """Adding in place."""
    variable += learning_rate * gradient  # here


def scaling_a_slot_in_place(self, gradient, variable, learning_rate):
    """Scaling a slot in place."""
    momentum = self.momentums[self.variable_index(variable)]
    momentum *= self.beta  # here
    self.assign_sub(variable, momentum * learning_rate)


def changing_the_gradient(self, gradient, variable, learning_rate):
    """Changing the gradient."""
    gradient *= 2  # here
    self.assign_sub(variable, gradient * learning_rate)


def changing_the_gradient_under_another_name(self, gradient, variable, learning_rate):
    """Changing the gradient under another name."""
    direction = ops.cast(gradient, variable.dtype)
    direction += variable * 0.1  # here
    self.assign_sub(variable, direction * learning_rate)


def setting_elements_of_the_gradient(self, gradient, variable, learning_rate):
    """Setting elements of the gradient."""
    gradient[0] = 0.0  # here
    self.assign_sub(variable, gradient * learning_rate)


def setting_elements_of_the_parameter(self, gradient, variable, learning_rate):
    """Setting elements of the parameter."""
    variable[0] = 0.0  # here


def assigning_to_the_gradient(self, gradient, variable, learning_rate):
    """Assigning to the gradient."""
    self.assign(gradient, gradient * 2)  # here
    self.assign_sub(variable, gradient * learning_rate)


def replacing_a_slot(self, gradient, variable, learning_rate):
    """Replacing a slot."""
    index = self.variable_index(variable)
    self.momentums[index] = self.momentums[index] * self.beta + gradient  # here
    self.assign_sub(variable, self.momentums[index] * learning_rate)


def counting_in_an_attribute(self, gradient, variable, learning_rate):
    """Counting in an attribute."""
    self.count += 1  # here
    self.assign_sub(variable, gradient * (learning_rate / self.count))


def keeping_a_new_attribute(self, gradient, variable, learning_rate):
    """Keeping a new attribute."""
    self._previous = gradient  # here
    self.assign_sub(variable, gradient * learning_rate)


def calling_numpy(self, gradient, variable, learning_rate):
    """Calling numpy."""
    self.assign_sub(variable, np.sign(gradient) * learning_rate)  # here


def calling_numpy_on_what_follows(self, gradient, variable, learning_rate):
    """Calling numpy on what follows."""
    direction = gradient * self.beta + variable
    self.assign_sub(variable, np.sign(direction) * learning_rate)  # here


def calling_numpy_on_a_slot(self, gradient, variable, learning_rate):
    """Calling numpy on a slot."""
    root = np.sqrt(self.momentums[self.variable_index(variable)])  # here
    self.assign_sub(variable, root * learning_rate)


def misspelling_a_function(self, gradient, variable, learning_rate):
    """Misspelling a function."""
    self.assign_sub(variable, ops.sgn(gradient) * learning_rate)  # here


def calling_what_others_have(self, gradient, variable, learning_rate):
    """Calling what others have."""
    self.assign_sub(variable, gradient * ops.rsqrt(ops.square(gradient)) * learning_rate)  # here


def asking_the_parameter(self, gradient, variable, learning_rate):
    """Asking the parameter."""
    self.assign_sub(variable, variable.T * learning_rate)  # here


def misspelling_an_attribute(self, gradient, variable, learning_rate):
    """Misspelling an attribute."""
    self.assign_sub(variable, gradient * learning_rate * (gradient.nidm + 1))  # here


def forgetting_to_commit(self, gradient, variable, learning_rate):  # here
    """Forgetting to commit."""
    moved = variable - learning_rate * gradient
    del moved


def committing_the_slot_alone(self, gradient, variable, learning_rate):  # here
    """Committing the slot alone."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign(momentum, momentum * self.beta + gradient + variable * 0.1)


def misspelling_a_slot(self, gradient, variable, learning_rate):
    """Misspelling a slot."""
    momentum = self.momentum[self.variable_index(variable)]  # here
    self.assign_sub(variable, momentum * learning_rate)


def making_a_slot_in_a_step(self, gradient, variable, learning_rate):
    """Making a slot in a step."""
    slot = self.add_variable_from_reference(variable, "late")  # here
    self.assign_sub(variable, (slot + gradient) * learning_rate)


def branching(self, gradient, variable, learning_rate):
    """Branching."""
    if ops.norm(gradient) > 1.0:  # here
        self.assign_sub(variable, gradient * learning_rate)


def branching_on_an_element(self, gradient, variable, learning_rate):
    """Branching on an element."""
    scale = 2.0 if gradient[0] > 1.0 else 1.0  # here
    self.assign_sub(variable, gradient * (learning_rate * scale))


def branching_on_the_step(self, gradient, variable, learning_rate):
    """Branching on the step."""
    if self.step_of(variable) % 10 == 0:  # here
        self.assign_sub(variable, gradient * learning_rate)


def branching_on_the_rate(self, gradient, variable, learning_rate):
    """Branching on the rate."""
    rate = min(learning_rate, 0.2)  # here
    self.assign_sub(variable, gradient * rate)


def taking_the_larger(self, gradient, variable, learning_rate):
    """Taking the larger."""
    self.assign_sub(variable, gradient * (learning_rate / max(ops.norm(gradient), 1.0)))  # here


def asking_for_a_float(self, gradient, variable, learning_rate):
    """Asking for a float."""
    self.assign_sub(variable, gradient * (learning_rate / float(ops.norm(gradient))))  # here


def calling_math(self, gradient, variable, learning_rate):
    """Calling math."""
    self.assign_sub(variable, gradient * (learning_rate / math.sqrt(self.step_of(variable))))  # here


def calling_numpy_on_the_rate(self, gradient, variable, learning_rate):
    """Calling numpy on the rate."""
    self.assign_sub(variable, gradient * np.sqrt(learning_rate))  # here


def making_a_number_of_numpys(self, gradient, variable, learning_rate):
    """Making a number of numpys."""
    self.assign_sub(variable, gradient * np.float64(learning_rate))  # here


def changing_the_value_of_a_slot(self, gradient, variable, learning_rate):
    """Changing the value of a slot."""
    momentum = self.momentums[self.variable_index(variable)].value
    momentum *= self.beta  # here
    self.assign_sub(variable, (momentum + gradient) * learning_rate)


def changing_the_value_of_the_parameter(self, gradient, variable, learning_rate):
    """Changing the value of the parameter."""
    weights = variable.value
    weights -= gradient * learning_rate  # here


def changing_a_view_of_the_gradient(self, gradient, variable, learning_rate):
    """Changing a view of the gradient."""
    flat = ops.reshape(gradient, (-1,))
    flat *= 2.0  # here
    self.assign_sub(variable, gradient * learning_rate)


def changing_what_was_assigned(self, gradient, variable, learning_rate):
    """Changing what was assigned."""
    direction = gradient * 2.0
    self.assign(self.momentums[self.variable_index(variable)], direction)
    direction *= 0.5  # here
    self.assign_sub(variable, direction * learning_rate)


def setting_elements_of_what_was_computed(self, gradient, variable, learning_rate):
    """Setting elements of what was computed."""
    direction = gradient * 1.0
    direction[direction > 0] = 0.0  # here
    self.assign_sub(variable, direction * learning_rate)


def counting_in_a_dictionary(self, gradient, variable, learning_rate):
    """Counting in a dictionary."""
    self.table["steps"] = self.table.get("steps", 0) + 1  # here
    self.assign_sub(variable, gradient * (learning_rate / self.table["steps"]))


def remembering_in_a_list(self, gradient, variable, learning_rate):
    """Remembering in a list."""
    self.history.append(gradient)  # here
    self.assign_sub(variable, gradient * learning_rate)


def counting_in_a_global(self, gradient, variable, learning_rate):
    """Counting in a global."""
    COUNT[0] += 1  # here
    self.assign_sub(variable, gradient * (learning_rate / COUNT[0]))


def drawing_random_numbers(self, gradient, variable, learning_rate):
    """Drawing random numbers."""
    self.assign_sub(variable, gradient * (learning_rate * np.random.random()))  # here


def calling_a_method(self, gradient, variable, learning_rate):
    """Calling a method."""
    self.assign_sub(variable, gradient * (learning_rate / gradient.sum()))  # here


def calling_a_method_of_torchs(self, gradient, variable, learning_rate):
    """Calling a method of torchs."""
    direction = gradient * 2.0
    self.assign_sub(variable, direction.clamp(-1.0, 1.0) * learning_rate)  # here


def changing_a_slot_as_in_torch(self, gradient, variable, learning_rate):
    """Changing a slot as in torch."""
    momentum = self.momentums[self.variable_index(variable)].value
    momentum.mul_(0.9).add_(gradient)  # here
    self.assign_sub(variable, momentum * learning_rate)


def replacing_the_array(self, gradient, variable, learning_rate):
    """Replacing the array."""
    variable.array = variable.value - gradient * learning_rate  # here


def reading_the_array(self, gradient, variable, learning_rate):
    """Reading the array."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign_sub(variable, (momentum.array + gradient) * learning_rate)  # here


def assigning_to_the_list(self, gradient, variable, learning_rate):
    """Assigning to the list."""
    self.assign(self.momentums, gradient)  # here
    self.assign_sub(variable, gradient * learning_rate)


def looking_up_by_the_parameter(self, gradient, variable, learning_rate):
    """Looking up by the parameter."""
    momentum = self.momentums[variable]  # here
    self.assign_sub(variable, momentum * learning_rate)


def filling_with_a_number(self, gradient, variable, learning_rate):
    """Filling with a number."""
    self.assign(self.momentums[self.variable_index(variable)], 1.0)  # here
    self.assign_sub(variable, gradient * learning_rate)


def forgetting_the_rate(self, gradient, variable):  # here
    """Forgetting the rate."""
    self.assign_sub(variable, gradient)


def going_through_elements(self, gradient, variable, learning_rate):
    """Going through elements."""
    for element in gradient:  # here
        self.assign_sub(variable, gradient * (learning_rate * element))


def going_through_elements_of_the_parameter(self, gradient, variable, learning_rate):
    """Going through elements of the parameter."""
    total = sum(variable)  # here
    self.assign_sub(variable, gradient * (learning_rate * total))


def taking_elements_apart(self, gradient, variable, learning_rate):
    """Taking elements apart."""
    first, *_ = self.momentums[self.variable_index(variable)]  # here
    self.assign_sub(variable, gradient * (learning_rate * first))


def rebinding_the_parameter(self, gradient, variable, learning_rate):
    """Rebinding the parameter."""
    variable = variable - learning_rate * gradient / _size(variable)  # here


def committing_nothing_but_asking_another_function(self, gradient, variable, learning_rate):  # here
    """Committing nothing but asking another function."""
    _ = learning_rate * gradient / _size(variable)


def setting_the_data(self, gradient, variable, learning_rate):
    """Setting the data."""
    variable.data = variable - gradient * learning_rate  # here


def setting_the_data_of_a_slot(self, gradient, variable, learning_rate):
    """Setting the data of a slot."""
    momentum = self.momentums[self.variable_index(variable)]
    momentum.data = gradient  # here
    self.assign_sub(variable, momentum * learning_rate)


def rebinding_a_slot(self, gradient, variable, learning_rate):  # here
    """Rebinding a slot."""
    momentum = self.momentums[self.variable_index(variable)]
    momentum = momentum * self.beta + gradient
    self.assign_sub(variable, momentum * learning_rate)


def forgetting_to_commit_a_slot(self, gradient, variable, learning_rate):  # here
    """Forgetting to commit a slot."""
    momentum = self.momentums[self.variable_index(variable)]
    new = momentum * self.beta + gradient
    self.assign_sub(variable, new * learning_rate)


def reading_the_rate_of_the_optimizer(self, gradient, variable, learning_rate):
    """Reading the rate of the optimizer."""
    self.assign_sub(variable, gradient * self.learning_rate)  # here


def reading_the_rate_by_its_short_name(self, gradient, variable, learning_rate):
    """Reading the rate by its short name."""
    self.assign_sub(variable, gradient * self.lr)  # here


def subtracting_one_number(self, gradient, variable, learning_rate):
    """Subtracting one number."""
    self.assign_sub(variable, ops.norm(gradient) * learning_rate)  # here


def adding_the_rate(self, gradient, variable, learning_rate):
    """Adding the rate."""
    self.assign_add(variable, learning_rate)  # here


def subtracting_another_shape(self, gradient, variable, learning_rate):
    """Subtracting another shape."""
    self.assign_sub(variable, gradient[:2] * learning_rate)  # here


def _size(array):
    return ops.sqrt(ops.mean(ops.square(array)))
def giving_the_arguments_of_torch(self, gradient, variable, learning_rate):
    """Giving the arguments of torch."""
    mean = ops.mean(ops.square(gradient), dim=-1, keepdim=True)  # here
    self.assign_sub(variable, gradient * (learning_rate / mean))


def giving_too_much(self, gradient, variable, learning_rate):
    """Giving too much."""
    self.assign_sub(variable, ops.maximum(gradient, 0.0, 1.0) * learning_rate)  # here


def naming_an_axis(self, gradient, variable, learning_rate):
    """Naming an axis."""
    self.assign_sub(variable, gradient / ops.mean(gradient, axis="rows") * learning_rate)  # here


def counting_axes_too_far(self, gradient, variable, learning_rate):
    """Counting axes too far."""
    self.assign_sub(variable, gradient / ops.mean(gradient, axis=7, keepdims=True) * learning_rate)  # here


def calling_an_outer_product(self, gradient, variable, learning_rate):
    """Calling an outer product."""
    self.assign_sub(variable, ops.sum(ops.outer(gradient, variable), axis=0) * learning_rate)  # here


def calling_what_nobody_has(self, gradient, variable, learning_rate):
    """Calling what nobody has."""
    self.assign_sub(variable, ops.xyzzy(gradient) * learning_rate)  # here


def calling_a_reduction_of_numpy(self, gradient, variable, learning_rate):
    """Calling a reduction of numpy."""
    self.assign_sub(variable, gradient / np.mean(gradient) * learning_rate)  # here


def calling_a_norm_of_numpy(self, gradient, variable, learning_rate):
    """Calling a norm of numpy."""
    self.assign_sub(variable, gradient / np.linalg.norm(gradient) * learning_rate)  # here


def calling_torch(self, gradient, variable, learning_rate):
    """Calling torch."""
    import torch

    self.assign_sub(variable, gradient / torch.mean(gradient) * learning_rate)  # here


def calling_jax(self, gradient, variable, learning_rate):
    """Calling jax."""
    import jax.numpy as jnp

    self.assign_sub(variable, gradient / jnp.mean(gradient) * learning_rate)  # here


def making_an_array_of_numpys(self, gradient, variable, learning_rate):
    """Making an array of numpys."""
    self.assign_sub(variable, (gradient + np.zeros(variable.shape, np.float32)) * learning_rate)  # here


def starting_from_an_array_of_numpys(self, gradient, variable, learning_rate):
    """Starting from an array of numpys."""
    total = np.zeros(variable.shape, np.float32)
    self.assign_sub(variable, ops.maximum(total, gradient) * learning_rate)  # here


def asking_for_the_size(self, gradient, variable, learning_rate):
    """Asking for the size."""
    self.assign_sub(variable, gradient * (learning_rate / gradient.size))  # here


def transposing(self, gradient, variable, learning_rate):
    """Transposing."""
    self.assign_sub(variable, gradient.T * learning_rate)  # here


def calling_a_method_along_an_axis(self, gradient, variable, learning_rate):
    """Calling a method along an axis."""
    new = ops.square(gradient)
    self.assign_sub(variable, gradient / new.mean(dim=-1, keepdim=True) * learning_rate)  # here


def asking_for_an_item(self, gradient, variable, learning_rate):
    """Asking for an item."""
    norm = ops.norm(gradient)
    self.assign_sub(variable, gradient * (learning_rate / norm.item()))  # here


def looking_up_by_an_attribute(self, gradient, variable, learning_rate):
    """Looking up by an attribute."""
    momentum = self.momentums[variable.index]  # here
    self.assign_sub(variable, momentum * learning_rate)


def meeting_another_shape(self, gradient, variable, learning_rate):
    """Meeting another shape."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign(momentum, ops.moving_average(momentum, gradient[:2], self.beta))  # here
    self.assign_sub(variable, momentum * learning_rate)


@functools.lru_cache
def _halved(value):
    return value * 0.5


def taking_an_array_for_a_key(self, gradient, variable, learning_rate):
    """Taking an array for a key."""
    self.assign_sub(variable, _halved(gradient) * learning_rate)  # here


def assigning_another_shape(self, gradient, variable, learning_rate):
    """Assigning another shape."""
    momentum = self.momentums[self.variable_index(variable)]
    self.assign(momentum, ops.expand_dims(momentum, -1) * ops.expand_dims(gradient, 0))  # here
    self.assign_sub(variable, momentum * learning_rate)


def exchanging_what_is_given(self, variable, gradient, learning_rate):  # here
    """Exchanging what is given."""
    self.assign_sub(variable, gradient * learning_rate)


def exchanging_what_is_assigned(self, gradient, variable, learning_rate):
    """Exchanging what is assigned."""
    self.assign_sub(gradient * learning_rate, variable)  # here


def assigning_to_what_was_computed(self, gradient, variable, learning_rate):
    """Assigning to what was computed."""
    direction = gradient * 2.0
    self.assign(direction, direction * 0.5)  # here
    self.assign_sub(variable, direction * learning_rate)


def setting_the_value(self, gradient, variable, learning_rate):
    """Setting the value."""
    variable.value = variable - gradient * learning_rate  # here


def changing_the_value_in_place(self, gradient, variable, learning_rate):
    """Changing the value in place."""
    variable.value -= gradient * learning_rate  # here


def putting_a_result_into_the_gradient(self, gradient, variable, learning_rate):
    """Putting a result into the gradient."""
    ops.multiply(gradient, 2.0, out=gradient)  # here
    self.assign_sub(variable, gradient * learning_rate)


def putting_a_result_of_numpy_into_the_gradient(self, gradient, variable, learning_rate):
    """Putting a result of NumPy into the gradient."""
    np.multiply(gradient, 2.0, out=gradient)  # here
    self.assign_sub(variable, gradient * learning_rate)


def clipping_with_the_arguments_of_numpy(self, gradient, variable, learning_rate):
    """Clipping with the arguments of NumPy."""
    gradient = np.clip(gradient, a_min=-1.0, a_max=1.0)  # here
    self.assign_sub(variable, gradient * learning_rate)


def setting_all_elements(self, gradient, variable, learning_rate):
    """Setting all elements."""
    variable[:] = variable - gradient * learning_rate  # here


def asking_whether_there_is_a_slot(self, gradient, variable, learning_rate):
    """Asking whether there is a slot."""
    momentum = self.momentums[self.variable_index(variable)]
    if momentum:  # here
        self.assign_sub(variable, momentum * learning_rate)


def counting_slots_too_far(self, gradient, variable, learning_rate):
    """Counting slots too far."""
    momentum = self.momentums[self.variable_index(variable) + 1]  # here
    self.assign_sub(variable, momentum * learning_rate)


def calling_a_power_of_math(self, gradient, variable, learning_rate):
    """Calling a power of math."""
    self.assign_sub(variable, gradient * (learning_rate * math.pow(self.step_of(variable), -0.5)))  # here


def _with_rule(function, base=WithSlots):
    """An optimizer's class with this rule."""
    return type("Mine", (base,), {"update_step": function})


def _make(function):
    """Make the mistake, in the first step on a parameter that is called w."""
    _with_rule(function)().apply({"w": GRADIENT.copy()}, {"w": START.copy()})
