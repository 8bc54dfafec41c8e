"""Steps on values that are given: neither they nor the optimizer change."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

from ...backends import HOST, NUMPY, Backend, Scope, Variable, backend_of, leaves_scopes, value_of
from .checks import as_list, check_array, check_gradient, check_some_gradient, checked_count, checked_scalar
from .updating import UpdateRule


class StatelessOptimizer(UpdateRule):
    """Makes steps on values of its variables, as Keras on JAX does. A base of `Optimizer`."""

    @leaves_scopes
    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """One step on given values; neither they nor the optimizer change.

        Args:
            optimizer_variables: values in the order of `variables`.
            grads: a gradient, or None, for each parameter the optimizer was built for.
            trainable_variables: values of those parameters.

        Returns:
            The new values of the parameters, and those of the optimizer's variables.

        Raises:
            ValueError: if the optimizer is not built, or a length or shape differs.
            TypeError: if a value is not an array of the right library, or no number where one is expected.
        """
        if not self.built:
            raise ValueError(f"To call stateless_apply, optimizer {self.name!r} must be built: call build(variables).")
        self._check_chosen_once(self.cells.parameters)
        own, every = self.variables, self.cells.parameters
        state = self._listed(optimizer_variables, "optimizer variables", own)
        gradients = self._listed(grads, "gradients", every)
        parameters = self._listed(trainable_variables, "trainable variables", every)
        held = self._checked_values(own, state, parameters)
        gradients = checked_gradients(gradients, parameters, every[0].backend, [cell.name for cell in every])
        check_some_gradient(gradients, [cell.name for cell in every], every[0].backend)
        cells = [*every, *own]
        with pure_arithmetic(every[0].backend), Scope(zip(cells, held, strict=True)):
            self._run(gradients)
            turns = [self._turn if cell is self.cells.iterations else 1 for cell in cells]
            values = [*parameters, *state]
            results = [restored(cell.value, *each) for cell, *each in zip(cells, values, turns, strict=True)]
        return results[: len(parameters)], results[len(parameters) :]

    def _listed(self, given: Sequence[Any], what: str, cells: list[Variable]) -> list[Any]:
        """What was given for some cells, in the library of each if that takes it for its own.

        Raises:
            ValueError: if there is not one for each.
        """
        values = [value_of(value) for value in as_list(given, what)]
        if len(values) != len(cells):
            raise ValueError(f"Received {len(values)} {what}; optimizer {self.name!r} was built for {len(cells)}.")
        kinds = [cell.backend for cell in cells]
        return [kind.plain(each) if kind.takes(each) else each for kind, each in zip(kinds, values, strict=True)]

    def _checked_values(self, own: list[Variable], state: list[Any], parameters: list[Any]) -> list[Any]:
        """What the parameters and the optimizer's variables shall hold, checked."""
        named_cells, counters = self.named_cells(), self.step_counters()
        beside = [None] * (len(parameters) + len(own) - len(named_cells))
        beside += [None if named.position is None else parameters[named.position] for named in named_cells]
        given = zip([*self.cells.parameters, *own], [*parameters, *state], beside, strict=True)
        return [
            checked_value(cell, value, f"The value of {cell.name!r}", cell in counters, place)
            for cell, value, place in given
        ]


def checked_gradients(
    gradients: Sequence[Any], parameters: Sequence[Any], backend: Backend, names: Sequence[str]
) -> list[Any]:
    """The gradients of a step, or None, as plain arrays that fit their parameters."""
    for gradient, parameter, name in zip(gradients, parameters, names, strict=True):
        if gradient is not None:
            check_gradient(gradient, parameter, backend, backend.shape(parameter), name)
    return [None if gradient is None else backend.plain(gradient) for gradient in gradients]


def pure_arithmetic(backend: Backend) -> contextlib.AbstractContextManager[Any]:
    """What a step runs in that changes nothing.

    On torch it stays differentiable; NumPy's warnings are silenced as on the imperative path.
    """
    return NUMPY.arithmetic() if backend is NUMPY else contextlib.nullcontext()


def checked_value(cell: Variable, value: Any, what: str, counts: bool = False, beside: Any = None) -> Any:
    """What a cell shall hold in a scope, checked: numbers for host scalars, arrays that fit for the others.

    Args:
        cell: the cell.
        value: what it shall hold.
        what: what errors call it.
        counts: whether it is a number of steps.
        beside: the parameter's value, for a slot, which must lie in the same place.
    """
    if cell.backend is HOST:
        return checked_count(value, what) if counts else checked_scalar(value, what)
    check_array(value, cell.backend, cell.shape, what)
    apart = None if beside is None else cell.backend.why_apart(value, beside)
    if apart is not None:
        raise ValueError(f"{what} {apart}: move it first.")
    return cell.backend.plain(value)


def restored(value: Any, like: Any, turn: int = 1) -> Any:
    """A result in the library and dtype in which it came in; see `Backend.following` for a count's turn."""
    backend = backend_of(like)
    if backend is None or backend is HOST:
        return value
    if backend_of(value) is HOST:
        return backend.full_like(like, _held(value, backend.dtype_name(like), turn))
    return backend.cast(backend.as_array(value), backend.dtype_name(like))


def _held(number: Any, dtype: str, turn: int) -> Any:
    """A number as a dtype can hold it: a count that is larger than the largest goes turns back, with a word."""
    if not isinstance(number, int) or not dtype.startswith("int"):
        return number
    largest = 2 ** (int(dtype[3:]) - 1) - 1
    if number > largest:
        warnings.warn(
            f"The state counts steps in {dtype}, which ends at {largest}: from now on the count stays there. With JAX, "
            "enable jax_enable_x64 before init to count further.", RuntimeWarning, stacklevel=4,
        )  # fmt: skip
        number -= -((largest - number) // turn) * turn
    return number
