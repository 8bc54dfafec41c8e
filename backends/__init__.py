"""Where the arithmetic happens: `ops`, `Variable`, scopes, and one file for each array library."""

from . import ops
from .base import FLOATING, SIXTEEN_BIT, Array, Backend, compute_dtype, is_number
from .deltas import DeltaVariable, UnknownValueError
from .detect import HOST, NUMPY, backend_of, describe, shown
from .scope import BuildScope, Scope, build_scope, scope_holding
from .trees import Tree
from .variable import Variable, commit, value_of

__all__ = [
    "FLOATING", "HOST", "NUMPY", "SIXTEEN_BIT", "Array", "Backend", "BuildScope", "DeltaVariable", "Scope", "Tree",
    "UnknownValueError", "Variable", "backend_of", "build_scope", "commit", "compute_dtype", "describe", "is_number",
    "ops", "scope_holding", "shown", "value_of",
]  # fmt: skip
