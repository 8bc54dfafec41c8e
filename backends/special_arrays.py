"""What some libraries' arrays can be besides arrays of numbers on one machine: of no concern to most backends.

Each part says what a library overrides whose arrays are of that kind. As they stand, no array is of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from .dtypes import Array
from .rows import Rows

NEEDS_VALUE = (
    "needs a value that is not there while JAX traces or a step is recorded. Choose between arrays by "
    "`ops.where(condition, a, b)`, and between assignments by `ops.cond(condition, do_this, do_that)`."
)
"""What is said of an expression that asks for a value."""
NEEDS_ARRAY = (
    "needs the values of an array, which are not there while JAX traces or a step is recorded. Write it with functions "
    "of ops, with `from gradwise.backends import ops`."
)
"""The same of an expression that asks for those of an array."""


class TransformedArrays:
    """Arrays that stand for values of a transformation that runs now: tracers, what a derivative is taken by."""

    def traced(self, array: Array) -> bool:
        """Whether the array stands for values of a transformation that runs now."""
        return False

    def level(self) -> Any:
        """What is equal as long as the same transformation traces, or none does."""
        return None

    def watched(self) -> bool:
        """Whether something outside of the arrays now follows what the library computes: a trace, a derivative."""
        return False

    def why_not_traceable(self, error: Exception) -> str | None:
        """What to write instead of what a traced value could not answer; None if an error is about something else."""
        return None

    def lasts_like(self, result: Array, scalar: Array) -> bool:
        """Whether a result can be used, unchanged, wherever a scalar that it was made of can."""
        return False

    def traceable(self, scalar: Array) -> Any:
        """A concrete 0-d array as a leaf that JAX and those who sort leaves by kind trace, as they do not a number.

        None where the library's arrays are no leaves of JAX's trees.
        """
        return None

    def following(self, count: Array, room: int = 0, turn: int = 1) -> Array:
        """One more than a count; where its dtype has no larger number, a turn less than that.

        Args:
            count: of steps.
            room: how much has to be left up to the dtype's largest.
            turn: the number of steps after which all recurs.
        """
        return count + 1

    def logarithm_in_compiled_code(self, number: float) -> Array | None:
        """The natural logarithm as an array, where that of `math` would make the number a constant; None elsewhere."""
        return None

    def kept_elsewhere(self, array: Array) -> Array:
        """An array that is an operand here and a result there, for the operation that takes it."""
        return array


class SubclassedArrays:
    """Arrays of somebody else's subclass, and those of other libraries that stand for this one's."""

    def takes(self, array: Any) -> bool:
        """Whether an array of another library stands for one of this library's, which `plain` makes of it."""
        return False

    def plain(self, array: Array) -> Array:
        """The elements of an array, on its own memory, without what its class makes of operators."""
        return array

    def of_plain_class(self, array: Array) -> bool:
        """Whether an array, and so its copies, is of the library's own class, not of one with its own arithmetic."""
        return True

    def computes_itself(self, array: Array) -> bool:
        """Whether the library's own code alone computes with an array: no class of somebody else's takes part."""
        return True

    def why_not_parameter(self, array: Array) -> str | None:
        """What to do about an array of a class that is not for parameters, or None if it is."""
        return None

    def why_no_operand(self, array: Array) -> str | None:
        """Why an array that has values cannot be computed with by its elements, or None if it can."""
        return None


class SparseArrays:
    """Arrays that store some of their elements: a gradient of some rows is what an embedding leaves."""

    name: str

    def not_dense(self, array: Array) -> str | None:
        """What an array is that is not stored densely, in a word or two."""
        return None

    def rows(self, array: Array) -> Rows | None:
        """An array that is stored sparsely as the rows that it has; None if it is stored in another way."""
        return None

    def taken(self, array: Array, places: Any) -> Array:
        """A new array of the rows of a dense one, at the places of `Rows`."""
        raise TypeError(f"{self.name} has no gradients of some rows.")

    def put(self, array: Array, places: Any, values: Array) -> None:
        """Write rows into a dense array in place."""
        raise TypeError(f"{self.name} has no gradients of some rows.")


class Disagreement(RuntimeError):
    """Processes that hold parameters together do not all make a step: one has refused a gradient, or has none."""


class SpreadArrays:
    """Arrays that several processes hold together, each a part of it."""

    def whereabouts(self, array: Array) -> str | None:
        """How an array is spread over several processes, in words, or None if it is not."""
        return None

    def held_here(self, arrays: Sequence[Array]) -> Sequence[Array] | None:
        """What this process holds of arrays of one shape: the arrays themselves, unless several hold them together.

        Args:
            arrays: a parameter's and others that belong to it, such as its gradient.

        Returns:
            Arrays of one shape, in their order, over the same memory; None if of one array other elements are held here
            than of another.
        """
        return arrays

    def rows_held_here(
        self, held: Sequence[Array], gradients: Sequence[Array]
    ) -> tuple[Sequence[Array], Sequence[Array]] | None:
        """What this process holds of many parameters' arrays, and of their gradients; see `held_here`.

        Args:
            held: for each parameter its array and those of its slots, which are held like it.
            gradients: one for each parameter.

        Returns:
            The same in both orders; None if of a gradient other elements are held here than of its parameter.
        """
        return held, gradients

    def added_together(self, arrays: Sequence[Array], sums: Sequence[Sequence[float]]) -> list[list[float]]:
        """What was added up in what is held here of some arrays, with what other processes found in their parts.

        Args:
            arrays: on every process the same ones in the same order.
            sums: for each of them what was found here.

        Returns:
            For each of them the sums over the whole of it.
        """
        return list(map(list, sums))

    def agreement(
        self, arrays: Sequence[Array], names: Sequence[str], present: Iterable[int], refused: int | None = None
    ) -> AbstractContextManager[Any] | None:
        """A context for a step, in which processes that exchange numbers also tell each other whether all make it.

        Nothing is exchanged for that alone: processes that exchange nothing do not wait for each other.

        Args:
            arrays: the parameters, on every process the same ones in the same order.
            names: what errors call them.
            present: the positions of those that have a gradient here.
            refused: the position of one whose gradient cannot be taken here, or None.

        Returns:
            A context in which an exchange raises Disagreement on all of them if one refuses its gradients, or has
            others; None if no array is held by several processes.
        """
        return None
