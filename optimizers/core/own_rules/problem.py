"""What all ways to run an optimizer are given: the same parameters, and the same gradients for every step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ....backends import Backend, Tree, backend_of, trials, value_of
from ....backends.wording import number_of
from ..given import of_shapes


class Problem(NamedTuple):
    """Parameters and gradients, in NumPy's double precision.

    Attributes:
        tree: of the parameters, as the user has them.
        start: their values.
        gradients: for every step those of all parameters.
        likes: for every parameter an array of the user's library, beside which arrays are put.
        is_drawn: whether the gradients were drawn.
        finite_steps: for how many steps all gradients are finite.
    """

    tree: Tree
    start: list[Any]
    gradients: list[list[Any]]
    likes: list[Any]
    is_drawn: bool
    finite_steps: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(self.tree.names)

    def arrays(self, library: Backend, dtype: str, values: Sequence[Any], column_major: bool = False) -> list[Any]:
        """New arrays of a library.

        Args:
            library: its backend.
            dtype: of the arrays.
            values: one for each parameter, such as `start`.
            column_major: whether the first axis is the innermost in memory.
        """
        orders = [trials.column_major(each.shape) if column_major else None for each in values]
        likes = [like if backend_of(like) is library else None for like in self.likes]
        return [
            trials.made(library, each, dtype, order, like)
            for each, order, like in zip(values, orders, likes, strict=True)
        ]

    def with_zeros(self) -> Problem:
        """The same, with gradients that are zero in two steps."""
        zeros = [[each * 0.0 for each in given] for given in self.gradients[:1]] * 2
        return self._replace(gradients=zeros, finite_steps=2 if self.finite_steps else 0)

    def has_wide(self) -> bool:
        """Whether a parameter has double precision."""
        backends = [(backend_of(like), like) for like in self.likes]
        return any(backend is not None and backend.dtype_name(like) == "float64" for backend, like in backends)

    def has_orders(self) -> bool:
        """Whether the elements of a parameter can lie in several orders."""
        return any(sum(length > 1 for length in values.shape) > 1 for values in self.start)


def problem_of(tree: Tree, gradients: Any, steps: int) -> Problem:
    """What is run: what was given, and what is drawn where nothing was.

    Args:
        tree: of parameters, or of what has a shape and a dtype.
        gradients: of every step, in a tree of the same structure, or None.
        steps: how many.

    Raises:
        ValueError: if a parameter is not finite.
    """
    likes, shapes = of_shapes(tree)
    values = trials.drawn(shapes, 0)
    for place, leaf in enumerate(map(value_of, tree.leaves)):
        backend = backend_of(leaf)
        if backend is not None and backend.why_no_values(leaf) is None:
            values[place] = trials.read(backend, leaf)
    for name, each in zip(tree.names, values, strict=True):
        count = int((~(abs(each) < math.inf)).sum())
        if count:
            raise ValueError(
                f"Parameter {name!r} has {number_of(count, 'elements')} that {'is' if count == 1 else 'are'} not "
                "finite, so that nothing can be compared. Give parameters as they were before training, or their "
                "shapes alone."
            )
    if gradients is not None:
        given = tree.match(gradients, "gradients")
        own = [trials.read(backend, each) for each in given if (backend := backend_of(each)) is not None]
        finite = steps if _are_finite(own) else 0
        return Problem(tree, values, [own] * steps, likes, False, finite)
    drawn = [trials.drawn(shapes, step + 1) for step in range(steps)]
    for each_step in drawn[1:2]:
        each_step[::2] = [each * 0.0 for each in each_step[::2]]
    return Problem(tree, values, drawn, likes, True, steps)


def _are_finite(arrays: Iterable[Any]) -> bool:
    return all((abs(each) < math.inf).all() for each in arrays)
