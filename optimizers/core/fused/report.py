"""What `execution_report` gives: how each group of parameters was updated."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Parameters that are updated in the same way; a line of `execution_report`.

    Attributes:
        way: "fused", "blocks", "foreach", "compiled" or "jit" for recorded programs, else "eager".
        parameters: how many there are.
        elements: of all of them together.
        bytes_per_parameter: what the passes over memory read and write for each element; None if it is eager.
        reason: why there is no single pass, or None.
    """

    way: str
    parameters: int
    elements: int
    bytes_per_parameter: int | None
    reason: str | None

    def __str__(self) -> str:
        traffic = "" if self.bytes_per_parameter is None else f", {self.bytes_per_parameter} bytes per element"
        reason = "" if self.reason is None else f": {self.reason}"
        return f"{self.way}: {self.parameters} parameters, {self.elements} elements{traffic}{reason}"


class ExecutionReport(list[Group]):
    """How each group of parameters was updated in the last imperative step. It prints as a line for each.

    Attributes:
        begin_step: why the optimizer's `begin_step` was run by whole arrays; None if it was recorded, or there is none.
    """

    begin_step: str | None = None

    def __str__(self) -> str:
        begun = [] if self.begin_step is None else [f"begin_step, eager: {self.begin_step}"]
        return "\n".join([*map(str, self), *begun]) or "no imperative step has been made yet"
