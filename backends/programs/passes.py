"""Programs with reductions as passes over memory: those that only read, for the sums, and the one that writes.

A scalar that depends on a sum is known after the pass that adds it up. So passes come in stages: the sums of the first
stage need no other sum, those of the second stage need the first's, and so on. Nothing is written before all is read,
and what both kinds of pass need is computed twice rather than kept: memory is what takes time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .program import Program


def passes_of(programs: Sequence[Program]) -> list[list[tuple[int, Program]]]:
    """The passes of programs recorded together, over the same scalars.

    Args:
        programs: one for each parameter.

    Returns:
        For each stage of reading the positions of the programs that have sums in it, with what is run there; then the
        stage of writing, perhaps empty.
    """
    level = _levels(programs)
    count = 1 + max((level[name] for program in programs for name, _ in program.reductions), default=-1)
    stages: list[list[tuple[int, Program]]] = []
    for stage in range(count):
        due = [[each for each in program.reductions if level[each[0]] == stage] for program in programs]
        stages.append([(number, restricted(programs[number], (), each)) for number, each in enumerate(due) if each])
    writing = [(number, program) for number, program in enumerate(programs) if program.outputs]
    stages.append([(number, restricted(program, program.outputs, ())) for number, program in writing])
    return stages


def _levels(programs: Sequence[Program]) -> dict[str, int]:
    """For each sum the stage in which it can be added up."""
    level = {name: 0 for program in programs for name, _ in program.reductions}
    while level:
        found = {}
        for program in programs:
            scalars = [level[name] + 1 if name in level else 0 for name in program.scalar_inputs]
            scalars += [0] * len(program.constants)
            for _, operands in program.scalar_operations:
                scalars.append(max(scalars[k] for k in operands))
            arrays = [0] * program.inputs
            for _, typed in program.operations:
                needs = [arrays[k] if kind == "array" else scalars[program.scalars[k]] for kind, k in typed]
                arrays.append(max(needs))
            found.update({name: arrays[operand] for name, operand in program.reductions})
        if found == level:
            break
        level = found
    return level


def restricted(
    program: Program, outputs: Iterable[tuple[int, int]], reductions: Iterable[tuple[str, int]]
) -> Program:
    """The part of a program that some of its outputs and sums need. Inputs keep their numbers."""
    outputs, reductions = tuple(outputs), tuple(reductions)
    first = program.inputs
    needed: set[int] = set()
    waiting = [number for _, number in (*outputs, *reductions)]
    while waiting:
        number = waiting.pop()
        if number >= first and number not in needed:
            needed.add(number)
            waiting += [k for kind, k in program.operations[number - first][1] if kind == "array"]
    place = {number: number for number in range(first)}
    place |= {number: position for position, number in enumerate(sorted(needed), first)}
    used: dict[int, int] = {}

    def moved(kind: str, k: int) -> tuple[str, int]:
        return (kind, place[k] if kind == "array" else used.setdefault(program.scalars[k], len(used)))

    old = [program.operations[number - first] for number in sorted(needed)]
    operations = [(name, tuple(moved(*operand) for operand in operands)) for name, operands in old]
    scalars, names, constants, scalar_operations = _restricted_scalars(program, list(used))
    return Program(
        first,
        tuple(operations),
        tuple((target, place[source]) for target, source in outputs),
        scalars,
        names,
        constants,
        scalar_operations,
        tuple((name, place[operand]) for name, operand in reductions),
    )


def _restricted_scalars(
    program: Program, wanted: Sequence[int]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[float, ...], tuple[tuple[str, tuple[int, ...]], ...]]:
    """Those scalars, and what they are computed from, as in a program of their own."""
    inputs, constants = len(program.scalar_inputs), len(program.constants)
    first = inputs + constants
    needed: set[int] = set()
    waiting = list(wanted)
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += program.scalar_operations[number - first][1] if number >= first else ()
    place = {number: position for position, number in enumerate(sorted(needed))}
    return (
        tuple(place[number] for number in wanted),
        tuple(program.scalar_inputs[number] for number in sorted(needed) if number < inputs),
        tuple(program.constants[number - inputs] for number in sorted(needed) if inputs <= number < first),
        tuple(
            (program.scalar_operations[number - first][0],
             tuple(place[operand] for operand in program.scalar_operations[number - first][1]))
            for number in sorted(needed) if number >= first
        ),
    )  # fmt: skip


def apart(program: Program) -> Program:
    """The same program with memory of its own for each output: a further input before the last, which nobody reads.

    So it leaves what it reads as it is. What it reads may overlap in any way.
    """
    last, count = program.inputs - 1, len(program.outputs)

    def moved(number: int) -> int:
        return number if number < last else number + count

    return program._replace(
        inputs=program.inputs + count,
        operations=tuple(
            (name, tuple((kind, moved(k) if kind == "array" else k) for kind, k in operands))
            for name, operands in program.operations
        ),
        outputs=tuple((last + place, moved(source)) for place, (_, source) in enumerate(program.outputs)),
        reductions=tuple((name, moved(operand)) for name, operand in program.reductions),
    )


def own_scalars(program: Program) -> Program:
    """The same with the scalars that its arrays need, of those of many programs that were recorded together."""
    scalars, names, constants, scalar_operations = _restricted_scalars(program, program.scalars)
    return program._replace(
        scalars=scalars, scalar_inputs=names, constants=constants, scalar_operations=scalar_operations
    )


def scalars_alone(program: Program, wanted: Sequence[int]) -> Program:
    """A program without arrays, whose scalars are some of another program's."""
    return Program(0, (), (), *_restricted_scalars(program, wanted))


def with_sums_inside(program: Program) -> Program:
    """The same with sums, and all scalars that depend on one, among the array operations, as arrays without axes.

    For libraries that run whole programs, and whose sums Python should not wait for.
    """
    if not program.reductions:
        return program
    names, first = program.scalar_inputs, len(program.scalar_inputs) + len(program.constants)
    source = dict(program.reductions)
    operations: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    arrays: dict[int, int] = {}
    reduced: dict[int, int] = {}
    used: dict[int, int] = {}

    def added(name: str, operands: Iterable[tuple[str, int]]) -> int:
        operations.append((name, tuple(operands)))
        return program.inputs + len(operations) - 1

    def array(number: int) -> int:
        if number < program.inputs:
            return number
        if number not in arrays:
            name, operands = program.operations[number - program.inputs]
            arrays[number] = added(
                name, [("array", array(k)) if kind == "array" else scalar(program.scalars[k]) for kind, k in operands]
            )
        return arrays[number]

    depends = [name in source for name in names] + [False] * len(program.constants)
    for _, needs in program.scalar_operations:
        depends.append(any(depends[k] for k in needs))

    def scalar(number: int) -> tuple[str, int]:
        if not depends[number]:
            return ("scalar", used.setdefault(number, len(used)))
        if number not in reduced:
            if number < first:
                reduced[number] = added("sum_of_squares", [("array", array(source[names[number]]))])
            else:
                name, operands = program.scalar_operations[number - first]
                reduced[number] = added(name, [scalar(operand) for operand in operands])
        return ("array", reduced[number])

    outputs = tuple((target, array(number)) for target, number in program.outputs)
    rest = _restricted_scalars(program, list(used))
    return Program(program.inputs, tuple(operations), outputs, *rest)
