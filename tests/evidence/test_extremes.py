"""The largest, the smallest and subnormal numbers: what they make of a parameter, beside what the originals make.

A table of algorithms, conventions, options and gradients, each gradient in the first, second or third of five steps
whose other gradients are ordinary. torch.optim, optax and Keras say what is to come out; for Keras 2, which does not
run any more, its formula in ordinary arithmetic. Where an original is finite, gradwise is, and near to it or to real
arithmetic: an original that squares before it weighs makes infinity of a square whose weighted value is none, and one
that multiplies by a rate before it divides loses what is too large for that. So gradwise may be finite where an
original is not; it is never the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.backend_table import array, precision, read
from helpers.drawn_runs import Run
from helpers.every_convention import EVERY, WITH_NAMES, algorithm_of
from helpers.keras_peer import Ask
from helpers.selection import crossing
from helpers.twin_floats import in_floats
from rules import all_facts

from gradwise import optimizers
from gradwise.backends import Variable, ops

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

DTYPES = ("float32", "float64")
USUAL = (0.5, -0.25, 1.0, 0.0, 0.125)
"""The gradients of a run, one of which is another."""
STARTS = (0.0, 1.0)

TINY = 1e-12
"""A rate that brings back into the range what a division took out of it."""


def hyperparameters(algorithm: str, convention: str, options: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """All that a convention knows but the rate, for each of the options that it, and the original, has."""
    known = all_facts()[algorithm].hyperparameters[convention]
    for each in options:
        given = {**known, **each}
        if set(each) <= set(known) and (convention != "optax" or function_of(algorithm, given) is not None):
            yield {name: value for name, value in given.items() if name != "learning_rate"}


def function_of(algorithm: str, values: Mapping[str, Any]) -> str | None:
    """The function of optax that has all of these that are not as by default."""
    facts = all_facts()[algorithm]
    changed = {name for name, value in values.items() if value != facts.hyperparameters["optax"][name]}
    for name, function in facts.optax.items():
        is_so = all(values[each] == value for each, value in function.fixed.items())
        if is_so and changed - {"learning_rate"} <= {*function.fixed, *function.drawn}:
            return name
    return None


TABLE = [
    pytest.param(kind.__name__, convention, marks=[getattr(pytest.mark, peer)] if peer else [])
    for kind, convention in EVERY
    for peer in [{"torch": "torch", "optax": "jax", "keras": "keras"}.get(convention)]
]


def extremes(dtype: str) -> dict[str, float]:
    """Gradients by what is the matter with them, of both signs."""
    limits = np.finfo(dtype)
    largest, smallest = float(limits.max), float(limits.smallest_subnormal)
    root, root_of_tiny = np.sqrt(largest), float(np.sqrt(limits.tiny))
    sizes = {
        "largest": largest,
        "half of it": largest / 2,
        "its square overflows": 64 * root,
        "its square, weighted, does not": 4 * root,
        "its square just does not": 0.9 * root,
        "its square is subnormal": root_of_tiny / 64,
        "its square is 0": root_of_tiny * 1e-6,
        "smallest normal": float(limits.tiny),
        "subnormal": 64 * smallest,
        "smallest": smallest,
    }
    return {"zero": 0.0, **sizes, **{f"minus {name}": -size for name, size in sizes.items()}}


def elements(dtype: str) -> list[tuple[str, float, int, float]]:
    """For each element of the parameter: the extreme's name and value, the step, from 1, that it is in, the start."""
    return [(*each, when, start) for when in (1, 2, 3) for start in STARTS for each in extremes(dtype).items()]


def run_of(dtype: str, rate: float) -> Run:
    """All extremes, in each of the steps and from each start."""
    _, values, whens, starts = zip(*elements(dtype), strict=True)
    gradients = [
        {"parameter": np.where(np.equal(whens, t), values, usual).astype(dtype)} for t, usual in enumerate(USUAL, 1)
    ]
    return Run({"parameter": np.asarray(starts, dtype)}, gradients, [rate] * len(USUAL))


# ---------------------------------------------------------------- the originals


def of_torch(algorithm: str, values: Mapping[str, Any], run: Run, dtype: str) -> list[Any]:
    from test_live_torch import Theirs

    theirs = Theirs(algorithm, dict(values), run.start)
    return [theirs.step(rate, each)["parameter"] for rate, each in zip(run.rates, run.gradients, strict=True)]


def of_optax(algorithm: str, values: Mapping[str, Any], run: Run, dtype: str) -> list[Any]:
    from test_live_optax import Theirs

    name = function_of(algorithm, values)
    assert name is not None
    given = {each: value for each, value in values.items() if each in all_facts()[algorithm].optax[name].drawn}
    with precision("jax", dtype):
        theirs = Theirs(name, given, run.start)
        return [theirs.step(rate, each)["parameter"] for rate, each in zip(run.rates, run.gradients, strict=True)]


def by_formula(
    algorithm: str, convention: str, values: Mapping[str, Any], run: Run, dtype: Any, monkeypatch: Any
) -> list[Any]:
    """The rule of the twin in a NumPy dtype, an operation at a time."""
    return [each["parameter"] for each in in_floats(algorithm, convention, values, run, dtype, monkeypatch)]


def of_keras(ask: Ask, algorithm: str, values: Mapping[str, Any], run: Run, dtype: str) -> list[Any]:
    keras = all_facts()[algorithm].keras
    assert keras is not None
    given = {name: value for name, value in values.items() if name not in keras.given}
    return [step["parameter"].astype(dtype) for step in ask(algorithm, given, run, dtype)]


# ---------------------------------------------------------------- gradwise


def imperative(library: str, optimizer: Any, run: Run) -> list[Any]:
    made = array(library, run.start["parameter"])
    cell = Variable(made) if library == "jax" else made
    found = []
    for gradient in run.gradients:
        optimizer.apply([array(library, gradient["parameter"])], [cell])
        found.append(read(cell))
    return found


def functional(library: str, optimizer: Any, run: Run, compiled: bool = False) -> list[Any]:
    step = optimizer.step
    if compiled:
        import jax

        step = jax.jit(step)
    parameter, found = array(library, run.start["parameter"]), []
    state = optimizer.init(parameter)
    for gradient in run.gradients:
        parameter, state = step(parameter, array(library, gradient["parameter"]), state)
        found.append(read(parameter))
    return found


def traced_numbers(optimizer: Any, run: Run) -> list[Any]:
    """Compiled with the optimizer's numbers as arguments."""
    import jax

    step = jax.jit(lambda optimizer, *given: optimizer.step(*given))
    parameter, found = array("jax", run.start["parameter"]), []
    state = optimizer.init(parameter)
    for gradient in run.gradients:
        parameter, state = step(optimizer, parameter, array("jax", gradient["parameter"]), state)
        found.append(read(parameter))
    return found


WAYS = {
    "numpy": ("numpy", lambda make, run: imperative("numpy", make(jit_compile=False), run)),
    "numpy, one pass": ("fast", lambda make, run: imperative("numpy", make(jit_compile=True), run)),
    "numpy, functional": ("numpy", lambda make, run: functional("numpy", make(), run)),
    "torch": ("torch", lambda make, run: imperative("torch", make(jit_compile=False), run)),
    "torch, one pass": ("torch fast", lambda make, run: imperative("torch", make(jit_compile=True), run)),
    "torch, functional": ("torch", lambda make, run: functional("torch", make(), run)),
    "jax": ("jax", lambda make, run: imperative("jax", make(), run)),
    "jax, compiled": ("jax", lambda make, run: functional("jax", make(), run, True)),
    "jax, traced numbers": ("jax", lambda make, run: traced_numbers(make(), run)),
}


def marks_of(way: str) -> list[Any]:
    return [getattr(pytest.mark, name) for name in WAYS[way][0].split() if name != "numpy"]


EACH_WAY = [pytest.param(way, marks=marks_of(way)) for way in WAYS]


# ---------------------------------------------------------------- comparing


def unlike(
    found: Sequence[Any], theirs: Sequence[Any], exact: Sequence[Any], run: Run, dtype: str, called: Any = None
) -> list[str]:
    """What is not as it should be, in words.

    Args:
        found: the parameter after each step.
        theirs: the original's.
        exact: in real arithmetic, or about that.
        run: what was run.
        dtype: of the parameter.
        called: what each element is called, where it is none of `elements`.
    """
    start = run.start["parameter"].astype(np.float64)
    tiny = float(np.finfo(dtype).tiny)
    few_digits: Any = False
    if called is None:
        # Of squares that are subnormal few digits are left, on processors that flush them none.
        names, values, whens, starts = zip(*elements(dtype), strict=True)
        few_digits = (np.abs(values) > 0) & (np.abs(values) < 2 * np.sqrt(tiny))
        called = [f"{names[i]} in step {whens[i]}, from {starts[i]}" for i in range(len(names))]
    scale, faults = np.abs(start), []
    for t, (ours, their, true) in enumerate(zip(found, theirs, exact, strict=True), 1):
        assert ours.dtype == dtype
        ours, their, true = (np.asarray(each, np.float64) for each in (ours, their, true))
        for each in (their, true):
            scale = np.fmax(scale, np.where(np.isfinite(each), np.maximum(np.abs(each), np.abs(each - start)), 0.0))
        allowed = np.where(few_digits, 2.0, 1e-4) * scale + 8 * tiny
        near = (np.abs(ours - their) <= allowed) | (np.abs(ours - true) <= allowed)
        for i in range(ours.size):
            if np.isfinite(their[i]):
                good = np.isfinite(ours[i]) and near[i]
            elif np.isnan(their[i]):
                good = True
            else:
                good = ours[i] == their[i] or (np.isfinite(ours[i]) and near[i])
            if not good:
                faults.append(f"step {t}, {called[i]}: {ours[i]}, the original {their[i]}, exactly {true[i]}")
    return faults


def test_what_a_fault_is() -> None:
    """The comparison sees what it is there for."""
    run = run_of("float32", 0.5)
    size = run.start["parameter"].size
    zeros, nan, inf = (np.full(size, value, np.float32) for value in (0.0, np.nan, np.inf))
    assert not unlike([zeros], [zeros], [zeros], run, "float32")
    for ours, theirs in ((nan, zeros), (inf, zeros), (nan, inf), (-inf, inf), (zeros + 1, zeros - 1)):
        assert unlike([ours], [theirs], [zeros], run, "float32")
    assert not unlike([zeros], [nan], [zeros], run, "float32")


def as_the_original(algorithm: str, convention: str, values: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters with those of Keras's class that it has no names for."""
    keras = all_facts()[algorithm].keras
    return {**values, **keras.given} if convention == "keras" and keras is not None else values


def original_of(convention: str, request: Any, monkeypatch: Any) -> Any:
    """What runs a convention's live original, or where there is none any more its formula."""
    live = {
        "keras": lambda *given: of_keras(request.getfixturevalue("ask_keras"), *given),
        "torch": of_torch,
        "optax": of_optax,
    }
    return live.get(convention, lambda name, *given: by_formula(name, convention, *given, monkeypatch))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("table", "rate"),
    [pytest.param("extremes", None, id="options"), pytest.param("ends", None, id="edges"),
     pytest.param("ends", 0.0, id="edges, no rate"), pytest.param("ends", TINY, id="edges, tiny rate")],
)  # fmt: skip
@pytest.mark.parametrize(("algorithm", "convention"), TABLE)
def test_as_the_originals(
    algorithm: str, convention: str, table: str, rate: float | None, dtype: str, request: Any, monkeypatch: Any
) -> None:
    kind, facts = getattr(optimizers, algorithm), all_facts()[algorithm]
    if rate is None:
        rate = facts.hyperparameters[convention]["learning_rate"]
    original = original_of(convention, request, monkeypatch)
    wide = np.float64 if dtype == "float32" else np.longdouble
    faults = []
    for values in hyperparameters(algorithm, convention, getattr(facts, table)):
        if any(values.get(name) == value for name, value in facts.refused.get(convention, {}).items()):
            continue
        values = as_the_original(algorithm, convention, values)
        values = {name: value for name, value in values.items() if name != "weight_decay" or value}
        make = functools.partial(kind, rate, convention=convention, **values)
        run = run_of(dtype, rate)
        with np.errstate(all="ignore"):
            theirs = original(algorithm, values, run, dtype)
            exact = by_formula(algorithm, convention, values, run, wide, monkeypatch)
            ours = WAYS["numpy"][1](make, run)
        faults += [f"{values}: {fault}" for fault in unlike(ours, theirs, exact, run, dtype)]
    assert not faults, "\n".join(faults[:20])


@crossing(("kind", "convention", "way", "dtype"), WITH_NAMES, EACH_WAY, DTYPES, of=algorithm_of)
def test_every_way_is_the_same(kind: type, convention: str, way: str, dtype: str) -> None:
    """As NumPy by whole arrays, which is compared with the originals; with the option that has most of the slots."""
    facts = all_facts()[kind.__name__]
    rate = facts.hyperparameters[convention]["learning_rate"]
    options = hyperparameters(facts.name, convention, facts.extremes)
    values = max(options, key=lambda each: sum(map(bool, each.values())))
    values = {name: value for name, value in values.items() if name != "weight_decay" or value}
    make = functools.partial(kind, rate, convention=convention, **values)
    library = WAYS[way][0].split()[0]
    with np.errstate(all="ignore"), precision(library if library != "fast" else "numpy", dtype):
        run = run_of(dtype, rate)
        wanted = WAYS["numpy"][1](make, run)
        found = WAYS[way][1](make, run)
    assert not unlike(found, wanted, wanted, run, dtype)
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        if way in ("numpy, one pass", "numpy, functional", "torch, one pass"):
            assert ours.tobytes() == theirs.tobytes()


@crossing(
    ("kind", "convention", "way"),
    [each for each in WITH_NAMES if all_facts()[each.values[0].__name__].weighed],
    [way for way in EACH_WAY if way.values not in (("numpy",), ("jax",))],
    of=algorithm_of,
)
def test_every_way_is_the_same_at_the_edges(kind: type, convention: str, way: str) -> None:
    """Where most overflows before it is weighed by next to nothing."""
    weighed = all_facts()[kind.__name__].weighed or {}
    make = functools.partial(kind, TINY, convention=convention, **weighed)
    library = WAYS[way][0].split()[0]
    with np.errstate(all="ignore"), precision(library if library != "fast" else "numpy", "float32"):
        run = run_of("float32", TINY)
        wanted, found = WAYS["numpy"][1](make, run), WAYS[way][1](make, run)
        if "one pass" in way:
            # As well when another optimizer, whose numbers are ordinary, was recorded before.
            ordinary = dict.fromkeys(weighed, 0.5)
            WAYS[way][1](functools.partial(kind, 0.01, convention=convention, **ordinary), run)
            found += WAYS[way][1](make, run)
            wanted += wanted
    assert not unlike(found, wanted, wanted, run, "float32")
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        if way in ("numpy, one pass", "numpy, functional", "torch, one pass"):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("way", ["numpy", "numpy, one pass", "torch, one pass", "jax, compiled"])
@pytest.mark.parametrize("kind", [kind for kind, convention in EVERY if convention == "optax"])
def test_large_rates_do_not_overflow_on_the_way(kind: Any, way: str, request: Any) -> None:
    """A rate times a gradient may be too large for the dtype, where the step is not."""
    for mark in marks_of(way):
        request.applymarker(mark)
    if not all_facts()[kind.__name__].bounded:
        return
    run = run_of("float32", 1e3)
    with np.errstate(all="ignore"):
        found = WAYS[way][1](functools.partial(kind, 1e3, convention="optax"), run)
    assert all(np.all(np.isfinite(each)) for each in found)


# ---------------------------------------------------------------- averages


LONG = pytest.mark.parametrize("memory", [0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 - 2.0**-20])


@LONG
def test_averages_do_not_drift(memory: float) -> None:
    """Two weights that are rounded apart from each other move a long average by up to 1400 units."""
    values = np.random.default_rng(0).uniform(0.5, 2.0, 500).astype(np.float32)
    for average, of in ((ops.moving_average, values), (ops.moving_average_of_squares, np.sqrt(values))):
        aim = values if of is values else of * of
        now = aim
        for _ in range(2000):
            now = average(now, of, memory)
        assert np.max(np.abs(now - aim) / np.spacing(aim)) <= 8.0


@pytest.mark.parametrize("average", [ops.moving_average, ops.moving_average_of_squares])
def test_averages_of_infinities(average: Any) -> None:
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    past = np.asarray([inf, inf, 1.0, 1.0, nan], np.float32)
    new = np.asarray([1.0, inf, inf, nan, 1.0], np.float32)
    for memory in (1e-30, 0.25, 0.5, 0.75, 0.9375, 0.999):
        assert np.array_equal(average(past, new, memory), [inf, inf, inf, nan, nan], equal_nan=True)
    assert np.array_equal(ops.moving_average(-past[:1], new[:1], 0.9), [-inf])
    # No weight at all is none of infinity, as in the originals.
    with np.errstate(invalid="ignore"):
        assert np.isnan(average(past[:1], new[:1], 0.0)) and np.isnan(average(new[:1], past[:1], 1.0))


def test_averages_at_the_ends() -> None:
    """All of the past, or nothing of it, to the last bit."""
    rng = np.random.default_rng(1)
    past, new = rng.normal(size=(2, 10000)).astype(np.float32)
    assert np.array_equal(ops.moving_average(past, new, 0.0), new)
    assert np.array_equal(ops.moving_average(past, new, 1.0), past)
    largest = np.full(1, np.finfo(np.float32).max)
    assert np.isfinite(ops.moving_average(largest, -largest, 0.9)) and np.isfinite(
        ops.moving_average_of_squares(np.ones(1, np.float32), np.full(1, 1e20, np.float32), 0.999)
    )
