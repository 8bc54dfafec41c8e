"""What the cases of the reference vectors start from: parameters, slots and gradients, exact in the case's dtypes."""

from __future__ import annotations

from random import Random
from typing import Any

from rules import STEPS_OF_EACH, all_facts

from helpers.exact import number, rounded
from helpers.vector_cases import LATE, Case

SHAPES = {"vector": (4,), "scalar": (), "empty": (0, 3)}
COUNTS = {"vector": 4, "scalar": 1, "empty": 0}

# Of the gradients, by element. The scalar's is none of the vector's.
SIZES = {"vector": (0, -4, -8, -13), "scalar": (-2,), "empty": ()}
SIZES_IN_16_BITS = {"vector": (0, -3, -5, -8), "scalar": (-2,), "empty": ()}
KINDS = {"tiny": 1e-12, "huge": 1e12}
SUBNORMAL = 1e-40


class Inputs:
    """The inputs of a case. The same case has the same ones in every convention.

    Python keeps the numbers of `Random.random` for a seed for ever; those of its other methods it may change.
    """

    def __init__(self, case: Case, attempt: int = 0) -> None:
        self.case, self.facts = case, all_facts()[case.algorithm]
        self.dtype = case.narrow or "float32"
        self.random = Random(f"{case.algorithm} {case.name} {attempt}")
        sizes = SIZES_IN_16_BITS if case.narrow else SIZES
        self.sizes = {name: [2.0**power for power in powers] for name, powers in sizes.items()}
        self.parameters = {name: [self.start(name) for _ in range(count)] for name, count in COUNTS.items()}
        self.means = {name: [self.between(-0.5, 0.5) for _ in range(count)] for name, count in COUNTS.items()}
        self.gradients = [self.gradient(step) for step in range(1, case.steps + 1)]
        self.rates = [self.rate(step) for step in range(1, case.steps + 1)]
        self.iterations = LATE if case.late else 0
        self.slots = self.late_slots() if case.late else {}
        self.scalars = self.late_scalars() if case.late else {}

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def sign(self) -> float:
        return 1.0 if self.random.random() < 0.5 else -1.0

    def fitted(self, value: Any) -> Any:
        return rounded(number(value), self.dtype)

    def start(self, name: str) -> Any:
        if self.case.gradients == "tiny" and name == "scalar":
            return number(0)  # else the steps of some rules would be lost in the parameter's digits
        return self.fitted(self.sign() * self.between(0.25, 1))

    def rate(self, step: int) -> float:
        changes = [rate for first, rate in sorted(self.case.rates.items()) if first <= step]
        return changes[-1] if changes else self.case.arguments["learning_rate"]

    def gradient(self, step: int) -> dict[str, list[Any] | None]:
        """Each element's wanders about a mean of its own, now and then by far smaller or larger steps."""
        values: dict[str, list[Any] | None] = {}
        for name, sizes in self.sizes.items():
            elements = []
            for element, (size, mean) in enumerate(zip(sizes, self.means[name], strict=True)):
                burst = (0.0625, 1.0, 1.0, 1.0, 4.0)[int(5 * self.random.random())]
                value = size * burst * (mean + self.between(-1, 1)) * KINDS.get(self.case.gradients, 1.0)
                elements.append(self.fitted(self.of_a_kind(value, name, element, step)))
            values[name] = None if name in self.case.missing.get(step, ()) else elements
        return values

    def of_a_kind(self, value: float, name: str, element: int, step: int) -> float:
        if self.case.gradients == "zero":
            never = name == "vector" and element == 3
            late_start = name == "scalar" and step <= 3
            return 0.0 if never or late_start or 6 <= step <= 8 else value
        if self.case.gradients == "subnormal":
            always = name == "vector" and element == 3
            every_other = element != 1 and step % 2 == element % 2
            return value * SUBNORMAL / max(self.sizes[name][element], SUBNORMAL) if always or every_other else value
        return value

    # ------------------------------------------------------------ where training has been going on

    def late_slots(self) -> dict[str, dict[str, list[Any]]]:
        return {
            slot: {
                name: [self.fitted(self.late_slot(slot, size, place)) for place, size in enumerate(sizes)]
                for name, sizes in self.sizes.items()
            }
            for slot in self.facts.slots(self.case.arguments)
        }

    def late_slot(self, slot: str, size: float, place: int) -> float:
        """As large as after many steps with gradients of this size; maxima lie below and above the next values."""
        rate = self.case.arguments["learning_rate"]
        if slot == "momentum":
            if self.facts.late_sum is None:
                return self.sign() * self.between(0.25, 0.5) * size
            direction, scale = self.facts.late_sum(self.case.convention, size, rate)
            return self.sign() * self.between(0.5, 1) * direction * scale
        if slot == "average_gradient":
            return self.sign() * self.between(0.125, 0.5) * size
        if slot == "velocity_hat":
            return (4.0, 0.25, 1.0, 2.0)[place] * self.between(0.75, 1.25) * size**2
        if slot == "norm":
            return (4.0, 0.25, 1.0, 2.0)[place] * self.between(0.75, 1.25) * size
        return self.between(0.5, 1.5) * {"accumulator": 32 * size**2, "accumulated_delta_var": 1e-5}.get(slot, size**2)

    def late_scalars(self) -> dict[str, Any]:
        product = self.facts.product
        if product is None or self.case.convention not in product.conventions:
            return {}
        if self.case.convention in STEPS_OF_EACH:
            return {product.name: {"vector": number(0.75), "scalar": number(0.5), "empty": number(0.25)}}
        return {product.name: number(0.75)}
