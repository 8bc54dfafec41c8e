"""An optimizer run on every way there is, and compared: `check`."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ....backends import SIXTEEN_BIT, Tree, backend_of, shown, trials
from ....backends.mistakes import RuleMistake, line_of_error
from ..functional import FunctionalOptimizer
from ..given import tree_of_parameters
from ..hyperparameters import Count
from .check_report import CheckReport, Row, differing
from .problem import Problem, problem_of
from .remedies import zero_at_first
from .ways import LeftOut, Recorded, Way, know_ways, ways_for
from .ways_of_libraries import ways_of_libraries

_BOUND, _BOUND_OF_SMALL = 64.0, 2.0
"""How many eps two ways may be apart: in the dtype that is computed in, and for each step in one that is rounded to."""
_STEPS = Count(1)
_STEPS.name = "steps"
know_ways(ways_of_libraries)


class CheckedOptimizer(FunctionalOptimizer):
    """Compares the ways to run an optimizer. A base of `Optimizer`."""

    def check(self, params: Any, gradients: Any = None, steps: int = 4) -> CheckReport:
        """Run the optimizer on every way there is, from the same start with the same gradients, and compare.

        The ways: in place and as pure functions; by whole arrays and, where they can be recorded, in one pass; on
        NumPy, array-api-strict, torch and JAX, whichever are installed, under `jax.jit` too; with arrays whose elements
        lie in another order; with parameters of 16 bits; and by the front ends for torch, optax and Keras, the last one
        where Keras is imported. All are compared with whole arrays of NumPy's. Neither the parameters nor the optimizer
        change. What a rule prints is shown of the first way alone.

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
            ValueError: if parameters are not finite, of which nothing can be compared.
        """
        tree = tree_of_parameters(params)
        problem = problem_of(tree, gradients, _STEPS.checked(steps, f"{type(self).__name__}.check"))
        rows: list[Row] = []
        expected: dict[str, list[Any]] = {}
        for way in _shown_progress(list(ways_for(problem))):
            # A rule that prints would do so in each step of each way.
            with contextlib.redirect_stdout(io.StringIO()) if rows else contextlib.nullcontext():
                rows.append(self._compared(way, problem, expected))
        report = CheckReport(rows)
        for row in report:
            bound = _BOUND_OF_SMALL * steps if row.dtype in SIXTEEN_BIT else _BOUND
            if not row.distance <= bound:
                raise differing(type(self).__name__, row, bound, report)
        return report

    def _compared(self, way: Way[Any], problem: Problem, expected: dict[str, list[Any]]) -> Row:
        """Run a way, and compare it with the first of its dtype."""
        first = way.dtype not in expected
        if not expected and problem.is_drawn:
            self._run_way(way, problem.with_zeros(), watched=True)
        try:
            found, recorded = self._run_way(way, problem, watched=first)
        except LeftOut as reason:
            return _left_out(way, str(reason))
        except Exception as error:
            if first:
                raise
            lacks = trials.why_not_there(error)
            if lacks is not None:
                return _left_out(way, lacks)
            said, where = shown(error, str), line_of_error(error)
            place = "" if where is None or where in said else f" in {where}"
            said = f"{type(error).__name__}{place}: {said}"
            return Row(str(way), way.dtype, False, math.inf, "", False, said)
        goal = expected.setdefault(way.dtype, found)
        start = [trials.rounded(values, way.dtype) for values in problem.start]
        far = [trials.distance(*each, way.dtype) for each in zip(found, goal, start, strict=True)]
        largest = max(range(len(far)), key=far.__getitem__)
        bits = all(one.tobytes() == other.tobytes() for one, other in zip(found, goal, strict=True))
        name = problem.names[largest]
        return Row(
            str(way), way.dtype, recorded.all_of_them, far[largest], name, bits, recorded.why, partly=recorded.some
        )

    def _run_way(self, way: Way[Any], problem: Problem, watched: bool) -> tuple[list[Any], Recorded]:
        """The parameters after all steps, and whether they were recorded.

        Args:
            way: how to run.
            problem: what.
            watched: whether to look for NaN after each step.
        """
        loop = way.start(self._like_this(problem.tree), problem)
        for number, gradients in enumerate(problem.gradients, 1):
            loop.step(gradients)
            if watched:
                self._check_numbers(way, problem, number, _read(loop.parameters()))
        return _read(loop.parameters()), loop.recorded()

    def _like_this(self, tree: Tree) -> CheckedOptimizer:
        """An unbuilt copy; what it excludes from weight decay by identity it excludes by name."""
        optimizer: Any = self.unbuilt_copy()
        for keeper in optimizer.all_optimizers():
            chosen, patterns = keeper.exclusions
            if chosen:
                those = {id(held) for each in chosen for held in (each, getattr(each, "array", each))}
                known = [name for name, leaf in zip(tree.names, tree.leaves, strict=True) if _is_one_of(leaf, those)]
                keeper.exclude_from_weight_decay(var_names=[*patterns, *(f"^{re.escape(name)}$" for name in known)])
        copied: CheckedOptimizer = optimizer
        return copied

    def _check_numbers(self, way: Way[Any], problem: Problem, number: int, parameters: Sequence[Any]) -> None:
        """Raise RuleMistake if a parameter is NaN after a step, where all that was given is finite."""
        if number > problem.finite_steps:
            return
        gradients = problem.gradients[number - 1]
        for name, values, gradient in zip(problem.names, parameters, gradients, strict=True):
            # NaN alone is not equal to itself.
            if not (values != values).any():
                continue
            finite = "are finite" if gradient.any() else "are zero"
            why = zero_at_first(type(self).update_step) if number == 1 else None
            raise RuleMistake(
                f"{type(self).__name__} makes NaN of parameter {name!r} in step {number} on {way} ({way.dtype}), where "
                f"it was finite and all elements of its gradient {finite}: "
                + (
                    "what it divides by, or takes a root of, may be zero or too small for the dtype, as products of "
                    "tiny numbers are. Divide such numbers before they are multiplied, or add an epsilon to what is "
                    "divided by."
                    if why is None
                    else why
                )
            )


def _left_out(way: Way[Any], reason: str) -> Row:
    return Row(str(way), way.dtype, None, 0.0, "", False, f"left out: {reason}", ran=False)


def _read(parameters: Sequence[Any]) -> list[Any]:
    """Arrays of any library as NumPy's in double precision."""
    return [trials.read(backend, each) for each in parameters if (backend := backend_of(each)) is not None]


def _is_one_of(leaf: Any, identities: set[int]) -> bool:
    return id(leaf) in identities or id(getattr(leaf, "array", leaf)) in identities


def _shown_progress(ways: list[Way[Any]]) -> Iterable[Way[Any]]:
    """The ways one after another, with a bar on a terminal where `rich` can draw one."""
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return ways
    console = Console(stderr=True)
    return track(ways, "running every way", console=console, transient=True) if console.is_terminal else ways
