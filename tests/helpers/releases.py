"""What the tests use of other libraries and what newer or older releases call by another name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest


def enable_x64(wide: bool = True) -> Any:
    """The context in which JAX has 64 bits, or has not."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(wide)
    from jax.experimental import enable_x64

    return enable_x64(wide)


def shard_map(function: Callable[..., Any], branches: bool = False, **keywords: Any) -> Any:
    """A function that runs on each device of a mesh. `branches` says that it has a `cond` inside of it."""
    import jax

    if hasattr(jax, "shard_map"):
        return jax.shard_map(function, **keywords)
    from jax.experimental.shard_map import shard_map

    # JAX 0.5 wants both branches to be the same on all devices, or neither, and else says to do without the check.
    return shard_map(function, check_rep=not branches, **keywords)


class _OptaxTree:
    """`optax.tree`, whose functions had a prefix once."""

    def __getattr__(self, name: str) -> Any:
        import optax

        return getattr(optax.tree, name) if hasattr(optax, "tree") else getattr(optax.tree_utils, f"tree_{name}")


optax_tree = _OptaxTree()


def optax_partition(*arguments: Any) -> Any:
    """`optax.partition`, which stood elsewhere once."""
    import optax

    return (optax if hasattr(optax, "partition") else optax.transforms).partition(*arguments)


def seeded(function: Callable[..., Any], *arguments: Any, seed: int, **keywords: Any) -> Any:
    """A call of a function whose seed has had several names."""
    name = next(name for name in ("rng", "key", "seed") if name in inspect.signature(function).parameters)
    return function(*arguments, **keywords, **{name: seed})


def optax_schedules_decay() -> bool:
    """Whether optax's weight decay may be a schedule, which needs a count in its state."""
    import optax

    return "count" in optax.add_decayed_weights(float).init({})._fields  # A tuple has a method of that name.


def skip_what_optax_lacks(name: str, options: Mapping[str, Any]) -> None:
    """Skip a test of arguments that the installed optax does not have."""
    import optax

    missing = sorted(set(options) - set(inspect.signature(getattr(optax, name)).parameters))
    if missing:
        pytest.skip(f"this release's optax.{name} has no {', '.join(missing)}")
    if callable(options.get("weight_decay")) and not optax_schedules_decay():
        pytest.skip("this release of optax keeps no count for a schedule of the weight decay")


def skip_what_torch_lacks(name: str, options: Mapping[str, Any]) -> None:
    """Skip a comparison with arguments that the installed torch.optim does not have."""
    import torch

    missing = sorted(set(options) - set(inspect.signature(getattr(torch.optim, name)).parameters))
    if missing:
        pytest.skip(f"this release's torch.optim.{name} has no {', '.join(missing)}")


def skip_unless_torch(has: bool, what: str) -> None:
    """Skip a test of what the installed torch does not have."""
    if not has:
        pytest.skip(f"this release of torch has no {what}")


def torch_names_parameters() -> bool:
    """Whether torch's optimizers take `named_parameters()`."""
    import torch

    try:
        torch.optim.SGD([("weight", torch.ones(1, requires_grad=True))], lr=1.0)
    except TypeError:
        return False
    return True


def recompiling(at_most: int, or_fail: bool = False) -> Any:
    """The context in which torch compiles a function so often, and raises or runs it as it is afterwards."""
    from torch._dynamo import config

    def first(*names: str) -> list[str]:
        return [name for name in names if hasattr(config, name)][:1]

    limit = first("recompile_limit", "cache_size_limit")
    # The oldest only warn.
    fail = first("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit") if or_fail else []
    return config.patch({**dict.fromkeys(limit, at_most), **dict.fromkeys(fail, True)})
