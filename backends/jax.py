"""JAX's arrays, and the tracers that stand for them while it transforms a function."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy
import numpy
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .axes import kept_axes
from .base import Backend
from .dtypes import Array
from .numpy import NUMPY
from .programs.interpreter import OPERATORS, interpret
from .programs.program import Program
from .scope import build_scope
from .special_arrays import NEEDS_ARRAY, NEEDS_VALUE

_LARGEST = float(numpy.finfo(numpy.float32).max)
"""The largest of the host's numbers that no dtype computed in makes infinite."""
_EXTREME = 2.0**40
"""Three smaller numbers, multiplied or divided, do not leave the range of float32."""
_WIDEST = 8
"""Bytes of the widest real number that JAX has."""
_LARGEST_COUNT = int(numpy.iinfo(numpy.int32).max)
# Older releases have it in their core only.
_trace_state: Any = getattr(jax.extend.core, "get_opaque_trace_state", None) or jax.core.get_opaque_trace_state
_SERIES = 12
"""Terms of the series of exp, enough for float32 up to 1."""

_PRIMITIVES: dict[Any, Any] = {
    operator.add: lax.add,
    operator.sub: lax.sub,
    operator.mul: lax.mul,
    operator.truediv: lax.div,
    operator.neg: lax.neg,
}
"""What Python's operators do to arrays of one dtype of floating point."""

_FUNCTIONS: dict[str, Any] = {
    "sum_of_squares": lambda x: jax.numpy.sum(jax.numpy.square(x.astype(jax.dtypes.canonicalize_dtype("float64")))),
}
"""What is not called by its name in the standard."""


def _is_ordinary(number: float) -> bool:
    return number == 0 or 1 / _EXTREME < abs(number) < _EXTREME


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run_jitted(structure: Any, dtype: str, inputs: Any, scalars: Any) -> list[list[Array]]:
    count, operations, outputs, *_ = structure
    program = Program(count, operations, outputs, (), (), (), ())
    results = []
    for arrays in zip(*inputs, strict=True):
        wide = [array.astype(dtype) for array in arrays]

        def apply(name: str, operands: list[Any], like: Any = wide[0]) -> Any:
            if name == "fill":
                return jax.numpy.full_like(like, operands[0])
            if name == "select":
                return jax.numpy.where(operands[0] != 0, operands[1], operands[2])
            return (OPERATORS.get(name) or _FUNCTIONS.get(name) or getattr(jax.numpy, name))(*operands)

        results.append(interpret(program, wide, scalars, apply))
    return [list(column) for column in zip(*results, strict=True)]


# Compiled apart, it is traced once for all rates; and by the primitives, which are traced in a third of the time.
@jax.jit
def _one_minus_exp(x: Array) -> Array:
    one: Any = numpy.float32(1)
    series = one
    for n in range(_SERIES, 1, -1):
        series = lax.add(lax.mul(lax.mul(x, numpy.float32(1 / n)), series), one)
    return lax.select(lax.gt(x, -one), lax.mul(lax.neg(x), series), lax.sub(one, lax.exp(x)))


@jax.custom_jvp
def _sqrt(x: Array) -> Array:
    return lax.sqrt(x)


@_sqrt.defjvp
def _derivative_of_sqrt(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = _sqrt(*primals)
    at_zero = root == 0
    return root, jax.numpy.where(at_zero, 0.0, tangents[0] * 0.5 / jax.numpy.where(at_zero, 1.0, root))


# Inlined, it is traced once for each shape and costs no call, as the functions of jax.numpy.
_inlined_sqrt = jax.jit(_sqrt, inline=True)


class JaxBackend(Backend):
    """JAX arrays, tracers, and (for `init`) ShapeDtypeStructs."""

    name = "jax"
    arrays_called = "JAX's arrays"
    namespace = jax.numpy

    def dtype(self, name: str) -> Any:
        """JAX takes NumPy's dtypes; without x64, those of half the width where they have 64 bits."""
        return jax.dtypes.canonicalize_dtype(name)

    def stored_dtype_name(self, name: str) -> str:
        """That of half the width without x64."""
        return str(self.dtype(name).name)

    def device(self, array: Array) -> Any:
        """Placement is left to JAX: a tracer has no device, and a sharded array has many."""
        return None

    def cast(self, array: Array, name: str) -> Array:
        """The array in that dtype, never weakly typed; a shape without values keeps having none."""
        if isinstance(array, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(array.shape, self.dtype(name))  # type: ignore[no-untyped-call]  # as JAX has it
        dtype = self.dtype(name)
        if getattr(array, "dtype", None) == dtype and not getattr(array, "weak_type", False):
            return array
        return lax.convert_element_type(array, dtype)

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy."""
        return numpy.array(array)

    def number(self, value: float | int, like: Array) -> Array:
        """A 0-d array of JAX's default width, as the first step will return it: the second compiles no differently.

        It is strongly typed, and lies where the parameters do: on a mesh it is replicated.
        """
        number = jax.numpy.asarray(value, dtype=self.dtype("int64" if isinstance(value, int) else "float64"))
        return number if like is None else self.beside(number, like)

    def beside(self, array: Array, like: Array) -> Array:
        """Spread as the other where the shapes agree, else the same on all devices that the other is on."""
        alike = array.shape == like.shape != ()
        if self.traced(like):
            if alike:
                return self._spread_as(array, like)
            if AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types:
                # In a function that runs on each device of a mesh, it is there, and the same on all of them.
                return array
            # An array by itself would be put on one device; beside the parameters it is where they are.
            return lax.optimization_barrier((array, like))[0]  # type: ignore[no-untyped-call]  # JAX declares no types here
        # What was put nowhere in particular may still be moved.
        if not (self.concrete(array) and self.concrete(like)) or array.committed or not like.committed:
            return array
        place: Any = like.sharding
        if isinstance(place, NamedSharding) and not alike:
            everywhere = PartitionSpec()  # type: ignore[no-untyped-call]  # JAX declares no types here
            place = NamedSharding(place.mesh, everywhere)
        return jax.device_put(array, place)

    def _spread_as(self, array: Array, like: Array) -> Array:
        # Zeros do not depend on the array: a compiled init would put them all on one device. What is chosen between
        # the two, by a value that no compiler knows beforehand, is spread as the array is.
        # Asked for together with the array, for JAX 0.5 has no rule for a barrier around constants alone in a function
        # that runs on each device of a mesh.
        never, _ = lax.optimization_barrier((numpy.False_, like))  # type: ignore[no-untyped-call]  # JAX declares no types here
        return lax.select(never, lax.convert_element_type(like, array.dtype), array)

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """In the array's place; while slots are made, also where that is known only once it is compiled."""
        filled = super().full_like(array, value, name)
        return self._spread_as(filled, array) if build_scope() is not None and self.traced(array) else filled

    def full_beside(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """The axes that both have are spread alike, also where that is known only once it is compiled."""
        filled = self.full(shape, value, name, like)
        axes = kept_axes(shape, like.shape)
        if None in axes and len(shape) != len(like.shape):
            return self.beside(filled, like)
        if self.traced(like):
            lost = tuple(axis for axis in range(like.ndim) if axis not in axes)
            reduced = jax.numpy.max(lax.stop_gradient(like), axis=lost, keepdims=len(shape) == like.ndim, initial=0.0)
            return self._spread_as(filled, jax.numpy.broadcast_to(reduced, shape))
        spread = isinstance(getattr(like, "sharding", None), NamedSharding) and self.concrete(like) and like.committed
        if not spread or filled.committed:
            return self.beside(filled, like)
        of_each = dict(enumerate(like.sharding.spec))
        spec = PartitionSpec(*[None if axis is None else of_each.get(axis) for axis in axes])  # type: ignore[no-untyped-call]  # JAX declares no types here
        return jax.device_put(filled, NamedSharding(like.sharding.mesh, spec))

    def zeros_for(self, arrays: Sequence[Array], names: Sequence[str]) -> list[Array]:
        """Traced, one for all of a type: each takes time to trace, most are dropped, and none ever changes."""
        if not all(map(self.traced, arrays)):
            return super().zeros_for(arrays, names)
        kinds = [(jax.typeof(array), name) for array, name in zip(arrays, names, strict=True)]
        examples = dict(zip(kinds, arrays, strict=True))
        made = {kind: self.full_like(array, 0.0, kind[1]) for kind, array in examples.items()}
        return [made[kind] for kind in kinds]

    def concrete(self, array: Array) -> bool:
        """Everything but tracers and shape placeholders."""
        return not isinstance(array, (jax.core.Tracer, jax.ShapeDtypeStruct))

    def traced(self, array: Array) -> bool:
        """Tracers."""
        return isinstance(array, jax.core.Tracer)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """By `jax.jit`."""
        return jax.jit(function)

    def why_not_traceable(self, error: Exception) -> str | None:
        """By JAX's classes of errors."""
        if isinstance(error, jax.errors.TracerArrayConversionError):
            return NEEDS_ARRAY
        return NEEDS_VALUE if isinstance(error, jax.errors.ConcretizationTypeError) else None

    def level(self) -> Any:
        """The trace that operations go to. It is not kept alive."""
        return _trace_state(convention=None)  # which releases before 0.6 demand

    def lasts_like(self, result: Array, scalar: Array) -> bool:
        """Arrays, which never change, and tracers of the same level of transformation."""
        return not self.traced(result) or (self.traced(scalar) and result._trace is scalar._trace)

    def why_no_values(self, array: Array) -> str | None:
        """ShapeDtypeStructs have none, and deleted or donated arrays have none any more."""
        if isinstance(array, jax.ShapeDtypeStruct):
            return "it is a shape without values"
        deleted = not isinstance(array, jax.core.Tracer) and array.is_deleted()
        return "it was deleted, or donated to a compiled function" if deleted else None

    def takes(self, array: Any) -> bool:
        """NumPy's arrays and scalars of numbers that JAX has, as its own functions take them, under jit and without."""
        if not isinstance(array, (numpy.ndarray, numpy.generic)) or NUMPY.why_no_operand(array) is not None:
            return False
        if isinstance(array, numpy.ma.MaskedArray):
            # JAX refuses them: it has no masks.
            return False
        dtype = array.dtype
        return dtype.isnative and dtype.itemsize <= _WIDEST and bool(jax.numpy.issubdtype(dtype, jax.numpy.number))

    def plain(self, array: Array) -> Array:
        """NumPy's become JAX's."""
        if not isinstance(array, (numpy.ndarray, numpy.generic)):
            return array
        return jax.numpy.asarray(NUMPY.plain(numpy.asanyarray(array)))

    def traceable(self, scalar: Array) -> Any:
        """NumPy's scalar: flax refuses arrays of JAX in what it keeps as static, which transformations are to it."""
        return NUMPY.traceable(numpy.asarray(scalar))

    def following(self, count: Array, room: int = 0, turn: int = 1) -> Array:
        """Compiled code cannot say that 32 bits are full, and would go on from the least number, which is negative.

        All that a rule makes of so many steps has come to its limit long before.
        """
        if count.dtype != "int32":
            return count + 1
        last = _LARGEST_COUNT - room
        if turn == 1:
            # In half as many operations: where each parameter counts, they take time to compile.
            return lax.add(lax.min(count, numpy.int32(last - 1)), numpy.int32(1))
        return jax.numpy.where(count < last, count + 1, last + 1 - turn)

    def widest_float(self, scalar: Array) -> Array:
        """Weakly typed, so that a double-precision scalar does not widen the arrays it meets."""
        # A count times a number is what strict promotion forbids; there is no other way to a weak type.
        with jax.numpy_dtype_promotion("standard"):
            return scalar * 1.0

    def operate(self, function: Callable[..., Any], *operands: Any) -> Any:
        """On what is traced by the primitive, where they mean the same: operators look up a function compiled for it.

        That takes two to ten times as long.
        """
        traced = max(filter(self.traced, operands), key=numpy.ndim, default=None)
        primitive = _PRIMITIVES.get(function)
        if traced is None or primitive is None or self.dtype_name(traced) not in ("float32", "float64"):
            return function(*operands)
        weighs = function in (operator.mul, operator.truediv)
        ready = [self._ready(operand, traced, weighs) for operand in operands]
        alike = all(each is not None and each.shape in ((), traced.shape) for each in ready)
        return primitive(*ready) if alike else function(*operands)

    def _ready(self, operand: Any, traced: Array, weighs: bool) -> Any:
        """An operand as primitives take it, or None if it has to be promoted."""
        dtype = traced.dtype
        if type(operand) in (int, float):
            constant = numpy.asarray(operand, dtype) if abs(operand) <= _LARGEST else None
            return self._hidden(constant, traced) if weighs and not _is_ordinary(operand) else constant
        strong = isinstance(operand, jax.Array) and not operand.weak_type
        return operand if strong and operand.dtype == dtype else None

    def _hidden(self, constant: Any, traced: Array) -> Any:
        """A number of which compiled code does not know beforehand what it is.

        XLA makes one constant of two that an array is multiplied or divided by. That may leave the range in which it
        computes, below which all is 0, where no element of the array does.
        """
        beside = lax.stop_gradient(traced)
        return None if constant is None else lax.optimization_barrier((constant, beside))[0]  # type: ignore[no-untyped-call]  # JAX declares no types here

    def sqrt(self, array: Array) -> Array:
        """The square root, with derivative zero at zero."""
        return _inlined_sqrt(array) if "float" in self.dtype_name(array) else jax.numpy.sqrt(array)

    def one_minus_exp(self, count: Array, rate: float) -> Array:
        """In float32 to 1.5e-7, where XLA's expm1 alone is 3.2e-7 off on the CPU, and the rounded product 1.2e-7."""
        if count.dtype != "float32":
            return super().one_minus_exp(count, rate)
        # Of the rate's first twelve bits the product is exact up to a count of 4096.
        fraction, exponent = math.frexp(rate)
        high = math.ldexp(round(fraction * 4096) / 4096, exponent)
        return _one_minus_exp(count * high + count * (rate - high))

    def cond(
        self,
        predicate: Array,
        true: Callable[[Sequence[Any]], Any],
        false: Callable[[Sequence[Any]], Any],
        operands: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """`jax.lax.cond`: only the chosen branch runs."""
        return lax.cond(predicate, true, false, list(operands))  # type: ignore[no-any-return]  # what they give

    program_way = "jit"

    def takes_programs(self, array: Array) -> bool:
        """Arrays, but not tracers."""
        return self.concrete(array)

    def run_program(
        self, program: Program, dtype: str, inputs: Sequence[Sequence[Array]], scalars: Sequence[float], compiled: bool
    ) -> list[list[Array]]:
        """In one compiled call. The host's scalars are arguments: no rate and no step compiles again."""
        return _run_jitted(  # type: ignore[no-any-return]  # jit hides what the function gives
            program.structure, dtype, inputs, numpy.asarray(scalars, dtype=self.dtype(dtype))
        )

    def kept_elsewhere(self, array: Array) -> Array:
        """Between infinities, which changes nothing.

        XLA's compiler for CPUs does not join an operation with another whose result is needed elsewhere too. What
        stands alone, it vectorizes over the last axis only, which convolutions may have three elements long: a
        parameter plus its velocity took four fifths longer. With this, two operations are joined.
        """
        if not self.traced(array) or "float" not in self.dtype_name(array):
            return array
        low, high = (numpy.asarray(limit, array.dtype) for limit in (-numpy.inf, numpy.inf))
        return lax.clamp(low, array, high)

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Python numbers stay weakly typed."""
        return a if a is b else jax.numpy.where(predicate, a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        """Python numbers stay weakly typed."""
        return jax.numpy.maximum(a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        """Python numbers stay weakly typed."""
        return jax.numpy.minimum(a, b)

    def sum_of_squares(self, array: Array) -> Array:
        """A 0-d array: float64 where JAX has it enabled, otherwise float32."""
        return jax.numpy.sum(jax.numpy.square(array.astype(self.dtype("float64"))))
