"""JAX arrays and tracers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy

from .base import Array, Backend


class JaxBackend(Backend):
    """JAX arrays, tracers, and (for `init`) ShapeDtypeStructs."""

    name = "jax"
    namespace = jax.numpy

    def dtype(self, name: str) -> Any:
        """JAX takes NumPy's dtypes; without x64, those of half the width where they have 64 bits."""
        return jax.dtypes.canonicalize_dtype(name)

    def device(self, array: Array) -> Any:
        """Placement is left to JAX: a tracer has no device, and a sharded array has many."""
        return None

    def cast(self, array: Array, name: str) -> Array:
        """The array in that dtype, never weakly typed."""
        return jax.lax.convert_element_type(array, self.dtype(name))

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy."""
        import numpy

        return numpy.array(array)

    def number(self, value: float | int, like: Array) -> Array:
        """A 0-d array of JAX's default width, strongly typed, so that the second step compiles no differently."""
        return jax.numpy.asarray(value, dtype=self.dtype("int64" if isinstance(value, int) else "float64"))

    def concrete(self, array: Array) -> bool:
        """Everything but tracers and shape placeholders."""
        return not isinstance(array, (jax.core.Tracer, jax.ShapeDtypeStruct))

    def widest_float(self, scalar: Array) -> Array:
        """Weakly typed, so that a double-precision scalar does not widen the arrays it meets."""
        return scalar * 1.0

    def cond(
        self, predicate: Array, true: Callable[[Sequence[Any]], Any], false: Callable[[Sequence[Any]], Any],
        operands: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """`jax.lax.cond`: only the chosen branch runs."""
        return jax.lax.cond(predicate, true, false, list(operands))  # type: ignore[no-any-return]  # what they give

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
