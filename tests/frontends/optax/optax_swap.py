"""A pytest plugin for optax's own tests: our functions stand in place of optax's of the same names.

It is loaded before optax's test modules, some of which make their optimizers as they are imported. Tests that concern
other optimizers of optax are deselected; those that ask for what gradwise does differently are skipped, with the reason
from `DIFFERENCES`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

# Both must be set before JAX starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

import jax
import optax
import pytest
from optax._src import alias

from gradwise.frontends import optax as goptax
from gradwise.frontends.optax.functions import ROWS


class Version(str):
    """A version that compares as one: optax's sharding tests take "0.10.2" for older than "0.7.2", and skip."""

    def __lt__(self, other: str) -> bool:
        return [int(part) for part in self.split(".")] < [int(part) for part in other.split(".")]


jax.__version__ = Version(jax.__version__)

for name in ROWS:
    setattr(alias, name, getattr(goptax, name))
    setattr(optax, name, getattr(goptax, name))

DIFFERENCES: dict[str, Callable[[str, str], bool]] = {
    "gradwise: parameters and slots are real; complex ones are refused": lambda test, given: "complex" in given,
    "gradwise: slots of 16-bit parameters are float32 where no dtype is asked for": lambda test, given: (
        test.startswith("test_explicit_dtype") and "params_dtype='bfloat16', state_dtype=None" in given
    ),
}


def concerns_us(item: Any) -> bool:
    """Whether a test is about one of our functions, or about none in particular."""
    given = str(getattr(item.function, "__x_params_repr__", ""))
    named = re.search(r"opt_name='(\w+)'", given)
    if named is not None:
        return named.group(1) in (*ROWS, "sgd_mom")
    file = item.path.name
    if file == "alias_test.py":
        return False  # L-BFGS
    if file in ("sharding_test.py", "float64_test.py"):
        return bool(re.search(rf"_(?:{'|'.join(ROWS)})$", item.name))
    return True


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    others = [item for item in items if not concerns_us(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    for item in items:
        given = str(getattr(item.function, "__x_params_repr__", ""))
        for reason, applies in DIFFERENCES.items():
            # optax itself skips some of these before it makes a parameter; its reason then counts.
            if applies(item.name, given) and not _skipped_by_optax(item.name, given):
                item.add_marker(pytest.mark.skip(reason=reason))


def _skipped_by_optax(test: str, given: str) -> bool:
    return "opt_name='adadelta'" in given and "complex" in given
