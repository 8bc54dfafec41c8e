"""Pure functions on any tree of arrays, here under jax.jit: state goes in and comes out, nothing else changes."""

import jax
import jax.numpy as jnp

from gradwise import optimizers, schedules

inputs = jax.random.normal(jax.random.key(0), (200, 3))
targets = inputs @ jnp.array([1.0, -2.0, 0.5]) + 3.0


def loss(params):
    return jnp.mean((inputs @ params["weights"] + params["bias"] - targets) ** 2)


optimizer = optimizers.Nadam(schedules.CosineDecay(0.1, decay_steps=300))


@jax.jit
def train_step(params, state):
    return optimizer.step(params, jax.grad(loss)(params), state)


params = {"weights": jnp.zeros(3), "bias": jnp.zeros(())}
state = optimizer.init(params)
for _ in range(300):
    params, state = train_step(params, state)

print(params["weights"].round(3), f"{params['bias']:.3f}", state.iterations)  # [ 1.  -2.   0.5] 3.000 300
