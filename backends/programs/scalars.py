"""The scalars of a program as Python functions, and whether two programs are the same where some scalars are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from ..python import HOST
from .program import Program

_Evaluator: TypeAlias = Callable[..., tuple[float, ...]]

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%", "less": "<",
    "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
_FUNCTIONS = {
    **{name: getattr(HOST.namespace, name) for name in dir(HOST.namespace) if not name.startswith("_")},
    "maximum": HOST.maximum, "minimum": HOST.minimum, "float": float,
}  # fmt: skip
_DIRECT = {
    "sqrt": (math.sqrt, "0 <= {} <= 1e300"), "log": (math.log, "0 < {}"),
    "expm1": (math.expm1, "-1e300 <= {} <= 1"), "exp": (math.exp, "-1e300 <= {} <= 1"),
}  # fmt: skip
"""Functions that are C's own for some numbers, for which these raise nothing: a call less for each. Integers that no
float can hold are none of these."""
_FUNCTIONS |= {f"c_{name}": function for name, (function, _) in _DIRECT.items()}
_EVALUATORS: dict[Any, tuple[_Evaluator, _Evaluator]] = {}


def scalar_evaluator(program: Program, exact: bool = False) -> Callable[[dict[str, Any]], tuple[float, ...]]:
    """A function from this step's values, by name, to the scalars the array operations use, in double precision.

    What follows from an optimizer's own numbers alone is computed when one of them has changed: `values["self"]` has
    them, and is another object then. Without it, they stand among the other values, and all is computed each time.

    Args:
        program: whose scalars.
        exact: leave integers as they are.
    """
    lasting = tuple(name.startswith("self.") for name in program.scalar_inputs)
    key = (lasting, len(program.constants), program.scalar_operations, program.scalars, exact)
    functions = _EVALUATORS.get(key)
    if functions is None:
        functions = _EVALUATORS[key] = _compile_scalars(program, lasting, "" if exact else "float")
    prepare, evaluate = functions
    constants = program.constants
    names = [name for name, lasts in zip(program.scalar_inputs, lasting, strict=True) if not lasts]
    own = [name for name, lasts in zip(program.scalar_inputs, lasting, strict=True) if lasts]
    held: tuple[Any, tuple[float, ...]] = (None, ())

    def evaluated(values: dict[str, Any]) -> tuple[float, ...]:
        nonlocal held
        given, prepared = values.get("self"), held
        if given is None or prepared[0] is not given:
            # Kept in one piece: another thread may have another optimizer's.
            held = prepared = given, prepare(*map((given or values).__getitem__, own), *constants)
        return evaluate(*[values[name] for name in names], *prepared[1])

    if not own:
        prepared = prepare(*constants)
        return lambda values: evaluate(*[values[name] for name in names], *prepared)
    return evaluated


def _expression(name: str, arguments: list[str]) -> str:
    if name in _INFIX:
        return f"{arguments[0]} {_INFIX[name]} {arguments[1]}"
    if name == "negative":
        return f"-{arguments[0]}"
    if name == "select":
        return f"{arguments[1]} if {arguments[0]} else {arguments[2]}"
    called = f"{name}({', '.join(arguments)})"
    return f"c_{called} if {_DIRECT[name][1].format(arguments[0])} else {called}" if name in _DIRECT else called


def _compile_scalars(program: Program, lasting: tuple[bool, ...], convert: str) -> tuple[_Evaluator, _Evaluator]:
    """What is computed from an optimizer's own numbers and constants alone, and the rest, which takes that."""
    inputs, first = len(program.scalar_inputs), len(program.scalar_inputs) + len(program.constants)
    lasts = [*lasting, *(True for _ in program.constants)]
    for _, operands in program.scalar_operations:
        lasts.append(all(lasts[operand] for operand in operands))
    lines: dict[bool, list[str]] = {True: [], False: []}
    for position, (name, operands) in enumerate(program.scalar_operations, first):
        expression = _expression(name, [f"x{operand}" for operand in operands])
        lines[lasts[position]].append(f"    x{position} = {expression}")
    needed = set(program.scalars)
    for position, (_, operands) in enumerate(program.scalar_operations, first):
        needed |= set() if lasts[position] else set(operands)
    handed = [f"x{k}" for k in sorted(needed) if lasts[k]]
    own = [f"x{k}" for k in range(first) if lasts[k]]
    others = [f"x{k}" for k in range(inputs) if not lasts[k]]
    source = [f"def prepare({', '.join(own)}):", *lines[True]]
    source += [f"    return ({''.join(f'{name}, ' for name in handed)})"]
    source += [f"def evaluate({', '.join([*others, *handed])}):", *lines[False]]
    source += [f"    return ({''.join(f'{convert}(x{position}), ' for position in program.scalars)})"]
    functions = _FUNCTIONS.copy()
    exec(compile("\n".join(source), "<scalars of a program>", "exec"), functions)
    return functions["prepare"], functions["evaluate"]


# -------------------------------------------------------------------- comparing programs


def same_with(one: Program, other: Program, values: dict[str, float]) -> bool:
    """Whether two programs are the same, to the last bit, where some of their scalars have certain values.

    Compared is what is written, as expressions, for several samples of all other scalars.

    Args:
        one: a program.
        other: another one.
        values: of scalars, by their names.
    """
    compared = 0
    for sample in (_Sample(values, seed) for seed in range(3)):
        known: dict[Any, int] = {}
        found = _expressions(one, sample, known)
        if found != _expressions(other, sample, known):
            return False
        compared += found is not None
    return compared > 0


class _Sample(dict[str, float]):
    """Values of scalars by name; of those that are not given, some that differ."""

    def __init__(self, values: dict[str, float], seed: int) -> None:
        super().__init__(values)
        self._seed = seed

    def __missing__(self, name: str) -> float:
        # Counts are integers; a parameter's own numbers may be that, or fractions.
        if name == "count" or ("number" in name and self._seed < 2):
            return (1, 2, 1000)[self._seed]
        return (sum(map(ord, name)) % 89 + 1) / 97 * (1.0, 0.5, 3.0)[self._seed]


def _expressions(program: Program, sample: _Sample, known: dict[Any, int]) -> Any:
    """What is written and summed up; equal expressions have equal numbers in `known`. None without a value."""
    try:
        every = scalar_evaluator(program, exact=True)(sample)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if not program.operations and not program.inputs:
        return [(type(value), repr(value)) for value in every]
    scalars = [repr(float(value)) for value in every]
    numbers: list[int] = [known.setdefault(("input", k), len(known)) for k in range(program.inputs)]
    for name, operands in program.operations:
        key = name, *((kind, numbers[k] if kind == "array" else scalars[k]) for kind, k in operands)
        numbers.append(known.setdefault(key, len(known)))
    return (
        program.inputs,
        [(target, numbers[source]) for target, source in program.outputs],
        [(name, numbers[source]) for name, source in program.reductions],
    )
