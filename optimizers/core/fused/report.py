"""What `execution_report` gives: how each group of parameters was updated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..rule import Rule
from .facts import Facts


class Group(NamedTuple):
    """Parameters that are updated in the same way; a line of `execution_report`.

    Attributes:
        way: "fused", "blocks", "foreach", "compiled" or "jit" for recorded programs, else "eager".
        parameters: how many there are.
        elements: of all of them together.
        bytes_per_parameter: the traffic of a step, not what is kept: what its passes over memory read and write for
            each element; None if it is eager. What is kept is told by `Optimizer.memory`.
        reason: why there is no single pass, or None.
    """

    way: str
    parameters: int
    elements: int
    bytes_per_parameter: int | None
    reason: str | None

    def __str__(self) -> str:
        count = self.bytes_per_parameter
        traffic = "" if count is None else f", {count} bytes of traffic per element"
        reason = "" if self.reason is None else f": {self.reason}"
        return f"{self.way}: {self.parameters} parameters, {self.elements} elements{traffic}{reason}"


class NotRecorded:
    """What stands in the place of a program where there is none: false, and as text the reason.

    Args:
        reason: why there is none.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"not recorded: {self.reason}"


class ExecutionReport(list[Group]):
    """How each group of parameters was updated in the last imperative step. It prints as a line for each.

    Attributes:
        begin_step: why the optimizer's `begin_step` was run by whole arrays; None if it was recorded, or there is none.
    """

    begin_step: str | None = None

    def __str__(self) -> str:
        begun = [] if self.begin_step is None else [f"begin_step, eager: {self.begin_step}"]
        return "\n".join([*map(str, self), *begun]) or "no imperative step has been made yet"


def report_of(
    rule: Rule, known: Sequence[Facts], ways: Mapping[int, str | None], begin_reason: str | None, compiled: bool
) -> ExecutionReport:
    """The groups of a step.

    Args:
        rule: the optimizer.
        known: what is known of all parameters.
        ways: for the positions of those that had a gradient why they were not updated in one pass, or None.
        begin_reason: the same of `begin_step`.
        compiled: whether passes are compiled.
    """
    groups: dict[Any, list[int]] = {}
    for index, reason in ways.items():
        way = known[index].pass_ if reason is None else None
        groups.setdefault((way, rule.cells.parameters[index].dtype_name, reason), []).append(index)
    report = ExecutionReport()
    report.begin_step = begin_reason
    for (way, _, reason), members in groups.items():
        traffic = None if way is None else way.traffic
        elements = sum(rule.cells.parameters[index].size for index in members)
        name = "eager" if way is None else _name_of(rule, known[members[0]], compiled)
        report.append(Group(name, len(members), elements, traffic, reason))
    return report


def _name_of(rule: Rule, facts: Facts, compiled: bool) -> str:
    """What the way of a parameter's update is called."""
    if not facts.plain:
        backend = rule.cells.parameters[0].backend
        theirs = backend.compiled_way if rule.jit_compile is True else None
        return str(theirs or backend.program_way)
    way = facts.pass_
    return "fused" if compiled and way is not None and not way.by_blocks else "blocks"
