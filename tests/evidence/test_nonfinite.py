"""NaN and infinite gradients: they go through the formula to their own element; only clipping by norms spreads them.

A table over every algorithm and convention, with the options that make more slots, on every way of running a step.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.drawn_runs import Run
from helpers.libraries import LIBRARIES, array, ones, parameter
from helpers.twin_floats import in_floats
from rules import all_facts

from gradwise import optimizers
from gradwise.backends import Variable
from gradwise.optimizers import SGD
from gradwise.optimizers.registry import ALGORITHMS


def options_of(algorithm, convention):
    """None, and those that make more slots."""
    facts = all_facts()[algorithm]
    known = facts.hyperparameters[convention]
    more = [each for each in facts.extremes if set(each) <= set(known)]
    return [{}, *(each for each in more if facts.slots({**known, **each}) != facts.slots(known))]


TABLE = [
    pytest.param(algorithm.__name__, convention, options, id="-".join([algorithm.__name__, convention, *options]))
    for algorithm in ALGORITHMS
    for convention in algorithm.conventions
    for options in options_of(algorithm.__name__, convention)
]
WAYS = [
    "numpy",
    pytest.param("numpy-fused", marks=pytest.mark.fast),
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("torch-fused", marks=[pytest.mark.torch, pytest.mark.fast]),
    pytest.param("jax", marks=pytest.mark.jax),
    "numpy-functional",
]
BAD = 3
"""The position of what is not finite."""


def read(given):
    """What an array or a cell holds."""
    return Variable(given).numpy()


def problem(bad):
    """The start of two parameters, and for each of three steps their gradients; the second has the bad one."""
    rng = np.random.default_rng(3)
    start = rng.normal(size=(2, 5)).astype(np.float32)
    gradients = rng.normal(size=(3, 2, 5)).astype(np.float32)
    gradients[1, 0, BAD] = bad
    return start, gradients


def steps(way, make, bad):
    """Parameters and slots, as NumPy arrays by name, after each of the three steps."""
    library, _, kind = way.partition("-")
    start, gradients = problem(bad)
    history = []
    if library == "jax" or kind == "functional":
        optimizer = make()
        params = {"kernel": array(library, start[0]), "bias": array(library, start[1])}
        state = optimizer.init(params)
        for kernel, bias in gradients:
            grads = {"kernel": array(library, kernel), "bias": array(library, bias)}
            params, state = optimizer.step(params, grads, state)
            trees = {"parameter": params, **state.slots}
            found = {(name, slot): read(tree[name]) for slot, tree in trees.items() for name in params}
            history.append({key: value for key, value in found.items() if value.shape})
        return history
    optimizer = make(jit_compile=kind == "fused")
    cells = [parameter(library, values) for values in start]
    for pair in gradients:
        optimizer.apply([array(library, gradient) for gradient in pair], cells)
        found = {(name, "parameter"): read(cell) for name, cell in zip(("kernel", "bias"), cells, strict=True)}
        for named in optimizer.named_cells():
            if named.cell.shape:
                found["kernel" if named.position == 0 else "bias", named.name] = named.cell.numpy()
        history.append(found)
    return history


RATE = 0.125


def expected(algorithm, convention, options, bad, monkeypatch):
    """What the formula makes of the element with the bad gradient, by the slot's name."""
    start, gradients = problem(bad)
    values = {**all_facts()[algorithm].hyperparameters[convention], **options}
    run = Run({"parameter": start[0]}, [{"parameter": each[0]} for each in gradients[:2]], [RATE] * 2)
    with np.errstate(all="ignore"):
        return {slot: value[BAD] for slot, value in in_floats(
            algorithm, convention, values, run, np.float64, monkeypatch)[-1].items()}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("algorithm", "convention", "options"), TABLE)
def test_what_is_not_finite_reaches_its_own_element_only(algorithm, convention, options, way, monkeypatch):
    def make(**more):
        return getattr(optimizers, algorithm)(RATE, convention=convention, **options, **more)

    fine = steps(way, make, 0.5)
    others = np.arange(5) != BAD
    for bad in (math.nan, math.inf, -math.inf):
        wanted = expected(algorithm, convention, options, bad, monkeypatch)
        for count, (found, good) in enumerate(zip(steps(way, make, bad), fine, strict=True)):
            assert found.keys() == good.keys()
            for (name, slot), value in found.items():
                same = value if name == "bias" or count == 0 else value[others]
                assert same.tobytes() == (good[name, slot] if same is value else good[name, slot][others]).tobytes()
                if name == "kernel" and count > 0:
                    assert math.isfinite(value[BAD]) == math.isfinite(wanted[slot])
                    # Later on, infinities may meet and be NaN.
                    assert count == 2 or np.isclose(value[BAD], wanted[slot], rtol=1e-5, equal_nan=True)


def test_the_table_is_complete():
    assert {(name, convention) for name, convention, _ in (each.values for each in TABLE)} == {
        (algorithm.__name__, convention) for algorithm in ALGORITHMS for convention in algorithm.conventions
    }


# ---------------------------------------------------------------- clipping


def clipped(way, bad, **options):
    """What three gradients become: one that is not finite, one beside it in the same array, one of another array."""
    library, _, kind = way.partition("-")
    first, second = [bad, 0.5], [0.5]
    if library == "jax" or kind == "functional":
        optimizer = SGD(1.0, **options)
        params = [array(library, [0.0, 0.0]), array(library, [0.0])]
        results, _ = optimizer.step(params, [array(library, first), array(library, second)], optimizer.init(params))
    else:
        optimizer = SGD(1.0, jit_compile=kind == "fused", **options)
        results = [parameter(library, [0.0, 0.0]), parameter(library, [0.0])]
        optimizer.apply([array(library, first), array(library, second)], results)
    return [-float(value) for each in results for value in read(each)]


def alike(found, wanted):
    return np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("convention", SGD.conventions)
def test_clipping(convention, way):
    nan, infinity = math.nan, math.inf
    for bad in (infinity, -infinity):
        limited = [math.copysign(0.25, bad), 0.25, 0.25]
        assert alike(clipped(way, bad, convention=convention, clipvalue=0.25), limited)
    assert alike(clipped(way, nan, convention=convention, clipvalue=0.25), [nan, 0.25, 0.25])
    if convention == "keras2":
        # Its clipnorm is the norm of all gradients together.
        for bad in (nan, infinity, -infinity):
            assert alike(clipped(way, bad, convention=convention, clipnorm=1.0), [nan] * 3)
        return
    # An infinite norm gives the factor 0, a NaN one spreads over its own array.
    for bad in (infinity, -infinity):
        assert alike(clipped(way, bad, convention=convention, clipnorm=1.0), [nan, 0.0, 0.5])
    assert alike(clipped(way, nan, convention=convention, clipnorm=1.0), [nan, nan, 0.5])
    # So does an infinite norm of all gradients in torch and optax; Keras makes NaN of them all.
    for bad in (infinity, -infinity):
        wanted = [nan] * 3 if convention == "keras" else [nan, 0.0, 0.0]
        assert alike(clipped(way, bad, convention=convention, global_clipnorm=1.0), wanted)
    assert alike(clipped(way, nan, convention=convention, global_clipnorm=1.0), [nan] * 3)


# ---------------------------------------------------------------- what the base adds


@pytest.mark.parametrize("library", LIBRARIES)
def test_averages_and_accumulators(library):
    """The average has NaN in one element; the accumulator forgets it when its window ends."""
    optimizer = SGD(0.5, use_ema=True, gradient_accumulation_steps=2)
    cell, good = parameter(library, [1.0, 1.0]), ones(library, 2)
    average, accumulator = None, None
    for gradient in (array(library, [math.nan, 1.0]), good, good):
        optimizer.apply([gradient], [cell])
        average, accumulator = (optimizer.variables[position].numpy().tolist() for position in (2, 3))
    assert alike(read(cell), [math.nan, 0.5])
    assert alike(average, [math.nan, 0.5])
    assert accumulator == [1.0, 1.0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_warning_and_no_error(library):
    """A step with what is not finite counts as any other."""
    optimizer = optimizers.Adam(0.1, loss_scale_factor=2.0, weight_decay=0.1)
    cell = parameter(library, [1.0, 1.0])
    for bad in (math.nan, math.inf, -math.inf, 3e38):
        optimizer.apply([array(library, [bad, bad])], [cell])
    assert optimizer.iterations == 4
