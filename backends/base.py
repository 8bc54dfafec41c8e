"""What an array library must offer so that update rules run on its arrays: all that somebody reads who adds one.

A library is one file with a subclass of `Backend`, and one line in `detect.LIBRARIES`. A backend has three parts:

1. `Arrays`: a name, functions as the Array API standard calls them, and what the library does in another way. With a
   name and functions alone every optimizer runs, as on any library that follows the standard.
2. `SharedMemory`, optional: where arrays lie in memory of this machine's processor. Then compiled code makes a whole
   step of theirs in one pass over that memory.
3. `Programs`, optional: the library runs recorded rules itself, over many arrays at once, where it has a compiler or
   functions of many arrays.

Arrays that are traced, sparse, of somebody's subclass or spread over processes are of concern only to libraries that
have them: see `special_arrays`. All that is optional has a default, which says that there is no such thing.

    class TinyBackend(Backend):
        name = "tiny"
        namespace = tiny
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import numpy

from .dtypes import REAL, Array, is_number
from .programs.program import Program
from .special_arrays import SparseArrays, SpreadArrays, SubclassedArrays, TransformedArrays
from .strides import Order


class MissingDtype(TypeError):
    """A library has no arrays of some dtype."""


class Arrays:
    """Part 1: arrays. Methods never change their arguments, except `write`.

    What has no default is `name` and `namespace`. All else is asked of the namespace in the words of the standard:

    - of arrays Python's operators, `dtype`, whose text ends in a name such as "float32", `shape` and `device`;
    - the dtypes, `asarray`, `astype`, `full`, `full_like`, `sqrt`, `square`, `sum`, `where`, `maximum`, `minimum`;
    - for the rules that compute them `abs`, `sign`, `exp`, `expm1`, `log`, `log1p`, `cos`, `floor`, `ceil`, `isfinite`,
      `mean`, `max`, `min`, `reshape`, `expand_dims` and `matrix_transpose`.

    A library that lacks one of them, or calls it by another name, overrides the method below that asks for it. Three
    more are worth a look: `to_numpy`, where NumPy cannot read its arrays by DLPack; `concrete`, where it traces or
    arrays lie on a device; `write` and all that stands by it, where arrays can change in place.
    """

    name: str = ""
    """How errors and users call the library: the name of its module."""

    namespace: Any = None
    """The library's functions, by their names in the Array API standard."""

    numbers_on_host: bool = False
    """Whether what stands for a number will be evaluated as one of the host's, Python's own, in double precision."""

    def __init__(self) -> None:
        # Kept, because libraries take long to spell a dtype; one for each, because their dtypes refuse comparison.
        self._dtype_names: dict[Any, str] = {}

    # ---------------------------------------------------------------- dtypes, shapes, places

    def dtype_name(self, array: Array) -> str:
        """The dtype's name in the standard's spelling, such as "float32"."""
        dtype = array.dtype
        try:
            return self._dtype_names[dtype]
        except KeyError:
            return self._dtype_names.setdefault(dtype, str(dtype).rpartition(".")[2])

    def dtype(self, name: str) -> Any:
        """The library's own dtype object for a name.

        Raises:
            MissingDtype: if the library has none.
        """
        try:
            return getattr(self.namespace, name)
        except AttributeError:
            raise MissingDtype(f"{self.name} has no dtype {name!r}. Choose another one, such as 'float32'.") from None

    def is_real(self, array: Array) -> bool:
        """Whether an array holds real numbers: no bools, complex numbers, objects, text or dates."""
        name = self.dtype_name(array)
        return name.startswith(REAL) and name != "float0"

    def stored_dtype_name(self, name: str) -> str:
        """The name of the dtype that an array made in the dtype of a name has."""
        return name

    def shape(self, array: Array) -> tuple[int, ...]:
        """The array's shape as a plain tuple."""
        return tuple(array.shape)

    def device(self, array: Array) -> Any:
        """Where the array lives."""
        return array.device

    # ---------------------------------------------------------------- making arrays

    def cast(self, array: Array, name: str) -> Array:
        """The array in the dtype of that name; the same array if it has it already."""
        if self.dtype_name(array) == name:
            return array
        return self.namespace.astype(array, self.dtype(name))

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """An array of the same shape, place and (unless named) dtype, filled with a number."""
        dtype = None if name is None else self.dtype(name)
        return self.namespace.full_like(array, value, dtype=dtype)

    def all_full_like(self, arrays: Sequence[Array], value: Any, names: Sequence[str]) -> list[Array]:
        """As `full_like`, of many arrays."""
        return [self.full_like(array, value, name) for array, name in zip(arrays, names, strict=True)]

    def full(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """A new array in the same place as `like`, filled with a number."""
        return self.namespace.full(shape, value, dtype=self.dtype(name), device=self.device(like))

    def full_beside(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """A new array of another shape for what belongs to `like`, filled with a number.

        It lies where `like` does: an axis of `like` that it has too (see `axes.kept_axes`) is spread over devices and
        processes alike, what it has besides is the same on all.
        """
        return self.full(shape, value, name, like)

    def zeros_for(self, arrays: Sequence[Array], names: Sequence[str]) -> list[Array]:
        """For each array zeros of its shape and place, in a dtype of its own, that nothing is written into."""
        return self.all_full_like(arrays, 0.0, names)

    def copy(self, array: Array) -> Array:
        """A copy that shares no memory."""
        return self.namespace.asarray(array, copy=True)

    def beside(self, array: Array, like: Array) -> Array:
        """A fresh array put where another lies, if it has not got a place of its own already."""
        return array

    def as_array(self, value: Array) -> Array:
        """The value as the library's own array type, where arithmetic on 0-d arrays gives something else."""
        return value

    # ---------------------------------------------------------------- to and from Python and NumPy

    def concrete(self, array: Array) -> bool:
        """Whether Python may read the values now: no tracer, no derivative would be lost, no device is waited for."""
        return True

    def item(self, array: Array) -> float | int:
        """The value of a concrete 0-d array as a Python number."""
        return int(array) if "int" in self.dtype_name(array) else float(array)

    def number(self, value: float | int, like: Array) -> Array:
        """A 0-d array that carries a Python number in functional state."""
        name = "int64" if isinstance(value, int) else "float64"
        return self.namespace.asarray(value, dtype=self.dtype(name), device=self.device(like))

    def from_numpy(self, array: Any, name: str, like: Array) -> Array:
        """A NumPy array brought over in the dtype of that name, in the same place as `like`."""
        return self.namespace.asarray(array, dtype=self.dtype(name), device=self.device(like))

    def to_numpy(self, array: Array) -> Any:
        """The array as a NumPy array."""
        return numpy.from_dlpack(array)

    def same_values(self, a: Array, b: Array) -> bool:
        """Whether two arrays of one shape and dtype that Python can read are equal, NaN to NaN."""
        return bool(numpy.array_equal(self.to_numpy(a), self.to_numpy(b), equal_nan=True))

    # ---------------------------------------------------------------- arithmetic that needs a word on each library

    def operate(self, function: Callable[..., Any], *operands: Any) -> Any:
        """One of Python's operators on arrays and numbers, of which at least one array is this library's."""
        return function(*operands)

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

    def maximum(self, a: Array, b: Array) -> Array:
        """Elementwise maximum; either may be a Python number. NaN wins."""
        return self.namespace.maximum(*self.pair(a, b))

    def minimum(self, a: Array, b: Array) -> Array:
        """Elementwise minimum; either may be a Python number. NaN wins."""
        return self.namespace.minimum(*self.pair(a, b))

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Elementwise `a` where the predicate holds, else `b`; either may be a Python number.

        Of two numbers the result is in double precision.
        """
        if a is b:
            return a
        if is_number(a) and is_number(b):
            a = self.full((), a, "float64", predicate)
        return self.namespace.where(predicate, *self.pair(a, b))

    def cond(
        self, predicate: Array, true: Callable[[Sequence[Any]], Any], false: Callable[[Sequence[Any]], Any],
        operands: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """Run one of two branches by a predicate that Python cannot read.

        Each branch gives a result and a list of arrays, of the same shapes and dtypes in both. A library without a
        conditional of its own runs both and selects.
        """
        result, values = true(operands)
        other_result, other_values = false(operands)
        chosen = [self.select(predicate, a, b) for a, b in zip(values, other_values, strict=True)]
        return (None if result is None else self.select(predicate, result, other_result)), chosen

    def sqrt(self, array: Array) -> Array:
        """The square root, with derivative zero at zero."""
        return self.namespace.sqrt(array)

    def one_minus_exp(self, count: Array, rate: float) -> Array:
        """1 - exp(count * rate) of a 0-d array >= 1 and a number < 0, without cancellation."""
        return -self.namespace.expm1(count * rate)

    def widest_float(self, scalar: Array) -> Array:
        """A 0-d array as floating point, as wide as it can be without widening the arrays it will meet."""
        return self.cast(scalar, "float64")

    def sum_of_squares(self, array: Array) -> Array:
        """The sum of the squares of all elements, a number or a 0-d array, in double precision where there is one."""
        return self.item(self.namespace.sum(self.namespace.square(self.cast(array, "float64"))))

    def sums_of_squares(self, arrays: Iterable[Array]) -> list[Array]:
        """Those of several arrays; where processes hold arrays together, they exchange them once."""
        return [self.sum_of_squares(array) for array in arrays]

    # ---------------------------------------------------------------- whether arrays fit each other

    def fits_plainly(self, gradient: Array, parameter: Array) -> bool:
        """Whether a glance shows that a gradient fits its parameter; what is less plain is looked at closely."""
        return False

    def why_no_values(self, array: Array) -> str | None:
        """Why an array has no values to compute with, or None if it has."""
        return None

    def why_apart(self, array: Array, parameter: Array) -> str | None:
        """Why an array cannot be computed with together with a parameter ("lies on ..."), or None if it can."""
        return None

    # ---------------------------------------------------------------- changing arrays in place

    conversions: Mapping[str, str] = MappingProxyType({})
    """By the names of other libraries what makes their arrays this one's, in words for errors, where it is known."""
    how_gradients_come = "Compute them first"
    """What a user of the library does for gradients, in words for errors."""
    arrays_called = "arrays of its own library"
    """What errors call the library's arrays."""
    how_replaced = "an array was replaced, as by `x = x * 0.5`"
    """How parameters come to be others, in words for errors."""
    how_names_come = "a dictionary, such as {'kernel': kernel, 'bias': bias},"
    """What has parameters under their names, in words for errors."""
    how_parameters_come_first = ""
    """How optimizers take parameters in the constructor, if users of the library know it so; {} is the optimizer."""

    writable: bool = False
    """Whether arrays are changed in place when a cell is committed; otherwise the cell takes the new array."""

    def write(self, target: Array, value: Array) -> None:
        """Copy `value` into `target` in place."""
        raise TypeError(f"{self.name} arrays cannot be changed in place.")

    def is_trained(self, array: Array) -> bool:
        """Whether an array says itself that it is trained, as no gradient does."""
        return False

    def why_not_variable(self, array: Array) -> str | None:
        """Why the imperative path cannot change this array in place, or None if it can."""
        return (
            f"{self.name} arrays are immutable. Write `state = optimizer.init(params)` once, and `params, state = "
            "optimizer.step(params, grads, state)` in every step. Outside of jit gradwise.backends.Variable can change"
        )

    def all_variable(self, arrays: Sequence[Array]) -> bool:
        """Whether all of some arrays are known, at a glance, to be ones of which `why_not_variable` says nothing."""
        return False

    def arithmetic(self) -> AbstractContextManager[Any]:
        """A context for the arithmetic of an imperative step."""
        return contextlib.nullcontext()

    def may_share_memory(self, a: Array, b: Array) -> bool:
        """Whether writing into `a` may change `b`; only asked of libraries whose arrays change in place."""
        return True

    def same_memory(self, a: Array, b: Array) -> bool:
        """Whether two arrays of one shape are the same memory."""
        return a is b

    def extent(self, array: Array) -> tuple[int, int]:
        """From which address to which an array lies; only asked of libraries whose arrays change in place."""
        raise NotImplementedError


class SharedMemory:
    """Part 2, optional: memory shared with compiled code, which makes a step in one pass over it.

    A library that has it says so by `shares_memory` and gives `address`, `order`, `empties`, `plain_copy` and
    `flat_view`; `lookout`, `row_lookout`, `all_row_major`, `plain_number` and `threads` make steps faster. As it
    stands, nothing is shared, and a step runs operation by operation.
    """

    name: str

    shares_memory: bool = False
    """Whether compiled code may read and write the library's arrays where they lie."""

    def all_row_major(self, arrays: Sequence[Array]) -> bool:
        """Whether all of some arrays are known, at a glance, to be ones that this process holds, of order None."""
        return False

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

    def order(self, array: Array) -> Order:
        """In which order the elements of an array lie that fills its memory, whatever its axes; None of any other."""
        return None

    def unknown_owner(self, array: Array) -> str | None:
        """What owns the memory of an array of the library's own class, if it cannot be asked whether it still does.

        Such memory the library's own functions read and write, and compiled code never does: see `address`.
        """
        return None

    def empties(self, arrays: Sequence[Array]) -> list[Array]:
        """For each of some plain arrays a new one of its shape, dtype, place and order, that holds anything."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

    def plain_copy(self, array: Array, dtype: str, order: Order) -> Array:
        """A plain array with the same values, which lie in an order."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

    def flat_view(self, array: Array) -> Any:
        """A plain array, of any order, as a one-dimensional NumPy array over the same memory; bfloat16 as integers."""
        raise TypeError(f"{self.name} arrays lie in no memory that can be shared.")

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

    def plain_number(self, array: Array) -> float | int | None:
        """What a plain 0-d array of int64 or float64 holds, if nothing follows it; None of any other."""
        return None

    def threads(self) -> Any:
        """Threads of the library that compiled passes over its arrays should use, or None for gradwise's own."""
        return None

    counts_writes = False
    """Whether the library wants to be told what compiled code has written."""

    def wrote(self, arrays: Sequence[Array]) -> None:
        """Told of arrays that compiled code has written."""


class Programs:
    """Part 3, optional: programs, the records of rules, run by the library itself.

    A library that does so names its way and gives `run_program`; `programs.interpreter` runs a program operation by
    operation on whatever the library has for each. As it stands, nothing is run here.
    """

    program_way: str | None = None
    """How the library runs recorded programs over many arrays ("foreach", "jit"), or None if it has no way."""

    compiled_way: str | None = None
    """What that is called where the library's compiler is asked for; None if that is no other way."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        """A function of trees of arrays as the library's compiler of whole functions runs it; None without one."""
        return None

    def takes_programs(self, array: Array) -> bool:
        """Whether an array may be an input of `run_program`."""
        return self.program_way is not None

    def run_program(
        self, program: Program, dtype: str, inputs: Sequence[Sequence[Array]], scalars: Sequence[float], compiled: bool
    ) -> list[list[Array]]:
        """Run a program over many arrays at once.

        Args:
            program: what to run.
            dtype: the dtype to compute in.
            inputs: for each input of the program, one array for each parameter.
            scalars: those of the step, as the host's numbers.
            compiled: whether the library's compiler is asked for, where it is not what runs programs anyway.

        Returns:
            For each output of the program, new arrays, one for each parameter.
        """
        raise NotImplementedError


class Backend(Arrays, SharedMemory, Programs, TransformedArrays, SubclassedArrays, SparseArrays, SpreadArrays):
    """One array library: a subclass gives `name`, `namespace` and what the library does otherwise than the parts say.

    There is one object for each library, which `detect` makes when it meets the first of its arrays.
    """
