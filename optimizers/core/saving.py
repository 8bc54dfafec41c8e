"""An optimizer's variables as arrays that can be kept, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backends import NUMPY, Variable, backend_of, describe, shown, value_of
from ...backends.interruptions import Undisturbed
from ...backends.wording import listed
from .checks import as_list, checked_count, remedy
from .hyperparameters import LEARNING_RATE
from .updating import UpdateRule


class SavedOptimizer(UpdateRule):
    """Gives its variables as arrays, and takes them. A base of `Optimizer`."""

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all of `variables` from arrays.

        Args:
            weights: one array or number for each, of its shape.

        Raises:
            ValueError: if the optimizer is not built, or a number or shape differs; nothing has changed then.
        """
        if not self.built:
            raise ValueError(f"Optimizer {self.name!r} has no weights to set yet: call build(variables).")
        cells = self.variables
        weights = as_list(weights, "weights")
        if len(weights) != len(cells):
            raise ValueError(
                f"Received {len(weights)} weights; optimizer {self.name!r} has {len(cells)} variables, "
                f"{listed([cell.name for cell in cells])}. The weights come from "
                "a different optimizer: make one of the same class with the same options as when they were saved."
            )
        arrays = [self._fitting_weight(cell, value_of(weight)) for cell, weight in zip(cells, weights, strict=True)]
        with Undisturbed() as guard:
            guard.hold()
            for cell, array in zip(cells, arrays, strict=True):
                cell.assign(array)

    def _fitting_weight(self, cell: Variable, weight: Any) -> Any:
        """A weight as the cell's own kind of array."""
        backend = backend_of(weight)
        if backend is not None and backend.traced(weight):
            raise TypeError(
                f"Variable {cell.name!r} cannot keep a value that is being traced: inside a transformation use the "
                "optimizer's init and step."
            )
        try:
            array = NUMPY.to_numpy(weight) if backend is None else backend.to_numpy(weight)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            # Sparse, deleted or meta arrays and ragged lists: every library has its own words and kind of error.
            raise TypeError(f"Variable {cell.name!r} cannot take {describe(weight)}: {shown(error, str)}") from None
        if not NUMPY.is_real(array):
            raise TypeError(
                f"Variable {cell.name!r} takes real numbers, received {describe(array)}; "
                f"{remedy(NUMPY.dtype_name(array))}."
            )
        if array.shape != cell.shape:
            raise ValueError(f"Variable {cell.name!r} has shape {cell.shape} and cannot take {describe(array)}.")
        if cell is self.cells.rate:
            return LEARNING_RATE.checked(float(array), type(self).__name__)
        if cell in self.step_counters():
            checked_count(array, f"Variable {cell.name!r}")
        return cell.backend.from_numpy(array, cell.dtype_name, cell.value)

    def save_own_variables(self, store: Any) -> None:
        """Write all of `variables` into a mapping as NumPy arrays, under "0", "1", ..."""
        for position, cell in enumerate(self.variables):
            store[str(position)] = cell.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote.

        Args:
            store: a mapping from "0", "1", ... to arrays.

        Raises:
            ValueError: if the optimizer is not built, or a number or shape differs; nothing has changed then.
        """
        if not hasattr(store, "keys"):
            raise TypeError(f"Expected a mapping from '0', '1', ... to arrays, received {describe(store)}.")
        keys = [str(position) for position in range(len(self.variables))]
        if len(store.keys()) != len(keys) or any(key not in store for key in keys):
            raise ValueError(
                f"The store holds {len(store.keys())} variables and optimizer {self.name!r} has {len(keys)}: it comes "
                "from another kind of optimizer, or this one is not yet built for its parameters."
            )
        self.set_weights([store[key] for key in keys])
