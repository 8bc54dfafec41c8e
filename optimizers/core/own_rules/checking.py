"""An optimizer run on every way there is, and compared: `check`."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ....backends import Backend, Tree, Variable, backend_of, shown, trials, value_of
from ....backends.mistakes import RuleMistake, line_of_error
from ..functional import FunctionalOptimizer
from ..fused.report import NotRecorded
from ..given import of_shapes, tree_of_parameters
from ..hyperparameters import Count
from ..imperative import ImperativeOptimizer

_SMALL = ("float16", "bfloat16")
_BOUND, _BOUND_OF_SMALL = 64.0, 2.0
"""How many eps two ways may be apart: in the dtype that is computed in, and for each step in one that is rounded to."""


_FEW = 3
"""So many names are listed in a row of the report."""
_STEPS = Count(1)
_STEPS.name = "steps"


class WayToRun(NamedTuple):
    """A way to run an optimizer.

    Attributes:
        library: the backend of its arrays.
        kind: "in place", "functional" or "compiled", which is functional and by the library's own compiler.
        whole: whether by whole arrays, though it might be recorded.
        dtype: of the parameters.
        column_major: whether the first axis is the innermost in memory.
    """

    library: Backend
    kind: str
    whole: bool
    dtype: str
    column_major: bool = False

    def __str__(self) -> str:
        how = "under jit" if self.kind == "compiled" else self.kind
        whole = ", whole arrays" if self.whole and self.kind != "compiled" else ""
        return f"{self.library.name}, {how}{whole}{', column-major' if self.column_major else ''}"


class Row(NamedTuple):
    """What came of a way; a line of the report.

    Attributes:
        way: as text, such as "torch, in place".
        dtype: of the parameters.
        recorded: whether all updates ran as recorded programs.
        distance: the largest of a parameter from where it is by whole arrays of NumPy's, in units of eps.
        parameter: that parameter's name.
        same_bits: whether all parameters have the same bits.
        note: why it was not recorded, or what went wrong.
    """

    way: str
    dtype: str
    recorded: bool
    distance: float
    parameter: str
    same_bits: bool
    note: str = ""


class CheckReport(tuple[Row, ...]):
    """A row for each way that an optimizer was run; as text a table."""

    __slots__ = ()

    def __str__(self) -> str:
        head = ("way", "dtype", "recorded", "eps apart", "same bits", "parameter", "")
        lines = [head, *map(_texts, self)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _texts(row: Row) -> tuple[str, ...]:
    yes = {True: "yes", False: "no"}
    return (
        row.way, row.dtype, yes[row.recorded], f"{row.distance:.3g}", yes[row.same_bits],
        "" if row.same_bits else row.parameter, row.note,
    )  # fmt: skip


class WaysDiffer(RuleMistake):
    """An optimizer does not do the same on all ways.

    Attributes:
        report: what came of each.
    """

    report: CheckReport


class _Problem(NamedTuple):
    """Parameters and gradients, in NumPy's double precision."""

    tree: Tree
    start: list[Any]
    gradients: list[list[Any]]
    likes: list[Any]
    is_drawn: bool


class CheckedOptimizer(FunctionalOptimizer):
    """Compares the ways to run an optimizer. A base of `Optimizer`."""

    def check(self, params: Any, gradients: Any = None, steps: int = 4) -> CheckReport:
        """Run the optimizer on every way there is, from the same start with the same gradients, and compare.

        The ways: in place and as pure functions; by whole arrays and, where they can be recorded, in one pass; on
        NumPy, array-api-strict, torch and JAX, whichever are installed, under `jax.jit` too; with arrays whose elements
        lie in another order; and with parameters of 16 bits. All are compared with whole arrays of NumPy's. Neither the
        parameters nor the optimizer change. What a rule prints is shown of the first way alone.

        Args:
            params: what `init` or `build` takes: a tree of arrays, a list, `model.named_parameters()`. Shapes suffice:
                where there are no values, and for gradients, numbers are drawn, always the same.
            gradients: of every step, in a tree of the same structure. Default: they are drawn for each step; in the
                second one every other parameter's is zero, and a run with zeros alone is made beside.
            steps: how many to make, >= 1. Default 4.

        Returns:
            A row for each way: whether it was recorded, how many eps it is apart, and whether it has the same bits.
            `print` shows it as a table.

        Raises:
            WaysDiffer: if a way is too far from the others, or raises an error: a TypeError that names the first
                parameter and way, and whose `report` has them all.
            RuleMistake: a TypeError, if a finite parameter becomes NaN by finite gradients.
        """
        problem = _problem(tree_of_parameters(params), gradients, _STEPS.checked(steps, f"{type(self).__name__}.check"))
        rows: list[Row] = []
        expected: dict[str, list[Any]] = {}
        for way in _shown_progress(list(_ways(problem))):
            # A rule that prints would do so in each step of each way.
            with contextlib.redirect_stdout(io.StringIO()) if rows else contextlib.nullcontext():
                rows.append(self._compared(way, problem, expected))
        report = CheckReport(rows)
        for row in report:
            bound = _BOUND_OF_SMALL * steps if row.dtype in _SMALL else _BOUND
            if row.distance <= bound:
                continue
            error = WaysDiffer(
                f"{type(self).__name__} is not the same on all ways: on {row.way} ({row.dtype}) "
                + (
                    f"it raises {row.note}"
                    if not row.parameter
                    else f"parameter {row.parameter!r} is {row.distance:.3g} eps from where whole arrays of NumPy's "
                    f"take it, and {bound:g} are allowed. What update_step does may not depend on the library, the "
                    "memory or the way it is run"
                )
                + ". The whole report is the `report` of this error; print(error.report)."
            )
            error.report = report
            raise error
        return report

    def _compared(self, way: WayToRun, problem: _Problem, expected: dict[str, list[Any]]) -> Row:
        """Run a way, and compare it with the first of its dtype."""
        first = way.dtype not in expected
        if not expected and problem.is_drawn:
            self._run_way(way, _with_zeros(problem), watched=True)
        try:
            found, recorded, note = self._run_way(way, problem, watched=first)
        except Exception as error:
            if first:
                raise
            said, where = shown(error, str), line_of_error(error)
            place = "" if where is None or where in said else f" in {where}"
            said = f"{type(error).__name__}{place}: {said}"
            return Row(str(way), way.dtype, False, math.inf, "", False, said)
        goal = expected.setdefault(way.dtype, found)
        start = [trials.rounded(values, way.dtype) for values in problem.start]
        far = [trials.distance(*each, way.dtype) for each in zip(found, goal, start, strict=True)]
        largest = max(range(len(far)), key=far.__getitem__)
        bits = all(one.tobytes() == other.tobytes() for one, other in zip(found, goal, strict=True))
        return Row(str(way), way.dtype, recorded, far[largest], problem.tree.names[largest], bits, note)

    def _run_way(self, way: WayToRun, problem: _Problem, watched: bool) -> tuple[list[Any], bool, str]:
        """The parameters after all steps, whether they were recorded, and why not.

        Args:
            way: how to run.
            problem: what.
            watched: whether to look for NaN after each step; the first of the ways of a dtype are in place.
        """
        optimizer = self._like_this(problem.tree)
        optimizer.jit_compile = False if way.whole else "auto"
        if way.kind == "in place":
            parameters, recorded, note = _in_place(optimizer, way, problem, watched)
        else:
            parameters, recorded, note = _as_functions(optimizer, way, problem)
        return [trials.read(way.library, each) for each in parameters], recorded, note

    def _like_this(self, tree: Tree) -> Any:
        """An unbuilt copy; what it excludes from weight decay by identity it excludes by name."""
        optimizer = self.unbuilt_copy()
        for keeper in optimizer.all_optimizers():
            chosen, patterns = keeper.exclusions
            if chosen:
                known = [name for name, leaf in zip(tree.names, tree.leaves, strict=True) if _is_one_of(leaf, chosen)]
                keeper.exclude_from_weight_decay(var_names=[*patterns, *(f"^{re.escape(name)}$" for name in known)])
        return optimizer


def _in_place(
    optimizer: ImperativeOptimizer, way: WayToRun, problem: _Problem, watched: bool
) -> tuple[list[Any], bool, str]:
    parameters, names = _arrays(way, problem, problem.start), problem.tree.names
    if any(way.library.why_not_variable(each) is not None for each in parameters):
        parameters = [Variable(each, name) for each, name in zip(parameters, names, strict=True)]
    optimizer.build(dict(zip(names, parameters, strict=True)))
    for number, gradients in enumerate(problem.gradients, 1):
        optimizer.apply(_arrays(way, problem, gradients), parameters)
        if watched:
            _check_numbers(type(optimizer).__name__, way, problem, number, list(map(value_of, parameters)))
    recorded = all(group.reason is None and group.way != "eager" for group in optimizer.execution_report())
    note = "" if recorded or way.whole else _why_not_recorded(optimizer, parameters, names)
    return list(map(value_of, parameters)), recorded, note


def _why_not_recorded(optimizer: ImperativeOptimizer, parameters: Sequence[Any], names: Sequence[str]) -> str:
    """Why parameters were not updated in one pass, with their names where others were."""
    programs = list(map(optimizer.program_of, parameters))
    found: dict[str, list[str]] = {}
    for name, program in zip(names, programs, strict=True):
        if isinstance(program, NotRecorded):
            found.setdefault(program.reason, []).append(name)
    alone = len(found) == 1 and not any(programs)
    return "; ".join(reason if alone else f"{_listed(which)}: {reason}" for reason, which in found.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _FEW else f"{names[0]} and {len(names) - 1} others"


def _check_numbers(owner: str, way: WayToRun, problem: _Problem, number: int, parameters: Sequence[Any]) -> None:
    """Raise RuleMistake if a parameter is NaN after a step, where all that was given is finite."""
    gradients = problem.gradients[number - 1]
    if not all(map(_is_finite, [*problem.start, *(each for given in problem.gradients[:number] for each in given)])):
        return
    for name, array, gradient in zip(problem.tree.names, parameters, gradients, strict=True):
        values = trials.read(way.library, array)
        # NaN alone is not equal to itself.
        if not (values != values).any():
            continue
        finite = "are finite" if gradient.any() else "are zero"
        raise RuleMistake(
            f"{owner} makes NaN of parameter {name!r} in step {number} on {way} ({way.dtype}), where it was finite and "
            f"all elements of its gradient {finite}: what it divides by, or takes a root of, may be zero or too small "
            "for the dtype, as products of tiny numbers are. Add an epsilon to that, last of all."
        )


def _is_finite(values: Any) -> bool:
    return bool((abs(values) < math.inf).all())


def _with_zeros(problem: _Problem) -> _Problem:
    """The same, with gradients that are zero in the two first steps."""
    return problem._replace(gradients=[[each * 0.0 for each in given] for given in problem.gradients[:1]] * 2)


def _as_functions(optimizer: FunctionalOptimizer, way: WayToRun, problem: _Problem) -> tuple[list[Any], bool, str]:
    params = problem.tree.build(_arrays(way, problem, problem.start))
    state = optimizer.init(params)
    step = (way.kind == "compiled" and way.library.compiled(optimizer.step)) or optimizer.step
    for gradients in problem.gradients:
        params, state = step(params, problem.tree.build(_arrays(way, problem, gradients)), state)
    return problem.tree.match(params, "parameters"), optimizer.steps_are_remembered, ""


def _arrays(way: WayToRun, problem: _Problem, values: Sequence[Any]) -> list[Any]:
    """Values as arrays of a way's library."""
    orders = [trials.column_major(each.shape) if way.column_major else None for each in values]
    likes = [like if backend_of(like) is way.library else None for like in problem.likes]
    return [
        trials.made(way.library, each, way.dtype, order, like)
        for each, order, like in zip(values, orders, likes, strict=True)
    ]


def _is_one_of(leaf: Any, chosen: Iterable[Any]) -> bool:
    held = getattr(leaf, "array", leaf)
    return any(each is leaf or getattr(each, "array", each) is held for each in chosen)


def _problem(tree: Tree, gradients: Any, steps: int) -> _Problem:
    likes, shapes = of_shapes(tree)
    values = trials.drawn(shapes, 0)
    for place, leaf in enumerate(map(value_of, tree.leaves)):
        backend = backend_of(leaf)
        if backend is not None and backend.why_no_values(leaf) is None:
            values[place] = trials.read(backend, leaf)
    given = None if gradients is None else tree.match(gradients, "gradients")
    drawn = [trials.drawn(shapes, step + 1) for step in range(steps)]
    for gradients in drawn[1:2]:
        gradients[::2] = [each * 0.0 for each in gradients[::2]]
    if given is not None:
        own = [trials.read(backend, each) for each in given if (backend := backend_of(each)) is not None]
        drawn = [own] * steps
    return _Problem(tree, values, drawn, likes, given is None)


def _ways(problem: _Problem) -> Iterator[WayToRun]:
    """All ways, for each dtype whole arrays of NumPy's first."""
    backends = [(backend_of(like), like) for like in problem.likes]
    wide = any(backend is not None and backend.dtype_name(like) == "float64" for backend, like in backends)
    several = any(sum(length > 1 for length in values.shape) > 1 for values in problem.start)
    known = trials.libraries()
    for dtype in ("float32", *(["float64"] if wide else []), *_SMALL):
        for library in known:
            if trials.has_dtype(library, dtype):
                yield from _ways_of(library, dtype, several and dtype not in _SMALL)


def _ways_of(library: Backend, dtype: str, orders: bool) -> Iterator[WayToRun]:
    """The ways of a library, with other orders in memory where there are such."""
    yield WayToRun(library, "in place", True, dtype)
    if library.writable or library.program_way is not None:
        yield WayToRun(library, "in place", False, dtype)
    yield WayToRun(library, "functional", True, dtype)
    if library.writable:
        yield WayToRun(library, "functional", False, dtype)
    if library.writable and orders:
        yield WayToRun(library, "in place", True, dtype, column_major=True)
        yield WayToRun(library, "in place", False, dtype, column_major=True)
    if library.compiled(_nothing) is not None:
        yield WayToRun(library, "compiled", True, dtype)


def _nothing() -> None:
    """What is asked whether it can be compiled."""


def _shown_progress(ways: list[WayToRun]) -> Iterable[WayToRun]:
    """The ways one after another, with a bar on a terminal where `rich` can draw one."""
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return ways
    console = Console(stderr=True)
    return track(ways, "running every way", console=console, transient=True) if console.is_terminal else ways
