"""What an array library must offer so that update rules can run on its arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

if TYPE_CHECKING:
    from .rows import Rows

Array: TypeAlias = Any
"""An array of any library, or a Python number."""

Order: TypeAlias = tuple[int, ...] | None
"""How the elements of a dense array follow each other in memory: how many elements apart the neighbours along each axis
lie, 0 along axes of length one; None if they are row-major. Arrays of one order can be walked through together."""

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""The dtypes a parameter or a slot may have."""

ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""How many bytes a number of each has."""

_REAL = ("float", "bfloat", "int", "uint")

SIXTEEN_BIT = ("float16", "bfloat16")
"""The dtypes that are stored but never computed in."""


def is_number(value: Any) -> bool:
    """Whether a value is a Python number; NumPy's float64 scalar, which is also a float, is an array."""
    return isinstance(value, (int, float)) and not isinstance(value, numpy.generic)


def compute_dtype(name: str) -> str:
    """The dtype in which a parameter stored as `name` is updated: float32 for the 16-bit ones, else its own."""
    return "float32" if name in SIXTEEN_BIT else name


def elements_overlap(shape: Sequence[int], strides: Sequence[int], element: int = 1) -> bool:
    """Whether elements of a strided array may lie in one place, as after broadcasting. Interleaved ones count as well.

    Args:
        shape: of the array.
        strides: the distances between neighbours along each axis.
        element: the length of an element, in the same unit.
    """
    if 0 in shape:
        return False  # The strides of an empty array mean nothing.
    reach = element
    steps = ((abs(stride), length) for stride, length in zip(strides, shape, strict=True) if length > 1)
    for stride, length in sorted(steps):
        if stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def dense_order(shape: Sequence[int], strides: Sequence[int], element: int = 1) -> tuple[int, ...] | None:
    """The distances, in elements, between the neighbours of an array that fills its memory; None if it does not.

    Along an axis of length one there are no neighbours: its distance is 0. Arguments are those of `elements_overlap`.
    """
    order, reach = [0] * len(shape), element
    for stride, axis in sorted((strides[axis], axis) for axis, length in enumerate(shape) if length > 1):
        if stride != reach:
            return None
        order[axis] = stride // element
        reach *= shape[axis]
    return tuple(order)


class Disagreement(RuntimeError):
    """Processes that hold parameters together do not all make a step: one has refused a gradient, or has none."""


class Backend:
    """One array library. Methods never change their arguments, except `write`.

    A subclass gives `name`, `namespace` and whatever its library does differently from the Array API standard.
    """

    name: str = ""
    """How errors and users call the library."""

    writable: bool = False
    """Whether arrays are changed in place when a cell is committed; otherwise the cell takes the new array."""

    namespace: Any = None
    """The library's functions, by their names in the Array API standard."""

    numbers_on_host: bool = False
    """Whether what stands for a number will be evaluated as one, in double precision on the host."""

    def __init__(self) -> None:
        # Kept, because libraries take long to spell a dtype; one for each, because their dtypes refuse comparison.
        self._dtype_names: dict[Any, str] = {}

    def __reduce__(self) -> Any:
        # There is one backend for each library: copies and pickles lead back to it.
        from .detect import backend_named

        return backend_named, (self.name,)

    # ---------------------------------------------------------------- dtypes, shapes, places

    def dtype_name(self, array: Array) -> str:
        """The dtype's name in the standard's spelling, such as "float32"."""
        dtype = array.dtype
        try:
            return self._dtype_names[dtype]
        except KeyError:
            return self._dtype_names.setdefault(dtype, str(dtype).rpartition(".")[2])

    def dtype(self, name: str) -> Any:
        """The library's own dtype object for a name."""
        return getattr(self.namespace, name)

    def is_real(self, array: Array) -> bool:
        """Whether an array holds real numbers: no bools, complex numbers, objects, text or dates."""
        name = self.dtype_name(array)
        return name.startswith(_REAL) and name != "float0"

    def stored_dtype_name(self, name: str) -> str:
        """The name of the dtype that an array made in the dtype of a name has."""
        return name

    def shape(self, array: Array) -> tuple[int, ...]:
        """The array's shape as a plain tuple."""
        return tuple(array.shape)

    def cast(self, array: Array, name: str) -> Array:
        """The array in the dtype of that name; the same array if it has it already."""
        if self.dtype_name(array) == name:
            return array
        return self.namespace.astype(array, self.dtype(name))

    # ---------------------------------------------------------------- making arrays

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """An array of the same shape, place and (unless named) dtype, filled with a number."""
        dtype = None if name is None else self.dtype(name)
        return self.namespace.full_like(array, value, dtype=dtype)

    def all_full_like(self, arrays: Sequence[Array], value: Any, names: Sequence[str]) -> list[Array]:
        """As `full_like`, of many arrays."""
        return [self.full_like(array, value, name) for array, name in zip(arrays, names, strict=True)]

    def beside(self, array: Array, like: Array) -> Array:
        """A fresh array put where another lies, if it has not got a place of its own already."""
        return array

    def zeros_for(self, arrays: Sequence[Array], names: Sequence[str]) -> list[Array]:
        """For each array zeros of its shape and place, in a dtype of its own, that nothing is written into."""
        return self.all_full_like(arrays, 0.0, names)

    def full(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """A new array in the same place as `like`, filled with a number."""
        return self.namespace.full(shape, value, dtype=self.dtype(name), device=self.device(like))

    def device(self, array: Array) -> Any:
        """Where the array lives."""
        return array.device

    def copy(self, array: Array) -> Array:
        """A copy that shares no memory."""
        return self.namespace.asarray(array, copy=True)

    def from_numpy(self, array: Any, name: str, like: Array) -> Array:
        """A NumPy array brought over in the dtype of that name, in the same place as `like`."""
        return self.namespace.asarray(array, dtype=self.dtype(name), device=self.device(like))

    def to_numpy(self, array: Array) -> Any:
        """The array as a NumPy array."""
        import numpy

        return numpy.from_dlpack(array)

    def number(self, value: float | int, like: Array) -> Array:
        """A 0-d array that carries a host number in functional state."""
        name = "int64" if isinstance(value, int) else "float64"
        return self.namespace.asarray(value, dtype=self.dtype(name), device=self.device(like))

    # ---------------------------------------------------------------- host and device

    def concrete(self, array: Array) -> bool:
        """Whether the host may read the values now: no tracer, no derivative would be lost, no device is waited for."""
        return True

    def item(self, array: Array) -> float | int:
        """The value of a concrete 0-d array as a Python number."""
        return int(array) if "int" in self.dtype_name(array) else float(array)

    def traceable(self, scalar: Array) -> Any:
        """A concrete 0-d array as a leaf that JAX and those who sort leaves by kind trace, as they do not a number.

        None where the library's arrays are no leaves of JAX's trees.
        """
        return None

    def widest_float(self, scalar: Array) -> Array:
        """A 0-d array as floating point, as wide as it can be without widening the arrays it will meet."""
        return self.cast(scalar, "float64")

    def following(self, count: Array, room: int = 0, turn: int = 1) -> Array:
        """One more than a count; where its dtype has no larger number, a turn less than that.

        Args:
            count: of steps.
            room: how much has to be left up to the dtype's largest.
            turn: the number of steps after which all recurs.
        """
        return count + 1

    def logarithm_in_compiled_code(self, number: float) -> Array | None:
        """The natural logarithm as an array, where the host's would make the number a constant; None elsewhere."""
        return None

    def operate(self, function: Callable[..., Any], *operands: Any) -> Any:
        """One of Python's operators on arrays and numbers, of which at least one array is this library's."""
        return function(*operands)

    def sqrt(self, array: Array) -> Array:
        """The square root, with derivative zero at zero."""
        return self.namespace.sqrt(array)

    def one_minus_exp(self, count: Array, rate: float) -> Array:
        """1 - exp(count * rate) of a 0-d array >= 1 and a number < 0, without cancellation."""
        return -self.namespace.expm1(count * rate)

    # ---------------------------------------------------------------- checks

    def all_variable(self, arrays: Sequence[Array]) -> bool:
        """Whether all of some arrays are known, at a glance, to be ones of which `why_not_variable` says nothing."""
        return False

    def why_not_variable(self, array: Array) -> str | None:
        """Why the imperative path cannot change this array in place, or None if it can."""
        return f"{self.name} arrays cannot change in place: wrap it in gradwise.backends.Variable"

    def fits_plainly(self, gradient: Array, parameter: Array) -> bool:
        """Whether a glance shows that a gradient fits its parameter; what is less plain is looked at closely."""
        return False

    def level(self) -> Any:
        """What is equal as long as the same transformation traces, or none does."""
        return None

    def lasts_like(self, result: Array, scalar: Array) -> bool:
        """Whether a result can be used, unchanged, wherever a scalar that it was made of can."""
        return False

    def why_no_values(self, array: Array) -> str | None:
        """Why an array has no values to compute with, or None if it has."""
        return None

    def why_apart(self, array: Array, parameter: Array) -> str | None:
        """Why an array cannot be computed with together with a parameter ("lies on ..."), or None if it can."""
        return None

    def takes(self, array: Any) -> bool:
        """Whether an array of another library stands for one of this library's, which `plain` makes of it."""
        return False

    def plain(self, array: Array) -> Array:
        """The elements of an array, on its own memory, without what its class makes of operators."""
        return array

    def why_not_parameter(self, array: Array) -> str | None:
        """What to do about an array of a class that is not for parameters, or None if it is."""
        return None

    def why_no_operand(self, array: Array) -> str | None:
        """Why an array that has values cannot be computed with by its elements, or None if it can."""
        return None

    def computes_itself(self, array: Array) -> bool:
        """Whether the library's own code alone computes with an array: no class of somebody else's takes part."""
        return True

    def extent(self, array: Array) -> tuple[int, int]:
        """From which address to which an array lies; only asked of libraries whose arrays change in place."""
        raise NotImplementedError

    def traced(self, array: Array) -> bool:
        """Whether the array stands for values of a transformation that runs now."""
        return False

    def not_dense(self, array: Array) -> str | None:
        """What an array is that is not stored densely, in a word or two."""
        return None

    # ---------------------------------------------------------------- gradients of some rows

    def rows(self, array: Array) -> Rows | None:
        """An array that is stored sparsely as the rows that it has; None if it is stored in another way."""
        return None

    def taken(self, array: Array, places: Any) -> Array:
        """A new array of the rows of a dense one, at the places of `Rows`."""
        raise TypeError(f"{self.name} has no gradients of some rows.")

    def put(self, array: Array, places: Any, values: Array) -> None:
        """Write rows into a dense array in place."""
        raise TypeError(f"{self.name} has no gradients of some rows.")

    # ---------------------------------------------------------------- running

    def arithmetic(self) -> AbstractContextManager[Any]:
        """A context for the arithmetic of an imperative step."""
        return contextlib.nullcontext()

    def write(self, target: Array, value: Array) -> None:
        """Copy `value` into `target` in place."""
        raise TypeError(f"{self.name} arrays cannot be changed in place.")

    def may_share_memory(self, a: Array, b: Array) -> bool:
        """Whether writing into `a` may change `b`; only asked of libraries whose arrays change in place."""
        return True

    def same_memory(self, a: Array, b: Array) -> bool:
        """Whether two arrays of one shape are the same memory."""
        return a is b

    def same_values(self, a: Array, b: Array) -> bool:
        """Whether two arrays of one shape and dtype that the host can read are equal, NaN to NaN."""
        return bool(numpy.array_equal(self.to_numpy(a), self.to_numpy(b), equal_nan=True))

    def as_array(self, value: Array) -> Array:
        """The value as the library's own array type, where arithmetic on 0-d arrays gives something else."""
        return value

    # ---------------------------------------------------------------- memory shared with compiled passes

    shares_memory: bool = False
    """Whether compiled code may read and write the library's arrays where they lie."""

    def order(self, array: Array) -> Order:
        """In which order the elements of an array lie that fills its memory, whatever its axes; None of any other."""
        return None

    def address(self, array: Array, dtype: str, shape: tuple[int, ...], order: Order, write: bool) -> int | None:
        """Where an array starts that is plain: dense, aligned, on the CPU, with memory of its whole size.

        Asked in every step, because nothing of an array stays: its memory may move, shrink or be given back.

        Args:
            array: of this library, of any kind.
            dtype: the dtype that it must have.
            shape: the shape that it must have.
            order: in which its elements must lie.
            write: whether it must be writable.

        Returns:
            The address, or None if it is another kind of array.
        """
        return None

    def unknown_owner(self, array: Array) -> str | None:
        """What owns the memory of an array of the library's own class, if it cannot be asked whether it still does.

        Such memory the library's own functions read and write, and compiled code never does: see `address`.
        """
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

    def lookout(
        self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[str], read: int = 0
    ) -> Callable[..., Any] | None:
        """What tells at a glance where the arrays of many parameters lie now.

        Args:
            shapes: of the parameters.
            orders: in which the elements of all arrays of each parameter lie, its gradient's too.
            dtypes: of the arrays that belong to each parameter, and of its gradient.
            read: how many of the arrays of each parameter, the first, are read only: they need not be writable, and no
                derivative may be taken by them.

        Returns:
            A function of these arrays, of one parameter after another, of one gradient for each, and of whether the
            arrays were not seen before where they lie, which is False where it is left out. It gives all their
            addresses as they are now, an int64 array with a row for each parameter, the gradient's last: if they are
            plain arrays (see `address`) of these dtypes, shapes and orders, those that are held writable; else None,
            and the arrays must be looked at one after another. None if there is no quick way.
        """
        return None

    def row_lookout(
        self, shape: tuple[int, ...], axes: int, dtypes: Sequence[str]
    ) -> tuple[Any, Callable[[Sequence[Any], Sequence[Any]], Any]] | None:
        """The same for one parameter, row-major as its slots are, of which a gradient names some rows.

        Args:
            shape: of the parameter.
            axes: how many of its axes, the first, name a row.
            dtypes: of its arrays, and of its gradient's values.

        Returns:
            The work of kernels on rows, and a function of these arrays and a list of one gradient: where its rows lie,
            if all are plain, as that work takes it. None if there is no quick way.
        """
        return None

    def watched(self) -> bool:
        """Whether something outside of the arrays now follows what the library computes: a trace, a derivative."""
        return False

    def plain_number(self, array: Array) -> float | int | None:
        """What a plain 0-d array of int64 or float64 holds, if nothing follows it; None of any other."""
        return None

    def empties(self, arrays: Sequence[Array]) -> list[Array]:
        """For each of some plain arrays a new one of its shape, dtype, place and order, that holds anything."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

    def of_plain_class(self, array: Array) -> bool:
        """Whether an array, and so its copies, is of the library's own class, not of one with its own arithmetic."""
        return True

    def plain_copy(self, array: Array, dtype: str, order: Order) -> Array:
        """A plain array with the same values, which lie in an order."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

    def flat_view(self, array: Array) -> Any:
        """A plain array, of any order, as a one-dimensional NumPy array over the same memory; bfloat16 as integers."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

    def threads(self) -> Any:
        """Threads of the library that compiled passes over its arrays should use, or None for gradwise's own."""
        return None

    counts_writes = False
    """Whether the library wants to be told what compiled code has written."""

    def wrote(self, arrays: Sequence[Array]) -> None:
        """Told of arrays that compiled code has written."""

    # ---------------------------------------------------------------- programs run by the library itself

    program_way: str | None = None
    """How the library runs recorded programs over many arrays ("foreach", "jit"), or None if it has no way."""

    compiled_way: str | None = None
    """What that is called where the library's compiler is asked for; None if that is no other way."""

    def takes_programs(self, array: Array) -> bool:
        """Whether an array may be an input of `run_program`."""
        return self.program_way is not None

    def run_program(
        self, program: Any, dtype: str, inputs: Sequence[Sequence[Array]], scalars: Sequence[float], compiled: bool
    ) -> list[list[Array]]:
        """Run a program over many arrays at once.

        Args:
            program: what to run.
            dtype: the dtype to compute in.
            inputs: for each input of the program, one array for each parameter.
            scalars: what the host evaluated.
            compiled: whether the library's compiler is asked for, where it is not what runs programs anyway.

        Returns:
            For each output of the program, new arrays, one for each parameter.
        """
        raise NotImplementedError

    def cond(
        self, predicate: Array, true: Callable[[Sequence[Any]], Any], false: Callable[[Sequence[Any]], Any],
        operands: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """Run one of two branches by a predicate the host cannot read.

        Each branch gives a result and a list of arrays, of the same shapes and dtypes in both. A library without a
        conditional of its own runs both and selects.
        """
        result, values = true(operands)
        other_result, other_values = false(operands)
        chosen = [self.select(predicate, a, b) for a, b in zip(values, other_values, strict=True)]
        return (None if result is None else self.select(predicate, result, other_result)), chosen

    def kept_elsewhere(self, array: Array) -> Array:
        """An array that is an operand here and a result there, for the operation that takes it."""
        return array

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Elementwise `a` where the predicate holds, else `b`; either may be a Python number.

        Of two numbers the result is in double precision.
        """
        if a is b:
            return a
        if is_number(a) and is_number(b):
            a = self.full((), a, "float64", predicate)
        return self.namespace.where(predicate, *self.pair(a, b))

    # ---------------------------------------------------------------- arithmetic that needs a word on each library

    def maximum(self, a: Array, b: Array) -> Array:
        """Elementwise maximum; either may be a Python number. NaN wins."""
        return self.namespace.maximum(*self.pair(a, b))

    def minimum(self, a: Array, b: Array) -> Array:
        """Elementwise minimum; either may be a Python number. NaN wins."""
        return self.namespace.minimum(*self.pair(a, b))

    def pair(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Both as arrays: a Python number becomes a 0-d array of the other's dtype.

        A fraction does not become an integer: integers that meet one become float64.
        """
        if is_number(a):
            b, a = self.pair(b, a)
            return a, b
        if not is_number(b):
            return a, b
        if isinstance(b, float) and "float" not in self.dtype_name(a):
            a = self.cast(a, "float64")
        return a, self.full((), b, self.dtype_name(a), a)

    def sum_of_squares(self, array: Array) -> Array:
        """The sum of the squares of all elements, a number or a 0-d array, in double precision where there is one."""
        return self.item(self.namespace.sum(self.namespace.square(self.cast(array, "float64"))))

    def sums_of_squares(self, arrays: Iterable[Array]) -> list[Array]:
        """Those of several arrays; where processes hold arrays together, they exchange them once."""
        return [self.sum_of_squares(array) for array in arrays]

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

    def all_row_major(self, arrays: Sequence[Array]) -> bool:
        """Whether all of some arrays are known, at a glance, to be ones that this process holds, of order None."""
        return False

    def whereabouts(self, array: Array) -> str | None:
        """How an array is spread over several processes, in words, or None if it is not."""
        return None
