"""What the reference vectors hold: for each algorithm and convention, the cases with their hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rules import all_facts

WIDE = ("float32", "float64")
LATE = 2**24 + 3  # float32 cannot count that far


@dataclass(frozen=True)
class Case:
    """A run of an optimizer.

    Attributes:
        arguments: all hyperparameters of the convention.
        gradients: what kind they are; see `vector_inputs`.
        rates: by the number of a step, from 1, the learning rate from there on.
        missing: by the number of a step, the parameters that have no gradient there.
        late: whether it starts after so many iterations, with slots of its own.
    """

    algorithm: str
    convention: str
    name: str
    arguments: Mapping[str, Any]
    steps: int = 10
    dtypes: tuple[str, ...] = WIDE
    gradients: str = "ordinary"
    rates: Mapping[int, float] = field(default_factory=dict)
    missing: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    late: bool = False

    @property
    def narrow(self) -> str | None:
        """The 16-bit type of its parameters."""
        return None if self.dtypes[-1] == "float64" else self.dtypes[0]


MISSING = {
    1: ("scalar",),
    2: ("scalar", "empty"),
    4: ("vector",),
    6: ("scalar",),
    7: ("scalar", "empty"),
    9: ("vector",),
}


def files() -> list[tuple[str, str]]:
    """Every algorithm with every convention that it has."""
    return [(name, convention) for name, facts in all_facts().items() for convention in facts.hyperparameters]


def file_name(algorithm: str, convention: str) -> str:
    return f"{algorithm.lower()}.{convention}.json"


def cases(algorithm: str, convention: str) -> Iterator[Case]:
    facts = all_facts()[algorithm]
    known = {**facts.hyperparameters[convention], "learning_rate": facts.rate}

    def case(name: str, arguments: Mapping[str, Any], *given: Any, **more: Any) -> Case:
        return Case(algorithm, convention, name, {**known, **arguments}, *given, **more)

    yield case("plain", {}, 100)
    for name, arguments in facts.options.items():
        if set(arguments) <= set(known):
            yield case(name, arguments)

    edge = {key: value for key, value in facts.edge.items() if key in known}
    # Where decay enters the gradient, it would hide a small one.
    undecayed = {key: value for key, value in edge.items() if key != "weight_decay"}
    yield case("zero-gradients", undecayed, gradients="zero")
    for name, arguments, gradients in facts.more_cases.get(convention, ()):
        yield case(name, arguments, gradients=gradients)
    yield case("tiny-gradients", undecayed, gradients="tiny")
    yield case("huge-gradients", edge, gradients="huge")
    # They are subnormal in float32.
    dtypes = WIDE[1:] if facts.signs else WIDE
    yield case("subnormal-gradients", undecayed, dtypes=dtypes, gradients="subnormal")
    rate = known["learning_rate"]
    yield case("changing-rate", edge, 12, rates={3: 2 * rate, 5: rate / 4, 6: 3 * rate, 9: rate / 8, 11: 1.25 * rate})
    yield case("missing-gradient", edge, 12, missing=MISSING)
    yield case("late", edge, 6, late=True)
    # Only in float64 is the number of the step visible then.
    for arguments in [late for late in facts.late if set(late) <= set(known)][:1]:
        yield case("late-slow-memory", arguments, 6, dtypes=("float64",), late=True)

    # 16-bit numbers do not see steps as small as the others take.
    faster = {"learning_rate": facts.rate_of_16_bits or min(8 * rate, 0.125)}
    for dtype in ("bfloat16", "float16"):
        yield case(f"plain-{dtype}", faster, 20, dtypes=(dtype,))
        if "weight_decay" in known:
            decay = {"weight_decay": facts.decay_of_16_bits}
            yield case(f"weight-decay-{dtype}", {**faster, **decay}, 20, dtypes=(dtype,))
