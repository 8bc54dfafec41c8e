"""Against optax itself: drawn hyperparameters, shapes, gradients and rates, compared after each step.

gradwise runs functionally on JAX arrays: op by op with drawn options, and compiled with traced hyperparameters.
Measured in 250 runs of each: in float64, under x64, 1.4e-14, so optax computes in float64 there throughout. A step in
float32 is 1.9 away where optax corrects no bias; elsewhere up to 197, where `corrections` allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from helpers import exact
from helpers.backend_table import precision
from helpers.drawn_runs import (
    CAP,
    EPS,
    KINDS,
    PRECISION,
    Run,
    Tensors,
    arrays_of,
    condition,
    distances,
    given_in,
    of_kinds,
    powers,
    runs,
    values_of,
)
from helpers.releases import optax_tree
from helpers.selection import drawing
from hypothesis import given
from hypothesis import strategies as st
from rules import all_facts

from gradwise import optimizers

pytestmark = pytest.mark.jax

# Few shapes: JAX compiles each operation for each of them.
SHAPES = st.lists(st.sampled_from([(), (3,), (2, 4), (0, 3)]), min_size=1, max_size=3)
EPSILONS = st.sampled_from([0.0, 1e-8]) | powers(1e-10, 1.0)
# Beyond 0.999, 1 - beta**t as optax computes it in float64 is more than 1e-13 from the truth.
BETAS = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]) | st.floats(0.1, 0.999)
KINDS = {**KINDS, "beta": BETAS, "epsilon": EPSILONS}

PEERS = {name: peer for facts in all_facts().values() for name, peer in facts.optax.items()}
"""By optax's name."""
OURS = {name: facts for facts in all_facts().values() for name in facts.optax}
DRAWN = {name: of_kinds(peer.drawn, KINDS, OURS[name].refused.get("optax")) for name, peer in PEERS.items()}


@st.composite
def examples(draw: Any, name: str) -> tuple[dict[str, Any], Run]:
    values, largest = OURS[name].conditioned(draw(st.fixed_dictionaries(DRAWN[name])))
    # Else 0/0; a parameter that has had no gradient has no moments.
    zeros = PEERS[name].zero or values.get("epsilon", 1.0) > 0
    return values, draw(runs(shapes=SHAPES, zeros=zeros, missing=False, largest=largest))


def gradwise_optimizer(name: str, values: Mapping[str, Any]) -> Any:
    return getattr(optimizers, OURS[name].name)(**values, **PEERS[name].fixed, convention="optax")


class Theirs:
    """The steps of optax; a transformation is made for each rate and takes over the state."""

    def __init__(self, name: str, values: Mapping[str, Any], start: Mapping[str, Any]) -> None:
        import optax

        theirs = {PEERS[name].names.get(ours, ours): value for ours, value in values.items()}
        self.make: Callable[[float], Any] = lambda rate: getattr(optax, name)(rate, **theirs)
        self.peer, self.parameters = PEERS[name], arrays_of("jax", start)
        self.state = self.make(0.0).init(self.parameters)

    def step(self, rate: float, gradient: Mapping[str, Any]) -> Tensors:
        """The parameters after a step."""
        import optax

        updates, self.state = self.make(rate).update(arrays_of("jax", gradient), self.state, self.parameters)
        self.parameters = optax.apply_updates(self.parameters, updates)
        return values_of(self.parameters)

    def slots(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        """optax's state, by gradwise's names."""

        return {name: dict(optax_tree.get(self.state, self.peer.slots[name])) for name in ours}


def gradwise_run(step: Any, state: Any, run: Run) -> Iterator[Tensors]:
    """The parameters after each step."""
    parameters = arrays_of("jax", run.start)
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        parameters, state = step(parameters, arrays_of("jax", gradient), state, rate)
        yield values_of(parameters)


def accumulated(name: str, values: Mapping[str, Any], run: Run, step: Any = None) -> list[float]:
    """The distances of a run after each of its steps."""
    optimizer, theirs = gradwise_optimizer(name, values), Theirs(name, values, run.start)
    ours = gradwise_run(step or optimizer.step, optimizer.init(arrays_of("jax", run.start)), run)
    steps = zip(run.rates, run.gradients, strict=True)
    return list(distances(run.start, ours, (theirs.step(*step) for step in steps)))


def stepwise(name: str, values: Mapping[str, Any], run: Run) -> list[tuple[float, float]]:
    """The distance and the condition of each step, which starts from where optax is."""
    run = given_in(run, np.float32)
    optimizer, theirs = gradwise_optimizer(name, values), Theirs(name, values, run.start)
    before, state, found = run.start, optimizer.init(arrays_of("jax", run.start)), []
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        given = arrays_of("jax", before), arrays_of("jax", gradient)
        ours, following = optimizer.step(*given, state, learning_rate=rate)
        after = theirs.step(rate, gradient)
        [apart] = distances(before, iter([values_of(ours)]), iter([after]))
        found.append((apart, condition(optimizer, before, gradient, state, rate)))
        before, state = after, following._replace(slots=theirs.slots(following.slots))
    return found


def corrections(name: str, values: Mapping[str, Any], t: int) -> float:
    """What optax's bias corrections can be wrong by in float32, in units of a step: the exception from `CAP`.

    optax computes 1 - beta**t in float32: what rounding does to beta is t beta**(t - 1) times as much in beta**t, and
    the power, by multiplications, is off by as many ulps. For 0.999 in the first step this is up to 2e-5 of the update,
    197 units; gradwise has it from the host, in float64 (test_peer_defects.py).
    """

    def wrong(beta: float, t: int) -> float:
        rounded = abs(float(np.float32(beta)) - beta)
        power = (t - 1) * float(np.spacing(np.float32(beta**t)))
        return (t * beta ** (t - 1) * rounded + power) / (1.0 - beta**t) / 2.0**-23

    return sum(weight * wrong(beta, t + later) for beta, later, weight in PEERS[name].corrections(values))


def lost(name: str, values: Mapping[str, Any], steps: int) -> float:
    """What optax's RAdam may be off by after so many steps in float64, in eps: the exception from `PRECISION`.

    Its rho is the difference of two numbers of the size of 2 / (1 - beta_2), of which one has 1 - beta_2**t below it: a
    rounding of the power is many of the step that follows. gradwise computes it without cancelling.
    """
    if name != "radam":
        return 0.0
    beta, total = values["beta_2"], 0.0
    longest = 2 / (1 - beta) - 1
    for t in range(1, steps + 1):
        power = beta**t
        rho = longest - 2 * t * power / (1 - power)
        if rho > 4.5:
            slope = 2 * t * power / (1 - power) ** 2
            total += slope * (1 / (rho - 4) + 1 / (rho - 2) - 1 / rho) / 2
    return total


def test_what_radam_loses_is_not_made_up() -> None:
    """The formula of optax in float64 beside itself in 50 digits: it is off by thousands of eps, and by no more."""
    off = []
    for beta in (0.99, 0.999):
        for t in range(6, 12):
            found = []
            for number in (float, exact.number):
                b = number(beta)
                power, longest = b**t, 2 / (1 - b) - 1
                rho = longest - 2 * t * power / (1 - power)
                found.append((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
            apart = abs(float(exact.number(found[0]) / found[1] - 1)) / 2 / EPS
            assert apart <= lost("radam", {"beta_2": beta}, t)
            off.append(apart)
    assert max(off) > 1000


@pytest.mark.parametrize("name", PEERS)
@drawing(25)
@given(data=st.data())
def test_in_float64(name: str, data: Any) -> None:
    values, run = data.draw(examples(name))
    with precision("jax", "float64"):
        assert max(accumulated(name, values, run)) * EPS <= PRECISION + lost(name, values, len(run.rates)) * EPS


@pytest.mark.parametrize("name", PEERS)
@drawing(25)
@given(data=st.data())
def test_each_step_in_float32(name: str, data: Any) -> None:
    """From optax's state each time."""
    values, run = data.draw(examples(name))
    for t, (apart, ill) in enumerate(stepwise(name, values, run), 1):
        # The update may be larger than the parameter's change if decay stands against it: a unit of the update is then
        # up to two of `condition`, whose roundings are of half a unit.
        assert apart <= CAP * max(1.0, ill) + corrections(name, values, t) * max(1.0, 2 * ill)


COMPILED = {name: peer.compiled for name, peer in PEERS.items() if peer.compiled is not None}
"""What chooses a formula or fills a slot is fixed; each of these is compiled once."""


@pytest.fixture(scope="module", params=COMPILED)
def compiled(request: pytest.FixtureRequest) -> tuple[str, Callable[..., Any], list[None]]:
    """A peer's name, gradwise's step of the hyperparameters and the rate, and an item for each time it was traced."""
    import jax

    name, traces = request.param, list[None]()

    def step(numbers: dict[str, Any], parameters: Any, gradient: Any, state: Any, rate: Any) -> Any:
        traces.append(None)
        optimizer = gradwise_optimizer(name, {**numbers, **COMPILED[name]})
        return optimizer.step(parameters, gradient, state, learning_rate=rate)

    return name, jax.jit(step), traces


@drawing(15)
@given(data=st.data())
def test_compiled_in_float64(compiled: tuple[str, Callable[..., Any], list[None]], data: Any) -> None:
    """One compilation serves all hyperparameters, rates and steps."""
    name, step, traces = compiled
    numbers = data.draw(st.fixed_dictionaries({k: x for k, x in DRAWN[name].items() if k not in COMPILED[name]}))
    # A traced epsilon is not 0 (zeros are among the gradients), and a traced momentum is there to be used.
    for number, least in (("epsilon", 1e-8), ("momentum", 0.01)):
        if number in numbers:
            numbers[number] = max(numbers[number], least)
    run = data.draw(runs(shapes=st.just([(2, 4), (), (0, 3)]), missing=False))
    values = {**numbers, **COMPILED[name]}
    with precision("jax", "float64"):
        ours = lambda parameters, gradient, state, rate: step(numbers, parameters, gradient, state, rate)  # noqa: E731
        bound = PRECISION + lost(name, values, len(run.rates)) * EPS
        assert max(accumulated(name, values, run, ours)) * EPS <= bound
    assert len(traces) == 1
