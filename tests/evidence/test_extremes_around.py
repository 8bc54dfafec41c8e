"""Extreme numbers in what surrounds a rule (clipping, averages, accumulation, loss scales), in parameters, in 16 bits.

As `test_extremes.py`: beside Keras, torch and optax, where they have the same thing. gradwise is finite where they are,
and NaN only where they are. An infinite parameter stays infinite, but for weight decay: coupled, it is an infinite
gradient; decoupled, it is multiplied, as in torch and in Keras on torch, and in optax infinity minus infinity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from helpers.backend_table import array, precision, read
from helpers.drawn_runs import Run
from helpers.every_convention import EVERY, WITH_NAMES, algorithm_of
from helpers.selection import crossing, taking_turns
from rules import all_facts
from test_extremes import (
    DTYPES,
    TABLE,
    USUAL,
    WAYS,
    as_the_original,
    by_formula,
    extremes,
    hyperparameters,
    marks_of,
    original_of,
    unlike,
)

from gradwise import optimizers
from gradwise.backends import Variable

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

Tensors = dict[str, Any]


# ---------------------------------------------------------------- parameters


def starting_points(dtype: str) -> dict[str, float]:
    """Extreme parameters."""
    infinite = {"infinity": np.inf, "minus infinity": -np.inf}
    return {**{f"from {name}": value for name, value in extremes(dtype).items()}, **infinite}


def run_from(dtype: str, rate: float) -> Run:
    start = np.asarray(list(starting_points(dtype).values()), dtype)
    gradients = [{"parameter": np.full_like(start, usual)} for usual in USUAL]
    return Run({"parameter": start}, gradients, [rate] * len(USUAL))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("algorithm", "convention"), TABLE)
def test_parameters_as_the_originals(
    algorithm: str, convention: str, dtype: str, request: Any, monkeypatch: Any
) -> None:
    kind, facts = getattr(optimizers, algorithm), all_facts()[algorithm]
    rate = facts.hyperparameters[convention]["learning_rate"]
    original = original_of(convention, request, monkeypatch)
    wide, called, faults = np.float64 if dtype == "float32" else np.longdouble, list(starting_points(dtype)), []
    large = (values for values in hyperparameters(algorithm, convention, facts.ends) if values.get("weight_decay"))
    for values in (*hyperparameters(algorithm, convention, facts.extremes), *large):
        values = as_the_original(algorithm, convention, values)
        values = {name: value for name, value in values.items() if name != "weight_decay" or value}
        run = run_from(dtype, rate)
        with np.errstate(all="ignore"):
            theirs = original(algorithm, values, run, dtype)
            exact = by_formula(algorithm, convention, values, run, wide, monkeypatch)
            ours = WAYS["numpy"][1](functools.partial(kind, rate, convention=convention, **values), run)
        if not values.get("weight_decay"):
            assert all((each[-2:] == run.start["parameter"][-2:]).all() for each in ours)
        elif facts.coupled(convention, values) or convention == "optax":
            # See above.
            assert all(np.isnan(each[-2:]).all() for each in (*ours, *theirs))
        else:
            for our, their in zip(ours, theirs, strict=True):
                assert np.array_equal(our[-2:], their[-2:], equal_nan=True)
        faults += [f"{values}: {fault}" for fault in unlike(ours, theirs, exact, run, dtype, called)]
    assert not faults, "\n".join(faults[:20])


SAME_BITS = ("numpy, one pass", "numpy, functional", "torch, one pass")
OTHER_WAYS = [pytest.param(way, marks=marks_of(way)) for way in (*SAME_BITS, "torch", "jax, compiled")]


@crossing(
    ("kind", "convention", "values", "way", "dtype"),
    [pytest.param(*each.values, {}, id=each.id) for each in WITH_NAMES]
    # More than all of the parameter, and as much as there is.
    + [pytest.param(optimizers.AdamW, convention, {"weight_decay": decay}, id=f"AdamW-{convention}-{decay}")
       for convention in ("keras", "torch") for decay in (1500.0, 1000.0)],
    OTHER_WAYS,
    DTYPES,
    of=algorithm_of,
)  # fmt: skip
def test_parameters_are_the_same_on_every_way(
    kind: type, convention: str, values: Any, way: str, dtype: str
) -> None:
    rate = all_facts()[kind.__name__].hyperparameters[convention]["learning_rate"]
    make = functools.partial(kind, rate, convention=convention, **values)
    library = WAYS[way][0].split()[0]
    with np.errstate(all="ignore"), precision(library if library != "fast" else "numpy", dtype):
        run = run_from(dtype, rate)
        wanted, found = WAYS["numpy"][1](make, run), WAYS[way][1](make, run)
    assert not unlike(found, wanted, wanted, run, dtype, list(starting_points(dtype)))
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        assert way not in SAME_BITS or ours.tobytes() == theirs.tobytes()


# ---------------------------------------------------------------- around the rule

LIMIT = 0.25
ELEMENTWISE: dict[str, dict[str, Any]] = {
    "values clipped": {"clipvalue": LIMIT},
    "average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "accumulated": {"gradient_accumulation_steps": 2},
    "scaled down": {"loss_scale_factor": 2.0**-120},
    "scaled up": {"loss_scale_factor": 2.0**100},
    "scaled": {"loss_scale_factor": 1024.0},
}
BY_NORM: dict[str, dict[str, Any]] = {"norm clipped": {"clipnorm": LIMIT}, "norms clipped": {"global_clipnorm": LIMIT}}
RULES: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.5}, "Adam": {}}
RATE = 0.125
INFINITE = {"infinity": np.inf, "minus infinity": -np.inf}


def runs_of(dtype: str, together: str) -> dict[str, Run]:
    """For each extreme, in one of the steps, a run.

    Beside the extreme stands an ordinary element, and a parameter whose gradients are ordinary.

    Args:
        dtype: of the parameters.
        together: "steps", if each run is one by itself; "parameters", if all are one run, each with parameters of its
            own; "elements", if they are elements of the same two, where what is around the rule takes each by itself.
    """
    made: dict[str, Run] = {}
    for name, value in {**extremes(dtype), **INFINITE}.items():
        for when in (1, 2, 3):
            gradients = [
                {"extreme": np.asarray([value if step == when else usual, usual], dtype),
                 "ordinary": np.asarray([usual, 0.5], dtype)}
                for step, usual in enumerate(USUAL, 1)
            ]  # fmt: skip
            start = {key: np.asarray([1.0, 0.0], dtype) for key in ("extreme", "ordinary")}
            made[f"{name} in step {when}"] = Run(start, gradients, [RATE] * len(USUAL))
    if together == "steps":
        return made

    def all_of(several: Sequence[Mapping[str, Any]]) -> Tensors:
        if together == "elements":
            return {key: np.concatenate([each[key] for each in several]) for key in several[0]}
        named = zip(made, several, strict=True)
        return {f"{name}: {key}": value for name, each in named for key, value in each.items()}

    steps = [all_of([run.gradients[step] for run in made.values()]) for step in range(len(USUAL))]
    return {"all": Run(all_of([run.start for run in made.values()]), steps, [RATE] * len(USUAL))}


def together(option: str) -> str:
    """As much of `runs_of` as an option allows: a norm is that of a parameter, or of all."""
    return "elements" if option in ELEMENTWISE else "parameters" if option == "norm clipped" else "steps"


def ours(make: Callable[..., Any], run: Run, library: str = "numpy") -> list[Tensors]:
    """On the imperative path."""
    optimizer, own = make(), {name: array(library, value) for name, value in run.start.items()}
    if library == "jax":
        own = {name: Variable(value) for name, value in own.items()}
    found = []
    for gradient in run.gradients:
        optimizer.apply([array(library, gradient[name]) for name in own], list(own.values()))
        found.append({name: np.array(read(value)) for name, value in own.items()})
    return found


def functional(make: Callable[..., Any], run: Run, library: str = "numpy", compiled: bool = False) -> list[Tensors]:
    optimizer = make()
    step = optimizer.step
    if compiled:
        import jax

        step = jax.jit(step)
    own, found = {name: array(library, value) for name, value in run.start.items()}, []
    state = optimizer.init(own)
    for gradient in run.gradients:
        own, state = step(own, {name: array(library, gradient[name]) for name in own}, state)
        found.append({name: np.array(read(own[name])) for name in run.start})
    return found


def of_torch_around(algorithm: str, values: Mapping[str, Any], around: Mapping[str, Any], run: Run) -> list[Tensors]:
    """torch.optim, with what its users call before a step."""
    import torch
    from test_live_torch import Theirs

    theirs = Theirs(algorithm, dict(values), run.start)
    every, step, found = list(theirs.parameters.values()), theirs.optimizer.step, []

    def clipped() -> None:
        if "clipvalue" in around:
            torch.nn.utils.clip_grad_value_(every, around["clipvalue"], foreach=False)
        for parameter in every if "clipnorm" in around else ():
            torch.nn.utils.clip_grad_norm_([parameter], around["clipnorm"], foreach=False)
        if "global_clipnorm" in around:
            torch.nn.utils.clip_grad_norm_(every, around["global_clipnorm"], foreach=False)
        for parameter in every if "loss_scale_factor" in around else ():
            parameter.grad /= around["loss_scale_factor"]
        step()

    theirs.optimizer.step = clipped
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        found.append({name: np.array(value) for name, value in theirs.step(rate, gradient).items()})
    return found


def of_optax_around(algorithm: str, values: Mapping[str, Any], around: Mapping[str, Any], run: Run) -> list[Tensors]:
    """optax, with the transformation that stands before its optimizer, or around it."""
    import optax

    rule = getattr(optax, algorithm.lower())(RATE, **values)
    if "clipvalue" in around:
        rule = optax.chain(optax.clip(around["clipvalue"]), rule)
    if "global_clipnorm" in around:
        rule = optax.chain(optax.clip_by_global_norm(around["global_clipnorm"]), rule)
    if "gradient_accumulation_steps" in around:
        rule = optax.MultiSteps(rule, around["gradient_accumulation_steps"])
    own, found = {name: array("jax", value) for name, value in run.start.items()}, []
    state = rule.init(own)
    for gradient in run.gradients:
        updates, state = rule.update({name: array("jax", gradient[name]) for name in own}, state, own)
        own = optax.apply_updates(own, updates)
        found.append({name: np.array(own[name]) for name in run.start})
    return found


HAVING = {
    "keras": {*ELEMENTWISE, *BY_NORM},
    "torch": {"values clipped", "norm clipped", "norms clipped", "scaled down", "scaled up", "scaled"},
    "optax": {"values clipped", "norms clipped", "accumulated"},
}
PEERS = [
    pytest.param(convention, option, marks=getattr(pytest.mark, {"optax": "jax"}.get(convention, convention)))
    for convention, having in HAVING.items()
    for option in {**ELEMENTWISE, **BY_NORM}
    if option in having
]


def flat(tensors: Mapping[str, Any]) -> Any:
    return np.concatenate([np.ravel(value) for value in tensors.values()])


@crossing(("convention", "option", "algorithm", "dtype"), PEERS, list(RULES), DTYPES)
def test_around_the_rule_as_the_originals(
    convention: str, option: str, algorithm: str, dtype: str, request: Any
) -> None:
    values, around = RULES[algorithm], {**ELEMENTWISE, **BY_NORM}[option]
    make = functools.partial(getattr(optimizers, algorithm), RATE, convention=convention, **values, **around)
    wide = "float64" if dtype == "float32" else None
    faults = []
    for case, run in runs_of(dtype, together(option)).items():
        with np.errstate(all="ignore"), precision("jax", dtype) if convention == "optax" else precision("numpy", dtype):
            if convention == "keras":
                theirs = request.getfixturevalue("ask_keras")(algorithm, {**values, **around}, run, dtype)
                theirs = [{name: each[name].astype(dtype) for name in run.start} for each in theirs]
            else:
                of = of_torch_around if convention == "torch" else of_optax_around
                theirs = of(algorithm, values, around, run)
            found = ours(make, run)
            # About as real arithmetic has it: where single precision overflows, double does not.
            exact = found if wide is None else ours(make, in_dtype(run, wide))
        cases = list(runs_of(dtype, "steps")) if together(option) == "elements" else [case]
        called = [f"{name}, {each}[{i}]" for each, value in run.start.items() for name in cases for i in range(2)]
        for t, tensors in enumerate(zip(found, theirs, exact, strict=True), 1):
            mine, their, true = (np.asarray(flat(each), np.float64) for each in tensors)
            assert flat(tensors[0]).dtype == dtype
            # In double precision there is none that is wider; the ways are compared with each other below.
            near = np.full(mine.shape, wide is None)
            for each in (their, true):
                near |= np.abs(mine - each) <= 1e-4 * np.fmax(np.abs(each), 1.0)
            good = np.isfinite(mine) & near
            good |= np.isnan(their) | (np.isinf(their) & (mine == their))
            faults += [
                f"step {t}, {called[i]}: {mine[i]}, the original {their[i]}, exactly {true[i]}"
                for i in np.flatnonzero(~good)
            ]
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:20])


def in_dtype(run: Run, dtype: str) -> Run:
    def wide(tensors: Mapping[str, Any]) -> Tensors:
        return {name: value.astype(dtype) for name, value in tensors.items()}

    return Run(wide(run.start), list(map(wide, run.gradients)), run.rates)


AROUND_WAYS: dict[str, tuple[str, Callable[..., list[Tensors]]]] = {
    "numpy, one pass": ("fast", lambda make, run: ours(functools.partial(make, jit_compile=True), run)),
    "numpy, functional": ("numpy", lambda make, run: functional(make, run)),
    "torch": ("torch", lambda make, run: ours(functools.partial(make, jit_compile=False), run, "torch")),
    "torch, one pass": ("torch fast", lambda make, run: ours(functools.partial(make, jit_compile=True), run, "torch")),
    "jax, compiled": ("jax", lambda make, run: functional(make, run, "jax", True)),
}


@crossing(
    ("option", "way", "convention"),
    [*ELEMENTWISE, "norm clipped"],
    [pytest.param(way, marks=[getattr(pytest.mark, mark) for mark in marks.split() if mark != "numpy"])
     for way, (marks, _) in AROUND_WAYS.items()],
    ["keras", "torch", "optax"],
)  # fmt: skip
def test_around_the_rule_every_way_is_the_same(convention: str, way: str, option: str) -> None:
    around = {**ELEMENTWISE, **BY_NORM}[option]
    make = functools.partial(optimizers.Adam, RATE, convention=convention, **around)
    library = AROUND_WAYS[way][0].split()[0]
    with np.errstate(all="ignore"), precision(library if library != "fast" else "numpy", "float32"):
        (run,) = runs_of("float32", together(option)).values()
        wanted = list(map(flat, ours(functools.partial(make, jit_compile=False), run)))
        found = list(map(flat, AROUND_WAYS[way][1](make, run)))
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(np.isnan(mine), np.isnan(theirs))
        assert np.array_equal(np.isinf(mine), np.isinf(theirs))
        if way in SAME_BITS:
            assert mine.tobytes() == theirs.tobytes()
        else:
            # XLA computes with 0 for what is subnormal, which scaling and clipping make of ordinary gradients.
            allowed = 2.0 if library == "jax" and option in ("scaled down", "scaled up", "norm clipped") else 1e-5
            finite = np.isfinite(theirs)
            assert np.all(np.abs(mine - theirs)[finite] <= allowed * np.fmax(np.abs(theirs), 1.0)[finite])


@pytest.mark.jax
@crossing(
    ("kind", "convention", "low", "high"),
    [each for each in WITH_NAMES if each.values[1] == "torch" or each.values == (optimizers.Adam, "optax")],
    [pytest.param(-120, 110), pytest.param(-60, 120), pytest.param(60, 125)],
    of=taking_turns,
)
def test_loss_scales_under_jit(kind: Any, convention: str, low: int, high: int) -> None:
    """What undoes them and what weighs the gradients become no constant together that compiled code takes for 0."""
    for exponent in (low, high):
        scale, rng = 2.0**exponent, np.random.default_rng(0)
        start = {"parameter": np.asarray([1.0, -2.0, 0.0], np.float32)}
        gradients = [{"parameter": (rng.uniform(0.5, 2.0, 3) * scale).astype(np.float32)} for _ in range(4)]
        run = Run(start, gradients, [RATE] * 4)
        make = functools.partial(kind, RATE, convention=convention, loss_scale_factor=scale)
        wanted, found = ours(functools.partial(make, jit_compile=False), run), functional(make, run, "jax", True)
        for mine, theirs in zip(found, wanted, strict=True):
            assert np.allclose(mine["parameter"], theirs["parameter"], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- 16 bits


def extremes_of_16_bits(dtype: Any) -> list[float]:
    limits = ml_dtypes.finfo(dtype)
    sizes = [float(limits.max), float(limits.max) / 2, float(limits.tiny), float(limits.smallest_subnormal)]
    sizes += [float(limits.max) ** 0.5 * 4, float(limits.tiny) ** 0.5 / 4]
    return [0.0, *sizes, *(-size for size in sizes)]


@crossing(
    ("kind", "convention", "name", "way"),
    WITH_NAMES,
    ["float16", "bfloat16"],
    ["arrays", pytest.param("one pass", marks=pytest.mark.fast)],
    of=algorithm_of,
)
def test_parameters_of_16_bits(kind: Any, convention: str, name: str, way: str) -> None:
    """As in single precision, which is compared with the originals, but for what a step is rounded to."""
    dtype = np.dtype(np.float16 if name == "float16" else ml_dtypes.bfloat16)
    values = extremes_of_16_bits(dtype)
    starts = [0.0, 1.0, *values]
    start = np.repeat(starts, len(values)).astype(dtype)
    with np.errstate(all="ignore"):
        gradients = [
            (np.tile(values, len(starts)) if when == 2 else np.full(start.shape, usual)).astype(dtype)
            for when, usual in enumerate(USUAL, 1)
        ]
        own = start.copy()
        optimizer = kind(0.01, convention=convention, jit_compile=way == "one pass")
        for gradient in gradients:
            before, wide = own.copy(), kind(0.01, convention=convention, jit_compile=False)
            # From where it is, with its slots.
            wide_parameter = before.astype(np.float32)
            wide.build([wide_parameter])
            if optimizer.built:
                wide.set_weights([cell.numpy() for cell in optimizer.variables])
            wide.apply([gradient.astype(np.float32)], [wide_parameter])
            optimizer.apply([gradient], [own])
            expected = wide_parameter.astype(dtype)
            assert np.array_equal(own, expected)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", [kind for kind, convention in EVERY if convention == "torch"])
def test_16_bits_are_finite_where_torchs_are(kind: Any, name: str) -> None:
    import torch

    dtype = getattr(torch, name)
    values = extremes_of_16_bits(np.float16 if name == "float16" else ml_dtypes.bfloat16)
    algorithm = {"Nadam": "NAdam"}.get(kind.__name__, kind.__name__)
    for when in (1, 2, 3):
        one, two = torch.ones(len(values), dtype=dtype), torch.ones(len(values), dtype=dtype, requires_grad=True)
        ours, theirs = kind(0.01, convention="torch"), getattr(torch.optim, algorithm)([two], lr=0.01, foreach=False)
        for step, usual in enumerate(USUAL, 1):
            gradient = torch.tensor(values, dtype=dtype) if step == when else torch.full_like(one, usual)
            ours.apply([gradient], [one])
            two.grad = gradient.clone()
            theirs.step()
            finite = torch.isfinite(two.detach())
            assert bool(torch.isfinite(one)[finite].all())
            assert not bool(torch.isnan(one)[~torch.isnan(two.detach())].any())


@pytest.mark.jax
@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("algorithm", RULES)
def test_a_window_of_the_largest_gradients_has_a_mean(algorithm: str, every: int) -> None:
    """As `optax.MultiSteps`, which keeps a mean, where a sum would overflow."""
    import optax

    from gradwise import optimizers

    largest = np.full(3, 0.9 * np.finfo("float32").max, "float32")
    ours = getattr(optimizers, algorithm)(RATE, convention="optax", gradient_accumulation_steps=every)
    theirs = optax.MultiSteps(getattr(optax, algorithm.lower())(RATE), every)
    weights, own = np.ones(3, "float32"), array("jax", np.ones(3, "float32"))
    state = theirs.init(own)
    for _ in range(2 * every):
        ours.apply([largest], [weights])
        updates, state = theirs.update(array("jax", largest), state, own)
        own = optax.apply_updates(own, updates)
    assert np.isfinite(weights).tolist() == np.isfinite(np.asarray(own)).tolist()
    if np.isfinite(weights).all():
        np.testing.assert_allclose(weights, np.asarray(own), rtol=1e-5)
