"""What other libraries have under a name, in the functions that rules are written with."""

from __future__ import annotations

import linecache
import re
from typing import Any

from .mistakes import frame_of_rule

SAME = frozenset((
    "abs", "ceil", "clip", "cos", "exp", "expm1", "floor", "isfinite", "log", "log1p", "max", "mean", "min", "norm",
    "power", "reshape", "sign", "sqrt", "square", "sum", "where", "maximum", "minimum", "matmul", "add", "subtract",
    "multiply", "divide", "negative", "less", "less_equal", "greater", "greater_equal", "equal", "expand_dims",
))  # fmt: skip
"""What is called so here, too."""
_OTHERWISE = {
    "rsqrt": "1 / ops.sqrt({x})", "reciprocal": "1 / {x}", "pow": "`{x}**y` or `ops.power({x}, y)`", "mul": "{x} * y",
    "sub": "{x} - y", "div": "{x} / y", "neg": "-{x}", "eq": "{x} == y", "clamp": "ops.clip({x}, lower, upper)",
    "amax": "ops.max({x}, axis=...)", "amin": "ops.min({x}, axis=...)", "reduce_sum": "ops.sum({x}, axis=...)",
    "reduce_mean": "ops.mean({x}, axis=...)", "select": "ops.where(condition, {x}, y)",
    "astype": "ops.cast({x}, dtype)", "to": "ops.cast({x}, dtype)", "float": "ops.cast({x}, 'float32')",
    "unsqueeze": "ops.expand_dims({x}, axis)", "squeeze": "ops.reshape({x}, shape)", "view": "ops.reshape({x}, shape)",
    "flatten": "ops.reshape({x}, (-1,))", "ravel": "ops.reshape({x}, (-1,))",
    "transpose": "ops.matrix_transpose({x})", "swapaxes": "ops.matrix_transpose({x})",
    "T": "ops.matrix_transpose({x})", "mT": "ops.matrix_transpose({x})", "t": "ops.matrix_transpose({x})",
    "size": "math.prod({x}.shape)", "numel": "math.prod({x}.shape)", "index": "self.variable_index({x})",
    "lerp": "ops.moving_average(past, new, memory)", "dot": "ops.sum({x} * y)", "vdot": "ops.sum({x} * y)",
    "tanh": "1 - 2 / (1 + ops.exp(2 * {x}))", "sigmoid": "1 / (1 + ops.exp(-{x}))", "relu": "ops.maximum({x}, 0.0)",
    "isnan": "{x} != {x}", "rms": "ops.sqrt(ops.mean(ops.square({x})))",
    "root_mean_square": "ops.sqrt(ops.mean(ops.square({x})))",
    "outer": "ops.expand_dims(rows, -1) * ops.expand_dims(columns, -2)",
    "std": "ops.sqrt(ops.mean(ops.square({x} - ops.mean({x}))))", "var": "ops.mean(ops.square({x} - ops.mean({x})))",
    "argmax": "{x} == ops.max({x})", "clone": "`{x}`, which nobody changes", "copy": "`{x}`, which nobody changes",
    "detach": "`{x}`, without .detach()", "item": "`{x}`, without .item()",
    "tolist": "`{x}`, without .tolist()", "numpy": "`{x}`, without .numpy()", "cpu": "`{x}`, without .cpu()",
    "fabs": "ops.abs({x})", "true_divide": "{x} / y", "float_power": "{x}**y", "fmax": "ops.maximum({x}, y)",
    "fmin": "ops.minimum({x}, y)", "remainder": "{x} % y", "mod": "{x} % y", "logical_and": "x & y",
    "logical_or": "x | y", "logical_not": "~{x}", "round": "ops.floor({x} + 0.5)",
    "zeros": "`ops.zeros_like(x)`, or the number 0.0", "ones": "`ops.ones_like(x)`, or the number 1.0",
    "full": "`ops.full_like(x, value)`, or the number", "zeros_like": "ops.zeros_like({x})",
    "ones_like": "ops.ones_like({x})", "full_like": "ops.full_like({x}, value)", "empty": "ops.zeros_like(x)",
    "empty_like": "ops.zeros_like({x})", "array": "the number itself", "asarray": "the number itself",
    "tensor": "the number itself",
}  # fmt: skip
"""What it is here; {x} is the array."""
_ARGUMENTS = {"dim": "axis", "keepdim": "keepdims"}
"""Torch's names of arguments."""
MAKING = re.compile(
    r"\b(?:np|numpy|jnp|torch|jax\.numpy)\.(zeros|ones|full|empty|array|asarray|tensor|eye|arange|linspace"
    r"|zeros_like|ones_like|full_like|random\.\w+|rand|randn)\("
)
"""How arrays are made of nothing, or of numbers."""


def written_as(name: str, array: str = "x", arguments: str | None = None) -> str | None:
    """How a function or a method of another library is written in a rule; None if there is no such function.

    Args:
        name: of the function.
        array: what it is called for.
        arguments: what else it is given, if that is known.
    """
    if name in SAME:
        more = ""
        if arguments:
            more = ", " + re.sub(r"\b(dim|keepdim)=", lambda found: f"{_ARGUMENTS[found.group(1)]}=", arguments)
        return f"Write `ops.{name}({array}{more})`."
    found = _OTHERWISE.get(name)
    if found is None:
        return None
    is_code = "`" not in found and not found.startswith("the ")
    written = found.format(x=array)
    return f"Write `{written}`." if is_code else f"Write {written}."


def method_written_as(name: str) -> str | None:
    """As `written_as`, of a method that the rule asks for in the line that is running: with its arguments there."""
    array, arguments = _call_of(name)
    return written_as(name, array, arguments)


def _call_of(name: str) -> tuple[str, str | None]:
    """What a method is called for in the line of the rule that is running, and with which arguments."""
    frame: Any = frame_of_rule()
    line = "" if frame is None else linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    places = list(re.finditer(rf"(?:([A-Za-z_]\w*)|\S)\.{re.escape(name)}(?!\w)(\()?", line))
    if len(places) != 1:
        # Which of several it was is not known here.
        return "x", None
    found = places[0]
    array = found.group(1) or "x"
    if line[: found.start()].endswith((".", ")")):
        array = "x"
    if found.group(2) is None:
        return array, None
    depth = 1
    for place in range(found.end(), len(line)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(line[place], 0)
        if depth == 0:
            return array, line[found.end() : place].strip()
    return array, None
