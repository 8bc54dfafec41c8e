"""Cells that say by how much they change, for frameworks that add the change themselves.

Optax adds what an optimizer returns to the parameters itself. The difference of new and old parameters would be the
change rounded to the parameter's last bit. A `DeltaVariable` therefore keeps two things apart: what it held when the
step began, and, in a cell of its own, the sum of what the rule added to it. A write goes to the sum; a read gives both
together. The sum is a cell like any other, so that scopes of one parameter and branches of a conditional hold it too.
What the cell held may be unknown, as long as the rule does not read it.

Where nothing holds the sum, nobody asks for it, and the cell is like any other.
"""

from __future__ import annotations

import operator
from typing import Any

from .detect import backend_for, backend_of
from .dtypes import Array
from .python import HOST
from .scope import Scope, is_written, scope_holding
from .variable import Variable, value_of


class UnknownValueError(ValueError):
    """A rule read a parameter whose value was not given."""


class DeltaVariable(Variable):
    """A parameter whose changes are collected where its `delta` is held. Both hold something only in scopes.

    Made by `DeltaVariable.placeholder`.
    """

    delta: Variable
    """The sum of what was added to the cell since the outermost scope began."""

    @classmethod
    def placeholder(cls, array: Array, name: str) -> DeltaVariable:
        """A cell with the shape and dtype of an array and no array of its own."""
        cell = cls.over(array, name)
        assert isinstance(cell, DeltaVariable)
        cell.array = None
        cell.delta = Variable.placeholder(array, f"{name}_delta")
        return cell

    @classmethod
    def standing_for(cls, cell: Variable) -> DeltaVariable:
        """A cell that holds nothing of its own, of the same name, library, shape and dtype as another one."""
        # Not by the cell's properties: a rule may be watched for asking how long arrays are.
        kind = [cell._backend], [cell._shape], [cell._dtype_name], [None]
        (own,) = cls._all([cell.name], *kind)
        assert isinstance(own, DeltaVariable)
        (own.delta,) = Variable._all([f"{cell.name}_delta"], *kind)
        return own

    def collecting_for(self, cell: Variable, zeros: Array) -> Scope:
        """A scope in which this holds what another cell holds now, and collects what is added to it.

        Args:
            cell: the other one.
            zeros: with which the sum begins.
        """
        start = cell._value_if_known() if isinstance(cell, DeltaVariable) else cell.value
        return Scope([(self, start), (self.delta, zeros)])

    def _value_if_known(self) -> Array:
        """As `value`; what stands in its place where it is unknown."""
        start = super().value
        return self.value if self._known(start) else start

    @property
    def collects(self) -> bool:
        """Whether changes are collected now."""
        return scope_holding(self.delta) is not None

    @property
    def sink(self) -> Variable:
        """Its delta where changes are collected."""
        return self.delta if self.collects else self

    @property
    def value(self) -> Array:
        """What the cell held when the step began, and what was added since.

        Raises:
            UnknownValueError: if what it held is unknown.
        """
        start = super().value
        if not self.collects:
            return start
        if not self._known(start):
            raise UnknownValueError(
                f"The update rule reads parameter {self.name!r}, whose value was not given: give the parameters too."
            )
        return start + self.delta.value if is_written(self.delta) else start

    @value.setter
    def value(self, value: Any) -> None:
        raise self.refused_value()

    @property
    def dtype(self) -> Any:
        """The dtype in which it is computed now."""
        return self.delta.dtype if self.collects else super().dtype

    def _known(self, start: Array) -> bool:
        # What stands for an array while a rule is recorded is known.
        return backend_of(start) is not self.backend or self.backend.why_no_values(start) is None

    def assign(self, value: Any) -> None:
        """Make the cell hold `value`: its delta becomes what is missing."""
        if not self.collects:
            super().assign(value)
            return
        if not self._known(super().value):
            # The value that was to be replaced is needed to say by how much it changes.
            _ = self.value
        value = value_of(value)
        self._refuse_number(value)
        if backend_of(value) is HOST:
            value = self.backend.full_like(self.delta.value, value)
        self.delta.assign(value - super().value)

    def assign_add(self, delta: Any) -> None:
        """Add to the cell's delta."""
        if not self.collects:
            super().assign_add(delta)
            return
        delta = value_of(delta)
        # The first is not added to zeros: compilers may not drop these, because of the sign of zero.
        self.delta.assign(delta) if self._is_first(delta) else self.delta.assign_add(delta)

    def assign_sub(self, delta: Any) -> None:
        """Subtract from the cell's delta."""
        if not self.collects:
            super().assign_sub(delta)
            return
        delta = value_of(delta)
        if self._is_first(delta):
            self.delta.assign(self.backend.operate(operator.neg, delta))
        else:
            self.delta.assign_sub(delta)

    def _is_first(self, delta: Any) -> bool:
        backend = backend_of(delta)
        if backend is None or is_written(self.delta):
            return not is_written(self.delta)
        held = self.delta.value
        return backend.shape(delta) == backend_for(held).shape(held)

    def hold_in(self, scope: Scope, dtype: str) -> None:
        """Hold in a scope what is held now, in another dtype."""
        start = super().value
        scope.hold(self, self.backend.cast(start, dtype) if self._known(start) else start)
        if self.collects:
            self.delta.hold_in(scope, dtype)
