"""What other libraries have under a name, in the functions that rules are written with."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .mistakes import MODULES
from .source import Place, filled, statement_at, text
from .wording import same, synonyms_of

SAME: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((
        "abs", "ceil", "cos", "exp", "expm1", "floor", "isfinite", "log", "log1p", "norm", "sign", "sqrt", "square",
        "negative",
    ), ("x",)),
    **dict.fromkeys((
        "power", "maximum", "minimum", "matmul", "add", "subtract", "multiply", "divide", "less", "less_equal",
        "greater", "greater_equal", "equal",
    ), ("a", "b")),
    **dict.fromkeys(("max", "mean", "min", "sum"), ("x", "axis", "keepdims")),
    "clip": ("x", "lower", "upper"), "expand_dims": ("x", "axis"), "where": ("condition", "a", "b"),
}  # fmt: skip
"""What is called so here, too, with its arguments."""
_OTHERWISE = {
    "rsqrt": "1 / ops.sqrt({x})", "reciprocal": "1 / {x}", "pow": "`{x}**{y}` or `ops.power({x}, {y})`",
    "mul": "{x} * {y}",
    "sub": "{x} - {y}", "div": "{x} / {y}", "neg": "-{x}", "eq": "{x} == {y}",
    "clamp": "ops.clip({x}, {lower}, {upper})",
    "amax": "ops.max({x}, axis=...)", "amin": "ops.min({x}, axis=...)", "reduce_sum": "ops.sum({x}, axis=...)",
    "reduce_mean": "ops.mean({x}, axis=...)", "select": "ops.where({x}, {y}, {z})",
    "astype": "ops.cast({x}, dtype)", "to": "ops.cast({x}, dtype)", "float": "ops.cast({x}, 'float32')",
    "unsqueeze": "ops.expand_dims({x}, {axis})", "squeeze": "ops.reshape({x}, shape)",
    "view": "ops.reshape({x}, shape)", "reshape": "ops.reshape({x}, shape)", "flatten": "ops.reshape({x}, (-1,))",
    "ravel": "ops.reshape({x}, (-1,))",
    "transpose": "ops.matrix_transpose({x})", "swapaxes": "ops.matrix_transpose({x})",
    "T": "ops.matrix_transpose({x})", "mT": "ops.matrix_transpose({x})", "t": "ops.matrix_transpose({x})",
    "size": "math.prod({x}.shape)", "numel": "math.prod({x}.shape)", "index": "self.variable_index({x})",
    "lerp": "ops.moving_average(past, new, memory)", "dot": "ops.sum({x} * {y})", "vdot": "ops.sum({x} * {y})",
    "tanh": "1 - 2 / (1 + ops.exp(2 * {x}))", "sigmoid": "1 / (1 + ops.exp(-{x}))", "relu": "ops.maximum({x}, 0.0)",
    "isnan": "{x} != {x}", "rms": "ops.sqrt(ops.mean(ops.square({x})))",
    "root_mean_square": "ops.sqrt(ops.mean(ops.square({x})))",
    "outer": "ops.expand_dims({x}, -1) * ops.expand_dims({y}, -2)",
    "std": "ops.sqrt(ops.mean(ops.square({x} - ops.mean({x}))))", "var": "ops.mean(ops.square({x} - ops.mean({x})))",
    "argmax": "{x} == ops.max({x})", "clone": "`{x}`, which nobody changes", "copy": "`{x}`, which nobody changes",
    "detach": "`{x}`, without .detach()", "item": "`{x}`, without .item()",
    "tolist": "`{x}`, without .tolist()", "numpy": "`{x}`, without .numpy()", "cpu": "`{x}`, without .cpu()",
    "fabs": "ops.abs({x})", "true_divide": "{x} / {y}", "float_power": "{x}**{y}", "fmax": "ops.maximum({x}, {y})",
    "fmin": "ops.minimum({x}, {y})", "remainder": "{x} % {y}", "mod": "{x} % {y}", "logical_and": "{x} & {y}",
    "logical_or": "{x} | {y}", "logical_not": "~{x}", "round": "ops.floor({x} + 0.5)",
    "zeros": "`ops.zeros_like(x)`, or the number 0.0", "ones": "`ops.ones_like(x)`, or the number 1.0",
    "full": "`ops.full_like(x, value)`, or the number", "zeros_like": "ops.zeros_like({x})",
    "ones_like": "ops.ones_like({x})", "full_like": "ops.full_like({x}, value)", "empty": "ops.zeros_like(x)",
    "empty_like": "ops.zeros_like({x})", "array": "the number itself", "asarray": "the number itself",
    "tensor": "the number itself",
}  # fmt: skip
"""What it is here; in braces stand the array, and what else the function is given in its order."""
ARGUMENTS = same(
    ("axis", "dim", "axes", "dims", "reduction_indices"), ("keepdims", "keepdim", "keep_dims"),
    ("x", "a", "input", "array", "tensor"), ("lower", "min", "a_min"), ("upper", "max", "a_max"),
    ("shape", "size", "newshape"), ("a", "x1", "x"), ("b", "x2", "y"),
)  # fmt: skip
"""What arguments of functions are called in different libraries."""
_OF_RESULT = frozenset(("dtype", "casting", "order", "subok"))
"""Arguments that say how a result is stored, which nobody does here."""
MAKING = re.compile(
    rf"\b(?:{'|'.join(MODULES)})(?:\.numpy)?\.(zeros|ones|full|empty|array|asarray|tensor|eye|arange|linspace"
    r"|zeros_like|ones_like|full_like|random\.\w+|rand|randn)\("
)
"""How arrays are made of nothing, or of numbers."""


class Given(NamedTuple):
    """What a function of another library is given, as a rule has it.

    Attributes:
        values: by position, the array first. Of a method that is what it belongs to.
        named: by name.
    """

    values: tuple[ast.expr, ...] = ()
    named: Mapping[str, ast.expr] = {}  # It never changes.


NOT_KNOWN = Given()


def written_as(name: str, given: Given = NOT_KNOWN) -> str | None:
    """How a function or a method of another library is written in a rule; None if there is no such function.

    Args:
        name: of the function.
        given: what it is given.
    """
    values, named = list(given.values), dict(given.named)
    out = named.pop("out", None)
    if name in SAME:
        parameters = SAME[name]
        if out is None and len(values) == len(parameters) + 1:
            out = values.pop()
        return f"Write `{_into(out, _call(name, parameters, values, named))}`."
    found = _OTHERWISE.get(name)
    if found is None:
        return None
    is_code = "`" not in found and not found.startswith("the ")
    codes = re.split(r"`", f"`{found}`" if is_code else found)
    codes[1::2] = [_into(out if is_code else None, _with_given(code, given)) for code in codes[1::2]]
    return f"Write {'`'.join(codes)}."


def _call(name: str, parameters: Sequence[str], values: Sequence[ast.expr], named: Mapping[str, ast.expr]) -> str:
    """A call of a function of ops that is called the same elsewhere, with what it is given there."""
    kept = {key: value for key, value in named.items() if key not in _OF_RESULT}
    called = {key: key if key in parameters else "".join(synonyms_of(key, parameters, ARGUMENTS)) for key in kept}
    if len(values) > len(parameters) or not all(called.values()) or not (values or kept):
        return f"ops.{name}({', '.join(parameters[:2] if parameters[0] != 'x' else parameters[:1])})"
    call = ast.Call(ast.Name(f"ops.{name}"), [*values], [ast.keyword(called[key], kept[key]) for key in kept])
    return text(call, f"ops.{name}({parameters[0]})")


def _into(out: ast.expr | None, code: str) -> str:
    """Code with the name that its result is given, where a library puts it into an array."""
    return f"{out.id} = {code}" if isinstance(out, ast.Name) else code


def _with_given(template: str, given: Given) -> str:
    """Code with what a function is given in the place of what stands in braces."""
    names = list(dict.fromkeys(re.findall(r"{(\w+)}", template)))
    general = template.format(**{name: name for name in names})
    return text(filled(general, dict(zip(names, given.values, strict=False))), general)


def method_written_as(name: str, place: Place | None) -> str | None:
    """As `written_as`, of a function or a method that a rule asks for.

    Args:
        name: of the function.
        place: where that stands, if it is known.
    """
    return written_as(name, given_in(statement_at(place), name))


def given_in(statement: ast.stmt | None, name: str) -> Given:
    """What a function or a method of some name is given in a statement, where it stands there once.

    Args:
        statement: the source, if that is known.
        name: of the function.
    """
    nodes = [] if statement is None else list(ast.walk(statement))
    asked = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == name]
    if len(asked) != 1:
        # Which of several it was is not known here.
        return NOT_KNOWN
    call = next((node for node in nodes if isinstance(node, ast.Call) and node.func is asked[0]), None)
    whose = [] if is_module(asked[0].value) else [asked[0].value]
    if call is None:
        return Given(tuple(whose))
    if any(isinstance(each, ast.Starred) for each in call.args) or not all(each.arg for each in call.keywords):
        return NOT_KNOWN
    return Given((*whose, *call.args), {str(each.arg): each.value for each in call.keywords})


def is_module(node: ast.expr) -> bool:
    """Whether code is the name of a module with functions of arrays."""
    return ast.unparse(node).partition(".")[0] in _MODULES


_MODULES = frozenset((*MODULES, "ops"))
"""As which functions are had here."""
