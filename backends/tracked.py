"""What a rule is given while it is tried out: it computes as its library does, but cannot be looked into or changed.

What means one thing here and another there, or nothing at all, is refused as it happens, in whichever library: in NumPy
and torch `gradient *= 2` changes the array itself, which is the caller's, and in JAX it gives a name to another value;
`if` and `float()` ask for a value that is not there while JAX traces or a step is recorded; `gradient.abs()` exists in
one library only. The results of what is allowed are tracked too.
"""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .base import Backend
from .detect import backend_for, backend_of, register_type
from .dtypes import Array
from .elsewhere import method_written_as
from .lengths import ASKED_LENGTHS
from .mistakes import MissingAttribute, RuleMistake, is_library, is_of_a_rule, line_of_rule, nearest
from .python import HOST
from .source import running_place, text
from .variable import value_of
from .written import (
    cached_function,
    cell_read_by,
    changed_in_place,
    exchanged,
    given_anew,
    in_place_of_change_of_value,
    instead_of_elements,
    instead_of_going,
)

_OF_ALL = ("device", "dtype", "ndim", "shape")
_VIEWS = frozenset(("expand_dims", "matrix_transpose", "reshape"))
"""Functions whose results may share their argument's memory."""
_THROUGH = frozenset(each.__code__.co_filename for each in (lambda: None, value_of))
"""Files through which a rule asks for a value."""


class NeedsValue(TypeError):
    """A rule asks for a value that is not there on every way of running it."""


class NeedsArray(NeedsValue):
    """A rule asks for the values of an array, as functions of a library do.

    Attributes:
        library: whose function it seems to be.
    """

    library = "numpy"


class NeedsArrayOfTorch(NeedsArray):
    """The same for torch's functions."""

    library = "torch"


class NeedsArrayOfJax(NeedsArray):
    """The same for JAX's functions."""

    library = "jax"


class MixesArrays(TypeError):
    """A rule computes with an array that it was not given.

    Attributes:
        other: that array.
        library: the name of its library.
    """

    def __init__(self, other: Any, library: str) -> None:
        super().__init__()
        self.other, self.library = other, library


class ShapesApart(TypeError):
    """A rule computes with arrays whose shapes cannot be broadcast."""


class CannotBeTracked(TypeError):
    """Something else than a rule asks for a value."""


def _assigning(method: str) -> Callable[[Tracked, Any], None]:
    """What stands for a cell's method, where no cell is."""

    def refuse(self: Tracked, value: Any) -> None:
        if hasattr(value, "assign") and type(value) is not Tracked:
            raise RuleMistake(f"{line_of_rule()}: {exchanged(method)}")
        to = f"{self.called}, which belongs to the caller" if self.name else "an array that was computed, not to a slot"
        raise RuleMistake(f"{line_of_rule()} assigns to {to}. Write {given_anew(self.name or 'x')}.")

    return refuse


class Tracked:
    """An array or a number that a rule may compute with.

    Args:
        held: what it stands for.
        name: what errors call it, if it is somebody's: the gradient, or the value of a cell. Default: it was computed.
        origin: from whose elements it was computed, if its shape is that one's. Default: `name`.
        lasting: whether somebody else has it whom a change in place might reach. Default: whether it has a name.
    """

    __slots__ = ("held", "lasting", "name", "origin")
    __array_ufunc__ = None

    def __init__(
        self, held: Any, name: str | None = None, origin: str | None = None, lasting: bool | None = None
    ) -> None:
        self.held = held
        self.name = name
        self.origin = origin or (name and f"the {name}")
        self.lasting = name is not None if lasting is None else lasting

    @property
    def called(self) -> str:
        """What errors call it."""
        return f"the {self.name or 'array'}"

    # ---------------------------------------------------------------- what every library's arrays have

    @property
    def dtype(self) -> Any:
        """The library's own object."""
        return backend_for(self.held).dtype_name(self.held) if self._is_number else self.held.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape; () of a number."""
        if ASKED_LENGTHS.watched:
            ASKED_LENGTHS.asked = True
        return _shape_of(self.held)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(_shape_of(self.held))

    @property
    def size(self) -> int:
        """The number of elements. Torch's `size` is a method: a rule does not ask for it."""
        self._refuse_name("size")
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def device(self) -> Any:
        """Where it lies."""
        return backend_for(self.held).device(self.held)

    @property
    def T(self) -> Tracked:
        """The transpose of a matrix. Not every library's arrays have it: a rule does not ask for it."""
        self._refuse_name("T")
        return Tracked(self.held.T, self.name)

    @property
    def mT(self) -> Tracked:
        """The transposes of a stack of matrices. As `T`."""
        self._refuse_name("mT")
        return Tracked(self.held.mT, self.name)

    @property
    def _is_number(self) -> bool:
        return backend_of(self.held) is HOST

    def __getitem__(self, key: Any) -> Tracked:
        return Tracked(self.held[raw(key)], self.name, self.origin and f"a part of {self.origin}")

    def __len__(self) -> int:
        if ASKED_LENGTHS.watched:
            ASKED_LENGTHS.asked = True
        return len(self.held)

    def __iter__(self) -> Any:
        if not _asked_by_rule():
            raise CannotBeTracked
        raise RuleMistake(f"{line_of_rule()} {instead_of_going(self.called)}")

    def __neg__(self) -> Tracked:
        return _operated(operator.neg, self)

    def __abs__(self) -> Tracked:
        return _operated(operator.abs, self)

    def __invert__(self) -> Tracked:
        return _operated(operator.invert, self)

    def __hash__(self) -> int:
        if self.ndim and _asked_by_rule():
            cached = cached_function()
            if cached:
                raise RuleMistake(
                    f"{line_of_rule()} passes {self.called} to `{cached}`, whose functools cache needs a key, and an "
                    f"array cannot be one. Remove the cache from `{cached}`."
                )
            raise RuleMistake(
                f"{line_of_rule()} uses {self.called} as a key of a dictionary, a set or a cache, and an array cannot "
                "be one. Use the parameter's number, `self.variable_index(variable)`."
            )
        return object.__hash__(self)

    # ---------------------------------------------------------------- what is refused

    def __bool__(self) -> bool:
        raise _refused(NeedsValue)

    __float__ = __int__ = __index__ = __bool__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise _refused(NeedsArray if self.ndim else NeedsValue)

    def __setitem__(self, key: Any, value: Any) -> None:
        changes = ", and which may change the caller's array" if self.name else ""
        called = self.called if self.name else "an array that was computed"
        raise RuleMistake(
            f"{line_of_rule()} sets elements of {called}, which JAX's arrays do not allow{changes}. "
            f"{instead_of_elements(self.name or 'x')}"
        )

    assign, assign_add, assign_sub = _assigning("assign"), _assigning("assign_add"), _assigning("assign_sub")

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        self._refuse_name(name)
        raise AttributeError(name)

    def _refuse_name(self, name: str) -> None:
        """Raise MissingAttribute if a rule, and nobody else, asks for what not every library's arrays have."""
        if not is_of_a_rule(sys._getframe(2).f_code.co_filename):
            return
        change = self.remedy_of_change() if name[-1] == "_" else None
        instead = _instead_of(name) if change is None else f" that every library's arrays have. {change}"
        raise MissingAttribute(f"{line_of_rule()}: {self.called} has no {name!r}{instead}")

    def remedy_of_change(self, sign: str = "") -> str | None:
        """What to write where a statement changes it in place; None if that is not known.

        Args:
            sign: the operator, if it is one.
        """
        changed = changed_in_place()
        if changed is None and not sign:
            return None
        name = (self.name or "x").removeprefix("value of ")
        cell = cell_read_by(changed[0]) if changed is not None and name != self.name else None
        if cell:
            return f"Write {in_place_of_change_of_value(cell)}."
        called = "x" if "'" in name else name.replace(" ", "_")
        return f"Write {given_anew(called, sign)}."

    # ---------------------------------------------------------------- as the array itself

    def __str__(self) -> str:
        return str(self.held)

    def __repr__(self) -> str:
        return repr(self.held)

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    def __jax_array__(self) -> Any:
        refusal = _refused(NeedsArrayOfJax)
        if isinstance(refusal, NeedsArrayOfJax):
            raise refusal
        return self.held


    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, arguments: Any = (), keywords: Any = None) -> Any:
        """Let torch's own functions compute with it, of which a rule calls none."""
        refusal = _refused(NeedsArrayOfTorch)
        if isinstance(refusal, NeedsArrayOfTorch):
            raise refusal
        return tracked(function(*map(raw, arguments), **{key: raw(value) for key, value in (keywords or {}).items()}))


def _instead_of(name: str) -> str:
    written = method_written_as(name, running_place())
    if written is not None:
        return f" that every library's arrays have. {written}"
    near = nearest(name, _OF_ALL)
    if near is not None:
        return f". Did you mean {near!r}?"
    return " that every library's arrays have. Use operators and functions of ops."


def _asked_by_rule() -> bool:
    """Whether it is a rule that asks for a value."""
    frame: Any = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename in _THROUGH or is_library(frame.f_code.co_filename)):
        frame = frame.f_back
    return frame is not None and is_of_a_rule(frame.f_code.co_filename)


def _refused(kind: type[NeedsValue]) -> TypeError:
    """The error for a value that somebody asks for."""
    return kind() if _asked_by_rule() else CannotBeTracked()


def raw(value: Any) -> Any:
    """What a value stands for, also in a list or a tuple."""
    if type(value) in (list, tuple):
        return type(value)(map(raw, value))
    return value.held if type(value) is Tracked else value


def tracked(value: Any) -> Any:
    """What a library has computed, tracked; what is no array as it is."""
    if type(value) in (list, tuple):
        return type(value)(map(tracked, value))
    return value if type(value) is Tracked or backend_of(value) is None else Tracked(value)


def _operated(function: Callable[..., Any], *operands: Any) -> Tracked:
    return _computed(lambda values: backend_for(*values).operate(function, *values), operands)


def _computed(function: Callable[[list[Any]], Any], operands: Sequence[Any]) -> Tracked:
    """What a function of operands gives; for shapes that do not meet, and others' arrays, an error that says so."""
    _check_given(operands)
    values = list(map(raw, operands))
    try:
        result = function(values)
    except Exception as error:
        if any([len(_shape_of(value)) > 0 for value in values]) and not _meet(list(map(_shape_of, values))):
            raise ShapesApart(" and ".join(map(_with_shape, filter(_shape_of, operands)))) from error
        raise
    having = [each for each in operands if type(each) is Tracked and each.ndim]
    same = len(having) == 1 and _shape_of(result) == _shape_of(having[0])
    return Tracked(result, None, having[0].origin if same else None)


def _check_given(operands: Sequence[Any]) -> None:
    """Raise MixesArrays for an array with axes that does not come from what a rule was given."""
    for each in operands:
        backend = backend_of(each)
        if backend is not None and backend is not TRACKED and backend is not HOST and backend.shape(each):
            raise MixesArrays(each, backend.name)


def _shape_of(value: Any) -> tuple[int, ...]:
    backend = backend_of(value)
    return () if backend is None else tuple(backend.shape(value))


def _meet(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether arrays of these shapes can be computed with, element by element."""
    columns = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return all([len({length for length in column if length != 1}) <= 1 for column in columns])


def _with_shape(operand: Any) -> str:
    origin = operand.origin if type(operand) is Tracked else None
    return f"{'an array' if origin is None else origin} has shape {_shape_of(operand)}"


def _why_no_change(array: Tracked, sign: str) -> str:
    """What is wrong with an operator that changes an array of somebody's in place."""
    changed, name = changed_in_place(), str(array.name)
    cell = name.removeprefix("value of ")
    whose = "the caller's array" if cell == name else f"the array of {cell}"
    target = None if changed is None else text(changed[0], "")
    if not target or target == name.replace(" ", "_"):
        return f"`{sign}=` on {array.called} would change {whose} on some libraries and not on others."
    if changed is not None and cell != name and cell_read_by(changed[0]):
        return f"`{target}` is {array.called}, which `{sign}=` would change on some libraries and not on others."
    return (
        f"`{target}` shares memory with {array.called if cell == name else cell}, so `{sign}=` would change that too, "
        "on some libraries and not on others."
    )


def _install(method: str, function: Callable[..., Any], reflected: bool, in_place: bool) -> None:
    def forward(self: Tracked, other: Any) -> Any:
        # Of a cell its own operator, which reads it.
        return _operated(function, self, other) if backend_of(other) is not None else NotImplemented

    def backward(self: Tracked, other: Any) -> Any:
        return _operated(function, other, self) if backend_of(other) is not None else NotImplemented

    def change(self: Tracked, other: Any) -> Any:
        if self.name is None or not self.lasting:
            return function(self, other)
        raise RuleMistake(
            f"{line_of_rule()}: {_why_no_change(self, _SIGNS[method])} {self.remedy_of_change(_SIGNS[method])}"
        )

    setattr(Tracked, f"__{method}__", forward)
    if reflected:
        setattr(Tracked, f"__r{method}__", backward)
    if in_place:
        setattr(Tracked, f"__i{method}__", change)


_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "and": "&", "or": "|", "xor": "^",
}  # fmt: skip
for _method in _SIGNS:
    _install(_method, getattr(operator, f"__{_method}__"), True, True)
for _method in ("lt", "le", "gt", "ge", "eq", "ne"):
    _install(_method, getattr(operator, _method), False, False)


class _Functions:
    """The namespace of what is tracked."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def function(array: Tracked, *arguments: Any, **keywords: Any) -> Any:
            theirs = getattr(backend_for(array.held).namespace, name)
            result = theirs(array.held, *map(raw, arguments), **{key: raw(value) for key, value in keywords.items()})
            return Tracked(result, array.name if name in _VIEWS else None)

        return function


class TrackedBackend(Backend):
    """What is tracked, as an array library."""

    name = "tracked"
    namespace = _Functions()
    numbers_on_host = True

    def dtype_name(self, array: Array) -> str:
        """As its library says."""
        return backend_for(array.held).dtype_name(array.held)

    def shape(self, array: Array) -> tuple[int, ...]:
        """As its library says."""
        return _shape_of(array.held)

    def cast(self, array: Array, name: str) -> Array:
        """What stays as it is stays somebody's."""
        cast = backend_for(array.held).cast(array.held, name)
        return array if cast is array.held else Tracked(cast)

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """Tracked."""
        return Tracked(backend_for(array.held).full_like(array.held, raw(value), name))

    def concrete(self, array: Array) -> bool:
        """Never."""
        return False

    def widest_float(self, scalar: Array) -> Array:
        """Tracked."""
        return Tracked(backend_for(scalar.held).widest_float(scalar.held))

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Tracked."""
        return self._computed("select", predicate, a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        """Tracked."""
        return self._computed("maximum", a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        """Tracked."""
        return self._computed("minimum", a, b)

    def sqrt(self, array: Array) -> Array:
        """Tracked."""
        return self._computed("sqrt", array)

    def sum_of_squares(self, array: Array) -> Array:
        """Tracked."""
        return self._computed("sum_of_squares", array)

    def _computed(self, name: str, *operands: Any) -> Tracked:
        return _computed(lambda values: getattr(backend_for(*values), name)(*values), operands)

    def cond(
        self, predicate: Array, true: Callable[[Sequence[Any]], Any], false: Callable[[Sequence[Any]], Any],
        operands: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """Both branches are run, and what counts is the one that would be."""
        backend = backend_for(predicate.held)
        both: dict[bool, tuple[Any, list[Any]]] = {False: false(operands), True: true(operands)}
        return both[bool(predicate.held) if backend is HOST or backend.concrete(predicate.held) else True]


TRACKED = TrackedBackend()
register_type(Tracked, TRACKED)
