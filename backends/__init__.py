"""Where the arithmetic of update rules happens: `ops`, `Variable`, scopes, and one file for each array library."""

from . import ops, trials
from .base import Backend
from .delta_variable import DeltaVariable, UnknownValueError
from .detect import backend_of, compiler_graph, describe, number_of_python, shown
from .dtypes import FLOATING, ITEM_SIZES, SIXTEEN_BIT, Array, compute_dtype, is_number
from .handles import handle_of
from .losses import PerformanceWarning
from .numpy import NUMPY
from .python import HOST
from .rows import Rows
from .scope import (
    BuildScope,
    Scope,
    StepScope,
    any_scope,
    build_scope,
    leaves_scopes,
    scope_holding,
)
from .special_arrays import Disagreement
from .strides import Order
from .trees import Tree, parts_of, plain, register_node, taken_apart, taken_apart_by_jax
from .variable import Variable, commit, value_of, values_of

__all__ = [
    "FLOATING", "HOST", "ITEM_SIZES", "NUMPY", "SIXTEEN_BIT", "Array", "Backend", "BuildScope", "DeltaVariable",
    "Disagreement", "Order", "PerformanceWarning", "Rows", "Scope", "StepScope", "Tree", "UnknownValueError",
    "Variable", "any_scope", "backend_of", "build_scope", "commit", "compiler_graph", "compute_dtype", "describe",
    "handle_of", "is_number", "leaves_scopes", "number_of_python", "ops", "parts_of", "plain", "register_node",
    "scope_holding", "shown", "taken_apart", "taken_apart_by_jax", "trials", "value_of", "values_of",
]  # fmt: skip
