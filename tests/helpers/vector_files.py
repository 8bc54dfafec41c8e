"""The reference vectors as text: each case run by the twin, its condition number, and its JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from helpers.exact import hexadecimal, number, to_bits
from helpers.twin import Twin
from helpers.vector_cases import Case, cases
from helpers.vector_inputs import SHAPES, Inputs

FORMAT = "gradwise-vectors/1"
MARGIN = 1 / 128
"""How far from the middle of two 16-bit numbers a parameter is at least before it is rounded."""

CHANGE = number(10) ** -20
"""Of an input, relatively, for a difference quotient: its error is as small."""


def twin_of(case: Case, inputs: Inputs, dtype: str | None) -> Twin:
    twin = Twin(
        case.algorithm, case.arguments, case.convention, inputs.parameters, iterations=inputs.iterations, dtype=dtype
    )
    twin.set_slots(inputs.slots)
    twin.set_scalars(inputs.scalars)
    return twin


def inputs_of(case: Case) -> Inputs:
    """The first inputs whose rounding to 16 bits nobody who computes in float32 can get wrong."""
    if case.narrow is None:
        return Inputs(case)
    for attempt in range(1000):
        inputs = Inputs(case, attempt)
        twin = twin_of(case, inputs, case.narrow)
        for rate, gradient in zip(inputs.rates, inputs.gradients, strict=True):
            twin.set_rate(rate)
            twin.apply(gradient)
        if twin.from_tie >= MARGIN:
            return inputs
    raise AssertionError(f"no inputs for {case.algorithm} {case.convention} {case.name} stay off the ties")


# ---------------------------------------------------------------- how sensitive a case is

Trajectory = list[dict[str, list[Any]]]


def run(twin: Twin, inputs: Inputs, first: int, rate_factor: Any = 1, gradient_factor: Any = 1) -> Trajectory:
    """The parameters after each step, the first of which has other inputs."""
    trajectory = []
    for step in range(first, inputs.case.steps):
        rate, gradient = number(inputs.rates[step]), inputs.gradients[step]
        if step == first:
            rate = rate * rate_factor
            gradient = {
                name: None if values is None else [g * gradient_factor for g in values]
                for name, values in gradient.items()
            }
        twin.set_rate(rate)
        twin.apply(gradient)
        trajectory.append(twin.values())
    return trajectory


def condition(case: Case, inputs: Inputs) -> Any:
    """By how much a parameter changes, as distances are measured, if all inputs change by one relative unit, at worst.

    All elements of an input change at once: rules do not mix elements.
    """
    twin = twin_of(case, inputs, None)
    states = []
    exact: Trajectory = []
    for step in range(case.steps):
        states.append(copy.deepcopy(twin))
        twin.set_rate(inputs.rates[step])
        twin.apply(inputs.gradients[step])
        exact.append(twin.values())
    sums = [{name: [number(0)] * len(values) for name, values in each.items()} for each in exact]

    def add(first: int, changed: Trajectory) -> None:
        for step, values in enumerate(changed, first):
            for name, elements in values.items():
                for i, (x, y) in enumerate(zip(elements, exact[step][name], strict=True)):
                    sums[step][name][i] += abs(x - y) / CHANGE

    other = 1 + CHANGE
    start = copy.deepcopy(states[0])
    for elements in start.parameters.values():
        for element in elements:
            element.w *= other
    add(0, run(start, inputs, 0))
    for slot in states[0].slots():
        start = copy.deepcopy(states[0])
        for elements in start.parameters.values():
            for element in elements:
                element.slots[slot] *= other
        add(0, run(start, inputs, 0))
    for step, state in enumerate(states):
        add(step, run(copy.deepcopy(state), inputs, step, rate_factor=other))
        add(step, run(state, inputs, step, gradient_factor=other))

    largest = number(1)
    for each, values in zip(sums, exact, strict=True):
        for name, elements in values.items():
            scale = max((max(abs(x), abs(x - y)) for x, y in zip(elements, inputs.parameters[name], strict=True)),
                        default=number(0))  # fmt: skip
            if scale:
                largest = max(largest, *(x / scale for x in each[name]))
    return largest


# ---------------------------------------------------------------- JSON


def text_of(value: Any) -> Any:
    """A hyperparameter, or numbers in lists and dictionaries, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: text_of(each) for key, each in value.items()}
    if isinstance(value, list):
        return [text_of(each) for each in value]
    return value if value is None or isinstance(value, bool) else hexadecimal(value)


def shows_slots(step: int, steps: int) -> bool:
    """Whether a step says what slots and scalars are then: the parameters, which all say, follow from them."""
    return step == 1 or step % 5 == 0 or step == steps


def steps_of(case: Case, inputs: Inputs) -> Iterable[dict[str, Any]]:
    twin = twin_of(case, inputs, case.narrow)
    last = case.arguments["learning_rate"]
    for number_of_step, (rate, gradient) in enumerate(zip(inputs.rates, inputs.gradients, strict=True), 1):
        twin.set_rate(rate)
        twin.apply(gradient)
        step: dict[str, Any] = {} if rate == last else {"learning_rate": rate}
        last = rate
        step.update(gradients=gradient, parameters=twin.values())
        if shows_slots(number_of_step, case.steps):
            step.update(slots=twin.slots(), scalars=twin.scalars())
        yield text_of(step)


def content_of(case: Case, with_condition: bool = True) -> dict[str, Any]:
    inputs = inputs_of(case)
    start = twin_of(case, inputs, None)
    return {
        "name": case.name,
        "dtypes": list(case.dtypes),
        "hyperparameters": text_of(case.arguments),
        "shapes": {name: list(shape) for name, shape in SHAPES.items()},
        "start": {
            "iterations": inputs.iterations,
            **text_of({"parameters": start.values(), "slots": start.slots(), "scalars": start.scalars()}),
        },
        "steps": list(steps_of(case, inputs)),
        # 8 bits are enough, and they do not depend on how the 50 digits came about.
        **({"condition": hexadecimal(to_bits(condition(case, inputs), 8))} if with_condition else {}),
    }


def lines_of(content: Mapping[str, Any]) -> str:
    """One line for a step, so that differences can be read."""
    compact = [
        f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in content.items() if key != "steps"
    ]
    steps = ",\n".join("    " + json.dumps(step, separators=(",", ":")) for step in content["steps"])
    return "  {" + ",\n   ".join([*compact[:-1], f'"steps": [\n{steps}]', compact[-1]]) + "}"


def file_of(algorithm: str, convention: str, contents: Sequence[Mapping[str, Any]]) -> str:
    head = json.dumps({"format": FORMAT, "algorithm": algorithm, "convention": convention})
    return f'{head[:-1]},\n "cases": [\n' + ",\n".join(map(lines_of, contents)) + "\n]}\n"


def written(algorithm: str, convention: str) -> str:
    """The text of a file."""
    return file_of(algorithm, convention, [content_of(case) for case in cases(algorithm, convention)])
