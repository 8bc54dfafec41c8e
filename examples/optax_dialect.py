"""optax's dialect: a transformation like any of optax's."""

import jax
import jax.numpy as jnp
import optax

from gradwise.frontends import optax as goptax

inputs = jax.random.normal(jax.random.key(0), (200, 3))
targets = inputs @ jnp.array([1.0, -2.0, 0.5]) + 3.0


def loss(params):
    return jnp.mean((inputs @ params["weights"] + params["bias"] - targets) ** 2)


@jax.jit
def train_step(transformation, params, state):
    updates, state = transformation.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


params = {"weights": jnp.zeros(3), "bias": jnp.zeros(())}
transformation = goptax.adamw(optax.cosine_decay_schedule(0.1, 300), weight_decay=0.0)
state = transformation.init(params)
for _ in range(300):
    params, state = train_step(transformation, params, state)

print(params["weights"].round(3), f"{params['bias']:.3f}", state[0].count)  # [ 1.  -2.   0.5] 3.000 300
