"""What `test_jax_sharding.py` asks of a process of its own, which has eight devices: one JSON object of findings."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# Before JAX starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.releases import optax_tree
from helpers.user_optimizers import Adafactor
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradwise import optimizers
from gradwise.frontends import optax as goptax
from gradwise.optimizers.registry import ALGORITHMS

MESH = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
SPECS = {"kernel": ("data", "model"), "rows": ("data",), "bias": ()}


def placed(tree: Any, specs: Any) -> Any:
    return {name: jax.device_put(leaf, NamedSharding(MESH, PartitionSpec(*specs[name]))) for name, leaf in tree.items()}


def specs_of(tree: Any) -> Any:
    return {name: tuple(leaf.sharding.spec) for name, leaf in tree.items()}


def lies_beside(slot: Any) -> bool:
    """Whether a slot is spread as its parameters are; numbers of each have no axes to be spread."""
    return specs_of(slot) == {name: spec if slot[name].ndim else () for name, spec in SPECS.items()}


def on_one_device(tree: Any) -> int:
    """The bytes of a tree that lie on the first device."""
    first = jax.devices()[0]
    shards = [shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == first)


def trees() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shapes = {"kernel": (64, 32), "rows": (64, 8), "bias": (32,)}
    made = [{name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()} for _ in "pg"]
    return made[0], made[1]


def far(a: Any, b: Any) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)))) for x, y in pairs)


def sharded_steps(optimizer: Any) -> dict[str, Any]:
    """Steps of sharded parameters beside the same steps on one device."""
    params, grads = trees()
    # A replicated array may share the memory of the one it was made from, which is donated below.
    expected = trees()[0]
    expected_state = optimizer.init(expected)
    sharded, sharded_grads = placed(params, SPECS), placed(grads, SPECS)
    states = {"eager": optimizer.init(sharded), "jit": jax.jit(optimizer.init)(sharded)}
    found: dict[str, Any] = {
        kind: all(map(lies_beside, state.slots.values())) for kind, state in states.items()
    }
    step, plain = jax.jit(optimizer.step, donate_argnums=(0, 2)), jax.jit(optimizer.step)
    again = jax.jit(optimizer.step)
    after = again(sharded, sharded_grads, states["jit"])
    again(after[0], sharded_grads, after[1])
    found["compiled after a compiled init"] = again._cache_size()
    state = states["eager"]
    for _ in range(3):
        sharded, state = step(sharded, sharded_grads, state)
        expected, expected_state = plain(expected, grads, expected_state)
    found["step"] = specs_of(sharded) == SPECS and all(map(lies_beside, state.slots.values()))
    found["compiled"] = step._cache_size()
    found["distance"] = far((sharded, state.slots), (expected, expected_state.slots))
    return found


def zero(transformation: Any) -> dict[str, Any]:
    """Parameters on every device, optimizer state spread over the data axis."""
    params, grads = trees()
    everywhere = {name: () for name in SPECS}
    spread = {"kernel": ("data",), "rows": ("data",), "bias": ("data",)}
    params, grads = placed(params, everywhere), placed(grads, everywhere)

    def where(name: Any) -> Any:
        return NamedSharding(MESH, PartitionSpec(*spread[name]))

    replicated = NamedSharding(MESH, PartitionSpec())
    shapes = jax.eval_shape(transformation.init, params)
    places = optax_tree.map_params(
        transformation,
        lambda leaf, place: place,
        shapes,
        {name: where(name) for name in SPECS},
        transform_non_params=lambda leaf: replicated,
    )
    state = jax.jit(transformation.init, out_shardings=places)(params)

    def step(params: Any, grads: Any, state: Any) -> Any:
        updates, state = transformation.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    whole = {name: replicated for name in SPECS}
    compiled = jax.jit(step, donate_argnums=(0, 2), out_shardings=(whole, places))
    expected, expected_state = trees()[0], transformation.init(trees()[0])
    copied = transformation.init(params)
    for _ in range(3):
        params, state = compiled(params, grads, state)
        updates, expected_state = transformation.update(trees()[1], expected_state, expected)
        expected = optax.apply_updates(expected, updates)
    moments = optax_tree.get(state, "mu"), optax_tree.get(state, "nu")
    return {
        "params": specs_of(params) == everywhere,
        "state": all(specs_of(moment) == spread for moment in moments),
        "distance": far(params, expected),
        "compiled": compiled._cache_size(),
        "replicated_bytes": on_one_device(copied),
        "bytes": on_one_device(state),
    }


def elsewhere(optimizer: Any) -> dict[str, Any]:
    """Parameters on a device that is not the first."""
    device = jax.devices()[3]
    params, grads = (jax.device_put(tree, device) for tree in trees())
    state = optimizer.init(params)
    step = jax.jit(optimizer.step)
    after, state = step(params, grads, state)
    step(after, grads, state)
    return {"there": all(leaf.devices() == {device} for leaf in jax.tree.leaves(state)), "compiled": step._cache_size()}


def read(optimizer: Any) -> dict[str, Any]:
    """A state that was on the host, in steps on parameters that are spread over a mesh."""
    spread = NamedSharding(jax.make_mesh((8,), ("x",)), PartitionSpec("x"))
    params = jax.device_put(jnp.ones((8, 2)), spread)
    _, expected = optimizer.step(params, params, optimizer.init(params))
    states = [optimizer.step(params, params, state)[1] for state in (expected, jax.device_get(expected))]
    pairs = zip(*map(jax.tree.leaves, states), strict=True)
    return {"there": all(a.sharding.is_equivalent_to(b.sharding, a.ndim) for a, b in pairs)}


def factored() -> dict[str, Any]:
    """Slots of other shapes than their parameters': each axis that they have is spread as the parameter's."""
    optimizer, (params, grads) = Adafactor(), trees()
    expected, expected_state = params, optimizer.init(params)
    sharded, sharded_grads = placed(params, SPECS), placed(grads, SPECS)
    states = {"eager": optimizer.init(sharded), "jit": jax.jit(optimizer.init)(sharded)}
    specs = {
        kind: {name: list(specs_of({"kernel": state.slots[name]["kernel"]})["kernel"]) for name in ("row", "column")}
        for kind, state in states.items()
    }
    step, state = jax.jit(optimizer.step), states["jit"]
    for _ in range(3):
        sharded, state = step(sharded, sharded_grads, state)
        expected, expected_state = optimizer.step(expected, grads, expected_state)
    distance = far((sharded, state.slots), (expected, expected_state.slots))
    return {**specs, "distance": distance, "compiled": step._cache_size()}


if __name__ == "__main__":
    result = {
        "steps": {
            f"{kind.__name__} {convention}": sharded_steps(kind(0.1, convention=convention))
            for kind in ALGORITHMS
            for convention in dict.fromkeys((next(iter(kind.conventions)), "optax"))
            if convention in kind.conventions
        },
        "elsewhere": {
            "core": elsewhere(optimizers.Adam(0.1)),
            "transformation": elsewhere(goptax.to_optimizer(optax.adamw(0.1))),
        },
        "read": read(optimizers.Adam(0.1)),
        "factored": factored(),
        "transformation": sharded_steps(goptax.to_optimizer(optax.adamw(0.1))),
        "clipped": sharded_steps(optimizers.Adam(0.1, global_clipnorm=1.0, use_ema=True)),
        "zero": {name: zero(getattr(goptax, name)(0.1)) for name in ("adam", "adamw", "adamax")},
    }
    json.dump(result, sys.stdout)
