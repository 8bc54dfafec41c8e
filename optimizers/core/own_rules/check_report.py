"""What came of the ways to run an optimizer, and the words for it."""

from __future__ import annotations

from typing import NamedTuple

from ....backends.mistakes import RuleMistake


class Row(NamedTuple):
    """What came of a way; a line of the report.

    Attributes:
        way: as text, such as "torch, in place".
        dtype: of the parameters.
        recorded: whether all updates ran as recorded programs; None where that is not known.
        distance: the largest of a parameter from where it is by whole arrays of NumPy's, in units of eps.
        parameter: that parameter's name.
        same_bits: whether all parameters have the same bits.
        note: why it was not recorded, or what went wrong, or why the way was left out.
        ran: whether the way was there. If not, the distance is zero.
        partly: whether some updates ran as recorded programs, and others did not.
    """

    way: str
    dtype: str
    recorded: bool | None
    distance: float
    parameter: str
    same_bits: bool
    note: str = ""
    ran: bool = True
    partly: bool = False


class CheckReport(tuple[Row, ...]):
    """A row for each way that an optimizer was run; as text a table."""

    __slots__ = ()

    def __str__(self) -> str:
        head = ("way", "dtype", "recorded", "eps apart", "same bits", "parameter", "")
        lines = [head, *map(_texts, self)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _texts(row: Row) -> tuple[str, ...]:
    if not row.ran:
        return row.way, row.dtype, "", "", "", "", row.note
    yes = {True: "yes", False: "no", None: ""}
    return (
        row.way, row.dtype, "partly" if row.partly else yes[row.recorded], f"{row.distance:.3g}", yes[row.same_bits],
        "" if row.same_bits else row.parameter, row.note,
    )  # fmt: skip


class WaysDiffer(RuleMistake):
    """An optimizer does not do the same on all ways.

    Attributes:
        report: what came of each.
    """

    report: CheckReport


def differing(owner: str, row: Row, bound: float, report: CheckReport) -> WaysDiffer:
    """The error for a way that is too far from the others.

    Args:
        owner: the optimizer, as errors call it.
        row: of that way.
        bound: how many eps it may be apart.
        report: of all ways.
    """
    error = WaysDiffer(
        f"{owner} is not the same on all ways: on {row.way} ({row.dtype}) "
        + (
            f"it raises {row.note.removesuffix('.')}"
            if not row.parameter
            else f"parameter {row.parameter!r} is {row.distance:.3g} eps from where whole arrays of NumPy's "
            f"take it, and {bound:g} are allowed. What update_step does may not depend on the library, the "
            "memory or the way it is run"
        )
        + ". The whole report is the `report` of this error; print(error.report)."
    )
    error.report = report
    return error
