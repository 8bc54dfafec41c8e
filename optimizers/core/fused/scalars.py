"""The scalars of a step: how programs call them, and what they are in a step.

A program is recorded where symbols of these names stand for what the host knows in each step: the rate, the number of
steps, the divisor of the gradients, what the whole step shares and what each parameter has of its own. What is added
to these is added here.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from ....backends import HOST, Scope, Variable, ops
from ....backends.programs.recorder import RecordedScalars, Symbol
from ..rule import Rule, StepGradients

_Row = TypeVar("_Row")

PLAIN = frozenset((float, int))
"""The classes of numbers that the host computes with."""

DIVISOR, FACTOR = "divisor", "factor"
"""What all gradients are divided by, and what a parameter's is multiplied by."""


def number_names(count: int) -> list[str]:
    """The names of so many numbers that each parameter has of its own."""
    return [f"number{place}" for place in range(count)]


def shared_numbers(rule: Rule) -> list[tuple[str, Variable]]:
    """The numbers that a whole step shares, with their names."""
    return [(f"shared{place}", cell) for place, cell in enumerate(rule.cells.shared) if cell.backend is HOST]


def of_parameter(index: int, name: str) -> str:
    """The name of what a parameter has of its own, where several of them are known to one program."""
    return f"{index}/{name}"


def scope_of_symbols(rule: Rule, scalars: RecordedScalars) -> tuple[Scope, Symbol]:
    """A scope in which what every step has, whatever the rule, is a symbol; and the symbol of the rate."""
    scope = Scope()
    rate = scalars.named("rate")
    # What a rule reads as its learning_rate is the rate before `decay`.
    scope.hold(rule.cells.rate, scalars.named("base_rate"))
    scope.hold(rule.cells.iterations, scalars.named("count"))
    return scope, rate


class Layout(NamedTuple):
    """Where in a list the numbers of a step stand that some optimizers have.

    Behind those that each parameter has of its own come, for one optimizer after another, the counts of the steps made,
    what each shares, and at the end the rates before `decay`.

    Attributes:
        first: where the counts stand.
        members: how many optimizers there are.
        shared: for each the names of what it shares, and where that stands; or nothing if none shares anything.
    """

    first: int
    members: int
    shared: tuple[tuple[list[str], slice], ...]


def layout_of(rules: Sequence[Rule], cells: list[Variable]) -> Layout:
    """Put cells of what optimizers count and share behind those of what parameters have of their own, and say where.

    Args:
        rules: the optimizers.
        cells: those of parameters, to which all are added but those of the rates.
    """
    first, shared = len(cells), []
    cells += [rule.cells.iterations for rule in rules]
    for rule in rules:
        start, numbers = len(cells), shared_numbers(rule)
        cells += [cell for _, cell in numbers]
        shared.append(([name for name, _ in numbers], slice(start, len(cells))))
    return Layout(first, len(rules), tuple(shared) if any(names for names, _ in shared) else ())


def named_values(
    rates: Sequence[Any], numbers: Sequence[Any], attributes: Sequence[dict[str, Any]], divisor: Any, layout: Layout
) -> list[dict[str, Any]]:
    """This step's scalars of each of some optimizers, but for those of each parameter.

    The same object for those that have the same as the one before: what follows from it is found out once.

    Args:
        rates: of the step.
        numbers: of the step.
        attributes: the numbers among the attributes of each optimizer, by their names in programs.
        divisor: of all gradients, or None.
        layout: of the numbers.
    """
    values: list[dict[str, Any]] = []
    last: Any = None
    first, members, shared = layout
    each: Iterable[tuple[Any, ...]] = ((rates[0], numbers[-1], numbers[first], attributes[0]),)
    if members > 1:
        each = zip(rates, numbers[-members:], numbers[first : first + members], attributes, strict=True)
    for now in each:
        # Rates that are equal, or shared numbers, may differ in the sign of a zero.
        if now != last or shared or not now[0]:
            rate, base_rate, count, own = last = now
            value = {
                "self": own, "rate": rate, "base_rate": base_rate, "count": count, DIVISOR: divisor, FACTOR: None,
            }  # fmt: skip
            if shared:
                names, places = shared[len(values)]
                value.update(zip(names, numbers[places], strict=True))
        values += [value]
    return values


def step_values(rule: Rule, rate: Any, divisor: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The same of one optimizer, from what its cells hold. The arguments are those of `named_values`."""
    cells: list[Variable] = []
    layout = layout_of([rule], cells)
    numbers = [cell.value for cell in (*cells, rule.cells.rate)]
    return named_values([rate], numbers, [attributes], divisor, layout)[0]


class Share(NamedTuple):
    """The parameters of one optimizer that run the same program together.

    Attributes:
        member: which of several optimizers.
        indices: the positions of the parameters.
        size: how many they are.
        names: of the numbers that each of them has of its own.
        starts: for each of these, where those of all the parameters begin, one after another, in a list of numbers.
    """

    member: int
    indices: Sequence[int]
    size: int
    names: list[str]
    starts: list[int]


def laid_out(member: int, indices: Sequence[int], own: Iterable[Sequence[Any]], into: list[Any]) -> Share:
    """Put what each of some parameters has of its own behind a list, and say where.

    Args:
        member, indices: as of `Share`.
        own: for each parameter its numbers, or their cells. What not all of them have, their program does not read.
        into: the list.
    """
    starts = []
    for column in zip(*own):  # noqa: B905  # as said
        starts += [len(into)]
        into += column
    return Share(member, indices, len(indices), number_names(len(starts)), starts)


def rows_of(
    shares: Sequence[Share], values: Sequence[dict[str, Any]], numbers: Sequence[Any], factors: dict[int, Any],
    evaluate: Callable[[dict[str, Any]], _Row],
) -> list[_Row]:  # fmt: skip
    """What follows from the scalars of a step for each of some parameters; once, if that is the same for all.

    Args:
        shares: the parameters, those of one optimizer after those of another.
        values: of each optimizer the scalars but for those of a parameter: the same object where they are the same.
        numbers: what parameters have of their own.
        factors: what gradients are multiplied by, by position; where there is none, nothing.
        evaluate: gives what follows.
    """
    rows: list[_Row] = []
    found = 0
    last: Any = None
    for share in shares:
        member, indices, size, names, starts = share
        common = values[member]
        firsts, alike = [], True
        for start in starts:
            first = numbers[start]
            firsts += [first]
            # Another NaN is unlike this one, which only costs time.
            alike = alike and (size == 1 or numbers[start : start + size].count(first) == size)
        if factors:
            clipped = list(map(factors.get, indices))
            names, firsts = [*names, FACTOR], [*firsts, clipped[0]]
            alike = alike and clipped.count(clipped[0]) == size
        if not alike:
            rows += _each(common, share, numbers, factors, evaluate)
            found, last = found + 2, None
            continue
        # Most have what the one before has. What is equal may differ in the sign of a zero.
        if last is None or last[0] is not common or last[1] != firsts or 0 in firsts:
            line = common
            if names:
                line = common.copy()
                for name, number in zip(names, firsts, strict=True):
                    line[name] = number
            row = evaluate(line)
            found, last = found + 1, (common, firsts)
        rows += [row] * size
    return rows[:1] if found == 1 else rows


def rows_for(
    rule: Rule, indices: Sequence[int], values: dict[str, Any], gradients: StepGradients,
    evaluate: Callable[[dict[str, Any]], _Row],
) -> list[_Row]:  # fmt: skip
    """The same for parameters of one optimizer, from what its cells hold.

    Args:
        rule: the optimizer.
        indices: the positions of the parameters.
        values: from `step_values`.
        gradients: of the step.
        evaluate: as of `rows_of`.
    """
    numbers: list[Any] = []
    own = [[cell.value for cell in rule.cells.numbers[index]] for index in indices]
    share = laid_out(0, indices, own, numbers)
    factors = {index: ops.convert_to_number(gradients.factor(index)) for index in indices}
    clipped = any(factor is not None for factor in factors.values())
    return rows_of([share], [values], numbers, factors if clipped else {}, evaluate)


def _each(
    common: dict[str, Any], share: Share, numbers: Sequence[Any], factors: dict[int, Any],
    evaluate: Callable[[dict[str, Any]], _Row],
) -> list[_Row]:  # fmt: skip
    """The same for parameters that have different numbers."""
    names = share.names
    columns = [numbers[start : start + share.size] for start in share.starts]
    if factors:
        names, columns = [*names, FACTOR], [*columns, list(map(factors.get, share.indices))]
    made: dict[Any, _Row] = {}
    rows = []
    for each in zip(*columns, strict=True):
        # Zeros may differ in their signs.
        key = each if 0 not in each else repr(each)
        if key not in made:
            made[key] = evaluate({**common, **dict(zip(names, each, strict=True))})
        rows += [made[key]]
    return rows


def picked(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function of a list that gives what stands in it at some places."""
    first, end = places[0], places[0] + len(places)
    return _in_a_row(first, end) if list(places) == list(range(first, end)) else operator.itemgetter(*places)


@functools.lru_cache(maxsize=256)
def _in_a_row(first: int, end: int) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """One for all optimizers: hundreds of one parameter are out of the processor's reach."""
    return operator.itemgetter(slice(first, end))
