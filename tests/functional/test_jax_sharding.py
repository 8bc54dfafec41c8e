"""Several devices: parameters, and state, that are spread over eight of them."""

from __future__ import annotations

from typing import Any

import pytest
from jax_process import answer_of

pytestmark = pytest.mark.jax


@pytest.fixture(scope="module")
def found() -> Any:
    return answer_of("sharding_process.py")


def test_shardings_are_kept_by_init_and_by_steps(found: Any) -> None:
    """Also by a compiled init, which in optax puts all state on one device; one compilation serves all steps."""
    for name, each in {**found["steps"], **{name: found[name] for name in ("clipped", "transformation")}}.items():
        assert each["eager"] and each["jit"] and each["step"], name
        assert each["compiled"] == each["compiled after a compiled init"] == 1, name


def test_state_lies_where_the_parameters_are(found: Any) -> None:
    """Also that of a transformation of optax's, which by itself puts its count on the first device."""
    for name in ("core", "transformation"):
        assert found["elsewhere"][name] == {"there": True, "compiled": 1}, name


def test_state_that_was_on_the_host_goes_back_to_the_parameters(found: Any) -> None:
    assert found["read"]["there"]


def test_results_are_those_of_one_device(found: Any) -> None:
    """Equal where each element is updated by itself; a global norm is summed in another order."""
    for name, each in found["steps"].items():
        assert each["distance"] <= 1e-6, name
    assert found["clipped"]["distance"] <= 1e-5 and found["transformation"]["distance"] <= 1e-6


def test_state_spread_over_the_data_axis(found: Any) -> None:
    """ZeRO: each of four groups of devices holds a quarter of the state, and the count."""
    for name, each in found["zero"].items():
        assert each["params"] and each["state"] and each["compiled"] == 1, name
        assert each["distance"] <= 1e-6, name
        print(f"{name}: {each['replicated_bytes']} bytes a device replicated, {each['bytes']} spread")
        assert each["bytes"] <= each["replicated_bytes"] / 4 + 8


def test_slots_of_other_shapes_are_spread_as_the_axes_that_they_have(found: Any) -> None:
    assert found["factored"]["eager"] == found["factored"]["jit"] == {"row": ["data"], "column": ["model"]}
    assert found["factored"]["distance"] <= 1e-6 and found["factored"]["compiled"] == 1
