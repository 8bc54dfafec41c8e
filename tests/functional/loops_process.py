"""Steps under `jax.jit` as XLA compiles them for the CPU; test_jax_loops.py runs it with XLA's flags.

Writes, for every algorithm, the number of loops over the parameter and the results, as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from helpers.every_convention import EVERY


def compiled_steps(optimizer: Any) -> dict[str, Any]:
    """The loops of one step, the bytes it needs besides its arguments, and what three of them lead to."""
    rng = np.random.default_rng(0)
    params, grads = (jnp.asarray(rng.normal(size=(96, 80)), jnp.float32) for _ in "pg")
    state = optimizer.init(params)
    step = jax.jit(optimizer.step, donate_argnums=(0, 2)).lower(params, grads, state).compile()
    entry = step.as_text().split("ENTRY")[1]
    made = [line.split(" fusion(")[0] for line in entry.splitlines() if " fusion(" in line]
    besides = step.memory_analysis().temp_size_in_bytes
    for _ in range(3):
        params, state = step(params, grads, state)
    arrays = [params, *(slot for slot in jax.tree.leaves(state.slots) if slot.shape == params.shape)]
    return {
        "arrays": len(arrays),
        "loops": sum("f32[96,80]" in result for result in made),
        "besides": besides,
        "results": [np.asarray(array).tolist() for array in arrays],
    }


if __name__ == "__main__":
    result = {
        f"{kind.__name__} {convention}": compiled_steps(kind(0.1, convention=convention)) for kind, convention in EVERY
    }
    json.dump(result, sys.stdout)
