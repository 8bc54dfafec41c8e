"""Against Keras 3 itself, on torch in float64: drawn hyperparameters, shapes, gradients and rates, after each step.

Measured in 250 runs of each algorithm: 1.4e-14, and where a norm is limited at most 0.25 of what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.backend_table import array
from helpers.drawn_runs import (
    EPS,
    KINDS,
    PRECISION,
    Run,
    Tensors,
    arrays_of,
    distances,
    of_kinds,
    or_off,
    powers,
    runs,
    values_of,
)
from helpers.keras_peer import Ask
from helpers.selection import drawing
from hypothesis import given
from hypothesis import strategies as st
from rules import all_facts

from gradwise import optimizers

pytestmark = [
    pytest.mark.keras,
    # A missing gradient is meant to be missing.
    pytest.mark.filterwarnings("ignore:Gradients do not exist for variables"),
]

NORMS = ("clipnorm", "global_clipnorm")
PEERS = {name: facts.keras for name, facts in all_facts().items() if facts.keras is not None}
DECAYS = or_off(powers(1e-6, 1.0))
KINDS = {
    **KINDS,
    "epsilon": st.sampled_from([0.0, 1e-7]) | powers(1e-10, 1.0),
    "beta": st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]) | st.floats(0, 0.999),
}

CLIPPING = st.fixed_dictionaries({}) | st.one_of(
    *(st.fixed_dictionaries({name: powers(1e-6, 1e3)}) for name in ("clipnorm", "clipvalue", "global_clipnorm"))
)
EMA = st.fixed_dictionaries({}) | st.fixed_dictionaries(
    {
        "use_ema": st.just(True),
        "ema_momentum": st.floats(0, 1),
        "ema_overwrite_frequency": st.none() | st.integers(1, 4),
    }
)

Example = tuple[dict[str, Any], Run, str]


@st.composite
def examples(draw: Any, algorithm: str) -> Example:
    """Hyperparameters, a run, and the library whose arrays gradwise gets."""
    facts = all_facts()[algorithm]
    drawn = of_kinds(PEERS[algorithm].drawn, KINDS, facts.refused.get("keras"))
    values, largest = facts.conditioned(draw(st.fixed_dictionaries({"weight_decay": DECAYS, **drawn})))
    run = draw(runs(zeros=values.get("epsilon", 1.0) > 0, largest=largest))
    return {**values, **draw(CLIPPING), **draw(EMA)}, run, draw(st.sampled_from(["numpy", "torch"]))


def gradwise_run(algorithm: str, example: Example, wrong: Any = None) -> Iterator[Tensors]:
    """The parameters after each step; `wrong` gives by which factors gradients and limits are to be off."""
    values, run, library = example
    # By whole arrays: that a pass over memory gives the same bits is another test's, and compiling takes its time.
    optimizer = getattr(optimizers, algorithm)(**values, **PEERS[algorithm].given, jit_compile=False)
    parameters = arrays_of(library, run.start)
    for rate, gradient in zip(run.rates, run.gradients, strict=True):
        optimizer.learning_rate = rate
        by = 1.0
        if wrong is not None:
            by, limit_by = wrong()
            for name in set(NORMS) & set(values):
                setattr(optimizer, name, values[name] * limit_by)
        given = [None if value is None else array(library, value * by) for value in gradient.values()]
        optimizer.apply(given, list(parameters.values()))
        yield values_of(parameters)


def allowed(algorithm: str, example: Example) -> float:
    """What Keras's result is good for: float64, but float32 where a norm is limited.

    Whatever floatx is, keras.ops.maximum and minimum of a float64 tensor and a Python float are float32 on torch, and
    by them Keras limits a norm or its reciprocal (test_peer_defects.py): all gradients of a step are off by roundings
    to float32. What that does depends on the run; so it is measured, on gradwise.
    """
    values, run, _ = example
    if not set(NORMS) & set(values):
        return PRECISION
    generator = np.random.default_rng(0)

    def wrong() -> Any:
        return 1.0 + 2.0**-23 * generator.choice([-1.0, 1.0], size=2)

    exact = list(gradwise_run(algorithm, example))
    spread = [max(distances(run.start, gradwise_run(algorithm, example, wrong), iter(exact))) for _ in range(8)]
    return max(PRECISION, 4 * max(spread) * EPS)


def accumulated(algorithm: str, example: Example, ask: Ask) -> list[float]:
    """The distances of a run after each of its steps."""
    values, run, _ = example
    return list(distances(run.start, gradwise_run(algorithm, example), iter(ask(algorithm, values, run))))


@pytest.mark.parametrize("algorithm", PEERS)
@drawing(60)
@given(data=st.data())
def test_in_float64(algorithm: str, ask_keras: Ask, data: Any) -> None:
    example = data.draw(examples(algorithm))
    assert max(accumulated(algorithm, example, ask_keras)) * EPS <= allowed(algorithm, example)
