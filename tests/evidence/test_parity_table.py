"""The published bounds: reality is not worse, they are not above the caps, and the README's table says what they are.

NumPy and torch run all vectors here, each in one way and dtype; array-api-strict, which checks every operation, and
JAX, which compiles for each case, run a selection, and where they go operation by operation a tenth of the steps.
`make parity PARITY=--check`, which .ci/run has, runs all vectors in all ways and dtypes to their end.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from helpers.vector_runs import optimizer_of
from parity_table import (
    BY_NAME,
    GPU_MODES,
    MODES,
    README,
    STEPS,
    above_caps,
    allowed,
    kept,
    larger,
    measure,
    readme_with,
    table,
    worse,
)

from gradwise.vectors import available, load

LIBRARIES = {"torch": [pytest.mark.torch], "jax": [pytest.mark.jax]}
ROWS = [
    pytest.param(
        mode.name,
        marks=[*LIBRARIES.get(mode.library, []), *([pytest.mark.fast] if "one pass" in mode.name else [])],
        id=mode.name.replace(" ", "-"),
    )
    for mode in MODES
]
ALL = ("numpy", "torch")
SELECTED = ("plain", "plain-bfloat16")
FEW_STEPS = 10
(TURNS,) = {sum(mode.library == library for mode in MODES) for library in ALL}
"""NumPy and torch have so many ways each, in which cases take turns."""


def of(case, mode, place):
    """One of the dtypes that both have."""
    both = [dtype for dtype in case.dtypes if dtype in mode.dtypes]
    return both[place % len(both)]


@pytest.mark.parametrize("algorithm", list(dict.fromkeys(algorithm for algorithm, _ in available())))
@pytest.mark.parametrize("name", ROWS)
def test_reality_is_not_worse_than_what_is_published(name, algorithm):
    mode, first = BY_NAME[name], MODES.index(BY_NAME[name])
    found = [
        (convention, case)
        for own, convention in available()
        for case in (load(algorithm, convention) if own == algorithm else ())
        if mode.library in ALL or case.name in SELECTED
    ]
    if mode.library in ALL:
        # The ways of a library stand one after the other.
        found = [
            (convention, replace(case, dtypes=(of(case, mode, first + place),)))
            for place, (convention, case) in enumerate(found)
            if place % TURNS == first % TURNS
        ]
    elif mode.kind != "jit":
        found = [(convention, replace(case, steps=case.steps[:FEW_STEPS])) for convention, case in found]
    assert found
    for convention, case in found:
        for _, dtype, largest in measure(mode, [case]):
            published = kept()[name][dtype][f"{algorithm.lower()}.{convention}"]
            for distance, bound in zip(largest, published, strict=True):
                assert distance <= allowed(case, bound), (convention, case.name, dtype)


@pytest.mark.fast
def test_the_way_that_is_measured_is_the_way_that_is_named():
    """"One pass" really is one; "whole arrays" really are."""
    import numpy as np

    case = load("Adam", "torch")[0]
    for eager, way in ((False, "fused"), (True, "eager")):
        optimizer = optimizer_of(case, **({"jit_compile": False} if eager else {}))
        optimizer.apply([np.ones(3)], [np.ones(3)])
        assert [group.way for group in optimizer.execution_report()] == [way]


def test_everything_is_published():
    published = kept()
    on_gpu = {mode.name for mode in GPU_MODES}
    assert [name for name in published if name not in on_gpu] == [mode.name for mode in MODES]
    everything = {f"{algorithm.lower()}.{convention}" for algorithm, convention in available()}
    for name, by_dtype in published.items():
        assert set(by_dtype) == set(BY_NAME[name].dtypes)
        for own in by_dtype.values():
            assert set(own) == everything
            assert all(len(row) == len(STEPS) and row == sorted(row) for row in own.values())


def test_nothing_published_is_above_the_caps():
    assert above_caps(kept()) == []


def test_the_readme_has_the_table():
    text = README.read_text(encoding="utf-8")
    assert readme_with(text, kept()) == text
    assert table(kept()) in text


def test_bounds_hold_here_and_elsewhere():
    here = {"torch, functional": {"float32": {"adam.torch": [0.5, 2.0, 3.0]}}, "NumPy, one pass": {"float32": {}}}
    elsewhere = {"torch, functional": {"float32": {"adam.torch": [1.0, 1.5, 3.5]}}}
    assert larger(here, elsewhere)["torch, functional"]["float32"]["adam.torch"] == [1.0, 2.0, 3.5]
    assert here["torch, functional"]["float32"]["adam.torch"] == [0.5, 2.0, 3.0]


def test_what_is_worse_is_named():
    """The checks can fail."""
    published = kept()
    found = copy.deepcopy(published)
    found["NumPy, one pass"]["float32"]["adam.torch"][2] += 0.5
    (problem,) = worse(found, published)
    assert "NumPy, one pass, float32, adam.torch" in problem
    found["NumPy, one pass"]["float32"]["adam.torch"][2] = 16.5
    assert len(above_caps(found)) == 1
    found["NumPy, one pass"]["bfloat16"]["adam.torch"][0] = 0.5
    assert len(above_caps(found)) == 2
    assert table(found) != table(published)
