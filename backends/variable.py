"""The cell that holds an array, and that an update rule reads and writes."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .base import Backend
from .detect import backend_of, describe
from .dtypes import Array, is_number
from .elsewhere import method_written_as
from .lengths import ASKED_LENGTHS
from .mistakes import DoesNotFit, MissingAttribute, RuleMistake, WrongValue, line_of_rule, nearest
from .numpy import NUMPY
from .python import HOST
from .scope import Scope, any_scope, build_scope, scope_holding
from .source import running_place
from .written import assigned, in_place_of_change, instead_of_elements, instead_of_number, instead_of_setting


def _addend(delta: Any) -> Any:
    """What is added or subtracted; if it is the value of another cell, as its library best computes with it."""
    value = value_of(delta)
    backend = backend_of(value) if isinstance(delta, Variable) else None
    return value if backend is None else backend.kept_elsewhere(value)


def value_of(value: Any) -> Any:
    """What a cell holds now; anything else unchanged."""
    return value.value if isinstance(value, Variable) else value


def values_of(cells: Iterable[Variable]) -> list[Any]:
    """What each of some cells holds now."""
    if any_scope():
        return [cell.value for cell in cells]
    return [
        cell.value if cell.array is None or type(cell) is not Variable else cell._backend.plain(cell.array)
        for cell in cells
    ]


def _all_filled(backend: Backend, arrays: Sequence[Array], value: Any, dtypes: Sequence[str]) -> list[Array]:
    """Arrays like other ones, filled with a number, which may be a traced one."""
    if is_number(value):
        return backend.all_full_like(arrays, value, dtypes)
    zeros = backend.all_full_like(arrays, 0.0, dtypes)
    return [backend.cast(zero + value, dtype) for zero, dtype in zip(zeros, dtypes, strict=True)]


def _filled(backend: Backend, array: Array, value: Any, dtype: str) -> Array:
    return _all_filled(backend, [array], value, [dtype])[0]


def _filled_beside(backend: Backend, array: Array, shape: tuple[int, ...], value: Any, dtype: str) -> Array:
    """An array of some shape in the place of another, filled with a number, which may be a traced one."""
    if is_number(value):
        return backend.full_beside(shape, value, dtype, array)
    return backend.cast(backend.full_beside(shape, 0.0, dtype, array) + value, dtype)


def _operator(function: Callable[[Any, Any], Any]) -> Callable[[Variable, Any], Any]:
    def method(self: Variable, other: Any) -> Any:
        return self._backend.operate(function, self.value, value_of(other))

    return method


def _in_place(sign: str) -> Callable[[Variable, Any], Any]:
    def method(self: Variable, other: Any) -> Any:
        return self.refuse_change(sign)

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Variable, Any], Any]:
    def method(self: Variable, other: Any) -> Any:
        return self._backend.operate(function, value_of(other), self.value)

    return method


_EXCHANGED = [object()]


def constraints_now() -> object:
    """Another object whenever a cell has got a constraint, or none any more: what was recorded may not hold then."""
    return _EXCHANGED[0]


def _instead_of(name: str, held: type) -> str:
    """What to do about something that a cell has not.

    Args:
        name: what it was asked for.
        held: the class of what it holds.
    """
    if name in dir(held):
        return f"Use functions of ops, or ask the array itself, `variable.value.{name}`."
    near = nearest(name, [each for each in dir(Variable) if each[0] != "_"])
    return "Use functions of ops." if near is None else f"Did you mean {near!r}?"


class Variable:
    """A named cell that holds an array, reads like one, and is written by `assign`.

    Optimizers keep their slots in Variables. Wrap the parameters in Variables where arrays cannot change in place (JAX
    and most Array API libraries), or to give them a name or a constraint. NumPy arrays and torch tensors need none.

    Args:
        initial_value: an array of any library, copied; or a Python number, which makes a host scalar.
        name: what errors, exclusions and saved files call it. Default "variable".
        constraint: a function of the array that gives an array of the same shape and dtype. Optimizers apply it after
            every update. Default None.

    Raises:
        TypeError: if the initial value is not an array or a number.

    Example:
        >>> import numpy as np
        >>> from gradwise.backends import Variable
        >>> kernel = Variable(np.zeros(2), name="kernel")
        >>> kernel.assign_add(np.ones(2))
        >>> kernel.numpy()
        array([1., 1.])
    """

    # NumPy must hand operations with a cell back to the cell instead of treating it as an object scalar.
    __array_ufunc__ = None

    name: str
    array: Any
    """Its own array, whatever it holds in scopes; None for a placeholder. For those who make steps; see `value`."""
    _constraint: Callable[[Array], Array] | None = None

    def __init__(
        self, initial_value: Any, name: str = "variable", constraint: Callable[[Array], Array] | None = None
    ) -> None:
        initial_value = value_of(initial_value)
        backend = backend_of(initial_value)
        if backend is None:
            given = describe(initial_value)
            raise TypeError(f"Variable {name!r} needs an array or a number, received {given}: make an array first.")
        if backend is NUMPY:
            initial_value = NUMPY.to_numpy(initial_value)
        self._set_up(name, backend, backend.shape(initial_value), backend.dtype_name(initial_value))
        self._constraint = constraint
        self._begin(backend.copy(initial_value))

    @property
    def constraint(self) -> Callable[[Array], Array] | None:
        """What is applied after every update; it may be set at any time."""
        return self._constraint

    @constraint.setter
    def constraint(self, value: Callable[[Array], Array] | None) -> None:
        before, self._constraint = self._constraint, value
        # Where there is one, updates read it in every step.
        if (before is None) is not (value is None):
            _EXCHANGED[0] = object()

    def _begin(self, array: Array) -> None:
        """Hold a first array: in the build scope if there is one, so that the cell itself stays empty."""
        scope = build_scope()
        if scope is None:
            self.array = array
        else:
            scope.hold(self, array)

    def _set_up(self, name: str, backend: Backend, shape: tuple[int, ...], dtype: str) -> None:
        self.name = name
        self._backend = backend
        self.array = None
        self._shape = shape
        self._dtype_name = dtype

    @classmethod
    def over(cls, array: Array, name: str) -> Variable:
        """A cell over an array that changes in place: what is committed to the cell is written into that array."""
        return cls.all_over([array], [name])[0]

    @classmethod
    def all_over(cls, arrays: Sequence[Array], names: Sequence[str]) -> list[Variable]:
        """As `over`, of many arrays."""
        backends: list[Any] = list(map(backend_of, arrays))
        shapes = [backend.shape(array) for backend, array in zip(backends, arrays, strict=True)]
        dtypes = [backend.dtype_name(array) for backend, array in zip(backends, arrays, strict=True)]
        return cls._all(names, backends, shapes, dtypes, arrays)

    @classmethod
    def _all(
        cls, names: Iterable[str], backends: Iterable[Backend], shapes: Iterable[tuple[int, ...]],
        dtypes: Iterable[str], arrays: Sequence[Array],
    ) -> list[Variable]:  # fmt: skip
        """As many cells as there are arrays."""
        cells = []
        # Of thousands each call takes a part of the time.
        for array, name, backend, shape, dtype in zip(arrays, names, backends, shapes, dtypes, strict=False):
            cell = cls.__new__(cls)
            cell.name, cell._backend, cell.array, cell._shape, cell._dtype_name = name, backend, array, shape, dtype
            cells.append(cell)
        return cells

    @classmethod
    def owning(cls, array: Array, name: str) -> Variable:
        """A cell that takes over a fresh array without a copy."""
        cell = cls.placeholder(array, name)
        cell._begin(array)
        return cell

    @classmethod
    def full_like(cls, array: Array, value: Any, dtype: str, name: str) -> Variable:
        """A cell for an array of that shape and place, filled with a number, which may be a traced one.

        In a build scope the array is made once it is asked for.
        """
        return cls.all_full_like(cls.all_over([array], [name]), [array], value, [dtype], [name])[0]

    @classmethod
    def all_full_like(
        cls, cells: Sequence[Variable], arrays: Sequence[Array], value: Any, dtypes: Sequence[str], names: Sequence[str]
    ) -> list[Variable]:
        """As `full_like`, of what many cells of one library hold."""
        if not cells:
            return []
        scope, backend = build_scope(), cells[0]._backend
        filled = [None] * len(cells) if scope is not None else _all_filled(backend, arrays, value, dtypes)
        stored_as = {dtype: backend.stored_dtype_name(dtype) for dtype in set(dtypes)}
        stored = [stored_as[dtype] for dtype in dtypes]
        made = cls._all(names, itertools.repeat(backend), [cell._shape for cell in cells], stored, filled)
        if scope is not None:
            for cell, array, dtype in zip(made, arrays, dtypes, strict=True):
                scope.hold_later(cell, functools.partial(_filled, backend, array, value, dtype))
        return made

    @classmethod
    def full_beside(
        cls, owner: Variable, array: Array, shape: tuple[int, ...], value: Any, dtype: str, name: str
    ) -> Variable:
        """A cell for an array of another shape than its owner's, in the place of that, filled with a number.

        Args:
            owner: the cell that it belongs to.
            array: what that holds.
            shape: of the new array.
            value: a number, which may be a traced one.
            dtype: of the new array.
            name: of the new cell.
        """
        scope, backend = build_scope(), owner._backend
        make = functools.partial(_filled_beside, backend, array, shape, value, dtype)
        made = None if scope is not None else make()
        (cell,) = cls._all([name], [backend], [shape], [backend.stored_dtype_name(dtype)], [made])
        if scope is not None:
            scope.hold_later(cell, make)
        return cell

    @classmethod
    def scalar(cls, value: Any, name: str) -> Variable:
        """A host scalar: a Python number, or what stands for one while it is traced or differentiated."""
        return cls.scalars(value, name, 1)[0]

    @classmethod
    def scalars(cls, value: Any, name: str, count: int) -> list[Variable]:
        """So many host scalars."""
        scope, same = build_scope(), itertools.repeat
        dtype = HOST.dtype_name(0 if isinstance(value, int) else 0.0)
        if scope is None:
            return cls._all(same(name), same(HOST), same(()), same(dtype), [value] * count)
        cells = cls._all(same(name), same(HOST), same(()), same(dtype), [None] * count)
        for cell in cells:
            scope.hold(cell, value)
        return cells

    @classmethod
    def placeholder(cls, array: Array, name: str) -> Variable:
        """A cell with the shape and dtype of an array and no array of its own: it holds something only in scopes."""
        cell = cls.over(array, name)
        cell.array = None
        return cell

    def take_over(self, array: Array) -> None:
        """Go on with another array of the same shape and library; the cell's dtype becomes that of the array."""
        self.array, self._dtype_name = array, self._backend.dtype_name(array)

    # ---------------------------------------------------------------- reading

    @property
    def value(self) -> Array:
        """What the cell holds now: in the innermost scope that holds it, otherwise its own array."""
        scope = scope_holding(self)
        if scope is not None:
            return scope.get(self)
        if self.array is None:
            raise RuntimeError(
                f"Variable {self.name!r} holds an array only while the optimizer's init or step runs: "
                "read the state instead."
            )
        return self._backend.plain(self.array)

    @value.setter
    def value(self, value: Any) -> None:
        raise self.refused_value()

    def refused_value(self) -> RuleMistake:
        """The error for who sets `value`."""
        return RuleMistake(
            f"{line_of_rule()} sets the `value` of {self.name!r}, which is for reading. Write {instead_of_setting()}."
        )

    @property
    def sink(self) -> Variable:
        """The cell that takes what is written to this one."""
        return self

    @property
    def backend(self) -> Backend:
        """The backend of the cell's own array."""
        return self._backend

    @property
    def dtype(self) -> Any:
        """The dtype of what the cell holds now, as the library's own object."""
        value = self.value
        return HOST.dtype_name(value) if is_number(value) else value.dtype

    @property
    def dtype_name(self) -> str:
        """The name of the dtype in which the cell is stored."""
        return self._dtype_name

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, which never changes."""
        if ASKED_LENGTHS.watched:
            ASKED_LENGTHS.asked = True
        return self._shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        if ASKED_LENGTHS.watched:
            ASKED_LENGTHS.asked_axes = True
        return len(self._shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def numpy(self) -> Any:
        """A NumPy copy of what the cell holds."""
        value = self.value
        backend = backend_of(value)
        assert backend is not None
        return NUMPY.copy(backend.to_numpy(value))

    def hold_in(self, scope: Scope, dtype: str) -> None:
        """Hold in a scope what the cell holds now, in another dtype."""
        scope.hold(self, self._backend.cast(self.value, dtype))

    # ---------------------------------------------------------------- writing

    def assign(self, value: Any) -> None:
        """Make the cell hold `value`, in the cell's dtype.

        Args:
            value: an array of the cell's library and shape; a Python number where the cell holds one number.

        Raises:
            TypeError: if the value is of another library.
            ValueError: if the shapes differ.
            RuntimeError: if a JAX tracer would outlive its trace.
        """
        value = value_of(value)
        self._refuse_number(value)
        scope = scope_holding(self)
        if scope is None:
            self._commit(self._fitting(value, self.array))
        else:
            scope.set(self, self._fitting(value, scope.get(self)))

    def _refuse_number(self, value: Any) -> None:
        """Raise for one number in the place of several."""
        if self._shape and backend_of(value) is HOST:
            raise WrongValue(
                f"{line_of_rule()} assigns one number to {self.name!r}, which has shape {self._shape}. To fill it, "
                f"write {instead_of_number()}."
            )

    def assign_add(self, delta: Any) -> None:
        """Add `delta` to what the cell holds."""
        self.assign(self._backend.operate(operator.add, self.value, _addend(delta)))

    def assign_sub(self, delta: Any) -> None:
        """Subtract `delta` from what the cell holds."""
        self.assign(self._backend.operate(operator.sub, self.value, _addend(delta)))

    def _fitting(self, value: Any, current: Any) -> Any:
        """`value` with the library, shape and dtype of `current`."""
        backend, own = backend_of(value), backend_of(current) or self._backend
        if own is HOST:
            # A host scalar may come to hold a 0-d array of any library while it is traced or differentiated.
            return value
        if backend is HOST:
            return own.full_like(current, value)
        if backend is not own:
            raise TypeError(
                f"Variable {self.name!r} holds {describe(current)} and cannot take {describe(value)}: "
                "convert the value first."
            )
        # What it holds may be a piece, of another shape than its own array.
        if own.shape(value) != own.shape(current):
            shape = tuple(own.shape(value))
            raise DoesNotFit(
                f"Variable {self.name!r} has shape {self._shape} and cannot be assigned an array of shape {shape}."
            )
        return own.cast(value, own.dtype_name(current))

    def _commit(self, value: Any) -> None:
        if self.array is None:
            raise RuntimeError(f"Variable {self.name!r} can be written only while the optimizer's init or step runs.")
        backend = backend_of(value)
        assert backend is not None
        # What a subclass holds, that class itself writes.
        lasting = backend is HOST or backend.concrete(value) or not backend.of_plain_class(value)
        if not lasting and backend.concrete(self.array):
            raise RuntimeError(
                f"Variable {self.name!r} cannot keep {describe(value)} that is being traced: "
                "inside a transformation use the optimizer's init and step, which return the new values."
            )
        if backend.writable and backend is self._backend:
            backend.write(self.array, value)
        else:
            self.array = backend.item(value) if self._backend is HOST and backend is not HOST else value

    # ---------------------------------------------------------------- as an array

    def refuse_change(self, sign: str) -> Any:
        """Raise: to change what a cell holds is written in another way.

        Args:
            sign: how it was written, such as "-=".
        """
        raise RuleMistake(
            f"{line_of_rule()}: `{sign}` does not change {self.name!r}, it would only give the name to another value. "
            f"Write {in_place_of_change() or assigned('variable', 'new value')}."
        )

    __iadd__, __isub__ = _in_place("+="), _in_place("-=")
    __imul__, __itruediv__ = _in_place("*="), _in_place("/=")
    __ifloordiv__, __imod__, __ipow__ = _in_place("//="), _in_place("%="), _in_place("**=")
    __imatmul__ = _in_place("@=")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise RuleMistake(
            f"{line_of_rule()} sets elements of {self.name!r}, which JAX's arrays do not allow. "
            f"{instead_of_elements(is_cell=True)}"
        )

    def __eq__(self, other: object) -> Any:
        """Of numbers and arrays for each element; of cells whether they are the same one."""
        if isinstance(other, Variable) or backend_of(other) is None:
            return NotImplemented
        return self._backend.operate(operator.eq, self.value, other)

    def __ne__(self, other: object) -> Any:
        """As `==`."""
        if isinstance(other, Variable) or backend_of(other) is None:
            return NotImplemented
        return self._backend.operate(operator.ne, self.value, other)

    def __hash__(self) -> int:
        """By identity. In Python, because torch's compiler cannot look into what is in C."""
        return id(self)

    __add__, __radd__ = _operator(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _operator(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _operator(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _operator(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _operator(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _operator(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _operator(operator.pow), _reflected(operator.pow)
    __matmul__, __rmatmul__ = _operator(operator.matmul), _reflected(operator.matmul)
    __lt__, __le__ = _operator(operator.lt), _operator(operator.le)
    __gt__, __ge__ = _operator(operator.gt), _operator(operator.ge)

    def __neg__(self) -> Array:
        return self._backend.operate(operator.neg, self.value)

    def __abs__(self) -> Array:
        return abs(self.value)

    def __getitem__(self, key: Any) -> Array:
        return self.value[key]

    def __iter__(self) -> Any:
        # Python would ask for elements one after another, and some libraries give the last one for ever.
        return iter(self.value)

    def __getattr__(self, name: str) -> Any:
        if not name.isidentifier() or name[0] == "_" or name in ("array", "delta"):
            # Of a cell that is being made, or copied, or asked for what it is.
            raise AttributeError(name)
        scope = scope_holding(self)
        held = type(self.array if scope is None else scope.get(self))
        line, place = line_of_rule(), running_place()
        change = in_place_of_change() if name.endswith("_") else None

        def said() -> str:
            written = method_written_as(name, place) if change is None else f"Write {change}."
            return f"{line}: variable {self.name!r} has no {name!r}. {written or _instead_of(name, held)}"

        raise MissingAttribute(said)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise WrongValue(
                f"{line_of_rule()} asks whether {self.name!r} of shape {self._shape} is true. Write "
                "`if slot is not None` to ask whether there is one, or `ops.where(condition, a, b)` to choose by its "
                "values."
            )
        return bool(self.value)

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, arguments: Any = (), keywords: Any = None) -> Any:
        """Let torch's own functions, and `torch.compile`, read a cell as the tensor that it holds."""
        return function(*map(value_of, arguments), **{key: value_of(v) for key, v in (keywords or {}).items()})

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} of shape {self._shape} and dtype {self._dtype_name} on {self._backend.name}>"


def commit(scope: Scope) -> None:
    """Pass on what was written in a scope that has ended: to the scope around it, or to the cells' own arrays."""
    pending = []
    for cell, value in scope.writes():
        outer = scope_holding(cell)
        if outer is None:
            pending.append((cell, cell._fitting(value, cell.array)))
        else:
            outer.set(cell, cell._fitting(value, outer.get(cell)))
    # A value may be (a view of) another cell's own array, which is about to change in place.
    shared = _meeting_others if len(pending) > _FEW else _meeting_earlier
    for position in shared(pending):
        cell, value = pending[position]
        pending[position] = cell, cell.backend.copy(value)
    for cell, value in pending:
        cell._commit(value)


_FEW = 8
"""Cells of which each is compared with each."""


def _meeting_earlier(pending: list[tuple[Variable, Any]]) -> list[int]:
    """The positions of values that may share memory with a cell that is written before."""
    return [
        position
        for position, (_, value) in enumerate(pending)
        if any(
            other.backend.writable and other.backend.may_share_memory(other.array, value)
            for other, _ in pending[:position]
        )
    ]


def _meeting_others(pending: list[tuple[Variable, Any]]) -> list[int]:
    """As `_meeting_earlier`, of many cells, and also those that meet a cell written later or their own."""
    places = [(cell.backend, position) for position, (cell, _) in enumerate(pending) if cell.backend.writable]
    written = sorted(backend.extent(pending[position][0].array) for backend, position in places)
    starts = [start for start, _ in written]
    # Up to where memory reaches that is written and starts no later.
    reached = list(itertools.accumulate((end for _, end in written), max))
    meeting = []
    for backend, position in places:
        start, end = backend.extent(pending[position][1])
        before = bisect.bisect_left(starts, end)
        if before and reached[before - 1] > start:
            meeting.append(position)
    return meeting
