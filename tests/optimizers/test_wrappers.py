"""Each wrapper does what its paper says, in every way an optimizer runs and in every front end."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest
from helpers import slow_wrappers as slow
from helpers.backend_table import array, parameter
from helpers.releases import enable_x64

from gradwise import optimizers
from gradwise.backends import NUMPY, Variable, backend_of
from gradwise.optimizers.registry import WRAPPERS

RANDOM = np.random.default_rng(20)
STARTS = {"matrix": RANDOM.normal(size=(4, 3)), "vector": RANDOM.normal(size=5), "number": np.array(0.5)}
GRADIENTS = [{name: RANDOM.normal(size=start.shape) for name, start in STARTS.items()} for _ in range(7)]
# No gradient, no step, and a parameter that is zero.
GRADIENTS[2]["vector"][1], STARTS["matrix"][0, 0] = 0.0, 0.0


class Case(NamedTuple):
    """A wrapper with some arguments, and its slow twin with the same."""

    name: str
    arguments: dict
    walk: slow.Walk
    inside: tuple = ("SGD", "Adam")
    decay: float | None = None


CASES = [
    Case("Lookahead", {}, slow.lookahead),
    Case("Lookahead", {"sync_period": 2, "slow_step_size": 0.8},
         functools.partial(slow.lookahead, period=2, share=0.8)),
    Case("Cautious", {}, slow.cautious),
    Case("Cautious", {"mask_form": "pytorch_optimizer"}, functools.partial(slow.cautious, form="pytorch_optimizer")),
    Case("Cautious", {"mask_form": "heavyball"}, functools.partial(slow.cautious, form="heavyball")),
    Case("CautiousWeightDecay", {}, slow.cautious_weight_decay, decay=0.1),
    Case("CautiousWeightDecay", {"strict": True}, functools.partial(slow.cautious_weight_decay, strict=True),
         decay=0.1),
    Case("GradientCentralization", {}, slow.gradient_centralization),
    Case("GradientCentralization", {"outputs_last": True}, functools.partial(slow.gradient_centralization, last=True)),
    Case("MARS", {}, slow.mars, ("Adam",)),
    Case("MARS", {"gamma": 0.1, "momentum_decay": 0.5, "optimize_1d": True},
         functools.partial(slow.mars, gamma=0.1, beta=0.5, every=True)),
    Case("ScheduleFree", {}, slow.schedule_free),
    Case("ScheduleFree", {"interpolation": 0.5, "weight_power": 0.0},
         functools.partial(slow.schedule_free, beta=0.5, power=0.0)),
]  # fmt: skip
BASES = {
    "SGD": (lambda **more: optimizers.SGD(0.1, momentum=0.9, **more), slow.SlowMomentum),
    "Adam": (lambda **more: optimizers.Adam(0.01, **more), slow.SlowAdam),
}
EVERY = pytest.mark.parametrize(
    ("case", "inside"),
    [pytest.param(case, inside, id="-".join([case.name, inside, *map(str, case.arguments.values())]))
     for case in CASES for inside in case.inside],
)  # fmt: skip


def made(case, inside, **more):
    decay = {} if case.decay is None else {"weight_decay": case.decay}
    return getattr(optimizers, case.name)(BASES[inside][0](**decay, **more), **case.arguments)


def expected(case, inside):
    pairs = {
        name: case.walk(BASES[inside][1](), start, [each[name] for each in GRADIENTS]) for name, start in STARTS.items()
    }
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def check(found, case, inside, which=0):
    for name, value in expected(case, inside)[which].items():
        own = found[name]
        own = own.value if isinstance(own, Variable) else own
        own = NUMPY.to_numpy(own) if isinstance(own, np.ndarray) else backend_of(own).to_numpy(own)
        np.testing.assert_allclose(own, value, rtol=1e-12, atol=1e-14, err_msg=name)


def test_every_wrapper_has_a_case():
    assert {kind.__name__ for kind in WRAPPERS} == {case.name for case in CASES}


@EVERY
@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"])
def test_imperatively(case, inside, library, jit_compile):
    optimizer = made(case, inside, jit_compile=jit_compile)
    parameters = {name: parameter(library, start, name) for name, start in STARTS.items()}
    for gradients in GRADIENTS:
        optimizer.apply([array(library, each) for each in gradients.values()], parameters)
    check(parameters, case, inside)
    check(dict(zip(parameters, optimizer.evaluation_parameters(), strict=True)), case, inside, 1)


@EVERY
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"])
def test_functionally(case, inside, library):
    optimizer = made(case, inside)
    params = {name: array(library, start) for name, start in STARTS.items()}
    state = optimizer.init(params)
    for gradients in GRADIENTS:
        params, state = optimizer.step(params, {name: array(library, each) for name, each in gradients.items()}, state)
    check(params, case, inside)
    check(optimizer.evaluation_parameters(state, params), case, inside, 1)


@pytest.mark.jax
@EVERY
@pytest.mark.parametrize("jit", [False, True])
def test_on_jax(case, inside, jit):
    import jax

    with enable_x64():
        optimizer = made(case, inside)
        params = {name: array("jax", start) for name, start in STARTS.items()}
        state = optimizer.init(params)
        step = jax.jit(optimizer.step) if jit else optimizer.step
        for gradients in GRADIENTS:
            params, state = step(params, {name: array("jax", each) for name, each in gradients.items()}, state)
        check(params, case, inside)
        check(jax.jit(optimizer.evaluation_parameters)(state, params), case, inside, 1)


@pytest.mark.jax
@EVERY
def test_through_optax(case, inside):
    import optax

    from gradwise.frontends.optax import from_optimizer

    with enable_x64():
        transformation = from_optimizer(made(case, inside))
        params = {name: array("jax", start) for name, start in STARTS.items()}
        state = transformation.init(params)
        for gradients in GRADIENTS:
            updates, state = transformation.update(
                {name: array("jax", each) for name, each in gradients.items()}, state, params
            )
            params = optax.apply_updates(params, updates)
        check(params, case, inside)


@pytest.mark.torch
@EVERY
def test_through_torch_and_its_state(case, inside):
    import torch

    from gradwise.frontends.torch import wrap

    parameters = {name: torch.nn.Parameter(torch.tensor(start)) for name, start in STARTS.items()}
    optimizer = wrap(made(case, inside), parameters.items())
    for number, gradients in enumerate(GRADIENTS):
        if number == 3:
            kept = optimizer.state_dict()
            optimizer = wrap(made(case, inside), parameters.items())
            optimizer.load_state_dict(kept)
        for name, each in gradients.items():
            parameters[name].grad = torch.tensor(each)
        optimizer.step()
    check({name: each.detach() for name, each in parameters.items()}, case, inside)


@pytest.mark.jax
def test_lookahead_centralization_and_schedule_free_are_those_of_optax():
    import jax
    import optax

    def run(transformation, params, gradients_of=lambda each: each):
        state = transformation.init(params)
        for gradients in GRADIENTS:
            updates, state = transformation.update(jax.tree.map(jax.numpy.asarray, gradients), state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    def ours(optimizer):
        params = jax.tree.map(jax.numpy.asarray, STARTS)
        state = optimizer.init(params)
        for gradients in GRADIENTS:
            params, state = optimizer.step(params, jax.tree.map(jax.numpy.asarray, gradients), state)
        return params, optimizer.evaluation_parameters(state, params)

    def same(mine, theirs):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), mine, theirs)

    with enable_x64():
        start = jax.tree.map(jax.numpy.asarray, STARTS)
        adam = functools.partial(optimizers.Adam, 0.01, convention="optax")
        pair, _ = run(optax.lookahead(optax.adam(0.01), 3, 0.5), optax.LookaheadParams.init_synced(start))
        same(ours(optimizers.Lookahead(adam(), 3)), (pair.fast, pair.slow))

        same(ours(optimizers.GradientCentralization(adam()))[0],
             run(optax.chain(optax.centralize(), optax.adam(0.01)), start)[0])  # fmt: skip

        for base, own in ((optax.sgd(0.1), optimizers.SGD(0.1, convention="optax")),
                          (optax.adam(0.1, b1=0.0), optimizers.Adam(0.1, 0.0, convention="optax"))):  # fmt: skip
            params, state = run(optax.contrib.schedule_free(base, 0.1), start)
            same(ours(optimizers.ScheduleFree(own)), (params, optax.contrib.schedule_free_eval_params(state, params)))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_16_bit_parameters_are_rounded_once(wrapper):
    import ml_dtypes

    kind = np.dtype(ml_dtypes.bfloat16)
    start = np.linspace(-1, 1, 12).reshape(4, 3)
    found, wide = start.astype(kind), start.astype(kind).astype(np.float32)
    inside = functools.partial(optimizers.AdamW, 0.01, weight_decay=0.1)
    narrow_one, wide_one = wrapper(inside()), wrapper(inside())
    narrow_one.build([found]), wide_one.build([wide])
    gradient = np.linspace(0.5, -1.5, 12).reshape(4, 3).astype(kind)
    narrow_one.apply([gradient], [found])
    wide_one.apply([gradient.astype(np.float32)], [wide])
    np.testing.assert_array_equal(found.astype(np.float32), wide.astype(kind).astype(np.float32))
    assert narrow_one.evaluation_parameters()[0].dtype == kind
