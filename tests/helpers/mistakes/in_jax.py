"""With JAX's arrays, and in the front end of optax."""

import jax
import jax.numpy as jnp
import optax

from gradwise import optimizers, schedules
from gradwise.backends import Variable
from gradwise.frontends import optax as goptax

# ---------------------------------------------------------------- arrays, and the optimizers of the core


def never_change():
    """Arrays that never change, in place."""
    optimizers.Adam(1e-3).apply([jnp.ones(2)], [jnp.ones(2)])


def state_of_optax():
    """A state in the order of optax's update."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    optimizer = optimizers.Adam(1e-3)
    state = optimizer.init(params)
    optimizer.update(grads, state, params)


def params_twice():
    """Parameters in the place of the state."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    optimizers.Adam(1e-3).step(params, grads, params)


def state_for_params():
    """A state in the place of parameters, compiled."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    optimizer = optimizers.Adam(1e-3)
    state = optimizer.init(params)
    jax.jit(optimizer.step)(state, grads, params)


def excluded_arrays():
    """Arrays in var_list."""
    params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[params["dense"]["bias"]])
    optimizer.init(params)


def excluded_pattern():
    """A pattern that is in no path."""
    params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["dense.biases"])
    optimizer.init(params)


def schedule_of_optax_called():
    """A class of schedules as rate."""
    optimizers.Adam(schedules.ExponentialDecay)


def transformation_as_rate():
    """A transformation of optax as rate."""
    optimizers.Adam(optax.scale(0.1))


def built_in_a_trace():
    """A step in place, while JAX compiles."""

    @jax.jit
    def train(weights):
        optimizers.SGD(0.1).apply([jnp.ones(2)], [weights])
        return weights

    train(jnp.ones(2))


def gradients_of_the_loss():
    """What value_and_grad gives, as gradients."""
    params = {"w": jnp.ones(2)}
    optimizer = optimizers.Adam(1e-3)
    state = optimizer.init(params)
    grads = jax.value_and_grad(lambda params: (params["w"] ** 2).sum())(params)
    optimizer.step(params, grads, state)


def whole_numbers():
    """A leaf of whole numbers."""
    optimizers.Adam(1e-3).init({"w": jnp.ones(2), "steps": jnp.array(0)})


def function_as_leaf():
    """A leaf that is a function."""
    optimizers.Adam(1e-3).init({"w": jnp.ones(2), "activation": jax.nn.relu})


# ---------------------------------------------------------------- gradwise.frontends.optax


def rate_of_torch():
    """The rate as torch calls it."""
    goptax.adam(lr=1e-3)


def betas_of_keras():
    """Arguments as the core calls them."""
    goptax.adam(1e-3, beta_1=0.9, epsilon=1e-7)


def argument_misspelt():
    """An argument that is misspelt."""
    goptax.adamw(1e-3, weight_deacy=0.1)


def function_misspelt():
    """A function that is misspelt."""
    goptax.adan(1e-3)


def class_of_core():
    """A class of the core in the front end."""
    goptax.Adam(1e-3)


def no_rate():
    """No rate."""
    goptax.adam()


def class_as_rate():
    """A class of schedules as the rate of a transformation."""
    goptax.adam(schedules.CosineDecay)


def beta_out_of_range():
    """A number that is out of its range."""
    goptax.adam(1e-3, b1=1.5)


def updates_order():
    """Parameters in the place of a transformation's state."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    transformation = goptax.adam(1e-3)
    transformation.update(grads, params, transformation.init(params))


def no_params():
    """No parameters, where the rule needs them."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    transformation = goptax.adamw(1e-3, weight_decay=0.1)
    transformation.update(grads, transformation.init(params))


def state_of_another():
    """A state of another transformation."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    goptax.adam(1e-3).update(grads, goptax.sgd(1e-3).init(params), params)


def apply_of_core():
    """apply on a transformation."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    goptax.adam(1e-3).apply(grads, params)


def step_of_core():
    """step on a transformation."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    transformation = goptax.adam(1e-3)
    transformation.step(params, grads, transformation.init(params))


def attribute_set():
    """The rate of a transformation, set."""
    transformation = goptax.adam(1e-3)
    transformation.learning_rate = 1e-4


def from_a_class():
    """A class in place of an optimizer."""
    goptax.from_optimizer(optimizers.Adam)


def from_a_transformation():
    """A transformation in place of an optimizer."""
    goptax.from_optimizer(optax.adam(1e-3))


def from_state():
    """An optimizer that has state."""
    optimizer = optimizers.SGD(0.1)
    optimizer.build([Variable(jnp.ones(2))])
    goptax.from_optimizer(optimizer)


def to_from_an_optimizer():
    """An optimizer in place of a transformation."""
    goptax.to_optimizer(optimizers.Adam(1e-3))


def to_from_a_function():
    """A function in place of a transformation."""
    goptax.to_optimizer(optax.adam)


def from_patterns():
    """A pattern that is in no path, as a transformation."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    optimizer = optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    transformation = goptax.from_optimizer(optimizer)
    transformation.update(grads, transformation.init(params), params)


def mask_of_another_tree():
    """A mask of another tree."""
    params, grads = {"w": jnp.ones(2), "b": jnp.ones(2)}, {"w": jnp.ones(2), "b": jnp.ones(2)}
    transformation = goptax.adamw(1e-3, weight_decay=0.1, mask={"w": True})
    transformation.update(grads, transformation.init(params), params)


def chain_of_the_core():
    """An optimizer of the core in a chain."""
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
    chain = optax.chain(optax.clip(1.0), optimizers.Adam(1e-3))
    chain.update(grads, chain.init(params), params)

