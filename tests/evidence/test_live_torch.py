"""Against torch.optim itself: drawn hyperparameters, shapes, gradients and rates, compared after each step.

Measured in 1000 runs of each algorithm: in float64 2.5e-13 (Adamax, whose bias correction torch computes as
1 - 0.999**1), otherwise at most 1.4e-14; a step in float32 3.7 (centered RMSprop), otherwise at most 2.7.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.backend_table import array, read
from helpers.drawn_runs import (
    CAP,
    EPS,
    FLAG,
    KINDS,
    PRECISION,
    Run,
    Tensors,
    arrays_of,
    condition,
    distances,
    given_in,
    of_kinds,
    or_off,
    powers,
    runs,
    values_of,
)
from helpers.selection import drawing
from hypothesis import given
from hypothesis import strategies as st
from rules import all_facts

from gradwise import optimizers

pytestmark = [
    pytest.mark.torch,
    # A missing gradient is meant to be missing.
    pytest.mark.filterwarnings("ignore:Gradients do not exist for variables"),
]

PEERS = {name: facts.torch for name, facts in all_facts().items() if facts.torch is not None}
DECAYS = or_off(powers(1e-6, 1.0))
EPSILONS = st.sampled_from([0.0, 1e-8]) | powers(1e-10, 1.0)
USUAL = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999])
# Beyond 0.999, 1 - beta**t as torch computes it is more than 1e-13 from the truth.
BETAS = {np.float64: USUAL | st.floats(0, 0.999), np.float32: USUAL | st.floats(0.5, 0.999)}
"""By dtype. torch's `lerp` knows beta_1 only as 1 - (1 - beta_1): in float32 a small one has few digits left."""

Example = tuple[dict[str, Any], Run, str]


def hyperparameters(algorithm: str, dtype: Any) -> Any:
    """What is drawn, by gradwise's names, without what torch and gradwise both refuse."""
    def consistent(values: dict[str, Any]) -> dict[str, Any]:
        if values.get("nesterov"):
            values.update(dampening=0.0, nesterov=values["momentum"] > 0)
        return values

    common = {"weight_decay": DECAYS, "maximize": FLAG}
    kinds = {**KINDS, "beta": BETAS[dtype], "epsilon": EPSILONS}
    drawn = of_kinds(PEERS[algorithm].drawn, kinds, all_facts()[algorithm].refused.get("torch"))
    return st.fixed_dictionaries({**common, **drawn}).map(consistent)


@st.composite
def examples(draw: Any, algorithm: str, dtype: Any) -> Example:
    """Hyperparameters, a run, and the library whose arrays gradwise gets."""
    values, largest = all_facts()[algorithm].conditioned(draw(hyperparameters(algorithm, dtype)))
    run = draw(runs(zeros=values.get("epsilon", 1.0) > 0, largest=largest))
    return values, given_in(run, dtype), draw(st.sampled_from(["numpy", "torch"]))


class Theirs:
    """The steps of torch.optim's plain loop."""

    def __init__(self, algorithm: str, values: dict[str, Any], start: Tensors) -> None:
        import torch

        self.peer = PEERS[algorithm]
        names = {"epsilon": "eps", **self.peer.names}
        theirs = {names.get(name, name): value for name, value in values.items()}
        if "beta_1" in theirs:
            theirs["betas"] = theirs.pop("beta_1"), theirs.pop("beta_2")
        self.parameters = {name: array("torch", value).requires_grad_() for name, value in start.items()}
        self.optimizer = getattr(torch.optim, self.peer.name)(list(self.parameters.values()), foreach=False, **theirs)

    def step(self, rate: float, gradient: Any) -> Tensors:
        """The parameters after a step."""
        self.optimizer.param_groups[0]["lr"] = rate
        for name, parameter in self.parameters.items():
            parameter.grad = None if gradient[name] is None else array("torch", gradient[name])
        self.optimizer.step()
        return {name: read(value) for name, value in self.parameters.items()}

    def put_into(self, slots: dict[str, Any], library: str) -> dict[str, Any]:
        """Gradwise's slots with torch's values; its counts, which are not of the parameters' dtype, stay."""
        filled = {name: dict(slot) for name, slot in slots.items()}
        for name, parameter in self.parameters.items():
            for theirs, value in self.optimizer.state[parameter].items():
                if theirs in self.peer.slots and value is not None:
                    filled[self.peer.slots[theirs]][name] = array(library, read(value))
        return filled


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """torch keeps NAdam's product of momenta in the default dtype: see test_peer_defects.py."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def gradwise_optimizer(algorithm: str, values: dict[str, Any]) -> Any:
    # By whole arrays: that a pass over memory gives the same bits is another test's, and compiling takes its time.
    return getattr(optimizers, algorithm)(**values, convention="torch", jit_compile=False)


def gradwise_run(algorithm: str, example: Example) -> Iterator[Tensors]:
    """The parameters after each step, imperatively."""
    values, run, library = example
    optimizer, parameters = gradwise_optimizer(algorithm, values), arrays_of(library, run.start)
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply(list(arrays_of(library, gradient).values()), list(parameters.values()))
        yield values_of(parameters)


def accumulated(algorithm: str, example: Example) -> list[float]:
    """The distances of a run after each of its steps."""
    values, run, _ = example
    with double_precision():
        theirs = Theirs(algorithm, values, run.start)
        steps = zip(run.rates, run.gradients, strict=True)
        return list(distances(run.start, gradwise_run(algorithm, example), (theirs.step(*step) for step in steps)))


def stepwise(algorithm: str, example: Example) -> list[tuple[float, float]]:
    """The distance and the condition of each step, which starts from where torch is."""
    values, run, library = example
    optimizer, theirs = gradwise_optimizer(algorithm, values), Theirs(algorithm, values, run.start)
    before, state, found = run.start, optimizer.init(arrays_of(library, run.start)), []
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        given = arrays_of(library, before), arrays_of(library, gradient)
        ours, following = optimizer.step(*given, state, learning_rate=rate)
        after = theirs.step(rate, gradient)
        [apart] = distances(before, iter([values_of(ours)]), iter([after]))
        found.append((apart, condition(optimizer, before, gradient, state, rate)))
        before, state = after, following._replace(slots=theirs.put_into(following.slots, library))
    return found


@pytest.mark.parametrize("algorithm", PEERS)
@drawing(60)
@given(data=st.data())
def test_in_float64(algorithm: str, data: Any) -> None:
    example = data.draw(examples(algorithm, np.float64))
    assert max(accumulated(algorithm, example)) * EPS <= PRECISION


@pytest.mark.parametrize("algorithm", PEERS)
@drawing(40)
@given(data=st.data())
def test_each_step_in_float32(algorithm: str, data: Any) -> None:
    """From torch's state each time: otherwise coupled decay would carry the roundings of a step into the next."""
    example = data.draw(examples(algorithm, np.float32))
    for apart, ill in stepwise(algorithm, example):
        assert apart <= CAP * max(1.0, ill)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", [name for name, peer in PEERS.items() if "beta_2" in peer.drawn])
def test_betas_of_zero_forget_the_last_gradient(algorithm: str, dtype: Any) -> None:
    """Each step has about the size of the rate, however small its gradient is next to the last one."""
    start = {"parameter": np.asarray([1.0], dtype)}
    run = Run(start, [{"parameter": np.asarray([size], dtype)} for size in (1.0, 1e-5, 1e-3)], [0.125] * 3)
    values = {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e-8}
    assert max(accumulated(algorithm, (values, run, "numpy"))) <= CAP * len(run.rates)
