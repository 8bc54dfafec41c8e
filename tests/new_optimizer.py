"""Write the files of a new algorithm, to be filled in: `python tests/new_optimizer.py Lion` (`make new-optimizer`)."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CORE = '''"""NAME, TODO in a few words."""

from typing import Any

from .core.algorithm import Array, Number, Optimizer, Variable, Variables, ops


class NAME(Optimizer):
    r"""NAME: TODO what it does, in a sentence.

    With gradient $g_t$, rate $\\eta$, TODO and $m_0 = 0$:

    $$m_t = \\beta_1 m_{t-1} + (1-\\beta_1) g_t, \\qquad \\theta_t = \\theta_{t-1} - \\eta m_t.$$

    Args:
        learning_rate: $\\eta \\ge 0$, a schedule or a callable. 0.001.
        beta_1: $\\beta_1$ in [0, 1). 0.9.
        *common, **keywords: see `Optimizer`.

    Raises:
        ValueError: see `Optimizer`.

    Conventions: TODO how they differ.

    References:
        TODO
    """

    # The first is the default. Of each its values of hyperparameters, and the switches that it turns in the formula.
    conventions = {"keras": {}, "optax": {}}
    weight_decay_forms = {"keras": "decoupled", "optax": "decoupled"}

    beta_1 = Number("[0, 1)")

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, *common: Any, **keywords: Any) -> None:
        super().__init__(learning_rate, *common, **keywords)
        self._resolve(beta_1=beta_1)

    def build(self, variables: Variables) -> None:
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        momentum = self.momentums[self.variable_index(variable)]
        self.assign(momentum, ops.moving_average(momentum, gradient, self.beta_1))
        self.assign_sub(variable, momentum * learning_rate)
'''

FACTS = '''"""NAME: TODO in a few words."""

from __future__ import annotations

from typing import Any

from . import DECAY, AlgorithmFacts, Example, Keras, Now, Optax, Slots

# In the order of the class's arguments, which is Keras's. A weight decay of 0 is none.
HYPERPARAMETERS = {"learning_rate": 0.001, "beta_1": 0.9, "weight_decay": 0.0}


def rule(now: Now, s: Slots, g: Any) -> Any:
    """From the paper and the frameworks' documentation, not from the class: slow and obvious, and without an `if` on
    what is an element's; see `AlgorithmFacts.rule`."""
    h = now.h
    s["momentum"] = h["beta_1"] * s["momentum"] + (1 - h["beta_1"]) * g
    return now.rate * s["momentum"]


FORMULA = """NAME — `momentum` m

TODO m ← beta_1·m + (1 - beta_1)·g; p ← p - lr·m.
"""

# `rules/__init__.py` says what each of these is, and what there is besides. A framework without it is left out.
FACTS = AlgorithmFacts(
    name="NAME",
    formula=FORMULA,
    hyperparameters={"keras": HYPERPARAMETERS, "optax": HYPERPARAMETERS},
    rule=rule,
    slots=lambda h: ("momentum",),
    rate=2.0**-7,
    descends=0.1,
    plain=(Example("LOWER", keras="same"),),
    elsewhere=(Example("optax-LOWER", {}, "optax"),),
    options={"short-memory": {"beta_1": 0.5}, "weight-decay": DECAY},
    edge=DECAY,
    extremes=({}, {"beta_1": 0.25}, DECAY),
    ends=({"beta_1": 0.0}, {"weight_decay": 1e3}),
    keras=Keras(drawn={"beta_1": "beta"}, cases=({"beta_1": 0.5},), averages=1),
    optax={"LOWER": Optax(drawn={"beta_1": "beta"}, slots={"momentum": "mu"}, compiled={})},
)
'''


def files(name: str) -> dict[Path, str]:
    """What is written for a class of this name.

    Raises:
        ValueError: if that is no name of a class, or there is one already.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
        raise ValueError(f"{name} is no name of a class, as Lion is one")
    found = {ROOT / "optimizers" / f"{name.lower()}.py": CORE, ROOT / "tests" / "rules" / f"{name.lower()}.py": FACTS}
    for path in found:
        if path.exists():
            raise ValueError(f"{path.relative_to(ROOT)} is there already")
    return {path: text.replace("NAME", name).replace("LOWER", name.lower()) for path, text in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the class, such as Lion")
    name = parser.parse_args().name
    try:
        written = files(name)
    except ValueError as error:
        parser.error(str(error))
    for path, text in written.items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"Fill in {path.relative_to(ROOT)}")
    print("Then the registry, a row in each front end, and make refresh: see CONTRIBUTING.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
